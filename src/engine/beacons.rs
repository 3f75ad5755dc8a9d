//! How the registered beacons themselves fare.

use super::{Engine, Output};
use crate::advert::{Advertisement, DeviceSighting};
use crate::health::{BeaconHealth, BeaconRecord, HealthSummary, Heard};
use crate::model::{BeaconId, ReceiverId, Timestamp};
use crate::registry::{BeaconIndex, ReceiverIndex};

impl Engine {
    /// How the beacons fare together: how many are in which state, and those whose battery is low.
    pub fn beacon_health(&self) -> HealthSummary {
        self.beacons.summary()
    }

    /// How one beacon fares; none where it was never heard.
    pub fn health_of(&self, beacon: BeaconIndex) -> Option<BeaconHealth> {
        self.beacons.health(beacon)
    }

    /// Goes on with what an earlier engine knew of beacons. Call once, before anything is heard.
    pub fn restore_beacons(&mut self, records: Vec<BeaconRecord>, now: Timestamp) {
        self.beacons.restore(records, now);
        self.put_beacons();
    }

    /// What is to be written down of beacons by `now`, at most `most`; none where one is to be forgotten.
    pub fn take_beacons(&mut self, now: Timestamp, most: usize) -> Vec<(BeaconId, Option<BeaconRecord>)> {
        self.beacons.take_records(now, most)
    }

    /// A receiver is known to hear every packet, or to hear each sender about once a second only; then the gaps between
    /// sightings say nothing of how often a beacon advertises.
    pub fn set_unfiltered(&mut self, receiver: &ReceiverId, is_unfiltered: bool) {
        self.beacons.set_unfiltered(receiver, is_unfiltered);
    }

    pub(super) fn beacon_heard(&mut self, beacon: BeaconIndex, receiver: ReceiverIndex, heard: &Advertisement) {
        let what = Heard { time: heard.time, address: heard.address, data: &heard.data };
        self.beacons.heard(beacon, receiver, heard.rssi, &what, self.now);
        self.put_beacons();
    }

    pub(super) fn beacon_heard_by_device(&mut self, beacon: BeaconIndex, heard: &DeviceSighting) {
        let what = Heard { time: heard.time, address: heard.address, data: &heard.data };
        self.beacons.heard_by_device(beacon, &what, self.now);
        self.put_beacons();
    }

    /// Whether what does not say whose it is was the telemetry of a beacon.
    pub(super) fn is_telemetry(&mut self, heard: &Advertisement) -> bool {
        let what = Heard { time: heard.time, address: heard.address, data: &heard.data };
        let is_one = self.beacons.nameless(&what, self.now);
        self.put_beacons();
        is_one
    }

    pub(super) fn put_beacons(&mut self) {
        let changed = self.beacons.take_changed();
        self.outputs.extend(changed.into_iter().map(|(beacon, health)| Output::Beacon(beacon, health)));
    }
}

#[cfg(test)]
mod tests;
