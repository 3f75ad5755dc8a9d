//! The state machine.

mod reconfigure;
mod state;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::geofence::Overlaps;
use crate::model::{Position, Probability, Timestamp};
use crate::registry::{DeviceIndex, PresenceSettings, ReceiverIndex, Registry, ZoneIndex};

use super::coverage::Coverage;
use super::event::{Event, EventKind, Reason};
use super::memory::{DeviceMemory, Memory, VisitMemory, ZoneMemory};
use super::visit::{Namer, Visit};

pub use reconfigure::Moves;
pub use state::{DeviceState, Held, ZonePhase, ZoneState};

/// Who is first seen within this time of the beginning, or of the return of the receiver that heard it, was there already.
const INITIAL: Duration = Duration::from_secs(10);
/// The receivers that heard a device within this time before its last sighting are those that would hear it still.
const RECENTLY: Duration = Duration::from_secs(30);

/// Who is held in a zone enters another one, which does not overlap with it, from this probability on.
const ENTER_WHILE_HELD: f64 = 0.9;
/// Where a receiver that covers a zone is down, the others place devices less well: it is entered from this probability on.
const ENTER_WHILE_DOWN: f64 = 0.75;

/// The zone of the whole site: always the registry's first.
const SITE: ZoneIndex = ZoneIndex(0);

/// The zones that a device is inside of, each with the time it entered and its visit.
pub type Zones = Vec<(ZoneIndex, Timestamp, uuid::Uuid)>;

/// The presence of every device in every zone.
#[derive(Debug)]
pub struct Machine {
    registry: Arc<Registry>,
    namer: Namer,
    started: Option<Timestamp>,
    /// When the epoch began, where that was in an earlier life.
    began: Option<Timestamp>,
    devices: Vec<Option<Box<Device>>>,
    /// When each device wants to be looked at again.
    deadlines: BTreeSet<(Timestamp, DeviceIndex)>,
    coverage: Coverage,
    /// Which zones overlap, where that is known.
    overlaps: Option<Overlaps>,
    /// Zones that were added or reshaped while it ran, and when: who enters at once was there already.
    fresh: BTreeMap<ZoneIndex, Timestamp>,
    occupancy: Vec<u32>,
    sequence: u64,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Device {
    /// It was first seen so early that it was there before it could be seen.
    was_there: bool,
    last_seen: Timestamp,
    /// When that was heard of: a report may come late, but who reports is not silent.
    received: Timestamp,
    position: Option<Position>,
    /// When each receiver last heard it.
    heard: Vec<(ReceiverIndex, Timestamp)>,
    /// Zones where it is not simply outside, in the registry's order.
    zones: Vec<Presence>,
    /// No visit begins before the last one of the device ended.
    not_before: Timestamp,
    /// Nobody looked in that time, and it was not seen since.
    away: Option<Away>,
    deadline: Option<Timestamp>,
}

/// A time in which nobody looked.
#[derive(Debug, Clone, Copy)]
struct Away {
    since: Timestamp,
    until: Timestamp,
}

#[derive(Debug)]
struct Presence {
    zone: ZoneIndex,
    phase: Phase,
    /// Probability at the last position; none for the whole site.
    confidence: Option<Probability>,
}

#[derive(Debug)]
enum Phase {
    Entering { since: Timestamp, initial: bool },
    Inside { visit: Visit },
    Leaving { visit: Visit, since: Timestamp },
}

/// What is due for one device in one zone.
enum Due {
    Nothing,
    /// `enter_after` has passed.
    Enter,
    /// It was silent for `lost_after` before it had entered.
    Forget,
    /// It would be lost, but presence is held.
    Hold,
    Exit(Reason),
}

impl Machine {
    /// A machine in which everybody is outside.
    pub fn new(registry: Arc<Registry>, epoch: &str) -> Self {
        let namer = Namer::new(&registry.site().id, epoch);
        let coverage = Coverage::new(&registry);
        Self {
            namer,
            started: None,
            began: None,
            devices: registry.devices().iter().map(|_| None).collect(),
            deadlines: BTreeSet::new(),
            coverage,
            overlaps: None,
            fresh: BTreeMap::new(),
            occupancy: vec![0; registry.zones().len()],
            sequence: 0,
            events: Vec::new(),
            registry,
        }
    }

