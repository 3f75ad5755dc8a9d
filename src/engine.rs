//! Composes the stages; the one place that knows them all.
//!
//! The engine is sans-IO: it reads no clock and does nothing by itself. Its contract:
//!
//! 1. Give it every input with [`Engine::handle`] and the current time, which never runs backwards.
//! 2. After each call, take outputs from [`Engine::poll_output`] until there is none.
//! 3. Ask [`Engine::next_deadline`], and call [`Engine::advance`] no later than then (2. applies again).
//!
//! Whatever is due at a deadline is decided *at the deadline*, however late the call: the same inputs give the same
//! outputs whether time is kept by a clock, a file or a simulation. It is causal: what comes later in the input changes
//! nothing of what was put out before.

mod beacons;
mod counters;
pub mod explain;
pub mod history;
mod memory;
mod reconfigure;

pub use counters::Counters;
pub use memory::{DeviceRecord, Memory};
pub use reconfigure::{Prepared, Tables};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::advert::{Advertisement, DeviceSighting};
use crate::geofence::{CellShares, Membership, ZoneTree, gaussian_membership};
use crate::health::{BeaconHealth, Beacons};
use crate::model::{
    BeaconId, DeviceId, LatLon, LevelOrdinal, Metres, Point, Position, ReceiverId, Timestamp, TriggerId, ZoneId,
};
use crate::position::{
    AnchorIndex, BATCH, Drift, Drifts, Filter, Model, PositionReport, SILENT_INTERVAL, Sample, in_silence,
};
use crate::presence::{self, DeviceMemory, Event, EventKind, Health, Machine, Reason, ReceiverHealth, Witness};
use crate::registry::{BeaconIndex, Device, DeviceIndex, ReceiverIndex, Registry, ZoneIndex};
use crate::trigger::{Compiled, Decision, DeviceHistory, Fired, Looking, Made, Outcome, SiteHistory, Stage};

/// Inputs that claim to be so far ahead of the engine's time are refused.
const MOST_AHEAD: Duration = Duration::from_secs(60);
/// Inputs that are so far behind the engine's time are refused.
const MOST_BEHIND: Duration = Duration::from_secs(600);
/// However vague a report is, from farther than this, in metres, it is not from the store.
const FARTHEST: Metres = 1_000.0;
/// Sightings of one device beyond so many in one batch add nothing to its position.
const LARGEST_BATCH: usize = 256;

/// Whether a receiver hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverState {
    /// It is scanning.
    Up,
    /// It is known not to hear: unplugged, powered off, or silent past explanation.
    Down,
}

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// A radio heard something.
    Advertisement(Advertisement),
    /// A device heard a beacon.
    Heard(DeviceSighting),
    /// A device says where it is.
    PositionReport(PositionReport),
    /// The back end says something of a device.
    Attributes(DeviceId, serde_json::Map<String, serde_json::Value>),
    /// A receiver went up or down.
    Receiver(ReceiverId, ReceiverState),
}

/// What follows from the inputs, in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// A change of presence. Durable: must reach the broker.
    Event(Event),
    /// What a rule made of events. Durable as well, but for its expiry.
    Trigger(Box<Fired>),
    /// The visit is over for which that trigger was kept as a card.
    CardEnded(DeviceId, TriggerId),
    /// A new estimate of where a device is.
    Position(Arc<Device>, Position),
    /// The zones that a device is in have changed. Latest value wins.
    Presence(DevicePresence),
    /// How many devices are inside a zone has changed. Latest value wins.
    Occupancy(ZoneId, u32),
    /// A receiver has fallen silent that should hear, or hears again. Presence is held meanwhile, as if it was down.
    Receiver(ReceiverId, ReceiverHealth),
    /// How a beacon fares, or none where it is no longer watched. Latest value wins; while it is heard, about once an hour.
    Beacon(BeaconId, Option<Box<BeaconHealth>>),
}

/// Where a device is now.
#[derive(Debug, Clone)]
pub struct DevicePresence {
    /// Who.
    pub device: Arc<Device>,
    /// The zones that it is in, by id; empty where it is nowhere.
    pub zones: Vec<ZonePresence>,
    /// When this became so.
    pub since: Timestamp,
}

