//! A Bayes filter over the cells of the grid, one for each device.
//!
//! *Predict*: a device may have walked, so the belief is blurred by a Gaussian of sd `WANDER·√dt`, and a little of it is
//! spread over everything (it may have taken the stairs, or all of this may be wrong). *Update*: every sighting multiplies
//! the belief by the likelihood of its RSSI at each cell. Packets of one receiver that follow each other closely share
//! their shadowing; they are tempered by the time since the receiver's last one, or they would shout.
//!
//! What a beacon sends at 1 m is learned as it goes, from what all receivers hear against what they would be expected to,
//! because bodies, bags and batteries move it by many dB; the registered power is where it begins.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{LevelOrdinal, Point, Position, Timestamp};
use crate::registry::{BeaconIndex, Calibration, ReceiverIndex, Registry};

use super::grid::Grid;
use super::map::{Fadings, ReceiverMap};

/// How far a shopper strays, in metres per square root of a second.
const WANDER: f64 = 1.2;
/// As above, where the beacon was surveyed.
const SURVEYED_WANDER: f64 = 1.0;
/// Elapsed time counts for no more than this.
const LONGEST_STEP: f64 = 3.0;
/// Share of the belief that is spread over everything, per second.
const UNIFORM_SHARE: f64 = 0.001;
/// A receiver's next packet counts in full after so many seconds.
const INDEPENDENT_AFTER: f64 = 2.0;
/// The stated accuracy is so much of the belief's own spread.
const ACCURACY_SCALE: f64 = 0.95;
/// As above, where the beacon was surveyed.
const SURVEYED_ACCURACY_SCALE: f64 = 0.80;
/// Weight of the whole grid's mean against the mean over past beliefs, when the power is learned.
const PRIOR_BLEND: f64 = 0.3;
/// What learning the power overestimates it by, in dB.
const POWER_BIAS: f64 = 2.0;
/// The registered power counts as much as so many receivers: little where it is only the site's default.
const DEFAULT_POWER_WEIGHT: f64 = 0.25;
/// As above, where it was registered for this very beacon.
const OWN_POWER_WEIGHT: f64 = 4.0;
/// Running means forget with this many samples.
const LONGEST_MEAN: f64 = 400.0;
/// Another level is taken for the device's from this share of the belief on.
const LEVEL_SWITCH: f64 = 0.6;

/// What is the same for every device of a site.
#[derive(Debug)]
pub struct Model {
    grid: Grid,
    fadings: Fadings,
    receivers: Vec<ReceiverMap>,
    /// The mean of each receiver's expected levels over the open cells.
    expected_means: Vec<f64>,
    /// The belief of one who knows nothing: the same for every open cell.
    uniform: Vec<f32>,
    /// The power at 1 m of the beacons that were surveyed.
    surveyed: BTreeMap<BeaconIndex, f64>,
    /// The power of the other beacons, where nothing was registered for them.
    usual_power: f64,
}

impl Model {
    /// The model of a site.
    pub fn new(registry: &Registry) -> Self {
        Self::with_calibration(registry, registry.calibration())
    }

    /// The model of a site with that calibration, in place of its own.
    pub fn with_calibration(registry: &Registry, calibration: Option<&Calibration>) -> Self {
        let grid = Grid::new(registry);
        let site = registry.site();
        let open_cells = grid.open.iter().filter(|open| **open).count().max(1) as f64;
        let uniform: Vec<f32> =
            grid.open.iter().map(|open| if *open { (1.0 / open_cells) as f32 } else { 0.0 }).collect();
        let receivers: Vec<ReceiverMap> = registry
            .receivers()
            .iter()
            .map(|receiver| ReceiverMap::new(&grid, receiver, &site.levels, site.radio.path_loss_exponent, calibration))
            .collect();
        let expected_means = receivers.iter().map(|map| mean_under(&uniform, &map.expected)).collect();
        let surveyed = calibration.map_or(&[][..], |of| &of.beacons).iter().filter_map(|beacon| {
            let at = registry.beacons().iter().position(|known| known.id == beacon.id)?;
            Some((BeaconIndex(at as u32), beacon.measured_power.get()))
        });
        Self {
            fadings: Fadings::new(),
            receivers,
            expected_means,
            uniform,
            surveyed: surveyed.collect(),
            usual_power: calibration.map_or(site.radio.measured_power, |of| of.measured_power).get(),
            grid,
        }
    }

