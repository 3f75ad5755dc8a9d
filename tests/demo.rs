//! The demo as a newcomer runs it, with a real MQTT client beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot start a program has failed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_beaconfence");

fn demo(arguments: &[&str]) -> Child {
    Command::new(BIN).arg("demo").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = demo(arguments).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The port that the header names.
fn port(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("mosquitto_sub")).unwrap().unwrap();
    // Read on, so that the demo never blocks on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let mut words = line.split_whitespace();
    words.find(|word| *word == "-p").unwrap();
    words.next().unwrap().to_owned()
}

#[test]
fn the_same_seed_prints_the_same_lines_at_any_speed() {
    let fast = stdout(&["--duration", "60s", "--seed", "1", "--speed", "100000"]);
    let slower = stdout(&["--duration", "60s", "--seed", "1", "--speed", "60"]);
    assert_eq!(fast, slower);
    assert_ne!(fast, stdout(&["--duration", "60s", "--seed", "2", "--speed", "100000"]));
    let readme = include_str!("../README.md");
    let shown: Vec<&str> = readme.lines().filter(|line| line.starts_with("00:00:")).collect();
    assert!(
        shown.len() > 5 && shown.iter().all(|line| fast.lines().any(|printed| printed == *line)),
        "README: {shown:#?}"
    );
    for word in ["  entered  ", "  dwelled  ", "  exited   "] {
        assert!(fast.contains(word), "{word} is missing");
    }
    let first = fast.lines().next().unwrap();
    assert!(first.starts_with("00:00:") && first[6..10].parse::<f64>().unwrap() < 15.0, "{first}");
}

#[test]
fn a_real_client_on_the_named_port_sees_valid_cloud_events() {
    let mut demo = demo(&["--duration", "60s", "--speed", "10", "--quiet"]);
    let port = port(&mut demo);
    let mut client = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-v", "-W", "60", "-t", "beaconfence/v1/#"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub is needed: install the package mosquitto-clients");
    // Read on while it runs: a client whose pipe is full stops listening.
    let mut stdout = client.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    assert!(demo.wait().unwrap().success());
    // SIGTERM, not SIGKILL: the client must write out what it has.
    assert!(Command::new("kill").arg(client.id().to_string()).status().unwrap().success());
    client.wait().unwrap();
    let text = reader.join().unwrap().unwrap();

    let schema =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/presence-event.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for line in text.lines() {
        let (topic, payload) = line.split_once(' ').unwrap();
        if topic.contains("/events/") {
            let event: serde_json::Value = serde_json::from_str(payload).unwrap();
            assert!(schema.is_valid(&event), "{payload}");
            assert_eq!(event["specversion"], "1.0");
            *kinds.entry(topic.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    for kind in ["entered", "dwelled", "exited"] {
        assert!(kinds.get(kind).is_some_and(|count| *count > 5), "{kinds:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_stops_it_in_good_order() {
    for signal in ["INT", "TERM"] {
        let mut demo = demo(&["--speed", "5"]);
        port(&mut demo);
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        assert!(Command::new("kill").args(["-s", signal, &demo.id().to_string()]).status().unwrap().success());
        let output = demo.wait_with_output().unwrap();
        assert!(output.status.success(), "{signal}");
        // The promise is 5 s; the test waits longer, since machines that run tests are busy.
        assert!(asked.elapsed() < Duration::from_secs(30), "{signal}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("(stopped)") && text.contains("all zones"), "{signal}");
    }
}
