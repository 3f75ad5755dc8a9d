// The window onto a level: pan and zoom by mouse, finger, wheel, buttons and keyboard.
//
// Two pictures lie on each other: `base` (floor plan, grid, zones), which changes seldom, and `marks` (names,
// receivers, devices), which moves all the time. `world` is scaled in metres; what is in `marks` keeps its size and is
// put at `k` pixels a metre.

import { h, svg } from '../dom.js';
import { t } from '../i18n.js';

const LEAST_SCALE = 1;
const LARGEST_SCALE = 800;
const CLICK_PIXELS = 5;

export class Viewport {
  constructor(signal) {
    this.k = 20;
    this.tx = 0;
    this.ty = 0;
    this.tool = null;
    this.onSelect = () => {};
    this.viewListeners = new Set();
    this.zoomListeners = new Set();
    this.plan = svg('g', { class: 'plan' });
    this.grid = svg('path', { class: 'grid' });
    this.shapes = svg('g', { class: 'shapes' });
    this.heat = svg('g', { class: 'heat' });
    this.sketch = svg('g', { class: 'sketch' });
    this.world = svg('g', null, this.plan);
    this.world2 = svg('g', null, this.heat, this.shapes, this.sketch);
    this.base = svg('svg', { class: 'base', 'aria-hidden': 'true' }, this.world, this.grid, this.world2);
    this.marks = svg('g');
    this.top = svg('svg', { class: 'marks', 'aria-hidden': 'true' }, this.marks);
    this.handles = h('div', { class: 'handles' });
    this.element = h(
      'div',
      { class: 'canvas', tabindex: '0', role: 'group', 'aria-label': t('map.label'), 'aria-describedby': 'map-keys' },
      this.base,
      this.top,
      this.handles,
      h('p', { id: 'map-keys', class: 'sr' }, t('map.keys')),
    );
    this.pointers = new Map();
    this.#listen(signal);
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.element);
    signal.addEventListener('abort', () => observer.disconnect());
  }

  get width() {
    return this.element.clientWidth || 1;
  }
  get height() {
    return this.element.clientHeight || 1;
  }

  /** Where a point of the site is, in pixels of the window. */
  toScreen([x, y]) {
    return [x * this.k + this.tx, -y * this.k + this.ty];
  }
  /** Which point of the site is there. */
  toSite([u, v]) {
    return [(u - this.tx) / this.k, -(v - this.ty) / this.k];
  }
  /** Where a mark is put. */
  place([x, y]) {
    return `translate(${x * this.k} ${-y * this.k})`;
  }

  /** Shows a box of the site, with a margin around it. */
  fit(box, margin = 48) {
    this.box = box;
    const [x1, y1, x2, y2] = box;
    const room = Math.min(margin, this.width / 8);
    const k = Math.min((this.width - 2 * room) / Math.max(x2 - x1, 1), (this.height - 2 * room) / Math.max(y2 - y1, 1));
    this.k = Math.min(LARGEST_SCALE, Math.max(LEAST_SCALE, k));
    this.tx = this.width / 2 - ((x1 + x2) / 2) * this.k;
    this.ty = this.height / 2 + ((y1 + y2) / 2) * this.k;
    this.untouched = true;
    this.#changed(true);
  }

  zoomAt(factor, [u, v] = [this.width / 2, this.height / 2]) {
    const at = this.toSite([u, v]);
    this.k = Math.min(LARGEST_SCALE, Math.max(LEAST_SCALE, this.k * factor));
    this.tx = u - at[0] * this.k;
    this.ty = v + at[1] * this.k;
    this.untouched = false;
    this.#changed(true);
  }

  panBy(dx, dy) {
    this.tx += dx;
    this.ty += dy;
    this.untouched = false;
    this.#changed(false);
  }

  /** Brings a point into view, where it is outside. */
  reveal(point) {
    const [u, v] = this.toScreen(point);
    if (u < 20 || v < 20 || u > this.width - 20 || v > this.height - 20)
      this.panBy(this.width / 2 - u, this.height / 2 - v);
  }

  /** Takes a tool: it gets what the pointer does, in metres, instead of the map. */
  use(tool) {
    this.tool?.end?.();
    this.tool = tool;
    this.element.classList.toggle('drawing', Boolean(tool?.draws));
  }

  #resized() {
    if (this.box && this.untouched) this.fit(this.box);
    else this.#changed(true);
  }

  #changed(zoomed) {
    this.zoomed ||= zoomed;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      const matrix = `matrix(${this.k} 0 0 ${-this.k} ${this.tx} ${this.ty})`;
      this.world.setAttribute('transform', matrix);
      this.world2.setAttribute('transform', matrix);
      this.marks.setAttribute('transform', `translate(${this.tx} ${this.ty})`);
      if (this.zoomed) for (const then of this.zoomListeners) then();
      for (const then of this.viewListeners) then();
      this.zoomed = false;
    });
  }

  #point(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #listen(signal) {
    const { element } = this;
    const listen = (type, then, options) => element.addEventListener(type, then, { signal, ...options });
    listen(
      'wheel',
      event => {
        event.preventDefault();
        this.zoomAt(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)), this.#point(event));
      },
      { passive: false },
    );
    listen('pointerdown', event => this.#down(event));
    listen('pointermove', event => this.#move(event));
    listen('pointerup', event => this.#up(event));
    listen('pointercancel', event => this.pointers.delete(event.pointerId));
    listen('dblclick', event => {
      if (this.tool?.double) this.tool.double(this.toSite(this.#point(event)), event);
      else if (event.target.closest('.handle') === null) this.zoomAt(1.8, this.#point(event));
    });
    listen('keydown', event => this.#key(event));
  }

  #down(event) {
    if (event.target.closest('.handle') || event.button > 1) return;
    const at = this.#point(event);
    this.pointers.set(event.pointerId, { at, start: at, moved: false });
    this.element.setPointerCapture(event.pointerId);
    if (this.pointers.size === 1 && event.button === 0)
      this.grabbed = this.tool?.down?.(this.toSite(at), event) ?? false;
  }

  #move(event) {
    const at = this.#point(event);
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      this.tool?.move?.(this.toSite(at), event);
      return;
    }
    const [du, dv] = [at[0] - pointer.at[0], at[1] - pointer.at[1]];
    if (Math.hypot(at[0] - pointer.start[0], at[1] - pointer.start[1]) > CLICK_PIXELS) pointer.moved = true;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, one]) => one.at);
      const before = Math.hypot(pointer.at[0] - other[0], pointer.at[1] - other[1]);
      const after = Math.hypot(at[0] - other[0], at[1] - other[1]);
      if (before > 0) this.zoomAt(after / before, [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
    } else if (this.grabbed) {
      this.tool?.move?.(this.toSite(at), event);
    } else if (pointer.moved) {
      this.panBy(du, dv);
    }
    pointer.at = at;
  }

  #up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer) return;
    const site = this.toSite(this.#point(event));
    if (this.grabbed) this.tool?.up?.(site, event, pointer.moved);
    else if (!pointer.moved && event.button === 0) {
      if (this.tool?.click) this.tool.click(site, event);
      else
        this.onSelect(
          document.elementFromPoint(event.clientX, event.clientY)?.closest('[data-select]')?.dataset.select ?? null,
          site,
        );
    }
    this.grabbed = false;
  }

  #key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey) return;
    if (this.tool?.key?.(event)) {
      event.preventDefault();
      return;
    }
    const step = event.shiftKey ? 200 : 60;
    const keys = {
      ArrowLeft: () => this.panBy(step, 0),
      ArrowRight: () => this.panBy(-step, 0),
      ArrowUp: () => this.panBy(0, step),
      ArrowDown: () => this.panBy(0, -step),
      '+': () => this.zoomAt(1.3),
      '=': () => this.zoomAt(1.3),
      '-': () => this.zoomAt(1 / 1.3),
      0: () => this.box && this.fit(this.box),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}
