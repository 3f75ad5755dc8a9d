use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::mqtt::wire::ContentType;

fn message(text: &str) -> Message {
    Message { topic: "t".to_owned(), payload: text.to_owned().into(), content_type: ContentType::Json }
}

fn waiting(sequence: Key, device: &str, class: Class, made: Timestamp, bytes: usize) -> Waiting {
    Waiting { sequence, device: DeviceId::new(device).unwrap(), class, made, bytes: bytes as u32 }
}

/// A time that both clocks agree on.
fn moment(start: Instant, seconds: u64) -> Moment {
    let wait = Duration::from_secs(seconds);
    Moment { instant: start + wait, steady: steady(seconds) }
}

fn steady(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000) + Duration::from_secs(seconds)
}

/// Pushes an event made at the beginning.
fn push(outbox: &mut Outbox, device: &str, text: &str) {
    let key = outbox.entries.last_key_value().map_or(outbox.settled.len() as Key, |(key, _)| key + 1);
    let bytes = size(&message(text));
    outbox.push(waiting(key, device, Class::Event, steady(0), bytes), Some(message(text)), steady(0));
}

fn next(outbox: &mut Outbox, now: Moment) -> Option<(Key, String)> {
    let text = |message: Message| String::from_utf8_lossy(&message.payload).into_owned();
    outbox.next(now).map(|going| (going.key, going.message.map(text).unwrap_or_default()))
}

fn limits() -> Limits {
    Limits { events: 4, bytes: 1_000, tries: 3, ..Limits::default() }
}

#[test]
fn one_event_of_a_device_is_under_way_and_many_devices_are() {
    let (mut outbox, now) = (Outbox::new(limits()), moment(Instant::now(), 0));
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        push(&mut outbox, device, text);
    }
    let (a1, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "a1");
    let (b1, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "b1");
    assert_eq!(next(&mut outbox, now), None);
    assert_eq!(outbox.under_way(), 2);

    outbox.accepted(a1);
    let (a2, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "a2");
    outbox.accepted(b1);
    outbox.accepted(a2);
    assert!(outbox.is_empty() && outbox.is_idle() && outbox.by_device.is_empty());
    assert_eq!((outbox.under_way(), outbox.bytes(), outbox.cache_bytes), (0, 0, 0));
}

#[test]
fn what_was_lost_with_the_connection_goes_first_and_is_the_same() {
    let (mut outbox, now) = (Outbox::new(limits()), moment(Instant::now(), 0));
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        push(&mut outbox, device, text);
    }
    let first = outbox.next(now).unwrap();
    outbox.lost(first.key);
    assert_eq!(outbox.next(now).as_ref(), Some(&first));
    // A second word on it changes nothing.
    outbox.lost(first.key);
    outbox.lost(first.key);
    assert_eq!(outbox.under_way(), 0);
}

#[test]
fn a_refused_event_blocks_only_its_device_and_is_parked_after_the_last_try() {
    let (mut outbox, start) = (Outbox::over_store(limits()), Instant::now());
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        push(&mut outbox, device, text);
    }
    let (a1, _) = next(&mut outbox, moment(start, 0)).unwrap();
    assert_eq!(outbox.refused(a1, start, "no"), Fate::Waits);
    assert_eq!(outbox.waiting(), 1);
    assert_eq!(next(&mut outbox, moment(start, 0)).unwrap().1, "b1");
    assert_eq!(next(&mut outbox, moment(start, 0)), None);

    let due = outbox.next_due().unwrap();
    assert_eq!(due, start + Duration::from_secs(1));
    assert_eq!(next(&mut outbox, moment(start, 1)), Some((a1, "a1".to_owned())));
    assert_eq!(outbox.refused(a1, due, "no"), Fate::Waits);
    assert_eq!(outbox.next_due().unwrap(), start + Duration::from_secs(3));
    assert_eq!(next(&mut outbox, moment(start, 3)), Some((a1, "a1".to_owned())));
    assert_eq!(outbox.refused(a1, due, "no"), Fate::Settled);
    assert_eq!((outbox.parked(), outbox.waiting()), (1, 0));
    assert_eq!(next(&mut outbox, moment(start, 3)).unwrap().1, "a2");
    assert_eq!(outbox.take_settled(), [(a1, Settled::Parked("no".to_owned()))]);
}

