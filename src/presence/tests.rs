//! Timelines of one device in one zone.

use std::sync::Arc;
use std::time::Duration;

use super::{Event, EventKind, Machine, Reason};
use crate::geofence::Overlaps;
use crate::model::{LevelOrdinal, Point, Position, Probability, Timestamp};
use crate::registry::fixture;
use crate::registry::{DeviceIndex, PresenceSettings, ReceiverIndex, ZoneIndex};

const START: i64 = 1_767_261_600_000;
const ZONE_A: ZoneIndex = ZoneIndex(1);
const ZONE_B: ZoneIndex = ZoneIndex(2);
const D1: DeviceIndex = DeviceIndex(0);

/// What an event says, shortly: zone, word, observed and decided in seconds since the start.
type Short = (String, &'static str, f64, f64);

struct Timeline {
    machine: Machine,
    now: Timestamp,
    events: Vec<Event>,
}

fn timeline(settings: PresenceSettings) -> Timeline {
    let registry = Arc::new(fixture::registry(&settings));
    let now = Timestamp::from_millis(START);
    let mut timeline = Timeline { machine: Machine::new(registry, "e"), now, events: Vec::new() };
    // A device that begins later than this is not "inside already".
    timeline.machine.seen(DeviceIndex(1), None, now, now);
    timeline.events.clear();
    timeline.machine.take_events();
    timeline
}

impl Timeline {
    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = Timestamp::from_millis(START + 60_000 + (seconds * 1_000.0) as i64);
        self.machine.advance(self.now);
        self
    }

    /// Heard by r1, and in zone a with that probability.
    fn heard(&mut self, probability: f64) -> &mut Self {
        self.machine.seen(D1, Some(ReceiverIndex(0)), self.now, self.now);
        let position = Position { point: Point::default(), level: LevelOrdinal(0), accuracy: 1.0, time: self.now };
        let membership = [(ZONE_A, Probability::saturating(probability))];
        self.machine.observe(D1, position, &membership, self.now);
        self
    }

    /// Heard by r1, and in zones a and b with those probabilities.
    fn between(&mut self, from: u32, to: u32, a: f64, b: f64) -> &mut Self {
        for second in from..=to {
            self.at(f64::from(second));
            self.machine.seen(D1, Some(ReceiverIndex(0)), self.now, self.now);
            let position = Position { point: Point::default(), level: LevelOrdinal(0), accuracy: 1.0, time: self.now };
            let membership = [(ZONE_A, Probability::saturating(a)), (ZONE_B, Probability::saturating(b))];
            self.machine.observe(D1, position, &membership, self.now);
        }
        self
    }

    /// Zones a and b are known not to overlap.
    fn apart(mut self) -> Self {
        self.machine = self.machine.with_overlaps(Overlaps::default());
        self
    }

    fn every_second(&mut self, from: u32, to: u32, probability: f64) -> &mut Self {
        for second in from..=to {
            self.at(f64::from(second)).heard(probability);
        }
        self
    }

    fn receiver(&mut self, up: bool) -> &mut Self {
        self.machine.receiver(ReceiverIndex(0), up, self.now);
        self
    }

    fn expect(&mut self, expected: &[(&str, &'static str, f64, f64)]) -> &mut Self {
        let seconds = |t: Timestamp| (t.as_millis() - START - 60_000) as f64 / 1_000.0;
        let new = self.machine.take_events();
        let found: Vec<Short> = new
            .iter()
            .filter(|event| event.device.id.as_str() == "d1")
            .map(|e| {
                let word = e.reason.map_or(e.kind.as_str(), Reason::as_str);
                (e.zone.id.to_string(), word, seconds(e.observed_at), seconds(e.decided_at))
            })
            .collect();
        let expected: Vec<Short> = expected.iter().map(|(z, w, o, d)| ((*z).to_owned(), *w, *o, *d)).collect();
        assert_eq!(found, expected);
        self.events.extend(new);
        self
    }
}

#[test]
fn the_site_is_entered_with_the_first_sighting_and_a_zone_after_its_hold() {
    timeline(fixture::settings())
        .at(0.0)
        .heard(0.9)
        .expect(&[("site", "entered", 0.0, 0.0)])
        .at(2.9)
        .heard(0.9)
        .expect(&[])
        .at(3.5)
        .expect(&[("a", "entered", 0.0, 3.0)]);
}

#[test]
fn a_short_visit_to_the_edge_enters_nothing() {
    timeline(fixture::settings())
        .at(0.0)
        .heard(0.7)
        .at(2.0)
        .heard(0.5)
        .at(4.0)
        .heard(0.7)
        .at(6.0)
        .expect(&[("site", "entered", 0.0, 0.0)])
        .at(7.0)
        .expect(&[("a", "entered", 4.0, 7.0)]);
}

#[test]
fn between_the_two_probabilities_nothing_changes() {
    timeline(fixture::settings())
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .every_second(6, 60, 0.31)
        .expect(&[]);
}

#[test]
fn a_device_seen_elsewhere_leaves_after_its_hold_as_of_its_start() {
    timeline(fixture::settings())
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .every_second(6, 10, 0.1)
        .every_second(11, 11, 0.5)
        .every_second(12, 25, 0.1)
        .expect(&[("a", "left", 12.0, 22.0)]);
}

#[test]
fn a_silent_device_is_lost_as_of_its_last_sighting() {
    timeline(fixture::settings())
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .at(64.9)
        .expect(&[])
        .at(100.0)
        .expect(&[("site", "lost", 5.0, 65.0), ("a", "lost", 5.0, 65.0)]);
}

#[test]
fn dwelled_fires_once_a_threshold_on_a_sighting_at_or_after_it() {
    let dwell = vec![Duration::from_secs(5), Duration::from_secs(10)];
    timeline(PresenceSettings { dwell, ..fixture::settings() })
        .every_second(0, 3, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .at(9.0)
        .expect(&[])
        .heard(0.9)
        .expect(&[("a", "dwelled", 9.0, 9.0)])
        .every_second(10, 20, 0.9)
        .expect(&[("a", "dwelled", 10.0, 10.0)]);
}

#[test]
fn both_thresholds_reached_in_silence_fire_on_the_next_sighting() {
    let dwell = vec![Duration::from_secs(5), Duration::from_secs(10)];
    timeline(PresenceSettings { dwell, ..fixture::settings() })
        .every_second(0, 3, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .at(30.0)
        .heard(0.9)
        .expect(&[("a", "dwelled", 30.0, 30.0), ("a", "dwelled", 30.0, 30.0)]);
}

#[test]
fn nobody_is_lost_while_the_receiver_is_down() {
    let mut timeline = timeline(fixture::settings());
    timeline
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .at(10.0)
        .receiver(false)
        .at(600.0)
        .expect(&[])
        .receiver(true)
        // Silence counts from when the receiver was back.
        .at(659.9)
        .expect(&[])
        .at(660.0)
        .expect(&[("site", "lost", 5.0, 660.0), ("a", "lost", 5.0, 660.0)]);
    let exits = || timeline.events.iter().filter(|e| e.kind == EventKind::Exited && e.device.id.as_str() == "d1");
    assert!(exits().count() == 2 && exits().all(|e| e.held));
}

#[test]
fn a_device_heard_again_after_the_outage_never_left() {
    let mut timeline = timeline(fixture::settings());
    timeline
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .receiver(false)
        .at(300.0)
        .receiver(true)
        .every_second(301, 310, 0.9)
        .expect(&[]);
}

#[test]
fn presence_is_held_no_longer_than_max_hold() {
    timeline(fixture::settings())
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .receiver(false)
        .at(3_000.0)
        .expect(&[("site", "receiver_lost", 5.0, 1_805.0), ("a", "receiver_lost", 5.0, 1_805.0)]);
}

#[test]
fn nobody_leaves_a_zone_while_its_receiver_is_down() {
    timeline(fixture::settings())
        .every_second(0, 5, 0.9)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .receiver(false)
        .every_second(6, 40, 0.0)
        .expect(&[])
        .receiver(true)
        .every_second(41, 60, 0.0)
        .expect(&[("a", "left", 6.0, 50.0)]);
}

#[test]
fn a_receiver_that_was_away_holds_nobody_longer_than_before() {
    timeline(fixture::settings())
        .at(0.0)
        .receiver(false)
        .at(1.0)
        .receiver(true)
        .every_second(2, 6, 0.9)
        .at(70.0)
        .expect(&[
            ("site", "entered", 2.0, 2.0),
            ("a", "entered", 2.0, 5.0),
            ("site", "lost", 6.0, 66.0),
            ("a", "lost", 6.0, 66.0),
        ]);
}

#[test]
fn who_is_inside_as_the_engine_begins_is_initial() {
    let registry = Arc::new(fixture::registry(&fixture::settings()));
    let mut machine = Machine::new(registry, "e");
    let at = |s: i64| Timestamp::from_millis(START + s * 1_000);
    let position = |s| Position { point: Point::default(), level: LevelOrdinal(0), accuracy: 1.0, time: at(s) };
    let inside = [(ZONE_A, Probability::saturating(0.9))];
    machine.seen(D1, None, at(0), at(0));
    machine.observe(D1, position(0), &inside, at(0));
    machine.advance(at(20));
    machine.seen(DeviceIndex(1), None, at(20), at(20));
    machine.observe(DeviceIndex(1), position(20), &inside, at(20));
    machine.advance(at(30));
    let initial: Vec<(String, bool)> =
        machine.take_events().iter().map(|e| (format!("{} {}", e.device.id, e.zone.id), e.initial)).collect();
    assert_eq!(
        initial,
        [("d1 site", true), ("d1 a", true), ("d2 site", false), ("d2 a", false)].map(|(w, i)| (w.to_owned(), i))
    );
}

#[test]
fn stopping_ends_every_visit_and_nothing_else() {
    let mut timeline = timeline(fixture::settings());
    timeline.every_second(0, 5, 0.9).expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)]).at(6.0);
    let now = timeline.now;
    timeline.machine.close_all(Reason::Stopped, now);
    timeline.expect(&[("a", "stopped", 6.0, 6.0), ("site", "stopped", 6.0, 6.0)]);
    assert_eq!(timeline.machine.next_deadline(), None);
    assert_eq!(timeline.machine.occupancy(ZONE_A), 0);
}

#[test]
fn the_same_input_gives_the_same_ids_and_another_epoch_gives_others() {
    let ids = |epoch: &str| {
        let mut machine = Machine::new(Arc::new(fixture::registry(&fixture::settings())), epoch);
        let at = Timestamp::from_millis(START);
        machine.seen(D1, None, at, at);
        machine.close_all(Reason::Stopped, at);
        machine.take_events().iter().map(|e| (e.id, e.visit_id, e.visit_sequence)).collect::<Vec<_>>()
    };
    assert_eq!(ids("e"), ids("e"));
    assert!(ids("e").iter().all(|id| !ids("f").contains(id)));
    assert_ne!(ids("e")[0].0, ids("e")[1].0);
}

#[test]
fn who_enters_a_zone_leaves_those_that_do_not_overlap_with_it() {
    let begin = [("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)];
    timeline(fixture::settings())
        .apart()
        .between(0, 5, 0.9, 0.1)
        .expect(&begin)
        .between(6, 10, 0.35, 0.65)
        .expect(&[("a", "left", 6.0, 9.0), ("b", "entered", 6.0, 9.0)]);
    // Of zones that may overlap nothing follows for one another.
    timeline(fixture::settings())
        .between(0, 5, 0.9, 0.1)
        .expect(&begin)
        .between(6, 30, 0.35, 0.65)
        .expect(&[("b", "entered", 6.0, 9.0)]);
}

#[test]
fn who_is_held_in_a_zone_enters_another_one_only_when_that_is_nearly_sure() {
    timeline(fixture::settings())
        .apart()
        .between(0, 5, 0.9, 0.1)
        .expect(&[("site", "entered", 0.0, 0.0), ("a", "entered", 0.0, 3.0)])
        .receiver(false)
        .between(6, 20, 0.1, 0.85)
        .expect(&[])
        .between(21, 24, 0.05, 0.95)
        .expect(&[("b", "entered", 21.0, 24.0)]);
}

#[test]
fn a_zone_whose_receiver_is_down_takes_more_to_be_entered() {
    timeline(fixture::settings())
        .at(0.0)
        .receiver(false)
        .between(1, 10, 0.7, 0.0)
        .expect(&[("site", "entered", 1.0, 1.0)])
        .between(11, 14, 0.8, 0.0)
        .expect(&[("a", "entered", 11.0, 14.0)]);
}
