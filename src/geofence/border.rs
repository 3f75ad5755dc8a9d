//! How far a point is from the border of a zone, which a margin moves outwards or inwards.

use geo::{Contains, Coord, LineString, Polygon, unary_union};

use crate::model::{Metres, Point};
use crate::registry::{Ring, Shape, bounds, shape_bounds};

/// What is left of a zone under an inset is looked for down to this, in metres: nobody stands in less.
const LEAST_DEPTH: Metres = 0.01;

/// The border of a whole zone. Parts that touch have none between them.
#[derive(Debug)]
pub(super) enum Border {
    Circle { centre: Point, radius: Metres },
    Polygons { polygons: Vec<Polygon>, edges: Vec<(Point, Point)> },
}

impl Border {
    /// The border of a shape; none for the whole site.
    pub(super) fn new(shape: &Shape) -> Option<Self> {
        match shape {
            Shape::Site => None,
            Shape::Circle { centre, radius } => Some(Self::Circle { centre: *centre, radius: *radius }),
            Shape::Polygons(parts) => {
                let mut polygons: Vec<Polygon> = parts.iter().map(|(outer, holes)| polygon(outer, holes)).collect();
                if polygons.len() > 1 {
                    polygons = unary_union(&polygons).0;
                }
                let rings = polygons.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
                let edges = rings.flat_map(LineString::lines);
                let edges = edges.map(|line| (point(line.start), point(line.end))).collect();
                Some(Self::Polygons { polygons, edges })
            }
        }
    }

    /// How far beyond the border the point lies, in metres; negative inside. Cost: the border's edges.
    pub(super) fn beyond(&self, at: Point) -> Metres {
        match self {
            Self::Circle { centre, radius } => centre.distance(at) - radius,
            Self::Polygons { polygons, edges } => {
                let nearest = edges.iter().map(|(a, b)| to_edge(at, *a, *b)).fold(f64::INFINITY, f64::min);
                let inside = polygons.iter().any(|p| p.contains(&Coord { x: at.x, y: at.y }));
                if inside { -nearest } else { nearest }
            }
        }
    }
}

/// Whether nothing is left of a shape when its border is moved outwards by so many metres (inwards where negative).
pub fn vanishes(shape: &Shape, margin: Metres) -> bool {
    let (Some(border), Some((low, high))) = (Border::new(shape), shape_bounds(shape)) else { return false };
    if margin >= 0.0 {
        return false;
    }
    // Depth changes by no more than the way between two points: a square can hold a place deep enough only where its
    // middle is that deep, less half its diagonal.
    let half = (high.x - low.x).max(high.y - low.y) / 2.0;
    let mut squares = vec![(Point { x: f64::midpoint(low.x, high.x), y: f64::midpoint(low.y, high.y) }, half)];
    while let Some((middle, half)) = squares.pop() {
        let depth = -border.beyond(middle);
        if depth >= -margin {
            return false;
        }
        let reach = half * std::f64::consts::SQRT_2;
        if depth + reach < -margin || reach < LEAST_DEPTH {
            continue;
        }
        let step = half / 2.0;
        for (x, y) in [(-step, -step), (step, -step), (-step, step), (step, step)] {
            squares.push((Point { x: middle.x + x, y: middle.y + y }, step));
        }
    }
    true
}

/// The middle of the box around the points, and how far the farthest corner is from it.
pub(super) fn middle(points: &[Point]) -> (Point, Metres) {
    let (low, high) = bounds(points.iter().copied());
    let middle = Point { x: f64::midpoint(low.x, high.x), y: f64::midpoint(low.y, high.y) };
    (middle, middle.distance(high))
}

pub(super) fn polygon(outer: &Ring, holes: &[Ring]) -> Polygon {
    Polygon::new(line(outer), holes.iter().map(line).collect())
}

fn line(ring: &Ring) -> LineString {
    ring.iter().chain(ring.first()).map(|p| Coord { x: p.x, y: p.y }).collect()
}

fn point(at: Coord) -> Point {
    Point { x: at.x, y: at.y }
}

/// Distance of a point from an edge.
fn to_edge(at: Point, a: Point, b: Point) -> Metres {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let length_2 = dx * dx + dy * dy;
    let along = if length_2 > 0.0 { (((at.x - a.x) * dx + (at.y - a.y) * dy) / length_2).clamp(0.0, 1.0) } else { 0.0 };
    at.distance(Point { x: a.x + along * dx, y: a.y + along * dy })
}
