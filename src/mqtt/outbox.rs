//! The queue between the engine and MQTT.
//!
//! Each device has a lane of its entries in their order. Of each lane only the first may be under way, and the next one
//! follows when it is settled; so order is kept per device while many devices are under way at once. A refused entry
//! waits, with its lane behind it, and is parked after [`Limits::tries`].
//!
//! A trigger that nobody heard is tried again until it expires. It would hold up its device for minutes, so it leaves its
//! lane while it waits, and joins it again at the end: of all entries it alone may come later than its place in the order.
//!
//! Lanes that may go stand in two lists that take turns: one of those whose first entry is fresh, one of those that are
//! behind. So what happens now is not kept waiting by what an outage has left of other devices, and what was left is not
//! kept waiting for ever.
//!
//! It neither sends nor reads a clock, and holds keys: the messages themselves are in a store, as a rule, and only the latest are
//! kept here as well. Every step takes time that grows with the logarithm of what is held (a lane that has
//! grown old is moved to the other list once).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::backoff::doubled;
use super::clock::Moment;
use super::wire::Message;
use crate::model::{DeviceId, Timestamp};
use crate::store::{self, Class, Dropped, Settled, Waiting};

/// How much an outbox holds and how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries; beyond, the oldest is dropped, events before triggers.
    pub events: usize,
    /// Most bytes of topics and payloads, in the store or here; beyond, the oldest is dropped, events before triggers.
    pub bytes: u64,
    /// Events that wait for longer than this are dropped.
    pub max_age: Duration,
    /// Most bytes of messages that are kept here where there is a store to read them from again.
    pub cache_bytes: usize,
    /// Entries a second that go to the broker from what an outage has left. What happens now is not held back.
    pub backlog_rate: u32,
    /// How often the broker may refuse an entry before it is parked.
    pub tries: u32,
    /// Wait after the first refusal; doubled with each further one.
    pub first_retry: Duration,
    /// Longest wait after a refusal.
    pub longest_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A day of a busy store (1 event/s) at about 1 kB each, within what a small gateway can spare.
            events: 100_000,
            bytes: 64 * 1024 * 1024,
            max_age: Duration::from_secs(7 * 86_400),
            // Some thousand messages: what a broker that keeps up is ever behind.
            cache_bytes: 4 * 1024 * 1024,
            // Eight hours at 20 a second are through in five minutes. Faster, and subscribers fall behind: what happens now
            // would wait in the broker behind what is past, or be dropped there (Mosquitto queues 1,000 for each).
            backlog_rate: 2_000,
            tries: 10,
            // 1 s doubled to 60 s: ten tries take about four minutes, long enough to correct a broker's access list.
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Those of an outbox whose messages are in a store with these limits.
    pub fn stored(limits: &store::Limits) -> Self {
        // A key takes about 110 bytes here, whatever its message is on disk.
        Self { events: 1_000_000, bytes: limits.max_bytes, max_age: limits.max_age, ..Self::default() }
    }
}

/// An entry's `sequence`.
pub type Key = u64;

/// No key: sequences count from 0 and never get there.
const NONE: Key = Key::MAX;

/// A lane whose first entry was made no longer ago than this is fresh. Well above the time that an entry takes when the broker
/// keeps up, hold times and commits included.
const FRESH: Duration = Duration::from_secs(10);

/// What became of a refused or unheard entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It will be tried again.
    Waits,
    /// It is done with.
    Settled,
    /// It is too late for another try: given up.
    Dropped,
}

/// An entry that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going {
    /// Its key.
    pub key: Key,
    /// The message; none where the store must be asked.
    pub message: Option<Message>,
    /// When it expires (steady axis).
    pub expires: Option<Timestamp>,
}

/// Entries given up since the start, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// There was no room.
    pub full: u64,
    /// Older than [`Limits::max_age`].
    pub too_old: u64,
    /// Triggers past their time.
    pub expired: u64,
    /// Not to be read any more.
    pub damaged: u64,
}

impl Drops {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.full + self.too_old + self.expired + self.damaged
    }

    fn count(&mut self, why: Dropped) {
        *match why {
            Dropped::Full => &mut self.full,
            Dropped::TooOld => &mut self.too_old,
            Dropped::Expired => &mut self.expired,
            Dropped::Damaged => &mut self.damaged,
        } += 1;
    }
}

