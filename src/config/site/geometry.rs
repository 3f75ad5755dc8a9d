//! Shapes that are what they look like: rings that don't cross themselves, holes inside, parts apart.
//!
//! Rules of the OGC Simple Features (06-103r4, 6.1.11), with tolerance where drawing tools round: parts may touch, and
//! may overlap by less than [`TOLERATED_AREA`].

use geo::line_intersection::{LineIntersection, line_intersection};
use geo::{Area, BooleanOps, BoundingRect, Coord, Distance, Euclidean, Intersects, Line, LineString, Polygon};

use crate::model::{Frame, LatLon, Metres, Point};
use crate::registry::Ring;

/// How far anything of a site may be from its origin, in kilometres. Stores are smaller; the frame is exact to below a
/// millimetre there; swapped latitude and longitude land outside almost everywhere.
pub(super) const MAX_KM: f64 = 10.0;
/// The same in metres.
pub(super) const MAX_DISTANCE: Metres = 1_000.0 * MAX_KM;
/// Area in square metres below which a ring has none, and an overlap is rounding: a hand's breadth squared.
const TOLERATED_AREA: f64 = 0.01;

/// A place to 8 decimals of a degree, a millimetre on the ground: as places are written, so they are taken. What is read
/// is what is read back, to the last bit. The date line is 180 degrees east.
pub(super) fn rounded(at: LatLon) -> LatLon {
    let [latitude, longitude] = [at.latitude, at.longitude].map(|degrees| decimals(degrees, 1e8));
    LatLon { latitude, longitude: if longitude <= -180.0 { 180.0 } else { longitude } }
}

/// Where a point of the site is on Earth, as places are written.
pub(super) fn to_degrees(frame: &Frame, at: Point) -> LatLon {
    rounded(frame.to_geodetic(at))
}

/// Metres to the millimetre, for the same reason.
pub(super) fn millimetres(metres: Metres) -> Metres {
    decimals(metres, 1e3)
}

/// The double nearest to the decimal number; dividing two exact ones rounds right. Never a negative zero.
pub(super) fn decimals(number: f64, scale: f64) -> f64 {
    (number * scale).round() / scale + 0.0
}

/// Whether the point is within [`MAX_DISTANCE`] of the origin.
pub(super) fn is_near(point: Point) -> bool {
    point.x.hypot(point.y) <= MAX_DISTANCE
}

/// Into the site frame; none where it is too far from the origin.
pub(super) fn project(frame: &Frame, at: LatLon) -> Option<Point> {
    // The tangent plane sees the far side of the Earth too: it lies behind the origin.
    let origin = frame.origin();
    let dlon = (at.longitude - origin.longitude).to_radians();
    let (lat, lat0) = (at.latitude.to_radians(), origin.latitude.to_radians());
    let same_side = lat.sin() * lat0.sin() + lat.cos() * lat0.cos() * dlon.cos() > 0.0;
    let point = frame.to_site(at);
    (same_side && is_near(point)).then_some(point)
}

/// What is wrong with a ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RingFault {
    /// Fewer than three different corners.
    TooFewCorners,
    /// No area.
    NoArea,
    /// Two edges meet that are no neighbours.
    Crosses {
        /// Where.
        at: Point,
        /// The corner where the second edge starts.
        corner: usize,
    },
}

impl RingFault {
    /// The corner, counted from 0 in the list given, where to look.
    pub(super) fn corner(self) -> Option<usize> {
        match self {
            Self::Crosses { corner, .. } => Some(corner),
            _ => None,
        }
    }

    /// In words that follow the name of the ring.
    pub(super) fn describe(self, place: impl Fn(Point) -> String) -> String {
        match self {
            Self::TooFewCorners => "has fewer than 3 different corners".to_owned(),
            Self::NoArea => "has no area".to_owned(),
            Self::Crosses { at, .. } => format!("crosses or touches itself at {}", place(at)),
        }
    }

    /// What to do.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Crosses { .. } => "draw the border once around, without loops or spikes",
            _ => "draw the border around the area",
        }
    }
}

