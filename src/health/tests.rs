//! Beacons over hours and days.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{BeaconRecord, BeaconState, Beacons, Heard};
use crate::advert::{Address, AdvertisingData, full_uuid};
use crate::model::{LevelOrdinal, Point, Rssi, Timestamp};
use crate::registry::{Beacon, BeaconIndex, Edit, Key, Receiver, ReceiverIndex, Record, Registry, fixture};

const R1: ReceiverIndex = ReceiverIndex(0);
const R2: ReceiverIndex = ReceiverIndex(1);
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// In the registry of [`registry`].
const CARRIED: BeaconIndex = BeaconIndex(0);
const FIXED: BeaconIndex = BeaconIndex(3);
const NAMED: BeaconIndex = BeaconIndex(4);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_767_261_600_000 + ms)
}

/// The fixture with a place for its fixed beacon, one that says its name in its frames, and six receivers around.
fn registry() -> Arc<Registry> {
    let plain = fixture::registry(&fixture::settings());
    let mut beacons: Vec<Beacon> = plain.beacons().iter().map(|beacon| (**beacon).clone()).collect();
    beacons[3].fixed = Some((Point { x: 2.0, y: 2.0 }, LevelOrdinal(0)));
    beacons.push(Beacon {
        id: "u1".parse().unwrap(),
        identity: "eddystone-uid:12345678901234678901/000000000001".parse().unwrap(),
        device: None,
        fixed: None,
        measured_power: None,
    });
    let receiver = |(at, (x, y)): (usize, (f64, f64))| Receiver {
        id: format!("r{}", at + 1).parse().unwrap(),
        point: Point { x, y },
        ..(*plain.receivers()[0]).clone()
    };
    let places = [(0.0, 0.0), (20.0, 0.0), (40.0, 0.0), (0.0, 20.0), (20.0, 20.0), (40.0, 20.0)];
    let registry = Registry::new(
        plain.site().clone(),
        places.into_iter().enumerate().map(receiver).collect(),
        plain.zones().iter().map(|zone| (**zone).clone()).collect(),
        beacons,
        plain.devices().iter().map(|device| (**device).clone()).collect(),
    );
    Arc::new(registry.unwrap())
}

/// Time passes, and sightings come in.
struct Story {
    beacons: Beacons,
    /// What was said: minutes, beacon, state.
    said: Vec<(i64, String, String)>,
}

impl Story {
    fn new() -> Self {
        Self { beacons: Beacons::new(registry()), said: Vec::new() }
    }

    fn tell(&mut self, ms: i64) {
        for (beacon, health) in self.beacons.take_changed() {
            let state = health.map_or("gone", |health| health.state().as_str());
            self.said.push((ms / MINUTE, beacon.to_string(), state.to_owned()));
        }
    }

    fn pass(&mut self, to: i64) {
        while let Some(due) = self.beacons.next_deadline().filter(|due| *due <= at(to)) {
            self.beacons.advance(due);
            self.tell(due.as_millis() - at(0).as_millis());
        }
    }

    fn hear(&mut self, ms: i64, beacon: BeaconIndex, receiver: ReceiverIndex, rssi: f64, data: &AdvertisingData) {
        self.pass(ms);
        let heard = Heard { time: at(ms), address: Some(address(beacon)), data };
        self.beacons.heard(beacon, receiver, Rssi::new(rssi).unwrap(), &heard, at(ms));
        self.tell(ms);
    }

    /// Heard by a receiver every ten seconds.
    fn hear_on(&mut self, from: i64, to: i64, beacon: BeaconIndex, receiver: ReceiverIndex) {
        (from..to).step_by(10_000).for_each(|ms| self.hear(ms, beacon, receiver, -70.0, &AdvertisingData::default()));
    }

    fn listens(&mut self, ms: i64, receiver: ReceiverIndex, hears: bool) {
        self.pass(ms);
        self.beacons.set_hears(receiver, hears, at(ms));
        self.tell(ms);
    }

    /// The changes of state of one beacon, with minutes.
    fn changes(&self, beacon: &str) -> Vec<(i64, &str)> {
        let mut changes: Vec<(i64, &str)> =
            self.said.iter().filter(|(_, of, _)| of == beacon).map(|(at, _, state)| (*at, state.as_str())).collect();
        changes.dedup_by_key(|(_, state)| *state);
        changes
    }
}

fn address(beacon: BeaconIndex) -> Address {
    Address { bytes: [0xC0, 0, 0, 0, 9, beacon.0 as u8], random: Some(true) }
}