/// How fast the backlog may go.
#[derive(Debug, Default)]
struct Pace {
    /// Entries that may go now.
    tokens: f64,
    refilled: Option<Instant>,
}

impl Pace {
    /// Most tokens, as a share of a second: so many entries go at once after a pause.
    const BURST: f64 = 0.1;
    /// Tokens are waited for by so many seconds' worth, not one by one.
    const STEP: f64 = 0.01;

    fn refill(&mut self, now: Instant, rate: u32) {
        let rate = f64::from(rate);
        let since = self.refilled.map_or(Self::BURST, |last| now.saturating_duration_since(last).as_secs_f64());
        self.tokens = (self.tokens + since * rate).min((rate * Self::BURST).max(1.0));
        self.refilled = Some(now);
    }

    /// When some may go; none where they may already, or nothing was ever asked.
    fn due(&self, rate: u32) -> Option<Instant> {
        let last = self.refilled.filter(|_| self.tokens < 1.0)?;
        let missing = (f64::from(rate) * Self::STEP).max(1.0) - self.tokens;
        Some(last + Duration::from_secs_f64(missing / f64::from(rate.max(1))))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its lane.
    Lane,
    /// First of its lane, and sent.
    UnderWay,
    /// A trigger that nobody heard, beside its lane.
    Aside,
}

/// Small, because there may be a million of them. The lane is a linked list through the keys.
#[derive(Debug)]
struct Entry {
    /// In whole seconds of the steady time.
    made_s: u32,
    /// From then on, in milliseconds; of no meaning for events.
    expires_in_ms: u32,
    before: Key,
    behind: Key,
    lane: u32,
    bytes: u32,
    tries: u8,
    unheard: u8,
    trigger: bool,
    place: Place,
}

impl Entry {
    fn made(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.made_s) * 1_000)
    }

    fn expires(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.made_s) * 1_000 + i64::from(self.expires_in_ms))
    }
}

#[derive(Debug)]
struct Lane {
    device: DeviceId,
    first: Key,
    last: Key,
    /// Entries of the device, those aside included.
    held: u32,
    state: LaneState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    /// In one of the lists of lanes that may go. It stays there when its last entry is dropped, until it is met there.
    Listed,
    /// Its first entry is under way.
    UnderWay,
    /// Its first entry was refused; it may go again at that time.
    Waits(Instant),
    /// All of its entries are aside.
    Idle,
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    stored: bool,
    entries: BTreeMap<Key, Entry>,
    bytes: u64,
    cache: BTreeMap<Key, Message>,
    cache_bytes: usize,
    /// Keys that are not under way, by class: what may be dropped.
    events: BTreeSet<Key>,
    triggers: BTreeSet<Key>,
    /// Triggers that are not under way, by expiry.
    expiries: BTreeSet<(Timestamp, Key)>,
    lanes: Vec<Lane>,
    free: Vec<u32>,
    by_device: HashMap<DeviceId, u32>,
    /// Lanes whose first entry was lost with a connection: they go first, in the order in which they went.
    again: VecDeque<u32>,
    /// Lanes that may go. Those that are behind are sorted out when they are met.
    fresh: VecDeque<u32>,
    backlog: VecDeque<u32>,
    backlogs_turn: bool,
    pace: Pace,
    waiting: BTreeSet<(Instant, u32)>,
    /// When triggers that are aside join their lanes; may name some that are gone.
    aside: BTreeSet<(Instant, Key)>,
    asides: usize,
    under_way: usize,
    settled: Vec<(Key, Settled)>,
    drops: Drops,
    parked: u64,
}

