//! What a survey teaches: from sightings at known places to a [`Calibration`].
//!
//! 1. Readings are gathered in square bins, for each beacon and receiver, so that a place where the walk dwelled counts once.
//!    Bins grow on a large survey until no receiver has more than [`MOST_POINTS`].
//! 2. One fit over all bins separates what the beacons send (a power each), what the receivers hear (an offset each) and
//!    how fast signals fade (one exponent): `rssi = P_beacon + O_receiver - 10·n·log10(d) - floors`, least squares with
//!    wide priors.
//! 3. With the beacons' powers known, the bins of several beacons become those of one; each receiver gets its own law,
//!    and what lies between law and bins is the map's matter ([`super::map`]).
//!
//! [`holdout`] says what it is worth.

pub mod holdout;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{LevelOrdinal, MeasuredPower, Point};
use crate::registry::{
    BeaconCalibration, BeaconIndex, Calibration, Level, ReceiverCalibration, ReceiverIndex, Recording, Registry,
    SurveyPoint,
};

use super::Sample;
use super::grid::Links;
use super::linear::Ridge;

/// Side of a bin where the survey is small enough, in metres.
const BIN: f64 = 0.5;
/// What it grows by when there are too many.
const BIN_GROWTH: f64 = 1.25;
/// At most so many survey points a receiver: the work for a map grows with their square.
pub const MOST_POINTS: usize = 400;

/// Bins are taken to lie so far from the law, in dB: shadowing of 5 dB.
const FIT_SD: f64 = 5.0;
/// A power at 1 m before anything is known: mean and standard deviation in dBm.
const POWER_PRIOR: (f64, f64) = (-55.0, 30.0);
/// The exponent before anything is known.
const EXPONENT_PRIOR: (f64, f64) = (2.2, 0.5);
/// What receivers of one kind differ by, in dB.
const OFFSET_PRIOR: (f64, f64) = (0.0, 6.0);

/// With fewer places (bins) nothing can be held out to see what it is worth.
pub const FEWEST_PLACES: usize = 12;
/// A position needs so many receivers.
pub const FEWEST_RECEIVERS: usize = 3;
/// A receiver that was heard from fewer places has no map.
pub const FEWEST_PLACES_OF_RECEIVER: usize = 5;
/// With fewer sightings chance decides.
pub const FEWEST_SIGHTINGS: u64 = 100;
/// The places must spread by so much to every side (standard deviation), in metres.
pub const LEAST_SPREAD: f64 = 0.5;
/// The exponent must be known to this standard error.
pub const WORST_EXPONENT: f64 = 0.5;
/// Exponents that a building can have.
pub const EXPONENTS: (f64, f64) = (1.0, 6.0);

/// A known place and what was heard of one beacon there.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it was.
    pub point: Point,
    /// On which level.
    pub level: LevelOrdinal,
    /// What sent.
    pub beacon: BeaconIndex,
    /// Mean RSSI in dBm as the receiver gave it, and the number of readings.
    pub heard: BTreeMap<ReceiverIndex, Mean>,
    /// The first sightings, in the order of their times.
    pub samples: Vec<Sample>,
}

/// A running mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    /// The mean so far.
    pub mean: f64,
    /// Over how many.
    pub count: u32,
}

impl Mean {
    /// Takes in one more.
    pub fn add(&mut self, value: f64) {
        self.add_many(Self { mean: value, count: 1 });
    }

    fn add_many(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        if self.count > 0 {
            self.mean += (other.mean - self.mean) * f64::from(other.count) / f64::from(self.count);
        }
    }
}

/// Why a survey teaches nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SurveyError {
    /// Nothing, or next to nothing.
    #[error("only {0} sightings were heard at known places, and at least {FEWEST_SIGHTINGS} are needed")]
    TooFewSightings(u64),
    /// Not enough places.
    #[error(
        "only {0} different places were surveyed (more than {BIN} m apart), and at least {FEWEST_PLACES} are needed"
    )]
    TooFewPlaces(usize),
    /// Not enough receivers.
    #[error(
        "only {found} receivers were heard from at least {FEWEST_PLACES_OF_RECEIVER} places, and at least \
         {FEWEST_RECEIVERS} are needed; heard from too few: {poor}"
    )]
    TooFewReceivers {
        /// How many were.
        found: usize,
        /// The others, with the number of places.
        poor: String,
    },
    /// All in one place.
    #[error("all points are in one place (within {0:.1} m), so nothing can be said of the others")]
    OnePlace(f64),
    /// All on a line.
    #[error("all points lie on a line (within {0:.1} m), so nothing can be said of what is beside it")]
    OnALine(f64),
    /// The places are all equally far from the receivers.
    #[error("how fast signals fade cannot be told: the points are all about equally far from the receivers")]
    ExponentUnknown,
    /// Signals don't fade as they can.
    #[error("signals would fade with an exponent of {0:.2}, which no building gives (1 to 6)")]
    Exponent(f64),
}

