//! Where one can be in a store, and the ways from one place to another.
//!
//! Ways are straight where the level's outline allows; else they lead around its corners (a shortest way inside a polygon
//! only ever bends at corners). From level to level they lead over a passage: where zones are labelled `role=stairs`,
//! `lift` or `escalator` on both levels, those, else one in the middle of what both levels share.

use crate::model::{LevelOrdinal, Metres, Point};
use crate::registry::{Registry, Ring, Zone, bounds, ring_holds, shape_bounds, shape_holds};

use super::shapes::{edge_distance, inset_corners, sees};

/// Distance that ways keep from the corners of an outline, in metres.
const CORNER_INSET: Metres = 0.6;
/// Spots along each side of the box around a zone.
const SPOTS_A_SIDE: usize = 24;

/// A place: a point on a floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// The point in the site frame.
    pub point: Point,
    /// The floor's place in [`Places::floors`].
    pub floor: usize,
}

/// A level as walkers know it.
#[derive(Debug)]
pub(super) struct Floor {
    pub ordinal: LevelOrdinal,
    pub elevation: Metres,
    pub outline: Option<Ring>,
    corners: Vec<Point>,
}

/// What a zone is to a walker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Goods: where shoppers go.
    Goods,
    /// Where they come in and leave.
    Entrance,
    /// Where they pay.
    Checkout,
    /// Not for shoppers.
    Staff,
    /// Leads to another level.
    Passage,
}

/// A zone as walkers know it.
#[derive(Debug)]
pub(super) struct Area {
    pub floor: usize,
    pub role: Role,
    /// A spot near its middle.
    pub centre: Point,
    /// Points all over it, each inside zone and outline; at least one.
    pub spots: Vec<Point>,
}

/// A way between two neighbouring floors.
#[derive(Debug)]
struct Passage {
    lower: usize,
    foot: Point,
    head: Point,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Places {
    /// Lowest first.
    pub floors: Vec<Floor>,
    /// Those that can be walked to from the entrance.
    pub areas: Vec<Area>,
    pub entrance: Place,
    passages: Vec<Passage>,
}

impl Places {
    /// The places of a site; none where no zone offers a spot inside its level.
    pub fn new(registry: &Registry) -> Option<Self> {
        let mut floors: Vec<Floor> = registry
            .site()
            .levels
            .iter()
            .map(|level| Floor {
                ordinal: level.ordinal,
                elevation: level.elevation,
                outline: level.outline.clone(),
                corners: level.outline.as_ref().map(|ring| inset_corners(ring, CORNER_INSET)).unwrap_or_default(),
            })
            .collect();
        floors.sort_by(|a, b| a.elevation.total_cmp(&b.elevation));
        let areas: Vec<Area> = registry.zones().iter().filter_map(|zone| Area::new(zone, &floors)).collect();
        let entrance = entrance(&floors, &areas)?;
        let passages = (1..floors.len()).flat_map(|upper| passages(&floors, &areas, upper - 1)).collect();
        let mut places = Self { floors, areas: Vec::new(), entrance, passages };
        places.areas = areas
            .into_iter()
            .filter(|area| places.way(entrance, Place { point: area.centre, floor: area.floor }).is_some())
            .collect();
        if places.areas.is_empty() { None } else { Some(places) }
    }

    /// The floor of that ordinal.
    pub fn floor(&self, ordinal: LevelOrdinal) -> Option<usize> {
        self.floors.iter().position(|floor| floor.ordinal == ordinal)
    }

    /// The places on the way, `to` included and `from` not; none where there is no way. Where the floor changes from one
    /// place to the next, the way leads over a passage.
    pub fn way(&self, from: Place, to: Place) -> Option<Vec<Place>> {
        let mut way = Vec::new();
        let mut here = from;
        while here.floor != to.floor {
            let up = here.floor < to.floor;
            let lower = if up { here.floor } else { here.floor - 1 };
            let ends = |p: &Passage| if up { (p.foot, p.head) } else { (p.head, p.foot) };
            let (near, far) = self
                .passages
                .iter()
                .filter(|passage| passage.lower == lower)
                .map(ends)
                .min_by(|a, b| detour(here, *a, to).total_cmp(&detour(here, *b, to)))?;
            self.way_on_floor(here, near, &mut way)?;
            here = Place { point: far, floor: if up { lower + 1 } else { lower } };
            way.push(here);
        }
        self.way_on_floor(here, to.point, &mut way)?;
        Some(way)
    }

    fn way_on_floor(&self, from: Place, to: Point, way: &mut Vec<Place>) -> Option<()> {
        let floor = &self.floors[from.floor];
        let place = |point| Place { point, floor: from.floor };
        let Some(ring) = floor.outline.as_ref().filter(|ring| !sees(ring, from.point, to)) else {
            way.push(place(to));
            return Some(());
        };
        // Dijkstra's search over the corners; there are few.
        let nodes: Vec<Point> = [from.point, to].into_iter().chain(floor.corners.iter().copied()).collect();
        let mut reached = vec![(f64::INFINITY, 0, false); nodes.len()];
        reached[0].0 = 0.0;
        loop {
            let (here, _) = reached
                .iter()
                .enumerate()
                .filter(|(_, (length, _, done))| !done && length.is_finite())
                .min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0))?;
            if here == 1 {
                break;
            }
            reached[here].2 = true;
            for next in 0..nodes.len() {
                let length = reached[here].0 + nodes[here].distance(nodes[next]);
                if length < reached[next].0 && sees(ring, nodes[here], nodes[next]) {
                    reached[next] = (length, here, false);
                }
            }
        }
        let mut back = vec![to];
        let mut node = reached[1].1;
        while node != 0 {
            back.push(nodes[node]);
            node = reached[node].1;
        }
        way.extend(back.into_iter().rev().map(place));
        Some(())
    }
}

