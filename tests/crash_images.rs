//! The store after a power cut: every state that the disk may be found in, opened and read again.
//!
//! A medium records what the database writes and when it asks for it to be kept. From that, images are made: what was
//! written up to any moment, and what may be left of it where writes since the last sync are missing, or torn at sectors.
//! In each, every batch whose commit had returned must be whole, and the next one whole or absent.
//!
//! Ends in a line `crash-images faults=N published=N lost=N duplicated=N`. `BEACONFENCE_LONG=1` makes ten times as many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot set itself up has failed.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use beaconfence::model::{DeviceId, SiteId, Timestamp};
use beaconfence::store::books::{Books, Content, read};
use beaconfence::store::queue::Work;
use beaconfence::store::{Batch, Class, Dropped, Entry, Head, Limits, Settled};
use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use redb::{BackendError, Builder, Database, StorageBackend};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
const BATCHES: usize = 60;
/// Images with missing and torn writes.
const LOSSY: usize = 700;

const LIMITS: Limits = Limits {
    max_age: Duration::from_secs(3_600),
    max_bytes: u64::MAX,
    tail_age: Duration::from_secs(120),
    tail_bytes: 40_000,
    memory_bytes: usize::MAX,
};

#[derive(Debug, Clone)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk in memory that remembers what was asked of it.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<(Vec<u8>, Vec<Op>)>>);

impl Recorder {
    fn of(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn image(&self) -> Vec<u8> {
        self.0.lock().unwrap().0.clone()
    }

    fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let from = offset as usize;
        let bytes = disk.0.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        apply(&mut disk.0, &Op::SetLen(len));
        disk.1.push(Op::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.lock().unwrap().1.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        let op = Op::Write(offset, data.to_vec());
        apply(&mut disk.0, &op);
        disk.1.push(op);
        Ok(())
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn apply(image: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(offset, data) => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            if image.len() < to {
                image.resize(to, 0);
            }
            image[from..to].copy_from_slice(data);
        }
        Op::SetLen(len) => image.resize(*len as usize, 0),
        Op::Sync => {}
    }
}

/// Everything that is committed, as far as a reader can tell.
#[derive(Debug, Clone, PartialEq)]
struct State {
    content: Content,
    stored: Vec<u64>,
    acknowledged: Vec<u64>,
}

fn state(db: &Database) -> State {
    State {
        content: read(db).expect("readable"),
        stored: Books::stored(db).expect("readable"),
        acknowledged: Books::acknowledged(db).expect("readable"),
    }
}

fn open(recorder: Recorder) -> Result<Database, redb::DatabaseError> {
    Builder::new().set_cache_size(1 << 20).set_check_integrity_on_open(true).create_with_backend(recorder)
}

fn now(batch: usize) -> Timestamp {
    Timestamp::from_millis(1_000_000 + batch as i64 * 5_000)
}

type Step = (Vec<Entry>, Vec<(DeviceId, Option<Vec<u8>>)>, Head, Vec<(u64, Settled)>);

/// What is handed over at each step: new entries and records, and what became of earlier ones.
struct Workload {
    steps: Vec<Step>,
}

impl Workload {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut sequence, mut waiting, mut steps) = (0, Vec::new(), Vec::new());
        for batch in 0..BATCHES {
            let mut entries = Vec::new();
            for _ in 0..rng.random_range(0..9) {
                let device = DeviceId::new(&format!("device-{}", rng.random_range(0..20))).unwrap();
                let noise: String = (0..rng.random_range(1..60)).map(|_| rng.random_range('a'..='z')).collect();
                let payload =
                    format!("{{\"sequence\":{sequence},\"device\":\"{device}\",\"noise\":\"{noise}\"}}").repeat(5);
                let is_trigger = rng.random_bool(0.3);
                let expires = now(batch) + Duration::from_secs(60);
                entries.push(Entry {
                    sequence,
                    device,
                    class: if is_trigger { Class::Trigger { expires } } else { Class::Event },
                    made: now(batch),
                    topic: format!("site/events/zone-{}/entered", rng.random_range(0..9)),
                    payload: Bytes::from(payload),
                });
                sequence += 1;
            }
            let devices = (0..rng.random_range(0..5))
                .map(|_| {
                    let device = DeviceId::new(&format!("device-{}", rng.random_range(0..20))).unwrap();
                    let record = rng.random_bool(0.9).then(|| vec![batch as u8; rng.random_range(10..800)]);
                    (device, record)
                })
                .collect();
            let mut settled = Vec::new();
            waiting.retain(|sequence| {
                let is_settled = rng.random_bool(0.5);
                if is_settled {
                    let became = match rng.random_range(0..10) {
                        0 => Settled::Parked("refused".to_owned()),
                        1 => Settled::Dropped(Dropped::Expired),
                        2 => Settled::Unheard,
                        _ => Settled::Acknowledged,
                    };
                    settled.push((*sequence, became));
                }
                !is_settled
            });
            waiting.extend(entries.iter().map(|entry| entry.sequence));
            let head = Head {
                epoch: "0123456789ab".to_owned(),
                began: now(0),
                sequence,
                alive_at: now(batch),
                jumped_ms: 0,
                jumps: 0,
            };
            steps.push((entries, devices, head, settled));
        }
        Self { steps }
    }

    fn work(&self, batch: usize) -> Work {
        let (entries, devices, head, settled) = &self.steps[batch];
        let mut work = Work::default();
        work.absorb(Batch {
            entries: entries.clone(),
            devices: devices.clone(),
            head: Some(head.clone()),
            rows: Vec::new(),
            then: Vec::new(),
        });
        settled.iter().for_each(|(sequence, settled)| work.settle(*sequence, settled.clone()));
        work
    }
}

