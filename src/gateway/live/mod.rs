//! What is going on now, for those who look: a copy of the latest state beside the loop, and a stream of what changes.
//!
//! The loop puts in what it has made, and never waits for a reader: who is too slow is told that it has missed something
//! ([`tokio::sync::broadcast`]). Everything is in memory and bounded, and times are by the wall clock.

mod nearby;
mod visits;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::advert::Advertisement;
use crate::engine::DevicePresence;
use crate::health::BeaconHealth;
use crate::model::{BeaconId, DeviceId, Position, Timestamp, ZoneId};
use crate::registrar::Change;
use crate::registry::{Device, DeviceKind, Registry};
use crate::store::Entry;
use nearby::Session;
use visits::Visits;

pub use nearby::SESSION;
pub use why::{Question, answer};

/// Messages that a reader may be behind.
const BEHIND: usize = 1_024;
/// Events that are kept to be looked at, and their bytes.
const MOST_EVENTS: usize = 1_000;
const MOST_EVENT_BYTES: usize = 4 << 20;
/// Questions that may wait for the loop.
const QUESTIONS: usize = 16;

/// What has changed. Texts are JSON, the same for every reader.
#[derive(Debug, Clone)]
pub enum LiveMessage {
    /// An event as it is published.
    Event {
        /// `EPOCH:SEQUENCE`.
        id: String,
        /// The `CloudEvent`.
        payload: Bytes,
    },
    /// Something else.
    State {
        /// `positions`, `presence`, `occupancy`, `registry`, `nearby` or `status`.
        name: &'static str,
        /// Its latest value.
        json: Arc<str>,
    },
}

/// A recent event.
#[derive(Debug, Clone)]
pub struct RecentEvent {
    /// Its `sequence`.
    pub sequence: u64,
    /// The `CloudEvent`.
    pub payload: Bytes,
}

/// Why nobody answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The loop has too much to do, or stops.
    #[error("the gateway does not answer at present; try again")]
    Busy,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}

type Wall = Box<dyn Fn(Timestamp) -> Timestamp + Send + Sync>;

struct Inner {
    epoch: String,
    wall: OnceLock<Wall>,
    state: Mutex<State>,
    changes: broadcast::Sender<LiveMessage>,
    is_nearby: AtomicBool,
    questions: mpsc::Sender<Question>,
}

#[derive(Debug, Default)]
struct State {
    devices: BTreeMap<DeviceId, LiveDevice>,
    /// Devices whose position is another than was last told.
    moved: BTreeSet<DeviceId>,
    occupancy: BTreeMap<ZoneId, u32>,
    beacons: BTreeMap<BeaconId, Arc<BeaconHealth>>,
    events: VecDeque<RecentEvent>,
    event_bytes: usize,
    visits: Visits,
    nearby: Option<Session>,
    status: Option<Value>,
    is_status_new: bool,
}

#[derive(Debug)]
struct LiveDevice {
    kind: DeviceKind,
    position: Option<Position>,
    /// Zones with the beginnings and ids of visits.
    zones: Vec<(ZoneId, Timestamp, uuid::Uuid)>,
    last_seen: Timestamp,
}

