// The geometry of the map, without a browser.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as geometry from '../../src/http/ui/map/geometry.js';
import { snap, targets } from '../../src/http/ui/map/snap.js';

const near = (got, wanted, by = 1e-9) =>
  [got]
    .flat()
    .forEach((value, at) => assert.ok(Math.abs(value - [wanted].flat()[at]) <= by, `${got} is not ${wanted}`));
const square = [
  [0, 0],
  [4, 0],
  [4, 4],
  [0, 4],
];

test('the area of a polygon is without its holes, and does not depend on which way round it runs', () => {
  near(
    geometry.shapeArea({
      polygons: [
        [
          square,
          [
            [1, 1],
            [2, 1],
            [2, 2],
            [1, 2],
          ],
        ],
      ],
    }),
    15,
  );
  near(geometry.shapeArea({ polygons: [[[...square].reverse()]] }), 16);
  near(geometry.shapeArea({ centre: [3, 3], radius: 2 }), 4 * Math.PI);
});

test('the name of a zone that is bent around a corner stands inside it', () => {
  const bent = {
    polygons: [
      [
        [
          [0, 0],
          [10, 0],
          [10, 1],
          [1, 1],
          [1, 10],
          [0, 10],
        ],
      ],
    ],
  };
  assert.ok(geometry.contains(bent, geometry.labelPoint(bent)));
});

test('a border that crosses itself is found, one that only touches its neighbours is not', () => {
  assert.equal(
    geometry.crossesItself([
      [0, 0],
      [4, 4],
      [4, 0],
      [0, 4],
    ]),
    true,
  );
  assert.equal(geometry.crossesItself(square), false);
});

test('a floor plan whose up is turned clockwise has its upper edge to the right', () => {
  const plan = { x: 10, y: 20, metres_per_pixel: 0.5, bearing: 90, width: 40, height: 20 };
  near(geometry.pixelToSite(plan, [0, 0]), [10, 20]);
  // To the right in the picture is down in the site.
  near(geometry.pixelToSite(plan, [40, 0]), [10, 0], 1e-9);
  // Down in the picture is to the left.
  near(geometry.pixelToSite(plan, [0, 20]), [0, 20], 1e-9);
  near(geometry.siteToPixel(plan, geometry.pixelToSite(plan, [13, 7])), [13, 7], 1e-9);
});

test('two dragged points lie where they were put', () => {
  for (const bearing of [0, 33, 120, 250, 359]) {
    const plan = { x: -3, y: 8, metres_per_pixel: 0.02, bearing };
    const pairs = [
      [120, 40],
      [900, 700],
    ].map(px => ({ px, m: geometry.pixelToSite(plan, px) }));
    const found = geometry.placementOf(pairs);
    near([found.x, found.y, found.metres_per_pixel, found.bearing], [-3, 8, 0.02, bearing], 1e-6);
  }
});

test('a corner is drawn to corners before edges, to edges before right angles, and to the grid where nothing is near', () => {
  const aim = { k: 20, ...targets([{ polygons: [[square]] }]), step: 0.5 };
  assert.deepEqual(snap([4.2, 4.1], aim), { point: [4, 4], why: 'corner' });
  assert.deepEqual(snap([4.3, 2.1], aim), { point: [4, 2.1], why: 'edge' });
  assert.deepEqual(snap([7.9, 9.2], { ...aim, from: [8.1, 6.3] }), { point: [8.1, 9], why: 'right' });
  assert.deepEqual(snap([7.9, 9.2], aim), { point: [8, 9], why: 'grid' });
});
