//! The cells over which a device's place is a probability, and their distances from the receivers.

use crate::model::{LevelOrdinal, Point};
use crate::registry::{Level, Registry, bounds, nearest_on_ring, ring_holds, shape_bounds};

/// Side of a cell in metres, where receivers are dense and the site is small enough.
const CELL: f64 = 0.75;
/// Where receivers are farther apart, cells are larger, so that so many lie between two: positions are no better than a
/// fraction of that, and a window must hold the next receivers.
const CELLS_BETWEEN_RECEIVERS: f64 = 16.0;
/// At most so many cells over all levels (a store of 150 m by 120 m on two); the cells of a larger site are larger.
const MOST_CELLS: f64 = 65_536.0;
/// What the box of outlines, receivers and zones is widened by, in metres. A belief goes so far beyond an outline, which is
/// not that exact: cut off at the wall, it would keep those who stand at it too far inside.
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
    /// For each cell, whether its centre lies within its level's outline, or close to it.
    pub open: Vec<bool>,
}

impl Grid {
    /// The grid over a site: the box of its outlines, receivers and zones.
    pub fn new(registry: &Registry) -> Self {
        let levels = &registry.site().levels;
        let mut grid = Self::closed(registry);
        grid.open = (0..grid.len())
            .map(|at| {
                let centre = grid.centre(at);
                levels[at / grid.level_len()].outline.as_ref().is_none_or(|ring| {
                    ring_holds(ring, centre) || nearest_on_ring(ring, centre).distance(centre) <= MARGIN
                })
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

    /// Whether two sites of the same levels and outlines have the same grid.
    pub fn is_shared(one: &Registry, other: &Registry) -> bool {
        one.shares_zones_with(other) && one.receivers() == other.receivers() || Self::closed(one) == Self::closed(other)
    }

    /// The grid without what is open of it.
    fn closed(registry: &Registry) -> Self {
        let levels = &registry.site().levels;
        let receivers = registry.receivers().iter().map(|receiver| receiver.point);
        let outlines = levels.iter().flat_map(|level| level.outline.iter().flatten().copied());
        let zones = registry.zones().iter().filter_map(|zone| shape_bounds(&zone.shape)).flat_map(|(a, b)| [a, b]);
        let (Point { x: x0, y: y0 }, Point { x: x1, y: y1 }) = bounds(receivers.chain(outlines).chain(zones));
        let (width, height) = (x1 - x0 + 2.0 * MARGIN, y1 - y0 + 2.0 * MARGIN);
        let area = width * height * levels.len() as f64;
        let spacing = (area / registry.receivers().len().max(1) as f64).sqrt();
        let cell = CELL.max(spacing / CELLS_BETWEEN_RECEIVERS).max((area / MOST_CELLS).sqrt());
        let (columns, rows) = ((width / cell).ceil() as usize, (height / cell).ceil() as usize);
        Self {
            origin: Point { x: x0 - MARGIN, y: y0 - MARGIN },
            cell,
            columns,
            rows,
            levels: levels.iter().map(|l| l.ordinal).collect(),
            open: Vec::new(),
        }
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

    /// The cell that holds a point of a level; the nearest one where it lies beyond the grid. None on a level that is not
    /// there.
    pub fn cell_at(&self, point: Point, level: LevelOrdinal) -> Option<usize> {
        let level = self.levels.iter().position(|known| *known == level)?;
        let along = |from: f64, cells: usize| ((from / self.cell).max(0.0) as usize).min(cells.saturating_sub(1));
        let (column, row) = (along(point.x - self.origin.x, self.columns), along(point.y - self.origin.y, self.rows));
        Some(level * self.level_len() + row * self.columns + column)
    }
}

/// What lies between a device and a receiver, as far as the log-distance law is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Link {
    /// log10 of the distance in metres, in three dimensions.
    pub(crate) log_distance: f64,
    /// What the floors between swallow, in dB.
    pub(crate) floor_loss: f64,
}

/// A receiver's ends of its links.
#[derive(Debug, Clone)]
pub(crate) struct Links<'a> {
    levels: &'a [Level],
    point: Point,
    height: f64,
    place: usize,
}

impl<'a> Links<'a> {
    /// The links of a receiver at that point, so high above the floor of its level.
    pub(crate) fn new(levels: &'a [Level], point: Point, z: f64, level: LevelOrdinal) -> Self {
        let links = Self { levels, point, height: 0.0, place: 0 };
        let (place, elevation) = links.floor(level);
        Self { height: elevation + z, place, ..links }
    }

    /// The link from a device that is carried over that point.
    pub(crate) fn from(&self, point: Point, level: LevelOrdinal) -> Link {
        let (place, elevation) = self.floor(level);
        let rise = self.height - elevation - DEVICE_HEIGHT;
        let distance = point.distance(self.point).hypot(rise).max(NEAREST);
        Link { log_distance: distance.log10(), floor_loss: FLOOR_LOSS * place.abs_diff(self.place) as f64 }
    }

    fn floor(&self, level: LevelOrdinal) -> (usize, f64) {
        let found = self.levels.iter().enumerate().find(|(_, known)| known.ordinal == level);
        found.map_or((0, 0.0), |(at, known)| (at, known.elevation))
    }
}
