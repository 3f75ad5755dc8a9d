//! The store as its users see it: on real directories, and on a disk that fails when told to.

use std::io;
use std::sync::mpsc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use redb::{Builder, ReadableTable as _, StorageBackend, WriteTransaction};
use tempfile::TempDir;

use super::books::{Books, EVENTS, FORMAT};
use super::files::{DATABASE, Directory, Medium, Trouble};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        max_age: 3_600 * SECOND,
        max_bytes: 1 << 30,
        tail_age: 600 * SECOND,
        tail_bytes: 1 << 30,
        memory_bytes: 64 << 20,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + seconds * 1_000)
}

fn site() -> SiteId {
    SiteId::new("store-1").unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn options(dir: &Path) -> Options {
    let dictionary = br#"store-1/events/door/entered{"device":"d","sequence":"#.to_vec();
    Options { dir: dir.to_path_buf(), site: site(), limits: limits(), dictionary, now: at(0) }
}

fn event(sequence: u64) -> Entry {
    Entry {
        sequence,
        device: device(&format!("d{}", sequence % 5)),
        class: Class::Event,
        made: at(sequence as i64),
        topic: "store-1/events/door/entered".to_owned(),
        payload: Bytes::from(format!(
            "{{\"sequence\":{sequence},\"noise\":\"{}\"}}",
            sequence.wrapping_mul(0x9E37_79B9)
        )),
    }
}

fn trigger(sequence: u64) -> Entry {
    Entry { class: Class::Trigger { expires: at(sequence as i64 + 60) }, ..event(sequence) }
}

fn head(sequence: u64) -> Head {
    Head {
        epoch: "0123456789ab".to_owned(),
        began: at(0),
        sequence,
        alive_at: at(sequence as i64),
        jumped_ms: 3,
        jumps: 1,
    }
}

fn batch(entries: Vec<Entry>) -> Batch {
    let next = entries.last().map(|entry| entry.sequence + 1);
    Batch { entries, head: next.map(head), ..Batch::default() }
}

/// A store that runs, and what it handed on.
struct Running {
    store: Store,
    handed: Arc<Mutex<Vec<u64>>>,
}

impl Running {
    fn start(store: Store) -> Self {
        let handed = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&handed);
        store.start(move |entries| locked(&to).extend(entries.iter().map(|entry| entry.sequence)));
        Self { store, handed }
    }

    fn open(dir: &Path) -> Self {
        Self::start(Store::open(options(dir)).unwrap().store)
    }

    fn handed(&self) -> Vec<u64> {
        locked(&self.handed).clone()
    }

    /// Writes a batch, and waits until it is committed.
    fn commit(&self, mut batch: Batch) {
        let (tell, told) = mpsc::channel();
        batch.then.push(Box::new(move || tell.send(()).unwrap()));
        self.store.write(batch);
        told.recv_timeout(PATIENCE).expect("committed");
    }

    fn close(self) {
        assert_eq!(self.store.close(PATIENCE), 0);
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sequences(waiting: &[Waiting]) -> Vec<u64> {
    waiting.iter().map(|waiting| waiting.sequence).collect()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let opened = Store::open(options(dir.path())).unwrap();
    assert!(opened.is_new && opened.waiting.is_empty() && opened.devices.is_empty());
    assert_eq!((opened.head.sequence, opened.head.epoch.len(), opened.head.began), (0, 12, at(0)));
    let running = Running::start(opened.store);
    running.commit(Batch {
        devices: vec![(device("d1"), Some(vec![1])), (device("d2"), Some(vec![2])), (device("d1"), Some(vec![3]))],
        ..batch(vec![event(0), trigger(1), event(2)])
    });
    running.commit(Batch { devices: vec![(device("d2"), None)], ..Batch::default() });
    assert_eq!(running.handed(), [0, 1, 2]);
    running.close();

    let opened = Store::open(options(dir.path())).unwrap();
    assert!(!opened.is_new && opened.set_aside.is_none());
    assert_eq!(opened.head, head(3));
    assert_eq!(opened.devices, [(device("d1"), vec![3])]);
    assert_eq!(sequences(&opened.waiting), [0, 1, 2]);
    assert_eq!(opened.waiting[1].class, trigger(1).class);
    assert_eq!(opened.waiting[1].bytes as usize, trigger(1).size());
    assert_eq!(opened.store.load(&[2, 9, 0]), [Some(event(2)), None, Some(event(0))]);
    let page = opened.store.page(0, 9, 2);
    assert_eq!((page.entries, page.next), (vec![event(0), trigger(1)], Some(2)));
    let page = opened.store.page(2, 9, 2);
    assert_eq!((page.entries, page.next), (vec![event(2)], None));
}

#[cfg(unix)]
#[test]
fn only_the_gateways_user_reads_what_is_stored() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("a/b");
    Running::open(&dir).close();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(DATABASE)), mode(&dir.join("ballast"))), (0o700, 0o600, 0o600));
}