    /// The machine, knowing which zones overlap: nobody stays in two that do not.
    #[must_use]
    pub fn with_overlaps(self, overlaps: Overlaps) -> Self {
        Self { overlaps: Some(overlaps), ..self }
    }

    /// The events made since this was last called, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// When [`Machine::advance`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many devices are inside a zone.
    pub fn occupancy(&self, zone: ZoneIndex) -> u32 {
        self.occupancy[zone.get()]
    }

    /// The zones that a device is inside of.
    pub fn zones_of(&self, device: DeviceIndex) -> Zones {
        let Some(state) = &self.devices[device.get()] else { return Vec::new() };
        let inside = |presence: &Presence| match &presence.phase {
            Phase::Entering { .. } => None,
            Phase::Inside { visit } | Phase::Leaving { visit, .. } => Some((presence.zone, visit.entered_at, visit.id)),
        };
        state.zones.iter().filter_map(inside).collect()
    }

    /// The devices that are inside of any zone.
    pub fn inside(&self) -> impl Iterator<Item = DeviceIndex> + '_ {
        let all = (0..self.devices.len()).map(|at| DeviceIndex(at as u32));
        all.filter(|at| !self.zones_of(*at).is_empty())
    }

    /// Observations begin at that time; without a call, with the first one.
    pub fn begin(&mut self, at: Timestamp) {
        self.started.get_or_insert(at);
    }

    /// The `sequence` of the next event.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The `sequence` of the next event, which is something else's now.
    pub fn claim(&mut self) -> u64 {
        let claimed = self.sequence;
        self.sequence += 1;
        claimed
    }

    /// Whether a device is inside a zone, and not about to leave it.
    pub fn is_inside(&self, device: DeviceIndex, zone: ZoneIndex) -> bool {
        let state = self.devices[device.get()].as_deref();
        let presence = state.and_then(|state| state.zones.iter().find(|presence| presence.zone == zone));
        presence.is_some_and(|presence| matches!(presence.phase, Phase::Inside { .. }))
    }

    /// Goes on where an earlier machine of the same epoch was at `memory.alive_at`. Call once, before anything else.
    ///
    /// Visits keep their ids, and time begins anew for them: who is not seen within `lost_after`, or was not looked for
    /// longer than `max_hold`, is found gone. Visits of what is no longer registered, or no longer agreed to, end.
    pub fn restore(&mut self, memory: Memory, now: Timestamp) {
        self.began = Some(memory.began);
        self.started = Some(now);
        self.sequence = memory.sequence;
        for device in memory.devices {
            let known = self.registry.device(&device.id);
            let reason = match known {
                None => Some(Reason::DeviceRemoved),
                Some(at) if !self.registry.devices()[at.get()].may_be_tracked() => Some(Reason::ConsentWithdrawn),
                Some(_) => None,
            };
            match (known, reason) {
                (Some(at), None) => self.restore_device(at, device, memory.alive_at, now),
                (_, reason) => {
                    let reason = reason.unwrap_or(Reason::DeviceRemoved);
                    device.visits.iter().for_each(|visit| self.end(&device, visit, reason, memory.alive_at, now));
                }
            }
        }
    }