impl Live {
    /// Nothing is known yet. The loop takes the questions and answers them ([`answer`]).
    pub fn new(epoch: &str) -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let inner = Inner {
            epoch: epoch.to_owned(),
            wall: OnceLock::new(),
            state: Mutex::default(),
            changes: broadcast::Sender::new(BEHIND),
            is_nearby: AtomicBool::new(false),
            questions,
        };
        (Self(Arc::new(inner)), asked)
    }

    /// Sets the clock that puts what is heard on the wall.
    pub fn set_wall(&self, wall: impl Fn(Timestamp) -> Timestamp + Send + Sync + 'static) {
        // Set once, by whoever makes the loop.
        let _ = self.0.wall.set(Box::new(wall));
    }

    /// An instant of the loop's time on the wall clock.
    pub fn wall(&self, at: Timestamp) -> Timestamp {
        self.0.wall.get().map_or(at, |wall| wall(at))
    }

    /// The epoch of what is told.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// What changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<LiveMessage> {
        self.0.changes.subscribe()
    }

    /// A device is there.
    pub fn position(&self, device: &Device, position: Position) {
        let mut state = self.lock();
        if let Some(known) = state.devices.get_mut(&device.id) {
            known.position = Some(position);
            known.last_seen = known.last_seen.max(position.time);
        } else {
            let known =
                LiveDevice { kind: device.kind, position: Some(position), zones: Vec::new(), last_seen: position.time };
            state.devices.insert(device.id.clone(), known);
        }
        state.moved.insert(device.id.clone());
    }

    /// The zones that a device is in have changed.
    pub fn presence(&self, presence: &DevicePresence) {
        let id = &presence.device.id;
        let zones: Vec<_> = presence.zones.iter().map(|zone| (zone.zone.clone(), zone.since, zone.visit_id)).collect();
        let mut state = self.lock();
        state.visits.set(id, &zones);
        if zones.is_empty() {
            state.devices.remove(id);
            state.moved.insert(id.clone());
        } else if let Some(known) = state.devices.get_mut(id) {
            known.zones.clone_from(&zones);
            known.last_seen = known.last_seen.max(presence.since);
        } else {
            let known = LiveDevice {
                kind: presence.device.kind,
                position: None,
                zones: zones.clone(),
                last_seen: presence.since,
            };
            state.devices.insert(id.clone(), known);
        }
        drop(state);
        self.tell("presence", || json!({"device": id, "zones": zones_json(&zones)}));
    }

    /// How many devices are somewhere.
    pub fn present(&self) -> u64 {
        self.lock().devices.len() as u64
    }

    /// So many devices are in a zone.
    pub fn occupancy(&self, zone: &ZoneId, count: u32) {
        self.lock().occupancy.insert(zone.clone(), count);
        self.tell("occupancy", || json!({"zone": zone, "count": count}));
    }

    /// A beacon fares so; none where it is no longer watched.
    pub fn beacon(&self, beacon: &BeaconId, health: Option<Arc<BeaconHealth>>) {
        let mut state = self.lock();
        match health {
            Some(health) => state.beacons.insert(beacon.clone(), health),
            None => state.beacons.remove(beacon),
        };
    }

    /// How a beacon fares, as of when that was last said; none where it was never heard.
    pub fn beacon_health(&self, beacon: &BeaconId) -> Option<Arc<BeaconHealth>> {
        self.lock().beacons.get(beacon).cloned()
    }

    /// A device is no longer tracked.
    pub fn forget_device(&self, device: &DeviceId) {
        let mut state = self.lock();
        state.devices.remove(device);
        state.visits.set(device, &[]);
        state.moved.insert(device.clone());
    }

    /// A zone is no longer there.
    pub fn forget_zone(&self, zone: &ZoneId) {
        self.lock().occupancy.remove(zone);
    }

    /// Events that are committed.
    pub fn events(&self, entries: &[Entry]) {
        for entry in entries {
            self.event(entry.sequence, &entry.payload);
        }
    }

    /// An event as it is published.
    pub fn event(&self, sequence: u64, payload: &Bytes) {
        let mut state = self.lock();
        state.visits.event(payload);
        state.event_bytes += payload.len();
        state.events.push_back(RecentEvent { sequence, payload: payload.clone() });
        while state.events.len() > MOST_EVENTS || state.event_bytes > MOST_EVENT_BYTES {
            let Some(gone) = state.events.pop_front() else { break };
            state.event_bytes -= gone.payload.len();
        }
        drop(state);
        let id = format!("{}:{sequence}", self.0.epoch);
        // Nobody listens.
        let _ = self.0.changes.send(LiveMessage::Event { id, payload: payload.clone() });
    }

    /// The latest events, newest first, at most `most`.
    pub fn recent(&self, most: usize) -> Vec<RecentEvent> {
        self.lock().events.iter().rev().take(most).cloned().collect()
    }

    /// The events after that sequence that are still kept, oldest first.
    pub fn since(&self, sequence: u64) -> Vec<RecentEvent> {
        self.lock().events.iter().filter(|event| event.sequence > sequence).cloned().collect()
    }

    /// Who changed what of the registry.
    pub fn changed(&self, change: &Change) {
        self.tell("registry", || {
            json!({
                "revision": change.revision, "by": change.by, "action": change.action, "counts": change.counts,
                "items": change.items, "undoes": change.undoes,
            })
        });
    }

    /// The gateway's status, as it is published.
    pub fn status(&self, payload: &[u8]) {
        let Ok(status) = serde_json::from_slice::<Value>(payload) else { return };
        let mut state = self.lock();
        state.status = Some(status);
        state.is_status_new = true;
    }

    /// The latest status; none before the first.
    pub fn latest_status(&self) -> Option<Value> {
        self.lock().status.clone()
    }

    /// To be called about once a second: tells of what is collected.
    pub fn tick(&self, now: Timestamp, registry: &Registry) {
        let mut state = self.lock();
        let moved = std::mem::take(&mut state.moved);
        let is_heard = self.0.changes.receiver_count() > 0;
        let positions = (is_heard && !moved.is_empty()).then(|| {
            let gone: Vec<&DeviceId> = moved.iter().filter(|id| !state.devices.contains_key(*id)).collect();
            let devices = moved.iter().filter_map(|id| position_row(id, state.devices.get(id)?));
            json!({"at": now, "devices": devices.collect::<Vec<_>>(), "gone": gone})
        });
        let status = std::mem::take(&mut state.is_status_new).then(|| state.status.clone()).flatten();
        let nearby = state.nearby.as_mut().map(|session| session.list(now, registry));
        let is_over = state.nearby.as_ref().is_some_and(|session| session.is_over(now));
        if is_over {
            state.nearby = None;
            self.0.is_nearby.store(false, Ordering::Relaxed);
        }
        drop(state);
        for (name, value) in [("positions", positions), ("nearby", nearby), ("status", status)] {
            if let Some(value) = value {
                self.tell(name, || value);
            }
        }
        if is_over {
            self.tell("nearby", || json!({"until": null, "beacons": []}));
        }
    }

    /// Rows of all positions, as the stream tells them.
    pub fn positions(&self, now: Timestamp) -> Value {
        let state = self.lock();
        let devices = state.devices.iter().filter_map(|(id, device)| position_row(id, device));
        json!({"at": now, "devices": devices.collect::<Vec<_>>(), "gone": []})
    }

    /// Every device that is somewhere, in the order of ids.
    pub fn devices(&self) -> Vec<Value> {
        let state = self.lock();
        state.devices.iter().map(|(id, device)| device_json(id, device)).collect()
    }

    /// What is known of the presence of a device; none where it is nowhere.
    pub fn presence_of(&self, device: &DeviceId) -> Option<Value> {
        self.lock().devices.get(device).map(|known| presence_json(device, known))
    }

    /// The presence of every device that is somewhere, in the order of ids.
    pub fn presences(&self) -> Vec<(DeviceId, Value)> {
        let state = self.lock();
        state.devices.iter().map(|(id, device)| (id.clone(), presence_json(id, device))).collect()
    }

    /// How many devices are in each zone.
    pub fn occupancies(&self) -> BTreeMap<ZoneId, u32> {
        self.lock().occupancy.clone()
    }

    /// Visits: the open ones, then the ended ones that are still known, each newest first.
    pub fn visits(&self) -> Vec<Value> {
        self.lock().visits.list()
    }

    /// Begins to collect what is heard around, whoever it is, until [`SESSION`] is over. Until when.
    pub fn start_nearby(&self, now: Timestamp) -> Timestamp {
        let until = now + SESSION;
        let mut state = self.lock();
        match &mut state.nearby {
            Some(session) => session.prolong(until),
            None => state.nearby = Some(Session::new(until)),
        }
        self.0.is_nearby.store(true, Ordering::Relaxed);
        until
    }

    /// Forgets what was collected.
    pub fn stop_nearby(&self) {
        self.0.is_nearby.store(false, Ordering::Relaxed);
        self.lock().nearby = None;
        self.tell("nearby", || json!({"until": null, "beacons": []}));
    }

    /// What is heard around, strongest first; `until` is null where nothing is collected.
    pub fn nearby(&self, now: Timestamp, registry: &Registry) -> Value {
        let mut state = self.lock();
        let session = state.nearby.as_mut().filter(|session| !session.is_over(now));
        session.map_or_else(|| json!({"until": null, "beacons": []}), |session| session.list(now, registry))
    }

    /// A radio heard something. Costs one look at a flag while nobody asked for it.
    pub fn heard(&self, heard: &Advertisement, now: impl FnOnce() -> Timestamp) {
        if self.0.is_nearby.load(Ordering::Relaxed)
            && let Some(session) = &mut self.lock().nearby
        {
            session.heard(heard, now());
        }
    }

    /// Asks the loop what it knows of a device.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn why(&self, device: &DeviceId) -> Result<Option<Value>, AskError> {
        let (reply, answered) = oneshot::channel();
        let question = Question::Why { device: device.clone(), reply };
        self.0.questions.try_send(question).map_err(|_| AskError::Busy)?;
        answered.await.map_err(|_| AskError::Busy)
    }

    /// Has the loop keep what the back end says of a device. Comes back when it is committed.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn set_attributes(
        &self,
        device: &DeviceId,
        said: serde_json::Map<String, Value>,
    ) -> Result<(), AskError> {
        let (done, committed) = oneshot::channel();
        let question = Question::Attributes { device: device.clone(), said, done };
        self.0.questions.try_send(question).map_err(|_| AskError::Busy)?;
        committed.await.map_err(|_| AskError::Busy)
    }

    fn tell(&self, name: &'static str, value: impl FnOnce() -> Value) {
        if self.0.changes.receiver_count() > 0 {
            // Nobody listens any more.
            let _ = self.0.changes.send(LiveMessage::State { name, json: value().to_string().into() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under it is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `["d1", 0, 1.234, 5.678, 1.2]`.
fn position_row(id: &DeviceId, device: &LiveDevice) -> Option<Value> {
    let at = device.position?;
    Some(json!([id, at.level.0, rounded(at.point.x), rounded(at.point.y), rounded(at.accuracy)]))
}

fn device_json(id: &DeviceId, device: &LiveDevice) -> Value {
    let zones: Vec<&ZoneId> = device.zones.iter().map(|(zone, ..)| zone).collect();
    let at = device.position;
    json!({
        "id": id, "kind": device.kind,
        "level": at.map(|at| at.level.0), "x": at.map(|at| rounded(at.point.x)), "y": at.map(|at| rounded(at.point.y)),
        "accuracy": at.map(|at| rounded(at.accuracy)), "time": at.map(|at| at.time), "zones": zones,
    })
}

fn presence_json(id: &DeviceId, device: &LiveDevice) -> Value {
    json!({"device": id, "kind": device.kind, "zones": zones_json(&device.zones), "last_seen": device.last_seen})
}

fn zones_json(zones: &[(ZoneId, Timestamp, uuid::Uuid)]) -> Value {
    let zone = |(zone, since, visit): &(ZoneId, Timestamp, uuid::Uuid)| json!({"zone": zone, "since": since, "visit_id": visit.to_string()});
    zones.iter().map(zone).collect()
}

/// Millimetres are what is said of places.
fn rounded(metres: f64) -> f64 {
    (metres * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