#[test]
fn after_a_kill_everything_is_there_whose_commit_had_returned() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let running = Running::open(dir.path());
    for sequence in 0..20 {
        running.commit(batch(vec![event(sequence)]));
        std::fs::copy(dir.path().join(DATABASE), other.path().join(DATABASE)).unwrap();
        let opened = Store::open(options(other.path())).unwrap();
        assert!(opened.set_aside.is_none());
        assert_eq!(sequences(&opened.waiting), (0..=sequence).collect::<Vec<_>>());
        assert_eq!(opened.head, head(sequence + 1));
        opened.store.close(PATIENCE);
    }
}

#[test]
fn under_load_many_batches_become_one_commit_in_order() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    let called = Arc::new(Mutex::new(Vec::new()));
    for sequence in 0..2_000 {
        let (called, handed) = (Arc::clone(&called), Arc::clone(&running.handed));
        let mut batch = batch(vec![if sequence % 3 == 0 { trigger(sequence) } else { event(sequence) }]);
        batch.then.push(Box::new(move || {
            assert!(locked(&handed).contains(&sequence), "called before it was handed on");
            locked(&called).push(sequence);
        }));
        running.store.write(batch);
        if sequence % 100 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    until("all are called", || locked(&called).len() == 2_000);
    assert_eq!(running.handed(), (0..2_000).collect::<Vec<_>>());
    assert_eq!(*locked(&called), (0..2_000).collect::<Vec<_>>());
    assert!(running.store.status().commits < 60, "{} commits", running.store.status().commits);
    running.close();
}

#[test]
fn a_batch_with_nothing_durable_commits_nothing_and_is_answered_after_what_waits() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    running.commit(Batch::default());
    assert_eq!(running.store.status().commits, 0);
    let order = Arc::new(Mutex::new(Vec::new()));
    let say = |what: &'static str| -> Vec<Box<dyn FnOnce() + Send>> {
        let order = Arc::clone(&order);
        vec![Box::new(move || locked(&order).push(what))]
    };
    running.store.write(Batch { then: say("durable"), ..batch(vec![event(0)]) });
    running.store.write(Batch { then: say("not"), ..Batch::default() });
    until("both are called", || locked(&order).len() == 2);
    assert_eq!(*locked(&order), ["durable", "not"]);
    assert_eq!(running.store.status().commits, 1);
}

#[test]
fn what_became_of_entries_is_committed_within_a_second_by_itself() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let running = Running::open(dir.path());
    running.commit(batch((0..6).map(event).collect()));
    let begun = Instant::now();
    running.store.settle(0, Settled::Acknowledged);
    running.store.settle(1, Settled::Unheard);
    running.store.settle(2, Settled::Parked("refused: quota".to_owned()));
    running.store.settle(3, Settled::Dropped(Dropped::Full));
    running.store.settle(3, Settled::Dropped(Dropped::Full));
    assert_eq!(running.store.status().commits, 1);
    until("it is committed", || running.store.status().commits == 2);
    assert!(begun.elapsed() >= SECOND.mul_f64(0.8) && begun.elapsed() < 3 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(running.store.load(&[3]), [None]);
    std::fs::copy(dir.path().join(DATABASE), other.path().join(DATABASE)).unwrap();

    let opened = Store::open(options(other.path())).unwrap();
    assert_eq!(sequences(&opened.waiting), [4, 5]);
    let status = opened.store.status();
    assert_eq!((status.acknowledged, status.unheard, status.parked, status.dropped_full), (2, 1, 1, 1));
    assert_eq!(status.tail, 2);
    let stored: Vec<u64> = opened.store.page(0, 9, 99).entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(stored, [0, 1, 2, 4, 5]);
    opened.store.close(PATIENCE);
    assert_eq!(peek(other.path()).unwrap().parked[0].reason, "refused: quota");
}