#[test]
fn the_oldest_is_dropped_where_there_is_no_room_but_never_what_is_under_way() {
    let (mut outbox, now) = (Outbox::new(limits()), moment(Instant::now(), 0));
    push(&mut outbox, "a", "a1");
    next(&mut outbox, now).unwrap();
    for text in ["b1", "b2", "a2"] {
        push(&mut outbox, "b", text);
    }
    push(&mut outbox, "c", "c1");
    assert_eq!(outbox.drops().full, 1);
    // b1 went; b2 is first of its lane now.
    assert_eq!(next(&mut outbox, now).unwrap().1, "b2");
    assert_eq!(next(&mut outbox, now).unwrap().1, "c1");
    assert_eq!(next(&mut outbox, now), None);
    let big = "x".repeat(600);
    push(&mut outbox, "d", &big);
    push(&mut outbox, "d", &big);
    assert_eq!(outbox.drops().full, 3);
    assert!(outbox.bytes() <= 1_000);
}

#[test]
fn events_are_dropped_before_triggers_and_each_says_why() {
    let mut outbox = Outbox::over_store(Limits { max_age: Duration::from_secs(100), ..limits() });
    let trigger = |expires| Class::Trigger { expires: steady(expires) };
    for (key, class) in [(0, trigger(50)), (1, Class::Event), (2, trigger(500)), (3, Class::Event)] {
        outbox.push(waiting(key, "a", class, steady(key), 10), None, steady(key));
    }
    outbox.push(waiting(4, "b", Class::Event, steady(4), 10), None, steady(4));
    assert_eq!(outbox.take_settled(), [(1, Settled::Dropped(Dropped::Full))]);
    for key in 5..8 {
        outbox.push(waiting(key, "b", trigger(500), steady(key), 10), None, steady(key));
    }
    let full = |key| (key, Settled::Dropped(Dropped::Full));
    assert_eq!(outbox.take_settled(), [full(3), full(4), full(0)]);
    outbox.push(waiting(8, "c", Class::Event, steady(8), 10), None, steady(8));
    assert_eq!(outbox.take_settled(), [full(8)], "triggers are worth more than an event");
    outbox.sweep(steady(499));
    assert_eq!(outbox.len(), 4);
    outbox.sweep(steady(500));
    assert_eq!((outbox.len(), outbox.drops().expired), (0, 4));
    outbox.push(waiting(9, "c", Class::Event, steady(500), 10), None, steady(500));
    outbox.sweep(steady(600));
    assert_eq!(outbox.len(), 1);
    outbox.sweep(steady(601));
    assert_eq!(outbox.take_settled().last(), Some(&(9, Settled::Dropped(Dropped::TooOld))));
}

#[test]
fn a_trigger_that_nobody_heard_is_tried_again_until_it_expires_and_holds_up_nothing() {
    let (mut outbox, start) = (Outbox::over_store(limits()), Instant::now());
    outbox.push(waiting(0, "a", Class::Trigger { expires: steady(10) }, steady(0), 10), None, steady(0));
    outbox.push(waiting(1, "a", Class::Event, steady(0), 10), None, steady(0));
    let going = outbox.next(moment(start, 0)).unwrap();
    assert_eq!((going.key, going.expires), (0, Some(steady(10))));
    assert_eq!(outbox.unheard(0, moment(start, 0)), Fate::Waits);
    assert_eq!(outbox.asides(), 1);
    let (event, _) = next(&mut outbox, moment(start, 0)).unwrap();
    assert_eq!(event, 1, "the event goes at once");
    assert_eq!(outbox.unheard(1, moment(start, 0)), Fate::Settled);
    assert_eq!(next(&mut outbox, moment(start, 0)), None);
    for due in [1, 3, 7] {
        assert_eq!(outbox.next_due(), Some(start + Duration::from_secs(due)));
        assert_eq!(next(&mut outbox, moment(start, due)).unwrap().0, 0);
        assert_eq!(outbox.unheard(0, moment(start, due)), Fate::Waits);
    }
    assert_eq!(next(&mut outbox, moment(start, 15)), None, "never after it expired");
    assert_eq!(outbox.take_settled(), [(1, Settled::Unheard), (0, Settled::Dropped(Dropped::Expired))]);
    assert!(outbox.is_empty() && outbox.by_device.is_empty());
}

