//! What the store takes on disk, and how fast it is, with payloads as they are published: those of `tests/golden/mqtt`, with
//! ids, times, zones and places that vary as in a shop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use beaconfence::model::{DeviceId, SiteId, Timestamp};
use beaconfence::store::{Batch, Class, Entry, Head, Limits, Options, Store};
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A shop that is cut off for eight hours, with twenty events a second.
const OFFLINE_EVENTS: f64 = 8.0 * 3_600.0 * 20.0;
const OFFLINE_MB: f64 = 500.0;
const SIZED_EVENTS: u64 = 100_000;
const SINGLE_COMMITS: u64 = 200;
const WAITING: u64 = 300_000;
/// As long as a commit may take at the pace that the store keeps.
const COMMITS_PER_SECOND: f64 = 50.0;
/// A gateway that was killed should not be missed.
const REOPEN_SECONDS: f64 = 2.0;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let shop = Shop::new()?;

    // A commit for every four events: more pages are rewritten than at night, fewer than at noon.
    let dir = tempfile::TempDir::new()?;
    let store = open(dir.path(), &shop)?.store;
    let plain = shop.fill(&store, 0..SIZED_EVENTS, 4)?;
    if store.close(Duration::from_secs(60)) > 0 {
        return Err("not everything was committed".into());
    }
    let on_disk = std::fs::metadata(dir.path().join("beaconfence.redb"))?.len() as f64;
    let each = on_disk / SIZED_EVENTS as f64;
    println!("store: {SIZED_EVENTS} events of {:.0} bytes on average", plain as f64 / SIZED_EVENTS as f64);
    figure("store/bytes-per-event", each, OFFLINE_MB * 1e6 / OFFLINE_EVENTS, true);
    figure("store/eight-hours-offline-mb", each * OFFLINE_EVENTS / 1e6, OFFLINE_MB, true);

    let dir = tempfile::TempDir::new()?;
    let store = open(dir.path(), &shop)?.store;
    store.start(|_| ());
    let mut taken = Duration::ZERO;
    for sequence in 0..SINGLE_COMMITS {
        let begun = Instant::now();
        commit(&store, shop.batch(sequence..sequence + 1))?;
        taken += begun.elapsed();
        // Beyond the pace, so that the commit is measured and not the pause before it.
        std::thread::sleep(Duration::from_millis(25));
    }
    figure("store/commits-per-second", SINGLE_COMMITS as f64 / taken.as_secs_f64(), COMMITS_PER_SECOND, false);
    store.close(Duration::from_secs(60));

    let (dir, killed) = (tempfile::TempDir::new()?, tempfile::TempDir::new()?);
    let store = open(dir.path(), &shop)?.store;
    let begun = Instant::now();
    shop.fill(&store, 0..WAITING, 1_000)?;
    println!("store: {WAITING} events were written in {:?}", begun.elapsed());
    std::fs::copy(dir.path().join("beaconfence.redb"), killed.path().join("beaconfence.redb"))?;
    store.close(Duration::from_secs(60));
    // What the ballast of a new directory takes is no part of a restart.
    std::fs::copy(dir.path().join("ballast"), killed.path().join("ballast"))?;
    let begun = Instant::now();
    let opened = open(killed.path(), &shop)?;
    figure("store/reopen-after-kill-s", begun.elapsed().as_secs_f64(), REOPEN_SECONDS, true);
    if opened.waiting.len() as u64 != WAITING || opened.set_aside.is_some() {
        return Err(format!("{} wait after the kill", opened.waiting.len()).into());
    }
    Ok(())
}

fn figure(name: &str, measured: f64, goal: f64, is_most: bool) {
    let is_met = if is_most { measured <= goal } else { measured >= goal };
    println!("{name} measured={measured:.2} goal={goal:.2} {}", if is_met { "met" } else { "missed" });
}

fn open(dir: &Path, shop: &Shop) -> Result<beaconfence::store::Opened> {
    Ok(Store::open(Options {
        dir: dir.to_path_buf(),
        site: SiteId::new("store-1")?,
        limits: Limits {
            max_age: Duration::from_secs(7 * 86_400),
            max_bytes: 500_000_000,
            tail_age: Duration::from_secs(86_400),
            tail_bytes: 100_000_000,
            memory_bytes: 512 << 20,
        },
        dictionary: shop.dictionary.clone(),
        now: at(0),
    })?)
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + ms as i64)
}

