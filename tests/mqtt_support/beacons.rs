//! A store with one fixed beacon, and what happens to it.

use std::time::Duration;

use beaconfence::advert::AdvertisingData;
use beaconfence::health::{Beacons, Heard};
use beaconfence::model::{LevelOrdinal, Point, Rssi};
use beaconfence::registry::{
    Beacon, BeaconIndex, KindMargins, Level, RadioDefaults, Receiver, ReceiverIndex, Registry, Site,
};

use super::{context, instant};

/// `store-1` with receiver `r1` and beacon `door-1`.
pub fn registry() -> Registry {
    let level = Level { ordinal: LevelOrdinal(0), name: "0".to_owned(), elevation: 0.0, outline: None, plan: None };
    let site = Site {
        id: context().site,
        name: "Store".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
        frame: context().frame,
        levels: vec![level],
        radio: RadioDefaults::default(),
        margins: KindMargins::default(),
    };
    let point = Point { x: 1.0, y: 2.0 };
    let receiver = Receiver { id: "r1".parse().unwrap(), point, z: 2.5, level: LevelOrdinal(0), rssi_offset: 0.0 };
    let beacon = Beacon {
        id: "door-1".parse().unwrap(),
        identity: "mac:C0:FF:EE:00:00:01".parse().unwrap(),
        device: None,
        fixed: Some((point, LevelOrdinal(0))),
        measured_power: None,
    };
    Registry::new(site, vec![receiver], vec![], vec![beacon], vec![]).unwrap()
}

/// The beacon is heard for ten minutes, and then no more, if it is to be `missing`.
pub fn story(beacons: &mut Beacons, end: &str) {
    let mut now = instant("2026-01-01T10:00:00.000Z");
    for _ in 0..60 {
        let heard = Heard { time: now, address: None, data: &AdvertisingData::default() };
        beacons.heard(BeaconIndex(0), ReceiverIndex(0), Rssi::new(-60.0).unwrap(), &heard, now);
        now = now + Duration::from_secs(10);
    }
    if end == "missing" {
        while let Some(due) = beacons.next_deadline() {
            beacons.advance(due);
        }
    }
}
