//! What each receiver is expected to hear from each cell, and how sure that is.
//!
//! *Without a survey* of the receiver it is the log-distance law, known to [`LAW_SD`].
//!
//! *With one* it is the law that was fitted to the receiver's survey points, and on top of it a Gaussian process over what
//! the points deviate from that law (shelves, walls and people shade the same place in the same way): near a survey point the
//! map is what was heard there, and farther away it goes back to the law and is less sure of itself. Each level has a process
//! of its own, since a ceiling changes what shades what. The recipe is Gaussian-process regression with an exponential
//! kernel (Rasmussen and Williams, *Gaussian Processes for Machine Learning*, algorithm 2.1), the kernel that the
//! measurements of shadowing suggest (Gudmundson, *Electronics Letters* 27(23), 1991).

use std::ops::Range;

use crate::model::{LevelOrdinal, Point};
use crate::registry::{Calibration, Level, Receiver, ReceiverCalibration, SurveyPoint};

use super::fading::Fading;
use super::grid::{Grid, Links};
use super::linear::Cholesky;

/// Uncertainty of the log-distance law where nothing was surveyed, in dB.
const LAW_SD: f64 = 6.0;
/// Variance of the shadowing, in dB².
const SHADOWING: f64 = 25.0;
/// Distance over which shadowing loses 1 - 1/e of its likeness, in metres.
const SHADOWING_DISTANCE: f64 = 6.0;
/// How far the mean of a survey point may be from what the same place gives later, standard deviation in dB.
const NUGGET: f64 = 2.5;
/// What is uncertain however near a survey point is (who holds the device, and how), variance in dB².
const ALWAYS: f64 = 1.0;

/// Least and greatest uncertainty that there is a table for, and the step between tables, in dB.
const TABLES: (f64, f64, f64) = (1.5, 10.0, 0.25);

/// On a level of more cells the process is worked out for every other cell, or fewer, and interpolated in between: it changes
/// little within a few metres, and its cost is points² for each cell.
const MOST_EXACT: usize = 4_096;

/// Cells that are predicted together.
const TOGETHER: usize = 16;

/// Expected levels are kept in steps of the tables.
const STEPS_PER_DB: f64 = 1.0 / super::fading::STEP;

/// The tables of log densities, one for each step of uncertainty.
#[derive(Debug)]
pub(super) struct Fadings(Vec<Fading>);

impl Fadings {
    pub(super) fn new() -> Self {
        let (least, most, step) = TABLES;
        let count = ((most - least) / step).round() as usize + 1;
        Self((0..count).map(|at| Fading::new(least + at as f64 * step)).collect())
    }

    /// The table of that number, as [`Fadings::table`] gives it.
    #[inline]
    pub(super) fn get(&self, table: u8) -> &Fading {
        &self.0[usize::from(table)]
    }

    /// The number of the table for an uncertainty in dB.
    fn table(sd: f64) -> u8 {
        let (least, most, step) = TABLES;
        ((sd.clamp(least, most) - least) / step).round() as u8
    }
}

/// What is to be expected between one anchor and a device in each cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LevelMap {
    /// In steps of the fading tables, relative to the power at 1 m.
    expected: Vec<i16>,
    uncertainty: Uncertainty,
}

/// Which fading table is to be used.
#[derive(Debug, Clone, PartialEq)]
enum Uncertainty {
    /// The same one everywhere.
    Even(u8),
    /// One for each cell.
    Cells(Vec<u8>),
}

impl LevelMap {
    /// By the log-distance law.
    pub(super) fn by_law(grid: &Grid, links: &Links<'_>, exponent: f64) -> Self {
        let expected = (0..grid.len()).map(|cell| {
            let link = links.from(grid.centre(cell), grid.levels[cell / grid.level_len()]);
            quantised(-10.0 * exponent * link.log_distance - link.floor_loss)
        });
        Self { expected: expected.collect(), uncertainty: Uncertainty::Even(Fadings::table(LAW_SD)) }
    }

    /// By the survey of a receiver; relative to `power` in dBm.
    fn surveyed(grid: &Grid, levels: &[Level], of: &ReceiverCalibration, power: f64) -> Self {
        let (mut expected, mut tables) = (Vec::with_capacity(grid.len()), Vec::with_capacity(grid.len()));
        let survey = Survey::new(levels, of);
        for level in &grid.levels {
            for (level, sd) in survey.over(grid, *level, MOST_EXACT) {
                expected.push(quantised(level - power));
                tables.push(Fadings::table(sd));
            }
        }
        Self { expected, uncertainty: Uncertainty::Cells(tables) }
    }

