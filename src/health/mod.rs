//! How the registered beacons themselves fare: their batteries, whether the fixed ones are there and in their places,
//! and whether all advertise as often as they used to.
//!
//! Every registered beacon is watched from the first time it is heard; one that was never heard costs nothing. A
//! sighting costs the few receivers that hear that beacon, and what takes longer is done once in a minute or five.
//! Memory is bounded for each beacon: the receivers that hear it, 60 days of its battery, some gaps between sightings.
//!
//! - *Battery*: see [`BatteryHealth`]. Telemetry that does not say whose it is (Eddystone-TLM goes out between the
//!   frames that do) is that of the beacon that was last heard from the same address.
//! - *Missing*: a fixed beacon was not heard for an hour in which a receiver listened that used to hear it. The time of
//!   a receiver that is down or has fallen silent does not count. Beacons that devices carry come and go, and are never
//!   missing.
//! - *Moved*: a fixed beacon is heard from another place than the registered one.
//! - *Interval*: see [`IntervalHealth`].
//!
//! The stage reads no clock. Its deadlines are looks at fixed beacons that have not been heard for long.

mod attended;
mod battery;
mod interval;
mod moved;
mod reconfigure;
mod record;
mod state;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::advert::{Address, AdvertisingData, telemetry};
use crate::model::{BeaconId, ReceiverId, Rssi, Timestamp};
use crate::registry::{BeaconIndex, Identity, ReceiverIndex, Registry};

pub use battery::BatteryHealth;
pub use interval::IntervalHealth;
pub use moved::Elsewhere;
pub use record::BeaconRecord;
pub use state::{BeaconHealth, BeaconState, Problems};

use attended::Attended;
use moved::Ground;
use watch::{Sighting, Watch, placed};

/// While a beacon is heard, this is said so often at least.
const SAY_EVERY: Duration = Duration::from_secs(3_600);
/// What is known of a beacon is written down so often, …
const WRITE_EVERY: Duration = Duration::from_secs(3_600);
/// … and so soon after it was first heard.
const WRITE_FIRST: Duration = Duration::from_secs(60);
/// Beacons whose battery is low that are listed.
const MOST_LISTED: usize = 1_000;
/// Telemetry without a name is only believed of a beacon that was heard within so long.
const SAME_ADDRESS: Duration = Duration::from_secs(3_600);
/// A beacon that is unheard is looked at again no sooner than after so long.
const LEAST_LOOK: Duration = Duration::from_secs(1);

/// How all beacons fare together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthSummary {
    /// How many beacons have each problem, and how many have none (`ok`) or were never heard (`never_heard`, fixed ones
    /// only). A beacon with two problems counts for both.
    pub states: BTreeMap<&'static str, u64>,
    /// Those whose battery is low, in the order of the registry, at most 1,000.
    pub low: Vec<BeaconId>,
}

/// What one radio or device has heard of a beacon.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// When.
    pub time: Timestamp,
    /// From where.
    pub address: Option<Address>,
    /// What it said.
    pub data: &'a AdvertisingData,
}

/// Watches the beacons of a site.
#[derive(Debug)]
pub struct Beacons {
    registry: Arc<Registry>,
    ground: Ground,
    watches: Vec<Option<Box<Watch>>>,
    attended: Attended,
    /// Receivers that are known not to hear every packet.
    filtered: Vec<bool>,
    /// Whose address is whose; one for each watch at most.
    addresses: HashMap<[u8; 6], BeaconIndex>,
    /// When fixed beacons are looked at that may be missing.
    looks: BTreeSet<(Timestamp, BeaconIndex)>,
    /// Those that nobody listens to who used to hear them.
    unheeded: BTreeSet<BeaconIndex>,
    writes: BTreeSet<(Timestamp, BeaconIndex)>,
    /// Those of which something is to be said.
    changed: BTreeSet<BeaconIndex>,
    /// Those that are no longer watched, to be unsaid …
    gone: Vec<BeaconId>,
    /// … and to be forgotten.
    forgotten: Vec<BeaconId>,
}

impl Beacons {
    /// Nothing is heard yet, and all receivers listen.
    pub fn new(registry: Arc<Registry>) -> Self {
        let receivers = registry.receivers().len();
        Self {
            ground: Ground::new(&registry),
            watches: registry.beacons().iter().map(|_| None).collect(),
            attended: Attended::new(receivers, Timestamp::from_millis(0)),
            filtered: vec![false; receivers],
            addresses: HashMap::new(),
            looks: BTreeSet::new(),
            unheeded: BTreeSet::new(),
            writes: BTreeSet::new(),
            changed: BTreeSet::new(),
            gone: Vec::new(),
            forgotten: Vec::new(),
            registry,
        }
    }

