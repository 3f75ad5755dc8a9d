//! Asking for stored events again.

use std::sync::Arc;

use beaconfence::config::MqttVersion;
use beaconfence::mqtt::{Inbound, Publisher};
use beaconfence::store::{Class, Entry};
use serde_json::{Value, json};

use crate::helpers::{BOTH, settings, wait};
use crate::mqtt_support::mosquitto::{Mosquitto, Subscriber, eventually};
use crate::mqtt_support::shelf::Shelf;
use crate::mqtt_support::{context, validate};

const ASK: &str = "beaconfence/v1/store-1/gateways/gw-1/replay";
const ANSWERS: &str = "beaconfence/v1/store-1/replays/crm";

struct Scene {
    broker: Mosquitto,
    shelf: Arc<Shelf>,
    entries: Vec<Entry>,
    publisher: Publisher,
    inbound: Inbound,
}

/// A gateway that has delivered `count` events and stores them.
fn scene(version: MqttVersion, count: u64) -> Scene {
    let broker = Mosquitto::open();
    let shelf = Arc::new(Shelf::default());
    let made = beaconfence::clock::wall_clock();
    let entries = (0..count).map(|at| shelf.add(at, 7, Class::Event, made)).collect();
    let publisher = shelf.publisher(&broker.config(version), count);
    let context = context();
    let (inbound, reports) =
        Inbound::start(settings(&broker.config(version)), &context.site, &context.gateway, Some(publisher.replays()));
    std::mem::forget(reports);
    eventually("the subscription", || inbound.status().connected.then_some(()));
    Scene { broker, shelf, entries, publisher, inbound }
}

impl Scene {
    fn subscribe(&self) -> Subscriber {
        Subscriber::start(self.broker.host, self.broker.port, &format!("{ANSWERS}/#"), &["-V", "mqttv5"])
    }

    fn ask(&self, request: &Value) {
        validate("replay-request", request.to_string().as_bytes());
        self.broker.publish(ASK, &request.to_string(), &[]);
    }
}

/// The answers, and the last word.
fn answers(subscriber: &Subscriber) -> (Vec<String>, Value) {
    let mut all = Vec::new();
    loop {
        let line = subscriber.next();
        assert!(!line.retained);
        if line.topic.ends_with("/done") {
            validate("replay-done", line.payload.as_bytes());
            return (all, serde_json::from_str(&line.payload).unwrap());
        }
        assert_eq!(line.topic, ANSWERS);
        all.push(line.payload);
    }
}

fn payloads(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stored_bytes_come_again_in_order_and_then_the_word_that_this_was_all() {
    for version in BOTH {
        let scene = scene(version, 1_000);
        let subscriber = scene.subscribe();
        for gone in (0..10).chain(500..600) {
            scene.shelf.remove(gone);
        }
        scene.ask(&json!({"from": 5, "to": 2_000, "reply_to": "store-1/replays/crm", "epoch": context().epoch}));
        let (got, done) = answers(&subscriber);
        assert_eq!(got, payloads(&[&scene.entries[10..500], &scene.entries[600..]].concat()));
        let expected = json!({
            "schema_version": 1, "site": "store-1", "gateway": "gw-1", "epoch": context().epoch, "from": 5, "to": 2_000,
            "answered": 890, "missing": [[5, 9], [500, 599]], "complete": true, "next_sequence": 1_000
        });
        assert_eq!(done, expected);
        let status = wait(&scene.publisher, "the count", |status| status.replays_answered == 1);
        assert_eq!((status.replays_failed, status.acknowledged, status.queued), (0, 0, 0), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_range_is_answered_in_parts_and_another_epoch_not_at_all() {
    let scene = scene(MqttVersion::V5, 10_500);
    let subscriber = scene.subscribe();
    scene.ask(&json!({"from": 0, "to": 10_499, "reply_to": "store-1/replays/crm"}));
    let (got, done) = answers(&subscriber);
    assert_eq!((got.len(), &done["complete"], &done["next"]), (10_000, &json!(false), &json!(10_000)));
    scene.ask(&json!({"from": 10_000, "to": 10_499, "reply_to": "store-1/replays/crm"}));
    let (got, done) = answers(&subscriber);
    assert_eq!((got, &done["complete"]), (payloads(&scene.entries[10_000..]), &json!(true)));
    scene.ask(&json!({"from": 0, "to": 9, "reply_to": "store-1/replays/crm", "epoch": "another"}));
    let (got, done) = answers(&subscriber);
    assert_eq!((got.len(), &done["complete"], &done["error"]), (0, &json!(false), &json!("other_epoch")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_and_counted_and_nothing_is_published_elsewhere() {
    let scene = scene(MqttVersion::V5, 10);
    let all = Subscriber::start(scene.broker.host, scene.broker.port, "#", &[]);
    for payload in [
        "nonsense",
        r#"{"from":0,"to":9,"reply_to":"store-1/events/door/entered"}"#,
        r#"{"from":0,"to":9,"reply_to":"store-2/replays/crm"}"#,
        r#"{"from":0,"to":9,"reply_to":"store-1/replays/a/b"}"#,
        r#"{"from":9,"to":0,"reply_to":"store-1/replays/crm"}"#,
    ] {
        scene.broker.publish(ASK, payload, &[]);
    }
    eventually("the refusals", || (scene.inbound.status().replays_refused == 5).then_some(()));
    scene.ask(&json!({"from": 0, "to": 9, "reply_to": "store-1/replays/crm"}));
    let mut answered = 0;
    while answered < 11 {
        let line = all.next();
        answered += usize::from(line.topic.starts_with(ANSWERS));
        assert!(line.topic.starts_with(ANSWERS) || line.topic == ASK, "{line:?}");
    }
    assert_eq!(scene.inbound.status().replays, 1);
    assert!(scene.inbound.status().refused.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_requests_wait_and_live_events_go_on_while_they_are_answered() {
    let scene = scene(MqttVersion::V5, 10_000);
    let subscriber = scene.subscribe();
    let replays = scene.publisher.replays();
    let request = beaconfence::mqtt::wire::ReplayRequest {
        from: 0,
        to: 9_999,
        reply_to: "store-1/replays/crm".to_owned(),
        epoch: None,
    };
    let taken = (0..20).filter(|_| replays.ask(request.clone()).is_ok()).count();
    assert!((8..=9).contains(&taken), "{taken}");
    let made = beaconfence::clock::wall_clock();
    for sequence in 10_000..15_000 {
        scene.publisher.queue(vec![scene.shelf.add(sequence, 500, Class::Event, made)]);
    }
    wait(&scene.publisher, "the live events", |status| status.acknowledged == 5_000);
    assert!(scene.publisher.status().replays_answered < taken as u64);
    for _ in 0..taken {
        let (got, done) = answers(&subscriber);
        assert_eq!((got.len(), &done["complete"]), (10_000, &json!(true)));
    }
    wait(&scene.publisher, "the count", |status| status.replays_answered == taken as u64);
}