/// Checks a ring whose last corner may repeat the first. Corners that repeat the one before are dropped.
pub(super) fn ring(corners: &[Point]) -> Result<Ring, RingFault> {
    let mut ring: Vec<(usize, Point)> = Vec::with_capacity(corners.len());
    for (at, &corner) in corners.iter().enumerate() {
        if ring.last().is_none_or(|&(_, last)| last != corner) {
            ring.push((at, corner));
        }
    }
    while ring.len() > 1 && ring.first().map(|r| r.1) == ring.last().map(|r| r.1) {
        ring.pop();
    }
    if ring.len() < 3 {
        return Err(RingFault::TooFewCorners);
    }
    let plain: Ring = ring.iter().map(|&(_, point)| point).collect();
    // A sliver crosses itself too; the plainer word comes first.
    if bounding_area(&plain) < TOLERATED_AREA || (plain.len() == 3 && area(&plain) < TOLERATED_AREA) {
        return Err(RingFault::NoArea);
    }
    if let Some((at, edge)) = crossing(&plain) {
        return Err(RingFault::Crosses { at, corner: ring[edge].0 });
    }
    if area(&plain) < TOLERATED_AREA { Err(RingFault::NoArea) } else { Ok(plain) }
}

/// Where two edges of the ring meet that should not, and the later of the two.
///
/// A sweep over the edges in the order of their least x; edges that end before the current one starts are dropped.
fn crossing(ring: &[Point]) -> Option<(Point, usize)> {
    let count = ring.len();
    let edge = |at: usize| Line::new(coord(ring[at]), coord(ring[(at + 1) % count]));
    let span = |a: f64, b: f64| (a.min(b), a.max(b));
    let mut order: Vec<usize> = (0..count).collect();
    let least_x = |at: usize| edge(at).start.x.min(edge(at).end.x);
    order.sort_by(|&a, &b| least_x(a).total_cmp(&least_x(b)));
    let mut active: Vec<usize> = Vec::new();
    for &this in &order {
        let line = edge(this);
        let (left, _) = span(line.start.x, line.end.x);
        let (bottom, top) = span(line.start.y, line.end.y);
        active.retain(|&other| edge(other).start.x.max(edge(other).end.x) >= left);
        for &other in &active {
            let other_line = edge(other);
            let (other_bottom, other_top) = span(other_line.start.y, other_line.end.y);
            if other_bottom > top || other_top < bottom {
                continue;
            }
            let neighbours = (this + 1) % count == other || (other + 1) % count == this;
            match line_intersection(line, other_line) {
                Some(LineIntersection::SinglePoint { intersection, .. }) if !neighbours => {
                    return Some((Point { x: intersection.x, y: intersection.y }, this.max(other)));
                }
                Some(LineIntersection::Collinear { intersection }) => {
                    let start = intersection.start;
                    return Some((Point { x: start.x, y: start.y }, this.max(other)));
                }
                _ => {}
            }
        }
        active.push(this);
    }
    None
}

/// What is wrong between the rings of a shape; indices count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeFault {
    /// A hole reaches out of its polygon.
    HoleOutside {
        /// The polygon.
        part: usize,
        /// The hole.
        hole: usize,
    },
    /// Two holes of one polygon overlap.
    HolesOverlap {
        /// The polygon.
        part: usize,
        /// The second hole.
        hole: usize,
    },
    /// Two polygons overlap.
    PartsOverlap {
        /// The second polygon.
        part: usize,
    },
}

/// Checks valid rings against each other; the first fault found.
pub(super) fn check_parts(parts: &[(Ring, Vec<Ring>)]) -> Option<ShapeFault> {
    let mut polygons = Vec::with_capacity(parts.len());
    for (at, (outer, holes)) in parts.iter().enumerate() {
        let filled = polygon(outer);
        let holes: Vec<Polygon> = holes.iter().map(|hole| polygon(hole)).collect();
        for (hole, ring) in holes.iter().enumerate() {
            if ring.difference(&filled).unsigned_area() > TOLERATED_AREA {
                return Some(ShapeFault::HoleOutside { part: at, hole });
            }
        }
        if let Some(hole) = overlapping(&holes) {
            return Some(ShapeFault::HolesOverlap { part: at, hole });
        }
        let holes = holes.into_iter().map(|hole| hole.into_inner().0).collect();
        polygons.push(Polygon::new(filled.into_inner().0, holes));
    }
    overlapping(&polygons).map(|part| ShapeFault::PartsOverlap { part })
}

