//! What goes on over a restart.

use std::sync::Arc;
use std::time::Duration;

use super::{Event, EventKind, Machine, Memory, Reason};
use crate::model::{LevelOrdinal, Point, Position, Probability, Timestamp};
use crate::registry::fixture;
use crate::registry::{DeviceIndex, PresenceSettings, ReceiverIndex, ZoneIndex};

const START: i64 = 1_767_261_600_000;
const ZONE_A: ZoneIndex = ZoneIndex(1);
const D1: DeviceIndex = DeviceIndex(0);

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_millis(START + i64::from(seconds) * 1_000)
}

fn settings() -> PresenceSettings {
    PresenceSettings { dwell: vec![Duration::from_secs(120)], ..fixture::settings() }
}

fn heard(machine: &mut Machine, seconds: u32, probability: f64) {
    let now = at(seconds);
    machine.advance(now);
    machine.seen(D1, Some(ReceiverIndex(0)), now, now);
    let position = Position { point: Point::default(), level: LevelOrdinal(0), accuracy: 1.0, time: now };
    machine.observe(D1, position, &[(ZONE_A, Probability::saturating(probability))], now);
}

/// A machine in which d1 is in zone a since second 20, and what it said.
fn before() -> (Machine, Vec<Event>) {
    let mut machine = Machine::new(Arc::new(fixture::registry(&settings())), "e");
    machine.begin(at(0));
    (20..=30).for_each(|second| heard(&mut machine, second, 0.9));
    let events = machine.take_events();
    assert_eq!(events.len(), 2);
    (machine, events)
}

fn memory(machine: &Machine, alive_at: u32) -> Memory {
    let devices = machine.memory(D1).into_iter().collect();
    Memory { began: at(0), sequence: machine.sequence(), alive_at: at(alive_at), devices }
}

fn after(memory: Memory, now: u32, settings: &PresenceSettings) -> Machine {
    let mut machine = Machine::new(Arc::new(fixture::registry(settings)), "e");
    machine.restore(memory, at(now));
    machine
}

fn short(events: &[Event]) -> Vec<(String, &'static str, i64, u32)> {
    let seconds = |t: Timestamp| (t.as_millis() - START) / 1_000;
    let word = |event: &Event| event.reason.map_or(event.kind.as_str(), Reason::as_str);
    events.iter().map(|e| (e.zone.id.to_string(), word(e), seconds(e.observed_at), e.visit_sequence)).collect()
}

fn list(expected: &[(&str, &'static str, i64, u32)]) -> Vec<(String, &'static str, i64, u32)> {
    expected.iter().map(|(zone, word, at, sequence)| ((*zone).to_owned(), *word, *at, *sequence)).collect()
}

#[test]
fn a_visit_goes_on_under_its_id_with_its_numbers_and_its_dwell() {
    let (machine, events) = before();
    let mut machine = after(memory(&machine, 30), 40, &settings());
    assert!(machine.take_events().is_empty());
    assert_eq!(machine.occupancy(ZONE_A), 1);
    (41..=150).for_each(|second| heard(&mut machine, second, 0.9));
    let later = machine.take_events();
    assert_eq!(short(&later), list(&[("a", "dwelled", 140, 1)]));
    assert_eq!((later[0].sequence, later[0].visit_id), (2, events[1].visit_id));
    (151..=170).for_each(|second| heard(&mut machine, second, 0.0));
    assert_eq!(short(&machine.take_events()), list(&[("a", "left", 151, 2)]));
}

#[test]
fn who_is_not_seen_again_was_found_gone() {
    let (machine, _) = before();
    let mut machine = after(memory(&machine, 35), 100, &settings());
    machine.advance(at(159));
    assert!(machine.take_events().is_empty(), "lost_after counts from the restart");
    machine.advance(at(160));
    let events = machine.take_events();
    assert_eq!(short(&events), list(&[("site", "shutdown_gap", 35, 1), ("a", "shutdown_gap", 35, 1)]));
    assert_eq!(events[1].duration, Some(Duration::from_secs(15)));
    assert_eq!((machine.occupancy(ZONE_A), machine.next_deadline()), (0, None));
}

#[test]
fn while_the_receivers_are_not_back_nobody_is_found_gone() {
    let (machine, _) = before();
    let mut machine = after(memory(&machine, 30), 40, &settings());
    machine.receiver(ReceiverIndex(0), false, at(40));
    machine.advance(at(400));
    assert!(machine.take_events().is_empty());
    machine.receiver(ReceiverIndex(0), true, at(400));
    heard(&mut machine, 405, 0.9);
    machine.advance(at(410));
    let events = machine.take_events();
    assert!(events.iter().all(|event| event.kind == EventKind::Dwelled), "{events:?}");
}

#[test]
fn after_a_gap_longer_than_any_hold_visits_have_ended() {
    let (machine, _) = before();
    let mut machine = after(memory(&machine, 60), 60 + 1_801, &settings());
    assert_eq!(short(&machine.take_events()), list(&[("site", "shutdown_gap", 60, 1), ("a", "shutdown_gap", 60, 1)]));
    heard(&mut machine, 60 + 1_805, 0.9);
    let events = machine.take_events();
    assert_eq!(short(&events), list(&[("site", "entered", 1_865, 0)]));
}

#[test]
fn visits_of_what_is_no_longer_there_end_as_they_were() {
    let (machine, events) = before();
    let whole = memory(&machine, 35);

    let mut without_zone = whole.clone();
    without_zone.devices[0].visits[1].zone.id = crate::model::ZoneId::new("cellar").unwrap();
    let mut machine = after(without_zone, 40, &settings());
    let ended = machine.take_events();
    assert_eq!(short(&ended), list(&[("cellar", "zone_removed", 35, 1)]));
    assert_eq!((ended[0].visit_id, ended[0].sequence), (events[1].visit_id, 2));
    assert_eq!(machine.sequence(), 3);

    let mut without_device = whole.clone();
    without_device.devices[0].id = crate::model::DeviceId::new("gone").unwrap();
    let ended = after(without_device, 40, &settings()).take_events();
    assert_eq!(short(&ended), list(&[("site", "device_removed", 35, 1), ("a", "device_removed", 35, 1)]));
    assert!(ended.iter().all(|event| event.device.id.as_str() == "gone"));
}

#[test]
fn a_restart_is_no_beginning_for_reports_but_one_for_what_is_heard() {
    let empty = |began| Memory { began, sequence: 7, alive_at: at(90), devices: Vec::new() };
    let mut machine = after(empty(at(0)), 100, &settings());
    machine.seen(D1, None, at(101), at(101));
    let reported = machine.take_events();
    assert_eq!((reported[0].initial, reported[0].sequence), (false, 7));
    let mut machine = after(empty(at(0)), 100, &settings());
    machine.seen(D1, Some(ReceiverIndex(0)), at(101), at(101));
    assert!(machine.take_events()[0].initial, "it may have come while nobody listened");
}

#[test]
fn a_memory_survives_being_written_down() {
    let (machine, _) = before();
    let memory = machine.memory(D1).unwrap();
    let written = serde_json::to_vec(&memory).unwrap();
    assert_eq!(serde_json::from_slice::<super::DeviceMemory>(&written).unwrap(), memory);
}
