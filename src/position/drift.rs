//! Whether a receiver hears otherwise than it did in the survey: a dying antenna, a new shelf before it, other firmware.
//!
//! Every time a device has come [`STRIDE`] farther, what each surveyed receiver heard of it is held against what the map
//! expects under the belief; and now and then the same is done for fixed beacons that were surveyed, at their known places.
//! What all receivers hear too strong or too weak alike is the beacon's own matter (a bag, a battery), so the median over
//! the receivers is taken off. What is left is averaged slowly for each receiver. One reading says nothing, and neither
//! do many from one place, where something may stand that was not there before: hence a sample for each stride only.
//!
//! A drift is said, never applied: whoever moved the shelf knows better than an average whether to survey again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Position, Timestamp};
use crate::registry::{BeaconIndex, DeviceIndex, ReceiverIndex, Registry};

use super::BATCH;
use super::filter::{Filter, Model, Sample};

/// A device gives a sample each time it has come so much farther, in metres.
const STRIDE: f64 = 3.0;
/// A fixed beacon gives a sample so often.
const FIXED_EVERY: Duration = Duration::from_secs(600);
/// A sample needs so many surveyed receivers, or the median is no witness.
const FEWEST_RECEIVERS: usize = 3;
/// A single sample counts for no more than this, in dB: it may be a deep fade, or the belief may be wrong.
const LARGEST: f64 = 15.0;
/// Nothing is said with fewer samples. With 6 dB a sample the mean is then good to 0.7 dB.
const FEWEST_SAMPLES: f64 = 80.0;
/// The mean forgets with so many samples.
const LONGEST_MEAN: f64 = 400.0;
/// From so much on it is said, in dB: what people and shelves do to an hour's mean is less.
const BEGINS: f64 = 3.0;
/// Below so much it is no longer said, in dB.
const ENDS: f64 = 2.0;

/// A receiver that hears otherwise than in the survey.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Which.
    pub receiver: ReceiverIndex,
    /// What it hears more than in the survey, against the other receivers, in dB.
    pub db: f64,
    /// Samples behind it, as far as they are not forgotten.
    pub samples: u32,
}

/// Watches the surveyed receivers of a site.
#[derive(Debug)]
pub struct Drifts {
    receivers: Vec<Watch>,
    /// Where each device gave its last sample.
    devices: BTreeMap<DeviceIndex, Position>,
    fixed: BTreeMap<BeaconIndex, Fixed>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    mean: f64,
    samples: f64,
    is_drifting: bool,
}

/// A fixed beacon that was surveyed.
#[derive(Debug)]
struct Fixed {
    cell: usize,
    power: f64,
    /// When the current batch began, and what it holds.
    begins: Option<Timestamp>,
    heard: Vec<(ReceiverIndex, f64)>,
    /// When the last sample was taken.
    sampled: Option<Timestamp>,
}

impl Drifts {
    /// Nothing heard yet.
    pub fn new(registry: &Registry, model: &Model) -> Self {
        let fixed = registry.beacons().iter().enumerate().filter_map(|(at, beacon)| {
            let index = BeaconIndex(at as u32);
            let (point, level) = beacon.fixed?;
            let (power, cell) = (model.surveyed_power(index)?, model.grid().cell_at(point, level)?);
            Some((index, Fixed { cell, power, begins: None, heard: Vec::new(), sampled: None }))
        });
        Self {
            receivers: vec![Watch::default(); registry.receivers().len()],
            devices: BTreeMap::new(),
            fixed: fixed.collect(),
        }
    }

    /// Takes in a batch of a device, which has brought its filter to that position.
    pub fn carried(
        &mut self,
        model: &Model,
        device: DeviceIndex,
        filter: &Filter,
        batch: &[Sample],
        position: &Position,
    ) {
        // Within its first seconds a belief is still vague, and follows the readings that are to be judged by it.
        if !model.is_surveyed() || position.accuracy > STRIDE {
            return;
        }
        let has_come = self
            .devices
            .get(&device)
            .is_none_or(|last| last.level != position.level || last.point.distance(position.point) >= STRIDE);
        if has_come {
            self.devices.insert(device, *position);
            self.sample(filter.deviations(model, batch));
        }
    }