#[test]
fn a_thousand_of_them_are_committed_at_once() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    running.commit(batch((0..1_000).map(event).collect()));
    let begun = Instant::now();
    (0..1_000).for_each(|sequence| running.store.settle(sequence, Settled::Acknowledged));
    until("they are committed", || running.store.status().tail == 1_000);
    assert!(begun.elapsed() < SECOND.mul_f64(0.9), "{:?}", begun.elapsed());
    running.close();
}

#[test]
fn the_tail_is_pruned_by_age_and_by_bytes_and_what_waits_never_is() {
    let dir = TempDir::new().unwrap();
    let mut options = options(dir.path());
    options.limits.tail_age = 50 * SECOND;
    let stored = |store: &Store| store.page(0, 999, 999).entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>();
    let running = Running::start(Store::open(options.clone()).unwrap().store);
    running.commit(batch((0..100).map(event).collect()));
    (1..100).for_each(|sequence| running.store.settle(sequence, Settled::Acknowledged));
    running.store.tick(at(100));
    running.commit(batch(vec![event(100)]));
    let kept: Vec<u64> = std::iter::once(0).chain(50..=100).collect();
    assert_eq!(stored(&running.store), kept);
    running.close();

    options.limits.tail_bytes = 10 * event(50).size() as u64;
    let running = Running::start(Store::open(options).unwrap().store);
    running.store.tick(at(100));
    running.commit(batch(vec![event(101)]));
    let left = stored(&running.store);
    assert!((9..=13).contains(&left.len()) && left[0] == 0 && left.contains(&99), "{left:?}");
    assert_eq!(running.store.status().tail as usize, left.len() - 3);
    running.close();
}

#[test]
fn a_damaged_record_is_found_and_a_sound_one_is_not_given_up_for_damaged() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    running.commit(batch((0..3).map(event).collect()));
    running.close();
    let db = Directory::open_file(&dir.path().join(DATABASE), false).unwrap();
    let tx = db.begin_write().unwrap();
    {
        let mut events = tx.open_table(EVENTS).unwrap();
        let mut record = events.get(1).unwrap().unwrap().value().to_vec();
        let last = record.len() - 1;
        record[last] ^= 0x10;
        events.insert(1, record.as_slice()).unwrap();
    }
    tx.commit().unwrap();
    db.close().unwrap();

    let opened = Store::open(options(dir.path())).unwrap();
    assert_eq!(sequences(&opened.waiting), [0, 1, 2]);
    let running = Running::start(opened.store);
    assert_eq!(running.store.load(&[0, 1, 2]), [Some(event(0)), None, Some(event(2))]);
    assert_eq!(running.store.page(0, 9, 9).entries.len(), 2);
    running.store.settle(1, Settled::Dropped(Dropped::Damaged));
    running.store.settle(2, Settled::Dropped(Dropped::Damaged));
    running.commit(batch(vec![event(3)]));
    assert_eq!(running.store.status().dropped_damaged, 1);
    running.close();
    assert_eq!(sequences(&Store::open(options(dir.path())).unwrap().waiting), [0, 2, 3]);
}

/// A database of ten batches, as a kill leaves it and as it is when closed.
fn samples() -> [Vec<u8>; 2] {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(DATABASE);
    let running = Running::open(dir.path());
    for first in 0..10 {
        running.commit(Batch {
            devices: vec![(device("d1"), Some(vec![first as u8; 300]))],
            ..batch((first * 20..(first + 1) * 20).map(event).collect())
        });
    }
    let killed = std::fs::read(&path).unwrap();
    running.close();
    [killed, std::fs::read(&path).unwrap()]
}

