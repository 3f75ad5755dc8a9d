//! How a belief spreads while its device may have walked: Gaussian blurs for steps of time, and the walls.

use std::time::Duration;

use super::grid::Grid;
use super::window::Window;

/// The shortest step of time that there is a blur for, in seconds; less is kept for the next update.
const SHORTEST: f64 = 0.05;
/// Each step is so many times as long as the one before.
const RATIO: f64 = 1.3;
/// Elapsed time counts for no more than this, in seconds.
const LONGEST: f64 = 3.0;

/// The blurs of a grid.
#[derive(Debug)]
pub(super) struct Kernels(Vec<Kernel>);

#[derive(Debug)]
pub(super) struct Kernel {
    /// What it stands for, in seconds.
    pub(super) seconds: f64,
    /// Its centre and one side.
    taps: Vec<f32>,
    /// For each cell, the share of a step from it that would end behind a wall, and stays; empty where there is none.
    stays: Vec<f32>,
}

impl Kernels {
    /// `wander` is how far a device strays, in metres per square root of a second.
    pub(super) fn new(grid: &Grid, wander: f64) -> Self {
        let closed: Vec<f32> = grid.open.iter().map(|open| if *open { 0.0 } else { 1.0 }).collect();
        let has_walls = closed.iter().any(|share| *share > 0.0);
        let steps = std::iter::successors(Some(SHORTEST), |step| (*step < LONGEST).then_some(step * RATIO));
        let kernels = steps.map(|step| {
            let seconds = step.min(LONGEST);
            let taps = taps(wander * seconds.sqrt() / grid.cell);
            let mut stays = if has_walls { closed.clone() } else { Vec::new() };
            let mut scratch = Vec::new();
            for level in stays.chunks_mut(grid.level_len()) {
                blur(level, grid.columns, grid.rows, &taps, &mut scratch);
            }
            Kernel { seconds, taps, stays }
        });
        Self(kernels.collect())
    }

    /// The longest step that is no longer than that; none where even the shortest is.
    pub(super) fn at_most(&self, elapsed: Duration) -> Option<&Kernel> {
        let elapsed = elapsed.as_secs_f64() + 1e-9;
        self.0.iter().rev().find(|kernel| kernel.seconds <= elapsed)
    }
}

/// More than this is not to be believed of a walk between two sightings.
pub(super) const LONGEST_STEP: Duration = Duration::from_millis((LONGEST * 1e3) as u64);

impl Kernel {
    /// Spreads the mass of a window of the grid. All of it stays in the window, and in the open cells.
    pub(super) fn spread(&self, grid: &Grid, window: &Window, mass: &mut [f32], scratch: &mut Vec<f32>) {
        let before = if self.stays.is_empty() { Vec::new() } else { mass.to_vec() };
        for level in mass.chunks_mut(window.level_len()) {
            blur(level, window.columns, window.rows, &self.taps, scratch);
        }
        if before.is_empty() {
            return;
        }
        for (cells, own) in window.rows(grid) {
            let (open, stays) = (&grid.open[cells.clone()], &self.stays[cells]);
            let was = &before[own.clone()];
            for (((mass, was), open), stays) in mass[own].iter_mut().zip(was).zip(open).zip(stays) {
                *mass = if *open { *mass + was * stays } else { 0.0 };
            }
        }
    }
}

/// A symmetric kernel of that standard deviation in cells: its centre and one side.
fn taps(sd: f64) -> Vec<f32> {
    // Three taps carry a small variance exactly, where a sampled Gaussian would not.
    if sd < 0.7 {
        let side = sd * sd / 2.0;
        return vec![(1.0 - 2.0 * side) as f32, side as f32];
    }
    let raw: Vec<f64> = (0..=(3.0 * sd).ceil() as usize).map(|at| (-0.5 * (at as f64 / sd).powi(2)).exp()).collect();
    let total = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
    raw.iter().map(|weight| (weight / total) as f32).collect()
}