#[test]
fn a_live_event_does_not_wait_behind_the_backlog_of_other_devices() {
    let (mut outbox, start) =
        (Outbox::over_store(Limits { events: 200_000, bytes: u64::MAX, ..limits() }), Instant::now());
    for key in 0..100_000 {
        outbox.push(waiting(key, &format!("d{}", key % 5_000), Class::Event, steady(0), 10), None, steady(0));
    }
    let (mut live, mut of_backlog, mut longest) = (0, 0, 0);
    for round in 0..10_000_u64 {
        let now = moment(start, 600 + round / 100);
        let key = 100_000 + round;
        if round % 3 == 0 {
            outbox.push(waiting(key, &format!("live{round}"), Class::Event, now.steady, 10), None, now.steady);
        }
        let going = outbox.next(now).unwrap().key;
        outbox.accepted(going);
        if going < 100_000 {
            of_backlog += 1;
        } else {
            live += 1;
            longest = longest.max(key - going);
        }
    }
    assert!(longest <= 2, "a live event waited for {longest} others");
    assert_eq!((live, of_backlog), (3_334, 6_666));
}

#[test]
fn only_the_latest_messages_are_kept_where_there_is_a_store() {
    let (mut outbox, now) = (Outbox::over_store(Limits { cache_bytes: 8, ..limits() }), moment(Instant::now(), 0));
    for text in ["a1", "a2", "a3"] {
        push(&mut outbox, "a", text);
    }
    let mut texts = Vec::new();
    while let Some((key, text)) = next(&mut outbox, now) {
        texts.push(text);
        outbox.accepted(key);
    }
    assert_eq!(texts, ["", "a2", "a3"]);
    assert_eq!(outbox.cache_bytes, 0);
}

#[test]
fn a_long_queue_is_filled_and_drained_in_no_time() {
    // A step that looked at every entry would take hours here.
    let unpaced = Limits { events: 300_000, bytes: u64::MAX, backlog_rate: u32::MAX, ..limits() };
    let mut outbox = Outbox::over_store(unpaced);
    let start = Instant::now();
    for key in 0..600_000 {
        outbox.push(waiting(key, &format!("d{}", key % 20_000), Class::Event, steady(0), 800), None, steady(0));
    }
    assert_eq!(outbox.take_settled().len(), 300_000);
    let mut count = 0;
    while let Some(going) = outbox.next(moment(start, 60)) {
        outbox.accepted(going.key);
        count += 1;
    }
    assert_eq!((count, outbox.len()), (300_000, 0));
}

#[test]
fn what_an_outage_has_left_goes_at_its_pace_and_what_happens_now_at_once() {
    let mut outbox = Outbox::over_store(Limits { backlog_rate: 100, ..Limits::default() });
    let start = Instant::now();
    for key in 0..50 {
        outbox.push(waiting(key, &format!("old{key}"), Class::Event, steady(0), 800), None, steady(60));
    }
    let went = |outbox: &mut Outbox, at: Instant| {
        let mut keys = Vec::new();
        while let Some(going) = outbox.next(Moment { instant: at, steady: steady(60) }) {
            outbox.accepted(going.key);
            keys.push(going.key);
        }
        keys
    };
    assert_eq!(went(&mut outbox, start).len(), 10, "a tenth of a second's worth at once");
    let due = outbox.next_due().expect("the rest waits for its time");
    assert!(due > start && due <= start + Duration::from_millis(20));
    assert!(!went(&mut outbox, due).is_empty());
    for key in 50..90 {
        outbox.push(waiting(key, &format!("new{key}"), Class::Event, steady(59), 800), None, steady(60));
    }
    let live = went(&mut outbox, due);
    assert_eq!(live, (50..90).collect::<Vec<_>>());
    let mut left = outbox.len();
    for tenths in 1..=10 {
        left -= went(&mut outbox, due + Duration::from_millis(100 * tenths)).len();
    }
    assert_eq!((left, outbox.len()), (0, 0));
}

