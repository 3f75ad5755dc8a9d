//! The whole pure pipeline on a small site.

use std::sync::Arc;

use super::{Engine, Input, Output, ReceiverState};
use crate::advert::{Address, Advertisement, AdvertisingData};
use crate::model::{DeviceId, LatLon, LevelOrdinal, Point, ReceiverId, Rssi, Timestamp};
use crate::position::PositionReport;
use crate::registry::{PresenceSettings, fixture};

const START: i64 = 1_767_261_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(START + ms)
}

fn at_zero() -> Timestamp {
    at(0)
}

fn engine() -> Engine {
    Engine::new(Arc::new(fixture::registry(&PresenceSettings::default())), "e")
}

/// Beacon number `beacon` heard by a receiver.
fn heard(ms: i64, receiver: &str, beacon: u8, rssi: f64) -> Input {
    Input::Advertisement(Advertisement {
        time: at(ms),
        receiver: ReceiverId::new(receiver).unwrap(),
        address: Some(Address { bytes: [0xC0, 0, 0, 0, 0, beacon], random: Some(true) }),
        rssi: Rssi::new(rssi).unwrap(),
        data: AdvertisingData::default(),
    })
}

fn report(engine: &Engine, ms: i64, device: &str, x: f64, y: f64) -> Input {
    Input::PositionReport(PositionReport {
        time: at(ms),
        device: DeviceId::new(device).unwrap(),
        at: engine.registry().frame().to_geodetic(Point { x, y }),
        accuracy: 1.0,
        level: None,
    })
}

fn drain(engine: &mut Engine) -> Vec<String> {
    std::iter::from_fn(|| engine.poll_output())
        .filter_map(|output| match output {
            Output::Event(e) => {
                let ms = e.decided_at.as_millis() - START;
                let reason = e.reason.map_or("", super::super::presence::Reason::as_str);
                Some(format!("{ms} {} {} {} {reason}", e.device.id, e.zone.id, e.kind.as_str()).trim_end().to_owned())
            }
            Output::Occupancy(zone, inside) => Some(format!("{zone}={inside}")),
            Output::Presence(p) => {
                Some(format!("{} in {:?}", p.device.id, p.zones.iter().map(|z| z.zone.as_str()).collect::<Vec<_>>()))
            }
            Output::Position(..) => None,
        })
        .collect()
}

/// A walk: five sightings a second by both receivers, near r1 first, near r2 later.
fn walk() -> Vec<Input> {
    let mut inputs = Vec::new();
    for step in 0..300 {
        let ms = step * 200;
        // From x = 5 to x = 25 between second 20 and second 40.
        let x = 5.0 + ((ms as f64 / 1_000.0 - 20.0) / 20.0).clamp(0.0, 1.0) * 20.0;
        for (receiver, place) in [("r1", 5.0), ("r2", 25.0)] {
            let d = (x - place).hypot(1.5_f64).max(0.5);
            inputs.push(heard(ms, receiver, 1, (-62.0 - 22.5 * d.log10()).round()));
        }
    }
    inputs
}

fn run(inputs: &[Input]) -> Vec<String> {
    let mut engine = engine();
    let mut out = Vec::new();
    for input in inputs {
        let Input::Advertisement(advertisement) = input else { continue };
        engine.handle(input.clone(), advertisement.time);
        while let Some(output) = engine.poll_output() {
            out.push(format!("{output:?}"));
        }
    }
    out
}

#[test]
fn a_walk_from_one_zone_to_the_other_is_told_as_it_was() {
    let mut engine = engine();
    for input in walk() {
        let Input::Advertisement(advertisement) = &input else { continue };
        let time = advertisement.time;
        engine.handle(input, time);
    }
    let story: Vec<String> =
        drain(&mut engine).into_iter().filter(|line| line.contains("entered") || line.contains("exited")).collect();
    let words: Vec<&str> = story.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(words, ["d1 site entered", "d1 a entered", "d1 a exited left", "d1 b entered"]);
}