fn commit(store: &Store, mut batch: Batch) -> Result<()> {
    let (tell, told) = mpsc::channel();
    batch.then.push(Box::new(move || {
        // Nobody listens after a time-out.
        let _ = tell.send(());
    }));
    store.write(batch);
    Ok(told.recv_timeout(Duration::from_secs(60))?)
}

/// Where events come from.
struct Shop {
    kinds: Vec<(&'static str, serde_json::Value)>,
    dictionary: Vec<u8>,
}

impl Shop {
    fn new() -> Result<Self> {
        let mut kinds = Vec::new();
        let mut dictionary = Vec::new();
        for kind in ["entered", "dwelled", "exited"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/mqtt/{kind}.json"));
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            kinds.push((kind, serde_json::from_str(&text)?));
            dictionary.extend_from_slice(format!("store-1/events/door/{kind}{text}").as_bytes());
        }
        Ok(Self { kinds, dictionary })
    }

    fn entry(&self, sequence: u64) -> Entry {
        let mut rng = ChaCha8Rng::seed_from_u64(sequence);
        let (kind, mut payload) = self.kinds[rng.random_range(0..self.kinds.len())].clone();
        let mut uuid = || {
            let [a, b, c] = [rng.random::<u64>(), rng.random(), rng.random()];
            format!("{:08x}-{:04x}-8{:03x}-a{:03x}-{:012x}", a as u32, a >> 48, b & 0xfff, b >> 52, c >> 16)
        };
        let (id, visit) = (uuid(), uuid());
        let (device, zone) = (format!("c-{:010x}", rng.random::<u32>()), rng.random_range(0..40));
        let made = at(sequence * 50);
        payload["id"] = id.into();
        payload["subject"] = device.clone().into();
        payload["time"] = made.to_string().into();
        let data = &mut payload["data"];
        data["epoch"] = "9f3a61c07be2".into();
        data["sequence"] = sequence.into();
        data["zone"]["id"] = format!("zone-{zone}").into();
        data["zone"]["name"] = format!("Aisle {zone}, left side").into();
        data["device"]["id"] = device.clone().into();
        data["visit_id"] = visit.into();
        data["observed_at"] = made.to_string().into();
        data["decided_at"] = (made + Duration::from_millis(rng.random_range(0..9_000))).to_string().into();
        data["confidence"] = (f64::from(rng.random_range(6_000..10_000)) / 10_000.0).into();
        if let Some(position) = data.get_mut("position").filter(|position| position.is_object()) {
            position["x"] = (f64::from(rng.random_range(0..60_000)) / 1_000.0).into();
            position["y"] = (f64::from(rng.random_range(0..40_000)) / 1_000.0).into();
            position["accuracy"] = (f64::from(rng.random_range(500..6_000)) / 1_000.0).into();
            position["latitude"] = (48.85 + f64::from(rng.random_range(0..1_000_000)) / 1e8).into();
            position["longitude"] = (2.35 + f64::from(rng.random_range(0..1_000_000)) / 1e8).into();
        }
        Entry {
            sequence,
            device: DeviceId::new(&device).unwrap_or_else(|_| unreachable!("{device} is an id")),
            class: Class::Event,
            made,
            topic: format!("store-1/events/zone-{zone}/{kind}"),
            payload: Bytes::from(payload.to_string()),
        }
    }

    fn batch(&self, sequences: std::ops::Range<u64>) -> Batch {
        let head = Head {
            epoch: "9f3a61c07be2".to_owned(),
            began: at(0),
            sequence: sequences.end,
            alive_at: at(sequences.end * 50),
            jumped_ms: 0,
            jumps: 0,
        };
        Batch {
            entries: sequences.map(|sequence| self.entry(sequence)).collect(),
            head: Some(head),
            ..Batch::default()
        }
    }

    /// Writes events with so many to a commit, as fast as commits go; their bytes as published.
    fn fill(&self, store: &Store, sequences: std::ops::Range<u64>, at_once: u64) -> Result<usize> {
        store.start_unpaced(|_| ());
        let mut bytes = 0;
        let mut from = sequences.start;
        while from < sequences.end {
            let to = (from + at_once).min(sequences.end);
            let batch = self.batch(from..to);
            bytes += batch.entries.iter().map(Entry::size).sum::<usize>();
            commit(store, batch)?;
            from = to;
        }
        Ok(bytes)
    }
}
