// Snapping: a point is drawn to corners first, then to edges, then to right angles and the grid.

import { distance, nearestOnSegment } from './geometry.js';

const PIXELS = 10;

/** All corners and edges to snap to: `shapes` are shapes as the API gives them. */
export function targets(shapes) {
  const corners = [];
  const edges = [];
  for (const shape of shapes) {
    for (const ring of shape?.polygons?.flat() ?? []) {
      ring.forEach((corner, at) => {
        corners.push(corner);
        edges.push([corner, ring[(at + 1) % ring.length]]);
      });
    }
  }
  return { corners, edges };
}

/**
 * Snaps `point` at `k` pixels a metre. `from` and `next` are the neighbouring corners, with which right angles are
 * made; `step` is the grid's. Gives the point and why: `corner`, `edge`, `right`, `grid`.
 */
export function snap(point, { k, corners, edges, from, next, step }) {
  const reach = PIXELS / k;
  const corner = nearest(corners, point, candidate => candidate, reach);
  if (corner) return { point: corner, why: 'corner' };
  const edge = nearest(edges, point, ([a, b]) => nearestOnSegment(a, b, point), reach);
  if (edge) return { point: edge, why: 'edge' };
  const aligned = [null, null];
  for (const neighbour of [from, next]) {
    if (!neighbour) continue;
    for (const axis of [0, 1]) if (Math.abs(point[axis] - neighbour[axis]) < reach) aligned[axis] = neighbour[axis];
  }
  const gridded = axis => (step ? Math.round(point[axis] / step) * step : point[axis]);
  const result = [aligned[0] ?? gridded(0), aligned[1] ?? gridded(1)];
  return { point: result, why: aligned[0] !== null || aligned[1] !== null ? 'right' : 'grid' };
}

function nearest(candidates, point, at, reach) {
  let best = null;
  let least = reach;
  for (const candidate of candidates) {
    const place = at(candidate);
    const far = distance(place, point);
    if (far < least) {
      least = far;
      best = place;
    }
  }
  return best;
}