/// Eddystone-TLM with that battery.
fn tlm(mv: u16) -> AdvertisingData {
    let mut bytes = vec![0x20, 0];
    bytes.extend(mv.to_be_bytes());
    bytes.extend([0x13, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    AdvertisingData { service_data: vec![(full_uuid(0xfeaa), bytes)], ..AdvertisingData::default() }
}

#[test]
fn a_fixed_beacon_is_missing_after_an_hour_and_found_when_it_is_heard() {
    let mut story = Story::new();
    story.hear_on(0, 10 * MINUTE, FIXED, R1);
    story.pass(5 * HOUR);
    story.hear_on(5 * HOUR, 5 * HOUR + 1, FIXED, R1);
    // Last heard ten seconds before minute 10.
    assert_eq!(story.changes("f1"), [(0, "ok"), (69, "missing"), (300, "ok")]);
}

#[test]
fn a_carried_beacon_is_never_missing() {
    let mut story = Story::new();
    story.hear_on(0, 10 * MINUTE, CARRIED, R1);
    story.pass(100 * HOUR);
    assert_eq!(story.changes("b1"), [(0, "ok")]);
    assert_eq!(story.beacons.next_deadline(), None);
}

#[test]
fn nothing_is_missing_while_nobody_listens() {
    let mut story = Story::new();
    story.hear_on(0, 10 * MINUTE, FIXED, R1);
    // R2 listens all the time, but never heard it.
    story.listens(20 * MINUTE, R1, false);
    story.pass(50 * HOUR);
    assert_eq!(story.changes("f1"), [(0, "ok")]);
    assert_eq!(story.beacons.next_deadline(), None, "nothing is to be looked at before it listens again");
    story.listens(50 * HOUR, R1, true);
    story.pass(60 * HOUR);
    // 10 min and 10 s were over before.
    assert_eq!(story.changes("f1"), [(0, "ok"), (50 * 60 + 49, "missing")]);
}

#[test]
fn who_heard_it_long_ago_does_not_vouch_for_it() {
    let mut story = Story::new();
    story.hear_on(0, 10 * MINUTE, FIXED, R2);
    story.hear_on(10 * MINUTE, 3 * HOUR, FIXED, R1);
    story.listens(3 * HOUR, R1, false);
    story.pass(9 * HOUR);
    assert_eq!(story.changes("f1"), [(0, "ok")]);
}

#[test]
fn telemetry_without_a_name_is_that_of_the_address() {
    let mut story = Story::new();
    story.hear(0, NAMED, R1, -70.0, &AdvertisingData::default());
    let mut nameless = |ms: i64, of: BeaconIndex| {
        let data = tlm(2_300);
        story.beacons.nameless(&Heard { time: at(ms), address: Some(address(of)), data: &data }, at(ms))
    };
    assert!(!nameless(1_000, CARRIED), "of a stranger");
    assert!([1, 2, 3].map(|minute| nameless(minute * MINUTE, NAMED)).iter().all(|is_one| *is_one));
    assert!(!nameless(2 * HOUR, NAMED), "the address may be another's by now");
    story.tell(3 * MINUTE);
    assert_eq!(story.changes("u1"), [(0, "ok"), (3, "low_battery")]);
    let summary = story.beacons.summary();
    assert_eq!(summary.low, ["u1".parse().unwrap()]);
    let counts: Vec<(&str, u64)> = summary.states.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [("low_battery", 1), ("never_heard", 1)]);
}

#[test]
fn a_quiet_life_is_said_and_written_down_once_an_hour() {
    let mut story = Story::new();
    let mut written = 0;
    for hour in 0..10 {
        story.hear_on(hour * HOUR, (hour + 1) * HOUR, CARRIED, R1);
        written += story.beacons.take_records(at((hour + 1) * HOUR), 100).len();
    }
    assert_eq!((story.said.len(), written), (10, 10));
}

/// Heard for a minute of every ten by all six receivers, as from (x, y).
fn around(story: &mut Story, from: i64, to: i64, x: f64, y: f64) {
    for ms in (from..to).step_by(20_000) {
        for receiver in 0..6 {
            let place = story.beacons.registry.receivers()[receiver].point;
            let rssi = -59.0 - 25.0 * place.distance(Point { x, y }).max(1.0).log10();
            story.hear(ms, FIXED, ReceiverIndex(receiver as u32), rssi, &AdvertisingData::default());
        }
    }
}

#[test]
fn a_beacon_that_is_carried_to_the_other_end_is_moved_after_half_an_hour_and_back_again() {
    let mut story = Story::new();
    around(&mut story, 0, 2 * HOUR, 2.0, 2.0);
    around(&mut story, 2 * HOUR, 3 * HOUR, 38.0, 18.0);
    let elsewhere = story.beacons.health(FIXED).unwrap().elsewhere.unwrap();
    assert!(elsewhere.point.unwrap().distance(Point { x: 38.0, y: 18.0 }) < 3.0, "{elsewhere:?}");
    around(&mut story, 3 * HOUR, 5 * HOUR, 2.0, 2.0);
    let changes = story.changes("f1");
    assert_eq!(changes.iter().map(|(_, state)| *state).collect::<Vec<_>>(), ["ok", "moved", "ok"]);
    assert!((150..=160).contains(&changes[1].0) && (210..=220).contains(&changes[2].0), "{changes:?}");
}

#[test]
fn what_is_known_outlives_a_restart() {
    let mut story = Story::new();
    around(&mut story, 0, 2 * HOUR, 38.0, 18.0);
    (0..5).for_each(|minute| story.hear(2 * HOUR + minute * MINUTE, FIXED, R1, -70.0, &tlm(2_200)));
    let records = story.beacons.take_records(at(i64::MAX / 2), 100);
    let text = serde_json::to_string(records[0].1.as_ref().unwrap()).unwrap();
    let record: BeaconRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(Some(&record), records[0].1.as_ref());

    let mut after = Story::new();
    after.beacons.restore(vec![record], at(3 * HOUR));
    after.tell(3 * HOUR);
    let (before, now) = (story.beacons.health(FIXED).unwrap(), after.beacons.health(FIXED).unwrap());
    assert_eq!(before, now);
    let problems: Vec<BeaconState> = now.problems.iter().collect();
    assert_eq!(problems, [BeaconState::Moved, BeaconState::LowBattery]);
    // It died while the gateway was off: that takes another hour.
    after.pass(9 * HOUR);
    assert_eq!(after.changes("f1"), [(180, "moved"), (240, "missing")]);
}

#[test]
fn a_beacon_that_is_removed_or_another_is_forgotten() {
    let mut story = Story::new();
    story.hear_on(0, MINUTE, FIXED, R1);
    story.hear_on(0, MINUTE, CARRIED, R1);
    let before = Arc::clone(&story.beacons.registry);
    let other = Beacon { identity: "mac:C0:00:00:00:00:AA".parse().unwrap(), ..(*before.beacons()[0]).clone() };
    let edit = Edit {
        put: vec![Record::Beacon(Arc::new(other))],
        remove: vec![Key::Beacon("f1".parse().unwrap())],
        ..Edit::default()
    };
    story.beacons.reconfigure(Arc::new(before.edited(&edit).unwrap()), at(MINUTE));
    story.tell(MINUTE);
    assert_eq!(story.changes("f1"), [(0, "ok"), (1, "gone")]);
    assert_eq!(story.changes("b1"), [(0, "ok"), (1, "gone")]);
    let forgotten = story.beacons.take_records(at(MINUTE), 100);
    assert!(forgotten.len() == 2 && forgotten.iter().all(|(_, record)| record.is_none()), "{forgotten:?}");
    story.pass(9 * HOUR);
    assert_eq!(story.beacons.next_deadline(), None);
}

#[test]
fn a_change_elsewhere_leaves_a_beacon_as_it_was() {
    let mut story = Story::new();
    around(&mut story, 0, 2 * HOUR, 38.0, 18.0);
    let before = Arc::clone(&story.beacons.registry);
    let known = story.beacons.health(FIXED);
    let edit = Edit { remove: vec![Key::Beacon("b1".parse().unwrap())], ..Edit::default() };
    story.beacons.reconfigure(Arc::new(before.edited(&edit).unwrap()), at(2 * HOUR));
    assert_eq!(story.beacons.health(BeaconIndex(FIXED.0 - 1)), known);
    story.pass(9 * HOUR);
    assert_eq!(story.changes("f1").last(), Some(&(179, "missing")));
    // Registered where it is: no longer moved.
    let there = Beacon { fixed: Some((Point { x: 38.0, y: 18.0 }, LevelOrdinal(0))), ..(*before.beacons()[3]).clone() };
    let edit = Edit { put: vec![Record::Beacon(Arc::new(there))], ..Edit::default() };
    let next = story.beacons.registry.edited(&edit).unwrap();
    story.beacons.reconfigure(Arc::new(next), at(9 * HOUR));
    let problems: Vec<BeaconState> = story.beacons.health(BeaconIndex(FIXED.0 - 1)).unwrap().problems.iter().collect();
    assert_eq!(problems, [BeaconState::Missing]);
}

#[test]
fn a_hundred_thousand_beacons_cost_nothing_until_they_are_heard() {
    let plain = fixture::registry(&fixture::settings());
    let beacons = (0..100_000_u32).map(|at| Beacon {
        id: format!("f{at}").parse().unwrap(),
        identity: format!("mac:C0:00:00:{:02X}:{:02X}:{:02X}", at >> 16, (at >> 8) & 255, at & 255).parse().unwrap(),
        device: None,
        fixed: None,
        measured_power: None,
    });
    let receivers = plain.receivers().iter().map(|receiver| (**receiver).clone()).collect();
    let registry = Registry::new(plain.site().clone(), receivers, vec![], beacons.collect(), vec![]).unwrap();
    let beacons = Beacons::new(Arc::new(registry));
    assert_eq!(size_of::<Option<Box<super::Watch>>>(), size_of::<usize>());
    assert_eq!((beacons.next_deadline(), beacons.watches.iter().flatten().count()), (None, 0));
    assert_eq!(beacons.summary().states["never_heard"], 100_000);
}

/// Anything that can happen: who, by which receiver, how strong, milliseconds since the last, what it says.
fn anything() -> impl Strategy<Value = Vec<(u32, u32, f64, i64, Vec<u8>)>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    let one = (0_u32..5, 0_u32..6, -127.0..20.0_f64, prop_oneof![0_i64..2_000, 0_i64..400_000_000], bytes);
    proptest::collection::vec(one, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_heard_memory_is_bounded_and_deadlines_end(story in anything()) {
        let registry = registry();
        let mut beacons = Beacons::new(Arc::clone(&registry));
        let mut now = at(0);
        for (who, receiver, rssi, passed, bytes) in story {
            let (beacon, receiver) = (BeaconIndex(who), ReceiverIndex(receiver));
            now = now + Duration::from_millis(passed.unsigned_abs());
            beacons.advance(now);
            let service = if bytes.len() % 2 == 0 { 0xfeaa } else { 0x180f };
            let mut said = vec![0x20, 0];
            said.extend(&bytes);
            let payload = if bytes.len() % 3 == 0 { bytes.clone() } else { said };
            let service_data = vec![(full_uuid(service), payload)];
            let data = AdvertisingData { service_data, ..AdvertisingData::default() };
            let heard = Heard { time: now.shifted(-(passed % 1_000)), address: Some(address(beacon)), data: &data };
            match passed % 7 {
                0 => beacons.set_hears(receiver, passed % 2 == 0, now),
                1 => { beacons.nameless(&heard, now); }
                2 => beacons.heard_by_device(beacon, &heard, now),
                _ => beacons.heard(beacon, receiver, Rssi::new(rssi).unwrap(), &heard, now),
            }
            if passed % 31 == 0 {
                let records: Vec<BeaconRecord> =
                    beacons.take_records(now, 100).into_iter().filter_map(|(_, record)| record).collect();
                for record in records {
                    let text = serde_json::to_vec(&record).unwrap();
                    prop_assert!(text.len() < 4_096, "{} bytes", text.len());
                    prop_assert_eq!(serde_json::from_slice::<BeaconRecord>(&text).unwrap(), record);
                }
            }
            if passed % 97 == 0 {
                beacons.reconfigure(Arc::clone(&registry), now);
            }
            let watches = beacons.watches.iter().flatten();
            for watch in watches {
                prop_assert!(watch.ears.len() <= super::watch::MOST_EARS);
                prop_assert!(watch.battery.as_ref().is_none_or(|battery| battery.is_sound()));
                prop_assert!(watch.interval.is_sound());
                prop_assert!(watch.whereabouts.as_ref().is_none_or(|known| known.usual.len() <= 8));
            }
            prop_assert!(beacons.addresses.len() <= 5 && beacons.looks.len() <= 5 && beacons.writes.len() <= 5);
        }
        // Every deadline brings the end nearer.
        let mut looks = 0;
        while let Some(due) = beacons.next_deadline() {
            beacons.advance(due);
            looks += 1;
            prop_assert!(looks < 100);
        }
    }
}