    /// What is believed of a beacon's power before it is heard.
    pub fn power_prior(&self, registry: &Registry, beacon: BeaconIndex) -> PowerPrior {
        if let Some(dbm) = self.surveyed.get(&beacon) {
            return PowerPrior { dbm: *dbm, own: true, surveyed: true };
        }
        let own = registry.beacons()[beacon.get()].measured_power.map(f64::from);
        PowerPrior { dbm: own.unwrap_or(self.usual_power), own: own.is_some(), surveyed: false }
    }

    /// Whether any receiver was surveyed.
    pub(super) fn is_surveyed(&self) -> bool {
        self.receivers.iter().any(|map| map.is_surveyed)
    }

    /// The power of a beacon that was surveyed.
    pub(super) fn surveyed_power(&self, beacon: BeaconIndex) -> Option<f64> {
        self.surveyed.get(&beacon).copied()
    }

    /// The level, relative to the power at 1 m, that a surveyed receiver is expected to hear from a cell.
    pub(super) fn surveyed_level(&self, receiver: ReceiverIndex, cell: usize) -> Option<f64> {
        let map = self.receivers.get(receiver.get()).filter(|map| map.is_surveyed)?;
        map.expected.get(cell).map(|level| f64::from(*level))
    }

    /// The cells.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }
}

/// One sighting, as far as the filter is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// Which receiver.
    pub receiver: ReceiverIndex,
    /// How strong, in dBm.
    pub rssi: f64,
}

/// What is believed of the power that a device's beacons give at 1 m before anything was heard.
#[derive(Debug, Clone, Copy)]
pub struct PowerPrior {
    /// In dBm.
    pub dbm: f64,
    /// Whether it was registered for this very beacon.
    pub own: bool,
    /// Whether it was surveyed: then it is known, and nothing is learned of it.
    pub surveyed: bool,
}

/// What one receiver has heard of the device.
#[derive(Debug, Clone)]
struct Heard {
    receiver: ReceiverIndex,
    last: Timestamp,
    /// Running mean of the RSSI in dBm, over `samples`.
    mean: f64,
    samples: f64,
    /// Running mean of the level expected under past beliefs, over `beliefs`.
    believed: f64,
    beliefs: f64,
}

/// The belief about one device.
#[derive(Debug, Clone)]
pub struct Filter {
    belief: Vec<f32>,
    updated: Option<Timestamp>,
    heard: Vec<Heard>,
    level: usize,
    power: PowerPrior,
}

impl Filter {
    /// The belief of one who knows nothing.
    pub fn new(model: &Model, power: PowerPrior) -> Self {
        Self { belief: model.uniform.clone(), updated: None, heard: Vec::new(), level: 0, power }
    }

    /// The probability of each cell.
    pub fn belief(&self) -> &[f32] {
        &self.belief
    }

    /// Takes in a batch of sightings that belong together (a fraction of a second), and says where the device is.
    ///
    /// Sightings of receivers that the model does not know are passed over. Cost: cells times (receivers of the batch,
    /// and the width of the blur).
    pub fn update(&mut self, model: &Model, batch: &[Sample]) -> Option<Position> {
        let time = batch.iter().map(|s| s.time).max()?;
        self.predict(model, time);
        let mut log_likelihood = vec![0.0_f32; self.belief.len()];
        let weights: Vec<f64> = batch.iter().map(|sample| self.listen(model, sample)).collect();
        let power = self.power_at_1m(model);
        for (sample, weight) in batch.iter().zip(weights) {
            let Some(map) = model.receivers.get(sample.receiver.get()) else { continue };
            let level = (sample.rssi - map.rssi_offset - power) as f32;
            let weight = weight as f32;
            for ((log, expected), table) in log_likelihood.iter_mut().zip(&map.expected).zip(&map.fading) {
                *log += weight * model.fadings.get(*table).log_density(level - expected);
            }
        }
        self.multiply(model, &log_likelihood);
        for heard in &mut self.heard {
            if heard.last == time || batch.iter().any(|s| s.receiver == heard.receiver) {
                let level = mean_under(&self.belief, &model.receivers[heard.receiver.get()].expected);
                heard.beliefs = (heard.beliefs + 1.0).min(LONGEST_MEAN);
                heard.believed += (level - heard.believed) / heard.beliefs;
            }
        }
        Some(self.position(model, time))
    }