/// What an outbox is, without regard to speed.
#[derive(Default)]
struct Model {
    entries: BTreeMap<Key, (String, Class, Timestamp)>,
    lanes: BTreeMap<String, Vec<Key>>,
    under_way: BTreeSet<Key>,
    waits: BTreeMap<String, Instant>,
    aside: Vec<(Instant, Key)>,
    tries: BTreeMap<Key, (u32, u32)>,
    settled: BTreeMap<Key, Settled>,
}

impl Model {
    fn settle(&mut self, key: Key, settled: Settled) {
        let (device, ..) = self.entries.remove(&key).unwrap();
        let lane = self.lanes.get_mut(&device).unwrap();
        if lane.first() == Some(&key) {
            self.waits.remove(&device);
        }
        lane.retain(|other| *other != key);
        self.aside.retain(|(_, other)| *other != key);
        self.under_way.remove(&key);
        assert!(self.settled.insert(key, settled).is_none(), "{key} was settled twice");
    }

    fn sweep(&mut self, now: Timestamp, limits: &Limits) {
        for (key, (_, class, made)) in self.entries.clone() {
            let why = match class {
                _ if self.under_way.contains(&key) => continue,
                Class::Trigger { expires } if expires <= now => Dropped::Expired,
                Class::Event if now.since(made) > limits.max_age => Dropped::TooOld,
                _ => continue,
            };
            self.settle(key, Settled::Dropped(why));
        }
    }

    fn push(&mut self, new: &Waiting, limits: &Limits, now: Timestamp) {
        let device = new.device.to_string();
        self.entries.insert(new.sequence, (device.clone(), new.class, new.made));
        self.lanes.entry(device).or_default().push(new.sequence);
        self.sweep(now, limits);
        while self.entries.len() > limits.events {
            let free = |wanted: bool| {
                let mut all = self.entries.iter();
                all.find(|(key, (_, class, _))| (*class == Class::Event) == wanted && !self.under_way.contains(key))
            };
            let Some((key, _)) = free(true).or_else(|| free(false)) else { break };
            self.settle(*key, Settled::Dropped(Dropped::Full));
        }
    }

    /// What may go now.
    fn candidates(&mut self, now: Moment, limits: &Limits) -> Vec<Key> {
        self.sweep(now.steady, limits);
        self.waits.retain(|_, due| *due > now.instant);
        self.aside.sort_unstable();
        while self.aside.first().is_some_and(|(due, _)| *due <= now.instant) {
            let (_, key) = self.aside.remove(0);
            self.lanes.get_mut(&self.entries[&key].0).unwrap().push(key);
        }
        let lanes = self.lanes.iter().filter(|(device, _)| !self.waits.contains_key(*device));
        lanes.filter_map(|(_, lane)| lane.first().copied()).filter(|key| !self.under_way.contains(key)).collect()
    }
}

