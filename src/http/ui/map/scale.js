// The grid and the scale bar: always round numbers of metres.

import { h, say, set } from '../dom.js';
import { metres } from '../i18n.js';

const ROUND = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

/** The smallest round length that is at least `pixels` long at `k` pixels a metre. */
export function roundLength(k, pixels) {
  return ROUND.find(length => length * k >= pixels) ?? ROUND.at(-1);
}

/** Draws the grid of a viewport while it is switched on. */
export function grid(viewport) {
  let shown = localStorage.getItem('grid') === 'on';
  const draw = () => {
    if (!shown) {
      viewport.grid.removeAttribute('d');
      return;
    }
    const step = roundLength(viewport.k, 28);
    const [x1, y1] = viewport.toSite([0, viewport.height]);
    const [x2, y2] = viewport.toSite([viewport.width, 0]);
    let d = '';
    for (let x = Math.ceil(x1 / step) * step; x <= x2; x += step)
      d += `M${x * viewport.k + viewport.tx} 0V${viewport.height}`;
    for (let y = Math.ceil(y1 / step) * step; y <= y2; y += step)
      d += `M0 ${-y * viewport.k + viewport.ty}H${viewport.width}`;
    viewport.grid.setAttribute('d', d);
  };
  viewport.viewListeners.add(draw);
  return {
    get shown() {
      return shown;
    },
    /** What the grid snaps to: its own step, or a finer one where it is hidden. */
    get step() {
      return shown ? roundLength(viewport.k, 28) / 2 : roundLength(viewport.k, 6);
    },
    toggle() {
      shown = !shown;
      localStorage.setItem('grid', shown ? 'on' : 'off');
      draw();
      return shown;
    },
  };
}

/** The scale bar of a viewport. */
export function scaleBar(viewport) {
  const bar = h('div', { class: 'bar' });
  const text = h('span');
  viewport.zoomListeners.add(() => {
    const length = roundLength(viewport.k, 64);
    bar.style.setProperty('width', `${length * viewport.k}px`);
    say(text, metres(length));
    set(text, 'class', 'length');
  });
  return h('div', { class: 'scale' }, bar, text);
}