/// Learns from a survey.
///
/// # Errors
/// [`SurveyError`] where it teaches nothing that can be relied on.
pub fn fit(registry: &Registry, places: &[Place], recording: Recording) -> Result<Calibration, SurveyError> {
    if recording.sightings < FEWEST_SIGHTINGS {
        return Err(SurveyError::TooFewSightings(recording.sightings));
    }
    spread(places)?;
    learn(registry, places, recording)
}

/// As [`fit`], of places that were found to be spread.
fn learn(registry: &Registry, places: &[Place], recording: Recording) -> Result<Calibration, SurveyError> {
    let bins = binned(places, BIN);
    let enough = enough(registry, &bins)?;
    let bins: Vec<Bin> = bins.into_iter().filter(|bin| enough.contains(&bin.receiver)).collect();
    let links = Chart::new(registry);
    let whole = whole(&links, &bins)?;

    // From here on all beacons are as one, and what several sent from one square is one survey point.
    let power = mean(whole.powers.values().map(|(power, count)| (*power, f64::from(*count))));
    let alike = places.iter().filter_map(|place| {
        let more = power - whole.powers.get(&place.beacon)?.0;
        let heard = place.heard.iter().filter(|(receiver, _)| enough.contains(receiver));
        let heard = heard.map(|(receiver, of)| (*receiver, Mean { mean: of.mean + more, ..*of })).collect();
        Some(Place { beacon: BeaconIndex(0), heard, samples: Vec::new(), ..*place })
    });
    let bins = binned_within(&alike.collect::<Vec<_>>(), MOST_POINTS);
    let middle = whole.offsets.values().sum::<f64>() / whole.offsets.len() as f64;
    let receivers = bins.chunk_by(|a, b| a.receiver == b.receiver).map(|bins| {
        let at = bins[0].receiver;
        let receiver = &registry.receivers()[at.get()];
        let law = law(&links, bins);
        ReceiverCalibration {
            id: receiver.id.clone(),
            point: receiver.point,
            z: receiver.z,
            level: receiver.level,
            power: rounded(law.power, 100.0),
            exponent: rounded(law.exponent, 1_000.0),
            rssi_offset: rounded(whole.offsets[&at] - middle, 100.0),
            sd: rounded(law.sd, 100.0),
            points: points(bins),
        }
    });
    let beacons = whole.powers.iter().map(|(at, (power, _))| BeaconCalibration {
        id: registry.beacons()[at.get()].id.clone(),
        measured_power: measured_power(*power),
        sightings: places.iter().filter(|place| place.beacon == *at).map(sightings).sum(),
    });
    Ok(Calibration {
        recording,
        path_loss_exponent: rounded(whole.exponent, 1_000.0),
        measured_power: measured_power(power),
        beacons: beacons.collect(),
        receivers: receivers.collect(),
    })
}

fn sightings(place: &Place) -> u64 {
    place.heard.values().map(|heard| u64::from(heard.count)).sum()
}

/// As it is written down: what is used now is what is read later.
fn rounded(number: f64, scale: f64) -> f64 {
    (number * scale).round() / scale + 0.0
}

fn measured_power(dbm: f64) -> MeasuredPower {
    MeasuredPower::new(rounded(dbm.clamp(-127.0, 20.0), 100.0)).unwrap_or(MeasuredPower::USUAL)
}

