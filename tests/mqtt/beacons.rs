//! How beacons fare, as subscribers see it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use beaconfence::advert::{Address, Advertisement, AdvertisingData, full_uuid};
use beaconfence::config::MqttVersion;
use beaconfence::engine::{Engine, Input};
use beaconfence::gateway::Outlet;
use beaconfence::model::{Rssi, Timestamp};
use beaconfence::registry::{Edit, Key};
use serde_json::Value;

use crate::gateway::{Running, STORE, next};
use crate::helpers::publisher;
use crate::mqtt_support::mosquitto::{Line, Mosquitto, Subscriber, call};
use crate::mqtt_support::{beacons, context, instant, validate};

const HEALTH: &str = "beaconfence/v1/store-1/beacons/door-1/health";

/// Heard with a battery of so many percent.
fn heard(at: Timestamp, percent: u8) -> Input {
    Input::Advertisement(Advertisement {
        time: at,
        receiver: "r1".parse().unwrap(),
        address: Some(Address { bytes: [0xC0, 0xFF, 0xEE, 0, 0, 1], random: Some(true) }),
        rssi: Rssi::new(-60.0).unwrap(),
        data: AdvertisingData { service_data: vec![(full_uuid(0x180f), vec![percent])], ..AdvertisingData::default() },
    })
}

fn put_all(engine: &mut Engine, outlet: &mut Outlet) {
    while let Some(output) = engine.poll_output() {
        let at = engine.now();
        outlet.put(output, at);
    }
}

/// The next value on the topic in that state.
fn until(subscriber: &Subscriber, state: &str) -> (Line, Value) {
    loop {
        let line = subscriber.next();
        let value: Value = serde_json::from_str(&line.payload).unwrap();
        validate("beacon-health", line.payload.as_bytes());
        assert_eq!(line.topic, HEALTH);
        if value["state"] == state {
            return (line, value);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_of_a_beacon_is_retained_changes_and_is_cleared_with_it() {
    let broker = Mosquitto::open();
    let watching = Subscriber::start(broker.host, broker.port, HEALTH, &[]);
    let mut outlet = Outlet::new(context(), publisher(&broker.config(MqttVersion::V5)), false);
    let mut engine = Engine::new(Arc::new(beacons::registry()), "e");
    let mut now = instant("2026-01-01T10:00:00.000Z");
    for minute in 0..10 {
        engine.handle(heard(now, if minute < 5 { 80 } else { 7 }), now);
        put_all(&mut engine, &mut outlet);
        if minute == 0 {
            assert_eq!(until(&watching, "ok").1["problems"], serde_json::json!([]));
        }
        now = now + Duration::from_secs(60);
    }
    let (_, low) = until(&watching, "low_battery");
    assert_eq!((&low["battery"]["percent"], &low["battery"]["low"]), (&7.into(), &true.into()), "{low}");
    engine.advance(now + Duration::from_secs(2 * 3_600));
    put_all(&mut engine, &mut outlet);
    let (line, missing) = until(&watching, "missing");
    assert!(!line.retained);
    assert_eq!(missing["problems"], serde_json::json!(["missing", "low_battery"]));
    assert_eq!(
        (&missing["since"], &missing["last_heard"]),
        (&"2026-01-01T11:09:00.000Z".into(), &"2026-01-01T10:09:00.000Z".into())
    );

    // Who comes later is told what is so.
    let late = Subscriber::start(broker.host, broker.port, HEALTH, &[]);
    assert!(until(&late, "missing").0.retained);

    let edit = Edit { remove: vec![Key::Beacon("door-1".parse().unwrap())], ..Edit::default() };
    let next = Arc::new(engine.registry().edited(&edit).unwrap());
    let prepared = engine.tables().prepare(next);
    assert!(engine.reconfigure(prepared, now + Duration::from_secs(3 * 3_600)));
    put_all(&mut engine, &mut outlet);
    for subscriber in [&watching, &late] {
        assert_eq!(subscriber.next().payload, "");
    }
    outlet.close(now, now, Duration::from_secs(5)).await;
    // Nothing is retained any more: the next that comes is what is published now.
    let last = Subscriber::start(broker.host, broker.port, HEALTH, &[]);
    broker.publish(HEALTH, "{}", &[]);
    assert_eq!(last.next().payload, "{}");
}

/// A gateway that hears what is written to it.
fn listening(dir: &Path, broker: &Mosquitto) -> Child {
    let file = dir.join("gateway.toml");
    let text = format!(
        "id = \"gw-1\"\nsite = \"{STORE}\"\ndata_dir = \"data\"\n\n[mqtt]\nbrokers = [\"mqtt://{}:{}\"]\n",
        broker.host, broker.port
    );
    std::fs::write(&file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["run", "--config", file.to_str().unwrap(), "--sightings", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_is_known_of_a_beacon_outlives_the_gateway_until_the_beacon_is_removed() {
    let mut broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let is_health = |topic: &str, value: &Value| topic.ends_with("/beacons/phone-01/health") && value.is_object();
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/market-hall/#", &[]);
    let mut first = listening(dir.path(), &broker);
    next(&subscriber, |topic, value| topic.ends_with("/status") && value["state"] == "online");
    let data = "02158f1c7d2e5a434b0e9d612c7be0a4f3d900010001c5";
    let line = format!(
        "{{\"time\":\"2026-01-01T10:00:00.000Z\",\"receiver\":\"ground-west\",\"rssi\":-60,\"manufacturer_data\":{{\"004c\":\"{data}\"}}}}\n"
    );
    first.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    let (_, said) = next(&subscriber, is_health);
    validate("beacon-health", said.to_string().as_bytes());
    assert_eq!((&said["state"], &said["device"]), (&"ok".into(), &"shopper-01".into()));
    call("kill", "procps", &["-TERM", &first.id().to_string()]);
    assert!(first.wait().unwrap().success());

    // A broker that knows nothing of it is told again, though nothing is heard.
    broker.stop();
    broker.start();
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/market-hall/#", &[]);
    let mut second = Running::from(listening(dir.path(), &broker));
    let (_, again) = next(&subscriber, is_health);
    assert_eq!((&again["last_heard"], &again["since"]), (&said["last_heard"], &said["since"]));
    let removed = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["beacon", "remove", "phone-01", "--config", dir.path().join("gateway.toml").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    next(&subscriber, |topic, value| topic.ends_with("/beacons/phone-01/health") && value.is_null());
    second.kill().unwrap();
}
