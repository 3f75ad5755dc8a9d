// One place that is moved: dragged, or with the arrow keys. Receivers, fixed beacons, and the points of a floor plan.

import { h } from '../dom.js';
import { add, rounded } from './geometry.js';
import { snap } from './snap.js';

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** A handle at `point`. `changed(point)` while it is moved; `set(point)` puts it elsewhere; `end()` takes it away. */
export function spot(viewport, point, { label, aim = () => null, changed, kind = '', text = '' }) {
  let at = point;
  let held = false;
  const element = h(
    'button',
    { type: 'button', class: `handle spot-handle ${kind}`, 'aria-label': label, title: label },
    text,
  );
  const place = () => {
    const [u, v] = viewport.toScreen(at);
    element.style.transform = `translate(${u}px, ${v}px)`;
  };
  const move = next => {
    at = rounded(next);
    place();
    changed(at);
  };
  element.addEventListener('pointerdown', event => {
    event.stopPropagation();
    element.setPointerCapture(event.pointerId);
    held = true;
  });
  element.addEventListener('pointermove', event => {
    if (!held) return;
    const box = viewport.element.getBoundingClientRect();
    const to = viewport.toSite([event.clientX - box.left, event.clientY - box.top]);
    const settings = event.altKey ? null : aim();
    move(settings ? snap(to, { k: viewport.k, ...settings }).point : to);
  });
  element.addEventListener('pointerup', () => {
    held = false;
  });
  element.addEventListener('keydown', event => {
    if (!STEPS[event.key]) return;
    const size = event.shiftKey ? 1 : event.altKey ? 0.01 : 0.1;
    move(
      add(
        at,
        STEPS[event.key].map(part => part * size),
      ),
    );
    event.preventDefault();
    event.stopPropagation();
  });
  viewport.handles.append(element);
  viewport.viewListeners.add(place);
  place();
  return {
    element,
    set(next) {
      at = next;
      place();
    },
    end() {
      element.remove();
      viewport.viewListeners.delete(place);
    },
  };
}