    /// Adds the log density of a reading, so many dB over the power at 1 m, in each of a row of cells, `weight` times.
    #[inline]
    pub(super) fn add_log_densities(
        &self,
        fadings: &Fadings,
        cells: Range<usize>,
        reading: f64,
        weight: f32,
        logs: &mut [f32],
    ) {
        let reading = i32::from(quantised(reading));
        let expected = &self.expected[cells.clone()];
        match &self.uncertainty {
            Uncertainty::Even(table) => {
                let table = fadings.get(*table);
                for (log, expected) in logs.iter_mut().zip(expected) {
                    *log += weight * table.log_density_at(reading - i32::from(*expected));
                }
            }
            Uncertainty::Cells(tables) => {
                for ((log, expected), table) in logs.iter_mut().zip(expected).zip(&tables[cells]) {
                    *log += weight * fadings.get(*table).log_density_at(reading - i32::from(*expected));
                }
            }
        }
    }

    /// The expected level under a part of a belief, in dB, times the mass of that part.
    #[inline]
    pub(super) fn mean_under(&self, cells: Range<usize>, mass: &[f32]) -> f64 {
        let sum: f32 = mass.iter().zip(&self.expected[cells]).map(|(mass, level)| mass * f32::from(*level)).sum();
        f64::from(sum) / STEPS_PER_DB
    }

    /// The expected level of one cell, in dB.
    pub(super) fn level(&self, cell: usize) -> Option<f64> {
        self.expected.get(cell).map(|steps| f64::from(*steps) / STEPS_PER_DB)
    }

    /// Bytes that it takes.
    pub(super) const fn bytes_per_cell() -> usize {
        size_of::<i16>()
    }
}

fn quantised(db: f64) -> i16 {
    (db * STEPS_PER_DB).round() as i16
}

/// The map of one receiver.
#[derive(Debug)]
pub(super) struct ReceiverMap {
    /// The levels.
    pub(super) levels: LevelMap,
    /// What to subtract from the receiver's readings, in dB.
    pub(super) rssi_offset: f64,
    /// Whether it was surveyed.
    pub(super) is_surveyed: bool,
}

impl ReceiverMap {
    /// The map of a receiver, from its survey where there is one.
    pub(super) fn new(
        grid: &Grid,
        receiver: &Receiver,
        levels: &[Level],
        exponent: f64,
        calibration: Option<&Calibration>,
    ) -> Self {
        if let Some((whole, of)) = calibration.and_then(|whole| Some((whole, whole.of(receiver)?))) {
            return Self {
                levels: LevelMap::surveyed(grid, levels, of, whole.measured_power.get()),
                // The readings of the survey had it too.
                rssi_offset: 0.0,
                is_surveyed: true,
            };
        }
        let exponent = calibration.map_or(exponent, |whole| whole.path_loss_exponent);
        let links = Links::new(levels, receiver.point, receiver.z, receiver.level);
        Self { levels: LevelMap::by_law(grid, &links, exponent), rssi_offset: receiver.rssi_offset, is_surveyed: false }
    }
}

/// What the survey of one receiver says of any place.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    links: Links<'a>,
    power: f64,
    exponent: f64,
    shades: Vec<Shade>,
}

/// The Gaussian process of one level.
#[derive(Debug)]
struct Shade {
    level: LevelOrdinal,
    points: Vec<Point>,
    factor: Cholesky,
    /// K⁻¹ times what the points deviate from the law.
    weights: Vec<f64>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(levels: &'a [Level], of: &ReceiverCalibration) -> Self {
        let links = Links::new(levels, of.point, of.z, of.level);
        let mut survey = Self { links, power: of.power, exponent: of.exponent, shades: Vec::new() };
        let mut here: Vec<LevelOrdinal> = of.points.iter().map(|point| point.level).collect();
        here.sort_unstable();
        here.dedup();
        for level in here {
            let points: Vec<&SurveyPoint> = of.points.iter().filter(|point| point.level == level).collect();
            survey.shades.extend(survey.shade(level, &points));
        }
        survey
    }

    fn shade(&self, level: LevelOrdinal, survey: &[&SurveyPoint]) -> Option<Shade> {
        let points: Vec<Point> = survey.iter().map(|at| at.point).collect();
        let mut weights: Vec<f64> = survey.iter().map(|at| at.rssi - self.law(at.point, level)).collect();
        let rows = points.iter().enumerate().map(|(at, point)| {
            let mut row: Vec<f64> = points[..=at].iter().map(|other| likeness(*point, *other)).collect();
            row[at] += NUGGET * NUGGET;
            row
        });
        // The nugget keeps it positive definite, however close the points are.
        let factor = Cholesky::new(rows.collect())?;
        factor.solve(&mut weights);
        Some(Shade { level, points, factor, weights })
    }

