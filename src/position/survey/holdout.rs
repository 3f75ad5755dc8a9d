//! What a survey is worth, on places that it did not see.
//!
//! The places are divided into square blocks, and the blocks into [`FOLDS`] parts such that neighbours are in different
//! parts. Each part is predicted by a calibration that was learned from the others. A place's neighbours within half a
//! block are held out with it: otherwise every place would have its twin in the survey, and the figures would flatter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{LevelOrdinal, Point};
use crate::registry::{BeaconIndex, Calibration, ReceiverIndex, Recording, Registry};

use super::{BIN, Bin, Place, SurveyError, binned, learn};
use crate::position::BATCH;
use crate::position::filter::{Filter, Model, Sample};
use crate::position::grid::Links;
use crate::position::map::Survey;

/// Parts that are held out in turn.
pub const FOLDS: usize = 5;
/// Blocks that the surveyed area is divided into, about.
const BLOCKS: f64 = 25.0;
/// A block has at least this side, in metres.
const SMALLEST_BLOCK: f64 = 1.0;
/// So much of each place is run through the filter.
const LONGEST_STAY: Duration = Duration::from_secs(20);
/// After so much silence, or held-out time, the filter begins anew.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// What is predicted how well without and with the survey, on places that were held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Places that were held out in turn: all that could be predicted.
    pub places: usize,
    /// Side of the blocks that were held out together, in metres.
    pub block: f64,
    /// The predicted level at each receiver, root mean square error in dB over bins.
    pub receivers: Vec<(ReceiverIndex, Pair)>,
    /// The same over all receivers.
    pub level: Pair,
    /// Distance of the filter's positions from the true ones, mean over places in metres.
    pub position: Pair,
}

/// A figure without and with the survey.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pair {
    /// From the site directory alone.
    pub before: f64,
    /// With the calibration.
    pub after: f64,
    /// Over how many.
    pub count: usize,
}

impl Pair {
    /// Whether the survey makes it worse.
    pub fn is_worse(&self) -> bool {
        self.after > self.before
    }

    fn add(&mut self, before: f64, after: f64) {
        self.before += before;
        self.after += after;
        self.count += 1;
    }

    fn mean(self) -> Self {
        let count = self.count.max(1) as f64;
        Self { before: self.before / count, after: self.after / count, ..self }
    }

    fn root_mean(self) -> Self {
        let mean = self.mean();
        Self { before: mean.before.sqrt(), after: mean.after.sqrt(), ..mean }
    }
}

/// Holds out each part in turn.
///
/// # Errors
/// [`SurveyError`] where what is left of the survey teaches nothing.
pub fn compare(registry: &Registry, places: &[Place], recording: &Recording) -> Result<Comparison, SurveyError> {
    let block = block(places);
    let folds: Vec<usize> = places.iter().map(|place| fold(place.level, place.point, block)).collect();
    let plain = Model::with_calibration(registry, None);
    let mut levels: BTreeMap<ReceiverIndex, Pair> = BTreeMap::new();
    let mut position = Pair::default();
    for held_out in 0..FOLDS {
        let part = |inside: bool| -> Vec<&Place> {
            places
                .iter()
                .zip(&folds)
                .filter(|(_, fold)| (**fold == held_out) == inside)
                .map(|(place, _)| place)
                .collect()
        };
        let (train, test) = (part(false), part(true));
        if test.is_empty() {
            continue;
        }
        let train: Vec<Place> = train.into_iter().map(|place| Place { samples: Vec::new(), ..place.clone() }).collect();
        let calibration = learn(registry, &train, recording.clone())?;
        levels_of(registry, &calibration, &train, &test, &mut levels);
        let model = Model::with_calibration(registry, Some(&calibration));
        let (before, after) = (errors(registry, &plain, &test), errors(registry, &model, &test));
        before.into_iter().zip(after).for_each(|(before, after)| {
            if let (Some(before), Some(after)) = (before, after) {
                position.add(before, after);
            }
        });
    }
    let all = levels.values().fold(Pair::default(), |all, of| Pair {
        before: all.before + of.before,
        after: all.after + of.after,
        count: all.count + of.count,
    });
    Ok(Comparison {
        places: position.count,
        block,
        receivers: levels.into_iter().map(|(at, pair)| (at, pair.root_mean())).collect(),
        level: all.root_mean(),
        position: position.mean(),
    })
}

/// The side of the blocks.
fn block(places: &[Place]) -> f64 {
    let side = |of: fn(&Point) -> f64| {
        let (least, most) = places
            .iter()
            .map(|place| of(&place.point))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), at| (least.min(at), most.max(at)));
        (most - least).max(1.0)
    };
    let area = side(|point| point.x) * side(|point| point.y);
    ((area / BLOCKS).sqrt() * 10.0).round().max(SMALLEST_BLOCK * 10.0) / 10.0
}