    fn restore_device(&mut self, at: DeviceIndex, memory: DeviceMemory, alive_at: Timestamp, now: Timestamp) {
        let registry = Arc::clone(&self.registry);
        let mut zones = Vec::new();
        let mut not_before = memory.not_before;
        for visit in &memory.visits {
            if let Some(zone) = registry.zone(&visit.zone.id) {
                self.occupancy[zone.get()] += 1;
                zones.push(Presence { zone, phase: Phase::Inside { visit: Visit::of(visit) }, confidence: None });
            } else {
                self.end(&memory, visit, Reason::ZoneRemoved, alive_at, now);
                not_before = not_before.max(alive_at);
            }
        }
        zones.sort_by_key(|presence| presence.zone);
        let heard = memory.heard.iter().filter_map(|id| registry.receiver(id)).map(|at| (at, memory.last_seen));
        self.devices[at.get()] = Some(Box::new(Device {
            was_there: false,
            last_seen: memory.last_seen,
            received: memory.last_seen,
            position: memory.position,
            heard: heard.collect(),
            zones,
            not_before,
            away: Some(Away { since: alive_at, until: now }),
            deadline: None,
        }));
        self.settle(at, now);
    }

    /// Ends a visit of which only the memory is left.
    fn end(&mut self, device: &DeviceMemory, visit: &VisitMemory, reason: Reason, at: Timestamp, now: Timestamp) {
        let mut told = Visit::of(visit);
        let (visit_sequence, id) = told.next_event();
        let observed_at = at.max(visit.entered_at);
        let known = self.registry.device(&device.id).map(|at| Arc::clone(&self.registry.devices()[at.get()]));
        self.events.push(Event {
            id,
            kind: EventKind::Exited,
            sequence: self.sequence,
            zone: visit.zone.zone(),
            device: known.unwrap_or_else(|| device.device()),
            visit_id: visit.id,
            visit_sequence,
            observed_at,
            decided_at: now,
            position: device.position,
            confidence: None,
            initial: false,
            threshold: None,
            duration: Some(observed_at.since(visit.entered_at)),
            reason: Some(reason),
            held: visit.held,
            suspect: false,
        });
        self.sequence += 1;
    }

    /// What must outlive a restart of a device; none where nothing was ever seen of it.
    pub fn memory(&self, device: DeviceIndex) -> Option<DeviceMemory> {
        let state = self.devices[device.get()].as_deref()?;
        let registered = &self.registry.devices()[device.get()];
        let since = state.last_seen - RECENTLY;
        let heard = state.heard.iter().filter(|(_, last)| *last >= since);
        let visits = state.zones.iter().filter_map(|presence| match &presence.phase {
            Phase::Entering { .. } => None,
            Phase::Inside { visit } | Phase::Leaving { visit, .. } => Some(VisitMemory {
                zone: ZoneMemory::of(&self.registry.zones()[presence.zone.get()]),
                id: visit.id,
                entered_at: visit.entered_at,
                next_sequence: visit.next_sequence,
                dwelled: visit.dwelled,
                held: visit.held,
            }),
        });
        Some(DeviceMemory {
            id: registered.id.clone(),
            kind: registered.kind,
            labels: registered.labels.clone(),
            last_seen: state.last_seen,
            not_before: state.not_before,
            last_report: None,
            position: state.position,
            heard: heard.map(|(at, _)| self.registry.receivers()[at.get()].id.clone()).collect(),
            visits: visits.collect(),
        })
    }

    /// A device was heard by a receiver, or reported its position (no receiver).
    pub fn seen(&mut self, device: DeviceIndex, receiver: Option<ReceiverIndex>, at: Timestamp, now: Timestamp) {
        self.notice(device, receiver, at, now);
        self.dwell(device, at, now);
        self.schedule(device, now);
    }

    /// A device reported its position: [`Machine::seen`] and [`Machine::observe`] in one. What follows from it says where it is
    /// by this very report, so that it does not depend on earlier ones.
    pub fn reported(
        &mut self,
        device: DeviceIndex,
        position: Position,
        membership: &[(ZoneIndex, Probability)],
        now: Timestamp,
    ) {
        self.notice(device, None, position.time, now);
        self.observe(device, position, membership, now);
        self.dwell(device, position.time, now);
        self.schedule(device, now);
    }