#[test]
fn however_a_file_is_damaged_it_is_opened_as_it_was_or_set_aside() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(DATABASE);
    let samples = samples();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut aside, mut sound) = (0, 0);
    for variant in 0..260 {
        let mut bytes = samples[variant % 2].clone();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(1);
        match variant % 13 {
            0..=2 => bytes.truncate(rng.random_range(0..bytes.len())),
            3 => bytes.truncate(variant / 13),
            4 => bytes = (0..rng.random_range(0..9_000)).map(|_| rng.random()).collect(),
            5 => bytes[rng.random_range(0..320)] ^= 1 << rng.random_range(0..8),
            6 => {
                let page = rng.random_range(0..=used / 4_096) * 4_096;
                let end = (page + 4_096).min(bytes.len());
                bytes[page..end].fill(rng.random());
            }
            7 => (0..rng.random_range(1..200)).for_each(|_| bytes[rng.random_range(0..=used)] = rng.random()),
            8 => bytes.extend(vec![7; rng.random_range(1..9_000)]),
            _ => bytes[rng.random_range(0..=used)] ^= 1 << rng.random_range(0..8),
        }
        std::fs::write(&path, &bytes).unwrap();
        let begun = Instant::now();
        let opened = Store::open(options(dir.path())).unwrap_or_else(|error| panic!("variant {variant}: {error}"));
        assert!(begun.elapsed() < PATIENCE, "variant {variant} took {:?}", begun.elapsed());
        assert_eq!(opened.is_new, opened.set_aside.is_some(), "variant {variant}");
        if let Some((kept, _)) = &opened.set_aside {
            assert!(kept.exists());
            assert!(opened.waiting.is_empty() && opened.head.sequence == 0);
            aside += 1;
        } else {
            let count = opened.head.sequence;
            assert!(count.is_multiple_of(20) && count <= 200, "variant {variant}: {count}");
            assert_eq!(sequences(&opened.waiting), (0..count).collect::<Vec<_>>(), "variant {variant}");
            for (sequence, entry) in opened.store.load(&(0..count).collect::<Vec<_>>()).into_iter().enumerate() {
                assert_eq!(entry, Some(event(sequence as u64)), "variant {variant}");
            }
            sound += 1;
        }
        opened.store.close(PATIENCE);
    }
    assert!(aside > 60 && sound > 60, "{aside} set aside, {sound} sound");
}

#[test]
fn a_damaged_database_begins_a_new_epoch_and_three_of_them_are_kept() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(DATABASE);
    let mut epochs = std::collections::BTreeSet::new();
    let mut last = None;
    for round in 0..6 {
        std::fs::write(&path, b"").unwrap();
        let opened = Store::open(Options { now: at(round / 2), ..options(dir.path()) }).unwrap();
        let (aside, what) = opened.set_aside.unwrap();
        assert_eq!(what, "the file is empty");
        assert!(aside.to_string_lossy().contains("beaconfence.redb.damaged-20260101T00000"), "{}", aside.display());
        epochs.insert(opened.head.epoch);
        opened.store.close(PATIENCE);
        last = Some(aside);
    }
    assert_eq!(epochs.len(), 6);
    let kept: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.iter().filter(|path| path.to_string_lossy().contains(".damaged-")).count(), 3);
    assert!(kept.contains(&last.unwrap()));
}

#[test]
fn what_a_running_gateway_found_damaged_is_set_aside_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    Running::open(dir.path()).close();
    let directory = Directory::lock(dir.path()).unwrap();
    directory.mark_damaged("page 7 is wrong");
    drop(directory);
    assert!(matches!(peek(dir.path()), Err(StoreError::Damaged { .. })));
    let opened = Store::open(options(dir.path())).unwrap();
    assert_eq!(opened.set_aside.unwrap().1, "page 7 is wrong");
    opened.store.close(PATIENCE);
    assert!(Store::open(options(dir.path())).unwrap().set_aside.is_none(), "once");
}

fn new_table(tx: &WriteTransaction) -> Result<(), redb::Error> {
    tx.open_table(redb::TableDefinition::<u64, u64>::new("new"))?.insert(1, 1)?;
    Ok(())
}