    /// Takes in a sighting of a fixed beacon.
    pub fn fixed(&mut self, model: &Model, beacon: BeaconIndex, sample: &Sample) {
        let Some(fixed) = self.fixed.get_mut(&beacon) else { return };
        let Some(receiver) = model.receiver_of(sample.anchor) else { return };
        let Some(expected) = model.surveyed_level(receiver, fixed.cell) else { return };
        let deviation = (receiver, sample.rssi - fixed.power - expected);
        match fixed.begins {
            Some(begins) if sample.time.since(begins) < BATCH => {
                fixed.heard.retain(|(other, _)| *other != receiver);
                fixed.heard.push(deviation);
            }
            Some(_) => {
                fixed.begins = None;
                let complete = std::mem::take(&mut fixed.heard);
                self.sample(complete);
            }
            None if fixed.sampled.is_none_or(|sampled| sample.time.since(sampled) >= FIXED_EVERY) => {
                (fixed.begins, fixed.sampled) = (Some(sample.time), Some(sample.time));
                fixed.heard.push(deviation);
            }
            None => {}
        }
    }

    fn sample(&mut self, mut deviations: Vec<(ReceiverIndex, f64)>) {
        if deviations.len() < FEWEST_RECEIVERS {
            return;
        }
        deviations.sort_by(|a, b| a.1.total_cmp(&b.1));
        let middle = deviations.len() / 2;
        let median = f64::midpoint(deviations[middle].1, deviations[(deviations.len() - 1) / 2].1);
        for (receiver, deviation) in deviations {
            self.receivers[receiver.get()].add((deviation - median).clamp(-LARGEST, LARGEST));
        }
    }

    /// The receivers that hear otherwise, in the registry's order.
    pub fn found(&self) -> Vec<Drift> {
        let drifting = self.receivers.iter().enumerate().filter(|(_, watch)| watch.is_drifting);
        drifting
            .map(|(at, watch)| Drift {
                receiver: ReceiverIndex(at as u32),
                db: watch.mean,
                samples: watch.samples as u32,
            })
            .collect()
    }
}

impl Watch {
    fn add(&mut self, deviation: f64) {
        self.samples = (self.samples + 1.0).min(LONGEST_MEAN);
        self.mean += (deviation - self.mean) / self.samples;
        let border = if self.is_drifting { ENDS } else { BEGINS };
        self.is_drifting = self.samples >= FEWEST_SAMPLES && self.mean.abs() >= border;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drifts() -> Drifts {
        Drifts { receivers: vec![Watch::default(); 4], devices: BTreeMap::new(), fixed: BTreeMap::new() }
    }

    /// Four receivers, of which the first is off; all are off by what the beacon is.
    fn heard(drifts: &mut Drifts, samples: u32, off: f64) {
        for at in 0..samples {
            let (beacon, noise) = (f64::from(at % 7) - 3.0, f64::from(at % 3) - 1.0);
            let of = [off, 0.5, -0.5, 0.0].into_iter().enumerate();
            drifts.sample(of.map(|(at, off)| (ReceiverIndex(at as u32), beacon + noise + off)).collect());
        }
    }

    #[test]
    fn a_receiver_that_is_off_is_found_with_enough_samples_and_no_other_is() {
        let mut drifts = drifts();
        heard(&mut drifts, 79, -6.0);
        assert_eq!(drifts.found(), []);
        heard(&mut drifts, 1, -6.0);
        let [found] = drifts.found()[..] else { panic!("{:?}", drifts.found()) };
        assert_eq!((found.receiver, found.samples), (ReceiverIndex(0), 80));
        assert!((found.db + 5.75).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_beacon_that_all_hear_weaker_is_no_drift() {
        let mut drifts = drifts();
        heard(&mut drifts, 1_000, 0.0);
        assert_eq!(drifts.found(), []);
    }

    #[test]
    fn what_was_found_stays_until_it_is_clearly_gone() {
        let mut drifts = drifts();
        heard(&mut drifts, 400, 4.0);
        heard(&mut drifts, 300, 2.5);
        assert_eq!(drifts.found().len(), 1, "{:?}", drifts.found());
        heard(&mut drifts, 2_000, 0.5);
        assert_eq!(drifts.found(), []);
        heard(&mut drifts, 4_000, 2.5);
        assert_eq!(drifts.found(), []);
    }

    #[test]
    fn two_receivers_are_no_witnesses() {
        let mut drifts = drifts();
        for _ in 0..1_000 {
            drifts.sample(vec![(ReceiverIndex(0), -9.0), (ReceiverIndex(1), 9.0)]);
        }
        assert_eq!(drifts.found(), []);
    }
}