    /// What surveyed receivers heard more than is to be expected under the belief, in dB.
    pub(super) fn deviations(&self, model: &Model, batch: &[Sample]) -> Vec<(ReceiverIndex, f64)> {
        let power = self.power_at_1m(model);
        let heard = batch.iter().filter_map(|sample| {
            let map = model.receivers.get(sample.receiver.get()).filter(|map| map.is_surveyed)?;
            Some((sample.receiver, sample.rssi - map.rssi_offset - power - mean_under(&self.belief, &map.expected)))
        });
        heard.collect()
    }

    /// Notes what a receiver heard; gives the weight of this sighting.
    fn listen(&mut self, model: &Model, sample: &Sample) -> f64 {
        let Some(map) = model.receivers.get(sample.receiver.get()) else { return 0.0 };
        let rssi = sample.rssi - map.rssi_offset;
        let Some(heard) = self.heard.iter_mut().find(|heard| heard.receiver == sample.receiver) else {
            self.heard.push(Heard {
                receiver: sample.receiver,
                last: sample.time,
                mean: rssi,
                samples: 1.0,
                believed: 0.0,
                beliefs: 0.0,
            });
            return 1.0;
        };
        let since = sample.time.since(heard.last).as_secs_f64();
        heard.last = heard.last.max(sample.time);
        heard.samples = (heard.samples + 1.0).min(LONGEST_MEAN);
        heard.mean += (rssi - heard.mean) / heard.samples;
        (since / INDEPENDENT_AFTER).min(1.0)
    }

    fn power_at_1m(&self, model: &Model) -> f64 {
        if self.power.surveyed {
            return self.power.dbm;
        }
        let own = if self.power.own { OWN_POWER_WEIGHT } else { DEFAULT_POWER_WEIGHT };
        let (mut sum, mut weight) = (own * self.power.dbm, own);
        for heard in &self.heard {
            let anywhere = model.expected_means[heard.receiver.get()];
            let expected = if heard.beliefs > 0.0 {
                PRIOR_BLEND * anywhere + (1.0 - PRIOR_BLEND) * heard.believed
            } else {
                anywhere
            };
            sum += heard.mean - expected - POWER_BIAS;
            weight += 1.0;
        }
        sum / weight
    }

    fn predict(&mut self, model: &Model, time: Timestamp) {
        let before = self.updated.replace(self.updated.map_or(time, |updated| updated.max(time)));
        let dt = before.map_or(Duration::ZERO, |before| time.since(before)).as_secs_f64().min(LONGEST_STEP);
        if dt <= 0.0 {
            return;
        }
        let wander = if self.power.surveyed { SURVEYED_WANDER } else { WANDER };
        let kernel = kernel(wander * dt.sqrt() / model.grid.cell);
        let (columns, rows) = (model.grid.columns, model.grid.rows);
        for level in self.belief.chunks_mut(columns * rows) {
            blur(level, columns, rows, &kernel);
        }
        let share = (UNIFORM_SHARE * dt) as f32;
        let mut total = 0.0;
        for ((mass, open), uniform) in self.belief.iter_mut().zip(&model.grid.open).zip(&model.uniform) {
            *mass = if *open { *mass * (1.0 - share) + share * uniform } else { 0.0 };
            total += f64::from(*mass);
        }
        self.normalise(model, total);
    }

    fn multiply(&mut self, model: &Model, log_likelihood: &[f32]) {
        let greatest = log_likelihood.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for (mass, log) in self.belief.iter_mut().zip(log_likelihood) {
            *mass *= (log - greatest).exp();
            total += f64::from(*mass);
        }
        self.normalise(model, total);
    }

    fn normalise(&mut self, model: &Model, total: f64) {
        // Nothing left means that the evidence contradicts the belief everywhere: begin anew.
        if total > 1e-30 && total.is_finite() {
            let scale = (1.0 / total) as f32;
            self.belief.iter_mut().for_each(|mass| *mass *= scale);
        } else {
            self.belief.copy_from_slice(&model.uniform);
        }
    }

