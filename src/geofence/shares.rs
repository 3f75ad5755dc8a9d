//! From a belief to the probability of each zone.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{LevelOrdinal, Metres, Point, Probability};
use crate::position::{Belief, Grid};
use crate::registry::{DeviceKind, KindMargins, ZoneIndex};

use super::{Overlaps, ZoneTree};

/// The zones with a probability above zero, in the registry's order.
pub type Membership = Vec<(ZoneIndex, Probability)>;

/// A cell is divided into so many by so many points to find its share of a zone.
const SAMPLES_PER_SIDE: usize = 4;
/// A Gaussian is divided into so many rings of equal mass …
const RINGS: usize = 12;
/// … of so many points each.
const POINTS_PER_RING: usize = 16;

/// For each cell of a grid, which zones it lies in and with what share of its area; for each kind of device.
#[derive(Debug, PartialEq)]
pub struct CellShares {
    /// One for each margin that a kind has.
    tables: Vec<Table>,
    /// The table of each kind, in the order of [`DeviceKind::ALL`].
    table_of: [usize; 3],
    zones: usize,
    /// For each cell, the share of its area within its level's outline; empty where all of every cell is.
    within: Vec<f32>,
    overlaps: Overlaps,
}

/// What an edit changes of zones.
#[derive(Debug, Default)]
pub struct Redrawn {
    /// The zones that are others, or new.
    pub zones: BTreeSet<ZoneIndex>,
    /// Boxes of the ground that they covered and cover, margins included: two corners each.
    pub ground: Vec<(Point, Point)>,
}

impl Redrawn {
    /// Whether a cell may lie on that ground.
    fn concerns(&self, grid: &Grid, cell: usize) -> bool {
        let Point { x, y } = grid.centre(cell);
        self.ground.iter().any(|(low, high)| {
            let is_in = |at: f64, low: f64, high: f64| (low - grid.cell..=high + grid.cell).contains(&at);
            is_in(x, low.x, high.x) && is_in(y, low.y, high.y)
        })
    }
}

#[derive(Debug, PartialEq)]
struct Table {
    /// Where each cell's entries begin in `entries`; one more than there are cells.
    starts: Vec<u32>,
    entries: Vec<(ZoneIndex, f32)>,
}

impl CellShares {
    /// Works out the shares of every cell.
    pub fn new(tree: &ZoneTree, grid: &Grid, margins: &KindMargins, zones: usize) -> Self {
        let mut distinct: Vec<Metres> = Vec::new();
        let table_of = DeviceKind::ALL.map(|kind| {
            let margin = margins.of(kind);
            distinct.iter().position(|known| known.total_cmp(&margin).is_eq()).unwrap_or_else(|| {
                distinct.push(margin);
                distinct.len() - 1
            })
        });
        let mut overlaps = Overlaps::default();
        let anew = |_: usize| None;
        let tables = distinct.into_iter().map(|margin| Table::new(tree, grid, margin, anew, &mut overlaps)).collect();
        let mut within: Vec<f32> = (0..grid.len())
            .map(|cell| {
                let level = grid.levels[cell / grid.level_len()];
                let points = samples(grid, cell);
                let inside = points.iter().filter(|point| tree.within_outline(level, **point)).count();
                inside as f32 / points.len() as f32
            })
            .collect();
        if within.iter().all(|share| *share >= 1.0) {
            within = Vec::new();
        }
        Self { tables, table_of, zones, within, overlaps }
    }

    /// What [`CellShares::new`] would give where nothing has changed but these zones: not the grid, nor the outlines of levels, nor the
    /// margins of kinds, nor where any zone is in the list.
    #[must_use]
    pub fn redrawn(
        &self,
        tree: &ZoneTree,
        grid: &Grid,
        margins: &KindMargins,
        zones: usize,
        redrawn: &Redrawn,
    ) -> Self {
        let mut overlaps = self.overlaps.without(&redrawn.zones);
        let concerned: Vec<bool> = (0..grid.len()).map(|cell| redrawn.concerns(grid, cell)).collect();
        let mut tables = Vec::with_capacity(self.tables.len());
        for (at, before) in self.tables.iter().enumerate() {
            // Each table is some kind's.
            let Some(kind) = DeviceKind::ALL.into_iter().find(|kind| self.table_of[*kind as usize] == at) else {
                continue;
            };
            let known = |cell: usize| (!concerned[cell]).then(|| before.cell(cell));
            tables.push(Table::new(tree, grid, margins.of(kind), known, &mut overlaps));
        }
        Self { tables, table_of: self.table_of, zones, within: self.within.clone(), overlaps }
    }

    /// Which zones overlap, for devices of any kind.
    pub fn overlaps(&self) -> &Overlaps {
        &self.overlaps
    }

    /// The mass of a belief that lies within the outlines.
    fn mass_within(&self, grid: &Grid, belief: Belief<'_>) -> f64 {
        if self.within.is_empty() {
            return 1.0;
        }
        let row = |(first, row): (usize, &[f32])| -> f64 {
            let shares = &self.within[first..first + row.len()];
            f64::from(row.iter().zip(shares).map(|(mass, share)| mass * share).sum::<f32>())
        };
        belief.rows(grid).map(row).sum()
    }