    fn notice(&mut self, device: DeviceIndex, receiver: Option<ReceiverIndex>, at: Timestamp, now: Timestamp) {
        let started = *self.started.get_or_insert(at);
        let back = receiver.and_then(|receiver| self.coverage.back_since(&[receiver]));
        let begun = match receiver {
            // Reports of the time in between are delivered afterwards: a restart is no beginning for them.
            None => self.began.unwrap_or(started),
            Some(_) => back.map_or(started, |back| back.max(started)),
        };
        let mut is_first = false;
        let state = self.devices[device.get()].get_or_insert_with(|| {
            is_first = true;
            Box::new(Device {
                was_there: at.since(begun) < INITIAL,
                last_seen: at,
                received: now,
                position: None,
                heard: Vec::new(),
                zones: Vec::new(),
                not_before: Timestamp::from_millis(0),
                away: None,
                deadline: None,
            })
        });
        state.away = None;
        state.received = state.received.max(now);
        state.last_seen = state.last_seen.max(at);
        if let Some(receiver) = receiver {
            match state.heard.iter_mut().find(|(r, _)| *r == receiver) {
                Some((_, last)) => *last = at.max(*last),
                None => state.heard.push((receiver, at)),
            }
        }
        if state.zones.first().is_none_or(|presence| presence.zone != SITE) {
            let initial = is_first && state.was_there;
            let phase = Phase::Entering { since: at.max(state.not_before), initial };
            state.zones.insert(0, Presence { zone: SITE, phase, confidence: None });
            self.enter(device, 0, now);
        }
    }

    /// A device's position changed. `membership` names every zone whose probability is above zero, in the registry's
    /// order. Call after [`Machine::seen`].
    pub fn observe(
        &mut self,
        device: DeviceIndex,
        position: Position,
        membership: &[(ZoneIndex, Probability)],
        now: Timestamp,
    ) {
        let registry = Arc::clone(&self.registry);
        let Some(state) = self.devices[device.get()].as_deref() else { return };
        let raised = self.raised(state, membership, now);
        let Some(state) = self.devices[device.get()].as_deref_mut() else { return };
        let initial = state.position.is_none() && state.was_there;
        state.position = Some(position);
        let at = position.time;
        let probability_of = |zone: ZoneIndex| {
            let found = membership.binary_search_by_key(&zone, |(zone, _)| *zone);
            found.map_or(Probability::saturating(0.0), |at| membership[at].1)
        };
        let threshold = |zone: ZoneIndex| {
            let raised = raised.iter().find(|(raised, _)| *raised == zone);
            raised.map_or(registry.zones()[zone.get()].presence.enter_probability, |(_, threshold)| *threshold)
        };
        state.zones.retain_mut(|presence| {
            if presence.zone == SITE {
                return true;
            }
            let settings = &registry.zones()[presence.zone.get()].presence;
            let probability = probability_of(presence.zone);
            presence.confidence = Some(probability);
            presence.phase.update(settings, threshold(presence.zone), probability, at)
        });
        for (zone, probability) in membership {
            let slot = state.zones.binary_search_by_key(zone, |presence| presence.zone);
            if let (Err(slot), true) = (slot, *probability >= threshold(*zone) && *zone != SITE) {
                let initial = initial || self.fresh.get(zone).is_some_and(|since| at.since(*since) < INITIAL);
                let phase = Phase::Entering { since: at.max(state.not_before), initial };
                state.zones.insert(slot, Presence { zone: *zone, phase, confidence: Some(*probability) });
            }
        }
        self.settle(device, now);
    }

    /// The probability from which on a device that was seen may enter a zone: `enter_probability`, or more while receivers are
    /// down.
    pub fn threshold(&self, device: DeviceIndex, zone: ZoneIndex, now: Timestamp) -> Probability {
        let usual = self.registry.zones()[zone.get()].presence.enter_probability;
        let Some(state) = self.devices[device.get()].as_deref() else { return usual };
        self.threshold_of(state, zone, &self.held(state, now), now)
    }