    /// The mean and spread of the belief on the likeliest level, which changes only for a clear majority.
    fn position(&mut self, model: &Model, time: Timestamp) -> Position {
        let grid = &model.grid;
        let shares: Vec<f64> =
            self.belief.chunks(grid.level_len()).map(|level| level.iter().map(|m| f64::from(*m)).sum()).collect();
        let likeliest = (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or(0);
        if shares[likeliest] >= LEVEL_SWITCH || self.heard.iter().all(|heard| heard.beliefs <= 1.0) {
            self.level = likeliest;
        }
        let first = self.level * grid.level_len();
        let (mut sum, mut x, mut y, mut xx, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (at, mass) in self.belief[first..first + grid.level_len()].iter().enumerate() {
            let (mass, p) = (f64::from(*mass), grid.centre(at));
            sum += mass;
            x += mass * p.x;
            y += mass * p.y;
            xx += mass * p.x * p.x;
            yy += mass * p.y * p.y;
        }
        // A level that was kept against the evidence still has the uniform share; without any mass the centre serves.
        if sum <= 0.0 {
            (sum, x, y) = (1.0, grid.origin.x, grid.origin.y);
        }
        let mean = Point { x: x / sum, y: y / sum };
        let variance = ((xx + yy) / sum - mean.x * mean.x - mean.y * mean.y).max(0.0);
        // Half a cell is as fine as the grid can see.
        let scale = if self.power.surveyed { SURVEYED_ACCURACY_SCALE } else { ACCURACY_SCALE };
        let accuracy = (scale * (variance / 2.0).sqrt()).max(grid.cell / 2.0);
        let level = grid.levels.get(self.level).copied().unwrap_or(LevelOrdinal(0));
        Position { point: mean, level, accuracy, time }
    }
}

fn mean_under(belief: &[f32], levels: &[f32]) -> f64 {
    belief.iter().zip(levels).map(|(mass, level)| f64::from(mass * level)).sum()
}

/// A symmetric kernel of that standard deviation in cells: its centre and one side.
fn kernel(sd: f64) -> Vec<f32> {
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
fn blur(level: &mut [f32], columns: usize, rows: usize, kernel: &[f32]) {
    let mut line = vec![0.0; columns.max(rows)];
    for row in 0..rows {
        blur_line(level, row * columns, 1, columns, kernel, &mut line);
    }
    for column in 0..columns {
        blur_line(level, column, columns, rows, kernel, &mut line);
    }
}

fn blur_line(level: &mut [f32], first: usize, stride: usize, len: usize, kernel: &[f32], line: &mut [f32]) {
    let reach = kernel.len() - 1;
    let line = &mut line[..len];
    for (at, value) in line.iter_mut().enumerate() {
        *value = level[first + at * stride];
    }
    for at in 0..len {
        let mut sum = kernel[0] * line[at];
        if at >= reach && at + reach < len {
            for (by, weight) in kernel.iter().enumerate().skip(1) {
                sum += weight * (line[at - by] + line[at + by]);
            }
        } else {
            for (by, weight) in kernel.iter().enumerate().skip(1) {
                sum +=
                    weight * (line[reflect(at as isize - by as isize, len)] + line[reflect((at + by) as isize, len)]);
            }
        }
        level[first + at * stride] = sum;
    }
}

fn reflect(at: isize, len: usize) -> usize {
    let period = 2 * len as isize;
    let at = at.rem_euclid(period);
    (if at >= len as isize { period - 1 - at } else { at }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_keeps_the_mass_and_adds_the_variance() {
        for sd in [0.3, 0.69, 0.71, 2.5] {
            let (columns, rows) = (61, 41);
            let mut level = vec![0.0; columns * rows];
            level[20 * columns + 30] = 1.0;
            blur(&mut level, columns, rows, &kernel(sd));
            let total: f32 = level.iter().sum();
            let variance: f64 = level
                .iter()
                .enumerate()
                .map(|(at, mass)| f64::from(*mass) * ((at % columns) as f64 - 30.0).powi(2))
                .sum();
            assert!((total - 1.0).abs() < 1e-4, "{sd} {total}");
            assert!((variance - sd * sd).abs() < 0.06 * sd * sd, "{sd} {variance}");
        }
    }

    #[test]
    fn nothing_leaves_through_the_edge() {
        let mut level = vec![0.0; 5];
        level[0] = 1.0;
        blur(&mut level, 5, 1, &kernel(3.0));
        assert!((level.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
