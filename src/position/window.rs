//! The part of the grid in which a device is looked for.

use std::ops::Range;

use crate::model::Point;

use super::grid::Grid;

/// A grid of no more cells is looked through as a whole.
const SMALL: usize = 2_048;
/// Cells along each side of a window: 30 m with cells of 0.75 m.
const SIDE: usize = 40;
/// A window moves when the device comes so close to its edge, in cells.
const EDGE: f64 = 8.0;

/// The same columns and rows of every level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub(super) column: usize,
    pub(super) row: usize,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Window {
    /// All of a grid.
    pub(super) fn whole(grid: &Grid) -> Self {
        Self { column: 0, row: 0, columns: grid.columns, rows: grid.rows }
    }

    /// The window around a point; the whole grid where that is small.
    pub(super) fn around(grid: &Grid, point: Point) -> Self {
        if grid.len() <= SMALL {
            return Self::whole(grid);
        }
        let along = |at: f64, cells: usize| {
            let len = SIDE.min(cells);
            let first = (at / grid.cell - len as f64 / 2.0).round().clamp(0.0, (cells - len) as f64);
            (first as usize, len)
        };
        let (column, columns) = along(point.x - grid.origin.x, grid.columns);
        let (row, rows) = along(point.y - grid.origin.y, grid.rows);
        Self { column, row, columns, rows }
    }

    /// Cells of one level.
    pub(super) fn level_len(&self) -> usize {
        self.columns * self.rows
    }

    /// Cells of all levels.
    pub(super) fn len(&self, grid: &Grid) -> usize {
        self.level_len() * grid.levels.len()
    }

    /// Each row of each level: its cells in the grid, and in the window.
    pub(super) fn rows(&self, grid: &Grid) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let window = *self;
        let (level_len, columns) = (grid.level_len(), grid.columns);
        (0..grid.levels.len() * window.rows).map(move |at| {
            let (level, row) = (at / window.rows, at % window.rows);
            let first = level * level_len + (window.row + row) * columns + window.column;
            (first..first + window.columns, at * window.columns..(at + 1) * window.columns)
        })
    }

    /// Whether a point is so close to an edge, beyond which there is more of the grid, that the window should move.
    pub(super) fn is_at_edge(&self, grid: &Grid, point: Point) -> bool {
        let along = |at: f64, first: usize, len: usize, cells: usize| {
            let at = at / grid.cell;
            (first > 0 && at < first as f64 + EDGE) || (first + len < cells && at > (first + len) as f64 - EDGE)
        };
        along(point.x - grid.origin.x, self.column, self.columns, grid.columns)
            || along(point.y - grid.origin.y, self.row, self.rows, grid.rows)
    }

    /// Whether a point lies more than so many metres outside.
    pub(super) fn is_beyond(&self, grid: &Grid, point: Point, metres: f64) -> bool {
        let along = |at: f64, first: usize, len: usize| {
            at < first as f64 * grid.cell - metres || at > (first + len) as f64 * grid.cell + metres
        };
        along(point.x - grid.origin.x, self.column, self.columns) || along(point.y - grid.origin.y, self.row, self.rows)
    }
}

/// A belief: the probability of each cell of a window. All others have none.
#[derive(Debug, Clone, Copy)]
pub struct Belief<'a> {
    window: Window,
    mass: &'a [f32],
}

impl<'a> Belief<'a> {
    pub(super) fn new(window: Window, mass: &'a [f32]) -> Self {
        Self { window, mass }
    }

    /// A belief over a whole grid.
    pub fn whole(grid: &Grid, mass: &'a [f32]) -> Self {
        Self { window: Window::whole(grid), mass }
    }

    /// Row by row, the number of the first cell in the grid, and the probabilities from there on.
    pub fn rows(self, grid: &Grid) -> impl Iterator<Item = (usize, &'a [f32])> {
        self.window.rows(grid).map(move |(cells, own)| (cells.start, &self.mass[own]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LevelOrdinal;

    fn grid(columns: usize, rows: usize) -> Grid {
        let levels = vec![LevelOrdinal(0), LevelOrdinal(1)];
        let open = vec![true; columns * rows * 2];
        Grid { origin: Point { x: -10.0, y: 5.0 }, cell: 0.75, columns, rows, levels, open }
    }

    #[test]
    fn a_small_grid_is_its_own_window() {
        let grid = grid(30, 20);
        let window = Window::around(&grid, Point { x: 0.0, y: 0.0 });
        assert_eq!(window, Window::whole(&grid));
        assert!(!window.is_at_edge(&grid, Point { x: -10.0, y: 5.0 }));
        let all: Vec<usize> = window.rows(&grid).flat_map(|(cells, _)| cells).collect();
        assert_eq!(all, (0..1200).collect::<Vec<_>>());
    }

    #[test]
    fn a_window_stays_within_the_grid_and_holds_its_point() {
        let grid = grid(200, 30);
        for x in [-50.0, -10.0, 20.0, 100.0, 139.0, 500.0] {
            let window = Window::around(&grid, Point { x, y: 12.0 });
            assert_eq!((window.columns, window.rows, window.row), (SIDE, 30, 0));
            let inside = x.clamp(-10.0, 140.0);
            assert!(!window.is_beyond(&grid, Point { x: inside, y: 12.0 }, 0.0), "{x}");
            assert!(window.rows(&grid).all(|(cells, own)| cells.end <= grid.len() && own.end <= window.len(&grid)));
        }
        let window = Window::around(&grid, Point { x: 20.0, y: 12.0 });
        assert!(!window.is_at_edge(&grid, Point { x: 20.0, y: 5.0 }));
        assert!(window.is_at_edge(&grid, Point { x: 30.0, y: 12.0 }));
        assert!(window.is_beyond(&grid, Point { x: 40.0, y: 12.0 }, 3.0));
    }
}
