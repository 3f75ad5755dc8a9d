//! A backup of a large database takes no memory, and keeps nobody waiting.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use beaconfence::model::{DeviceId, SiteId, Timestamp};
use beaconfence::store::{Batch, Class, Entry, Head, Limits, Options, Settled, Store};

use crate::gateway::{Gateway, PROGRAM};

/// Events of 4 kB that cannot be compressed.
const EVENTS: u64 = 8_000;
const SIZE: usize = 4_000;
/// What may be taken in memory, whatever the size of the database: its cache, and buffers.
const MOST: u64 = 20 << 20;

fn fill(dir: &Path, now: Timestamp) {
    let day = Duration::from_secs(86_400);
    let limits = Limits { max_age: day, max_bytes: 1 << 30, tail_age: day, tail_bytes: 1 << 30, memory_bytes: 1 << 30 };
    let site = SiteId::new("market-hall").unwrap();
    let options = Options { dir: dir.to_owned(), site, limits, dictionary: Vec::new(), now };
    let opened = Store::open(options).unwrap();
    opened.store.start(|_| ());
    let (mut noise, device) = (0x9E37_79B9_7F4A_7C15_u64, DeviceId::new("shopper-01").unwrap());
    let mut payload = || {
        let bytes = (0..SIZE).map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        });
        bytes.collect::<Vec<u8>>()
    };
    for from in (0..EVENTS).step_by(500) {
        let entries = (from..from + 500).map(|sequence| Entry {
            sequence,
            device: device.clone(),
            class: Class::Event,
            made: now,
            topic: "market-hall/events/door/entered".to_owned(),
            payload: payload().into(),
        });
        let head = Some(Head { sequence: from + 500, ..opened.head.clone() });
        opened.store.write(Batch { entries: entries.collect(), head, ..Batch::default() });
        (from..from + 500).for_each(|sequence| opened.store.settle(sequence, Settled::Acknowledged));
    }
    assert_eq!(opened.store.close(Duration::from_secs(120)), 0);
}

/// Anonymous memory of a process, in bytes; none where it is gone.
fn memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
fn a_large_backup_takes_no_memory_and_keeps_no_change_waiting() {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.stop();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    fill(&gateway.data(), Timestamp::from_millis(now.as_millis() as i64));
    let size = std::fs::metadata(gateway.data().join("beaconfence.redb")).unwrap().len();
    assert!(size > EVENTS * SIZE as u64, "the database has only {size} bytes");
    gateway.start();
    let change = |at: u32| {
        let begun = Instant::now();
        gateway.out(&["zone", "add", &format!("zone-{at}"), "--level", "0", "--circle", "5,5 2"]);
        begun.elapsed()
    };
    let alone = (0..3).map(change).max().unwrap();
    let before = memory(gateway.process()).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["backup", "--output", "large.zip"])
        .current_dir(gateway.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut peak, mut taken, mut slowest, mut changes) = (before, 0, Duration::ZERO, 0);
    while child.try_wait().unwrap().is_none() {
        slowest = slowest.max(change(100 + changes));
        changes += 1;
        peak = peak.max(memory(gateway.process()).unwrap());
        taken = taken.max(memory(child.id()).unwrap_or(0));
    }
    assert!(child.wait().unwrap().success());
    let (megabytes, grown) = (size / 1_000_000, peak.saturating_sub(before) / 1_000_000);
    eprintln!(
        "database of {megabytes} MB: the gateway grew by {grown} MB, the command took {} MB; a change took {alone:?} alone, {slowest:?} \
         beside it ({changes})",
        taken / 1_000_000
    );
    assert!(changes > 1, "it was over before anything could be seen");
    assert!(taken > 0 && taken < MOST, "the command took {taken} bytes");
    assert!(peak - before < MOST, "the gateway grew from {before} to {peak} bytes");
    assert!(slowest < alone * 10 + Duration::from_secs(5), "a change waited for {slowest:?}");
    gateway.stop();
    let other = Gateway::beside(&gateway, "other");
    let out = other.out(&["restore", "large.zip", "--config", &other.settings]);
    assert!(out.contains(&format!("ended at sequence {EVENTS} or later")), "{out}");
    let left = std::fs::metadata(other.data().join("beaconfence.redb")).unwrap().len();
    assert!(left < size / 4, "events of the old epoch are not put back");
}
