//! A small site for tests: one level of 30 m by 10 m, zones `a` (x 0 to 10) and `b` (x 20 to 30), receivers `r1` and
//! `r2` in their middles, devices `d1` and `d2` with consent, `d3` without, a fixed beacon.

use super::{
    Beacon, Consent, Device, DeviceKind, KindMargins, Labels, Level, PresenceSettings, RadioDefaults, Receiver,
    Registry, Shape, Site, Zone,
};
use std::time::Duration;

use crate::model::{BeaconId, DeviceId, Frame, LatLon, LevelOrdinal, Point, Probability, ReceiverId, SiteId, ZoneId};

pub(crate) fn rectangle(x0: f64, y0: f64, x1: f64, y1: f64) -> Vec<Point> {
    vec![Point { x: x0, y: y0 }, Point { x: x1, y: y0 }, Point { x: x1, y: y1 }, Point { x: x0, y: y1 }]
}

pub(crate) fn site() -> Site {
    Site {
        id: SiteId::new("test").unwrap(),
        name: "Test".into(),
        time_zone: "Europe/Paris".into(),
        frame: Frame::new(LatLon { latitude: 48.8566, longitude: 2.3522 }, 0.0).unwrap(),
        levels: vec![Level {
            ordinal: LevelOrdinal(0),
            name: "Ground".into(),
            elevation: 0.0,
            outline: Some(rectangle(0.0, 0.0, 30.0, 10.0)),
            plan: None,
        }],
        radio: RadioDefaults::default(),
        margins: KindMargins::default(),
    }
}

pub(crate) fn zone(id: &str, shape: Shape, presence: PresenceSettings) -> Zone {
    Zone {
        id: ZoneId::new(id).unwrap(),
        name: id.to_uppercase(),
        level: Some(LevelOrdinal(0)),
        shape,
        labels: Labels::new(),
        metadata: serde_json::Map::new(),
        presence,
    }
}

/// Settings with holds that are easy to tell apart.
pub(crate) fn settings() -> PresenceSettings {
    PresenceSettings {
        enter_probability: Probability::saturating(0.6),
        enter_after: Duration::from_secs(3),
        exit_probability: Probability::saturating(0.3),
        exit_after: Duration::from_secs(10),
        ..PresenceSettings::default()
    }
}

fn receiver(id: &str, x: f64) -> Receiver {
    Receiver {
        id: ReceiverId::new(id).unwrap(),
        point: Point { x, y: 5.0 },
        z: 2.5,
        level: LevelOrdinal(0),
        rssi_offset: 0.0,
    }
}

fn device(id: &str, consent: &[&str]) -> Device {
    Device {
        id: DeviceId::new(id).unwrap(),
        kind: DeviceKind::Customer,
        consent: Consent(consent.iter().map(|purpose| (*purpose).to_owned()).collect()),
        labels: Labels::new(),
    }
}

fn beacon(id: &str, identity: &str, device: Option<&str>) -> Beacon {
    Beacon {
        id: BeaconId::new(id).unwrap(),
        identity: identity.parse().unwrap(),
        device: device.map(|id| DeviceId::new(id).unwrap()),
        fixed: None,
        measured_power: None,
    }
}

pub(crate) fn registry(presence: &PresenceSettings) -> Registry {
    let polygon = |x0, x1| Shape::Polygons(vec![(rectangle(x0, 0.0, x1, 10.0), Vec::new())]);
    Registry::new(
        site(),
        vec![receiver("r1", 5.0), receiver("r2", 25.0)],
        vec![zone("a", polygon(0.0, 10.0), presence.clone()), zone("b", polygon(20.0, 30.0), presence.clone())],
        vec![
            beacon("b1", "mac:C0:00:00:00:00:01", Some("d1")),
            beacon("b2", "mac:C0:00:00:00:00:02", Some("d2")),
            beacon("b3", "mac:C0:00:00:00:00:03", Some("d3")),
            beacon("f1", "mac:C0:00:00:00:00:0F", None),
        ],
        vec![device("d1", &["presence"]), device("d2", &["presence"]), device("d3", &[])],
    )
    .unwrap()
}
