//! `run` with `[record]`, the whole binary: what it keeps can be replayed, survives a kill, and is erased.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot start a program has failed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_beaconfence");
const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/store");

struct Gateway {
    child: Child,
    sightings: Option<ChildStdin>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway that no broker answers, and that hears what is written to it.
fn start(dir: &Path, days: u32) -> Gateway {
    let file = dir.join("gateway.toml");
    let text = format!(
        "id = \"gw-1\"\nsite = \"store\"\n\n[mqtt]\nbrokers = [\"mqtt://127.0.0.1:9\"]\n\n[record]\ndays = {days}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(BIN)
        .args(["run", "--config", file.to_str().unwrap(), "--sightings", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sightings = child.stdin.take();
    let gateway = Gateway { child, sightings };
    // It is there for commands, so it is there for signals.
    let until = Instant::now() + Duration::from_secs(30);
    while !dir.join("data/api.sock").exists() {
        assert!(Instant::now() < until, "the gateway does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway
}

impl Gateway {
    fn hear(&mut self, lines: &str) {
        let sightings = self.sightings.as_mut().unwrap();
        sightings.write_all(lines.as_bytes()).unwrap();
        sightings.flush().unwrap();
    }

    fn stop(mut self) {
        self.sightings = None;
        // Time to take in what was written.
        std::thread::sleep(Duration::from_millis(500));
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success() && self.child.wait().unwrap().success());
    }
}

/// A store of its own, whose devices can be changed.
fn store(dir: &Path) {
    let store = dir.join("store");
    std::fs::create_dir(&store).unwrap();
    for entry in std::fs::read_dir(STORE).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), store.join(entry.file_name())).unwrap();
    }
}

fn sightings(dir: &Path) -> String {
    let out = dir.join("out");
    let out_text = out.to_str().unwrap();
    let output = beaconfence(&["simulate", "--site", STORE, "--out", out_text, "--duration", "5s", "--shoppers", "4"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(out.join("sightings.jsonl")).unwrap()
}

fn beaconfence(arguments: &[&str]) -> Output {
    Command::new(BIN).args(arguments).output().unwrap()
}

fn record(dir: &Path) -> PathBuf {
    dir.join("data/record")
}

/// The events of what was recorded.
fn replay(dir: &Path) -> String {
    let (record, store) = (record(dir), dir.join("store"));
    let output = beaconfence(&["replay", record.to_str().unwrap(), "--site", store.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(!notes.contains("not registered") && !notes.contains("without consent"), "{notes}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_a_gateway_hears_can_be_replayed_and_holds_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let heard = sightings(dir.path());
    let mut gateway = start(dir.path(), 7);
    gateway.hear(&heard);
    gateway.stop();
    let events = replay(dir.path());
    for shopper in ["shopper-01", "shopper-02", "shopper-03", "shopper-04"] {
        assert!(events.contains(&format!("\"subject\":\"{shopper}\"")), "{shopper}: {events}");
    }
    // Whose consent is gone is gone, and so is what was recorded where nothing is to be.
    let devices = dir.path().join("store/devices.csv");
    let text = std::fs::read_to_string(&devices).unwrap();
    let without: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("shopper-01,") { "shopper-01,,,customer".to_owned() } else { line.to_owned() })
        .collect();
    std::fs::write(&devices, without.join("\n")).unwrap();
    let mut gateway = start(dir.path(), 7);
    let (config, store) = (dir.path().join("gateway.toml"), dir.path().join("store"));
    let applied = beaconfence(&["apply", store.to_str().unwrap(), "--config", config.to_str().unwrap(), "--yes"]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    gateway.hear("\n");
    gateway.stop();
    let events = replay(dir.path());
    assert!(!events.contains("shopper-01") && events.contains("shopper-02"), "{events}");
    start(dir.path(), 0).stop();
    assert!(!record(dir.path()).exists());
}

#[test]
fn a_killed_gateway_leaves_what_was_written_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let heard = sightings(dir.path());
    let mut gateway = start(dir.path(), 7);
    gateway.hear(&heard);
    gateway.stop();
    let before = replay(dir.path());
    // Killed in the midst of writing: part of a member is there.
    let newest = std::fs::read_dir(record(dir.path()))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "gz"))
        .max()
        .unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let torn = [&bytes[..], &bytes[..bytes.len() / 2]].concat();
    std::fs::write(&newest, torn).unwrap();
    let gateway = start(dir.path(), 7);
    let until = Instant::now() + Duration::from_secs(20);
    while std::fs::metadata(&newest).unwrap().len() > bytes.len() as u64 {
        assert!(Instant::now() < until, "the torn end is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(gateway);
    assert_eq!(replay(dir.path()), before);
}
