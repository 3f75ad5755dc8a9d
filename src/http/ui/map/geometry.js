// Plane geometry in the site frame: metres, x east, y north. Pure, so that it is tested without a browser.

export const distance = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);
export const add = (a, b) => [a[0] + b[0], a[1] + b[1]];
export const subtract = (a, b) => [a[0] - b[0], a[1] - b[1]];
/** To the millimetre, as the gateway keeps it. */
export const rounded = point => point.map(value => Math.round(value * 1000) / 1000);

/** Twice the signed area of a ring; positive where it runs anticlockwise. */
function twiceArea(ring) {
  return ring.reduce((sum, a, at) => {
    const b = ring[(at + 1) % ring.length];
    return sum + a[0] * b[1] - b[0] * a[1];
  }, 0);
}

export const ringArea = ring => Math.abs(twiceArea(ring)) / 2;

/** Area of a shape: of circles, and of polygons without their holes. */
export function shapeArea(shape) {
  if (shape.centre) return Math.PI * shape.radius ** 2;
  return shape.polygons.reduce(
    (sum, [outer, ...holes]) => sum + ringArea(outer) - holes.reduce((all, hole) => all + ringArea(hole), 0),
    0,
  );
}

/** `[minX, minY, maxX, maxY]` of points; null where there are none. */
export function bounds(points) {
  if (points.length === 0) return null;
  const xs = points.map(point => point[0]);
  const ys = points.map(point => point[1]);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** All corners of a shape; of a circle the corners of its box. */
export function shapePoints(shape) {
  if (!shape) return [];
  if (shape.centre) {
    const [[x, y], r] = [shape.centre, shape.radius];
    return [
      [x - r, y - r],
      [x + r, y - r],
      [x + r, y + r],
      [x - r, y + r],
    ];
  }
  return shape.polygons.flat(2);
}

/** Whether a point lies within a ring. */
export function inRing(ring, [x, y]) {
  let inside = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i, i += 1) {
    const [xi, yi] = ring[i];
    const [xj, yj] = ring[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

/** Whether a point lies within a shape. */
export function contains(shape, point) {
  if (shape.centre) return distance(shape.centre, point) <= shape.radius;
  return shape.polygons.some(([outer, ...holes]) => inRing(outer, point) && !holes.some(hole => inRing(hole, point)));
}

/** A place for a shape's name: its centroid, or the middle of its widest row where that lies outside. */
export function labelPoint(shape) {
  if (shape.centre) return shape.centre;
  const outer = shape.polygons.map(polygon => polygon[0]).sort((a, b) => ringArea(b) - ringArea(a))[0];
  const middle = centroid(outer);
  if (contains({ polygons: shape.polygons }, middle)) return middle;
  const box = bounds(outer);
  const rows = [0.5, 0.3, 0.7, 0.15, 0.85]
    .map(share => widest(outer, box[1] + (box[3] - box[1]) * share))
    .filter(Boolean);
  rows.sort((a, b) => b.width - a.width);
  return rows[0]?.point ?? middle;
}

function centroid(ring) {
  const twice = twiceArea(ring);
  if (Math.abs(twice) < 1e-9) return ring[0];
  let x = 0;
  let y = 0;
  ring.forEach((a, at) => {
    const b = ring[(at + 1) % ring.length];
    const cross = a[0] * b[1] - b[0] * a[1];
    x += (a[0] + b[0]) * cross;
    y += (a[1] + b[1]) * cross;
  });
  return [x / (3 * twice), y / (3 * twice)];
}

function widest(ring, y) {
  const crossings = [];
  ring.forEach((a, at) => {
    const b = ring[(at + 1) % ring.length];
    if (a[1] > y !== b[1] > y) crossings.push(a[0] + ((b[0] - a[0]) * (y - a[1])) / (b[1] - a[1]));
  });
  crossings.sort((a, b) => a - b);
  let best = null;
  for (let at = 0; at + 1 < crossings.length; at += 2) {
    const width = crossings[at + 1] - crossings[at];
    if (!best || width > best.width) best = { width, point: [(crossings[at] + crossings[at + 1]) / 2, y] };
  }
  return best;
}

/** The nearest point of the segment `a`–`b`. */
export function nearestOnSegment(a, b, point) {
  const along = subtract(b, a);
  const length2 = along[0] ** 2 + along[1] ** 2;
  if (length2 === 0) return a;
  const share = Math.min(1, Math.max(0, ((point[0] - a[0]) * along[0] + (point[1] - a[1]) * along[1]) / length2));
  return [a[0] + along[0] * share, a[1] + along[1] * share];
}

/** Whether a ring crosses itself. */
export function crossesItself(ring) {
  const count = ring.length;
  for (let i = 0; i < count; i += 1) {
    for (let j = i + 2; j < count; j += 1) {
      if (i === 0 && j === count - 1) continue;
      if (crosses(ring[i], ring[i + 1], ring[j], ring[(j + 1) % count])) return true;
    }
  }
  return false;
}

function crosses(a, b, c, d) {
  const side = (p, q, r) => Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) !== side(a, b, d) && side(c, d, a) !== side(c, d, b);
}

/** The rectangle between two opposite corners. */
export function rectangle(a, b) {
  const [x1, x2] = [Math.min(a[0], b[0]), Math.max(a[0], b[0])];
  const [y1, y2] = [Math.min(a[1], b[1]), Math.max(a[1], b[1])];
  return [
    [x1, y1],
    [x2, y1],
    [x2, y2],
    [x1, y2],
  ];
}

/** The path of a shape, for `d`. */
export function pathOf(shape) {
  if (shape.centre) {
    const [[x, y], r] = [shape.centre, shape.radius];
    return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  }
  return shape.polygons
    .flat()
    .map(ring => (ring.length ? `M${ring.map(point => point.join(' ')).join('L')}Z` : ''))
    .join('');
}

// --- floor plans: pixels of the picture, u to the right, v down

/** The matrix from pixels to metres, for `transform`. Up in the picture is `bearing` degrees clockwise from y. */
export function planMatrix({ x, y, metres_per_pixel: scale, bearing }) {
  const turn = (bearing * Math.PI) / 180;
  const [c, s] = [Math.cos(turn) * scale, Math.sin(turn) * scale];
  return [c, -s, -s, -c, x, y];
}

/** Where a pixel lies. */
export function pixelToSite(plan, [u, v]) {
  const [a, b, c, d, e, f] = planMatrix(plan);
  return [a * u + c * v + e, b * u + d * v + f];
}

/** Which pixel lies there. */
export function siteToPixel(plan, [x, y]) {
  const [a, b, c, d, e, f] = planMatrix(plan);
  const determinant = a * d - b * c;
  const [dx, dy] = [x - e, y - f];
  return [(d * dx - c * dy) / determinant, (a * dy - b * dx) / determinant];
}

/** The placement that brings two pixels to two places. */
export function placementOf([first, second]) {
  const pixels = [second.px[0] - first.px[0], -(second.px[1] - first.px[1])];
  const metres = subtract(second.m, first.m);
  const scale = Math.hypot(...metres) / Math.hypot(...pixels);
  const bearing = Math.atan2(pixels[1], pixels[0]) - Math.atan2(metres[1], metres[0]);
  const degrees = ((((bearing * 180) / Math.PI) % 360) + 360) % 360;
  const placed = { x: 0, y: 0, metres_per_pixel: scale, bearing: degrees };
  const [dx, dy] = subtract(first.m, pixelToSite(placed, first.px));
  return { ...placed, x: dx, y: dy };
}

/** The corners of a placed picture. */
export function planCorners(plan) {
  return [
    [0, 0],
    [plan.width, 0],
    [plan.width, plan.height],
    [0, plan.height],
  ].map(pixel => pixelToSite(plan, pixel));
}