fn failing(tx: &WriteTransaction) -> Result<(), redb::Error> {
    new_table(tx)?;
    tx.open_table(EVENTS)?.remove(0)?;
    Err(redb::Error::Io(io::Error::other("no")))
}

#[test]
fn an_older_database_is_copied_and_brought_forward() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    running.commit(batch(vec![event(0)]));
    running.close();
    let copy = dir.path().join(format!("{DATABASE}.format-{FORMAT}"));

    let refused =
        open::open_as(&options(dir.path()), FORMAT + 2, &[(FORMAT, new_table), (FORMAT + 1, failing)]).unwrap_err();
    assert!(matches!(refused, StoreError::Migration { from: FORMAT, .. }), "{refused}");
    assert!(refused.to_string().contains("unchanged"), "{refused}");
    assert!(copy.exists());
    let opened = Store::open(options(dir.path())).unwrap();
    assert_eq!(opened.store.load(&[0]), [Some(event(0))], "nothing was changed");
    opened.store.close(PATIENCE);

    let opened = open::open_as(&options(dir.path()), FORMAT + 1, &[(FORMAT, new_table)]).unwrap();
    assert_eq!(sequences(&opened.waiting), [0]);
    opened.store.close(PATIENCE);
    let opened = open::open_as(&options(dir.path()), FORMAT + 1, &[]).unwrap();
    assert_eq!(opened.store.load(&[0]), [Some(event(0))]);
    opened.store.close(PATIENCE);

    let newer = Store::open(options(dir.path())).unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found, known: FORMAT, .. } if found == FORMAT + 1), "{newer}");
    assert!(matches!(peek(dir.path()), Err(StoreError::Newer { .. })));
    std::fs::rename(copy, dir.path().join(DATABASE)).unwrap();
    let opened = Store::open(options(dir.path())).unwrap();
    assert_eq!(opened.store.load(&[0]), [Some(event(0))], "the copy is as it was");
}

#[test]
fn a_directory_that_is_not_ours_to_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let running = Running::open(dir.path());
    let busy = Store::open(options(dir.path())).unwrap_err();
    assert!(matches!(busy, StoreError::InUse { .. }) && busy.to_string().contains("running"), "{busy}");
    assert!(matches!(peek(dir.path()), Err(StoreError::InUse { .. })));
    running.close();
    let site = SiteId::new("store-2").unwrap();
    let other = Store::open(Options { site, ..options(dir.path()) }).unwrap_err();
    assert!(matches!(other, StoreError::OtherSite { .. }), "{other}");
    Running::open(dir.path()).close();
    let file = dir.path().join("file");
    std::fs::write(&file, "text").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = Store::open(options(&path)).unwrap_err();
        assert!(matches!(refused, StoreError::Directory { .. }), "{refused}");
        assert!(refused.to_string().contains(&*path.to_string_lossy()), "{refused}");
    }
}

