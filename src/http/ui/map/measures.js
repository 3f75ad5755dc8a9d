// Lengths and areas beside what is being drawn.

import { svg } from '../dom.js';
import { area, metres } from '../i18n.js';
import { distance, labelPoint, shapeArea } from './geometry.js';

/** A layer of measures in a viewport: `show(shape)` for a whole shape, `line(points)` for one on its way. */
export class Measures {
  constructor(viewport) {
    this.viewport = viewport;
    this.group = svg('g', { class: 'measures' });
    this.items = [];
    viewport.marks.append(this.group);
    this.zoomed = () => this.#place();
    viewport.zoomListeners.add(this.zoomed);
  }

  show(shape) {
    const items = [];
    if (shape.centre) {
      items.push([[shape.centre[0] + shape.radius / 2, shape.centre[1]], `r ${metres(shape.radius)}`]);
    } else {
      for (const ring of shape.polygons.flat()) if (ring.length <= 24) items.push(...edges(ring, true));
    }
    const size = shapeArea(shape);
    if (size > 0) items.push([labelPoint(shape), area(size), 'area']);
    this.#set(items);
  }

  line(points) {
    this.#set(edges(points, false));
  }

  clear() {
    this.#set([]);
  }

  remove() {
    this.group.remove();
    this.viewport.zoomListeners.delete(this.zoomed);
  }

  #set(items) {
    this.items = items;
    this.group.replaceChildren(...items.map(([, text, kind]) => svg('text', { class: kind ?? 'length' }, text)));
    this.#place();
  }

  #place() {
    this.items.forEach(([at], index) => this.group.children[index].setAttribute('transform', this.viewport.place(at)));
  }
}

function edges(points, closed) {
  const items = [];
  const count = closed ? points.length : points.length - 1;
  for (let at = 0; at < count; at += 1) {
    const [a, b] = [points[at], points[(at + 1) % points.length]];
    const length = distance(a, b);
    // A third along: in the middle there is a handle.
    if (length > 0.01) items.push([[a[0] + (b[0] - a[0]) * 0.3, a[1] + (b[1] - a[1]) * 0.3], metres(length)]);
  }
  return items;
}