    /// The probability of each zone for a device of that kind, under a belief over the grid's cells, which sums to 1.
    pub fn membership(&self, kind: DeviceKind, grid: &Grid, belief: Belief<'_>) -> Membership {
        let table = &self.tables[self.table_of[kind as usize]];
        let mut mass = vec![0.0_f64; self.zones];
        let mut touched = Vec::new();
        for (first, row) in belief.rows(grid) {
            for (cell, probability) in (first..).zip(row).filter(|(_, p)| **p > 1e-7) {
                for (zone, share) in table.cell(cell) {
                    if mass[zone.get()] == 0.0 {
                        touched.push(*zone);
                    }
                    mass[zone.get()] += f64::from(probability * share);
                }
            }
        }
        touched.sort_unstable();
        touched.dedup();
        let whole = self.mass_within(grid, belief).max(1e-6);
        touched.into_iter().map(|zone| (zone, Probability::saturating(mass[zone.get()] / whole))).collect()
    }
}

/// Points evenly over a cell.
fn samples(grid: &Grid, cell: usize) -> Vec<Point> {
    let (centre, step) = (grid.centre(cell), grid.cell / SAMPLES_PER_SIDE as f64);
    let offset = |at: usize| (at as f64 + 0.5) * step - grid.cell / 2.0;
    (0..SAMPLES_PER_SIDE * SAMPLES_PER_SIDE)
        .map(|at| Point { x: centre.x + offset(at % SAMPLES_PER_SIDE), y: centre.y + offset(at / SAMPLES_PER_SIDE) })
        .collect()
}

impl Table {
    /// The table for devices of a kind with that margin. What is `known` of a cell is taken over.
    fn new<'t>(
        tree: &ZoneTree,
        grid: &Grid,
        kind_margin: Metres,
        known: impl Fn(usize) -> Option<&'t [(ZoneIndex, f32)]>,
        overlaps: &mut Overlaps,
    ) -> Self {
        let mut starts = Vec::with_capacity(grid.len() + 1);
        let mut entries = Vec::new();
        let whole = (SAMPLES_PER_SIDE * SAMPLES_PER_SIDE) as f32;
        for cell in 0..grid.len() {
            starts.push(entries.len() as u32);
            if let Some(known) = known(cell) {
                entries.extend_from_slice(known);
                continue;
            }
            let level = grid.levels[cell / grid.level_len()];
            // What lies beyond the outline is nowhere.
            let mut points = samples(grid, cell);
            points.retain(|point| tree.within_outline(level, *point));
            let mut counts: BTreeMap<ZoneIndex, u32> = BTreeMap::new();
            let mut zones_of: Vec<Vec<ZoneIndex>> = vec![Vec::new(); points.len()];
            tree.hits(level, &points, kind_margin, |zone, at| {
                *counts.entry(zone).or_default() += 1;
                zones_of[at].push(zone);
            });
            if counts.len() > 1 {
                zones_of.iter().for_each(|zones| overlaps.add(zones));
            }
            entries.extend(counts.into_iter().map(|(zone, count)| (zone, (count as f32 / whole).min(1.0))));
        }
        starts.push(entries.len() as u32);
        Self { starts, entries }
    }

    /// The zones of a cell, and its shares of them.
    fn cell(&self, cell: usize) -> &[(ZoneIndex, f32)] {
        &self.entries[self.starts[cell] as usize..self.starts[cell + 1] as usize]
    }
}

/// The probability of each zone of a level for a Gaussian of standard deviation `accuracy` (metres, along each axis)
/// around a point: the share of its mass within the level's outline that lies in the zone. Empty where all of it lies
/// outside the outline. `kind_margin` is that of the device's kind.
pub fn gaussian_membership(
    tree: &ZoneTree,
    level: LevelOrdinal,
    around: Point,
    accuracy: Metres,
    kind_margin: Metres,
) -> Membership {
    let mut points = Vec::with_capacity(RINGS * POINTS_PER_RING);
    for ring in 0..RINGS {
        // The radius below which a share q of a two-dimensional Gaussian lies is sd·√(−2 ln(1 − q)) (Rayleigh).
        let q = (ring as f64 + 0.5) / RINGS as f64;
        let radius = accuracy * (-2.0 * (1.0 - q).ln()).sqrt();
        // Every other ring is turned by half a step, so that no direction is favoured.
        let turn = if ring % 2 == 0 { 0.0 } else { 0.5 };
        for at in 0..POINTS_PER_RING {
            let angle = (at as f64 + turn) / POINTS_PER_RING as f64 * std::f64::consts::TAU;
            let point = Point { x: around.x + radius * angle.cos(), y: around.y + radius * angle.sin() };
            if tree.within_outline(level, point) {
                points.push(point);
            }
        }
    }
    let mut counts: BTreeMap<ZoneIndex, u32> = BTreeMap::new();
    tree.hits(level, &points, kind_margin, |zone, _| *counts.entry(zone).or_default() += 1);
    let whole = points.len().max(1) as f64;
    counts.into_iter().map(|(zone, count)| (zone, Probability::saturating(f64::from(count) / whole))).collect()
}