    fn law(&self, point: Point, level: LevelOrdinal) -> f64 {
        let link = self.links.from(point, level);
        self.power - 10.0 * self.exponent * link.log_distance - link.floor_loss
    }

    /// The level to be expected at places of one level, in dBm, and its uncertainty in dB.
    pub(super) fn at(&self, places: &[Point], level: LevelOrdinal) -> Vec<(f64, f64)> {
        let Some(shade) = self.shades.iter().find(|shade| shade.level == level) else {
            return places.iter().map(|place| (self.law(*place, level), (SHADOWING + ALWAYS).sqrt())).collect();
        };
        let mut found = Vec::with_capacity(places.len());
        for block in places.chunks(TOGETHER) {
            let mut rows: Vec<[f64; TOGETHER]> = shade
                .points
                .iter()
                .map(|point| std::array::from_fn(|at| likeness(*point, block[at.min(block.len() - 1)])))
                .collect();
            let mut mean = [0.0; TOGETHER];
            for (row, weight) in rows.iter().zip(&shade.weights) {
                mean.iter_mut().zip(row).for_each(|(mean, likeness)| *mean += weight * likeness);
            }
            shade.factor.forward_many(&mut rows);
            let mut known = [0.0; TOGETHER];
            for row in &rows {
                known.iter_mut().zip(row).for_each(|(known, part)| *known += part * part);
            }
            found.extend(block.iter().zip(mean).zip(known).map(|((place, mean), known)| {
                let variance = (SHADOWING - known).max(0.0) + ALWAYS;
                (self.law(*place, level) + mean, variance.sqrt())
            }));
        }
        found
    }
}

impl Survey<'_> {
    /// As [`Survey::at`], for each cell of a level of the grid; the process itself at no more than `most_exact` places.
    fn over(&self, grid: &Grid, level: LevelOrdinal, most_exact: usize) -> Vec<(f64, f64)> {
        let cells: Vec<Point> = (0..grid.level_len()).map(|cell| grid.centre(cell)).collect();
        let stride = (grid.level_len() as f64 / most_exact as f64).sqrt().ceil() as usize;
        if stride <= 1 {
            return self.at(&cells, level);
        }
        let (across, along) = ((grid.columns - 1) / stride + 2, (grid.rows - 1) / stride + 2);
        let first = grid.centre(0);
        let place = |at: usize, stride: usize| (at * stride) as f64 * grid.cell;
        let nodes: Vec<Point> = (0..across * along)
            .map(|at| Point { x: first.x + place(at % across, stride), y: first.y + place(at / across, stride) })
            .collect();
        let nodes: Vec<(f64, f64)> = self
            .at(&nodes, level)
            .into_iter()
            .zip(&nodes)
            .map(|((expected, sd), node)| (expected - self.law(*node, level), sd))
            .collect();
        let split = |at: usize| (at / stride, (at % stride) as f64 / stride as f64);
        let between = |cell: usize| {
            let ((column, fx), (row, fy)) = (split(cell % grid.columns), split(cell / grid.columns));
            let at = row * across + column;
            let corners = [
                (nodes[at], (1.0 - fx) * (1.0 - fy)),
                (nodes[at + 1], fx * (1.0 - fy)),
                (nodes[at + across], (1.0 - fx) * fy),
                (nodes[at + across + 1], fx * fy),
            ];
            corners.iter().fold((0.0, 0.0), |sum, ((mean, sd), share)| (sum.0 + mean * share, sum.1 + sd * share))
        };
        let found = cells.iter().enumerate().map(|(cell, centre)| {
            let (mean, sd) = between(cell);
            (self.law(*centre, level) + mean, sd)
        });
        found.collect()
    }
}

