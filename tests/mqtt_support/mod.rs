//! What the tests of the MQTT side share.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod beacons;
pub mod mosquitto;
pub mod shelf;

use std::sync::Arc;

use beaconfence::model::{Frame, LatLon, LevelOrdinal, Timestamp};
use beaconfence::mqtt::wire::Context;
use beaconfence::presence::{Event, EventKind};
use beaconfence::registry::{Consent, Device, DeviceKind, Labels, PresenceSettings, Shape, Zone};

pub fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn context() -> Context {
    Context {
        site: "store-1".parse().unwrap(),
        gateway: "gw-1".parse().unwrap(),
        epoch: "01JGFJJZ00".to_owned(),
        frame: Frame::new(LatLon { latitude: 48.8566, longitude: 2.3522 }, 0.0).unwrap(),
        xdm: false,
    }
}

pub fn zone(id: &str) -> Zone {
    Zone {
        id: id.parse().unwrap(),
        name: "Front door".to_owned(),
        level: Some(LevelOrdinal(0)),
        shape: Shape::Site,
        labels: Labels::from([("area".to_owned(), "front".to_owned())]),
        metadata: serde_json::from_str(r#"{"z":1,"a":{"campaign":"spring"}}"#).unwrap(),
        presence: PresenceSettings::default(),
    }
}

pub fn device(id: &str) -> Device {
    Device {
        id: id.parse().unwrap(),
        kind: DeviceKind::Customer,
        consent: Consent(vec!["presence".to_owned()]),
        labels: Labels::from([("tier".to_owned(), "gold".to_owned())]),
    }
}

pub fn entered(sequence: u64, device: &Device, zone: &Zone) -> Event {
    Event {
        id: uuid::Uuid::from_u128(0x1000 + u128::from(sequence)),
        kind: EventKind::Entered,
        sequence,
        zone: Arc::new(zone.clone()),
        device: Arc::new(device.clone()),
        visit_id: uuid::Uuid::from_u128(7),
        visit_sequence: 0,
        observed_at: instant("2026-01-01T10:00:00.000Z"),
        decided_at: instant("2026-01-01T10:00:03.000Z"),
        position: None,
        confidence: None,
        initial: false,
        threshold: None,
        duration: None,
        reason: None,
        held: false,
        suspect: false,
    }
}

fn validator(schema: &str) -> jsonschema::Validator {
    let path = format!("{}/docs/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

pub fn is_valid(schema: &str, payload: &[u8]) -> bool {
    validator(schema).is_valid(&serde_json::from_slice(payload).unwrap())
}

pub fn validate(schema: &str, payload: &[u8]) {
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
    let errors: Vec<_> =
        validator(schema).iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{schema}: {errors:?} in {value}");
}
