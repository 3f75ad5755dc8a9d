//! `beaconfence run`, the whole binary, with position reports in place of a radio.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use beaconfence::config::load_site;
use beaconfence::model::{Point, Timestamp};
use serde_json::{Value, json};

use crate::mqtt_support::mosquitto::{Mosquitto, Subscriber, call};
use crate::mqtt_support::validate;

pub const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/store");

/// Ends with the test, however that ends.
pub struct Running(Child);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl std::ops::Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn gateway(dir: &Path, broker: &Mosquitto, version: &str) -> Running {
    gateway_of(dir, Path::new(STORE), broker, version)
}

/// A gateway that begins with that site directory.
pub fn gateway_of(dir: &Path, site: &Path, broker: &Mosquitto, version: &str) -> Running {
    let file = dir.join("gateway.toml");
    let text = format!(
        "id = \"gw-1\"\nsite = \"{}\"\ndata_dir = \"data\"\n\n[mqtt]\nbrokers = [\"mqtt://{}:{}\"]\n\
         version = \"{version}\"\nstatus_interval = \"1s\"\npublish_positions = true\n",
        site.display(),
        broker.host,
        broker.port
    );
    std::fs::write(&file, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["run", "--config", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

fn now() -> Timestamp {
    beaconfence::clock::wall_clock()
}

/// A report of a position in the site frame, as of now.
pub fn report(x: f64, y: f64) -> String {
    let registry = load_site(Path::new(STORE)).unwrap().0;
    let at = registry.frame().to_geodetic(Point { x, y });
    json!({"time": now().to_string(), "latitude": at.latitude, "longitude": at.longitude, "accuracy": 0.5, "level": 0})
        .to_string()
}

/// A point well inside the zone `bakery`.
pub fn bakery() -> (f64, f64) {
    let registry = load_site(Path::new(STORE)).unwrap().0;
    let zone = registry.zones().iter().find(|zone| zone.id.as_str() == "bakery").unwrap();
    let beaconfence::registry::Shape::Polygons(parts) = &zone.shape else { panic!("the bakery is a polygon") };
    let ring = &parts[0].0;
    let mean = |value: fn(&Point) -> f64| ring.iter().map(value).sum::<f64>() / ring.len() as f64;
    (mean(|p| p.x), mean(|p| p.y))
}

pub fn next(subscriber: &Subscriber, wanted: impl Fn(&str, &Value) -> bool) -> (String, Value) {
    loop {
        let line = subscriber.next();
        let value: Value = serde_json::from_slice(line.payload.as_bytes()).unwrap_or(Value::Null);
        if wanted(&line.topic, &value) {
            return (line.topic, value);
        }
    }
}

#[test]
fn a_reported_position_becomes_a_visit_over_both_versions() {
    for version in ["5", "3.1.1"] {
        let broker = Mosquitto::open();
        let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/#", &[]);
        let dir = tempfile::tempdir().unwrap();
        let mut gateway = gateway(dir.path(), &broker, version);
        let (_, status) = next(&subscriber, |topic, _| topic.ends_with("/gateways/gw-1/status"));
        validate("status", status.to_string().as_bytes());
        assert_eq!(status["state"], "online");

        let (x, y) = bakery();
        // The subscription may stand a little later than the status: what nobody hears is said again.
        let (mut entered, mut left) = (None, 20);
        while entered.is_none() && left > 0 {
            broker.publish("beaconfence/v1/market-hall/positions/shopper-01", &report(x, y), &[]);
            left -= 1;
            let (topic, event) = next(&subscriber, |topic, value| {
                topic.ends_with("/bakery/entered") || value["counters"]["position_reports"].is_number()
            });
            entered = topic.ends_with("/bakery/entered").then_some(event);
        }
        let entered = entered.expect("no visit to the bakery began");
        validate("presence-event", entered.to_string().as_bytes());
        assert_eq!(entered["subject"], "shopper-01");
        let (_, presence) = next(&subscriber, |topic, value| {
            topic.ends_with("/presence/shopper-01") && value["zones"].as_array().is_some_and(|zones| zones.len() == 2)
        });
        validate("presence", presence.to_string().as_bytes());

        broker.publish("beaconfence/v1/market-hall/positions/shopper-01", "{\"latitude\": 91}", &[]);
        broker.publish("beaconfence/v1/market-hall/positions/nobody", &report(x, y), &[]);
        next(&subscriber, |_, value| {
            value["counters"]["reports_refused"] == 1 && value["counters"]["unknown_devices"] == 1
        });

        call("kill", "procps", &["-TERM", &gateway.id().to_string()]);
        let (_, offline) = next(&subscriber, |topic, value| topic.ends_with("/status") && value["state"] == "offline");
        validate("status", offline.to_string().as_bytes());
        assert!(gateway.wait().unwrap().success(), "{version}");
    }
}

#[test]
fn a_gateway_that_is_killed_is_said_to_be_offline_by_the_broker() {
    let broker = Mosquitto::open();
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/+/gateways/#", &[]);
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = gateway(dir.path(), &broker, "5");
    next(&subscriber, |_, value| value["state"] == "online");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    next(&subscriber, |_, value| value["state"] == "offline");
}

/// What `beaconfence outbox` prints, by the first word or two of each line.
fn outbox(dir: &Path) -> std::collections::BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["outbox", "--config", dir.join("gateway.toml").to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| (line[..14].trim().to_owned(), line[14..].trim().to_owned())).collect()
}

#[test]
fn a_gateway_that_is_killed_goes_on_with_its_visits_and_what_no_broker_took() {
    let mut broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let topic = "beaconfence/v1/market-hall/positions/shopper-01";
    let (x, y) = bakery();
    let mut first = gateway(dir.path(), &broker, "5");
    let presence = {
        let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/#", &[]);
        next(&subscriber, |topic, value| topic.ends_with("/status") && value["state"] == "online");
        let mut left = 20;
        while left > 0 && outbox(dir.path())["acknowledged"] == "0" {
            broker.publish(topic, &report(x, y), &[]);
            std::thread::sleep(std::time::Duration::from_millis(200));
            left -= 1;
        }
        let presence = next(&subscriber, |topic, value| {
            topic.ends_with("/presence/shopper-01") && value["zones"].as_array().is_some_and(|zones| zones.len() == 2)
        });
        next(&subscriber, |_, value| value["counters"]["events_acknowledged"] == 2);
        presence.1
    };
    let running = outbox(dir.path());
    assert_eq!((running["gateway"].as_str(), running["parked"].as_str()), ("running", "0"));
    broker.stop();
    first.kill().unwrap();
    first.wait().unwrap();

    let stopped = outbox(dir.path());
    assert_eq!(stopped["gateway"], "not running");
    assert_eq!(stopped["epoch"], format!("{}, next sequence 2", presence["epoch"].as_str().unwrap()));
    broker.start();
    let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/#", &[]);
    let mut second = gateway(dir.path(), &broker, "5");
    let (_, restored) = next(&subscriber, |topic, value| {
        // What was acknowledged in the last second may be published once more.
        let visit = &value["data"]["visit_id"];
        let known = presence["zones"].as_array().unwrap().iter().any(|zone| zone["visit_id"] == *visit);
        assert!(!topic.ends_with("/entered") || known, "a second visit began: {topic} {value}");
        topic.ends_with("/presence/shopper-01") && value["zones"].as_array().is_some_and(|zones| zones.len() == 2)
    });
    assert_eq!((&restored["zones"], &restored["epoch"]), (&presence["zones"], &presence["epoch"]));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn the_outbox_of_nobody_is_an_error_that_says_where_it_looked() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = gateway(dir.path(), &broker, "5");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let _ = std::fs::remove_dir_all(dir.path().join("data"));
    let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["outbox", "--config", dir.path().join("gateway.toml").to_str().unwrap()])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("data"), "{words}");
    assert!(!dir.path().join("data").exists(), "looking makes nothing");
}

#[test]
fn sightings_that_can_never_come_are_an_error() {
    let broker = Mosquitto::open();
    let dir = tempfile::tempdir().unwrap();
    drop(gateway(dir.path(), &broker, "5"));
    let config = dir.path().join("gateway.toml");
    for (path, words) in [(dir.path().join("nope"), "mkfifo"), (dir.path().to_owned(), "it is a directory")] {
        let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
            .args(["run", "--config", config.to_str().unwrap(), "--sightings", path.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words) && said.contains(path.to_str().unwrap()), "{said}");
    }
}
