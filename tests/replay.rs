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
    let out = dir.join("out");
    let arguments = [
        "simulate",
        "--site",
        STORE,
        "--out",
        out.to_str().unwrap(),
        "--duration",
        "2m",
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