#[test]
fn the_same_input_gives_the_same_output_and_a_shorter_one_a_prefix() {
    let walk = walk();
    let whole = run(&walk);
    assert!(whole.len() > 200);
    assert_eq!(whole, run(&walk));
    for cut in [1, 57, 300, 599] {
        let part = run(&walk[..cut]);
        assert_eq!(part[..], whole[..part.len()]);
    }
}

#[test]
fn how_late_the_engine_is_asked_changes_nothing() {
    let inputs = [heard(0, "r1", 1, -50.0), heard(100, "r1", 1, -50.0)];
    let mut punctual = engine();
    let mut late = engine();
    for input in inputs {
        let Input::Advertisement(advertisement) = &input else { continue };
        let time = advertisement.time;
        punctual.handle(input.clone(), time);
        late.handle(input, time);
    }
    let mut story = drain(&mut punctual);
    while let Some(deadline) = punctual.next_deadline() {
        punctual.advance(deadline);
        story.extend(drain(&mut punctual));
    }
    let mut late_story = drain(&mut late);
    late.advance(at(3_600_000));
    late_story.extend(drain(&mut late));
    assert_eq!(story, late_story);
    assert!(story.iter().any(|line| line.starts_with("60100 d1 site exited lost")), "{story:?}");
}

#[test]
fn strangers_and_those_without_consent_leave_nothing_but_a_count() {
    let mut engine = engine();
    for input in
        [heard(0, "r1", 9, -50.0), heard(1, "r1", 3, -50.0), heard(2, "r1", 15, -50.0), heard(3, "r9", 1, -50.0)]
    {
        engine.handle(input, at(3));
    }
    let input = report(&engine, 3, "d3", 5.0, 5.0);
    engine.handle(input, at(3));
    engine.handle(
        Input::PositionReport(PositionReport {
            time: at(3),
            device: DeviceId::new("nobody").unwrap(),
            at: LatLon { latitude: 48.8566, longitude: 2.3522 },
            accuracy: 1.0,
            level: None,
        }),
        at(3),
    );
    engine.advance(at(100_000));
    assert!(engine.poll_output().is_none());
    let counters = engine.counters();
    assert_eq!(
        (counters.strangers, counters.without_consent, counters.fixed_beacons, counters.unknown_receivers),
        (1, 2, 1, 1)
    );
    assert_eq!((counters.unknown_devices, counters.sightings), (1, 0));
}

#[test]
fn reported_positions_enter_and_leave_zones() {
    let mut engine = engine();
    let mut story = Vec::new();
    for (ms, x) in [(0, 5.0), (10_000, 5.0), (20_000, 25.0), (40_000, 25.0)] {
        let input = report(&engine, ms, "d1", x, 5.0);
        engine.handle(input, at(ms));
        story.extend(drain(&mut engine));
    }
    assert_eq!(
        story,
        [
            "0 d1 site entered",
            "d1 in [\"site\"]",
            "site=1",
            "3000 d1 a entered",
            "d1 in [\"site\", \"a\"]",
            "a=1",
            "23000 d1 b entered",
            "d1 in [\"site\", \"a\", \"b\"]",
            "b=1",
            "30000 d1 a exited left",
            "d1 in [\"site\", \"b\"]",
            "a=0",
        ]
    );
}

