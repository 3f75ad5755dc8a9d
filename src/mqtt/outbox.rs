//! The queue between the engine and MQTT.
//!
//! Each device has a lane of its events in their order. Of each lane only the first may be under way, and the next one
//! follows when it is acknowledged; so order is kept per device while many devices are under way at once. A refused
//! event waits, with its lane behind it, and is parked after [`Limits::tries`].
//!
//! This one lives in memory. It neither sends nor reads a clock: a durable one takes its place by keeping the messages in
//! the database under the same keys, and filling the lanes from it at start.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::backoff::doubled;
use super::wire::Message;
use crate::model::DeviceId;

/// How much an outbox holds and how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most events; beyond, the oldest is dropped.
    pub events: usize,
    /// Most bytes of topics and payloads; beyond, the oldest is dropped.
    pub bytes: usize,
    /// How often the broker may refuse an event before it is parked.
    pub tries: u32,
    /// Wait after the first refusal; doubled with each further one.
    pub first_retry: Duration,
    /// Longest wait after a refusal.
    pub longest_retry: Duration,
    /// Most parked events that are kept; beyond, the oldest is forgotten (its count stays).
    pub parked: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A day of a busy store (1 event/s) at about 1 kB each, within what a small gateway can spare.
            events: 100_000,
            bytes: 64 * 1024 * 1024,
            tries: 10,
            // 1 s doubled to 60 s: ten tries take about four minutes, long enough to correct a broker's access list.
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            parked: 1_000,
        }
    }
}

/// An event's place in the outbox, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

/// What became of a refused event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It will be tried again.
    Waits,
    /// It was the last try.
    Parked,
}

#[derive(Debug)]
struct Entry {
    device: DeviceId,
    message: Message,
    tries: u32,
}

#[derive(Debug, Default)]
struct Lane {
    keys: VecDeque<Key>,
    state: LaneState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LaneState {
    /// In the list of lanes whose first event may go.
    #[default]
    Ready,
    /// Its first event is under way.
    UnderWay,
    /// Its first event was refused; it may go again at that time.
    Waits(Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    next_key: u64,
    lanes: HashMap<DeviceId, Lane>,
    ready: VecDeque<DeviceId>,
    waiting: BTreeSet<(Instant, DeviceId)>,
    under_way: usize,
    parked: VecDeque<Message>,
    dropped: u64,
    parked_total: u64,
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            bytes: 0,
            next_key: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            under_way: 0,
            parked: VecDeque::new(),
            dropped: 0,
            parked_total: 0,
        }
    }

    /// Adds an event behind the device's others. Gives how many old ones were dropped to make room.
    pub fn push(&mut self, device: DeviceId, message: Message) -> u64 {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.bytes += size(&message);
        self.entries.insert(key, Entry { device: device.clone(), message, tries: 0 });
        let lane = self.lanes.entry(device.clone()).or_insert_with(|| {
            self.ready.push_back(device);
            Lane::default()
        });
        lane.keys.push_back(key);
        let mut dropped = 0;
        while (self.entries.len() > self.limits.events || self.bytes > self.limits.bytes) && self.drop_oldest() {
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }

    /// The next event to send; it is under way from then on, until one of the four answers below is given.
    pub fn next(&mut self, now: Instant) -> Option<(Key, Message)> {
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, device)) = self.waiting.pop_first()
                && let Some(lane) = self.lanes.get_mut(&device)
            {
                lane.state = LaneState::Ready;
                self.ready.push_back(device);
            }
        }
        while let Some(device) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&device).filter(|lane| lane.state == LaneState::Ready) else {
                continue;
            };
            let Some(key) = lane.keys.front().copied() else { continue };
            let Some(entry) = self.entries.get(&key) else { continue };
            lane.state = LaneState::UnderWay;
            self.under_way += 1;
            return Some((key, entry.message.clone()));
        }
        None
    }

    /// When an event that waits may go again.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The broker has it: it leaves the outbox.
    pub fn accepted(&mut self, key: Key) {
        if let Some(entry) = self.take(key) {
            self.advance(&entry.device);
        }
    }

    /// The connection ended before an answer: it goes first when there is a connection again.
    pub fn lost(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        if let Some(lane) = self.lanes.get_mut(&entry.device)
            && lane.state == LaneState::UnderWay
        {
            lane.state = LaneState::Ready;
            self.under_way -= 1;
            self.ready.push_front(entry.device.clone());
        }
    }

    /// The broker does not want it: it waits, and its lane behind it, or is parked after the last try.
    pub fn refused(&mut self, key: Key, now: Instant) -> Refused {
        let Some(entry) = self.entries.get_mut(&key) else { return Refused::Parked };
        entry.tries += 1;
        if entry.tries >= self.limits.tries {
            self.park(key);
            return Refused::Parked;
        }
        let at = now + doubled(self.limits.first_retry, self.limits.longest_retry, entry.tries - 1);
        if let Some(lane) = self.lanes.get_mut(&entry.device)
            && lane.state == LaneState::UnderWay
        {
            lane.state = LaneState::Waits(at);
            self.under_way -= 1;
            self.waiting.insert((at, entry.device.clone()));
        }
        Refused::Waits
    }

    /// It can never be sent: it is set aside, and its lane goes on.
    pub fn park(&mut self, key: Key) {
        let Some(entry) = self.take(key) else { return };
        self.parked_total += 1;
        self.parked.push_back(entry.message);
        while self.parked.len() > self.limits.parked {
            self.parked.pop_front();
        }
        self.advance(&entry.device);
    }

    /// Events that are held, under way or not; not the parked ones.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of topics and payloads held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Events dropped since the start because there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Events parked since the start.
    pub fn parked_total(&self) -> u64 {
        self.parked_total
    }

    /// The parked events that are still kept, oldest first.
    pub fn parked(&self) -> impl Iterator<Item = &Message> {
        self.parked.iter()
    }

    fn take(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.bytes -= size(&entry.message);
        Some(entry)
    }

    /// The first event of the lane is done with.
    fn advance(&mut self, device: &DeviceId) {
        let Some(lane) = self.lanes.get_mut(device) else { return };
        lane.keys.pop_front();
        let state = std::mem::take(&mut lane.state);
        let empty = lane.keys.is_empty();
        match state {
            LaneState::UnderWay => self.under_way -= 1,
            LaneState::Waits(at) => {
                self.waiting.remove(&(at, device.clone()));
            }
            // It stands in the list already.
            LaneState::Ready => {
                if empty {
                    self.lanes.remove(device);
                    // The oldest is dropped first, so it stands near the front.
                    if let Some(at) = self.ready.iter().position(|ready| ready == device) {
                        self.ready.remove(at);
                    }
                }
                return;
            }
        }
        if empty {
            self.lanes.remove(device);
        } else {
            self.ready.push_back(device.clone());
        }
    }

    /// Drops the oldest event that is not under way; what is under way may be at the broker already.
    fn drop_oldest(&mut self) -> bool {
        let found = self.entries.iter().find_map(|(key, entry)| {
            let lane = self.lanes.get(&entry.device)?;
            let first = lane.keys.front() == Some(key);
            (!first || lane.state != LaneState::UnderWay).then_some((*key, first))
        });
        let Some((key, first)) = found else { return false };
        let Some(entry) = self.take(key) else { return false };
        if first {
            self.advance(&entry.device);
        } else if let Some(lane) = self.lanes.get_mut(&entry.device) {
            // Right behind the one that is under way.
            if let Some(at) = lane.keys.iter().position(|other| *other == key) {
                lane.keys.remove(at);
            }
        }
        true
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len()
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
