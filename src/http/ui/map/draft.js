// A shape while it is edited: its corners are buttons on the map, which are dragged, or moved with the arrow keys; in
// the middle of each edge is one that makes a new corner. Every step can be undone.

import { h, svg } from '../dom.js';
import { metres, t } from '../i18n.js';
import { add, distance, pathOf, rounded, subtract } from './geometry.js';
import { Measures } from './measures.js';
import { snap } from './snap.js';

const MOST_STEPS = 200;
/** Edges shorter than this on the screen have no button in their middle. */
const MIDDLE_PIXELS = 44;

export class Draft {
  /** Edits `shape`; `aim()` gives what to snap to; `changed(shape)` is called after each step. */
  constructor(viewport, shape, { aim, changed }) {
    Object.assign(this, { viewport, aim, changed });
    this.shape = structuredClone(shape);
    this.past = [];
    this.future = [];
    this.path = svg('path', { class: 'draft' });
    this.measures = new Measures(viewport);
    viewport.sketch.append(this.path);
    this.zoomed = () => this.#draw();
    this.viewed = () => this.#place();
    viewport.zoomListeners.add(this.zoomed);
    viewport.viewListeners.add(this.viewed);
    this.#draw();
  }

  /** Takes another shape as one step. */
  set(shape) {
    this.#step();
    this.shape = structuredClone(shape);
    this.#after();
  }

  undo() {
    this.#travel(this.past, this.future);
  }
  redo() {
    this.#travel(this.future, this.past);
  }
  get canUndo() {
    return this.past.length > 0;
  }
  get canRedo() {
    return this.future.length > 0;
  }

  end() {
    this.path.remove();
    this.measures.remove();
    this.viewport.handles.replaceChildren();
    this.viewport.zoomListeners.delete(this.zoomed);
    this.viewport.viewListeners.delete(this.viewed);
  }

