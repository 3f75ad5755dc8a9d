//! What is at a known place and links it to devices: receivers, which hear their beacons, and fixed beacons, which they
//! hear. To the filter both are the same: an expected level for each cell.
//!
//! A site has a few receivers, whose levels are kept, and may have thousands of fixed beacons, whose levels are worked out
//! when a device hears them and kept for those last heard, within [`MOST_BYTES`].

use crate::model::{LevelOrdinal, Metres, Point};
use crate::registry::{BeaconIndex, Calibration, Level, Moved, ReceiverIndex, Registry};

use super::filter::Sample;
use super::grid::{Grid, Links};
use super::map::{LevelMap, ReceiverMap};

/// The levels of fixed beacons that are kept take so many bytes, whatever is registered …
const MOST_BYTES: usize = 16 << 20;
/// … and are those of at least so many: one batch has no more.
const LEAST_MAPS: usize = 256;
/// Height of fixed beacons above the floor, in metres: over the shelves, where the wall or ceiling allows.
const FIXED_HEIGHT: Metres = 2.0;

/// An anchor's place: receivers in the registry's order, then the fixed beacons that have a place, likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnchorIndex(u32);

impl From<ReceiverIndex> for AnchorIndex {
    fn from(receiver: ReceiverIndex) -> Self {
        Self(receiver.0)
    }
}

/// Which end of the link the device is. How strong it sends says nothing of how well it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Its beacon is heard by receivers.
    Sends,
    /// It hears fixed beacons.
    Hears,
}

/// All anchors of a site.
#[derive(Debug)]
pub(super) struct Anchors {
    receivers: Vec<Ear>,
    fixed: Vec<FixedBeacon>,
    levels: Vec<Level>,
    exponent: f64,
    /// Fixed beacons whose map is there, at most `most_kept`.
    kept: Vec<usize>,
    most_kept: usize,
    /// Counts batches.
    tick: u64,
}

#[derive(Debug)]
struct Ear {
    point: Point,
    map: ReceiverMap,
    /// The mean of its levels over the open cells.
    expected_mean: f64,
}

#[derive(Debug)]
struct FixedBeacon {
    beacon: BeaconIndex,
    point: Point,
    level: LevelOrdinal,
    /// By how much it is stronger than the site's default, in dB.
    offset: f64,
    /// None while it is not kept.
    map: Option<LevelMap>,
    /// The mean of its levels over the open cells; known from the first use on.
    expected_mean: f64,
    /// The last batch that needed it.
    used: u64,
}

impl Anchors {
    pub(super) fn new(registry: &Registry, grid: &Grid, uniform: &[f32], calibration: Option<&Calibration>) -> Self {
        let site = registry.site();
        let receivers = registry.receivers().iter().map(|receiver| {
            let map = ReceiverMap::new(grid, receiver, &site.levels, site.radio.path_loss_exponent, calibration);
            Ear { point: receiver.point, expected_mean: map.levels.mean_under(0..grid.len(), uniform), map }
        });
        let exponent = calibration.map_or(site.radio.path_loss_exponent, |whole| whole.path_loss_exponent);
        let usual = site.radio.measured_power.get();
        let fixed = registry.beacons().iter().enumerate().filter(|(_, beacon)| beacon.device.is_none());
        let fixed = fixed.filter_map(|(at, beacon)| {
            let (point, level) = beacon.fixed?;
            Some(FixedBeacon {
                beacon: BeaconIndex(at as u32),
                point,
                level,
                offset: beacon.measured_power.map_or(0.0, |power| power.get() - usual),
                map: None,
                expected_mean: 0.0,
                used: 0,
            })
        });
        Self {
            receivers: receivers.collect(),
            fixed: fixed.collect(),
            levels: site.levels.clone(),
            exponent,
            kept: Vec::new(),
            most_kept: (MOST_BYTES / (grid.len() * LevelMap::bytes_per_cell())).max(LEAST_MAPS),
            tick: 0,
        }
    }

    /// Beacons are at other places of the registry's list, in the same order; `to` says where. The fixed ones are all there.
    pub(super) fn reindex(&mut self, to: &Moved<BeaconIndex>) {
        for fixed in &mut self.fixed {
            if let Some(to) = to.to(fixed.beacon) {
                fixed.beacon = to;
            }
        }
    }

    /// The anchor that a fixed beacon is; none where it has no place.
    pub(super) fn of_beacon(&self, beacon: BeaconIndex) -> Option<AnchorIndex> {
        let at = self.fixed.binary_search_by_key(&beacon, |fixed| fixed.beacon).ok()?;
        Some(AnchorIndex((self.receivers.len() + at) as u32))
    }

    /// The receiver that an anchor is; none of a fixed beacon.
    pub(super) fn receiver(&self, anchor: AnchorIndex) -> Option<ReceiverIndex> {
        ((anchor.0 as usize) < self.receivers.len()).then_some(ReceiverIndex(anchor.0))
    }

    /// Whether any receiver was surveyed.
    pub(super) fn is_any_surveyed(&self) -> bool {
        self.receivers.iter().any(|ear| ear.map.is_surveyed)
    }

    /// The map of a receiver that was surveyed; none of other anchors.
    pub(super) fn surveyed(&self, anchor: AnchorIndex) -> Option<&ReceiverMap> {
        self.receivers.get(anchor.0 as usize).map(|ear| &ear.map).filter(|map| map.is_surveyed)
    }

    /// Whether most of the receivers were surveyed.
    pub(super) fn are_surveyed(&self) -> bool {
        2 * self.receivers.iter().filter(|ear| ear.map.is_surveyed).count() > self.receivers.len()
    }