/// Covariance of the shadowing at two places, in dB².
fn likeness(a: Point, b: Point) -> f64 {
    SHADOWING * (-a.distance(b) / SHADOWING_DISTANCE).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ReceiverId;
    use crate::registry::fixture;

    fn of(points: Vec<SurveyPoint>) -> ReceiverCalibration {
        ReceiverCalibration {
            id: ReceiverId::new("r1").unwrap(),
            point: Point { x: 5.0, y: 5.0 },
            z: 1.0,
            level: LevelOrdinal(0),
            power: -60.0,
            exponent: 2.0,
            rssi_offset: 0.0,
            sd: 5.0,
            points,
        }
    }

    fn point(x: f64, rssi: f64) -> SurveyPoint {
        SurveyPoint { point: Point { x, y: 5.0 }, level: LevelOrdinal(0), rssi, count: 100 }
    }

    #[test]
    fn near_a_survey_point_the_map_is_what_was_heard_and_far_away_the_law() {
        let site = fixture::site();
        // The law gives -80 dBm at 10 m; there it was 8 dB less.
        let survey = of(vec![point(15.0, -88.0)]);
        let survey = Survey::new(&site.levels, &survey);
        let found = survey.at(&[Point { x: 15.0, y: 5.0 }, Point { x: 105.0, y: 5.0 }], LevelOrdinal(0));
        let share = SHADOWING / (SHADOWING + NUGGET * NUGGET);
        assert!((found[0].0 - (-80.0 - 8.0 * share)).abs() < 1e-9, "{found:?}");
        assert!((found[0].1 - (SHADOWING * (1.0 - share) + ALWAYS).sqrt()).abs() < 1e-9, "{found:?}");
        assert!((found[1].0 + 100.0).abs() < 1e-3, "{found:?}");
        assert!((found[1].1 - (SHADOWING + ALWAYS).sqrt()).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn a_level_without_survey_points_has_the_law_with_the_floors_between() {
        let mut site = fixture::site();
        site.levels.push(Level { ordinal: LevelOrdinal(1), elevation: 9.0, ..site.levels[0].clone() });
        let survey = of(vec![point(15.0, -88.0)]);
        let survey = Survey::new(&site.levels, &survey);
        let [(level, sd)] = survey.at(&[Point { x: 5.0, y: 5.0 }], LevelOrdinal(1))[..] else { panic!() };
        // 9 m up to the device's own height over the floor above, and one floor.
        assert!((level - (-60.0 - 20.0 * 9.0_f64.log10() - 10.0)).abs() < 1e-9, "{level}");
        assert!((sd - 26.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn many_places_at_once_are_as_one_by_one() {
        let site = fixture::site();
        let points = (0..40).map(|at| point(f64::from(at), -60.0 - f64::from(at * 7 % 23))).collect();
        let survey = of(points);
        let survey = Survey::new(&site.levels, &survey);
        let places: Vec<Point> = (0..37).map(|at| Point { x: f64::from(at) * 0.9, y: 3.0 }).collect();
        let together = survey.at(&places, LevelOrdinal(0));
        for (place, (level, sd)) in places.iter().zip(together) {
            let alone = survey.at(&[*place], LevelOrdinal(0))[0];
            assert!((alone.0 - level).abs() < 1e-9 && (alone.1 - sd).abs() < 1e-9);
        }
    }

    #[test]
    fn interpolated_between_fewer_places_the_map_is_nearly_the_same() {
        let site = fixture::site();
        // What the law says, and a few dB of shadow.
        let shaded = |at: i32| {
            let x = f64::from(at) * 2.5;
            point(x, -60.0 - 20.0 * (x - 5.0).abs().max(0.5).log10() - f64::from(at * 5 % 13) / 2.0)
        };
        let survey = of((0..12).map(shaded).collect());
        let survey = Survey::new(&site.levels, &survey);
        let grid = Grid::new(&fixture::registry(&fixture::settings()));
        let exact = survey.over(&grid, LevelOrdinal(0), usize::MAX);
        let fewer = survey.over(&grid, LevelOrdinal(0), grid.level_len() / 3);
        assert_eq!((exact.len(), fewer.len()), (grid.level_len(), grid.level_len()));
        let errors = exact.iter().zip(&fewer).map(|((a, sd_a), (b, sd_b))| ((a - b).abs(), (sd_a - sd_b).abs()));
        let worst = errors.fold((0.0_f64, 0.0_f64), |worst, (mean, sd)| (worst.0.max(mean), worst.1.max(sd)));
        assert!(worst.0 < 1.5 && worst.1 < 1.5, "{worst:?}");
    }

    #[test]
    fn each_uncertainty_has_the_nearest_table() {
        let fadings = Fadings::new();
        assert_eq!((Fadings::table(0.1), Fadings::table(1.6), Fadings::table(1.7)), (0, 0, 1));
        assert_eq!(usize::from(Fadings::table(99.0)), fadings.0.len() - 1);
        let (found, wanted) = (fadings.get(Fadings::table(4.0)), Fading::new(4.0));
        assert_eq!(found.log_density(0.0).to_bits(), wanted.log_density(0.0).to_bits());
    }
}
