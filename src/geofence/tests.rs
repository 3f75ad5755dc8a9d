//! The tree against exhaustive search, the shares against counting.

use proptest::prelude::*;

use super::{CellShares, ZoneTree, gaussian_membership};
use crate::model::{LevelOrdinal, Point};
use crate::position::Grid;
use crate::registry::{PresenceSettings, Registry, Ring, Shape, ZoneIndex, fixture};

const GROUND: LevelOrdinal = LevelOrdinal(0);

fn registry(shapes: Vec<Shape>) -> Registry {
    let zones = shapes
        .into_iter()
        .enumerate()
        .map(|(at, shape)| fixture::zone(&format!("z{at}"), shape, PresenceSettings::default()))
        .collect();
    Registry::new(fixture::site(), Vec::new(), zones, Vec::new(), Vec::new()).unwrap()
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
    fn a_uniform_belief_gives_each_zone_its_share_of_the_area(ring in star()) {
        let registry = registry(vec![Shape::Polygons(vec![(ring.clone(), Vec::new())])]);
        let tree = ZoneTree::new(&registry);
        let grid = Grid::new(&registry);
        let count = grid.open.iter().filter(|open| **open).count() as f32;
        let belief: Vec<f32> = grid.open.iter().map(|open| if *open { 1.0 / count } else { 0.0 }).collect();
        let found = CellShares::new(&tree, &grid, 2).membership(&belief);
        let found = found.first().map_or(0.0, |(_, probability)| probability.get());
        // Counted on a finer raster, over the same open cells.
        let (mut hits, mut all) = (0.0, 0.0);
        for cell in (0..grid.len()).filter(|cell| grid.open[*cell]) {
            let centre = grid.centre(cell);
            for at in 0..100 {
                let offset = |at: i32| ((f64::from(at) + 0.5) / 10.0 - 0.5) * grid.cell;
                let p = Point { x: centre.x + offset(at % 10), y: centre.y + offset(at / 10) };
                hits += f64::from(u8::from(in_ring(&ring, p)));
                all += 1.0;
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
        let found = gaussian_membership(&tree, GROUND, Point { x, y: 5.0 }, accuracy);
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
    let found = gaussian_membership(&tree, GROUND, Point { x: 30.0, y: 5.0 }, 1.0);
    assert!(found[0].1.get() > 0.99, "{found:?}");
    assert!(gaussian_membership(&tree, GROUND, Point { x: 300.0, y: 5.0 }, 1.0).is_empty());
}