    pub(super) fn direction(&self, anchor: AnchorIndex) -> Direction {
        if (anchor.0 as usize) < self.receivers.len() { Direction::Sends } else { Direction::Hears }
    }

    /// Works out the levels that a batch needs and that are not kept.
    pub(super) fn prepare(&mut self, grid: &Grid, uniform: &[f32], batch: &[Sample]) {
        self.tick += 1;
        for sample in batch {
            let Some(at) = (sample.anchor.0 as usize).checked_sub(self.receivers.len()) else { continue };
            let Some(fixed) = self.fixed.get_mut(at) else { continue };
            fixed.used = self.tick;
            if fixed.map.is_some() {
                continue;
            }
            let links = Links::new(&self.levels, fixed.point, FIXED_HEIGHT, fixed.level);
            let map = LevelMap::by_law(grid, &links, self.exponent);
            fixed.expected_mean = map.mean_under(0..grid.len(), uniform);
            fixed.map = Some(map);
            if self.kept.len() < self.most_kept {
                self.kept.push(at);
            } else if let Some(slot) = (0..self.kept.len()).min_by_key(|slot| self.fixed[self.kept[*slot]].used) {
                let old = std::mem::replace(&mut self.kept[slot], at);
                self.fixed[old].map = None;
            }
        }
    }

    /// The levels to be expected of an anchor; none of one that is not known, or was not prepared.
    pub(super) fn map(&self, anchor: AnchorIndex) -> Option<&LevelMap> {
        let at = anchor.0 as usize;
        match at.checked_sub(self.receivers.len()) {
            None => Some(&self.receivers[at].map.levels),
            Some(at) => self.fixed.get(at)?.map.as_ref(),
        }
    }

    /// Where it is.
    pub(super) fn point(&self, anchor: AnchorIndex) -> Option<Point> {
        let at = anchor.0 as usize;
        match at.checked_sub(self.receivers.len()) {
            None => Some(self.receivers[at].point),
            Some(at) => self.fixed.get(at).map(|fixed| fixed.point),
        }
    }

    /// Its mean over the open cells; of a fixed beacon, where it was ever prepared.
    pub(super) fn expected_mean(&self, anchor: AnchorIndex) -> f64 {
        let at = anchor.0 as usize;
        match at.checked_sub(self.receivers.len()) {
            None => self.receivers[at].expected_mean,
            Some(at) => self.fixed.get(at).map_or(0.0, |fixed| fixed.expected_mean),
        }
    }

    /// What is to be subtracted from a reading, in dB.
    pub(super) fn offset(&self, anchor: AnchorIndex) -> f64 {
        let at = anchor.0 as usize;
        match at.checked_sub(self.receivers.len()) {
            None => self.receivers[at].map.rssi_offset,
            Some(at) => self.fixed.get(at).map_or(0.0, |fixed| fixed.offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BeaconId, MeasuredPower, Timestamp};
    use crate::registry::{Beacon, fixture};

    fn anchors(count: u32) -> (Anchors, Grid, Vec<f32>) {
        let beacons = (0..count).map(|at| Beacon {
            id: BeaconId::new(&format!("f{at}")).unwrap(),
            identity: format!("mac:C0:00:00:00:{:02X}:{:02X}", at / 256, at % 256).parse().unwrap(),
            device: None,
            // Every tenth has no place.
            fixed: (at % 10 != 9).then(|| (Point { x: f64::from(at % 30), y: 5.0 }, LevelOrdinal(0))),
            measured_power: (at == 2).then(|| MeasuredPower::new(-65.0).unwrap()),
        });
        let registry = Registry::new(fixture::site(), vec![], vec![], beacons.collect(), vec![]).unwrap();
        let grid = Grid::new(&registry);
        let uniform = vec![1.0 / grid.len() as f32; grid.len()];
        (Anchors::new(&registry, &grid, &uniform, None), grid, uniform)
    }

    fn sample(anchor: AnchorIndex) -> Sample {
        Sample { time: Timestamp::from_millis(0), anchor, rssi: -60.0 }
    }

    #[test]
    fn only_fixed_beacons_with_a_place_are_anchors() {
        let (anchors, ..) = anchors(20);
        let found: Vec<bool> = (0..20).map(|at| anchors.of_beacon(BeaconIndex(at)).is_some()).collect();
        assert!((0..20).all(|at| found[at] == (at % 10 != 9)));
        assert!((anchors.offset(anchors.of_beacon(BeaconIndex(2)).unwrap()) + 6.0).abs() < 1e-9);
    }

    #[test]
    fn thousands_of_fixed_beacons_take_the_memory_of_some_hundreds_and_are_the_same_when_they_come_back() {
        let (mut anchors, grid, uniform) = anchors(3_000);
        anchors.most_kept = 300;
        let all: Vec<AnchorIndex> = (0..3_000).filter_map(|at| anchors.of_beacon(BeaconIndex(at))).collect();
        assert!(anchors.map(all[0]).is_none());
        anchors.prepare(&grid, &uniform, &[sample(all[0])]);
        let first = anchors.map(all[0]).unwrap().clone();
        for batch in all.chunks(256) {
            let samples: Vec<Sample> = batch.iter().map(|anchor| sample(*anchor)).collect();
            anchors.prepare(&grid, &uniform, &samples);
            assert!(batch.iter().all(|anchor| anchors.map(*anchor).is_some()));
        }
        assert_eq!(anchors.fixed.iter().filter(|fixed| fixed.map.is_some()).count(), anchors.most_kept);
        assert!(anchors.map(all[0]).is_none());
        anchors.prepare(&grid, &uniform, &[sample(all[0])]);
        assert_eq!(anchors.map(all[0]), Some(&first));
    }
}
