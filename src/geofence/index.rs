//! The R-tree, and exact tests of what it proposes.

use geo::{Contains, Coord, LineString, Polygon};
use rstar::{AABB, RTree, RTreeObject};

use crate::model::{LevelOrdinal, Point};
use crate::registry::{Registry, Ring, Shape, ZoneIndex};

/// The zones of a registry, by place. The reserved zone `site` is not among them: it has no shape.
#[derive(Debug)]
pub struct ZoneTree {
    tree: RTree<Part>,
    outlines: Vec<(LevelOrdinal, Option<Polygon>)>,
}

/// One part of a zone: a circle or one of its polygons.
#[derive(Debug)]
struct Part {
    zone: ZoneIndex,
    level: LevelOrdinal,
    envelope: AABB<[f64; 2]>,
    area: Area,
}

#[derive(Debug)]
enum Area {
    Circle { centre: Point, radius: f64 },
    Polygon(Polygon),
}

impl RTreeObject for Part {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        self.envelope
    }
}

impl Part {
    fn contains(&self, at: Point) -> bool {
        match &self.area {
            Area::Circle { centre, radius } => centre.distance(at) <= *radius,
            Area::Polygon(polygon) => polygon.contains(&Coord { x: at.x, y: at.y }),
        }
    }
}

impl ZoneTree {
    /// Indexes the zones.
    pub fn new(registry: &Registry) -> Self {
        let mut parts = Vec::new();
        for (at, zone) in registry.zones().iter().enumerate() {
            let zone_index = ZoneIndex(at as u32);
            let Some(level) = zone.level else { continue };
            match &zone.shape {
                Shape::Site => {}
                Shape::Circle { centre, radius } => parts.push(Part {
                    zone: zone_index,
                    level,
                    envelope: AABB::from_corners(
                        [centre.x - radius, centre.y - radius],
                        [centre.x + radius, centre.y + radius],
                    ),
                    area: Area::Circle { centre: *centre, radius: *radius },
                }),
                Shape::Polygons(polygons) => parts.extend(polygons.iter().map(|(outer, holes)| Part {
                    zone: zone_index,
                    level,
                    envelope: AABB::from_points(&outer.iter().map(|p| [p.x, p.y]).collect::<Vec<_>>()),
                    area: Area::Polygon(Polygon::new(line(outer), holes.iter().map(line).collect())),
                })),
            }
        }
        let outlines = registry
            .site()
            .levels
            .iter()
            .map(|level| (level.ordinal, level.outline.as_ref().map(|ring| Polygon::new(line(ring), Vec::new()))))
            .collect();
        Self { tree: RTree::bulk_load(parts), outlines }
    }

    /// The zones of a level that hold a point, in the registry's order, none twice.
    pub fn zones_at(&self, level: LevelOrdinal, at: Point) -> Vec<ZoneIndex> {
        let mut zones: Vec<ZoneIndex> = self
            .tree
            .locate_in_envelope_intersecting(AABB::from_point([at.x, at.y]))
            .filter(|part| part.level == level && part.contains(at))
            .map(|part| part.zone)
            .collect();
        zones.sort_unstable();
        zones.dedup();
        zones
    }

    /// For each of `points`, whether it lies in each zone of the level that it could: calls `hit(zone, index of point)`,
    /// at most once for a pair where the parts of a zone do not overlap.
    pub(super) fn hits(&self, level: LevelOrdinal, points: &[Point], mut hit: impl FnMut(ZoneIndex, usize)) {
        if points.is_empty() {
            return;
        }
        let envelope = AABB::from_points(&points.iter().map(|p| [p.x, p.y]).collect::<Vec<_>>());
        for part in self.tree.locate_in_envelope_intersecting(envelope).filter(|part| part.level == level) {
            for at in (0..points.len()).filter(|at| part.contains(points[*at])) {
                hit(part.zone, at);
            }
        }
    }

    /// Whether a point lies within the level's outline; true where it has none.
    pub(super) fn within_outline(&self, level: LevelOrdinal, at: Point) -> bool {
        self.outlines
            .iter()
            .find(|(ordinal, _)| *ordinal == level)
            .and_then(|(_, outline)| outline.as_ref())
            .is_none_or(|outline| outline.contains(&Coord { x: at.x, y: at.y }))
    }
}

fn line(ring: &Ring) -> LineString {
    ring.iter().chain(ring.first()).map(|p| Coord { x: p.x, y: p.y }).collect()
}