/// The part of a place. A knight's move apart on the board of blocks: of five in a row or a column each is another.
fn fold(level: LevelOrdinal, point: Point, block: f64) -> usize {
    let (column, row) = super::square(point, block);
    (column + 2 * row + i64::from(level.0)).rem_euclid(FOLDS as i64) as usize
}

/// Adds the squared errors of the predicted levels, bin by bin.
fn levels_of(
    registry: &Registry,
    calibration: &Calibration,
    train: &[Place],
    test: &[&Place],
    levels: &mut BTreeMap<ReceiverIndex, Pair>,
) {
    let site = registry.site();
    let links: Vec<Links<'_>> =
        registry.receivers().iter().map(|of| Links::new(&site.levels, of.point, of.z, of.level)).collect();
    // Without a survey the filter learns what a beacon sends; so it may here, from what it may see.
    let law = |bin: &Bin| {
        let link = links[bin.receiver.get()].from(bin.point, bin.level);
        registry.receivers()[bin.receiver.get()].rssi_offset
            - 10.0 * site.radio.path_loss_exponent * link.log_distance
            - link.floor_loss
    };
    let surveys: BTreeMap<ReceiverIndex, Survey<'_>> = calibration
        .receivers
        .iter()
        .filter_map(|of| Some((registry.receiver(&of.id)?, Survey::new(&site.levels, of))))
        .collect();
    let heard: Vec<Bin> = binned(train, BIN);
    let learned = deviations(&heard, &law);
    let bins: Vec<Bin> =
        binned(test.iter().copied(), BIN).into_iter().filter(|bin| surveys.contains_key(&bin.receiver)).collect();
    let known: BTreeSet<BeaconIndex> = learned.keys().copied().collect();
    let power_of = |beacon: BeaconIndex| {
        let id = &registry.beacons()[beacon.get()].id;
        calibration.beacons.iter().find(|of| of.id == *id).map(|of| of.measured_power.get())
    };
    let map = |bin: &Bin| surveys[&bin.receiver].at(&[bin.point], bin.level)[0].0 - calibration.measured_power.get();
    // A beacon that was held out altogether (a fixed one is in one place) is learned from what is predicted, both ways.
    let (late_law, late_map) = (deviations(&bins, &law), deviations(&bins, &map));
    for bin in &bins {
        let (before, after) = if known.contains(&bin.beacon) {
            (learned.get(&bin.beacon).copied(), power_of(bin.beacon))
        } else {
            (late_law.get(&bin.beacon).copied(), late_map.get(&bin.beacon).copied())
        };
        if let (Some(before), Some(after)) = (before, after) {
            let error = |expected: f64| (bin.rssi.mean - expected).powi(2);
            levels.entry(bin.receiver).or_default().add(error(law(bin) + before), error(map(bin) + after));
        }
    }
}

/// The mean of what each beacon was heard at more than expected.
fn deviations(bins: &[Bin], expected: &impl Fn(&Bin) -> f64) -> BTreeMap<BeaconIndex, f64> {
    let mut means: BTreeMap<BeaconIndex, super::Mean> = BTreeMap::new();
    for bin in bins {
        means.entry(bin.beacon).or_default().add(bin.rssi.mean - expected(bin));
    }
    means.into_iter().map(|(beacon, mean)| (beacon, mean.mean)).collect()
}

/// How far the filter's positions are from each place, on the mean over its batches; none where nothing was heard.
fn errors(registry: &Registry, model: &Model, places: &[&Place]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..places.len()).filter(|at| !places[*at].samples.is_empty()).collect();
    order.sort_by_key(|at| (places[*at].beacon, places[*at].samples[0].time, *at));
    let mut errors = vec![None; places.len()];
    let mut running: Option<(BeaconIndex, Filter, crate::model::Timestamp)> = None;
    for at in order {
        let place = places[at];
        let begins = place.samples[0].time;
        let mut filter = match running.take() {
            Some((beacon, filter, until)) if beacon == place.beacon && begins.since(until) <= LONGEST_GAP => filter,
            _ => Filter::new(model, model.power_prior(registry, Some(place.beacon))),
        };
        let mut until = begins;
        let mut sum = super::Mean::default();
        for batch in batches(&place.samples).take_while(|batch| batch[0].time.since(begins) <= LONGEST_STAY) {
            if let Some(position) = filter.update(model, batch) {
                sum.add(position.point.distance(place.point));
                until = position.time;
            }
        }
        errors[at] = (sum.count > 0).then_some(sum.mean);
        running = Some((place.beacon, filter, until));
    }
    errors
}

/// The samples, in the order of their times, as the engine batches them.
fn batches(samples: &[Sample]) -> impl Iterator<Item = &[Sample]> {
    let mut rest = samples;
    std::iter::from_fn(move || {
        let begins = rest.first()?.time;
        let len = rest.iter().take_while(|sample| sample.time.since(begins) < BATCH).count();
        let (batch, later) = rest.split_at(len);
        rest = later;
        Some(batch)
    })
}