#[test]
fn a_look_changes_nothing_and_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let missing = peek(&dir.path().join("none")).unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
    assert!(matches!(peek(dir.path()), Err(StoreError::Missing { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let running = Running::open(dir.path());
    running.commit(batch(vec![event(3), event(4), trigger(5)]));
    running.store.settle(3, Settled::Acknowledged);
    running.close();
    let path = dir.path().join(DATABASE);
    let before = std::fs::read(&path).unwrap();
    let seen = peek(dir.path()).unwrap();
    assert_eq!((seen.head, seen.site.as_str(), seen.status.acknowledged, seen.status.tail), (head(6), "store-1", 1, 1));
    let bytes = (event(4).size() + trigger(5).size()) as u64;
    assert_eq!(seen.waiting, PeekWaiting { count: 2, bytes, oldest: Some(at(4)) });
    assert!(before == std::fs::read(&path).unwrap(), "the file has changed");
    std::fs::write(&path, samples()[0].clone()).unwrap();
    assert_eq!(peek(dir.path()).unwrap().waiting.count, 200, "after a kill");
}

#[test]
fn a_file_that_a_backlog_has_left_large_is_compacted_and_still_whole() {
    let dir = TempDir::new().unwrap();
    let mut options = options(dir.path());
    options.limits.tail_bytes = 10_000;
    let store = Store::open(options.clone()).unwrap().store;
    let running = Running { store: store.clone(), handed: Arc::default() };
    store.spawn(
        |_| (),
        |tuning| {
            tuning.housekeeping = Duration::from_millis(200);
            tuning.compact_above = 1 << 20;
        },
    );
    for first in 0..10 {
        running.commit(batch((first * 2_000..(first + 1) * 2_000).map(event).collect()));
    }
    let large = store.status().disk_bytes;
    assert!(large > 2 << 20, "{large}");
    (0..20_000).for_each(|sequence| store.settle(sequence, Settled::Acknowledged));
    until("it is compacted", || store.status().disk_bytes < large / 2);
    running.commit(Batch { devices: vec![(device("d1"), Some(vec![1]))], ..Batch::default() });
    drop(store);
    running.close();
    let opened = Store::open(options).unwrap();
    assert!(opened.set_aside.is_none() && opened.waiting.is_empty() && opened.devices.len() == 1);
    assert_eq!(opened.store.load(&[19_999]), [Some(event(19_999))]);
}

#[test]
fn the_ballast_is_made_again_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(options(dir.path())).unwrap().store;
    let ballast = dir.path().join("ballast");
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 4 << 20);
    store.close(PATIENCE);
    std::fs::remove_file(&ballast).unwrap();
    let directory = Directory::lock(dir.path()).unwrap();
    assert!(!directory.free_reserve());
    directory.keep_reserve().unwrap();
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 4 << 20);
    assert!(directory.free_reserve() && !ballast.exists());
}

/// A disk in memory that takes only so many bytes more.
#[derive(Debug, Clone)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug)]
struct DiskState {
    bytes: Vec<u8>,
    left: usize,
    reserve: usize,
    error: i32,
}

/// No space left on device; input/output error.
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

impl Disk {
    fn open(self, memory_bytes: usize) -> Running {
        let limits = Limits { memory_bytes, ..limits() };
        let db = Medium::open(&self, false).unwrap();
        Books::initialise(&db, &site(), &head(0), b"").unwrap();
        let books = Books::of(&books::read(&db).unwrap());
        let mut worker = Worker::new(Box::new(self), books, limits);
        worker.tuning.backoff = (Duration::from_millis(20), Duration::from_millis(50));
        Running::start(Store::of(worker, db))
    }

    fn new(reserve: usize, error: i32) -> Self {
        Self(Arc::new(Mutex::new(DiskState { bytes: Vec::new(), left: usize::MAX, reserve, error })))
    }