    /// The zones of a membership, and those that a device is in, with a threshold that is not the usual one.
    fn raised(
        &self,
        state: &Device,
        membership: &[(ZoneIndex, Probability)],
        now: Timestamp,
    ) -> Vec<(ZoneIndex, Probability)> {
        if !self.coverage.is_any_down() {
            return Vec::new();
        }
        let held = self.held(state, now);
        let zones = membership.iter().map(|(zone, _)| *zone).chain(state.zones.iter().map(|presence| presence.zone));
        zones.map(|zone| (zone, self.threshold_of(state, zone, &held, now))).collect()
    }

    fn threshold_of(&self, state: &Device, zone: ZoneIndex, held: &[ZoneIndex], now: Timestamp) -> Probability {
        let settings = &self.registry.zones()[zone.get()].presence;
        let overlaps = self.overlaps.as_ref();
        // Who is held in a zone is moved out of it by more than the doubt that the lost receiver leaves.
        let is_held = held.iter().any(|other| overlaps.is_some_and(|known| !known.overlap(zone, *other)));
        let down = self.coverage.held_until(self.coverage.of_zone(zone), settings.max_hold);
        let is_down = !state.heard.is_empty() && down.is_some_and(|until| now < until);
        let least = match (is_held, is_down) {
            (true, _) => ENTER_WHILE_HELD,
            (false, true) => ENTER_WHILE_DOWN,
            (false, false) => return settings.enter_probability,
        };
        Probability::saturating(settings.enter_probability.get().max(least))
    }

    /// A receiver went up or down.
    pub fn receiver(&mut self, receiver: ReceiverIndex, up: bool, now: Timestamp) {
        if self.coverage.set(receiver, up, now) {
            for device in (0..self.devices.len()).map(|at| DeviceIndex(at as u32)) {
                self.schedule(device, now);
            }
        }
    }