/// What was found over all images.
#[derive(Default)]
struct Tally {
    faults: usize,
    published: usize,
    lost: usize,
    duplicated: usize,
    complaints: Vec<String>,
}

struct Run<'a> {
    workload: &'a Workload,
    states: &'a [State],
    /// How many operations had been asked for when each commit returned.
    returned: &'a [usize],
    tally: Tally,
}

impl Run<'_> {
    /// Opens an image, made of what was asked for before the operation `at`.
    fn check(&mut self, image: Vec<u8>, at: usize, kind: &str) {
        self.tally.faults += 1;
        let committed = self.returned.iter().filter(|returned| **returned <= at).count();
        let opened = std::panic::catch_unwind(|| open(Recorder::of(image)));
        let db = match opened {
            Ok(Ok(db)) => db,
            other => {
                self.tally.lost += self.states[committed].stored.len();
                self.tally.complaints.push(format!("{kind} image at {at} does not open: {other:?}"));
                return;
            }
        };
        let found = state(&db);
        let before = &self.states[committed];
        self.tally.published += before.stored.len();
        let Some(which) = (committed..=committed + 1).find(|which| self.states.get(*which) == Some(&found)) else {
            let stored: BTreeSet<u64> = found.stored.iter().copied().collect();
            let lost = before.stored.iter().filter(|sequence| !stored.contains(sequence)).count();
            let again = found.content.waiting.iter().filter(|w| before.acknowledged.contains(&w.sequence)).count();
            self.tally.lost += lost.max(usize::from(again == 0));
            self.tally.duplicated += again;
            let similar = self.states.iter().position(|state| *state == found);
            self.tally.complaints.push(format!("{kind} image at {at}: wanted {committed} batches, found {similar:?}"));
            return;
        };
        // Work goes on from there as if nothing had been.
        if which < BATCHES && self.tally.faults.is_multiple_of(7) {
            let mut books = Books::of(&found.content);
            books.commit(&db, &self.workload.work(which), &LIMITS, now(which)).expect("a commit after the fault");
            assert_eq!(state(&db), self.states[which + 1], "{kind} image at {at}, and a batch more");
        }
    }
}

/// Some of these writes, in part.
fn leave_some(image: &mut Vec<u8>, pending: &[Op], rng: &mut ChaCha8Rng) {
    let kept = [0.1, 0.5, 0.9][rng.random_range(0..3)];
    for op in pending {
        match op {
            Op::Write(offset, data) if rng.random_bool(0.3) => {
                for (index, sector) in data.chunks(SECTOR).enumerate() {
                    if rng.random_bool(kept) {
                        apply(image, &Op::Write(offset + (index * SECTOR) as u64, sector.to_vec()));
                    }
                }
            }
            op if rng.random_bool(kept) => apply(image, op),
            _ => {}
        }
    }
}

/// A workload that was run to its end, and what is to be known of it.
struct Ran {
    workload: Workload,
    start: Vec<u8>,
    states: Vec<State>,
    returned: Vec<usize>,
    ops: Vec<Op>,
}

