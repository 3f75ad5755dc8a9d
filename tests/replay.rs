//! Simulated sightings through `replay`: the same bytes each time, and a prefix for a shortened file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot start a program has failed.

use std::path::Path;
use std::process::{Command, Output};

const BIN: &str = env!("CARGO_BIN_EXE_beaconfence");
const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/store");

fn beaconfence(arguments: &[&str]) -> Output {
    Command::new(BIN).args(arguments).output().unwrap()
}

fn replay(file: &Path, mode: &str) -> String {
    let output = beaconfence(&["replay", file.to_str().unwrap(), "--site", STORE, mode]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Simulates two minutes; gives the sightings file.
fn simulate(dir: &Path) -> std::path::PathBuf {
    simulate_for(dir, "2m")
}

fn simulate_for(dir: &Path, duration: &str) -> std::path::PathBuf {
    let out = dir.join("out");
    let arguments = [
        "simulate",
        "--site",
        STORE,
        "--out",
        out.to_str().unwrap(),
        "--duration",
        duration,
        "--seed",
        "5",
        "--shoppers",
        "12",
    ];
    let output = beaconfence(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out.join("sightings.jsonl")
}

#[test]
fn a_replay_repeats_byte_for_byte_and_a_shortened_file_gives_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate(dir.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for mode in ["--events", "--positions"] {
        let whole = replay(&file, mode);
        assert!(whole.lines().count() > 30, "{mode}: {whole}");
        assert_eq!(whole, replay(&file, mode), "{mode}");
        for share in [0.1, 0.5, 0.97] {
            let short = dir.path().join("short.jsonl");
            let cut = (lines.len() as f64 * share) as usize;
            std::fs::write(&short, lines[..cut].join("\n")).unwrap();
            let part = replay(&short, mode);
            assert!(!part.is_empty() && whole.starts_with(&part), "{mode} {share}");
        }
    }
}

#[test]
fn a_device_that_is_heard_has_a_position_every_second() {
    let dir = tempfile::tempdir().unwrap();
    let positions = replay(&simulate(dir.path()), "--positions");
    let mut last = std::collections::BTreeMap::<String, f64>::new();
    let (mut gaps, mut all) = (0, 0);
    for line in positions.lines() {
        let position: serde_json::Value = serde_json::from_str(line).unwrap();
        for field in ["x", "y", "level", "accuracy", "latitude", "longitude"] {
            assert!(position[field].is_number(), "{line}");
        }
        let time: jiff::Timestamp = position["time"].as_str().unwrap().parse().unwrap();
        let time = time.as_millisecond() as f64 / 1_000.0;
        if let Some(before) = last.insert(position["device"].as_str().unwrap().to_owned(), time) {
            all += 1;
            gaps += u32::from(time - before > 1.0);
        }
    }
    // At 5 advertisements a second and 20 % loss at each receiver, a second of silence is all but impossible.
    assert!(all > 2_000 && gaps == 0, "{gaps} of {all}");
}

#[test]
fn a_faulty_line_is_named_and_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate(dir.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(100, "{\"time\":\"yesterday\"}");
    let faulty = dir.path().join("faulty.jsonl");
    std::fs::write(&faulty, lines.join("\n")).unwrap();
    let output = beaconfence(&["replay", faulty.to_str().unwrap(), "--site", STORE]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("faulty.jsonl:101: "), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), replay(&file, "--events"));
}

fn site_with(dir: &Path, change: impl Fn(String) -> String) -> std::path::PathBuf {
    let site = dir.join("other");
    std::fs::create_dir(&site).unwrap();
    for entry in std::fs::read_dir(STORE).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let is_zones = entry.file_name() == "zones.geojson";
        std::fs::write(site.join(entry.file_name()), if is_zones { change(text) } else { text }).unwrap();
    }
    site
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn error(arguments: &[&str]) -> String {
    let output = beaconfence(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_files_and_a_directory_are_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate_for(dir.path(), "30s");
    let whole = replay(&file, "--events");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let parts = dir.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let (first, second) = lines.split_at(lines.len() / 2);
    // Their names are not in the order of their times.
    std::fs::write(parts.join("b.jsonl"), first.join("\n")).unwrap();
    std::fs::write(parts.join("a.jsonl"), second.join("\n")).unwrap();
    assert_eq!(replay(&parts, "--events"), whole);
    let (a, b) = (parts.join("a.jsonl"), parts.join("b.jsonl"));
    let both = beaconfence(&["replay", a.to_str().unwrap(), b.to_str().unwrap(), "--site", STORE]);
    assert_eq!(self::text(both), whole);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(error(&["replay", empty.to_str().unwrap(), "--site", STORE]).contains("holds no sightings file"));
}

#[test]
fn every_event_of_a_device_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate_for(dir.path(), "30s");
    let file = file.to_str().unwrap();
    let events = replay(Path::new(file), "--events");
    let of_device: Vec<serde_json::Value> =
        json_lines(&events).into_iter().filter(|event| event["subject"] == "shopper-01").collect();
    assert!(of_device.len() > 1, "{of_device:?}");
    let explain = |more: &[&str]| {
        let mut arguments = vec!["replay", file, "--site", STORE, "--explain", "shopper-01"];
        arguments.extend(more);
        text(beaconfence(&arguments))
    };
    let explained = json_lines(&explain(&["--json"]));
    let ids = |events: &[serde_json::Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&explained), ids(&of_device));
    for event in explained.iter().filter(|event| event["kind"] == "entered" && event["zone"] != "site") {
        let (course, settings) = (&event["probability"], &event["settings"]);
        assert!(course["min"].as_f64() >= settings["enter_probability"].as_f64(), "{event}");
        assert!(event["heard"][0]["count"].as_u64() > Some(0), "{event}");
    }
    let shown = explain(&[]);
    assert_eq!(shown.matches("    why ").count(), of_device.len(), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
}

#[test]
fn at_an_instant_it_is_said_why_nothing_more_has_happened() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate_for(dir.path(), "30s");
    let file = file.to_str().unwrap();
    let at = |device: &str, at: &str, more: &[&str]| {
        let mut arguments = vec!["replay", file, "--site", STORE, "--explain", device, "--at", at];
        arguments.extend(more);
        beaconfence(&arguments)
    };
    let events = replay(Path::new(file), "--events");
    let entered = json_lines(&events)
        .into_iter()
        .find(|event| event["type"] == "io.beaconfence.presence.entered" && event["data"]["zone"]["id"] != "site")
        .unwrap();
    let (device, zone) = (entered["subject"].as_str().unwrap(), &entered["data"]["zone"]["id"]);
    let observed: jiff::Timestamp = entered["data"]["observed_at"].as_str().unwrap().parse().unwrap();
    let in_between = format!("{:.3}", observed + jiff::SignedDuration::from_millis(700));
    let json = json_lines(&text(at(device, &in_between, &["--json"])));
    let found = json[0]["zones"].as_array().unwrap().iter().find(|found| found["zone"] == *zone).unwrap();
    assert_eq!(found["phase"], "entering", "{found}");
    let shown = text(at(device, &in_between, &[]));
    assert!(shown.contains("since 0.7 s of "), "{shown}");
    // Who is heard, and has not agreed.
    let guest = text(at("guest-01", "2026-01-01T10:00:25Z", &[]));
    assert!(guest.contains("has not given consent for presence"), "{guest}");
    assert!(guest.contains("were dropped for want of consent"), "{guest}");

    let error = |device, instant| {
        let output = at(device, instant, &[]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error("shopper-o1", &in_between).contains("did you mean \"shopper-01\"?"));
    assert!(
        error("shopper-01", "2026-01-01T09:00:00Z").contains("is before the recording, which begins at 2026-01-01T10")
    );
    assert!(error("shopper-01", "2026-01-02T09:00:00Z").contains("is after the recording, which goes from"));
    assert_eq!(beaconfence(&["replay", file, "--site", STORE, "--at", &in_between]).status.code(), Some(2));
}

#[test]
fn two_sites_are_compared_over_one_recording() {
    let dir = tempfile::tempdir().unwrap();
    let file = simulate_for(dir.path(), "30s");
    let file = file.to_str().unwrap();
    let same = text(beaconfence(&["replay", file, "--site", STORE, "--against", STORE]));
    assert!(same.contains("no event is lost, gained or moved"), "{same}");

    // A zone of another name is another zone: its events are lost under the one, and gained under the other.
    let other = site_with(dir.path(), |zones| zones.replace("\"id\": \"bakery\"", "\"id\": \"patisserie\""));
    let other = other.to_str().unwrap();
    let lines = json_lines(&text(beaconfence(&["replay", file, "--site", STORE, "--against", other, "--json"])));
    let (zones, changes): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["change"].is_null());
    let zone = |id: &str| *zones.iter().find(|line| line["zone"] == id).unwrap();
    let (old, new) = (zone("bakery"), zone("patisserie"));
    assert_eq!((&old["only_in"], &new["only_in"]), (&"A".into(), &"B".into()));
    assert!(old["in_a"].as_u64() > Some(0) && old["lost"] == old["in_a"] && old["in_b"] == 0, "{old}");
    assert_eq!((&new["gained"], &new["stay_in_b_s"]), (&old["lost"], &old["stay_in_a_s"]));
    assert_eq!(zone("site")["same"], zone("site")["in_a"]);
    assert_eq!(changes.len() as u64, 2 * old["lost"].as_u64().unwrap());

    let shown = text(beaconfence(&["replay", file, "--site", STORE, "--against", other, "--limit", "1"]));
    assert!(shown.contains("only in A: bakery\nonly in B: patisserie\n"), "{shown}");
    assert!(shown.contains(&format!("and {} more changes", changes.len() - 1)), "{shown}");
}

#[test]
fn a_site_that_has_none_of_the_receivers_cannot_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let line = r#"{"time":"2026-01-01T10:00:00.000Z","receiver":"elsewhere","rssi":-60}"#;
    let file = dir.path().join("f.jsonl");
    std::fs::write(&file, line).unwrap();
    let message = error(&["replay", file.to_str().unwrap(), "--site", STORE, "--against", STORE]);
    assert!(
        message.contains("none of the receivers of the recording, such as elsewhere; its receivers are"),
        "{message}"
    );
}
