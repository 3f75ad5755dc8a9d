//! The tree against exhaustive search, the shares against counting.

use proptest::prelude::*;

use super::{CellShares, ZoneTree, gaussian_membership, vanishes};
use crate::model::{LevelOrdinal, Point};
use crate::position::{Belief, Grid};
use crate::registry::{DeviceKind, KindMargins, PresenceSettings, Registry, Ring, Shape, ZoneIndex, fixture};

const GROUND: LevelOrdinal = LevelOrdinal(0);

fn registry(shapes: Vec<Shape>) -> Registry {
    with_margins(shapes, 0.0, KindMargins::default())
}

fn with_margins(shapes: Vec<Shape>, margin: f64, margins: KindMargins) -> Registry {
    let presence = PresenceSettings { margin, ..PresenceSettings::default() };
    let zones = shapes
        .into_iter()
        .enumerate()
        .map(|(at, shape)| fixture::zone(&format!("z{at}"), shape, presence.clone()))
        .collect();
    let site = crate::registry::Site { margins, ..fixture::site() };
    Registry::new(site, Vec::new(), zones, Vec::new(), Vec::new()).unwrap()
}

/// Which of the points are in each zone whose border is moved by so much, by that of the zone or that of the kind.
fn held(shapes: &[Shape], points: &[Point], zone: f64, kind: f64) -> Vec<(ZoneIndex, usize)> {
    let margins = KindMargins { asset: kind, ..KindMargins::default() };
    let tree = ZoneTree::new(&with_margins(shapes.to_vec(), zone, margins));
    let mut hits = Vec::new();
    tree.hits(GROUND, points, kind, |zone, at| hits.push((zone, at)));
    hits.sort_unstable();
    hits
}

/// Steps along a fine raster of the site and around it.
fn raster() -> Vec<Point> {
    let step = |at: i32| f64::from(at) * 0.74;
    (0..55 * 28).map(|at| Point { x: step(at % 55) - 5.1, y: step(at / 55) - 5.1 }).collect()
}

/// Even-odd rule on one ring.
fn in_ring(ring: &Ring, at: Point) -> bool {
    let mut inside = false;
    for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
        if (a.y > at.y) != (b.y > at.y) && at.x < (b.x - a.x) * (at.y - a.y) / (b.y - a.y) + a.x {
            inside = !inside;
        }
    }
    inside
}

fn in_shape(shape: &Shape, at: Point) -> bool {
    match shape {
        Shape::Site => true,
        Shape::Circle { centre, radius } => centre.distance(at) <= *radius,
        Shape::Polygons(parts) => {
            parts.iter().any(|(outer, holes)| in_ring(outer, at) && !holes.iter().any(|hole| in_ring(hole, at)))
        }
    }
}

fn point() -> impl Strategy<Value = Point> {
    (-5.0..35.0, -5.0..15.0).prop_map(|(x, y)| Point { x, y })
}

