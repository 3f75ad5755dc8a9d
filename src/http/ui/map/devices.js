// Live devices: a dot, and around it the circle of its accuracy. One animation loop moves those that are on their way;
// it sleeps when nothing moves or the page is hidden.

import { set, svg } from '../dom.js';
import { model, on } from '../model.js';

/** A device glides to where it was heard for as long as positions are apart. */
const GLIDE_MS = 1000;
/** With more devices than this every other frame is enough. */
const MANY = 300;

export class Devices {
  constructor(viewport, signal) {
    this.viewport = viewport;
    this.level = null;
    this.dots = new Map();
    this.moving = new Set();
    this.group = svg('g', { class: 'devices' });
    viewport.marks.prepend(this.group);
    viewport.zoomListeners.add(() => this.#placeAll());
    on('positions', devices => this.update(devices?.map(device => device[0])), signal);
    on('events', events => events?.forEach(event => event.data?.device && this.#kind(event.data.device.id)), signal);
    document.addEventListener('visibilitychange', () => this.#visible(), { signal });
    signal.addEventListener('abort', () => cancelAnimationFrame(this.frame));
  }

  /** Shows the devices of a level, or none. */
  show(level) {
    this.level = level;
    for (const dot of this.dots.values()) dot.g.remove();
    this.dots.clear();
    this.moving.clear();
    this.update();
  }

  select(id) {
    this.selected = id;
    for (const [key, dot] of this.dots) dot.g.classList.toggle('selected', key === id);
  }

  /** Takes over the positions of `ids`, or of all. */
  update(ids) {
    if (this.level === null) return;
    const all = ids === undefined;
    if (all) for (const id of [...this.dots.keys()]) if (!model.devices.has(id)) this.#drop(id);
    for (const id of ids ?? model.devices.keys()) {
      const device = model.devices.get(id);
      if (!device || device.level !== this.level) this.#drop(id);
      else this.#towards(id, device);
    }
    this.group.classList.toggle('many', this.dots.size > MANY);
    this.#wake();
  }

  #drop(id) {
    this.dots.get(id)?.g.remove();
    this.dots.delete(id);
    this.moving.delete(id);
  }

  #towards(id, device) {
    let dot = this.dots.get(id);
    if (!dot) {
      dot = {
        x: device.x,
        y: device.y,
        ring: svg('circle', { class: 'ring' }),
        g: svg('g', { 'data-select': `device:${id}` }),
      };
      dot.g.append(dot.ring, svg('circle', { class: 'dot', r: 5 }));
      this.dots.set(id, dot);
      this.group.append(dot.g);
      this.#kind(id);
      this.#place(dot);
    }
    if (dot.accuracy !== device.accuracy) {
      dot.accuracy = device.accuracy;
      set(dot.ring, 'r', Math.max(6, device.accuracy * this.viewport.k));
    }
    Object.assign(dot, { fromX: dot.x, fromY: dot.y, toX: device.x, toY: device.y, began: performance.now() });
    this.moving.add(id);
  }

  #kind(id) {
    const dot = this.dots.get(id);
    if (dot)
      set(
        dot.g,
        'class',
        `device ${model.devices.get(id)?.kind ?? 'customer'}${id === this.selected ? ' selected' : ''}`,
      );
  }

  #place(dot) {
    dot.g.setAttribute('transform', this.viewport.place([dot.x, dot.y]));
  }

  #placeAll() {
    for (const dot of this.dots.values()) {
      this.#place(dot);
      set(dot.ring, 'r', Math.max(6, dot.accuracy * this.viewport.k));
    }
  }

  #visible() {
    if (document.hidden) {
      cancelAnimationFrame(this.frame);
      this.frame = null;
    } else {
      this.#wake();
    }
  }

  #wake() {
    if (this.frame || document.hidden || this.moving.size === 0) return;
    this.frame = requestAnimationFrame(now => this.#step(now));
  }

  #step(now) {
    this.frame = null;
    this.odd = !this.odd;
    if (this.odd || this.moving.size <= MANY) {
      for (const id of this.moving) {
        const dot = this.dots.get(id);
        const share = Math.min(1, Math.max(0, (now - dot.began) / GLIDE_MS));
        dot.x = dot.fromX + (dot.toX - dot.fromX) * share;
        dot.y = dot.fromY + (dot.toY - dot.fromY) * share;
        this.#place(dot);
        if (share === 1) this.moving.delete(id);
      }
    }
    this.#wake();
  }
}
