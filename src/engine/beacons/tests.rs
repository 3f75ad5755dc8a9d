//! How beacons fare, by way of the whole engine.

use std::sync::Arc;

use crate::advert::{Address, Advertisement, AdvertisingData, full_uuid};
use crate::engine::{Engine, Input, Output, ReceiverState};
use crate::model::{ReceiverId, Rssi, Timestamp};
use crate::registry::{Edit, Key, Registry, fixture};

const HOUR: i64 = 3_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_767_261_600_000 + ms)
}

fn engine() -> Engine {
    Engine::new(Arc::new(fixture::registry(&fixture::settings())), "e")
}

/// Beacon number `beacon` of the fixture, which says in Battery Level that it has so many percent left.
fn heard(ms: i64, beacon: u8, percent: u8) -> Input {
    Input::Advertisement(Advertisement {
        time: at(ms),
        receiver: ReceiverId::new("r1").unwrap(),
        address: Some(Address { bytes: [0xC0, 0, 0, 0, 0, beacon], random: Some(true) }),
        rssi: Rssi::new(-60.0).unwrap(),
        data: AdvertisingData { service_data: vec![(full_uuid(0x180f), vec![percent])], ..AdvertisingData::default() },
    })
}

/// What is said of beacons: minutes, id, state.
fn said(engine: &mut Engine) -> Vec<(i64, String, &'static str)> {
    let now = (engine.now().as_millis() - at(0).as_millis()) / 60_000;
    std::iter::from_fn(|| engine.poll_output())
        .filter_map(|output| match output {
            Output::Beacon(id, health) => {
                Some((now, id.to_string(), health.map_or("gone", |health| health.state().as_str())))
            }
            _ => None,
        })
        .collect()
}

fn run(engine: &mut Engine, inputs: impl IntoIterator<Item = (i64, Input)>) -> Vec<(i64, String, &'static str)> {
    let mut story = Vec::new();
    for (ms, input) in inputs {
        while let Some(due) = engine.next_deadline().filter(|due| *due <= at(ms)) {
            engine.advance(due);
            story.extend(said(engine));
        }
        engine.handle(input, at(ms));
        story.extend(said(engine));
    }
    story
}

fn words<'a>(story: &'a [(i64, String, &'static str)]) -> Vec<(i64, &'a str, &'static str)> {
    story.iter().map(|(at, id, state)| (*at, id.as_str(), *state)).collect()
}

#[test]
fn fixed_and_carried_beacons_are_watched_and_those_without_consent_are_not() {
    let mut engine = engine();
    let minutes = (0..10).flat_map(|minute| [(15, 80), (1, 5), (3, 5)].map(|(beacon, left)| (minute, beacon, left)));
    let story =
        run(&mut engine, minutes.map(|(minute, beacon, left)| (minute * 60_000, heard(minute * 60_000, beacon, left))));
    assert_eq!(words(&story), [(0, "f1", "ok"), (0, "b1", "ok"), (2, "b1", "low_battery")]);
    // Two hours later only the fixed one is missing.
    let story = run(&mut engine, [(2 * HOUR, heard(2 * HOUR, 2, 50))]);
    assert_eq!(words(&story), [(69, "f1", "missing"), (120, "b2", "ok")]);
    let summary = engine.beacon_health();
    assert_eq!(summary.states["missing"], 1);
    assert_eq!((summary.states["low_battery"], summary.low.len()), (1, 1));
}

#[test]
fn a_beacon_is_not_missing_while_its_receiver_is_down() {
    let mut engine = engine();
    let down = || Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Down);
    let mut inputs: Vec<(i64, Input)> =
        (0..10).map(|minute| (minute * 60_000, heard(minute * 60_000, 15, 80))).collect();
    inputs.push((10 * 60_000, down()));
    inputs.push((9 * HOUR, down()));
    assert_eq!(words(&run(&mut engine, inputs)), [(0, "f1", "ok")]);
}

#[test]
fn how_late_the_engine_is_asked_changes_nothing_of_beacons() {
    let inputs = || (0..10).map(|minute| (minute * 60_000, heard(minute * 60_000, 15, 80)));
    let (mut punctual, mut late) = (engine(), engine());
    run(&mut punctual, inputs());
    run(&mut late, inputs());
    while let Some(due) = punctual.next_deadline().filter(|due| *due <= at(9 * HOUR)) {
        punctual.advance(due);
    }
    punctual.advance(at(9 * HOUR));
    late.advance(at(9 * HOUR));
    let at = punctual.registry().beacon(&"f1".parse().unwrap()).unwrap();
    let (one, other) = (punctual.health_of(at).unwrap(), late.health_of(at).unwrap());
    assert_eq!((one.state().as_str(), &one), ("missing", &other));
}

fn removed(registry: &Registry, id: &str) -> Arc<Registry> {
    let edit = Edit { remove: vec![Key::Beacon(id.parse().unwrap())], ..Edit::default() };
    Arc::new(registry.edited(&edit).unwrap())
}

#[test]
fn a_beacon_that_is_removed_is_unsaid_and_its_record_goes() {
    let mut engine = engine();
    run(&mut engine, [(0, heard(0, 15, 80))]);
    let records = engine.take_beacons(at(HOUR), 10);
    assert!(matches!(&records[..], [(id, Some(_))] if id.as_str() == "f1"), "{records:?}");
    let next = removed(engine.registry(), "f1");
    let prepared = engine.tables().prepare(next);
    assert!(engine.reconfigure(prepared, at(1_000)));
    assert_eq!(words(&said(&mut engine)), [(0, "f1", "gone")]);
    assert!(matches!(&engine.take_beacons(at(1_000), 10)[..], [(_, None)]));
}

#[test]
fn what_was_remembered_of_a_beacon_that_is_gone_is_unsaid_at_the_start() {
    let mut before = engine();
    run(&mut before, [(0, heard(0, 15, 80)), (0, heard(0, 1, 80))]);
    let records: Vec<_> = before.take_beacons(at(HOUR), 10).into_iter().filter_map(|(_, record)| record).collect();
    let mut engine = Engine::new(removed(before.registry(), "f1"), "e");
    engine.restore_beacons(records, at(HOUR));
    assert_eq!(
        words(&said(&mut engine)).iter().map(|(_, id, state)| (*id, *state)).collect::<Vec<_>>(),
        [("f1", "gone"), ("b1", "ok")]
    );
}
