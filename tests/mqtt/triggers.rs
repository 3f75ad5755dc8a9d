//! Rules at work in the whole binary: what they make is published, kept over a kill, and explained.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Running, STORE, bakery, gateway_of, next, report};
use crate::mqtt_support::mosquitto::{Mosquitto, Subscriber};
use crate::mqtt_support::validate;

const RULES: &str = r#"
[attributes]
cart = "number"

[[trigger]]
id = "hello"
campaign = "onboarding"
when = { entered = "bakery" }
if = 'attributes.cart > 50'
unless = { caps = ["1 ever"] }
then = { channels = ["sms", "push"], card = true, data = { link = "{{ zone.metadata.deep_link }}" } }
"#;

/// The example store with these rules, whose visits end soon.
fn site(dir: &Path) -> std::path::PathBuf {
    let site = dir.join("site");
    std::fs::create_dir(&site).unwrap();
    for entry in std::fs::read_dir(STORE).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), site.join(entry.file_name())).unwrap();
    }
    std::fs::write(site.join("triggers.toml"), RULES).unwrap();
    let zones = std::fs::read_to_string(site.join("zones.geojson")).unwrap();
    let mut zones: Value = serde_json::from_str(&zones).unwrap();
    let features = zones["features"].as_array_mut().unwrap();
    for zone in features.iter_mut() {
        zone["properties"]["lost_after"] = json!("3s");
    }
    features.push(json!({"type": "Feature", "properties": {"id": "site", "lost_after": "3s"}, "geometry": null}));
    std::fs::write(site.join("zones.geojson"), zones.to_string()).unwrap();
    site
}

fn why(dir: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["trigger", "why", "shopper-03", "--json", "--config", dir.join("gateway.toml").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Reports until the device has entered the bakery; everything before is passed over.
fn enter(broker: &Mosquitto, subscriber: &Subscriber) -> Value {
    let (x, y) = bakery();
    for _ in 0..40 {
        broker.publish("beaconfence/v1/market-hall/positions/shopper-03", &report(x, y), &[]);
        let (topic, event) = next(subscriber, |topic, value| {
            topic.ends_with("/bakery/entered") || value["counters"]["position_reports"].is_number()
        });
        if topic.ends_with("/bakery/entered") {
            return event;
        }
    }
    panic!("no visit to the bakery began");
}

fn start(dir: &Path, site: &Path, broker: &Mosquitto, subscriber: &Subscriber) -> Running {
    let running = gateway_of(dir, site, broker, "5");
    next(subscriber, |topic, value| topic.ends_with("/status") && value["state"] == "online");
    running
}

#[test]
fn a_rule_fires_once_for_whom_the_back_end_says_and_a_kill_changes_nothing() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path());
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/market-hall/#", &[]);
    let mut first = start(dir.path(), &site, &broker, &subscriber);

    // Registered with nothing but presence: the back end says that push may be used, and what is in the cart.
    let attributes = "beaconfence/v1/market-hall/devices/shopper-03/attributes";
    let facts = json!({"cart": 62.5, "colour": "red", "consent": ["presence", "marketing:push"]}).to_string();
    next(&subscriber, |_, value| value["counters"]["facts"] == 0);
    while next(&subscriber, |_, value| value["counters"]["facts"].is_number()).1["counters"]["facts"] == 0 {
        broker.publish(attributes, &facts, &["-r"]);
    }
    let entered = enter(&broker, &subscriber);
    let (topic, trigger) = next(&subscriber, |topic, _| topic.contains("/triggers/") || topic.contains("/cards/"));
    let (other_topic, other) = next(&subscriber, |topic, _| topic.contains("/triggers/") || topic.contains("/cards/"));
    let mut topics = [topic, other_topic];
    topics.sort_unstable();
    assert_eq!(
        topics,
        ["beaconfence/v1/market-hall/cards/shopper-03/hello", "beaconfence/v1/market-hall/triggers/hello"]
    );
    assert_eq!(trigger, other);
    validate("trigger", trigger.to_string().as_bytes());
    let data = &trigger["data"];
    assert_eq!(data["channels"], json!(["push"]));
    assert_eq!(data["data"], json!({"link": "app://store/bakery"}));
    assert_eq!(data["cause"], json!([entered["id"]]));
    assert_eq!(data["facts"]["attributes"], json!({"cart": 62.5}));
    assert_eq!(data["sequence"].as_u64(), entered["data"]["sequence"].as_u64().map(|sequence| sequence + 1));

    first.kill().unwrap();
    first.wait().unwrap();
    // The card stays with the broker; the visit goes on, or ends, and the card with it.
    let mut second = start(dir.path(), &site, &broker, &subscriber);
    next(&subscriber, |topic, value| topic.ends_with("/cards/shopper-03/hello") && value.is_null());
    enter(&broker, &subscriber);
    let (_, status) = next(&subscriber, |topic, value| {
        assert!(!topic.contains("/triggers/"), "it fired again: {value}");
        value["counters"]["triggers_cap"] == 1
    });
    validate("status", status.to_string().as_bytes());
    let decisions = why(dir.path());
    let outcomes: Vec<&str> =
        decisions.as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["cap", "fired"], "{decisions}");
    second.kill().unwrap();
    second.wait().unwrap();
}

fn beaconfence(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(args)
        .args(["--config", dir.join("gateway.toml").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn consent(dir: &Path) -> Value {
    let device: Value = serde_json::from_str(&beaconfence(dir, &["device", "show", "shopper-03", "--json"])).unwrap();
    device["consent"].clone()
}

/// Waits until a gateway has taken in facts, and for their effect.
fn facts_taken_in(subscriber: &Subscriber, times: u64) {
    next(subscriber, |_, value| value["counters"]["facts"].as_u64() >= Some(times));
    std::thread::sleep(std::time::Duration::from_secs(1));
}

#[test]
fn what_a_broker_remembers_brings_no_consent_back_that_was_withdrawn_since() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path());
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/market-hall/#", &[]);
    let topic = "beaconfence/v1/market-hall/devices/shopper-03/attributes";
    // Said before the gateway was there: nothing else is known.
    broker.publish(topic, r#"{"cart":1,"consent":["presence","marketing"]}"#, &["-r"]);
    let mut first = start(dir.path(), &site, &broker, &subscriber);
    facts_taken_in(&subscriber, 1);
    assert_eq!(consent(dir.path()), json!(["marketing", "presence"]));
    beaconfence(dir.path(), &["device", "add", "shopper-03", "--change", "--consent", ""]);
    assert_eq!(consent(dir.path()), json!([]));
    first.kill().unwrap();
    first.wait().unwrap();

    let mut second = start(dir.path(), &site, &broker, &subscriber);
    facts_taken_in(&subscriber, 1);
    assert_eq!(consent(dir.path()), json!([]));
    // Said anew it counts, though the words are the same; and what is said with it is kept from then on.
    broker.publish(topic, r#"{"cart":70,"consent":["presence","marketing"]}"#, &["-r"]);
    facts_taken_in(&subscriber, 2);
    assert_eq!(consent(dir.path()), json!(["marketing", "presence"]));
    enter(&broker, &subscriber);
    let (_, trigger) = next(&subscriber, |topic, _| topic.contains("/triggers/"));
    assert_eq!(trigger["data"]["facts"]["attributes"], json!({"cart": 70}));
    second.kill().unwrap();
    second.wait().unwrap();
}