    /// Goes on with what an earlier life remembered. Call before anything is heard.
    pub fn restore(&mut self, records: Vec<BeaconRecord>, now: Timestamp) {
        let registry = Arc::clone(&self.registry);
        for record in records {
            let id = record.id.clone();
            let watch = registry.beacon(&id).filter(|at| is_watched(&registry, *at)).and_then(|at| {
                let watch = record.watch(&registry, &registry.beacons()[at.get()], &self.attended, now)?;
                Some((at, watch))
            });
            let Some((at, watch)) = watch else {
                self.gone.push(id.clone());
                self.forgotten.push(id);
                continue;
            };
            let is_looked_for = registry.beacons()[at.get()].device.is_none() && !watch.is_missing;
            self.watches[at.get()] = Some(Box::new(watch));
            self.changed.insert(at);
            if is_looked_for {
                self.look(at, now);
            }
        }
    }

    /// A receiver listens from now on, or does not.
    pub fn set_hears(&mut self, receiver: ReceiverIndex, hears: bool, now: Timestamp) {
        self.attended.set(receiver, hears, now);
        if hears {
            for beacon in std::mem::take(&mut self.unheeded) {
                self.look(beacon, now);
            }
        }
    }

    /// A receiver is known to hear every packet, or to hear each sender about once a second only.
    pub fn set_unfiltered(&mut self, receiver: &ReceiverId, is_unfiltered: bool) {
        if let Some(at) = self.registry.receiver(receiver) {
            self.filtered[at.get()] = !is_unfiltered;
        }
    }

    /// A receiver has heard a beacon that is fixed, or whose device may be tracked.
    pub fn heard(
        &mut self,
        beacon: BeaconIndex,
        receiver: ReceiverIndex,
        rssi: Rssi,
        heard: &Heard<'_>,
        now: Timestamp,
    ) {
        let offset = self.registry.receivers().get(receiver.get()).map_or(0.0, |known| known.rssi_offset);
        let time = heard.time.min(now);
        let sighting = Sighting {
            receiver,
            time,
            rssi: rssi.get() - offset,
            is_unfiltered: self.filtered.get(receiver.get()).is_some_and(|filtered| !filtered),
        };
        let registry = Arc::clone(&self.registry);
        let known = &registry.beacons()[beacon.get()];
        let watch = self.watches[beacon.get()].get_or_insert_with(|| Box::new(Watch::new(known, time)));
        watch.heard(&sighting, &self.attended, now);
        if let Some(place) = placed(known) {
            watch.look_around(place, &self.ground, |receiver| self.attended.hears(receiver), now);
        }
        if known.device.is_none() && watch.look_due.is_none() {
            let due = now + watch::MISSING_AFTER;
            watch.look_due = Some(due);
            self.unheeded.remove(&beacon);
            self.looks.insert((due, beacon));
        }
        self.said(beacon, heard, time, now);
    }

    /// A device has heard a fixed beacon.
    pub fn heard_by_device(&mut self, beacon: BeaconIndex, heard: &Heard<'_>, now: Timestamp) {
        let registry = Arc::clone(&self.registry);
        let known = &registry.beacons()[beacon.get()];
        let time = heard.time.min(now);
        self.watches[beacon.get()].get_or_insert_with(|| Box::new(Watch::new(known, time))).alive(time);
        self.said(beacon, heard, time, now);
    }

    /// Something was heard that does not say whose it is. Whether it was the telemetry of a beacon that is watched.
    pub fn nameless(&mut self, heard: &Heard<'_>, now: Timestamp) -> bool {
        let Some(beacon) = heard.address.and_then(|address| self.addresses.get(&address.bytes).copied()) else {
            return false;
        };
        let said = telemetry(heard.data);
        let Some(watch) = self.watches[beacon.get()].as_deref_mut() else { return false };
        if said.is_empty() || now.since(watch.last_heard) > SAME_ADDRESS {
            return false;
        }
        let time = heard.time.min(now);
        watch.said(&said, time);
        self.settle(beacon, now);
        true
    }

    fn said(&mut self, beacon: BeaconIndex, heard: &Heard<'_>, time: Timestamp, now: Timestamp) {
        let Some(watch) = self.watches[beacon.get()].as_deref_mut() else { return };
        let is_named_by_it = matches!(self.registry.beacons()[beacon.get()].identity, Identity::Mac(_));
        if let Some(address) = heard.address.map(|address| address.bytes)
            && !is_named_by_it
            && watch.address != Some(address)
        {
            if let Some(before) = watch.address.replace(address) {
                self.addresses.remove(&before);
            }
            if let Some(other) = self.addresses.insert(address, beacon).filter(|other| *other != beacon)
                && let Some(other) = self.watches[other.get()].as_deref_mut()
            {
                other.address = None;
            }
        }
        if let Some(watch) = self.watches[beacon.get()].as_deref_mut() {
            let said = telemetry(heard.data);
            if !said.is_empty() {
                watch.said(&said, time);
            }
        }
        self.settle(beacon, now);
    }