/// One of the answers that a broker or a store gives, to both.
fn give_an_answer(outbox: &mut Outbox, model: &mut Model, at: Key, answer: u32, now: Moment, limits: &Limits) {
    let (device, class, _) = model.entries[&at].clone();
    match answer {
        0 => {
            outbox.lost(at);
            model.under_way.remove(&at);
        }
        1 => {
            outbox.refused(at, now.instant, "no");
            let (tries, _) = model.tries.entry(at).or_default();
            *tries += 1;
            if *tries == limits.tries {
                model.settle(at, Settled::Parked("no".to_owned()));
            } else {
                model.under_way.remove(&at);
                model.waits.insert(device, now.instant + limits.first_retry);
            }
        }
        2 => {
            outbox.unheard(at, now);
            match class {
                Class::Event => model.settle(at, Settled::Unheard),
                Class::Trigger { expires } if expires <= now.steady => {
                    model.settle(at, Settled::Dropped(Dropped::Expired));
                }
                Class::Trigger { .. } => {
                    let (_, unheard) = model.tries.entry(at).or_default();
                    let wait = doubled(limits.first_retry, limits.longest_retry, *unheard);
                    *unheard += 1;
                    model.under_way.remove(&at);
                    model.lanes.get_mut(&device).unwrap().retain(|other| *other != at);
                    model.aside.push((now.instant + wait, at));
                }
            }
        }
        3 => {
            outbox.damaged(at);
            model.settle(at, Settled::Dropped(Dropped::Damaged));
        }
        _ => {
            outbox.accepted(at);
            model.settle(at, Settled::Acknowledged);
        }
    }
}

#[test]
fn random_histories_agree_with_a_model_and_every_key_ends_once() {
    for seed in 0..400 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let limits = Limits { events: 12, tries: 2, max_age: Duration::from_secs(20), ..limits() };
        let (mut outbox, mut model) = (Outbox::over_store(limits), Model::default());
        let (start, mut seconds, mut key) = (Instant::now(), 0, 0);
        for step in 0..500 {
            let now = moment(start, seconds);
            match random.random_range(0..8) {
                0..=2 => {
                    let expires = steady(seconds + random.random_range(1..15));
                    let class = if random.random() { Class::Event } else { Class::Trigger { expires } };
                    let made = steady(seconds) - Duration::from_secs(10);
                    let new = waiting(key, &format!("d{}", random.random_range(0..4)), class, made, 10);
                    key += 1;
                    model.push(&new, &limits, now.steady);
                    outbox.push(new, None, now.steady);
                }
                3 | 4 => {
                    let candidates = model.candidates(now, &limits);
                    match outbox.next(now) {
                        Some(going) => {
                            assert!(
                                candidates.contains(&going.key),
                                "seed {seed} step {step}: {going:?} of {candidates:?}"
                            );
                            model.under_way.insert(going.key);
                        }
                        None => assert!(candidates.is_empty(), "seed {seed} step {step}: {candidates:?}"),
                    }
                }
                5 => seconds += random.random_range(0..3),
                _ => {
                    let all: Vec<Key> = model.under_way.iter().copied().collect();
                    if all.is_empty() {
                        continue;
                    }
                    let at = all[random.random_range(0..all.len())];
                    give_an_answer(&mut outbox, &mut model, at, random.random_range(0..5), now, &limits);
                }
            }
            assert_eq!((outbox.under_way(), outbox.len()), (model.under_way.len(), model.entries.len()));
            assert_eq!(outbox.asides(), model.aside.len(), "seed {seed} step {step}");
            for (at, settled) in outbox.take_settled() {
                assert_eq!(model.settled.get(&at), Some(&settled), "seed {seed} step {step}: {at}");
                assert!(!outbox.entries.contains_key(&at));
            }
        }
        // Let all of it go: nothing is forgotten.
        for at in model.under_way.clone() {
            outbox.accepted(at);
            model.settle(at, Settled::Acknowledged);
        }
        seconds += 5;
        while let Some(going) = outbox.next(moment(start, seconds)) {
            assert!(model.candidates(moment(start, seconds), &limits).contains(&going.key));
            outbox.accepted(going.key);
            model.settle(going.key, Settled::Acknowledged);
            seconds += 1;
        }
        seconds += 1_000;
        model.sweep(steady(seconds), &limits);
        assert_eq!(outbox.next(moment(start, seconds)), None);
        assert_eq!((outbox.len(), outbox.bytes(), model.entries.len()), (0, 0, 0), "seed {seed}");
        assert_eq!(model.settled.len() as Key, key, "seed {seed}: every key ends");
        assert!(outbox.by_device.is_empty() && outbox.waiting.is_empty() && outbox.events.is_empty());
    }
}
