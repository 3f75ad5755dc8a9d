// Tools that draw a new shape: rectangle, polygon, circle. Clicks set corners; a rectangle or circle may be dragged as
// well.

import { svg } from '../dom.js';
import { distance, pathOf, rectangle, rounded } from './geometry.js';
import { Measures } from './measures.js';
import { snap } from './snap.js';

/** Shorter than this nothing was meant to be drawn. */
const LEAST_M = 0.05;
/** So near to the first corner a click closes the polygon. */
const CLOSE_PIXELS = 12;

/**
 * A tool of `kind`. `aim()` gives what to snap to, or null where snapping is off; `done(shape)` gets the shape;
 * `cancel()` is called on Escape.
 */
export function drawing(viewport, kind, { aim, done, cancel, changed }) {
  const measures = new Measures(viewport);
  const line = svg('path', { class: 'draft' });
  const cursor = svg('circle', { class: 'cursor', r: 4 });
  viewport.sketch.append(line);
  viewport.marks.append(cursor);
  let corners = [];
  let pointer = null;

  function snapped(point, event) {
    const settings = event?.altKey ? null : aim();
    if (!settings) return rounded(point);
    const targets = { ...settings, corners: [...settings.corners, ...corners] };
    const from = kind === 'polygon' ? corners.at(-1) : null;
    return rounded(
      snap(point, { k: viewport.k, ...targets, from, next: kind === 'polygon' ? corners[0] : null }).point,
    );
  }

  function shapeTo(point) {
    if (kind === 'rectangle') return { polygons: [[rectangle(corners[0], point)]] };
    if (kind === 'circle') return { centre: corners[0], radius: Math.round(distance(corners[0], point) * 1000) / 1000 };
    return { polygons: [[[...corners, point]]] };
  }

  function draw() {
    cursor.setAttribute('transform', viewport.place(pointer ?? [0, 0]));
    cursor.classList.toggle('hidden', !pointer);
    if (corners.length === 0 || !pointer) {
      line.removeAttribute('d');
      measures.clear();
    } else if (kind === 'polygon' && corners.length < 2) {
      line.setAttribute('d', `M${corners[0].join(' ')}L${pointer.join(' ')}`);
      measures.line([...corners, pointer]);
    } else {
      const shape = shapeTo(pointer);
      line.setAttribute('d', pathOf(shape));
      measures.show(shape);
    }
    changed?.(corners.length);
  }

  function finish(shape) {
    viewport.use(null);
    done(shape);
  }

  function closes(point) {
    return corners.length >= 3 && distance(viewport.toScreen(point), viewport.toScreen(corners[0])) < CLOSE_PIXELS;
  }

  function set(point, event) {
    const at = snapped(point, event);
    if (kind === 'polygon') {
      if (closes(at)) return finish({ polygons: [[corners]] });
      if (corners.length && distance(corners.at(-1), at) < LEAST_M) return undefined;
      corners.push(at);
    } else if (corners.length === 0) {
      corners = [at];
    } else if (large(at)) {
      return finish(shapeTo(at));
    }
    pointer = at;
    return draw();
  }

  const large = at =>
    kind === 'circle'
      ? distance(corners[0], at) >= LEAST_M
      : Math.abs(corners[0][0] - at[0]) >= LEAST_M && Math.abs(corners[0][1] - at[1]) >= LEAST_M;

  const tool = {
    draws: true,
    down(point, event) {
      // A rectangle or circle begins where the pointer goes down, so that dragging works as well as two clicks.
      if (kind === 'polygon' || corners.length > 0) return false;
      set(point, event);
      return true;
    },
    move(point, event) {
      pointer = snapped(point, event);
      draw();
    },
    up(point, event, moved) {
      if (moved) set(point, event);
    },
    click: set,
    double() {
      if (kind === 'polygon' && corners.length >= 3) finish({ polygons: [[corners]] });
    },
    key(event) {
      if (event.key === 'Escape') {
        if (corners.length) {
          corners = [];
          draw();
        } else {
          viewport.use(null);
          cancel();
        }
        return true;
      }
      if (event.key === 'Enter') {
        if (kind === 'polygon' && corners.length >= 3) finish({ polygons: [[corners]] });
        return true;
      }
      if (event.key === 'Backspace') {
        corners.pop();
        draw();
        return true;
      }
      return false;
    },
    end() {
      measures.remove();
      line.remove();
      cursor.remove();
    },
  };
  draw();
  return tool;
}

/** A tool that picks one place with a click. */
export function picking(viewport, { aim, done, cancel }) {
  const cursor = svg('circle', { class: 'cursor', r: 6 });
  viewport.marks.append(cursor);
  const at = (point, event) => {
    const settings = event?.altKey ? null : aim();
    return rounded(settings ? snap(point, { k: viewport.k, ...settings }).point : point);
  };
  return {
    draws: true,
    move(point, event) {
      cursor.setAttribute('transform', viewport.place(at(point, event)));
    },
    click(point, event) {
      viewport.use(null);
      done(at(point, event));
    },
    key(event) {
      if (event.key !== 'Escape') return false;
      viewport.use(null);
      cancel();
      return true;
    },
    end() {
      cursor.remove();
    },
  };
}