/// A star around a centre: never crosses itself.
fn star() -> impl Strategy<Value = Ring> {
    (point(), prop::collection::vec(0.5..6.0, 3..12)).prop_map(|(centre, radii)| {
        let step = std::f64::consts::TAU / radii.len() as f64;
        let corner = |(at, r): (usize, f64)| Point {
            x: centre.x + r * (at as f64 * step).cos(),
            y: centre.y + r * (at as f64 * step).sin(),
        };
        radii.into_iter().enumerate().map(corner).collect()
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (point(), 0.1..8.0).prop_map(|(centre, radius)| Shape::Circle { centre, radius }),
        star().prop_map(|ring| Shape::Polygons(vec![(ring, Vec::new())])),
        star().prop_map(|ring| {
            // A hole: the same star, shrunk around its first corner's midpoint with the centroid.
            let n = ring.len() as f64;
            let (cx, cy) = (ring.iter().map(|p| p.x).sum::<f64>() / n, ring.iter().map(|p| p.y).sum::<f64>() / n);
            let hole = ring.iter().map(|p| Point { x: cx + (p.x - cx) * 0.3, y: cy + (p.y - cy) * 0.3 }).collect();
            Shape::Polygons(vec![(ring, vec![hole])])
        }),
    ]
}

proptest! {
    #[test]
    fn the_tree_finds_what_exhaustive_search_finds(
        shapes in prop::collection::vec(shape(), 0..40),
        points in prop::collection::vec(point(), 1..50),
    ) {
        let registry = registry(shapes);
        let tree = ZoneTree::new(&registry);
        for at in points {
            let exhaustive: Vec<ZoneIndex> = (1..registry.zones().len())
                .filter(|zone| in_shape(&registry.zones()[*zone].shape, at))
                .map(|zone| ZoneIndex(zone as u32))
                .collect();
            prop_assert_eq!(tree.zones_at(GROUND, at), exhaustive);
            prop_assert!(tree.zones_at(LevelOrdinal(1), at).is_empty());
        }
    }

    #[test]
    fn a_margin_of_nothing_changes_nothing(shapes in prop::collection::vec(shape(), 1..8), by in -3.0..3.0) {
        let points = raster();
        let plain = held(&shapes, &points, 0.0, 0.0);
        // Also where the margins of zone and kind cancel each other out.
        prop_assert_eq!(&held(&shapes, &points, by, -by), &plain);
        let registry = registry(shapes);
        let tree = ZoneTree::new(&registry);
        let mut exhaustive = Vec::new();
        for (at, point) in points.iter().enumerate() {
            exhaustive.extend(tree.zones_at(GROUND, *point).into_iter().map(|zone| (zone, at)));
        }
        exhaustive.sort_unstable();
        prop_assert_eq!(plain, exhaustive);
    }

    #[test]
    fn the_wider_the_margin_the_more_is_inside(
        shapes in prop::collection::vec(shape(), 1..8), from in -4.0..4.0, more in 0.0..2.0, kind in -2.0..2.0,
    ) {
        let points = raster();
        let less = held(&shapes, &points, from, kind);
        let more = held(&shapes, &points, from + more, kind);
        prop_assert!(less.iter().all(|hit| more.binary_search(hit).is_ok()));
        prop_assert!(more.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_vanished_zone_holds_nothing(shape in shape(), margin in -6.0..0.5) {
        let held = held(std::slice::from_ref(&shape), &raster(), margin, 0.0);
        prop_assert!(!vanishes(&shape, margin) || held.is_empty());
    }

    #[test]
    fn a_square_grows_with_round_corners_and_shrinks_with_sharp_ones(margin in -4.0..4.0, at in point()) {
        let square = Shape::Polygons(vec![(fixture::rectangle(5.0, 0.0, 15.0, 10.0), Vec::new())]);
        let (dx, dy) = ((at.x - 10.0).abs() - 5.0, (at.y - 5.0).abs() - 5.0);
        let beyond = if dx > 0.0 && dy > 0.0 { dx.hypot(dy) } else { dx.max(dy) };
        prop_assume!(f64::abs(beyond - margin) > 1e-9);
        for (zone, kind) in [(margin, 0.0), (0.0, margin), (margin - 1.0, 1.0)] {
            let inside = !held(std::slice::from_ref(&square), &[at], zone, kind).is_empty();
            prop_assert_eq!(inside, beyond < margin, "{} {}", beyond, margin);
        }
    }

    #[test]
    fn a_hole_shrinks_as_its_zone_grows(margin in -2.0..2.0, (x, y) in (8.0..12.0, 3.0..7.0)) {
        let at = Point { x, y };
        let hole = fixture::rectangle(8.0, 3.0, 12.0, 7.0);
        let shape = Shape::Polygons(vec![(fixture::rectangle(5.0, 0.0, 15.0, 10.0), vec![hole])]);
        let depth = 2.0 - (at.x - 10.0).abs().max((at.y - 5.0).abs());
        prop_assume!(depth > 0.0 && f64::abs(depth - margin) > 1e-9);
        // Inside the hole: within the zone where the border has moved past it.
        prop_assert_eq!(!held(&[shape], &[at], margin, 0.0).is_empty(), depth < margin);
    }

    #[test]
    fn a_uniform_belief_gives_each_zone_its_share_of_the_area(ring in star()) {
        let registry = registry(vec![Shape::Polygons(vec![(ring.clone(), Vec::new())])]);
        let tree = ZoneTree::new(&registry);
        let grid = Grid::new(&registry);
        let count = grid.open.iter().filter(|open| **open).count() as f32;
        let belief: Vec<f32> = grid.open.iter().map(|open| if *open { 1.0 / count } else { 0.0 }).collect();
        let found = CellShares::new(&tree, &grid, &registry.site().margins, 2).membership(DeviceKind::Customer, &grid, Belief::whole(&grid, &belief));
        let found = found.first().map_or(0.0, |(_, probability)| probability.get());
        // Counted on a finer raster, over the same open cells within the outline.
        let (mut hits, mut all) = (0.0, 0.0);
        for cell in (0..grid.len()).filter(|cell| grid.open[*cell]) {
            let centre = grid.centre(cell);
            for at in 0..100 {
                let offset = |at: i32| ((f64::from(at) + 0.5) / 10.0 - 0.5) * grid.cell;
                let p = Point { x: centre.x + offset(at % 10), y: centre.y + offset(at / 10) };
                let is_within = tree.within_outline(GROUND, p);
                hits += f64::from(u8::from(is_within && in_ring(&ring, p)));
                all += f64::from(u8::from(is_within));
            }
        }
        prop_assert!((found - hits / all).abs() < 0.01, "{found} {}", hits / all);
    }
}

#[test]
fn a_precise_position_is_inside_or_not_and_a_vague_one_is_a_share() {
    let a = Shape::Polygons(vec![(fixture::rectangle(0.0, 0.0, 10.0, 10.0), Vec::new())]);
    let registry = registry(vec![a]);
    let tree = ZoneTree::new(&registry);
    let probability = |x, accuracy| {
        let found = gaussian_membership(&tree, GROUND, Point { x, y: 5.0 }, accuracy, 0.0);
        found.first().map_or(0.0, |(_, probability)| probability.get())
    };
    assert!((probability(5.0, 0.1) - 1.0).abs() < 1e-9);
    assert!(probability(15.0, 0.1).abs() < 1e-9);
    // On the border half of a narrow Gaussian is inside.
    assert!((probability(10.0, 0.5) - 0.5).abs() < 0.05);
    // One sigma inside the border: 84 %.
    assert!((probability(9.0, 1.0) - 0.84).abs() < 0.03);
}

#[test]
fn what_lies_outside_the_outline_does_not_count() {
    // The site ends at x = 30: a Gaussian on its edge is inside zone b with all of the mass that can be anywhere.
    let b = Shape::Polygons(vec![(fixture::rectangle(20.0, 0.0, 30.0, 10.0), Vec::new())]);
    let registry = registry(vec![b]);
    let tree = ZoneTree::new(&registry);
    let found = gaussian_membership(&tree, GROUND, Point { x: 30.0, y: 5.0 }, 1.0, 0.0);
    assert!(found[0].1.get() > 0.99, "{found:?}");
    assert!(gaussian_membership(&tree, GROUND, Point { x: 300.0, y: 5.0 }, 1.0, 0.0).is_empty());
}

#[test]
fn parts_that_touch_have_no_border_between_them() {
    let part = |x0, x1| (fixture::rectangle(x0, 0.0, x1, 10.0), Vec::new());
    let two = Shape::Polygons(vec![part(0.0, 6.0), part(6.0, 10.0)]);
    let one = Shape::Polygons(vec![part(0.0, 10.0)]);
    for margin in [-2.0, -0.5, 1.5] {
        assert_eq!(
            held(std::slice::from_ref(&two), &raster(), margin, 0.0),
            held(std::slice::from_ref(&one), &raster(), margin, 0.0)
        );
    }
    assert!(!vanishes(&two, -4.9) && vanishes(&two, -5.1));
}

#[test]
fn each_kind_has_its_own_border_for_beliefs_and_for_reports() {
    let a = Shape::Polygons(vec![(fixture::rectangle(0.0, 0.0, 10.0, 10.0), Vec::new())]);
    let margins = KindMargins { customer: 0.0, staff: 2.0, asset: -2.0 };
    let registry = with_margins(vec![a], 1.0, margins);
    let (tree, grid) = (ZoneTree::new(&registry), Grid::new(&registry));
    let shares = CellShares::new(&tree, &grid, &registry.site().margins, 2);
    // All of the belief is in the cell around x = 11.5.
    let cell =
        (0..grid.len()).min_by_key(|at| (grid.centre(*at).distance(Point { x: 11.5, y: 5.0 }) * 1e6) as u64).unwrap();
    let mut belief = vec![0.0; grid.len()];
    belief[cell] = 1.0;
    let share =
        |kind| shares.membership(kind, &grid, Belief::whole(&grid, &belief)).first().map_or(0.0, |(_, p)| p.get());
    assert!(share(DeviceKind::Customer) < 0.5 && share(DeviceKind::Staff) > 0.99 && share(DeviceKind::Asset) == 0.0);
    let report = |x, kind: DeviceKind| {
        let found = gaussian_membership(&tree, GROUND, Point { x, y: 5.0 }, 0.1, margins.of(kind));
        found.first().map_or(0.0, |(_, p)| p.get())
    };
    for (kind, border) in [(DeviceKind::Customer, 11.0), (DeviceKind::Staff, 13.0), (DeviceKind::Asset, 9.0)] {
        assert!(report(border - 0.5, kind) > 0.99 && report(border + 0.5, kind) < 0.01, "{kind:?}");
    }
}