    /// Makes every change that is due by `now`. Never earlier than the last call.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, device)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.settle(device, at);
        }
    }

    /// Ends every visit.
    pub fn close_all(&mut self, reason: Reason, now: Timestamp) {
        for device in (0..self.devices.len()).map(|at| DeviceIndex(at as u32)) {
            while let Some(last) =
                self.devices[device.get()].as_ref().and_then(|state| state.zones.len().checked_sub(1))
            {
                self.leave(device, last, reason, now);
            }
            self.schedule(device, now);
        }
    }

    /// Makes the changes of one device that are due at `now`.
    fn settle(&mut self, device: DeviceIndex, now: Timestamp) {
        let mut at = 0;
        while let Some(due) = self.due(device, at, now) {
            match due {
                Due::Nothing => at += 1,
                Due::Enter => at = self.enter(device, at, now) + 1,
                Due::Hold => {
                    if let Some(visit) = self.visit(device, at) {
                        visit.held = true;
                    }
                    at += 1;
                }
                Due::Forget => {
                    if let Some(state) = self.devices[device.get()].as_deref_mut() {
                        state.zones.remove(at);
                    }
                }
                Due::Exit(reason) => self.leave(device, at, reason, now),
            }
        }
        self.schedule(device, now);
    }

    /// What is due in the device's zone number `at`; none where it has no such.
    fn due(&self, device: DeviceIndex, at: usize, now: Timestamp) -> Option<Due> {
        let state = self.devices[device.get()].as_deref()?;
        let presence = state.zones.get(at)?;
        let settings = &self.registry.zones()[presence.zone.get()].presence;
        let hold = self.hold(state, presence.zone, settings);
        if state.away.is_some_and(|away| away.until.since(away.since) > settings.max_hold)
            && !matches!(presence.phase, Phase::Entering { .. })
        {
            return Some(Due::Exit(Reason::ShutdownGap));
        }
        let lost = now >= hold.lost_at;
        let held = hold.until.is_some_and(|until| now < until);
        Some(match &presence.phase {
            Phase::Entering { .. } if lost => Due::Forget,
            Phase::Entering { since, .. } if now >= *since + settings.enter_after => Due::Enter,
            Phase::Entering { .. } => Due::Nothing,
            Phase::Inside { .. } | Phase::Leaving { .. } if lost && held => Due::Hold,
            Phase::Inside { .. } | Phase::Leaving { .. } if lost => {
                let was_held = hold.until.is_some_and(|until| until > hold.lost_at);
                Due::Exit(match state.away {
                    Some(_) => Reason::ShutdownGap,
                    None if was_held => Reason::ReceiverLost,
                    None => Reason::Lost,
                })
            }
            Phase::Leaving { since, .. } if !held && now >= hold.counted_from(*since) + settings.exit_after => {
                Due::Exit(Reason::Left)
            }
            Phase::Inside { .. } | Phase::Leaving { .. } => Due::Nothing,
        })
    }

    /// Sets when the device wants to be looked at again.
    fn schedule(&mut self, device: DeviceIndex, now: Timestamp) {
        let Some(state) = self.devices[device.get()].as_deref() else { return };
        let next = state.zones.iter().filter_map(|presence| self.deadline(state, presence, now)).min();
        let Some(state) = self.devices[device.get()].as_deref_mut() else { return };
        if state.deadline != next {
            if let Some(old) = state.deadline {
                self.deadlines.remove(&(old, device));
            }
            if let Some(next) = next {
                self.deadlines.insert((next, device));
            }
            state.deadline = next;
        }
    }

    /// When something can become due in this zone, later than `now`.
    fn deadline(&self, state: &Device, presence: &Presence, now: Timestamp) -> Option<Timestamp> {
        let settings = &self.registry.zones()[presence.zone.get()].presence;
        let hold = self.hold(state, presence.zone, settings);
        let change = match &presence.phase {
            Phase::Entering { since, .. } => Some(*since + settings.enter_after),
            Phase::Inside { .. } => None,
            Phase::Leaving { since, .. } => {
                let left_at = hold.counted_from(*since) + settings.exit_after;
                Some(hold.until.map_or(left_at, |until| left_at.max(until)))
            }
        };
        [change, Some(hold.lost_at), hold.until].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// What the receivers that would hear the device in that zone have to say.
    fn hold(&self, state: &Device, zone: ZoneIndex, settings: &PresenceSettings) -> Hold {
        let receivers = &*self.listeners(state, zone);
        let back = self.coverage.back_since(receivers);
        let looked_again = state.away.map(|away| away.until);
        let silent_since =
            [back, looked_again].into_iter().flatten().fold(state.last_seen.max(state.received), Timestamp::max);
        Hold {
            until: self.coverage.held_until(receivers, settings.max_hold),
            back,
            lost_at: silent_since + settings.lost_after,
        }
    }

    /// The receivers that would hear the device in that zone.
    fn listeners(&self, state: &Device, zone: ZoneIndex) -> Cow<'_, [ReceiverIndex]> {
        if state.heard.is_empty() {
            // It reports its own positions: no receiver's silence hides it.
            Cow::Borrowed(&[])
        } else if zone == SITE {
            let since = state.last_seen - RECENTLY;
            state.heard.iter().filter(|(_, last)| *last >= since).map(|(receiver, _)| *receiver).collect()
        } else {
            Cow::Borrowed(self.coverage.of_zone(zone))
        }
    }

    fn visit(&mut self, device: DeviceIndex, at: usize) -> Option<&mut Visit> {
        match &mut self.devices[device.get()].as_deref_mut()?.zones.get_mut(at)?.phase {
            Phase::Entering { .. } => None,
            Phase::Inside { visit } | Phase::Leaving { visit, .. } => Some(visit),
        }
    }

    /// Makes the device's entering zone number `at` an inside one.
    fn enter(&mut self, device: DeviceIndex, at: usize, now: Timestamp) -> usize {
        let registry = Arc::clone(&self.registry);
        let at = self.vacate(device, at, now);
        let Some(state) = self.devices[device.get()].as_deref_mut() else { return at };
        let presence = &mut state.zones[at];
        let Phase::Entering { since, initial } = presence.phase else { return at };
        let zone = presence.zone;
        let id = self.namer.visit(&registry.devices()[device.get()].id, &registry.zones()[zone.get()].id, since);
        presence.phase = Phase::Inside { visit: Visit::new(id, since) };
        self.occupancy[zone.get()] += 1;
        self.emit(device, at, EventKind::Entered, since, now, |event| event.initial = initial);
        at
    }

    /// Nobody is in two places at once: who is about to enter the zone number `at` leaves those that do not overlap with
    /// it, unless presence is held there. Gives the zone's new number.
    fn vacate(&mut self, device: DeviceIndex, at: usize, now: Timestamp) -> usize {
        let (Some(state), Some(overlaps)) = (self.devices[device.get()].as_deref(), &self.overlaps) else { return at };
        let Phase::Entering { since, .. } = state.zones[at].phase else { return at };
        let zone = state.zones[at].zone;
        let held = self.held(state, now);
        let mut left: Vec<ZoneIndex> = state.zones.iter().map(|presence| presence.zone).collect();
        left.retain(|other| zone != SITE && *other != SITE && !overlaps.overlap(zone, *other) && !held.contains(other));
        for other in left {
            let Some(state) = self.devices[device.get()].as_deref_mut() else { return at };
            let Ok(slot) = state.zones.binary_search_by_key(&other, |presence| presence.zone) else { continue };
            match &state.zones[slot].phase {
                Phase::Entering { .. } => continue,
                Phase::Inside { visit } => {
                    state.zones[slot].phase = Phase::Leaving { visit: visit.clone(), since };
                }
                Phase::Leaving { .. } => {}
            }
            self.leave(device, slot, Reason::Left, now);
        }
        let state = self.devices[device.get()].as_deref();
        state.and_then(|state| state.zones.iter().position(|presence| presence.zone == zone)).unwrap_or(at)
    }

    /// The zones, other than the whole site, that a device is held in because receivers are down.
    fn held(&self, state: &Device, now: Timestamp) -> Vec<ZoneIndex> {
        let is_held = |presence: &&Presence| {
            let settings = &self.registry.zones()[presence.zone.get()].presence;
            presence.zone != SITE
                && !matches!(presence.phase, Phase::Entering { .. })
                && self.hold(state, presence.zone, settings).until.is_some_and(|until| now < until)
        };
        state.zones.iter().filter(is_held).map(|presence| presence.zone).collect()
    }

    /// Ends the device's visit in its zone number `at`, and forgets the zone.
    fn leave(&mut self, device: DeviceIndex, at: usize, reason: Reason, now: Timestamp) {
        let Some(state) = self.devices[device.get()].as_deref_mut() else { return };
        let observed = match (&state.zones[at].phase, reason) {
            (Phase::Entering { .. }, _) => {
                state.zones.remove(at);
                return;
            }
            (Phase::Leaving { visit, since }, Reason::Left) => (*since).max(visit.entered_at),
            (Phase::Inside { visit } | Phase::Leaving { visit, .. }, Reason::Stopped) => now.max(visit.entered_at),
            (Phase::Inside { visit } | Phase::Leaving { visit, .. }, Reason::ShutdownGap) => {
                state.away.map_or(state.last_seen, |away| away.since).max(visit.entered_at)
            }
            (Phase::Inside { visit } | Phase::Leaving { visit, .. }, _) => state.last_seen.max(visit.entered_at),
        };
        let zone = state.zones[at].zone;
        self.occupancy[zone.get()] = self.occupancy[zone.get()].saturating_sub(1);
        self.emit(device, at, EventKind::Exited, observed, now, |event| event.reason = Some(reason));
        if let Some(state) = self.devices[device.get()].as_deref_mut() {
            state.zones.remove(at);
            state.not_before = state.not_before.max(observed);
        }
    }

    /// Emits the dwell thresholds that a sighting at `at` reaches.
    fn dwell(&mut self, device: DeviceIndex, at: Timestamp, now: Timestamp) {
        let registry = Arc::clone(&self.registry);
        let zones = self.devices[device.get()].as_deref().map_or(0, |state| state.zones.len());
        for slot in 0..zones {
            while let Some(threshold) = self.due_dwell(&registry, device, slot, at) {
                self.emit(device, slot, EventKind::Dwelled, at, now, |event| event.threshold = Some(threshold));
            }
        }
    }

    /// The next threshold that a visit has reached, counted as passed.
    fn due_dwell(&mut self, registry: &Registry, device: DeviceIndex, slot: usize, at: Timestamp) -> Option<Duration> {
        let presence = self.devices[device.get()].as_deref_mut()?.zones.get_mut(slot)?;
        let thresholds = &registry.zones()[presence.zone.get()].presence.dwell;
        let Phase::Inside { visit } = &mut presence.phase else { return None };
        let threshold = visit.due_dwell(thresholds, at)?;
        visit.dwelled += 1;
        Some(threshold)
    }

    fn emit(
        &mut self,
        device: DeviceIndex,
        at: usize,
        kind: EventKind,
        observed_at: Timestamp,
        decided_at: Timestamp,
        complete: impl FnOnce(&mut Event),
    ) {
        let Some(state) = self.devices[device.get()].as_deref_mut() else { return };
        let (position, presence) = (state.position, &mut state.zones[at]);
        let (Phase::Inside { visit } | Phase::Leaving { visit, .. }) = &mut presence.phase else { return };
        let (visit_sequence, id) = visit.next_event();
        let mut event = Event {
            id,
            kind,
            sequence: self.sequence,
            zone: Arc::clone(&self.registry.zones()[presence.zone.get()]),
            device: Arc::clone(&self.registry.devices()[device.get()]),
            visit_id: visit.id,
            visit_sequence,
            observed_at,
            decided_at,
            position,
            confidence: presence.confidence,
            initial: false,
            threshold: None,
            duration: (kind != EventKind::Entered).then(|| observed_at.since(visit.entered_at)),
            reason: None,
            held: std::mem::take(&mut visit.held),
            suspect: false,
        };
        complete(&mut event);
        self.sequence += 1;
        self.events.push(event);
    }
}

impl Phase {
    /// Takes in a new probability; false where the device is simply outside now.
    fn update(
        &mut self,
        settings: &PresenceSettings,
        threshold: Probability,
        probability: Probability,
        at: Timestamp,
    ) -> bool {
        match self {
            Self::Entering { .. } => return probability >= threshold,
            Self::Inside { visit } if probability < settings.exit_probability => {
                *self = Self::Leaving { visit: visit.clone(), since: at };
            }
            Self::Leaving { visit, .. } if probability >= settings.exit_probability => {
                *self = Self::Inside { visit: visit.clone() };
            }
            Self::Inside { .. } | Self::Leaving { .. } => {}
        }
        true
    }
}

/// What the receivers that would hear a device have to say.
struct Hold {
    /// Presence is held until then; none where all of them are up.
    until: Option<Timestamp>,
    /// The last of them came back then.
    back: Option<Timestamp>,
    /// Silence has lasted for `lost_after` then.
    lost_at: Timestamp,
}

impl Hold {
    /// From when on something that began at `since` counts: not before the receivers were back.
    fn counted_from(&self, since: Timestamp) -> Timestamp {
        self.back.map_or(since, |back| back.max(since))
    }
}
