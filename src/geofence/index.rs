//! The R-tree, and exact tests of what it proposes.

use geo::{Contains, Coord, Polygon};
use rstar::{AABB, RTree, RTreeObject};

use crate::model::{LevelOrdinal, Metres, Point};
use crate::registry::{DeviceKind, Registry, Shape, ZoneIndex};

use super::border::{Border, middle, polygon};

/// The zones of a registry, by place. The reserved zone `site` is not among them: it has no shape.
#[derive(Debug)]
pub struct ZoneTree {
    tree: RTree<Part>,
    outlines: Vec<(LevelOrdinal, Option<Polygon>)>,
    /// For each zone its own margin, and its border where any margin but 0 can apply to it.
    margins: Vec<(Metres, Option<Border>)>,
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
        let kinds = DeviceKind::ALL.map(|kind| registry.site().margins.of(kind));
        let widest = kinds.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let mut parts = Vec::new();
        let mut margins = Vec::new();
        for (at, zone) in registry.zones().iter().enumerate() {
            let zone_index = ZoneIndex(at as u32);
            let own = zone.presence.margin;
            let moves = kinds.iter().any(|kind| own + kind != 0.0);
            margins.push((own, moves.then(|| Border::new(&zone.shape)).flatten()));
            let Some(level) = zone.level else { continue };
            let wider = (own + widest).max(0.0);
            let widen =
                |low: [f64; 2], high: [f64; 2]| AABB::from_corners(low.map(|v| v - wider), high.map(|v| v + wider));
            match &zone.shape {
                Shape::Site => {}
                Shape::Circle { centre, radius } => parts.push(Part {
                    zone: zone_index,
                    level,
                    envelope: widen([centre.x - radius, centre.y - radius], [centre.x + radius, centre.y + radius]),
                    area: Area::Circle { centre: *centre, radius: *radius },
                }),
                Shape::Polygons(polygons) => parts.extend(polygons.iter().map(|(outer, holes)| {
                    let tight = AABB::from_points(&outer.iter().map(|p| [p.x, p.y]).collect::<Vec<_>>());
                    Part {
                        zone: zone_index,
                        level,
                        envelope: widen(tight.lower(), tight.upper()),
                        area: Area::Polygon(polygon(outer, holes)),
                    }
                })),
            }
        }
        let outlines = registry
            .site()
            .levels
            .iter()
            .map(|level| (level.ordinal, level.outline.as_ref().map(|ring| polygon(ring, &[]))))
            .collect();
        Self { tree: RTree::bulk_load(parts), outlines, margins }
    }

    /// The zones of a level that hold a point, in the registry's order, none twice; as they are drawn, without margins.
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

    /// For each of `points`, whether it lies in each zone of the level that it could, whose border is moved outwards by the
    /// zone's margin and `kind_margin`: calls `hit(zone, index of point)`, at most once for a pair where the parts of a
    /// zone do not overlap.
    pub(super) fn hits(
        &self,
        level: LevelOrdinal,
        points: &[Point],
        kind_margin: Metres,
        mut hit: impl FnMut(ZoneIndex, usize),
    ) {
        if points.is_empty() {
            return;
        }
        let envelope = AABB::from_points(&points.iter().map(|p| [p.x, p.y]).collect::<Vec<_>>());
        let mut moved = Vec::new();
        for part in self.tree.locate_in_envelope_intersecting(envelope).filter(|part| part.level == level) {
            if self.margins[part.zone.get()].0 + kind_margin == 0.0 {
                for at in (0..points.len()).filter(|at| part.contains(points[*at])) {
                    hit(part.zone, at);
                }
            } else {
                moved.push(part.zone);
            }
        }
        moved.sort_unstable();
        moved.dedup();
        let (middle, reach) = middle(points);
        for zone in moved {
            let (own, Some(border)) = &self.margins[zone.get()] else { continue };
            let margin = own + kind_margin;
            // The distance changes by no more than the way from the middle: far from the border all points are alike.
            let around = border.beyond(middle);
            let all = if around + reach <= margin { Some(true) } else { (around - reach > margin).then_some(false) };
            for at in (0..points.len()).filter(|at| all.unwrap_or_else(|| border.beyond(points[*at]) <= margin)) {
                hit(zone, at);
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
