//! The whole pure pipeline on a small site.

use std::sync::Arc;

use super::{Engine, Input, Output, ReceiverState};
use crate::advert::{Address, Advertisement, AdvertisingData, DeviceSighting};
use crate::model::{DeviceId, LatLon, LevelOrdinal, Point, ReceiverId, Rssi, Timestamp};
use crate::position::PositionReport;
use crate::registry::{Beacon, Registry, fixture};

const START: i64 = 1_767_261_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(START + ms)
}

fn at_zero() -> Timestamp {
    at(0)
}

fn engine() -> Engine {
    Engine::new(Arc::new(fixture::registry(&fixture::settings())), "e")
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

/// The fixture with a place for its fixed beacon, and two more of those.
fn engine_with_fixed_beacons() -> Engine {
    let plain = fixture::registry(&fixture::settings());
    let mut beacons: Vec<Beacon> = plain.beacons().iter().map(|beacon| (**beacon).clone()).collect();
    beacons.retain(|beacon| beacon.device.is_some());
    for (at, x) in [5.0, 15.0, 25.0].into_iter().enumerate() {
        beacons.push(Beacon {
            id: format!("f{at}").parse().unwrap(),
            identity: format!("mac:C0:00:00:00:01:{at:02X}").parse().unwrap(),
            device: None,
            fixed: Some((Point { x, y: 5.0 }, LevelOrdinal(0))),
            measured_power: None,
        });
    }
    beacons.push(Beacon {
        id: "nowhere".parse().unwrap(),
        identity: "mac:C0:00:00:00:01:0F".parse().unwrap(),
        device: None,
        fixed: None,
        measured_power: None,
    });
    let registry = Registry::new(
        plain.site().clone(),
        plain.receivers().iter().map(|receiver| (**receiver).clone()).collect(),
        plain.zones().iter().map(|zone| (**zone).clone()).collect(),
        beacons,
        plain.devices().iter().map(|device| (**device).clone()).collect(),
    );
    Engine::new(Arc::new(registry.unwrap()), "e")
}

/// A device hears fixed beacon number `beacon`.
fn heard_by(ms: i64, device: &str, beacon: u8, rssi: f64) -> Input {
    Input::Heard(DeviceSighting {
        time: at(ms),
        device: DeviceId::new(device).unwrap(),
        address: Some(Address { bytes: [0xC0, 0, 0, 0, 1, beacon], random: Some(true) }),
        rssi: Rssi::new(rssi).unwrap(),
        data: AdvertisingData::default(),
    })
}

/// What a phone at (x, 5) hears of the three fixed beacons in five seconds, `gain` dB too strong.
fn listen(engine: &mut Engine, from: i64, x: f64, gain: f64) -> Vec<String> {
    let mut story = Vec::new();
    for step in 0..25 {
        let ms = from + step * 200;
        for (beacon, place) in [(0, 5.0), (1, 15.0), (2, 25.0)] {
            let d = f64::hypot(x - place, 1.0).max(0.5);
            engine.handle(heard_by(ms, "d1", beacon, (-59.0 + gain - 22.5 * d.log10()).round()), at(ms));
            story.extend(drain(engine));
        }
    }
    story
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
            Output::Trigger(fired) => Some(format!("{} fires for {}", fired.rule.id, fired.deduplication_key)),
            Output::CardEnded(device, trigger) => Some(format!("card {trigger} of {device} ends")),
            Output::Receiver(receiver, health) => Some(format!("{receiver} {health:?}")),
            Output::Beacon(..) => None,
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
    assert_eq!(drain(&mut engine), Vec::<String>::new());
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
            "23000 d1 a exited left",
            "23000 d1 b entered",
            "d1 in [\"site\", \"b\"]",
            "a=0",
            "b=1",
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
    assert!(story.contains(&"23000 d1 a exited left".to_owned()), "{story:?}");
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

#[test]
fn a_device_that_hears_fixed_beacons_enters_and_leaves_zones() {
    let mut engine = engine_with_fixed_beacons();
    let mut story = Vec::new();
    for (from, x) in [(0, 4.0), (5_000, 4.0), (10_000, 26.0), (15_000, 26.0), (20_000, 26.0), (25_000, 26.0)] {
        story.extend(listen(&mut engine, from, x, 0.0));
    }
    let words: Vec<&str> = story
        .iter()
        .filter(|line| line.contains("entered") || line.contains("exited"))
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(words, ["d1 site entered", "d1 a entered", "d1 a exited left", "d1 b entered"]);
    assert_eq!(engine.counters().device_sightings, 450);
    // Silent for a minute, whatever the radios do: no receiver has heard it.
    engine.handle(Input::Receiver(ReceiverId::new("r1").unwrap(), ReceiverState::Down), at(30_000));
    engine.advance(at(100_000));
    assert!(drain(&mut engine).iter().any(|line| line.ends_with("d1 site exited lost")));
}

#[test]
fn what_a_device_hears_is_refused_and_counted_by_its_cause() {
    let mut engine = engine_with_fixed_beacons();
    for input in [
        heard_by(0, "nobody", 0, -60.0),
        heard_by(0, "d3", 0, -60.0),
        heard_by(0, "d1", 9, -60.0),
        heard_by(0, "d1", 15, -60.0),
        heard_by(61_000, "d1", 0, -60.0),
    ] {
        engine.handle(input, at(0));
    }
    // A beacon that is carried has no place either.
    let mut carried = heard_by(0, "d1", 0, -60.0);
    if let Input::Heard(heard) = &mut carried {
        heard.address = Some(Address { bytes: [0xC0, 0, 0, 0, 0, 2], random: Some(true) });
    }
    engine.handle(carried, at(0));
    assert_eq!(drain(&mut engine), Vec::<String>::new());
    let counters = engine.counters();
    assert_eq!((counters.unknown_devices, counters.without_consent, counters.strangers), (1, 1, 1));
    assert_eq!((counters.unplaced_beacons, counters.ahead, counters.device_sightings), (2, 1, 0));
}

#[test]
fn how_well_a_device_hears_is_not_taken_for_how_strong_it_sends() {
    // A phone that hears 20 dB too strong, and is heard 20 dB too weak, in the middle of zone a.
    let places = |gain: f64, power: Option<f64>| {
        let mut engine = engine_with_fixed_beacons();
        let mut last = None;
        for step in 0..150 {
            let ms = step * 200;
            for (beacon, receiver, place) in [(0, Some("r1"), 5.0), (1, None, 15.0), (2, Some("r2"), 25.0)] {
                let d = f64::hypot(5.0 - place, 1.0);
                let level = -59.0 - 22.5 * d.log10();
                engine.handle(heard_by(ms, "d1", beacon, (level + gain).round()), at(ms));
                if let (Some(receiver), Some(power)) = (receiver, power) {
                    engine.handle(heard(ms, receiver, 1, (level + power).round()), at(ms));
                }
            }
            while let Some(output) = engine.poll_output() {
                if let Output::Position(_, position) = output {
                    last = Some(position.point);
                }
            }
        }
        last.unwrap()
    };
    let middle = Point { x: 5.0, y: 5.0 };
    for (gain, power) in [(0.0, None), (20.0, None), (0.0, Some(0.0)), (20.0, Some(-20.0))] {
        let found = places(gain, power);
        assert!(found.distance(middle) < 3.0, "{gain} {power:?}: {found:?}");
    }
}
