//! The cells over which a device's place is a probability, and what each receiver is expected to hear from each of them.

use crate::model::{LevelOrdinal, Metres, Point};
use crate::registry::{Level, Registry, bounds, ring_holds, shape_bounds};

/// Side of a cell in metres, where the site is small enough.
const CELL: f64 = 0.75;
/// At most so many cells over all levels; the cells of a larger site are larger.
const MOST_CELLS: f64 = 8_192.0;
/// What the box of receivers and zones is widened by, in metres.
const MARGIN: f64 = 0.5;
/// Height at which a device is carried, in metres.
const DEVICE_HEIGHT: f64 = 1.0;
/// Distances are taken to be at least so long, in metres: the log-distance law says nothing of the near field.
const NEAREST: f64 = 0.5;
/// What a ceiling swallows, in dB. ITU-R P.1238 gives 6 (shops) to 15 (offices) for one floor at 2 GHz.
const FLOOR_LOSS: f64 = 10.0;

/// Cells of equal size over every level of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Lower left corner.
    pub origin: Point,
    /// Side of a cell in metres.
    pub cell: f64,
    /// Cells along x.
    pub columns: usize,
    /// Cells along y.
    pub rows: usize,
    /// The levels, in the site's order; cells of the first come first.
    pub levels: Vec<LevelOrdinal>,
    /// For each cell, whether its centre lies within its level's outline.
    pub open: Vec<bool>,
}

impl Grid {
    /// The grid over a site: the box of its outlines, receivers and zones.
    pub fn new(registry: &Registry) -> Self {
        let levels = &registry.site().levels;
        let receivers = registry.receivers().iter().map(|receiver| receiver.point);
        let outlines = levels.iter().flat_map(|level| level.outline.iter().flatten().copied());
        let zones = registry.zones().iter().filter_map(|zone| shape_bounds(&zone.shape)).flat_map(|(a, b)| [a, b]);
        let (Point { x: x0, y: y0 }, Point { x: x1, y: y1 }) = bounds(receivers.chain(outlines).chain(zones));
        let (width, height) = (x1 - x0 + 2.0 * MARGIN, y1 - y0 + 2.0 * MARGIN);
        let cell = CELL.max((width * height * levels.len() as f64 / MOST_CELLS).sqrt());
        let (columns, rows) = ((width / cell).ceil() as usize, (height / cell).ceil() as usize);
        let mut grid = Self {
            origin: Point { x: x0 - MARGIN, y: y0 - MARGIN },
            cell,
            columns,
            rows,
            levels: levels.iter().map(|l| l.ordinal).collect(),
            open: Vec::new(),
        };
        grid.open = (0..grid.len())
            .map(|at| {
                levels[at / grid.level_len()].outline.as_ref().is_none_or(|ring| ring_holds(ring, grid.centre(at)))
            })
            .collect();
        // An outline too small for any cell's centre closes nothing: a level must have somewhere to be.
        let per_level = grid.level_len();
        for level in grid.open.chunks_mut(per_level) {
            if level.iter().all(|open| !open) {
                level.fill(true);
            }
        }
        grid
    }

    /// Cells of one level.
    pub fn level_len(&self) -> usize {
        self.columns * self.rows
    }

    /// Cells of all levels.
    pub fn len(&self) -> usize {
        self.level_len() * self.levels.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The centre of a cell.
    pub fn centre(&self, cell: usize) -> Point {
        let at = cell % self.level_len();
        Point {
            x: self.origin.x + ((at % self.columns) as f64 + 0.5) * self.cell,
            y: self.origin.y + ((at / self.columns) as f64 + 0.5) * self.cell,
        }
    }

    /// The level to be expected between a device in each cell and what hangs at a place, `z` above the floor of `on`, in dB
    /// relative to the power at 1 m: the log-distance law in three dimensions, and a loss for each floor between.
    pub(crate) fn expected_levels(
        &self,
        at: Point,
        on: LevelOrdinal,
        z: Metres,
        levels: &[Level],
        exponent: f64,
    ) -> Vec<f32> {
        let elevation =
            |ordinal: LevelOrdinal| levels.iter().find(|l| l.ordinal == ordinal).map_or(0.0, |l| l.elevation);
        let place = |ordinal: LevelOrdinal| levels.iter().position(|l| l.ordinal == ordinal).unwrap_or(0);
        let height = elevation(on) + z;
        (0..self.len())
            .map(|cell| {
                let level = self.levels[cell / self.level_len()];
                let dz = height - elevation(level) - DEVICE_HEIGHT;
                let d = self.centre(cell).distance(at).hypot(dz).max(NEAREST);
                let floors = place(level).abs_diff(place(on)) as f64;
                (-10.0 * exponent * d.log10() - FLOOR_LOSS * floors) as f32
            })
            .collect()
    }
}