fn mean(weighted: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weight) =
        weighted.fold((0.0, 0.0), |(sum, total), (value, weight)| (sum + value * weight, total + weight));
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// Whether the places spread enough to learn of the rest of the store from them.
fn spread(places: &[Place]) -> Result<(), SurveyError> {
    let points: Vec<Point> = places.iter().filter(|place| !place.heard.is_empty()).map(|place| place.point).collect();
    let different: BTreeSet<(i64, i64)> = points.iter().map(|point| square(*point, BIN)).collect();
    let count = points.len().max(1) as f64;
    let (x, y) = (points.iter().map(|p| p.x).sum::<f64>() / count, points.iter().map(|p| p.y).sum::<f64>() / count);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for point in &points {
        let (dx, dy) = (point.x - x, point.y - y);
        (xx, xy, yy) = (xx + dx * dx / count, xy + dx * dy / count, yy + dy * dy / count);
    }
    // The principal axes of the cloud of points.
    let (half, root) = (f64::midpoint(xx, yy), ((xx - yy) / 2.0).hypot(xy));
    let (most, least) = ((half + root).max(0.0).sqrt(), (half - root).max(0.0).sqrt());
    if most < LEAST_SPREAD {
        Err(SurveyError::OnePlace(most))
    } else if different.len() < FEWEST_PLACES {
        Err(SurveyError::TooFewPlaces(different.len()))
    } else if least < LEAST_SPREAD {
        Err(SurveyError::OnALine(least))
    } else {
        Ok(())
    }
}

/// What one receiver heard of one beacon from one square.
#[derive(Debug, Clone, Copy)]
struct Bin {
    level: LevelOrdinal,
    beacon: BeaconIndex,
    receiver: ReceiverIndex,
    /// The mean of the places in it.
    point: Point,
    rssi: Mean,
}

fn square(point: Point, side: f64) -> (i64, i64) {
    ((point.x / side).floor() as i64, (point.y / side).floor() as i64)
}

/// The bins of that side, in the order of receivers, levels and squares.
fn binned<'p>(places: impl IntoIterator<Item = &'p Place>, side: f64) -> Vec<Bin> {
    let mut bins: BTreeMap<_, (Mean, Mean, Mean)> = BTreeMap::new();
    for place in places {
        for (receiver, heard) in &place.heard {
            let bin = bins.entry((*receiver, place.level, square(place.point, side), place.beacon)).or_default();
            let count = heard.count;
            bin.0.add_many(*heard);
            bin.1.add_many(Mean { mean: place.point.x, count });
            bin.2.add_many(Mean { mean: place.point.y, count });
        }
    }
    bins.into_iter()
        .map(|((receiver, level, _, beacon), (rssi, x, y))| Bin {
            level,
            beacon,
            receiver,
            point: Point { x: x.mean, y: y.mean },
            rssi,
        })
        .collect()
}

/// Bins so large that no receiver has more than `most`.
fn binned_within(places: &[Place], most: usize) -> Vec<Bin> {
    let mut side = BIN;
    loop {
        let bins = binned(places, side);
        // Nothing at a site is farther apart than this: there is one bin a level.
        if side > 100_000.0 || bins.chunk_by(|a, b| a.receiver == b.receiver).all(|of| of.len() <= most) {
            return bins;
        }
        side *= BIN_GROWTH;
    }
}

/// The receivers that were heard from enough places.
fn enough(registry: &Registry, bins: &[Bin]) -> Result<BTreeSet<ReceiverIndex>, SurveyError> {
    let count = |at: ReceiverIndex| bins.iter().filter(|bin| bin.receiver == at).count();
    let all = (0..registry.receivers().len()).map(|at| ReceiverIndex(at as u32));
    let (rich, poor): (Vec<_>, Vec<_>) = all.partition(|at| count(*at) >= FEWEST_PLACES_OF_RECEIVER);
    if rich.len() < FEWEST_RECEIVERS {
        let poor: Vec<String> =
            poor.iter().map(|at| format!("{} ({})", registry.receivers()[at.get()].id, count(*at))).collect();
        let poor = if poor.is_empty() { "none".to_owned() } else { poor.join(", ") };
        return Err(SurveyError::TooFewReceivers { found: rich.len(), poor });
    }
    Ok(rich.into_iter().collect())
}

/// The links of every receiver.
struct Chart<'a>(Vec<Links<'a>>);

impl<'a> Chart<'a> {
    fn new(registry: &'a Registry) -> Self {
        let levels: &[Level] = &registry.site().levels;
        Self(registry.receivers().iter().map(|of| Links::new(levels, of.point, of.z, of.level)).collect())
    }

    /// `-10·log10(d)`, which the exponent multiplies, and the level without the loss of the floors between.
    fn terms(&self, bin: &Bin) -> (f64, f64) {
        let link = self.0[bin.receiver.get()].from(bin.point, bin.level);
        (-10.0 * link.log_distance, bin.rssi.mean + link.floor_loss)
    }
}

