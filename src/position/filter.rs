//! A Bayes filter over the cells of the grid, one for each device.
//!
//! *Predict*: a device may have walked, so the belief is blurred ([`Kernels`]), and a little of it is spread over everything
//! (it may have taken the stairs, or all of this may be wrong). *Update*: every sighting multiplies the belief by the
//! likelihood of its RSSI at each cell. Packets of one anchor that follow each other closely share their shadowing; they are
//! tempered by the time since the anchor's last one, or they would shout.
//!
//! What a beacon sends at 1 m is learned as it goes, from what all receivers hear against what they would be expected to,
//! because bodies, bags and batteries move it by many dB; the registered power is where it begins. A surveyed beacon's is known.
//!
//! On a large site the belief covers a [`Window`] that follows the device, so that its cost does not grow with the site.
//!
//! The constants were settled on recordings of surveys and on simulations; see `docs/accuracy.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{LevelOrdinal, Point, Position, Timestamp};
use crate::registry::{
    Beacon, BeaconIndex, Calibration, Moved, ReceiverIndex, Registry, Ring, nearest_on_ring, ring_holds,
};

use super::anchors::{AnchorIndex, Anchors, Direction};
use super::grid::Grid;
use super::kernel::{Kernels, LONGEST_STEP};
use super::map::{Fadings, LevelMap};
use super::window::{Belief, Window};

/// Share of the belief that is spread over everything, per second.
const UNIFORM_SHARE: f64 = 0.001;
/// How far a shopper strays, in metres per square root of a second, by the law: what it does not know seems to move …
const WANDER: f64 = 1.2;
/// … and on a surveyed site.
const SURVEYED_WANDER: f64 = 1.0;
/// An anchor's next packet counts in full after so many seconds, by the law …
const INDEPENDENT_AFTER: f64 = 1.5;
/// … and on a surveyed site, whose map knows of the shadows.
const SURVEYED_INDEPENDENT_AFTER: f64 = 2.0;
/// The stated accuracy is so much of the belief's own spread, by the law …
const ACCURACY_SCALE: f64 = 0.95;
/// … and on a surveyed site.
const SURVEYED_ACCURACY_SCALE: f64 = 0.80;
/// Weight of the mean level over the whole site against the mean over past beliefs, when the power is learned.
const PRIOR_BLEND: f64 = 0.2;
/// What learning the power overestimates it by, in dB.
const POWER_BIAS: f64 = 1.5;
/// The registered power counts as much as so many anchors: little where it is only the site's default.
const DEFAULT_POWER_WEIGHT: f64 = 0.25;
/// As above, where it was registered for this very beacon.
const OWN_POWER_WEIGHT: f64 = 4.0;
/// A few anchors cannot tell how strong a device sends from how far it is: for each that is missing to so many the usual
/// power counts as much as an anchor …
const FEWEST_ANCHORS: usize = 4;
/// … where those count that were heard within so long.
const RECENTLY: Duration = Duration::from_secs(10);
/// Running means forget with this many samples.
const LONGEST_MEAN: f64 = 400.0;
/// Of the fixed beacons that a device hears, so many are remembered.
const MOST_FIXED: usize = 64;
/// Another level is taken for the device's from this share of the belief on.
const LEVEL_SWITCH: f64 = 0.6;
/// When the loudest anchor of so many updates in a row …
const STRAY_UPDATES: u32 = 5;
/// … is so far outside of the window, in metres, the device is looked for there.
const STRAY: f64 = 3.0;

/// What is the same for every device of a site.
#[derive(Debug)]
pub struct Model {
    grid: Grid,
    /// Of each level.
    outlines: Vec<Option<Ring>>,
    kernels: Kernels,
    fadings: Fadings,
    anchors: Anchors,
    /// The belief of one who knows nothing: the same for every open cell.
    uniform: Vec<f32>,
    /// The power at 1 m of the beacons that were surveyed.
    surveyed: BTreeMap<BeaconIndex, f64>,
    /// The power of what says nothing else, in dBm.
    usual_power: f64,
    independent_after: f64,
    accuracy_scale: f64,
}

