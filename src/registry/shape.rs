//! Small plane geometry: what is inside what, and how far it reaches.

use super::{Ring, Shape};
use crate::model::Point;

/// Whether the ring holds the point (even-odd rule).
pub fn ring_holds(ring: &Ring, at: Point) -> bool {
    edges(ring).filter(|(a, b)| (a.y > at.y) != (b.y > at.y)).fold(false, |inside, (a, b)| {
        let crossing = a.x + (at.y - a.y) / (b.y - a.y) * (b.x - a.x);
        inside != (at.x < crossing)
    })
}

/// The point of the ring itself that is nearest to a point.
pub fn nearest_on_ring(ring: &Ring, to: Point) -> Point {
    let on_edge = |(a, b): (Point, Point)| {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let length = dx * dx + dy * dy;
        let along = if length > 0.0 { ((to.x - a.x) * dx + (to.y - a.y) * dy) / length } else { 0.0 };
        let along = along.clamp(0.0, 1.0);
        Point { x: a.x + along * dx, y: a.y + along * dy }
    };
    edges(ring).map(on_edge).min_by(|a, b| a.distance(to).total_cmp(&b.distance(to))).unwrap_or(to)
}

/// Whether the shape holds the point.
pub fn shape_holds(shape: &Shape, at: Point) -> bool {
    match shape {
        Shape::Site => true,
        Shape::Circle { centre, radius } => centre.distance(at) <= *radius,
        Shape::Polygons(parts) => {
            parts.iter().any(|(outer, holes)| ring_holds(outer, at) && !holes.iter().any(|hole| ring_holds(hole, at)))
        }
    }
}

/// The least and the greatest corner of the box around the points; both at the origin where there are none.
pub fn bounds(points: impl IntoIterator<Item = Point>) -> (Point, Point) {
    let mut points = points.into_iter();
    let first = points.next().unwrap_or_default();
    points.fold((first, first), |(low, high), p| {
        (Point { x: low.x.min(p.x), y: low.y.min(p.y) }, Point { x: high.x.max(p.x), y: high.y.max(p.y) })
    })
}

/// The box around a shape; none for the whole site.
pub fn shape_bounds(shape: &Shape) -> Option<(Point, Point)> {
    match shape {
        Shape::Site => None,
        Shape::Circle { centre, radius } => Some((
            Point { x: centre.x - radius, y: centre.y - radius },
            Point { x: centre.x + radius, y: centre.y + radius },
        )),
        Shape::Polygons(parts) => Some(bounds(parts.iter().flat_map(|(outer, _)| outer.iter().copied()))),
    }
}

/// The edges of a ring, the closing one among them.
pub fn edges(ring: &Ring) -> impl Iterator<Item = (Point, Point)> + '_ {
    ring.iter().copied().zip(ring.iter().copied().cycle().skip(1))
}
