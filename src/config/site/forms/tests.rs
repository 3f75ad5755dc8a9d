use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::site::fixture::{any_registry, records};
use crate::config::{Diagnostic, Severity};
use crate::registry::{Edit, Record, Registry, Shape, fixture};

fn registry() -> Registry {
    fixture::registry(&fixture::settings())
}

fn read(kind: Kind, value: &Value) -> Record {
    from_json(kind, &value.to_string(), &registry()).unwrap().0
}

fn faults(kind: Kind, text: &str) -> Vec<String> {
    let faults = from_json(kind, text, &registry()).expect_err(text).into_diagnostics();
    faults.iter().filter(|fault| fault.severity == Severity::Error).map(Diagnostic::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_record_that_was_read_is_written_and_read_back_to_the_last_bit(registry in any_registry()) {
        let frame = registry.frame();
        for record in records(&registry) {
            let kind = record.key().kind();
            let written = to_json(&record, frame);
            let text = serde_json::to_string_pretty(&written).unwrap();
            let once = from_json(kind, &text, &registry).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?.0;
            prop_assert_eq!(to_json(&once, frame).to_string(), written.to_string());
            let twice = from_json(kind, &to_json(&once, frame).to_string(), &registry).unwrap().0;
            prop_assert_eq!(&twice, &once);
            if let Record::Zone(zone) = &once {
                let shown = zone_json_with_shape(zone, frame);
                let back = from_json(kind, &shown.to_string(), &registry).unwrap().0;
                prop_assert_eq!(&back, &once, "given out with both shapes, taken back with both");
                let mut drawn = shown.clone();
                drawn.as_object_mut().unwrap().insert("geometry".to_owned(), Value::Null);
                drawn["properties"].as_object_mut().unwrap().remove("radius_m");
                let back = from_json(kind, &drawn.to_string(), &registry).unwrap().0;
                prop_assert_eq!(&back, &once, "taken back by its shape in metres");
            }
        }
    }

    #[test]
    fn what_is_stored_is_the_registry_that_was_read(registry in any_registry()) {
        let frame = registry.frame();
        let canonical: Vec<Record> = records(&registry)
            .into_iter()
            .map(|record| from_json(record.key().kind(), &to_json(&record, frame).to_string(), &registry).unwrap().0)
            .collect();
        let stored = canonical.iter().map(|record| (record.key().kind(), to_json(record, frame).to_string().into_bytes()));
        let restored = from_stored(stored).unwrap();
        // Of the site's record its levels are no part.
        prop_assert_eq!(&records(&restored)[1..], &canonical[1..]);
        prop_assert_eq!(to_json(&records(&restored)[0], frame), to_json(&canonical[0], frame));
    }

    #[test]
    fn no_text_makes_a_reader_panic(kind in 0_usize..8, cut in 0_usize..2_000, at in 0_usize..2_000, with in ".{0,4}") {
        let registry = registry();
        let kind = Kind::ALL[kind];
        let rule = read(Kind::Trigger, &json!({"id": "t", "when": {"dwelled": "5m", "in": ["a", "b"]}, "if": "visit.count > 2"}));
        let registry = registry.edited(&Edit { put: vec![rule], ..Edit::default() }).unwrap();
        let record = records(&registry).into_iter().find(|record| record.key().kind() == kind).unwrap();
        let mut text: Vec<char> = to_json(&record, registry.frame()).to_string().chars().collect();
        text.truncate(text.len() - cut % text.len());
        let at = at % (text.len() + 1);
        text.splice(at..at, with.chars());
        let text: String = text.into_iter().collect();
        let _ = from_json(kind, &text, &registry);
        let site = to_json(&registry.record(&crate::registry::Key::Site).unwrap(), registry.frame()).to_string();
        let _ = from_stored([(Kind::Site, site.into_bytes()), (kind, text.into_bytes())].into_iter());
    }
}

#[test]
fn every_key_is_given_out_and_what_is_not_there_is_null() {
    let registry = registry();
    let of = |kind| records(&registry).into_iter().find(|record| record.key().kind() == kind).unwrap();
    let form = |kind| to_json(&of(kind), registry.frame());
    assert_eq!(
        form(Kind::Beacon).to_string(),
        r#"{"id":"b1","identity":"mac:C0:00:00:00:00:01","device":"d1","x":null,"y":null,"level":null,"measured_power":null}"#
    );
    assert_eq!(form(Kind::Device).to_string(), r#"{"id":"d1","kind":"customer","consent":["presence"],"labels":{}}"#);
    assert_eq!(form(Kind::Receiver).to_string(), r#"{"id":"r1","x":5.0,"y":5.0,"z":2.5,"level":0,"rssi_offset":0.0}"#);
    assert_eq!(
        form(Kind::Level).to_string(),
        r#"{"ordinal":0,"name":"Ground","elevation":0.0,"outline":[[0.0,0.0],[30.0,0.0],[30.0,10.0],[0.0,10.0]],"plan":null}"#
    );
    assert_eq!(
        form(Kind::Site).to_string(),
        r#"{"id":"test","name":"Test","time_zone":"Europe/Paris","origin":{"latitude":48.8566,"longitude":2.3522,"bearing":0.0},"path_loss_exponent":2.5,"measured_power":-59.0,"kind":{"customer":{"margin_m":0.0},"staff":{"margin_m":0.0},"asset":{"margin_m":0.0}}}"#
    );
    // The first zone is the whole site, with the defaults.
    assert_eq!(
        form(Kind::Zone).to_string(),
        r#"{"type":"Feature","properties":{"id":"site","name":"Test","level":null,"labels":{},"metadata":{}},"geometry":null}"#
    );
}

#[test]
fn what_is_missing_has_its_default() {
    let Record::Beacon(beacon) = read(Kind::Beacon, &json!({"id": "b", "identity": "mac:C0:00:00:00:00:09"})) else {
        unreachable!()
    };
    assert_eq!((&beacon.device, beacon.fixed, beacon.measured_power), (&None, None, None));
    let Record::Receiver(receiver) = read(Kind::Receiver, &json!({"id": "r", "x": 1, "y": 2.0, "z": null})) else {
        unreachable!()
    };
    assert_eq!((receiver.z, receiver.rssi_offset, receiver.level.0), (2.5, 0.0, 0));
    let shape = json!({"centre": [1, 2], "radius": 3});
    let feature = json!({"type": "Feature", "properties": {"id": "z"}, "shape_m": shape});
    let Record::Zone(zone) = read(Kind::Zone, &feature) else { unreachable!() };
    assert_eq!((zone.name.as_str(), zone.level.map(|level| level.0)), ("z", Some(0)));
    let Shape::Circle { centre, radius } = zone.shape else { panic!("{:?}", zone.shape) };
    assert!((centre.x - 1.0).abs() < 0.001 && (centre.y - 2.0).abs() < 0.001 && (radius - 3.0).abs() < 1e-9);
    let Record::Device(device) = read(Kind::Device, &json!({"id": "d", "labels": {"k": "a;b"}})) else {
        unreachable!()
    };
    assert_eq!(device.labels["k"], "a;b");
}

#[test]
fn rings_in_metres_may_be_closed_or_open() {
    let ring = |closed: bool| {
        let mut corners = vec![[0, 0], [4, 0], [4, 4], [0, 4]];
        corners.extend(closed.then_some([0, 0]));
        let polygons = json!([[corners]]);
        read(Kind::Zone, &json!({"type": "Feature", "properties": {"id": "z"}, "shape_m": {"polygons": polygons}}))
    };
    assert_eq!(ring(true), ring(false));
}

#[test]
fn faults_of_a_record_name_it_its_line_and_what_to_do() {
    let cases: [(Kind, &str, &[&str]); 26] = [
        (
            Kind::Beacon,
            "{\"id\": \"b\",\n \"identty\": \"mac:C0:00:00:00:00:09\"}",
            &[
                "line 2: error: beacon \"b\": unknown key \"identty\"; did you mean \"identity\"?",
                "line 1: error: beacon \"b\": \"identity\" is missing",
            ],
        ),
        (
            Kind::Beacon,
            r#"{"id": "b", "identity": "mac:1"}"#,
            &["beacon \"b\": identity: \"mac:1\" must have the form"],
        ),
        (
            Kind::Beacon,
            r#"{"id": "b", "identity": "mac:C0:00:00:00:00:09", "device": "d4"}"#,
            &["device \"d4\" is not registered; did you mean \"d1\"?"],
        ),
        (
            Kind::Beacon,
            r#"{"id": "b", "identity": "mac:C0:00:00:00:00:09", "x": "1"}"#,
            &["\"x\" must be a number, not text in quotes"],
        ),
        (
            Kind::Beacon,
            r#"{"id": "b", "identity": "mac:C0:00:00:00:00:09", "x": 1, "y": 2, "level": 7}"#,
            &["the site has no level 7; its levels are 0; add the level first, or correct the number"],
        ),
        (Kind::Beacon, "[]", &["the beacon must be an object, not an array"]),
        (Kind::Beacon, "{", &["line 1: error: column 1: broken JSON"]),
        (Kind::Device, r#"{"id": "d x", "kind": "staf"}"#, &["\"d x\" holds ' '", "did you mean \"staff\"?"]),
        (Kind::Device, r#"{"id": "d", "consent": "presence"}"#, &["\"consent\" must be an array, not text in quotes"]),
        (Kind::Device, r#"{"id": "d", "consent": ["a;b"]}"#, &["\"consent\" holds \"a;b\""]),
        (Kind::Device, r#"{"id": "d", "labels": {"k": 1}}"#, &["label \"k\" must be text in quotes"]),
        (Kind::Device, r#"{"id": "d", "id": "e"}"#, &["\"id\" is there twice"]),
        (Kind::Receiver, r#"{"id": "r", "x": 1}"#, &["receiver \"r\": \"y\" is missing; write x and y"]),
        (
            Kind::Receiver,
            "{\"id\": \"r\", \"x\": 1,\n\"y\": true}",
            &["line 2: error: receiver \"r\": \"y\" must be a number, not true or false"],
        ),
        (Kind::Receiver, r#"{"id": "r", "x": 1, "y": 2, "rsi_offset": 1}"#, &["did you mean \"rssi_offset\"?"]),
        (Kind::Receiver, r#"{"x": 1, "y": 2}"#, &["receiver: \"id\" is missing; write \"id\": \"r1\""]),
        (Kind::Level, r#"{"ordinal": 1.5}"#, &["level: \"ordinal\" must be a whole number"]),
        (Kind::Level, r#"{"ordinal": 18446744073709551615}"#, &["\"ordinal\" must be a whole number"]),
        (
            Kind::Level,
            r#"{"ordinal": 1, "outline": [[0, 0], [1, null], [2, 2]]}"#,
            &["level 1: corner 2 of the outline must be two numbers"],
        ),
        (
            Kind::Level,
            r#"{"ordinal": 1, "plan": {"x": 0, "y": 0, "metres_per_pixel": 0.1}}"#,
            &["level 1: the level has no picture yet; upload the picture first"],
        ),
        (
            Kind::Level,
            r#"{"ordinal": 1, "plan": {"file": "../a.png", "x": 0, "y": 0, "metres_per_pixel": 0.1}}"#,
            &["level 1, plan: \"file\": \"../a.png\" is no name of a file"],
        ),
        (
            Kind::Site,
            r#"{"id": "s", "time_zone": "Paris", "origin": {"latitude": 91, "longitude": 2}}"#,
            &["\"Paris\" is no IANA time zone", "latitude 91 must lie between"],
        ),
        (
            Kind::Site,
            r#"{"id": "s", "time_zone": "UTC", "origin": 5, "level": []}"#,
            &["\"origin\" must be an object, not a whole number", "unknown key \"level\""],
        ),
        (
            Kind::Zone,
            r#"{"type": "Feature", "name": "x", "properties": {"id": "z"}, "geometry": null}"#,
            &["zone \"z\": unknown key \"name\"; it belongs into \"properties\"", "the zone has no geometry"],
        ),
        (
            Kind::Zone,
            r#"{"type": "Feature", "id": "y", "properties": {"id": "z"}, "shape_m": {"centre": [0, 0], "radius": 0}}"#,
            &["\"id\" is not the property \"id\"", "radius is 0; it must lie above 0"],
        ),
        (
            Kind::Zone,
            r#"{"type": "Feature", "properties": {"id": "z"}, "shape_m": {"polygons": [[[[0, 0], [4, 4], [4, 0], [0, 4]]]]}}"#,
            &["zone \"z\": the outer ring crosses or touches itself at [2.00, 2.00]"],
        ),
    ];
    for (kind, text, wanted) in cases {
        let found = faults(kind, text);
        assert_eq!(found.len(), wanted.len(), "{text}: {found:#?}");
        for part in wanted {
            assert!(found.iter().any(|fault| fault.contains(part)), "{text}: {found:#?} has no {part}");
        }
    }
}

#[test]
fn two_shapes_that_differ_are_refused() {
    let registry = registry();
    let zone = &registry.zones()[1];
    let mut form = zone_json_with_shape(zone, registry.frame());
    form["shape_m"]["polygons"][0][0][0] = json!([-1.0, 0.0]);
    assert!(faults(Kind::Zone, &form.to_string())[0].contains("are both given, and are different shapes"));
}

#[test]
fn a_plan_keeps_what_is_known_of_its_picture() {
    let registry = registry();
    let full = json!({"ordinal": 0, "name": "G", "plan":
        {"media_type": "image/png", "width": 1200, "height": 800, "x": 0, "y": 25, "metres_per_pixel": 0.05}});
    let level = from_json(Kind::Level, &full.to_string(), &registry).unwrap().0;
    let next =
        registry.edited(&crate::registry::Edit { put: vec![level], ..crate::registry::Edit::default() }).unwrap();
    let moved = json!({"ordinal": 0, "plan": {"x": 1, "y": 2, "metres_per_pixel": 0.1, "bearing": 90}});
    let Record::Level(level) = from_json(Kind::Level, &moved.to_string(), &next).unwrap().0 else { unreachable!() };
    let plan = level.plan.unwrap();
    assert_eq!((plan.file.as_str(), plan.width, plan.height, plan.bearing), ("floor-0.png", 1200, 800, 90.0));
}

#[test]
fn what_is_stored_and_cannot_be_is_refused() {
    let registry = registry();
    let good = |record: &Record| (record.key().kind(), to_json(record, registry.frame()).to_string().into_bytes());
    let all = records(&registry);
    let faults = from_stored(all.iter().skip(1).map(good)).unwrap_err();
    assert!(faults.contains(&"no site is stored".to_owned()), "{faults:?}");
    let twice = all.iter().chain(&all[3..]).map(good);
    assert!(from_stored(twice).is_err());
    for (kind, text) in [
        (Kind::Beacon, r#"{"id":"b9"}"#),
        (
            Kind::Zone,
            r#"{"type":"Feature","properties":{"id":"z","name":"z","level":0,"labels":{},"metadata":{}},"geometry":{"type":"Polygon","coordinates":[[[0,0]]]}}"#,
        ),
        (
            Kind::Zone,
            r#"{"type":"Feature","properties":{"id":"z","name":"z","level":0,"labels":{},"metadata":{}},"geometry":null}"#,
        ),
        (Kind::Level, r#"{"ordinal":0,"name":"again","elevation":0,"outline":null,"plan":null}"#),
        (Kind::Site, "\u{fffd}"),
    ] {
        let with = all.iter().map(good).chain([(kind, text.as_bytes().to_vec())]);
        assert!(from_stored(with).is_err(), "{text}");
    }
}

#[test]
fn tags_are_strong_and_those_of_the_bytes() {
    let tag = etag(&json!({"id": "b1"}));
    assert_eq!(tag.len(), 18);
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    assert_eq!(tag, etag(&json!({"id": "b1"})));
    assert_ne!(tag, etag(&json!({"id": "b2"})));
}

#[test]
fn a_registry_of_many_records_is_restored_whole() {
    let base = registry();
    let mut stored: Vec<(Kind, Vec<u8>)> = Vec::new();
    let mut put =
        |record: Record| stored.push((record.key().kind(), to_json(&record, base.frame()).to_string().into_bytes()));
    records(&base).into_iter().take(2).for_each(&mut put);
    for number in 0..1_000_u32 {
        let x = f64::from(number % 100);
        let y = f64::from(number / 100);
        let ring = fixture::rectangle(x, y, x + 0.9, y + 0.9);
        let id = format!("zone-{number}");
        let zone = fixture::zone(&id, Shape::Polygons(vec![(ring, Vec::new())]), fixture::settings());
        put(Record::Zone(Arc::new(zone)));
    }
    for number in 0..2_000_u32 {
        let [.., a, b, c, d] = number.to_be_bytes();
        let device =
            json!({"id": format!("device-{number}"), "consent": ["marketing", "presence"], "labels": {"tier": "gold"}});
        put(from_json(Kind::Device, &device.to_string(), &base).unwrap().0);
        put(Record::Beacon(Arc::new(crate::registry::Beacon {
            id: crate::model::BeaconId::new(&format!("beacon-{number}")).unwrap(),
            identity: crate::registry::Identity::Mac([0xc0, 0, a, b, c, d]),
            device: Some(crate::model::DeviceId::new(&format!("device-{number}")).unwrap()),
            fixed: None,
            measured_power: None,
        })));
    }
    let restored = from_stored(stored.into_iter()).unwrap();
    // The zone of the whole site is always there.
    let found = (restored.zones().len(), restored.devices().len(), restored.beacons().len());
    assert_eq!(found, (1_001, 2_000, 2_000));
}