/// Whether the fixed beacons of both are the same ones at the same places, in the same order.
fn is_same_anchors(one: &Registry, other: &Registry) -> bool {
    let anchor = |beacon: &Arc<Beacon>| {
        let place = beacon.fixed.filter(|_| beacon.device.is_none())?;
        Some((place, beacon.measured_power))
    };
    if let Some(touched) = other.beacons_touched_since(one) {
        return touched.iter().all(|at| {
            let before = one.beacons().get(at.get()).and_then(anchor);
            before == anchor(&other.beacons()[at.get()])
        });
    }
    let anchors = |registry: &Registry| -> Vec<Arc<Beacon>> {
        registry.beacons().iter().filter(|beacon| anchor(beacon).is_some()).cloned().collect()
    };
    let (ours, theirs) = (anchors(one), anchors(other));
    let is_same = |one: &Arc<Beacon>, other: &Arc<Beacon>| one.id == other.id && anchor(one) == anchor(other);
    ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(one, other)| Arc::ptr_eq(one, other) || is_same(one, other))
}

impl Model {
    /// The model of a site.
    pub fn new(registry: &Registry) -> Self {
        Self::with_calibration(registry, registry.calibration())
    }

    /// The model of a site with that calibration, in place of its own.
    pub fn with_calibration(registry: &Registry, calibration: Option<&Calibration>) -> Self {
        let grid = Grid::new(registry);
        let open_cells = grid.open.iter().filter(|open| **open).count().max(1) as f64;
        let uniform: Vec<f32> =
            grid.open.iter().map(|open| if *open { (1.0 / open_cells) as f32 } else { 0.0 }).collect();
        let surveyed = calibration.map_or(&[][..], |of| &of.beacons).iter().filter_map(|beacon| {
            let at = registry.beacons().iter().position(|known| known.id == beacon.id)?;
            Some((BeaconIndex(at as u32), beacon.measured_power.get()))
        });
        let anchors = Anchors::new(registry, &grid, &uniform, calibration);
        let is_surveyed = anchors.are_surveyed();
        Self {
            outlines: registry.site().levels.iter().map(|level| level.outline.clone()).collect(),
            kernels: Kernels::new(&grid, if is_surveyed { SURVEYED_WANDER } else { WANDER }),
            fadings: Fadings::new(),
            anchors,
            uniform,
            surveyed: surveyed.collect(),
            usual_power: calibration.map_or(registry.site().radio.measured_power, |of| of.measured_power).get(),
            independent_after: if is_surveyed { SURVEYED_INDEPENDENT_AFTER } else { INDEPENDENT_AFTER },
            accuracy_scale: if is_surveyed { SURVEYED_ACCURACY_SCALE } else { ACCURACY_SCALE },
            grid,
        }
    }

    /// Whether the model of one registry is that of another, but for the places of beacons in its list.
    pub fn is_shared(one: &Registry, other: &Registry) -> bool {
        let levels = |registry: &Registry| -> Vec<_> {
            let levels = registry.site().levels.iter();
            levels.map(|level| (level.ordinal, level.elevation, level.outline.clone())).collect()
        };
        one.site().radio == other.site().radio
            && one.receivers() == other.receivers()
            && levels(one) == levels(other)
            && is_same_anchors(one, other)
            && one.calibration() == other.calibration()
            && Grid::is_shared(one, other)
    }

    /// Beacons are at other places of the registry's list, in the same order; `to` says where, of each.
    pub fn reindex(&mut self, to: &Moved<BeaconIndex>) {
        if to.is_kept() {
            return;
        }
        self.anchors.reindex(to);
        let moved = |(beacon, power): (BeaconIndex, f64)| Some((to.to(beacon)?, power));
        self.surveyed = std::mem::take(&mut self.surveyed).into_iter().filter_map(moved).collect();
    }

    /// What is believed of the power of a device's beacon before it is heard; of what carries none, as far as is known,
    /// where there is no beacon.
    pub fn power_prior(&self, registry: &Registry, beacon: Option<BeaconIndex>) -> PowerPrior {
        let unknown = PowerPrior { dbm: self.usual_power, own: false, surveyed: false };
        let Some(beacon) = beacon else { return unknown };
        if let Some(dbm) = self.surveyed.get(&beacon) {
            return PowerPrior { dbm: *dbm, own: true, surveyed: true };
        }
        let own = registry.beacons()[beacon.get()].measured_power;
        own.map_or(unknown, |own| PowerPrior { dbm: own.get(), own: true, surveyed: false })
    }

    /// Whether any receiver was surveyed.
    pub(super) fn is_surveyed(&self) -> bool {
        self.anchors.is_any_surveyed()
    }

