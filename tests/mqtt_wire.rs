//! What goes over the wire, byte for byte: a change of the contract shows up as a diff of `tests/golden/mqtt`. Set
//! `BEACONFENCE_BLESS=1` to write the files anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mqtt_support;

use std::sync::Arc;
use std::time::Duration;

use beaconfence::advert::BatteryLevel;
use beaconfence::engine::{DevicePresence, ZonePresence};
use beaconfence::health::{BatteryHealth, BeaconHealth, Beacons, Elsewhere, IntervalHealth};
use beaconfence::model::{LevelOrdinal, Point, Position, Probability, ReceiverId, Timestamp, ZoneId};
use beaconfence::mqtt::wire::{
    self, DriftWords, MAX_PAYLOAD, Message, ReceiverStatus, ReplayDone, ReplayRequest, Status, StoreWords, WireError,
};
use beaconfence::presence::{Event, EventKind, Reason};
use beaconfence::registry::BeaconIndex;
use beaconfence::trigger::{Facts, Fired};
use mqtt_support::{context, device, entered, instant, validate, zone};
use serde_json::json;

fn golden(name: &str, schema: &str, topic: &str, message: &Message) {
    assert_eq!(message.topic, topic);
    validate(schema, &message.payload);
    let path = format!("{}/tests/golden/mqtt/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BEACONFENCE_BLESS").is_some() {
        std::fs::write(&path, &message.payload).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(String::from_utf8_lossy(&message.payload), expected, "{path}");
}

fn position() -> Position {
    Position {
        point: Point { x: 20.660_49, y: -0.000_1 },
        level: LevelOrdinal(1),
        accuracy: 1.234_56,
        time: instant("2026-01-01T10:00:04.000Z"),
    }
}

#[test]
fn entered_says_where_and_how_sure_it_is() {
    let event = Event {
        position: Some(position()),
        confidence: Some(Probability::saturating(0.912_345)),
        initial: true,
        ..entered(0, &device("d1"), &zone("door"))
    };
    let message = wire::event(&context(), &event).unwrap();
    golden("entered", "presence-event", "store-1/events/door/entered", &message);
}

#[test]
fn dwelled_says_the_threshold_and_how_long_it_was() {
    let event = Event {
        kind: EventKind::Dwelled,
        visit_sequence: 1,
        threshold: Some(Duration::from_secs(60)),
        duration: Some(Duration::from_millis(60_250)),
        ..entered(1, &device("d1"), &zone("door"))
    };
    let message = wire::event(&context(), &event).unwrap();
    golden("dwelled", "presence-event", "store-1/events/door/dwelled", &message);
}

#[test]
fn exited_says_why() {
    let event = Event {
        kind: EventKind::Exited,
        visit_sequence: 2,
        duration: Some(Duration::from_secs(75)),
        reason: Some(Reason::Lost),
        held: true,
        ..entered(2, &device("d1"), &zone("door"))
    };
    let message = wire::event(&context(), &event).unwrap();
    golden("exited", "presence-event", "store-1/events/door/exited", &message);
}

#[test]
fn the_whole_site_has_no_level() {
    let mut site = zone("site");
    site.level = None;
    let message = wire::event(&context(), &entered(3, &device("d1"), &site)).unwrap();
    golden("entered-site", "presence-event", "store-1/events/site/entered", &message);
}

#[test]
fn an_event_of_a_clock_that_is_not_set_says_so() {
    let event = Event { suspect: true, ..entered(4, &device("d1"), &zone("door")) };
    let message = wire::event(&context(), &event).unwrap();
    golden("entered-suspect", "presence-event", "store-1/events/door/entered", &message);
}

#[test]
fn status_says_what_the_disk_the_clock_and_silent_receivers_do() {
    let since = instant("2026-01-01T09:00:00.000Z");
    let store = StoreWords {
        failing: Some("cannot write data: No space left on device".to_owned()),
        disk_bytes: 143_360,
        uncommitted: 2,
        tail: 7,
    };
    let drifts = [(ReceiverId::new("r1").unwrap(), DriftWords { db: -4.2, samples: 130 })].into_iter().collect();
    let mut online = Status {
        version: "0.1.0".to_owned(),
        clock_suspect: true,
        store: Some(store),
        drifts,
        ..Status::online(since)
    };
    online.silent_receivers.insert("r2".parse().unwrap(), instant("2026-01-01T09:30:00.000Z"));
    let message = online.message(&context()).unwrap();
    golden("status-in-trouble", "status", "store-1/gateways/gw-1/status", &message);
}

#[test]
fn an_event_beyond_the_greatest_payload_is_refused() {
    let mut large = zone("door");
    large.metadata.insert("text".to_owned(), "x".repeat(MAX_PAYLOAD).into());
    let error = wire::event(&context(), &entered(0, &device("d1"), &large)).unwrap_err();
    assert!(matches!(error, WireError::TooLarge { size, .. } if size > MAX_PAYLOAD), "{error}");
}

#[test]
fn presence_says_the_zones_and_the_position_where_it_may() {
    let presence = DevicePresence {
        device: device("d1").into(),
        zones: vec![ZonePresence {
            zone: ZoneId::new("door").unwrap(),
            since: instant("2026-01-01T10:00:00.000Z"),
            visit_id: uuid::Uuid::from_u128(7),
        }],
        since: instant("2026-01-01T10:00:00.000Z"),
    };
    let message = wire::presence(&context(), &presence, Some(&position())).unwrap();
    golden("presence", "presence", "store-1/presence/d1", &message);
    let nowhere = DevicePresence { zones: Vec::new(), ..presence };
    let message = wire::presence(&context(), &nowhere, None).unwrap();
    golden("presence-nowhere", "presence", "store-1/presence/d1", &message);
}

#[test]
fn occupancy_says_how_many_are_inside() {
    let message =
        wire::occupancy(&context(), &ZoneId::new("door").unwrap(), 3, instant("2026-01-01T10:00:00.000Z")).unwrap();
    golden("occupancy", "occupancy", "store-1/zones/door/occupancy", &message);
}

fn fares(problems: &str, battery: Option<BatteryHealth>) -> BeaconHealth {
    // What the stage itself has made: nobody else can say that something is wrong.
    let mut beacons = Beacons::new(Arc::new(mqtt_support::beacons::registry()));
    mqtt_support::beacons::story(&mut beacons, problems);
    let health = beacons.health(BeaconIndex(0)).unwrap();
    assert_eq!(health.state().as_str(), problems);
    BeaconHealth { battery, ..health }
}

#[test]
fn the_health_of_a_beacon_says_what_is_wrong_with_it() {
    let at = instant("2026-01-01T10:00:00.000Z");
    let battery = BatteryHealth {
        level: BatteryLevel::Millivolts(2_380),
        at,
        is_low: true,
        days: 30,
        per_day: Some(-4.567),
        days_left: Some(0),
    };
    let interval = IntervalHealth { ms: 1_498.7, usual_ms: Some(1_001.2), is_counted: true, has_drifted: true };
    let elsewhere = Elsewhere { since: at, level: LevelOrdinal(0), point: Some(Point { x: 12.4, y: -0.2 }) };
    let missing =
        BeaconHealth { interval: Some(interval), elsewhere: Some(elsewhere), ..fares("missing", Some(battery)) };
    let say = |health: &BeaconHealth| wire::beacon_health(&context(), health).unwrap();
    golden("beacon-health-missing", "beacon-health", "store-1/beacons/door-1/health", &say(&missing));
    let percent =
        BatteryHealth { level: BatteryLevel::Percent(80), is_low: false, per_day: None, days_left: None, ..battery };
    let carried = BeaconHealth { device: Some("d1".parse().unwrap()), ..fares("ok", Some(percent)) };
    golden("beacon-health", "beacon-health", "store-1/beacons/door-1/health", &say(&carried));
    golden("beacon-health-plain", "beacon-health", "store-1/beacons/door-1/health", &say(&fares("ok", None)));
}

#[test]
fn status_says_whether_the_gateway_and_its_receivers_are_there() {
    let since = instant("2026-01-01T09:00:00.000Z");
    let mut online = Status { version: "0.1.0".to_owned(), ..Status::online(since) };
    online.receivers.insert(
        "r1".parse().unwrap(),
        ReceiverStatus {
            state: "down",
            reason: Some("unplugged".to_owned()),
            advertisements: 10,
            sightings: 4,
            shed: 1,
            lag_ms: 3,
            recoveries: 0,
            unfiltered: true,
        },
    );
    online.counters.insert("events".to_owned(), 2);
    let message = online.message(&context()).unwrap();
    golden("status-online", "status", "store-1/gateways/gw-1/status", &message);
    let offline = Status { version: "0.1.0".to_owned(), ..Status::offline(since) };
    golden("status-offline", "status", "store-1/gateways/gw-1/status", &offline.message(&context()).unwrap());
}

#[test]
fn the_schema_and_the_reader_agree_on_position_reports() {
    let device = "d1".parse().unwrap();
    for (good, payload) in [
        (true, r#"{"time":"2026-01-01T10:00:00.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}"#),
        (true, r#"{"time":"2026-01-01T10:00:00Z","latitude":48.5,"longitude":2.5,"accuracy":5,"level":-1,"x":1}"#),
        (true, r#"{"_type":"location","tst":1767261600,"lat":48.5,"lon":2.5,"acc":15,"tid":"ab"}"#),
        (false, r#"{"time":"2026-01-01T10:00:00.000Z","latitude":98.5,"longitude":2.5,"accuracy":5.0}"#),
        (false, r#"{"latitude":48.5,"longitude":2.5,"accuracy":5.0}"#),
        (false, r#"{"_type":"lwt","tst":1767261600}"#),
        (false, "[]"),
    ] {
        assert_eq!(wire::position_report(&device, payload.as_bytes()).is_ok(), good, "{payload}");
        assert_eq!(mqtt_support::is_valid("position-report", payload.as_bytes()), good, "{payload}");
    }
    let read = wire::position_report(
        &device,
        br#"{"time":"2026-01-01T10:00:00.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}"#,
    );
    assert_eq!(read.unwrap().time, Timestamp::from_millis(1_767_261_600_000));
}

#[test]
fn the_end_of_a_replay_says_what_is_missing_and_where_to_go_on() {
    let request = ReplayRequest { from: 5, to: 20_000, reply_to: "store-1/replays/crm".to_owned(), epoch: None };
    let done = ReplayDone {
        answered: 9_990,
        missing: vec![(5, 9), (20, 24)],
        next: Some(10_005),
        next_sequence: 31_000,
        error: None,
    };
    let say = |done: &ReplayDone| wire::replay_done(&context(), &request, done).unwrap();
    golden("replay-done-more", "replay-done", "store-1/replays/crm/done", &say(&done));
    let done = ReplayDone { next: None, missing: Vec::new(), ..done };
    golden("replay-done", "replay-done", "store-1/replays/crm/done", &say(&done));
    let done = ReplayDone { error: Some("other_epoch"), answered: 0, ..done };
    golden("replay-done-other-epoch", "replay-done", "store-1/replays/crm/done", &say(&done));
}

#[test]
fn the_schema_and_the_reader_agree_on_requests_for_a_replay() {
    let site = context().site;
    assert_eq!(wire::replay_topic(&site, &context().gateway), "store-1/gateways/gw-1/replay");
    for (good, payload) in [
        (true, r#"{"from":0,"to":9,"reply_to":"store-1/replays/crm"}"#),
        (true, r#"{"from":7,"to":7,"reply_to":"store-1/replays/a.b-c_d","epoch":"01JGFJJZ00","more":[1]}"#),
        (true, r#"{"from":7,"to":7,"reply_to":"store-1/replays/crm","epoch":null}"#),
        (false, r#"{"from":-1,"to":9,"reply_to":"store-1/replays/crm"}"#),
        (false, r#"{"from":0.5,"to":9,"reply_to":"store-1/replays/crm"}"#),
        (false, r#"{"to":9,"reply_to":"store-1/replays/crm"}"#),
        (false, r#"{"from":0,"to":9}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"store-1/replays/"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"store-1/replays/a/b"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"store-1/replays/#"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"store-1/replays/+"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"store-1/events/door/entered"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"/store-1/replays/a"}"#),
        (false, r#"{"from":0,"to":9,"reply_to":"$SYS/replays/a"}"#),
        (false, "[]"),
    ] {
        let read = wire::replay_request(&site, payload.as_bytes());
        assert_eq!(read.is_ok(), good, "{payload}: {read:?}");
        assert_eq!(mqtt_support::is_valid("replay-request", payload.as_bytes()), good, "{payload}");
    }
    // What no schema can say.
    for (payload, words) in [
        (r#"{"from":9,"to":0,"reply_to":"store-1/replays/crm"}"#.to_owned(), "less than"),
        (r#"{"from":0,"to":9,"reply_to":"store-2/replays/crm"}"#.to_owned(), "must be store-1/replays/NAME"),
        (r#"{"from":0,"to":9,"reply_to":"store-11/replays/crm"}"#.to_owned(), "must be store-1/replays/NAME"),
        (format!("{:5000}", ""), "more than the 4096"),
        ("nonsense".to_owned(), "it is not"),
    ] {
        let error = wire::replay_request(&site, payload.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_event_can_say_itself_in_adobes_words() {
    let xdm = wire::Context { xdm: true, ..context() };
    let mut door = zone("door");
    door.labels.insert("category".to_owned(), "entrances".to_owned());
    let event = Event { position: Some(position()), ..entered(0, &device("d1"), &door) };
    golden("entered-xdm", "presence-event", "store-1/events/door/entered", &wire::event(&xdm, &event).unwrap());
    let exited = Event {
        kind: EventKind::Exited,
        reason: Some(Reason::Left),
        duration: Some(Duration::from_secs(75)),
        ..entered(1, &device("d1"), &zone("door"))
    };
    golden("exited-xdm", "presence-event", "store-1/events/door/exited", &wire::event(&xdm, &exited).unwrap());
    let dwelled = Event { kind: EventKind::Dwelled, ..entered(1, &device("d1"), &zone("door")) };
    assert!(!String::from_utf8_lossy(&wire::event(&xdm, &dwelled).unwrap().payload).contains("xdm"));
}

fn fired(card: bool) -> Fired {
    let rule = json!({
        "id": "welcome", "name": "Welcome", "campaign": "onboarding", "when": {"entered": "door"},
        "then": {"priority": 7, "channels": ["push", "sms"], "card": card},
    });
    let facts = json!({
        "site": {"id": "store-1", "name": "Store"},
        "device": {"id": "d1", "kind": "customer", "labels": {"tier": "gold"}, "consent": ["marketing", "presence"]},
        "zone": {"id": "door", "name": "Front door", "level": 0, "labels": {}, "metadata": {"deep_link": "app://door"}},
        "visit": {"id": "00000000-0000-0000-0000-00000000000a", "count": 1, "duration_s": 0, "initial": false},
        "site_visit": {"count": 1, "duration_s": 3},
        "event": {"kind": "entered"},
        "local": {"date": "2026-01-01", "time": "11:00", "hour": 11, "minute": 0, "weekday": "thursday", "day": 1, "month": 1},
        "attributes": {"cart": 62.5},
    });
    let at = instant("2026-01-01T10:00:00.000Z");
    Fired {
        id: uuid::Uuid::from_u128(1),
        sequence: 8,
        rule: Arc::new(serde_json::from_value(rule).unwrap()),
        device: Some(Arc::new(device("d1"))),
        zone: Some(Arc::new(zone("door"))),
        observed_at: at,
        decided_at: at + Duration::from_secs(1),
        expires_at: at + Duration::from_secs(901),
        deduplication_key: "store-1:welcome:d1:00000000-0000-0000-0000-00000000000a".to_owned(),
        channels: vec!["push".to_owned(), "sms".to_owned()],
        cause: vec![uuid::Uuid::from_u128(2)],
        facts: Facts::from_json(facts.as_object().unwrap()),
        data: json!({"title": "Welcome"}),
        suspect: false,
    }
}

#[test]
fn a_trigger_says_what_is_to_be_done_and_what_was_known() {
    golden("trigger", "trigger", "store-1/triggers/welcome", &wire::trigger(&context(), &fired(false)).unwrap());
    assert!(wire::card(&context(), &fired(false)).is_none());
    let card = wire::card(&context(), &Fired { suspect: true, ..fired(true) }).unwrap().unwrap();
    golden("card", "trigger", "store-1/cards/d1/welcome", &card);
}

#[test]
fn a_trigger_about_a_zone_has_the_zone_as_its_subject() {
    let mut about = Fired { device: None, ..fired(true) };
    let mut facts = json!(about.facts).as_object().unwrap().clone();
    facts.shift_remove("device");
    facts.shift_remove("site_visit");
    facts.insert("event".to_owned(), json!({"kind": "occupancy", "occupancy": 7}));
    about.facts = Facts::from_json(&facts);
    assert!(wire::card(&context(), &about).is_none());
    golden("trigger-occupancy", "trigger", "store-1/triggers/welcome", &wire::trigger(&context(), &about).unwrap());
}

#[test]
fn a_trigger_that_says_too_much_is_not_said() {
    let data = json!({"text": "x".repeat(MAX_PAYLOAD)});
    assert!(matches!(wire::trigger(&context(), &Fired { data, ..fired(false) }), Err(WireError::TooLarge { .. })));
}