/// What one fit over all bins gives.
struct Whole {
    exponent: f64,
    /// Each beacon's power, and the number of its bins.
    powers: BTreeMap<BeaconIndex, (f64, u32)>,
    offsets: BTreeMap<ReceiverIndex, f64>,
}

fn whole(chart: &Chart<'_>, bins: &[Bin]) -> Result<Whole, SurveyError> {
    let beacons: Vec<BeaconIndex> = bins.iter().map(|bin| bin.beacon).collect::<BTreeSet<_>>().into_iter().collect();
    let receivers: Vec<ReceiverIndex> =
        bins.iter().map(|bin| bin.receiver).collect::<BTreeSet<_>>().into_iter().collect();
    let mut priors = vec![EXPONENT_PRIOR];
    priors.extend(beacons.iter().map(|_| POWER_PRIOR));
    priors.extend(receivers.iter().map(|_| OFFSET_PRIOR));
    let mut ridge = Ridge::new(&priors);
    // How the distances scatter that a receiver hears from: what the exponent is told by.
    let mut scatter: BTreeMap<ReceiverIndex, (Mean, f64)> = BTreeMap::new();
    for bin in bins {
        let (slope, level) = chart.terms(bin);
        let beacon = 1 + beacons.binary_search(&bin.beacon).unwrap_or(0);
        let receiver = 1 + beacons.len() + receivers.binary_search(&bin.receiver).unwrap_or(0);
        ridge.observe(&[(0, slope), (beacon, 1.0), (receiver, 1.0)], level, 1.0 / (FIT_SD * FIT_SD));
        let (mean, squares) = scatter.entry(bin.receiver).or_default();
        let before = mean.mean;
        mean.add(slope);
        *squares += (slope - before) * (slope - mean.mean);
    }
    let information: f64 = scatter.values().map(|(_, squares)| squares).sum();
    if FIT_SD / information.max(1e-9).sqrt() > WORST_EXPONENT {
        return Err(SurveyError::ExponentUnknown);
    }
    let found = ridge.solve();
    let exponent = found[0];
    if !(EXPONENTS.0..=EXPONENTS.1).contains(&exponent) {
        return Err(SurveyError::Exponent(exponent));
    }
    let count = |at: BeaconIndex| bins.iter().filter(|bin| bin.beacon == at).count() as u32;
    let powers = beacons.iter().enumerate().map(|(at, beacon)| (*beacon, (found[1 + at], count(*beacon))));
    let offsets = receivers.iter().enumerate().map(|(at, receiver)| (*receiver, found[1 + beacons.len() + at]));
    Ok(Whole { exponent, powers: powers.collect(), offsets: offsets.collect() })
}

/// The law of one receiver.
struct Law {
    power: f64,
    exponent: f64,
    sd: f64,
}

fn law(chart: &Chart<'_>, bins: &[Bin]) -> Law {
    let fit = |exponent_prior: (f64, f64)| {
        let mut ridge = Ridge::new(&[POWER_PRIOR, exponent_prior]);
        for bin in bins {
            let (slope, level) = chart.terms(bin);
            ridge.observe(&[(0, 1.0), (1, slope)], level, 1.0 / (FIT_SD * FIT_SD));
        }
        ridge.solve()
    };
    let mut found = fit(EXPONENT_PRIOR);
    let allowed = found[1].clamp(EXPONENTS.0, EXPONENTS.1);
    if (allowed - found[1]).abs() > 0.0 {
        // Metal right beside a receiver can do that; the map on top of the law has it all the same.
        found = fit((allowed, 1e-3));
    }
    let exponent = found[1].clamp(EXPONENTS.0, EXPONENTS.1);
    let squares: f64 = bins
        .iter()
        .map(|bin| {
            let (slope, level) = chart.terms(bin);
            (level - found[0] - exponent * slope).powi(2)
        })
        .sum();
    Law { power: found[0].clamp(-200.0, 50.0), exponent, sd: (squares / bins.len().max(1) as f64).sqrt().min(60.0) }
}

/// The survey points of one receiver.
fn points(bins: &[Bin]) -> Vec<SurveyPoint> {
    bins.iter()
        .map(|bin| SurveyPoint {
            point: Point { x: rounded(bin.point.x, 100.0), y: rounded(bin.point.y, 100.0) },
            level: bin.level,
            rssi: rounded(bin.rssi.mean.clamp(-127.0, 20.0), 100.0),
            count: bin.rssi.count.max(1),
        })
        .collect()
}