    /// The power of a beacon that was surveyed.
    pub(super) fn surveyed_power(&self, beacon: BeaconIndex) -> Option<f64> {
        self.surveyed.get(&beacon).copied()
    }

    /// The level, relative to the power at 1 m, that a surveyed receiver is expected to hear from a cell.
    pub(super) fn surveyed_level(&self, receiver: ReceiverIndex, cell: usize) -> Option<f64> {
        self.anchors.surveyed(receiver.into())?.levels.level(cell)
    }

    /// The cells.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The anchor that a fixed beacon is; none where it has no place.
    pub fn anchor_of(&self, beacon: BeaconIndex) -> Option<AnchorIndex> {
        self.anchors.of_beacon(beacon)
    }

    /// The receiver that an anchor is; none of a fixed beacon.
    pub(super) fn receiver_of(&self, anchor: AnchorIndex) -> Option<ReceiverIndex> {
        self.anchors.receiver(anchor)
    }

    /// To be called before a batch is handed to a filter.
    pub fn prepare(&mut self, batch: &[Sample]) {
        self.anchors.prepare(&self.grid, &self.uniform, batch);
    }
}

/// One sighting, as far as the filter is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// Which receiver heard the device, or which fixed beacon the device heard.
    pub anchor: AnchorIndex,
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

/// What passed between one anchor and the device.
#[derive(Debug, Clone)]
struct Heard {
    anchor: AnchorIndex,
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
    window: Window,
    /// The probability of each cell of the window.
    mass: Vec<f32>,
    /// What each open cell of the window has where nothing is known.
    even: f32,
    /// None before the first update.
    updated: Option<Timestamp>,
    heard: Vec<Heard>,
    /// The level that it is taken to be on, by its place.
    level: usize,
    power: PowerPrior,
    /// Updates in a row whose loudest anchor was far outside of the window.
    strays: u32,
}

impl Filter {
    /// The belief of one who knows nothing.
    pub fn new(model: &Model, power: PowerPrior) -> Self {
        let window = Window::around(&model.grid, model.grid.origin);
        let mut filter =
            Self { window, mass: Vec::new(), even: 0.0, updated: None, heard: Vec::new(), level: 0, power, strays: 0 };
        filter.look_around(model, window);
        filter
    }