/// The second of the first two polygons that overlap.
fn overlapping(polygons: &[Polygon]) -> Option<usize> {
    let boxes: Vec<_> = polygons.iter().map(BoundingRect::bounding_rect).collect();
    for second in 1..polygons.len() {
        for first in 0..second {
            let near = boxes[first].zip(boxes[second]).is_some_and(|(a, b)| a.intersects(&b));
            if near && polygons[first].intersection(&polygons[second]).unsigned_area() > TOLERATED_AREA {
                return Some(second);
            }
        }
    }
    None
}

/// The outer rings of the area that valid rings cover together; what touches or overlaps is one. Holes are filled.
pub(super) fn union(rings: &[Ring]) -> Vec<Ring> {
    if let [ring] = rings {
        return vec![ring.clone()];
    }
    let polygons: Vec<Polygon> = rings.iter().map(|ring| polygon(ring)).collect();
    let whole = geo::unary_union(&polygons);
    let ring = |polygon: Polygon| {
        let mut ring: Ring = polygon.into_inner().0.0.into_iter().map(|at| Point { x: at.x, y: at.y }).collect();
        ring.pop();
        ring
    };
    whole.0.into_iter().map(ring).collect()
}

/// Area of a ring in square metres.
pub(in crate::config) fn area(ring: &[Point]) -> f64 {
    polygon(ring).unsigned_area()
}

/// How far the point lies outside the ring; 0 within.
pub(in crate::config) fn distance_outside(ring: &[Point], point: Point) -> Metres {
    Euclidean.distance(&geo::Point(coord(point)), &polygon(ring))
}

fn bounding_area(ring: &[Point]) -> f64 {
    polygon(ring).bounding_rect().map_or(0.0, |rect| rect.width() * rect.height())
}

fn polygon(ring: &[Point]) -> Polygon {
    Polygon::new(LineString(ring.iter().map(|&point| coord(point)).collect()), Vec::new())
}