/// One zone that a device is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePresence {
    /// The zone.
    pub zone: ZoneId,
    /// When it entered.
    pub since: Timestamp,
    /// The visit.
    pub visit_id: uuid::Uuid,
}

/// The engine of one site.
#[derive(Debug)]
pub struct Engine {
    registry: Arc<Registry>,
    tree: Arc<ZoneTree>,
    model: Model,
    drifts: Drifts,
    shares: Arc<CellShares>,
    presence: Machine,
    triggers: Stage,
    compiled: Arc<Compiled>,
    health: Health,
    beacons: Beacons,
    /// Receivers that are known to be down.
    down: Vec<bool>,
    trackers: Vec<Option<Box<Tracker>>>,
    /// When the batch of each device is complete.
    batches: BTreeSet<(Timestamp, DeviceIndex)>,
    /// When the next position of each device is due that is no longer heard.
    silences: BTreeSet<(Timestamp, DeviceIndex)>,
    now: Timestamp,
    counters: Counters,
    outputs: VecDeque<Output>,
    /// What the clocks of those who report say, less the engine's time, in milliseconds.
    offset_ms: i64,
    /// Devices whose memory has changed since it was last taken.
    changed: BTreeSet<DeviceIndex>,
    /// Devices that were remembered and are no longer tracked.
    gone: Vec<DeviceId>,
}

/// The position stage of one device.
#[derive(Debug)]
struct Tracker {
    filter: Option<Filter>,
    batch: Vec<Sample>,
    batch_ends: Option<Timestamp>,
    /// The last position that follows from sightings, and when it is due again in silence.
    located: Option<(Position, Timestamp)>,
    last_report: Option<Timestamp>,
    /// Whether its last position is what the device reported, and not what the filter believes.
    is_reported: bool,
}

impl Engine {
    /// An engine that has seen nothing. `epoch` goes into every id.
    pub fn new(registry: Arc<Registry>, epoch: &str) -> Self {
        let tree = ZoneTree::new(&registry);
        let model = Model::new(&registry);
        let shares = CellShares::new(&tree, model.grid(), &registry.site().margins, registry.zones().len());
        let presence = Machine::new(Arc::clone(&registry), epoch).with_overlaps(shares.overlaps().clone());
        let compiled = Arc::new(Compiled::new(&registry));
        Self {
            tree: Arc::new(tree),
            shares: Arc::new(shares),
            drifts: Drifts::new(&registry, &model),
            model,
            presence,
            triggers: Stage::new(Arc::clone(&registry), Arc::clone(&compiled)),
            compiled,
            health: Health::new(registry.receivers().len()),
            beacons: Beacons::new(Arc::clone(&registry)),
            down: vec![false; registry.receivers().len()],
            trackers: registry.devices().iter().map(|_| None).collect(),
            batches: BTreeSet::new(),
            silences: BTreeSet::new(),
            now: Timestamp::from_millis(0),
            counters: Counters { sightings_by_receiver: vec![0; registry.receivers().len()], ..Counters::default() },
            outputs: VecDeque::new(),
            offset_ms: 0,
            changed: BTreeSet::new(),
            gone: Vec::new(),
            registry,
        }
    }

    /// The engine's time: that of the last input or deadline.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Observations begin at that time. Who is seen shortly after was there already. Without a call they begin with the
    /// first input.
    pub fn begin(&mut self, at: Timestamp) {
        self.presence.begin(at);
    }