    /// The probability of each cell.
    pub fn belief(&self) -> Belief<'_> {
        Belief::new(self.window, &self.mass)
    }

    /// Takes in a batch of sightings that belong together (a fraction of a second), and says where the device is.
    ///
    /// Sightings of anchors that the model does not know, or that were not prepared ([`Model::prepare`]), are passed over.
    /// Cost: cells of the window times (anchors of the batch, and the width of the blur).
    pub fn update(&mut self, model: &Model, batch: &[Sample]) -> Option<Position> {
        let time = batch.iter().map(|s| s.time).max()?;
        self.follow(model, batch);
        let mut scratch = Vec::new();
        self.predict(model, time, &mut scratch);
        let weights: Vec<f64> = batch.iter().map(|sample| self.listen(model, sample)).collect();
        let sends = self.power_at_1m(model, Direction::Sends);
        let hears = self.power_at_1m(model, Direction::Hears);
        let samples = batch.iter().zip(weights).filter(|(_, weight)| *weight > 0.0).filter_map(|(sample, weight)| {
            let power = if model.anchors.direction(sample.anchor) == Direction::Sends { sends } else { hears };
            let reading = sample.rssi - model.anchors.offset(sample.anchor) - power;
            Some((model.anchors.map(sample.anchor)?, reading, weight as f32))
        });
        let samples: Vec<(&LevelMap, f64, f32)> = samples.collect();
        scratch.clear();
        scratch.resize(self.mass.len(), 0.0);
        for (cells, own) in self.window.rows(&model.grid) {
            for (map, reading, weight) in &samples {
                let logs = &mut scratch[own.clone()];
                map.add_log_densities(&model.fadings, cells.clone(), *reading, *weight, logs);
            }
        }
        self.multiply(model, &scratch);
        if !self.power.surveyed {
            self.learn(model, batch);
        }
        let position = self.position(model, time);
        if self.window.is_at_edge(&model.grid, position.point) {
            self.move_window(model, Window::around(&model.grid, position.point));
        }
        Some(position)
    }

    /// What surveyed receivers heard more than is to be expected under the belief, in dB.
    pub(super) fn deviations(&self, model: &Model, batch: &[Sample]) -> Vec<(ReceiverIndex, f64)> {
        let power = self.power_at_1m(model, Direction::Sends);
        let heard = batch.iter().filter_map(|sample| {
            let map = model.anchors.surveyed(sample.anchor)?;
            let level = self.level_under(model, &map.levels);
            let receiver = model.anchors.receiver(sample.anchor)?;
            Some((receiver, sample.rssi - map.rssi_offset - power - level))
        });
        heard.collect()
    }

    /// The level to be expected under the belief, in dB relative to the power at 1 m.
    fn level_under(&self, model: &Model, map: &LevelMap) -> f64 {
        self.window.rows(&model.grid).map(|(cells, own)| map.mean_under(cells, &self.mass[own])).sum()
    }

    /// Notes what was heard; gives the weight of this sighting.
    fn listen(&mut self, model: &Model, sample: &Sample) -> f64 {
        if model.anchors.map(sample.anchor).is_none() {
            return 0.0;
        }
        let rssi = sample.rssi - model.anchors.offset(sample.anchor);
        let Some(heard) = self.heard.iter_mut().find(|heard| heard.anchor == sample.anchor) else {
            self.make_room(model);
            self.heard.push(Heard {
                anchor: sample.anchor,
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
        (since / model.independent_after).min(1.0)
    }

    /// Forgets the fixed beacon that was heard the longest ago, where there are too many.
    fn make_room(&mut self, model: &Model) {
        let fixed =
            || (0..self.heard.len()).filter(|at| model.anchors.direction(self.heard[*at].anchor) == Direction::Hears);
        if self.heard.len() >= MOST_FIXED
            && fixed().count() >= MOST_FIXED
            && let Some(oldest) = fixed().min_by_key(|at| self.heard[*at].last)
        {
            self.heard.remove(oldest);
        }
    }

    /// What arrives at 1 m, learned from one direction alone.
    fn power_at_1m(&self, model: &Model, direction: Direction) -> f64 {
        let prior = match direction {
            Direction::Sends => self.power,
            Direction::Hears => PowerPrior { dbm: model.usual_power, own: false, surveyed: false },
        };
        if prior.surveyed {
            return prior.dbm;
        }
        let heard = || self.heard.iter().filter(|heard| model.anchors.direction(heard.anchor) == direction);
        let since = self.updated.unwrap_or(Timestamp::from_millis(0)) - RECENTLY;
        let recent = heard().filter(|heard| heard.last >= since).count();
        let missing = FEWEST_ANCHORS.saturating_sub(recent) as f64;
        let own = if prior.own { OWN_POWER_WEIGHT } else { DEFAULT_POWER_WEIGHT + missing };
        let (mut sum, mut weight) = (own * prior.dbm, own);
        // The mean over a large site says nothing of the part where the device is.
        let blend = if self.window == Window::whole(&model.grid) { PRIOR_BLEND } else { 0.0 };
        for heard in heard() {
            let anywhere = model.anchors.expected_mean(heard.anchor);
            let expected = if heard.beliefs > 0.0 {
                blend * anywhere + (1.0 - blend) * heard.believed
            } else if blend <= 0.0 {
                // Nothing is known yet: as if the usual power was right.
                heard.mean - prior.dbm - POWER_BIAS
            } else {
                anywhere
            };
            sum += heard.mean - expected - POWER_BIAS;
            weight += 1.0;
        }
        sum / weight
    }

    /// Notes the levels that would be expected of the anchors of a batch under the present belief.
    fn learn(&mut self, model: &Model, batch: &[Sample]) {
        for at in 0..self.heard.len() {
            let anchor = self.heard[at].anchor;
            if batch.iter().any(|sample| sample.anchor == anchor)
                && let Some(map) = model.anchors.map(anchor)
            {
                let level = self.level_under(model, map);
                let heard = &mut self.heard[at];
                heard.beliefs = (heard.beliefs + 1.0).min(LONGEST_MEAN);
                heard.believed += (level - heard.believed) / heard.beliefs;
            }
        }
    }

    /// Looks elsewhere where the loudest anchor says so: at once the first time, later when it keeps saying so.
    fn follow(&mut self, model: &Model, batch: &[Sample]) {
        if self.window == Window::whole(&model.grid) {
            return;
        }
        let loudness = |sample: &Sample| sample.rssi - model.anchors.offset(sample.anchor);
        let known = batch.iter().filter_map(|sample| Some((sample, model.anchors.point(sample.anchor)?)));
        let Some((_, point)) = known.max_by(|(a, _), (b, _)| loudness(a).total_cmp(&loudness(b))) else { return };
        let is_first = self.updated.is_none();
        self.strays = if self.window.is_beyond(&model.grid, point, STRAY) { self.strays + 1 } else { 0 };
        if is_first || self.strays >= STRAY_UPDATES {
            self.look_around(model, Window::around(&model.grid, point));
        }
    }

    /// Knows nothing but that the device is in that window.
    fn look_around(&mut self, model: &Model, window: Window) {
        self.window = window;
        self.strays = 0;
        self.mass.clear();
        self.mass.resize(window.len(&model.grid), 0.0);
        let mut open = 0.0_f32;
        for (cells, own) in window.rows(&model.grid) {
            for (mass, is_open) in self.mass[own].iter_mut().zip(&model.grid.open[cells]) {
                *mass = if *is_open { 1.0 } else { 0.0 };
                open += *mass;
            }
        }
        self.even = 1.0 / open.max(1.0);
        let even = self.even;
        if open > 0.0 {
            self.mass.iter_mut().for_each(|mass| *mass *= even);
        } else {
            // Nothing is open where the loudest anchor hangs: then it is not known at all.
            let count = self.mass.len().max(1);
            self.mass.fill(1.0 / count as f32);
        }
    }

    /// Moves the window along with the device; the cells that come into sight begin with what was spread over everything.
    fn move_window(&mut self, model: &Model, window: Window) {
        let (before, mass) = (self.window, std::mem::take(&mut self.mass));
        if before == window {
            self.mass = mass;
            return;
        }
        self.look_around(model, window);
        let floor = (UNIFORM_SHARE * f64::from(self.even)) as f32;
        for (at, (cells, own)) in window.rows(&model.grid).enumerate() {
            let (level, row) = (at / window.rows, window.row + at % window.rows);
            for (offset, (new, open)) in self.mass[own].iter_mut().zip(&model.grid.open[cells]).enumerate() {
                let column = window.column + offset;
                let is_known = (before.column..before.column + before.columns).contains(&column)
                    && (before.row..before.row + before.rows).contains(&row);
                *new = match (is_known, open) {
                    (true, _) => {
                        let row = level * before.rows + row - before.row;
                        mass[row * before.columns + column - before.column]
                    }
                    (false, true) => floor,
                    (false, false) => 0.0,
                };
            }
        }
        let total = self.mass.iter().copied().map(f64::from).sum();
        self.normalise(model, total);
    }

    fn predict(&mut self, model: &Model, time: Timestamp, scratch: &mut Vec<f32>) {
        let Some(before) = self.updated else {
            self.updated = Some(time);
            return;
        };
        let elapsed = time.since(before);
        let Some(kernel) = model.kernels.at_most(elapsed) else { return };
        // What is shorter than a step is left for the next one.
        let taken = Duration::from_secs_f64(kernel.seconds);
        self.updated = Some(if elapsed >= LONGEST_STEP { time } else { (before + taken).min(time) });
        kernel.spread(&model.grid, &self.window, &mut self.mass, scratch);
        let share = (UNIFORM_SHARE * kernel.seconds) as f32;
        let mut total = 0.0;
        for (cells, own) in self.window.rows(&model.grid) {
            let mut sum = 0.0_f32;
            for (mass, open) in self.mass[own].iter_mut().zip(&model.grid.open[cells]) {
                *mass = if *open { *mass * (1.0 - share) + share * self.even } else { 0.0 };
                sum += *mass;
            }
            total += f64::from(sum);
        }
        self.normalise(model, total);
    }

    fn multiply(&mut self, model: &Model, log_likelihood: &[f32]) {
        let greatest = log_likelihood.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for (masses, logs) in self.mass.chunks_mut(64).zip(log_likelihood.chunks(64)) {
            let mut sum = 0.0_f32;
            for (mass, log) in masses.iter_mut().zip(logs) {
                *mass *= exp(log - greatest);
                sum += *mass;
            }
            total += f64::from(sum);
        }
        self.normalise(model, total);
    }

    fn normalise(&mut self, model: &Model, total: f64) {
        // Nothing left means that the evidence contradicts the belief everywhere: begin anew.
        if total > 1e-30 && total.is_finite() {
            let scale = (1.0 / total) as f32;
            self.mass.iter_mut().for_each(|mass| *mass *= scale);
        } else {
            self.look_around(model, self.window);
        }
    }

    /// The mean and spread of the belief on the likeliest level, which changes only for a clear majority.
    fn position(&mut self, model: &Model, time: Timestamp) -> Position {
        let (grid, window) = (&model.grid, &self.window);
        let moments: Vec<Moments> =
            self.mass.chunks(window.level_len()).map(|level| Moments::of(level, window.columns)).collect();
        let likeliest = (0..moments.len()).max_by(|a, b| moments[*a].mass.total_cmp(&moments[*b].mass)).unwrap_or(0);
        if moments[likeliest].mass >= LEVEL_SWITCH || self.heard.iter().all(|heard| heard.samples <= 1.0) {
            self.level = likeliest;
        }
        let moments = &moments[self.level];
        let (point, variance) = if moments.mass > 0.0 {
            let (column, row) = (moments.column / moments.mass, moments.row / moments.mass);
            let variance = moments.squares / moments.mass - column * column - row * row;
            let x = grid.origin.x + (window.column as f64 + column + 0.5) * grid.cell;
            let y = grid.origin.y + (window.row as f64 + row + 0.5) * grid.cell;
            (Point { x, y }, variance.max(0.0) * grid.cell * grid.cell)
        } else {
            // A level that was kept against the evidence still has the uniform share; without any mass its middle serves.
            let middle = |first: usize, len: usize| (first as f64 + len as f64 / 2.0) * grid.cell;
            let x = grid.origin.x + middle(window.column, window.columns);
            let y = grid.origin.y + middle(window.row, window.rows);
            (Point { x, y }, middle(0, window.columns.max(window.rows)).powi(2))
        };
        let point = match model.outlines.get(self.level) {
            Some(Some(outline)) if !ring_holds(outline, point) => nearest_on_ring(outline, point),
            _ => point,
        };
        // Half a cell is as fine as the grid can see.
        let accuracy = (model.accuracy_scale * (variance / 2.0).sqrt()).max(grid.cell / 2.0);
        let level = grid.levels.get(self.level).copied().unwrap_or(LevelOrdinal(0));
        Position { point, level, accuracy, time }
    }
}

/// The moments of one level, in cells.
#[derive(Debug, Default)]
struct Moments {
    mass: f64,
    column: f64,
    row: f64,
    /// Of both axes together.
    squares: f64,
}

impl Moments {
    fn of(level: &[f32], columns: usize) -> Self {
        let mut sum = Self::default();
        for (row, cells) in level.chunks(columns).enumerate() {
            let (mut mass, mut first, mut second) = (0.0_f32, 0.0_f32, 0.0_f32);
            for (at, cell) in cells.iter().enumerate() {
                let at = at as f32;
                mass += cell;
                first += cell * at;
                second += cell * at * at;
            }
            let (row, mass) = (row as f64, f64::from(mass));
            sum.mass += mass;
            sum.column += f64::from(first);
            sum.row += mass * row;
            sum.squares += f64::from(second) + mass * row * row;
        }
        sum
    }
}

/// e to a power that is not positive, to 4 digits, by nothing but sums, products and bits: it is the same on every machine,
/// and the compiler makes vectors of it.
#[inline]
fn exp(power: f32) -> f32 {
    // 2^(n + f) with n whole and f from -1/2 to 1/2.
    let exponent = (power * std::f32::consts::LOG2_E).max(-126.0);
    let whole = (exponent - 0.5) as i32;
    let f = exponent - whole as f32;
    // The Taylor series of 2^f.
    let fraction = 1.0 + f * (std::f32::consts::LN_2 + f * (0.240_226_5 + f * (0.055_504_1 + f * 0.009_618_1)));
    f32::from_bits(((whole + 127) as u32) << 23) * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_power_is_the_power() {
        for at in 0..9_000 {
            let power = at as f32 * -0.01;
            let (quick, exact) = (exp(power), power.exp());
            assert!((quick - exact).abs() <= 1e-4 * exact + 1e-37, "{power}: {quick} {exact}");
        }
        assert!(exp(-1e9) < 1e-37);
    }
}
