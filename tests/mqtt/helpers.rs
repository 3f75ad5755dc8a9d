//! A publisher, and what it is to say.

use std::collections::{BTreeMap, BTreeSet};

use beaconfence::config::{MqttConfig, MqttVersion};
use beaconfence::mqtt::wire::{self, Message, Status};
use beaconfence::mqtt::{Limits, Publisher, PublisherStatus, Settings, client_id};

use crate::mqtt_support::mosquitto::{Subscriber, eventually};
use crate::mqtt_support::{context, device, entered, instant, zone};

pub const BOTH: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];
pub const EVENTS: &str = "beaconfence/v1/store-1/events/#";
pub const STATUS: &str = "beaconfence/v1/store-1/gateways/gw-1/status";

pub fn settings(config: &MqttConfig) -> Settings {
    let context = context();
    Settings::new(config, client_id(&context.site, &context.gateway)).unwrap()
}

pub fn offline() -> Message {
    Status::offline(instant("2026-01-01T09:00:00.000Z")).message(&context()).unwrap()
}

pub fn online() -> Message {
    Status::online(instant("2026-01-01T09:00:00.000Z")).message(&context()).unwrap()
}

pub fn publisher(config: &MqttConfig) -> Publisher {
    Publisher::start(settings(config), offline(), Limits::default(), None)
}

/// An event of device `d{sequence % devices}`.
pub fn publish(publisher: &Publisher, sequence: u64, devices: u64) -> Message {
    let device = device(&format!("d{}", sequence % devices));
    let message = wire::event(&context(), &entered(sequence, &device, &zone("door"))).unwrap();
    publisher.event(&device.id, message.clone());
    message
}

pub fn wait(publisher: &Publisher, what: &str, holds: impl Fn(&PublisherStatus) -> bool) -> PublisherStatus {
    eventually(what, || {
        let status = publisher.status();
        let found = holds(&status).then_some(status);
        if found.is_none() && std::env::var_os("BEACONFENCE_TEST_VERBOSE").is_some() {
            eprintln!("{:?}", publisher.status());
        }
        found
    })
}

/// Receives until every sequence below `count` has come; checks the schema and that the order of each device is kept,
/// where a repetition does not count.
pub fn receive_all(subscriber: &Subscriber, count: u64) -> usize {
    let (mut seen, mut last, mut lines) = (BTreeSet::new(), BTreeMap::new(), 0);
    while (seen.len() as u64) < count {
        let line = subscriber.next();
        lines += 1;
        let event: serde_json::Value = serde_json::from_str(&line.payload).unwrap();
        let sequence = event["data"]["sequence"].as_u64().unwrap();
        let device = event["subject"].as_str().unwrap().to_owned();
        if seen.insert(sequence)
            && let Some(before) = last.insert(device, sequence)
        {
            assert!(before < sequence, "{sequence} after {before}");
        }
    }
    lines
}