#[test]
fn a_report_from_elsewhere_or_from_no_level_is_not_from_the_store() {
    let mut engine = engine();
    let elsewhere = |latitude, longitude, accuracy, level| {
        let at = LatLon { latitude, longitude };
        let device = DeviceId::new("d1").unwrap();
        Input::PositionReport(PositionReport { time: at_zero(), device, at, accuracy, level })
    };
    for (latitude, longitude, accuracy) in
        [(-33.0, 151.0, 5.0), (48.8566, -177.6, 5.0), (48.8576, 2.3522, 5.0), (48.9, 2.3522, 100_000.0)]
    {
        engine.handle(elsewhere(latitude, longitude, accuracy, None), at(0));
    }
    engine.handle(elsewhere(48.8566, 2.3522, 5.0, Some(LevelOrdinal(99))), at(0));
    assert!(engine.poll_output().is_none());
    assert_eq!((engine.counters().reports_outside, engine.counters().unknown_levels), (4, 1));
    // 30 m away, but vague: it may be from the store.
    engine.handle(elsewhere(48.856_33, 2.3522, 20.0, Some(LevelOrdinal(0))), at(0));
    assert_eq!(engine.counters().reports, 1);
}

#[test]
fn who_comes_long_after_the_beginning_was_not_there_already() {
    let initial = |begin: i64, up: Option<i64>| {
        let mut engine = engine();
        engine.begin(at(begin));
        engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Down), at(begin));
        if let Some(up) = up {
            engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Up), at(up));
        }
        engine.handle(heard(60_000, "r1", 1, -50.0), at(60_000));
        std::iter::from_fn(|| engine.poll_output())
            .find_map(|output| if let Output::Event(event) = output { Some(event.initial) } else { None })
            .unwrap()
    };
    assert!(!initial(0, None), "the first customer after a quiet minute");
    assert!(initial(55_000, None), "a minute is not over yet");
    assert!(initial(0, Some(55_000)), "the radio has only just come up");
    assert!(!initial(0, Some(1_000)));
}

#[test]
fn who_reports_to_be_elsewhere_leaves_whatever_the_radios_do() {
    let mut engine = engine();
    engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Down), at(0));
    let mut story = Vec::new();
    for (ms, x) in [(0, 5.0), (10_000, 5.0), (20_000, 25.0), (40_000, 25.0)] {
        let input = report(&engine, ms, "d1", x, 5.0);
        engine.handle(input, at(ms));
        story.extend(drain(&mut engine));
    }
    assert!(story.contains(&"30000 d1 a exited left".to_owned()), "{story:?}");
}

#[test]
fn a_report_that_is_not_newer_is_dropped() {
    let mut engine = engine();
    for ms in [1_000, 1_000, 500] {
        let input = report(&engine, ms, "d1", 5.0, 5.0);
        engine.handle(input, at(1_000));
    }
    assert_eq!((engine.counters().reports, engine.counters().stale_reports), (1, 2));
}

#[test]
fn times_too_far_from_now_are_refused() {
    let mut engine = engine();
    engine.handle(heard(61_000, "r1", 1, -50.0), at(0));
    engine.handle(heard(0, "r1", 1, -50.0), at(600_001));
    assert_eq!((engine.counters().ahead, engine.counters().behind, engine.counters().sightings), (1, 1, 0));
    engine.handle(heard(60_000, "r1", 1, -50.0), at(600_001));
    assert_eq!(engine.counters().sightings, 1);
}

#[test]
fn a_receiver_that_is_down_holds_who_it_heard() {
    let mut engine = engine();
    engine.handle(heard(0, "r1", 1, -50.0), at(0));
    engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Down), at(1_000));
    engine.advance(at(600_000));
    assert!(!drain(&mut engine).iter().any(|line| line.contains("exited")));
    engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Up), at(600_000));
    engine.advance(at(660_000));
    assert!(drain(&mut engine).iter().any(|line| line.starts_with("660000 d1 site exited lost")));
}

#[test]
fn stopping_closes_what_is_open() {
    let mut engine = engine();
    engine.handle(heard(0, "r1", 1, -50.0), at(0));
    engine.stop(at(1_000));
    let story = drain(&mut engine);
    assert!(story.contains(&"1000 d1 site exited stopped".to_owned()), "{story:?}");
    assert!(story.contains(&"site=0".to_owned()), "{story:?}");
}