    fn leave(&self, bytes: usize) {
        locked(&self.0).left = bytes;
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(locked(&self.0).bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = locked(&self.0);
        let from = offset as usize;
        out.copy_from_slice(disk.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        locked(&self.0).bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = locked(&self.0);
        if disk.left < data.len() {
            return Err(io::Error::from_raw_os_error(disk.error));
        }
        disk.left -= data.len();
        disk.bytes[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

impl Medium for Disk {
    fn open(&self, check: bool) -> Result<Database, Trouble> {
        guarded(|| Builder::new().set_check_integrity_on_open(check).create_with_backend(self.clone()))
    }

    fn free_reserve(&self) -> bool {
        let mut disk = locked(&self.0);
        let reserve = std::mem::take(&mut disk.reserve);
        disk.left = disk.left.saturating_add(reserve);
        reserve > 0
    }

    fn keep_reserve(&self) -> io::Result<()> {
        Ok(())
    }

    fn mark_damaged(&self, what: &str) {
        panic!("{what}");
    }

    fn disk_bytes(&self) -> u64 {
        locked(&self.0).bytes.len() as u64
    }

    fn name(&self) -> String {
        "the disk".to_owned()
    }
}

#[test]
fn a_full_disk_costs_the_ballast_first_and_nothing_else() {
    for left in [0, 700, 5_000, 9_000, 20_000] {
        let disk = Disk::new(4 << 20, ENOSPC);
        let running = disk.clone().open(1 << 20);
        running.commit(batch(vec![event(0)]));
        disk.leave(left);
        running.commit(batch((1..60).map(event).collect()));
        assert_eq!(running.store.status().failing, None);
        assert_eq!(running.handed(), (0..60).collect::<Vec<_>>());
        assert_eq!(locked(&disk.0).reserve, 0, "it was needed");
        disk.holds(60);
    }
}

impl Disk {
    /// Everything that was handed on is in a copy of it.
    fn holds(&self, count: u64) {
        let bytes = locked(&self.0).bytes.clone();
        let copy = Disk::new(0, ENOSPC);
        locked(&copy.0).bytes = bytes;
        let db = Medium::open(&copy, true).unwrap();
        assert_eq!(sequences(&books::read(&db).unwrap().waiting), (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn while_the_disk_takes_nothing_nothing_is_handed_on_and_then_all_of_it_is() {
    for (left, error, words) in
        [(0, ENOSPC, "Make room"), (6_000, EIO, "Check the disk"), (30_000, ENOSPC, "Make room")]
    {
        let disk = Disk::new(0, error);
        let running = disk.clone().open(16 << 20);
        running.commit(batch(vec![event(0)]));
        disk.leave(left);
        let called = Arc::new(AtomicBool::new(false));
        for sequence in 1..200 {
            running.store.write(batch(vec![event(sequence)]));
            if sequence % 50 == 0 {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        let call = Arc::clone(&called);
        running
            .store
            .write(Batch { then: vec![Box::new(move || call.store(true, Ordering::SeqCst))], ..Batch::default() });
        until("it is said", || running.store.status().failing.is_some());
        std::thread::sleep(Duration::from_millis(100));
        let failing = running.store.status().failing.expect("still");
        assert!(failing.contains(words) && failing.contains("the disk"), "{failing}");
        let handed = running.handed();
        assert!(handed.len() < 200 && !called.load(Ordering::SeqCst));
        assert_eq!(running.store.status().uncommitted, 200 - handed.len() as u64);
        disk.leave(usize::MAX);
        until("all is handed on", || running.handed().len() == 200);
        assert_eq!(running.handed(), (0..200).collect::<Vec<_>>(), "once, in order");
        until("the closure is called", || called.load(Ordering::SeqCst));
        assert_eq!(running.store.status().failing, None);
        disk.holds(200);
    }
}

#[test]
fn when_memory_is_full_the_oldest_events_go_first_and_are_counted_for_good() {
    let disk = Disk::new(0, ENOSPC);
    let running = disk.clone().open(40_000);
    running.commit(batch(vec![event(0)]));
    disk.leave(0);
    for sequence in 1..600 {
        running.store.write(batch(vec![if sequence % 10 == 0 { trigger(sequence) } else { event(sequence) }]));
    }
    let dropped = running.store.status().dropped_uncommitted;
    assert!((300..560).contains(&dropped), "{dropped}");
    assert!(running.store.status().uncommitted_bytes < 40_000);
    disk.leave(usize::MAX);
    until("the rest is handed on", || running.store.status().uncommitted == 0);
    let handed = running.handed();
    assert_eq!(handed.len() as u64, 600 - running.store.status().dropped_uncommitted);
    assert!((1..60).all(|ten| handed.contains(&(ten * 10))), "triggers stay: {handed:?}");
    assert!(handed.is_sorted() && handed.contains(&599));
    let dropped = running.store.status().dropped_uncommitted;
    assert_eq!(running.store.close(PATIENCE), 0);
    let db = Medium::open(&disk, true).unwrap();
    let mut status = StoreStatus::default();
    books::read(&db).unwrap().counters.report(&mut status);
    assert_eq!(status.dropped_uncommitted, dropped);
}

#[test]
fn closing_in_time_tells_what_could_not_be_committed() {
    let disk = Disk::new(0, ENOSPC);
    let running = disk.clone().open(1 << 20);
    running.commit(batch(vec![event(0)]));
    disk.leave(0);
    running.store.write(batch((1..8).map(event).collect()));
    let begun = Instant::now();
    assert_eq!(running.store.close(Duration::from_millis(500)), 7);
    assert!(begun.elapsed() < 3 * SECOND);
    assert_eq!(running.handed(), [0]);
}