impl Ran {
    fn new(seed: u64) -> Self {
        let workload = Workload::new(seed);
        let recorder = Recorder::default();
        let site = SiteId::new("site").unwrap();
        let head = workload.steps[0].2.clone();
        let made = open(recorder.clone()).unwrap();
        Books::initialise(&made, &site, &Head { sequence: 0, ..head }, b"{\"sequence\":,\"device\":\"device-").unwrap();
        drop(made);
        // A store is made under another name, and gets its own when it is whole.
        let start = recorder.image();
        let recorder = Recorder::of(start.clone());
        let db = open(recorder.clone()).unwrap();
        let mut states = vec![state(&db)];
        let mut books = Books::of(&states[0].content);
        let mut returned = Vec::new();
        for batch in 0..BATCHES {
            books.commit(&db, &workload.work(batch), &LIMITS, now(batch)).unwrap();
            returned.push(recorder.count());
            let now = state(&db);
            partition(&now);
            states.push(now);
        }
        assert!(states.last().unwrap().content.tail > 10, "the tail is used");
        assert!(states.last().unwrap().stored[0] > 0, "the tail is pruned");
        drop(db);
        Self { workload, start, states, returned, ops: recorder.ops() }
    }

    fn run(&self) -> Run<'_> {
        Run { workload: &self.workload, states: &self.states, returned: &self.returned, tally: Tally::default() }
    }
}

#[test]
fn whatever_a_power_cut_leaves_every_committed_batch_is_whole() {
    let is_long = std::env::var("BEACONFENCE_LONG").is_ok_and(|value| value == "1");
    let mut total = Tally::default();
    for seed in 0..if is_long { 10 } else { 1 } {
        let ran = Ran::new(seed);
        let Ran { ops, start, .. } = &ran;
        let mut run = ran.run();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let per_op = LOSSY as f64 / ops.len() as f64;
        let (mut synced, mut pending) = (start.clone(), Vec::new());
        let mut written = start.clone();
        for (at, op) in ops.iter().enumerate() {
            run.check(written.clone(), at, "whole");
            let mut due = per_op;
            while rng.random_bool(due.clamp(0.0, 1.0)) {
                let mut image = synced.clone();
                leave_some(&mut image, &pending, &mut rng);
                run.check(image, at, "lossy");
                due -= 1.0;
            }
            apply(&mut written, op);
            pending.push(op.clone());
            if matches!(op, Op::Sync) {
                pending.clear();
                synced.clone_from(&written);
            }
        }
        run.check(written, ops.len(), "whole");
        total.faults += run.tally.faults;
        total.published += run.tally.published;
        total.lost += run.tally.lost;
        total.duplicated += run.tally.duplicated;
        total.complaints.extend(run.tally.complaints);
    }
    for complaint in total.complaints.iter().take(20) {
        eprintln!("{complaint}");
    }
    // Written past the capture of the test harness.
    let Tally { faults, published, lost, duplicated, complaints } = total;
    writeln!(io::stdout(), "crash-images faults={faults} published={published} lost={lost} duplicated={duplicated}")
        .unwrap();
    assert!(faults > 1_000, "only {faults} images");
    assert!(complaints.is_empty() && lost == 0 && duplicated == 0);
}

#[test]
fn an_image_that_lacks_a_commit_or_repeats_an_entry_is_noticed() {
    let ran = Ran::new(1);
    let mut run = ran.run();
    // As if the writes of one commit had been lost although it had returned.
    let mut image = ran.start.clone();
    let (kept, returned) = (ran.returned[20], ran.returned[21]);
    ran.ops[..kept].iter().for_each(|op| apply(&mut image, op));
    run.check(image.clone(), kept, "whole");
    assert_eq!((run.tally.lost, run.tally.duplicated), (0, 0));
    run.check(image, returned, "lacking");
    assert!(run.tally.lost + run.tally.duplicated > 0);
    assert_eq!(run.tally.complaints.len(), 1);
}

/// Every stored entry waits, is acknowledged or is parked: one of these.
fn partition(state: &State) {
    let mut kinds: Vec<u64> = state.content.waiting.iter().map(|waiting| waiting.sequence).collect();
    kinds.extend(&state.acknowledged);
    kinds.extend(state.content.parked.iter().map(|(waiting, _)| waiting.sequence));
    kinds.sort_unstable();
    assert_eq!(kinds, state.stored);
    assert!(state.stored.last().is_none_or(|last| *last < state.content.head.sequence));
}