impl Area {
    fn new(zone: &Zone, floors: &[Floor]) -> Option<Self> {
        let floor = floors.iter().position(|floor| Some(floor.ordinal) == zone.level)?;
        let (low, high) = shape_bounds(&zone.shape)?;
        let step = |low: f64, high: f64, i: usize| low + (high - low) * (i as f64 + 0.5) / SPOTS_A_SIDE as f64;
        let spots: Vec<Point> = (0..SPOTS_A_SIDE * SPOTS_A_SIDE)
            .map(|i| Point { x: step(low.x, high.x, i % SPOTS_A_SIDE), y: step(low.y, high.y, i / SPOTS_A_SIDE) })
            .filter(|&p| shape_holds(&zone.shape, p))
            .filter(|&p| floors[floor].outline.as_ref().is_none_or(|ring| ring_holds(ring, p)))
            .collect();
        let count = spots.len() as f64;
        let mean = Point {
            x: spots.iter().map(|p| p.x).sum::<f64>() / count,
            y: spots.iter().map(|p| p.y).sum::<f64>() / count,
        };
        let centre = spots.iter().copied().min_by(|a, b| a.distance(mean).total_cmp(&b.distance(mean)))?;
        Some(Self { floor, role: Role::of(zone), centre, spots })
    }
}

impl Role {
    /// By the label `role`, else by the id: a site that was not made for this still has its entrance found.
    fn of(zone: &Zone) -> Self {
        let word = zone.labels.get("role").map_or_else(|| zone.id.as_str().to_ascii_lowercase(), Clone::clone);
        let says = |words: &[&str]| words.iter().any(|w| word.contains(w));
        if says(&["entrance", "entry"]) {
            Self::Entrance
        } else if says(&["checkout", "tills"]) {
            Self::Checkout
        } else if says(&["staff", "stockroom"]) {
            Self::Staff
        } else if says(&["stairs", "lift", "escalator"]) {
            Self::Passage
        } else {
            Self::Goods
        }
    }
}

/// The entrance: in the zone of that role, else in the lowest floor's first zone, as near to the outline as it goes.
fn entrance(floors: &[Floor], areas: &[Area]) -> Option<Place> {
    let ground = floors.iter().position(|floor| floor.ordinal == LevelOrdinal(0)).unwrap_or(0);
    let area = areas
        .iter()
        .find(|area| area.role == Role::Entrance)
        .or_else(|| areas.iter().find(|area| area.floor == ground))
        .or_else(|| areas.first())?;
    let to_wall = |p: Point| floors[area.floor].outline.as_ref().map_or(0.0, |ring| edge_distance(ring, p));
    // Near a wall, but not in a corner of the zone.
    let cost = |p: Point| to_wall(p) + 0.2 * p.distance(area.centre);
    let point = area.spots.iter().copied().min_by(|&a, &b| cost(a).total_cmp(&cost(b)))?;
    Some(Place { point, floor: area.floor })
}

fn passages(floors: &[Floor], areas: &[Area], lower: usize) -> Vec<Passage> {
    let of = |floor: usize| areas.iter().filter(move |area| area.floor == floor && area.role == Role::Passage);
    let labelled: Vec<Passage> = of(lower)
        .filter_map(|foot| {
            let head = of(lower + 1)
                .min_by(|a, b| a.centre.distance(foot.centre).total_cmp(&b.centre.distance(foot.centre)))?;
            Some(Passage { lower, foot: foot.centre, head: head.centre })
        })
        .collect();
    if !labelled.is_empty() {
        return labelled;
    }
    let holds = |floor: usize, p: Point| floors[floor].outline.as_ref().is_none_or(|ring| ring_holds(ring, p));
    let extent = |floor: usize| match &floors[floor].outline {
        Some(ring) => bounds(ring.iter().copied()),
        None => bounds(areas.iter().filter(|area| area.floor == floor).flat_map(|area| area.spots.iter().copied())),
    };
    let ((l0, h0), (l1, h1)) = (extent(lower), extent(lower + 1));
    let (low, high) = (Point { x: l0.x.max(l1.x), y: l0.y.max(l1.y) }, Point { x: h0.x.min(h1.x), y: h0.y.min(h1.y) });
    let middle = Point { x: f64::midpoint(low.x, high.x), y: f64::midpoint(low.y, high.y) };
    let grid = (0..SPOTS_A_SIDE * SPOTS_A_SIDE).map(|i| Point {
        x: low.x + (high.x - low.x) * ((i % SPOTS_A_SIDE) as f64 + 0.5) / SPOTS_A_SIDE as f64,
        y: low.y + (high.y - low.y) * ((i / SPOTS_A_SIDE) as f64 + 0.5) / SPOTS_A_SIDE as f64,
    });
    [middle]
        .into_iter()
        .chain(grid)
        .filter(|&p| holds(lower, p) && holds(lower + 1, p))
        .min_by(|a, b| a.distance(middle).total_cmp(&b.distance(middle)))
        .map(|point| Passage { lower, foot: point, head: point })
        .into_iter()
        .collect()
}

fn detour(from: Place, (near, far): (Point, Point), to: Place) -> f64 {
    from.point.distance(near) + far.distance(to.point)
}