/// Blurs one level by the kernel along both axes; what would leave is reflected.
fn blur(level: &mut [f32], columns: usize, rows: usize, taps: &[f32], scratch: &mut Vec<f32>) {
    let reach = taps.len() - 1;
    scratch.clear();
    scratch.resize(columns + 2 * reach, 0.0);
    for row in level.chunks_exact_mut(columns) {
        for (at, value) in scratch.iter_mut().enumerate() {
            *value = row[reflect(at as isize - reach as isize, columns)];
        }
        row.iter_mut().zip(&scratch[reach..]).for_each(|(value, own)| *value = taps[0] * own);
        for (by, weight) in taps.iter().enumerate().skip(1) {
            let (before, behind) = (&scratch[reach - by..], &scratch[reach + by..]);
            for ((value, before), behind) in row.iter_mut().zip(before).zip(behind) {
                *value += weight * (before + behind);
            }
        }
    }
    scratch.clear();
    scratch.extend_from_slice(level);
    let row_of = |at: isize| {
        let first = reflect(at, rows) * columns;
        first..first + columns
    };
    for (at, row) in level.chunks_exact_mut(columns).enumerate() {
        let at = at as isize;
        row.iter_mut().for_each(|value| *value *= taps[0]);
        for (by, weight) in taps.iter().enumerate().skip(1) {
            let by = by as isize;
            let (above, below) = (&scratch[row_of(at - by)], &scratch[row_of(at + by)]);
            for ((value, above), below) in row.iter_mut().zip(above).zip(below) {
                *value += weight * (above + below);
            }
        }
    }
}

fn reflect(at: isize, len: usize) -> usize {
    let len = len as isize;
    if (0..len).contains(&at) {
        return at as usize;
    }
    let at = at.rem_euclid(2 * len);
    (if at >= len { 2 * len - 1 - at } else { at }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LevelOrdinal, Point};

    #[test]
    fn blurring_keeps_the_mass_and_adds_the_variance() {
        for sd in [0.3, 0.69, 0.71, 2.5] {
            let (columns, rows) = (61, 41);
            let mut level = vec![0.0; columns * rows];
            level[20 * columns + 30] = 1.0;
            blur(&mut level, columns, rows, &taps(sd), &mut Vec::new());
            let total: f32 = level.iter().sum();
            let across = |of: &dyn Fn(usize) -> f64| -> f64 {
                level.iter().enumerate().map(|(at, mass)| f64::from(*mass) * of(at).powi(2)).sum()
            };
            let (x, y) = (across(&|at| (at % columns) as f64 - 30.0), across(&|at| (at / columns) as f64 - 20.0));
            assert!((total - 1.0).abs() < 1e-4, "{sd} {total}");
            assert!((x - sd * sd).abs() < 0.06 * sd * sd && (y - x).abs() < 1e-4, "{sd} {x} {y}");
        }
    }

    #[test]
    fn nothing_leaves_through_the_edge() {
        let mut level = vec![0.0; 5];
        level[0] = 1.0;
        blur(&mut level, 5, 1, &taps(3.0), &mut Vec::new());
        assert!((level.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    /// A room in the shape of an L.
    fn with_walls() -> Grid {
        let (columns, rows) = (12, 10);
        Grid {
            origin: Point { x: 0.0, y: 0.0 },
            cell: 0.75,
            columns,
            rows,
            levels: vec![LevelOrdinal(0)],
            open: (0..columns * rows).map(|at| at % columns < 5 || at / columns < 4).collect(),
        }
    }

    #[test]
    fn walls_let_nothing_through_and_draw_nothing_to_them() {
        let grid = with_walls();
        let window = Window::whole(&grid);
        let kernels = Kernels::new(&grid, 1.0);
        let open = grid.open.iter().filter(|open| **open).count() as f32;
        for kernel in &kernels.0 {
            let mut mass: Vec<f32> = grid.open.iter().map(|is_open| if *is_open { 1.0 / open } else { 0.0 }).collect();
            kernel.spread(&grid, &window, &mut mass, &mut Vec::new());
            for (mass, open_cell) in mass.iter().zip(&grid.open) {
                let expected = if *open_cell { 1.0 / open } else { 0.0 };
                assert!((mass - expected).abs() < 1e-6, "{} {mass} {expected}", kernel.seconds);
            }
            let mut corner = vec![0.0; grid.len()];
            corner[3 * 12 + 4] = 1.0;
            kernel.spread(&grid, &window, &mut corner, &mut Vec::new());
            assert!((corner.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn the_step_taken_is_never_longer_than_the_time_passed() {
        let kernels = Kernels::new(&with_walls(), 1.0);
        assert!(kernels.at_most(Duration::from_millis(40)).is_none());
        for millis in [50, 200, 333, 1000, 2999, 3000, 9000] {
            let elapsed = Duration::from_millis(millis);
            let taken = kernels.at_most(elapsed).unwrap().seconds;
            assert!(
                taken <= elapsed.as_secs_f64() + 1e-6 && taken * RATIO * 1.01 >= elapsed.as_secs_f64().min(LONGEST)
            );
        }
    }
}