  #step() {
    this.past.push(structuredClone(this.shape));
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
  }

  #travel(from, to) {
    if (from.length === 0) return;
    to.push(this.shape);
    this.shape = from.pop();
    this.#after();
  }

  #after() {
    this.#draw();
    this.changed(this.shape);
  }

  #outline() {
    this.path.setAttribute('d', pathOf(this.shape));
    this.measures.show(this.shape);
  }

  /** All handles anew: the corners have changed, or the edges got longer on the screen. */
  #draw() {
    this.#outline();
    const focused = document.activeElement?.dataset?.handle;
    this.handles = this.shape.centre ? this.#circleHandles() : this.#polygonHandles();
    this.viewport.handles.replaceChildren(...this.handles.map(handle => handle.element));
    this.#place();
    if (focused) this.handles.find(handle => handle.element.dataset.handle === focused)?.element.focus();
  }

  #circleHandles() {
    return [
      this.#handle(
        'centre',
        t('handle.centre'),
        () => this.shape.centre,
        point => {
          this.shape.centre = point;
        },
      ),
      this.#handle(
        'radius',
        t('handle.radius', { r: metres(this.shape.radius) }),
        () => add(this.shape.centre, [this.shape.radius, 0]),
        point => {
          this.shape.radius = Math.max(0.1, Math.round(distance(this.shape.centre, point) * 1000) / 1000);
        },
      ),
    ];
  }

  #polygonHandles() {
    const handles = [this.#mover()];
    this.shape.polygons.forEach((polygon, p) =>
      polygon.forEach((ring, r) =>
        ring.forEach((corner, i) => {
          const next = (i + 1) % ring.length;
          handles.push(
            this.#handle(
              `${p}.${r}.${i}`,
              t('handle.corner', { n: i + 1, x: corner[0].toFixed(2), y: corner[1].toFixed(2) }),
              () => this.shape.polygons[p][r][i],
              point => {
                this.shape.polygons[p][r][i] = point;
              },
              {
                remove: () => this.removeCorner(p, r, i),
                neighbours: () => [ring.at(i - 1), ring[next]],
                skip: corner,
              },
            ),
          );
          if (distance(corner, ring[next]) * this.viewport.k > MIDDLE_PIXELS) handles.push(this.#middle(p, r, i));
        }),
      ),
    );
    return handles;
  }

  /** Moves the whole shape. */
  #mover() {
    const middle = () => {
      const points = this.shape.polygons.flat(2);
      return [0, 1].map(
        axis => (Math.min(...points.map(point => point[axis])) + Math.max(...points.map(point => point[axis]))) / 2,
      );
    };
    return this.#handle(
      'move',
      t('handle.move'),
      middle,
      point => {
        const by = subtract(point, middle());
        this.shape.polygons = this.shape.polygons.map(polygon =>
          polygon.map(ring => ring.map(corner => rounded(add(corner, by)))),
        );
      },
      { kind: 'mover', free: true },
    );
  }

  #middle(p, r, i) {
    const at = () => {
      const ring = this.shape.polygons[p][r];
      const [a, b] = [ring[i], ring[(i + 1) % ring.length]];
      return rounded([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    };
    let index = null;
    const handle = this.#handle(
      `${p}.${r}.${i}+`,
      t('handle.insert', { n: i + 1 }),
      () => (index === null ? at() : this.shape.polygons[p][r][index]),
      point => {
        if (index === null) {
          index = i + 1;
          this.shape.polygons[p][r].splice(index, 0, point);
        } else {
          this.shape.polygons[p][r][index] = point;
        }
      },
      {
        kind: 'middle',
        tabbable: false,
        neighbours: () => [this.shape.polygons[p][r][i], this.shape.polygons[p][r][(index ?? i) + 1]],
      },
    );
    handle.element.addEventListener('click', () => {
      if (index === null) this.insertCorner(p, r, i, at());
    });
    return handle;
  }

  /** A new corner after corner `i` of a ring. */
  insertCorner(p, r, i, point) {
    this.#step();
    this.shape.polygons[p][r].splice(i + 1, 0, rounded(point));
    this.#after();
  }

  /** Removes a corner; three must stay. */
  removeCorner(p, r, i) {
    if (this.shape.polygons[p][r].length <= 3) return;
    this.#step();
    this.shape.polygons[p][r].splice(i, 1);
    this.#after();
  }

  #handle(name, label, get, move, { remove, neighbours, skip, kind = 'corner', free = false, tabbable = true } = {}) {
    const element = h('button', {
      type: 'button',
      class: `handle ${kind}`,
      'data-handle': name,
      'aria-label': label,
      tabindex: tabbable ? null : '-1',
    });
    let began = null;
    const drag = (point, event) => {
      const settings = event.altKey || free ? null : this.aim();
      const [from, next] = neighbours?.() ?? [];
      const corners = settings?.corners ?? [];
      move(
        rounded(
          settings
            ? snap(point, {
                k: this.viewport.k,
                ...settings,
                corners: skip ? corners.filter(corner => corner !== skip) : corners,
                from,
                next,
              }).point
            : point,
        ),
      );
      this.#outline();
      this.#place();
    };
    element.addEventListener('pointerdown', event => {
      if (event.button !== 0) return;
      event.stopPropagation();
      element.setPointerCapture(event.pointerId);
      element.focus();
      began = { x: event.clientX, y: event.clientY, moved: false };
    });
    element.addEventListener('pointermove', event => {
      if (!began) return;
      if (!began.moved && Math.hypot(event.clientX - began.x, event.clientY - began.y) < 3) return;
      if (!began.moved) this.#step();
      began.moved = true;
      const box = this.viewport.element.getBoundingClientRect();
      drag(this.viewport.toSite([event.clientX - box.left, event.clientY - box.top]), event);
    });
    element.addEventListener('pointerup', () => {
      const moved = began?.moved;
      began = null;
      if (moved) this.#after();
    });
    element.addEventListener('keydown', event => this.#key(event, get, move, remove));
    return { element, get };
  }

  #key(event, get, move, remove) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (steps[event.key]) {
      const size = event.shiftKey ? 1 : event.altKey ? 0.01 : 0.1;
      this.#step();
      move(
        rounded(
          add(
            get(),
            steps[event.key].map(part => part * size),
          ),
        ),
      );
      this.#after();
    } else if ((event.key === 'Delete' || event.key === 'Backspace') && remove) {
      remove();
    } else if (event.key === 'Insert' || event.key === '+') {
      const [p, r, i] = event.target.dataset.handle.split('.').map(Number);
      if (!Number.isInteger(i)) return;
      const ring = this.shape.polygons[p][r];
      const next = ring[(i + 1) % ring.length];
      this.insertCorner(p, r, i, [(ring[i][0] + next[0]) / 2, (ring[i][1] + next[1]) / 2]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #place() {
    for (const { element, get } of this.handles) {
      const [u, v] = this.viewport.toScreen(get());
      element.style.transform = `translate(${u}px, ${v}px)`;
    }
  }
}