    /// Goes on where an earlier engine of the same epoch was. Call once, before anything else. What is found changed is
    /// put out, and so is the presence of who is still there.
    pub fn restore(&mut self, memory: Memory, now: Timestamp) {
        self.now = now;
        let mut known = Vec::new();
        let Memory { began, sequence, alive_at, devices, site } = memory;
        self.triggers.restore_site(site, alive_at, now);
        let mut remembered = Vec::with_capacity(devices.len());
        for DeviceRecord { presence: device, rules } in devices {
            let tracked = self.registry.device(&device.id);
            let Some(at) = tracked.filter(|at| self.registry.devices()[at.get()].may_be_tracked()) else {
                self.gone.push(device.id.clone());
                remembered.push(device);
                continue;
            };
            if let Some(rules) = rules {
                self.triggers.restore(at, rules, now);
            }
            // Of who is long gone only rules know something.
            if device.visits.is_empty() && now.since(device.last_seen) > MOST_BEHIND {
                continue;
            }
            known.push(at);
            if device.last_report.is_some() {
                let tracker = self.trackers[at.get()].get_or_insert_with(Tracker::new);
                tracker.last_report = device.last_report;
            }
            remembered.push(device);
        }
        self.presence.restore(presence::Memory { began, sequence, alive_at, devices: remembered }, now);
        self.publish();
        for device in known {
            let presence = self.presence_of(device, now);
            if !presence.zones.is_empty() {
                self.outputs.push_back(Output::Presence(presence));
            }
        }
        let occupied: Vec<ZoneIndex> = (0..self.registry.zones().len()).map(|at| ZoneIndex(at as u32)).collect();
        for zone in occupied {
            let inside = self.presence.occupancy(zone);
            if inside > 0 {
                let id = self.registry.zones()[zone.get()].id.clone();
                self.outputs.push_back(Output::Occupancy(id, inside));
            }
        }
    }

    /// Position reports are by the wall clock, and everything else by the engine's: the wall clock is ahead of it by so
    /// many milliseconds (behind where negative). Not needed where both are one.
    pub fn set_wall_offset(&mut self, ms: i64) {
        self.offset_ms = ms;
        self.triggers.set_offset(ms);
    }

    /// The `sequence` of the next event.
    pub fn sequence(&self) -> u64 {
        self.presence.sequence()
    }