impl Outbox {
    /// An empty one that keeps the messages.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stored: false,
            entries: BTreeMap::new(),
            bytes: 0,
            cache: BTreeMap::new(),
            cache_bytes: 0,
            events: BTreeSet::new(),
            triggers: BTreeSet::new(),
            expiries: BTreeSet::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            by_device: HashMap::new(),
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            backlog: VecDeque::new(),
            backlogs_turn: false,
            pace: Pace::default(),
            waiting: BTreeSet::new(),
            aside: BTreeSet::new(),
            asides: 0,
            under_way: 0,
            settled: Vec::new(),
            drops: Drops::default(),
            parked: 0,
        }
    }

    /// An empty one whose messages are in a store: [`Outbox::take_settled`] says what to tell it.
    pub fn over_store(limits: Limits) -> Self {
        Self { stored: true, ..Self::new(limits) }
    }

    /// Adds an entry behind the device's others, with its message or, where there is a store, without. Keys ascend; one
    /// that is held already is ignored.
    pub fn push(&mut self, new: Waiting, message: Option<Message>, now: Timestamp) {
        if new.sequence == NONE || self.entries.contains_key(&new.sequence) {
            return;
        }
        let key = new.sequence;
        let (trigger, expires) = match new.class {
            Class::Event => (false, new.made),
            Class::Trigger { expires } => (true, expires),
        };
        let lane = self.lane_of(new.device);
        let made_s = u32::try_from(new.made.as_millis() / 1_000).unwrap_or(u32::MAX);
        let expires_in_ms = expires.as_millis() - i64::from(made_s) * 1_000;
        let entry = Entry {
            made_s,
            expires_in_ms: u32::try_from(expires_in_ms.max(0)).unwrap_or(u32::MAX),
            before: NONE,
            behind: NONE,
            lane,
            bytes: new.bytes,
            tries: 0,
            unheard: 0,
            trigger,
            place: Place::Lane,
        };
        self.bytes += u64::from(entry.bytes);
        self.entries.insert(key, entry);
        self.lanes[lane as usize].held += 1;
        self.append(key, lane);
        self.may_drop(key);
        if let Some(message) = message {
            self.remember(key, message);
        }
        self.sweep(now);
        while (self.entries.len() > self.limits.events || self.bytes > self.limits.bytes) && self.drop_oldest() {}
    }

    /// The next entry to send; it is under way from then on, until one of the answers below is given. Never one that has
    /// expired.
    pub fn next(&mut self, now: Moment) -> Option<Going> {
        self.sweep(now.steady);
        self.wake(now.instant);
        let (lane, key) = self.next_lane(now)?;
        self.may_not_drop(key);
        self.lanes[lane as usize].state = LaneState::UnderWay;
        self.under_way += 1;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::UnderWay;
        let expires = entry.trigger.then_some(entry.expires());
        Some(Going { key, message: self.cache.get(&key).cloned(), expires })
    }

    /// When something that waits may go again: a refused or unheard entry, or what is left of an outage.
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let aside = self.aside.first().map(|(at, _)| *at);
        let backlog = if self.backlog.is_empty() { None } else { self.pace.due(self.limits.backlog_rate) };
        [waiting, aside, backlog].into_iter().flatten().min()
    }

    /// The broker has it: it leaves the outbox.
    pub fn accepted(&mut self, key: Key) {
        self.remove(key, Settled::Acknowledged);
    }

    /// The broker has it, and nobody subscribes to it. An event is done with; a trigger is tried again until it expires.
    pub fn unheard(&mut self, key: Key, now: Moment) -> Fate {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.place == Place::UnderWay) else {
            return Fate::Settled;
        };
        if !entry.trigger {
            self.remove(key, Settled::Unheard);
            return Fate::Settled;
        }
        if entry.expires() <= now.steady {
            self.remove(key, Settled::Dropped(Dropped::Expired));
            return Fate::Dropped;
        }
        let wait = doubled(self.limits.first_retry, self.limits.longest_retry, entry.unheard.into());
        entry.unheard = entry.unheard.saturating_add(1);
        entry.place = Place::Aside;
        let lane = entry.lane;
        self.aside.insert((now.instant + wait, key));
        self.asides += 1;
        self.under_way -= 1;
        self.unlink(key);
        self.may_drop(key);
        self.list(lane);
        Fate::Waits
    }

    /// The connection ended before an answer, or it could not be sent: it goes first when there is a connection again.
    pub fn lost(&mut self, key: Key) {
        if let Some(lane) = self.not_under_way(key) {
            self.lanes[lane as usize].state = LaneState::Listed;
            self.again.push_front(lane);
        }
    }

    /// The broker does not want it: it waits, and its lane behind it, or is parked after the last try.
    pub fn refused(&mut self, key: Key, now: Instant, reason: &str) -> Fate {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.place == Place::UnderWay) else {
            return Fate::Settled;
        };
        entry.tries = entry.tries.saturating_add(1);
        let tries = u32::from(entry.tries);
        if tries >= self.limits.tries {
            self.park(key, reason);
            return Fate::Settled;
        }
        let at = now + doubled(self.limits.first_retry, self.limits.longest_retry, tries - 1);
        if let Some(lane) = self.not_under_way(key) {
            self.lanes[lane as usize].state = LaneState::Waits(at);
            self.waiting.insert((at, lane));
        }
        Fate::Waits
    }

    /// It can never be sent: it is set aside for good, and its lane goes on.
    pub fn park(&mut self, key: Key, reason: &str) {
        self.remove(key, Settled::Parked(reason.to_owned()));
    }

    /// The store does not have it, or not in one piece: it is given up, and its lane goes on.
    pub fn damaged(&mut self, key: Key) {
        self.remove(key, Settled::Dropped(Dropped::Damaged));
    }

    /// Drops triggers that have expired and events that are too old.
    pub fn sweep(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.expiries.first().copied().filter(|(expires, _)| *expires <= now) {
            self.remove(key, Settled::Dropped(Dropped::Expired));
        }
        while let Some(key) = self.events.first().copied() {
            let too_old = self.entries.get(&key).is_none_or(|entry| now.since(entry.made()) > self.limits.max_age);
            if !too_old {
                break;
            }
            self.remove(key, Settled::Dropped(Dropped::TooOld));
        }
    }

    /// What to tell the store, since the last call. Every key that was pushed comes exactly once.
    pub fn take_settled(&mut self) -> Vec<(Key, Settled)> {
        std::mem::take(&mut self.settled)
    }

    /// Whether there is something to tell the store.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Entries that are held, under way or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nothing is under way, and nothing could be at this moment.
    pub fn is_idle(&self) -> bool {
        self.under_way == 0 && !self.is_ready()
    }

    /// Whether there is something to send.
    pub fn is_ready(&self) -> bool {
        !(self.again.is_empty() && self.fresh.is_empty() && self.backlog.is_empty())
    }

    /// Bytes of topics and payloads of what is held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Devices whose entries wait because the broker refused the first of them.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Triggers that wait for somebody to hear them.
    pub fn asides(&self) -> usize {
        self.asides
    }

    /// When the oldest entry was made.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|(_, entry)| entry.made())
    }

    /// Entries dropped since the start.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Entries parked since the start.
    pub fn parked(&self) -> u64 {
        self.parked
    }

    fn lane_of(&mut self, device: DeviceId) -> u32 {
        if let Some(lane) = self.by_device.get(&device) {
            return *lane;
        }
        let lane = Lane { device: device.clone(), first: NONE, last: NONE, held: 0, state: LaneState::Idle };
        let at = if let Some(at) = self.free.pop() {
            self.lanes[at as usize] = lane;
            at
        } else {
            self.lanes.push(lane);
            (self.lanes.len() - 1) as u32
        };
        self.by_device.insert(device, at);
        at
    }

    /// Puts an entry at the end of its lane.
    fn append(&mut self, key: Key, at: u32) {
        let lane = &mut self.lanes[at as usize];
        let before = std::mem::replace(&mut lane.last, key);
        if before == NONE {
            lane.first = key;
        } else if let Some(entry) = self.entries.get_mut(&before) {
            entry.behind = key;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            (entry.before, entry.behind) = (before, NONE);
        }
        if self.lanes[at as usize].state == LaneState::Idle {
            self.list(at);
        }
    }

    /// Takes an entry out of its lane's order.
    fn unlink(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        let (before, behind, at) = (entry.before, entry.behind, entry.lane as usize);
        match self.entries.get_mut(&before) {
            Some(entry) => entry.behind = behind,
            None => self.lanes[at].first = behind,
        }
        match self.entries.get_mut(&behind) {
            Some(entry) => entry.before = before,
            None => self.lanes[at].last = before,
        }
    }

    /// The lane may go, if it has something; where it holds nothing at all it is given back.
    fn list(&mut self, at: u32) {
        let lane = &mut self.lanes[at as usize];
        if lane.first != NONE {
            lane.state = LaneState::Listed;
            self.fresh.push_back(at);
        } else if lane.held > 0 {
            lane.state = LaneState::Idle;
        } else {
            self.by_device.remove(&lane.device);
            self.free.push(at);
        }
    }

    /// The next lane that may go, taken from its list, and its first entry.
    fn next_lane(&mut self, now: Moment) -> Option<(u32, Key)> {
        self.pace.refill(now.instant, self.limits.backlog_rate);
        loop {
            let again = self.again.pop_front();
            let may_go_back = !self.backlog.is_empty() && self.pace.tokens >= 1.0;
            let from_fresh = !self.fresh.is_empty() && (!self.backlogs_turn || !may_go_back);
            let at = match again {
                Some(at) => at,
                None if from_fresh => self.fresh.pop_front()?,
                None if may_go_back => self.backlog.pop_front()?,
                None => return None,
            };
            let first = self.lanes[at as usize].first;
            let Some(entry) = self.entries.get(&first) else {
                // Everything in it was dropped.
                self.list(at);
                continue;
            };
            if again.is_none() {
                if from_fresh && now.steady.since(entry.made()) > FRESH {
                    self.backlog.push_back(at);
                    continue;
                }
                self.backlogs_turn = from_fresh;
                if !from_fresh {
                    self.pace.tokens -= 1.0;
                }
            }
            return Some((at, first));
        }
    }

    /// What has waited long enough may go.
    fn wake(&mut self, now: Instant) {
        while let Some((_, lane)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            self.list(lane);
        }
        while let Some((_, key)) = self.aside.first().copied().filter(|(at, _)| *at <= now) {
            self.aside.pop_first();
            if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.place == Place::Aside) {
                entry.place = Place::Lane;
                let lane = entry.lane;
                self.asides -= 1;
                self.append(key, lane);
            }
        }
    }

    /// Takes an entry back from being under way; its lane, where it was.
    fn not_under_way(&mut self, key: Key) -> Option<u32> {
        let entry = self.entries.get_mut(&key).filter(|entry| entry.place == Place::UnderWay)?;
        entry.place = Place::Lane;
        let lane = entry.lane;
        self.under_way -= 1;
        self.may_drop(key);
        Some(lane)
    }

    fn remove(&mut self, key: Key, settled: Settled) {
        let Some(place) = self.entries.get(&key).map(|entry| entry.place) else { return };
        self.may_not_drop(key);
        if place != Place::Aside {
            self.unlink(key);
        }
        let Some(entry) = self.entries.remove(&key) else { return };
        self.bytes -= u64::from(entry.bytes);
        if let Some(message) = self.cache.remove(&key) {
            self.cache_bytes -= size(&message);
        }
        let at = entry.lane;
        let lane = &mut self.lanes[at as usize];
        lane.held -= 1;
        let state = lane.state;
        match (place, state) {
            (Place::UnderWay, _) => {
                self.under_way -= 1;
                self.list(at);
            }
            (Place::Aside, _) => {
                self.asides -= 1;
                if state == LaneState::Idle {
                    self.list(at);
                }
            }
            // The first of the lane, which was what it waited for.
            (Place::Lane, LaneState::Waits(due)) if entry.before == NONE => {
                self.waiting.remove(&(due, at));
                self.list(at);
            }
            (Place::Lane, _) => {}
        }
        match &settled {
            Settled::Parked(_) => self.parked += 1,
            Settled::Dropped(why) => self.drops.count(*why),
            Settled::Acknowledged | Settled::Unheard => {}
        }
        if self.stored {
            self.settled.push((key, settled));
        }
    }

    /// Drops the oldest event that is not under way, or trigger where there is none; what is under way may be at the broker
    /// already.
    fn drop_oldest(&mut self) -> bool {
        let Some(key) = self.events.first().or_else(|| self.triggers.first()).copied() else { return false };
        self.remove(key, Settled::Dropped(Dropped::Full));
        true
    }

    fn may_drop(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        if entry.trigger {
            self.expiries.insert((entry.expires(), key));
            self.triggers.insert(key);
        } else {
            self.events.insert(key);
        }
    }

    fn may_not_drop(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        if entry.trigger {
            self.expiries.remove(&(entry.expires(), key));
            self.triggers.remove(&key);
        } else {
            self.events.remove(&key);
        }
    }

    /// Keeps a message; where there is a store, the oldest are left to it.
    fn remember(&mut self, key: Key, message: Message) {
        self.cache_bytes += size(&message);
        self.cache.insert(key, message);
        while self.stored && self.cache_bytes > self.limits.cache_bytes {
            let Some((_, message)) = self.cache.pop_first() else { return };
            self.cache_bytes -= size(&message);
        }
    }
}

fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len()
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
