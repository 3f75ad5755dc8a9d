//! Small plane geometry: what is inside what, and what stands in the way.

use crate::model::Point;
use crate::registry::{Ring, edges, ring_holds};

/// Whether the straight way between two points inside the ring stays inside it.
pub(super) fn sees(ring: &Ring, from: Point, to: Point) -> bool {
    !edges(ring).any(|(a, b)| segments_touch(from, to, a, b))
}

/// Distance from a point to the nearest edge of the ring, in metres.
pub(super) fn edge_distance(ring: &Ring, at: Point) -> f64 {
    edges(ring).fold(f64::INFINITY, |least, (a, b)| {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let along = ((at.x - a.x) * dx + (at.y - a.y) * dy) / (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
        let along = along.clamp(0.0, 1.0);
        least.min(at.distance(Point { x: a.x + along * dx, y: a.y + along * dy }))
    })
}

/// Points beside the ring's corners, `inset` metres into its inside: what ways around a corner lead over.
pub(super) fn inset_corners(ring: &Ring, inset: f64) -> Vec<Point> {
    let n = ring.len();
    (0..n)
        .flat_map(|i| {
            let (before, corner, after) = (ring[(i + n - 1) % n], ring[i], ring[(i + 1) % n]);
            let (ax, ay) = unit(corner, before);
            let (bx, by) = unit(corner, after);
            // The bisector; where the corner is straight, the normal of its edge.
            let (mut dx, mut dy) = (ax + bx, ay + by);
            let length = dx.hypot(dy);
            (dx, dy) = if length < 1e-6 { (-ay, ax) } else { (dx / length, dy / length) };
            [1.0, -1.0].map(|side| Point { x: corner.x + side * inset * dx, y: corner.y + side * inset * dy })
        })
        .filter(|&p| ring_holds(ring, p))
        .collect()
}

fn unit(from: Point, to: Point) -> (f64, f64) {
    let length = from.distance(to).max(f64::MIN_POSITIVE);
    ((to.x - from.x) / length, (to.y - from.y) / length)
}

fn segments_touch(p: Point, q: Point, a: Point, b: Point) -> bool {
    let turn = |o: Point, s: Point, t: Point| (s.x - o.x) * (t.y - o.y) - (s.y - o.y) * (t.x - o.x);
    let (pa, pb, ap, aq) = (turn(p, q, a), turn(p, q, b), turn(a, b, p), turn(a, b, q));
    // All on one line: the end points are inside the ring, so such an edge is not crossed, only ever passed beside.
    if pa == 0.0 && pb == 0.0 {
        return false;
    }
    pa * pb <= 0.0 && ap * aq <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Shape, shape_holds};

    fn ell() -> Ring {
        [(0.0, 0.0), (10.0, 0.0), (10.0, 4.0), (4.0, 4.0), (4.0, 10.0), (0.0, 10.0)]
            .map(|(x, y)| Point { x, y })
            .to_vec()
    }

    #[test]
    fn a_corner_stands_in_the_way() {
        let at = |x, y| Point { x, y };
        assert!(
            ring_holds(&ell(), at(9.0, 3.0)) && ring_holds(&ell(), at(3.0, 9.0)) && !ring_holds(&ell(), at(6.0, 6.0))
        );
        assert!(!sees(&ell(), at(9.0, 3.0), at(3.0, 9.0)));
        assert!(sees(&ell(), at(7.0, 0.5), at(0.5, 7.0)));
    }

    #[test]
    fn a_hole_is_not_part_of_a_zone() {
        let square = |r: f64| [(-r, -r), (r, -r), (r, r), (-r, r)].map(|(x, y)| Point { x, y }).to_vec();
        let shape = Shape::Polygons(vec![(square(5.0), vec![square(2.0)])]);
        assert!(shape_holds(&shape, Point { x: 4.0, y: 0.0 }));
        assert!(!shape_holds(&shape, Point { x: 1.0, y: 0.0 }));
    }

    #[test]
    fn inset_corners_lie_inside() {
        let corners = inset_corners(&ell(), 0.6);
        assert_eq!(corners.len(), 6);
        assert!(corners.iter().all(|&p| ring_holds(&ell(), p)));
    }
}