fn coord(point: Point) -> Coord {
    Coord { x: point.x, y: point.y }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(corners: &[(f64, f64)]) -> Vec<Point> {
        corners.iter().map(|&(x, y)| Point { x, y }).collect()
    }

    fn square(x: f64, y: f64, side: f64) -> Ring {
        points(&[(x, y), (x + side, y), (x + side, y + side), (x, y + side)])
    }

    #[test]
    fn rings_are_taken_closed_or_open_either_way_round() {
        let open = square(0.0, 0.0, 4.0);
        let mut closed = open.clone();
        closed.push(open[0]);
        let mut reversed = closed.clone();
        reversed.reverse();
        assert_eq!(ring(&open), Ok(open.clone()));
        assert_eq!(ring(&closed), Ok(open.clone()));
        assert_eq!(ring(&reversed).map(|r| r.len()), Ok(4));
        let stuttering = points(&[(0.0, 0.0), (0.0, 0.0), (4.0, 0.0), (4.0, 0.0), (0.0, 4.0), (0.0, 0.0), (0.0, 0.0)]);
        assert_eq!(ring(&stuttering).map(|r| r.len()), Ok(3));
    }

    #[test]
    fn a_crossing_is_found_with_its_place() {
        let bow_tie = points(&[(0.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 4.0)]);
        assert_eq!(ring(&bow_tie), Err(RingFault::Crosses { at: Point { x: 2.0, y: 2.0 }, corner: 2 }));
        let spike = points(&[(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (4.0, 8.0), (4.0, 4.0), (0.0, 4.0)]);
        assert!(matches!(ring(&spike), Err(RingFault::Crosses { .. })));
        let touching = points(&[(0.0, 0.0), (4.0, 0.0), (2.0, 2.0), (4.0, 4.0), (0.0, 4.0), (2.0, 2.0)]);
        assert!(matches!(ring(&touching), Err(RingFault::Crosses { .. })));
    }

    #[test]
    fn flat_rings_have_no_area() {
        assert_eq!(ring(&points(&[(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)])), Err(RingFault::NoArea));
        assert_eq!(ring(&points(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0)])), Err(RingFault::NoArea));
        assert_eq!(ring(&points(&[(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)])), Err(RingFault::TooFewCorners));
        assert_eq!(ring(&[]), Err(RingFault::TooFewCorners));
    }

    #[test]
    fn crossings_are_found_as_trying_all_pairs_finds_them() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut crossed = 0;
        for _ in 0..2_000 {
            let count = random.random_range(4..9);
            let ring: Ring = (0..count)
                .map(|_| Point { x: random.random_range(0.0..9.0), y: random.random_range(0.0..9.0) })
                .collect();
            let edge = |at: usize| Line::new(coord(ring[at]), coord(ring[(at + 1) % count]));
            let expected = (0..count).any(|a| {
                (a + 2..count).any(|b| (a, b) != (0, count - 1) && line_intersection(edge(a), edge(b)).is_some())
            });
            assert_eq!(crossing(&ring).is_some(), expected, "{ring:?}");
            crossed += usize::from(expected);
        }
        assert!((500..1_900).contains(&crossed), "{crossed}");
    }

    #[test]
    fn holes_lie_inside_and_parts_apart() {
        let outer = square(0.0, 0.0, 10.0);
        let good = vec![
            (outer.clone(), vec![square(1.0, 1.0, 2.0), square(3.0, 3.0, 2.0)]),
            // Touches the first along an edge.
            (square(10.0, 0.0, 5.0), vec![]),
            // An island in a hole.
            (square(1.5, 1.5, 1.0), vec![]),
        ];
        assert_eq!(check_parts(&good), None);
        let outside = vec![(outer.clone(), vec![square(9.0, 9.0, 2.0)])];
        assert_eq!(check_parts(&outside), Some(ShapeFault::HoleOutside { part: 0, hole: 0 }));
        let holes = vec![(outer.clone(), vec![square(1.0, 1.0, 3.0), square(2.0, 2.0, 3.0)])];
        assert_eq!(check_parts(&holes), Some(ShapeFault::HolesOverlap { part: 0, hole: 1 }));
        let parts = vec![(outer.clone(), vec![]), (outer, vec![])];
        assert_eq!(check_parts(&parts), Some(ShapeFault::PartsOverlap { part: 1 }));
    }

    #[test]
    fn whatever_rings_pass_can_be_held_against_each_other() {
        use rand::{RngExt, SeedableRng};
        // On a coarse grid nearly everything touches, lines up or coincides.
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let mut random_ring = || {
            let count = random.random_range(3..7);
            let corners: Ring = (0..count)
                .map(|_| Point { x: random.random_range(0..4).into(), y: random.random_range(0..4).into() })
                .collect();
            ring(&corners).ok()
        };
        let rings: Vec<Ring> = std::iter::repeat_with(&mut random_ring).flatten().take(120).collect();
        let mut apart = 0;
        for (first, second) in rings.iter().zip(rings.iter().skip(1)) {
            let _ = check_parts(&[(first.clone(), vec![second.clone()])]);
            let overlap = check_parts(&[(first.clone(), vec![]), (second.clone(), vec![])]);
            // Sampled off the grid, where nothing is on a border.
            let sampled = (0..40).flat_map(|x| (0..40).map(move |y| (x, y))).any(|(x, y)| {
                let point = Point { x: f64::from(x) * 0.1 + 0.031, y: f64::from(y) * 0.1 + 0.057 };
                distance_outside(first, point) == 0.0 && distance_outside(second, point) == 0.0
            });
            assert!(!sampled || overlap.is_some(), "{first:?} {second:?}");
            apart += usize::from(overlap.is_none());
        }
        assert!(apart > 0);
    }

    #[test]
    fn the_far_side_of_the_earth_is_not_near() {
        let frame = Frame::new(LatLon { latitude: 48.0, longitude: 2.0 }, 0.0).unwrap();
        assert!(project(&frame, LatLon { latitude: -48.0, longitude: -178.0 }).is_none());
        assert!(project(&frame, LatLon { latitude: 2.0, longitude: 48.0 }).is_none());
        assert!(project(&frame, LatLon { latitude: 48.05, longitude: 2.05 }).is_some());
    }
}