    /// Judges a beacon, and sees to it that what is new is said and written down.
    fn settle(&mut self, beacon: BeaconIndex, now: Timestamp) {
        let Some(watch) = self.watches[beacon.get()].as_deref_mut() else { return };
        let is_new = watch.judge(now);
        let is_first = watch.said.is_none();
        if is_new || is_first || watch.said.is_some_and(|said| now.since(said) >= SAY_EVERY) {
            watch.said = Some(now);
            self.changed.insert(beacon);
        }
        let due = match watch.write_due {
            Some(due) if is_new => due.min(now),
            Some(due) => due,
            None if is_new => now,
            None if is_first => now + WRITE_FIRST,
            None => now + WRITE_EVERY,
        };
        if watch.write_due != Some(due) {
            if let Some(before) = watch.write_due.replace(due) {
                self.writes.remove(&(before, beacon));
            }
            self.writes.insert((due, beacon));
        }
    }

    /// When [`Beacons::advance`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Looks at those that may be missing by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((due, beacon)) = self.looks.first().copied().filter(|(due, _)| *due <= now) {
            self.looks.remove(&(due, beacon));
            if let Some(watch) = self.watches[beacon.get()].as_deref_mut() {
                watch.look_due = None;
            }
            self.look(beacon, now);
        }
    }

    /// Whether a fixed beacon is missing, and if not, when to look again.
    fn look(&mut self, beacon: BeaconIndex, now: Timestamp) {
        let Some(watch) = self.watches[beacon.get()].as_deref_mut() else { return };
        if watch.is_missing || watch.look_due.is_some() {
            return;
        }
        // Only devices have heard it, which come and go.
        let Some(found) = watch.unheard(&self.attended, now) else { return };
        let left = found.limit.saturating_sub(found.time);
        if left.is_zero() {
            watch.is_missing = true;
            self.settle(beacon, now);
        } else if found.is_heeded {
            let due = now + left.max(LEAST_LOOK);
            watch.look_due = Some(due);
            self.looks.insert((due, beacon));
        } else {
            self.unheeded.insert(beacon);
        }
    }

    /// What is to be said since the last call: how a beacon fares, or none where it is no longer watched.
    pub fn take_changed(&mut self) -> Vec<(BeaconId, Option<Box<BeaconHealth>>)> {
        if self.changed.is_empty() && self.gone.is_empty() {
            return Vec::new();
        }
        let gone = std::mem::take(&mut self.gone).into_iter().map(|id| (id, None));
        let changed = std::mem::take(&mut self.changed);
        let said = changed
            .into_iter()
            .filter_map(|at| self.health(at))
            .map(|health| (health.beacon.clone(), Some(Box::new(health))));
        gone.chain(said).collect()
    }

    /// What is to be written down by `now`, at most `most`: what is known of a beacon, or none where it is to be
    /// forgotten.
    pub fn take_records(&mut self, now: Timestamp, most: usize) -> Vec<(BeaconId, Option<BeaconRecord>)> {
        let some = self.forgotten.len().min(most);
        let mut records: Vec<_> = self.forgotten.drain(..some).map(|id| (id, None)).collect();
        while records.len() < most
            && let Some((due, beacon)) = self.writes.first().copied().filter(|(due, _)| *due <= now)
        {
            self.writes.remove(&(due, beacon));
            if let Some(watch) = self.watches[beacon.get()].as_deref_mut() {
                watch.write_due = None;
                let known = &self.registry.beacons()[beacon.get()];
                records.push((known.id.clone(), Some(BeaconRecord::of(&self.registry, known, watch))));
            }
        }
        records
    }

    /// How a beacon fares; none where it was never heard.
    pub fn health(&self, beacon: BeaconIndex) -> Option<BeaconHealth> {
        let watch = self.watches.get(beacon.get())?.as_deref()?;
        Some(watch.health(&self.registry.beacons()[beacon.get()]))
    }

    /// How they fare together. Costs a look at each.
    pub fn summary(&self) -> HealthSummary {
        let words = BeaconState::ALL.into_iter().filter(|state| *state != BeaconState::NotHeard);
        let mut summary = HealthSummary { states: words.map(|state| (state.as_str(), 0)).collect(), low: Vec::new() };
        let mut count = |state: BeaconState| *summary.states.entry(state.as_str()).or_default() += 1;
        for (beacon, watch) in self.registry.beacons().iter().zip(&self.watches) {
            match watch.as_deref() {
                None if beacon.device.is_none() => count(BeaconState::NeverHeard),
                None => {}
                Some(watch) if watch.problems.state() == BeaconState::Ok => count(BeaconState::Ok),
                Some(watch) => {
                    watch.problems.iter().for_each(&mut count);
                    let is_low = watch.problems.iter().any(|problem| problem == BeaconState::LowBattery);
                    if is_low && summary.low.len() < MOST_LISTED {
                        summary.low.push(beacon.id.clone());
                    }
                }
            }
        }
        summary
    }
}

/// Whether that beacon may be watched at all: nothing is kept of one that a customer carries who has not agreed to be
/// tracked.
fn is_watched(registry: &Registry, beacon: BeaconIndex) -> bool {
    registry.device_of(beacon).is_none_or(|device| registry.devices()[device.get()].may_be_tracked())
}

#[cfg(test)]
mod tests;