    /// What must outlive a restart, of the devices of which that has changed since the last call.
    pub fn take_changed(&mut self) -> Vec<DeviceRecord> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(self.triggers.take_changed());
        changed.into_iter().filter_map(|device| self.memory(device)).collect()
    }

    /// Devices that were remembered before a restart and are no longer registered, or no longer to be tracked.
    pub fn take_gone(&mut self) -> Vec<DeviceId> {
        std::mem::take(&mut self.gone)
    }

    /// What rules remember of the site, where that has changed since the last call.
    pub fn take_site_changed(&mut self) -> Option<&SiteHistory> {
        self.triggers.take_site()
    }

    /// What rules remember of a device.
    pub fn history(&self, device: DeviceIndex) -> Option<&DeviceHistory> {
        self.triggers.history(device)
    }

    /// How often each rule fired and was held back since the start.
    pub fn trigger_counts(&self) -> &BTreeMap<TriggerId, BTreeMap<Outcome, u64>> {
        self.triggers.counts()
    }

    /// What was decided lately of rules that are about no device.
    pub fn site_decisions(&self) -> impl Iterator<Item = &Decision> {
        self.triggers.site_decisions()
    }

    /// Rules that cannot be used, and why.
    pub fn trigger_faults(&self) -> impl Iterator<Item = (&TriggerId, String)> {
        self.compiled.faults.iter().map(|(id, error)| (id, error.to_string()))
    }

    /// Whether rules wait for something that time brings: for who stays away, say.
    pub fn is_waiting(&self) -> bool {
        self.triggers.is_waiting()
    }

    /// Whether any visit is open.
    pub fn is_anybody_inside(&self) -> bool {
        (0..self.registry.zones().len()).any(|at| self.presence.occupancy(ZoneIndex(at as u32)) > 0)
    }

    /// What must outlive a restart of every device that is somewhere.
    pub fn memories(&self) -> Vec<DeviceRecord> {
        let all = (0..self.registry.devices().len()).map(|at| DeviceIndex(at as u32));
        all.filter_map(|device| self.memory(device)).filter(|memory| !memory.presence.visits.is_empty()).collect()
    }

    fn memory(&self, device: DeviceIndex) -> Option<DeviceRecord> {
        let rules = self.triggers.history(device).cloned();
        // Of some nothing was seen in this life.
        let unseen = || rules.as_ref().map(|_| DeviceMemory::unseen(&self.registry.devices()[device.get()]));
        let mut memory = self.presence.memory(device).or_else(unseen)?;
        memory.last_report = self.trackers[device.get()].as_ref().and_then(|tracker| tracker.last_report);
        Some(DeviceRecord { presence: memory, rules })
    }

    /// The registry it works with.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What was taken in and refused so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Receivers that hear otherwise than in the survey of the site. Only said: positions are worked out as before.
    pub fn drifts(&self) -> Vec<Drift> {
        self.drifts.found()
    }

    /// Since when that receiver has been silent though it should hear; none where it hears, as far as its traffic tells.
    pub fn silent_since(&self, receiver: ReceiverIndex) -> Option<Timestamp> {
        self.health.silent_since(receiver)
    }

    /// Takes in one input at `now`. A `now` that runs backwards is taken to stand still.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        self.advance(now);
        match input {
            Input::Advertisement(heard) => self.advertisement(&heard),
            Input::Heard(heard) => self.heard(&heard),
            Input::PositionReport(report) => self.report(&report),
            Input::Attributes(device, said) => match self.registry.device(&device) {
                // Not even that is kept of who has not agreed.
                Some(at) if self.registry.devices()[at.get()].may_be_tracked() => {
                    self.triggers.set_attributes(at, &said);
                }
                Some(_) => self.counters.without_consent += 1,
                None => self.counters.unknown_devices += 1,
            },
            Input::Receiver(receiver, state) => {
                if let Some(receiver) = self.registry.receiver(&receiver) {
                    let up = state == ReceiverState::Up;
                    self.down[receiver.get()] = !up;
                    self.health.set(receiver, up, self.now);
                    self.hold(receiver);
                }
            }
        }
    }

    /// Makes everything that is due by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        let now = now.max(self.now);
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            self.now = at.max(self.now);
            self.beacons.advance(at);
            self.put_beacons();
            match (self.batches.first().copied(), self.silences.first().copied()) {
                // A position first: it may be what the presence is waiting for.
                (Some((ends, device)), _) if ends <= at => self.complete_batch(device),
                (_, Some((due, device))) if due <= at => self.say_in_silence(device),
                _ => {
                    self.presence.advance(at);
                    self.publish();
                    self.triggers.advance(at);
                }
            }
            self.publish();
        }
        self.now = now;
    }

    /// When [`Engine::advance`] must be called at the latest; none where nothing is due without further input.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let batch = self.batches.first().map(|(at, _)| *at);
        let silence = self.silences.first().map(|(at, _)| *at);
        let others = [self.presence.next_deadline(), self.triggers.next_deadline(), self.beacons.next_deadline()];
        [batch, silence].into_iter().chain(others).flatten().min()
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Ends every visit with the reason `stopped`.
    pub fn stop(&mut self, now: Timestamp) {
        self.advance(now);
        self.presence.close_all(Reason::Stopped, self.now);
        self.publish();
    }

    fn advertisement(&mut self, heard: &Advertisement) {
        let Some(receiver) = self.registry.receiver(&heard.receiver) else {
            self.counters.unknown_receivers += 1;
            return;
        };
        if self.refuses(heard.time) {
            return;
        }
        if self.health.hears(receiver, heard.rssi.get(), self.now) {
            self.health_changed(receiver, ReceiverHealth::Hears);
        }
        let Some(beacon) = self.registry.resolve(heard) else {
            let is_telemetry = self.is_telemetry(heard);
            let counter = if is_telemetry { &mut self.counters.telemetry } else { &mut self.counters.strangers };
            *counter += 1;
            return;
        };
        let Some(device) = self.registry.device_of(beacon) else {
            self.counters.fixed_beacons += 1;
            let sample = Sample { time: heard.time, anchor: receiver.into(), rssi: heard.rssi.get() };
            self.drifts.fixed(&self.model, beacon, &sample);
            self.witness(receiver, Witness::Fixed(beacon), heard);
            self.beacon_heard(beacon, receiver, heard);
            return;
        };
        if !self.registry.devices()[device.get()].may_be_tracked() {
            self.counters.without_consent += 1;
            return;
        }
        self.counters.sightings += 1;
        self.counters.sightings_by_receiver[receiver.get()] += 1;
        self.witness(receiver, Witness::Device(device), heard);
        self.beacon_heard(beacon, receiver, heard);
        self.presence.seen(device, Some(receiver), heard.time, self.now);
        self.publish();
        self.dwell(device, heard.time);
        let sample = Sample { time: heard.time, anchor: AnchorIndex::from(receiver), rssi: heard.rssi.get() };
        self.sample(device, Some(beacon), sample);
    }

    /// What was heard by one receiver tells of those that did not hear it.
    fn witness(&mut self, receiver: ReceiverIndex, who: Witness, heard: &Advertisement) {
        for silent in self.health.sighting(receiver, who, heard.rssi.get(), self.now) {
            let since = self.health.silent_since(silent).unwrap_or(self.now);
            self.health_changed(silent, ReceiverHealth::Silent(since));
        }
    }

    fn health_changed(&mut self, receiver: ReceiverIndex, health: ReceiverHealth) {
        let id = self.registry.receivers()[receiver.get()].id.clone();
        self.outputs.push_back(Output::Receiver(id, health));
        self.hold(receiver);
    }

    /// Tells presence whether a receiver hears, as far as is known.
    fn hold(&mut self, receiver: ReceiverIndex) {
        let hears = !self.down[receiver.get()] && self.health.silent_since(receiver).is_none();
        self.presence.receiver(receiver, hears, self.now);
        self.beacons.set_hears(receiver, hears, self.now);
        self.put_beacons();
        self.publish();
        self.look();
    }

    /// Tells rules how well the site is looked at: who is not seen while nobody looks is not absent.
    fn look(&mut self) {
        let hears = |at: usize| !self.down[at] && self.health.silent_since(ReceiverIndex(at as u32)).is_none();
        let all = self.registry.receivers().len();
        let hearing = (0..all).filter(|at| hears(*at)).count();
        let looking = match hearing {
            hearing if hearing == all => Looking::Everywhere,
            0 => Looking::Nowhere,
            _ => Looking::Partly(self.registry.zones().first().map_or(Duration::ZERO, |site| site.presence.max_hold)),
        };
        self.triggers.looking(looking, self.now);
    }

    /// Stays that are long enough for rules.
    fn dwell(&mut self, device: DeviceIndex, at: Timestamp) {
        let presence = &self.presence;
        self.triggers.seen(device, at, self.now, |zone| presence.is_inside(device, zone));
        self.put_triggers();
    }

    /// What a device has come near to.
    fn approach(&mut self, device: DeviceIndex, position: &Position) {
        if self.triggers.wants_positions() {
            self.triggers.position(device, position, self.now);
            self.put_triggers();
        }
    }

    fn heard(&mut self, heard: &DeviceSighting) {
        let Some(device) = self.registry.device(&heard.device) else {
            self.counters.unknown_devices += 1;
            return;
        };
        if self.refuses(heard.time) {
            return;
        }
        if !self.registry.devices()[device.get()].may_be_tracked() {
            self.counters.without_consent += 1;
            return;
        }
        let Some(beacon) = self.registry.sender(&heard.data, heard.address) else {
            self.counters.strangers += 1;
            return;
        };
        if self.registry.device_of(beacon).is_none() {
            self.beacon_heard_by_device(beacon, heard);
        }
        let Some(anchor) = self.model.anchor_of(beacon) else {
            self.counters.unplaced_beacons += 1;
            return;
        };
        self.counters.device_sightings += 1;
        // By no receiver: no radio's outage can hide it.
        self.presence.seen(device, None, heard.time, self.now);
        self.publish();
        self.dwell(device, heard.time);
        self.sample(device, None, Sample { time: heard.time, anchor, rssi: heard.rssi.get() });
    }

    /// Adds to the device's batch what was heard of `beacon`, which it carries, or by itself (none).
    fn sample(&mut self, device: DeviceIndex, beacon: Option<BeaconIndex>, sample: Sample) {
        let tracker = self.trackers[device.get()].get_or_insert_with(Tracker::new);
        if tracker.filter.is_none() {
            let id = &self.registry.devices()[device.get()].id;
            let carried = || {
                let at = self.registry.beacons().iter().position(|known| known.device.as_ref() == Some(id))?;
                Some(BeaconIndex(at as u32))
            };
            let prior = self.model.power_prior(&self.registry, beacon.or_else(carried));
            tracker.filter = Some(Filter::new(&self.model, prior));
        }
        if tracker.batch.len() < LARGEST_BATCH {
            tracker.batch.push(sample);
        }
        if tracker.batch_ends.is_none() {
            let ends = self.now + BATCH;
            tracker.batch_ends = Some(ends);
            self.batches.insert((ends, device));
        }
    }

    fn complete_batch(&mut self, device: DeviceIndex) {
        let Some(tracker) = self.trackers[device.get()].as_deref_mut() else { return };
        if let Some(ends) = tracker.batch_ends.take() {
            self.batches.remove(&(ends, device));
        }
        let Some(filter) = tracker.filter.as_mut() else { return };
        self.model.prepare(&tracker.batch);
        let position = filter.update(&self.model, &tracker.batch);
        if let Some(position) = &position {
            self.drifts.carried(&self.model, device, filter, &tracker.batch, position);
        }
        tracker.batch.clear();
        tracker.is_reported = false;
        if let Some(position) = position {
            let due = self.now + SILENT_INTERVAL;
            if let Some((_, due)) = tracker.located.replace((position, due)) {
                self.silences.remove(&(due, device));
            }
            self.silences.insert((due, device));
            let kind = self.registry.devices()[device.get()].kind;
            let membership = self.shares.membership(kind, self.model.grid(), filter.belief());
            self.moved(device, position, &membership);
        }
    }

    /// Says where a device is that was not heard for a while, until it is lost. Presence has its own ways with silence.
    fn say_in_silence(&mut self, device: DeviceIndex) {
        let Some(tracker) = self.trackers[device.get()].as_deref_mut() else { return };
        let Some((last, due)) = tracker.located.take() else { return };
        self.silences.remove(&(due, device));
        let lost_after = self.registry.zones().first().map_or(Duration::ZERO, |site| site.presence.lost_after);
        if self.now.since(last.time) >= lost_after {
            return;
        }
        let next = self.now + SILENT_INTERVAL;
        tracker.located = Some((last, next));
        self.silences.insert((next, device));
        let device = Arc::clone(&self.registry.devices()[device.get()]);
        self.outputs.push_back(Output::Position(device, in_silence(&last, self.now)));
    }

    fn report(&mut self, report: &PositionReport) {
        let Some(device) = self.registry.device(&report.device) else {
            self.counters.unknown_devices += 1;
            return;
        };
        let time = report.time.shifted(-self.offset_ms);
        if self.refuses(time) {
            return;
        }
        if !self.registry.devices()[device.get()].may_be_tracked() {
            self.counters.without_consent += 1;
            return;
        }
        let level = report.level.unwrap_or_else(|| self.ground());
        if !self.registry.site().levels.iter().any(|known| known.ordinal == level) {
            self.counters.unknown_levels += 1;
            return;
        }
        let point = self.registry.frame().to_site(report.at);
        if !self.may_be_on_site(report.at, point, report.accuracy) {
            self.counters.reports_outside += 1;
            return;
        }
        let tracker = self.trackers[device.get()].get_or_insert_with(Tracker::new);
        if tracker.last_report.is_some_and(|last| report.time <= last) {
            self.counters.stale_reports += 1;
            return;
        }
        tracker.last_report = Some(report.time);
        tracker.is_reported = true;
        self.counters.reports += 1;
        let kind_margin = self.registry.site().margins.of(self.registry.devices()[device.get()].kind);
        let membership = gaussian_membership(&self.tree, level, point, report.accuracy, kind_margin);
        let position = Position { point, level, accuracy: report.accuracy, time };
        self.outputs.push_back(Output::Position(Arc::clone(&self.registry.devices()[device.get()]), position));
        self.presence.reported(device, position, &membership, self.now);
        self.publish();
        self.dwell(device, position.time);
        self.approach(device, &position);
    }

    /// Whether a device that reports this may be in the store: within two standard deviations of the box of its outlines,
    /// receivers and zones. Who is elsewhere says nothing about the store, and is lost in time.
    fn may_be_on_site(&self, at: LatLon, point: Point, accuracy: Metres) -> bool {
        let origin = self.registry.frame().origin();
        // The site frame is flat: on the far side of the earth it means nothing.
        let is_near = (at.latitude - origin.latitude).abs() < 1.0;
        let grid = self.model.grid();
        let beyond =
            |value: f64, low: f64, cells: usize| (low - value).max(value - low - cells as f64 * grid.cell).max(0.0);
        let away = beyond(point.x, grid.origin.x, grid.columns).hypot(beyond(point.y, grid.origin.y, grid.rows));
        is_near && away <= (2.0 * accuracy).min(FARTHEST)
    }

    /// The level of a report that names none: ground, or the lowest where the site has no ground floor.
    fn ground(&self) -> LevelOrdinal {
        let levels = &self.registry.site().levels;
        let ground = levels.iter().find(|level| level.ordinal == LevelOrdinal(0)).or(levels.first());
        ground.map_or(LevelOrdinal(0), |level| level.ordinal)
    }

    fn moved(&mut self, device: DeviceIndex, position: Position, membership: &Membership) {
        self.outputs.push_back(Output::Position(Arc::clone(&self.registry.devices()[device.get()]), position));
        self.presence.observe(device, position, membership, self.now);
        if self.triggers.wants_positions() {
            self.publish();
            self.approach(device, &position);
        }
    }

    /// Whether a time is too far from now to be believed; counts it.
    fn refuses(&mut self, time: Timestamp) -> bool {
        if time > self.now + MOST_AHEAD {
            self.counters.ahead += 1;
            true
        } else if time + MOST_BEHIND < self.now {
            self.counters.behind += 1;
            true
        } else {
            false
        }
    }

    /// Puts out what presence has made, and the state that follows from it.
    fn publish(&mut self) {
        let events = self.presence.take_events();
        let mut changed: Vec<(DeviceIndex, Timestamp)> = Vec::new();
        let mut zones: Vec<(ZoneIndex, Event)> = Vec::new();
        for event in events {
            self.counters.events[event.kind as usize] += 1;
            self.changed.extend(self.registry.device(&event.device.id));
            if event.kind != EventKind::Dwelled {
                if let Some(device) = self.registry.device(&event.device.id)
                    && changed.last().is_none_or(|(last, _)| *last != device)
                {
                    changed.push((device, event.decided_at));
                }
                if let Some(zone) = self.registry.zone(&event.zone.id) {
                    match zones.iter_mut().find(|(known, _)| *known == zone) {
                        Some((_, last)) => *last = event.clone(),
                        None => zones.push((zone, event.clone())),
                    }
                }
            }
            self.triggers.event(&event);
            self.outputs.push_back(Output::Event(event));
        }
        for (zone, event) in &zones {
            self.triggers.occupancy(self.presence.occupancy(*zone), event);
        }
        self.put_triggers();
        for (device, since) in changed {
            let presence = self.presence_of(device, since);
            self.outputs.push_back(Output::Presence(presence));
        }
        for (zone, _) in zones {
            let id = self.registry.zones()[zone.get()].id.clone();
            self.outputs.push_back(Output::Occupancy(id, self.presence.occupancy(zone)));
        }
    }

    /// Puts out what rules have made: after the events that it follows from.
    fn put_triggers(&mut self) {
        for made in self.triggers.take_made() {
            self.outputs.push_back(match made {
                Made::Fired(mut fired) => {
                    fired.sequence = self.presence.claim();
                    Output::Trigger(fired)
                }
                Made::CardEnded(device, trigger) => Output::CardEnded(device, trigger),
            });
        }
    }
}

impl Engine {
    fn presence_of(&self, device: DeviceIndex, since: Timestamp) -> DevicePresence {
        let zones = self.presence.zones_of(device).into_iter();
        DevicePresence {
            device: Arc::clone(&self.registry.devices()[device.get()]),
            zones: zones
                .map(|(zone, since, visit_id)| ZonePresence {
                    zone: self.registry.zones()[zone.get()].id.clone(),
                    since,
                    visit_id,
                })
                .collect(),
            since,
        }
    }
}

impl Tracker {
    fn new() -> Box<Self> {
        Box::new(Self {
            filter: None,
            batch: Vec::new(),
            batch_ends: None,
            located: None,
            last_report: None,
            is_reported: false,
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trigger_tests;
