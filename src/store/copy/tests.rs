//! Copies of a store while it is written.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::model::{DeviceId, Timestamp};
use crate::store::{Batch, Class, Entry, Head, Limits, Opened, Options, Row, Settled};

const SECOND: Duration = Duration::from_secs(1);

fn open(dir: &Path) -> Opened {
    let limits = Limits {
        max_age: 3_600 * SECOND,
        max_bytes: 1 << 30,
        tail_age: 3_600 * SECOND,
        tail_bytes: 1 << 30,
        memory_bytes: 64 << 20,
    };
    let site = crate::model::SiteId::new("store-1").unwrap();
    let now = Timestamp::from_millis(1_767_225_600_000);
    Store::open(Options { dir: dir.to_path_buf(), site, limits, dictionary: Vec::new(), now }).unwrap()
}

/// Batch `at`: an event, the record of its device, and a row that says how many there were.
fn batch(at: u64, head: &Head, size: usize) -> Batch {
    let device = DeviceId::new("d1").unwrap();
    // What cannot be compressed.
    let mut noise = at.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let bytes = (0..size).map(|_| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise as u8
    });
    let payload = Bytes::from(bytes.collect::<Vec<u8>>());
    let entry = Entry {
        sequence: at,
        device: device.clone(),
        class: Class::Event,
        made: head.began,
        topic: "store-1/events/door/entered".to_owned(),
        payload,
    };
    let counter = Row { key: "counter".to_owned(), value: Some(at.to_string().into_bytes()), place: 7 };
    Batch {
        entries: vec![entry],
        devices: vec![(device, Some(at.to_string().into_bytes()))],
        head: Some(Head { sequence: at + 1, ..head.clone() }),
        rows: vec![counter],
        then: Vec::new(),
    }
}

fn commit(store: &Store, mut batch: Batch) -> Duration {
    let (tell, told) = mpsc::channel();
    batch.then.push(Box::new(move || tell.send(()).unwrap()));
    let begun = Instant::now();
    store.write(batch);
    told.recv_timeout(60 * SECOND).expect("committed");
    begun.elapsed()
}

fn fill(store: &Store, head: &Head, batches: std::ops::Range<u64>, size: usize) {
    for at in batches {
        commit(store, batch(at, head, size));
    }
}

fn read(bytes: &[u8]) -> Result<(Summary, Vec<CopiedRow>), CopyError> {
    let (mut reader, mut summary, mut rows) = (Reader::new(bytes), Summary::default(), Vec::new());
    while let Some(row) = reader.next_row()? {
        summary.note(&row)?;
        rows.push(row);
    }
    Ok((summary, rows))
}

#[test]
fn copies_made_while_batches_are_committed_are_each_of_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, head, .. } = open(dir.path());
    store.start(|_| ());
    fill(&store, &head, 0..200, 2_000);
    let alone = (200..240).map(|at| commit(&store, batch(at, &head, 2_000))).max().unwrap();
    let stop = AtomicBool::new(false);
    let (mut copies, mut slowest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let copying = scope.spawn(|| {
            let mut copies: u64 = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut bytes = Vec::new();
                store.snapshot().unwrap().write_to(&mut bytes).unwrap();
                let (summary, rows) = read(&bytes).unwrap();
                let sequence = summary.head.unwrap().sequence;
                let text = (sequence - 1).to_string();
                let counter = rows.iter().find_map(|row| row.kept().filter(|(key, _)| *key == "counter")).unwrap();
                assert_eq!(counter.1, text.as_bytes(), "a row of another commit");
                let record = rows.iter().find(|row| row.table == Table::Devices).unwrap();
                assert_eq!(record.value, text.as_bytes(), "a device of another commit");
                let events = rows.iter().filter(|row| row.table == Table::Events).count() as u64;
                assert_eq!((events, summary.waiting), (sequence, sequence), "events of another commit");
                copies += 1;
            }
            copies
        });
        slowest = (240..300).map(|at| commit(&store, batch(at, &head, 2_000))).max().unwrap();
        stop.store(true, Ordering::Relaxed);
        copies = copying.join().unwrap();
    });
    eprintln!("slowest commit: {alone:?} alone, {slowest:?} beside {copies} copies");
    assert!(copies > 0);
    assert!(slowest < 5 * SECOND, "a commit waited for a copy: {slowest:?}");
    assert_eq!(store.close(5 * SECOND), 0);
}

/// Takes nothing after its first bytes until it is let go.
struct Stuck(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(());
        let _ = self.1.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_copy_that_is_stuck_keeps_no_commit_and_no_close_waiting_and_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, head, .. } = open(dir.path());
    store.start(|_| ());
    // More than the cache holds: what is read after the close is not there any more.
    fill(&store, &head, 0..60, 400_000);
    let ((tell, begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let copied = store.clone();
    let copying = std::thread::spawn(move || {
        let snapshot = copied.snapshot().unwrap();
        drop(copied);
        snapshot.write_to(Stuck(tell, wait))
    });
    begun.recv().unwrap();
    assert!(commit(&store, batch(60, &head, 10)) < 5 * SECOND);
    assert_eq!(store.inner().copies.load(std::sync::atomic::Ordering::SeqCst), 1);
    let started = Instant::now();
    assert_eq!(store.close(20 * SECOND), 0);
    assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
    drop(go);
    let failed = copying.join().unwrap().unwrap_err();
    assert!(failed.to_string().contains("the database cannot be read"), "{failed}");
    // The directory is free at once.
    drop(store);
    assert_eq!(open(dir.path()).head.sequence, 61);
}

#[test]
fn a_copy_comes_back_byte_for_byte_and_what_is_cut_or_bent_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, head, .. } = open(dir.path());
    store.start(|_| ());
    fill(&store, &head, 0..6, 100);
    store.settle(0, Settled::Acknowledged);
    store.settle(1, Settled::Unheard);
    store.settle(2, Settled::Parked("no".to_owned()));
    commit(&store, batch(6, &head, 100));
    let mut bytes = Vec::new();
    store.snapshot().unwrap().write_to(&mut bytes).unwrap();
    store.close(5 * SECOND);
    let mut closed = Vec::new();
    write_closed(dir.path(), &mut closed).unwrap();
    assert_eq!(closed, bytes, "the same whether it runs or not");
    let (summary, rows) = read(&bytes).unwrap();
    assert_eq!((summary.site.as_deref(), summary.format), (Some("store-1"), Some(known_format())));
    assert_eq!((summary.waiting, summary.acknowledged, summary.parked), (4, 2, 1));
    let mut again = Vec::new();
    let mut writer = Rewriter::new(&mut again).unwrap();
    rows.iter().for_each(|row| writer.put(row).unwrap());
    writer.finish().unwrap();
    assert_eq!(again, bytes);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
    let mut without = Vec::new();
    let mut writer = Rewriter::new(&mut without).unwrap();
    rows.iter().skip(1).for_each(|row| writer.put(row).unwrap());
    writer.finish().unwrap();
    assert_eq!(read(&without).unwrap().0.rows, summary.rows);
    let count = bytes.len() - 8;
    let mut miscounted = bytes.clone();
    miscounted[count] ^= 1;
    assert!(matches!(read(&miscounted), Err(CopyError::Damaged(_))));
    let mut refused = Vec::new();
    refuse(&mut refused, "not now").unwrap();
    assert!(matches!(read(&refused), Err(CopyError::BrokenOff(why)) if why == "not now"));
}

#[test]
fn what_is_put_back_has_a_new_epoch_no_outbox_and_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, head, .. } = open(dir.path());
    store.start(|_| ());
    fill(&store, &head, 0..5, 100);
    let many =
        (0..2_000).map(|at| Row { key: format!("zone/{at}"), value: Some(vec![b'x'; 3_000]), place: at }).collect();
    commit(&store, Batch { rows: many, ..Batch::default() });
    let mut bytes = Vec::new();
    store.snapshot().unwrap().write_to(&mut bytes).unwrap();
    store.close(5 * SECOND);

    let other = tempfile::tempdir().unwrap();
    let earlier = Head { jumped_ms: 5, jumps: 2, ..read(&bytes).unwrap().0.head.unwrap() };
    let now = Timestamp::from_millis(1_767_300_000_000);
    let drop_one = |row: CopiedRow| Ok((row.key != b"zone/7").then_some(row));
    let begun = restore(Reader::new(bytes.as_slice()), other.path(), (&earlier, now), drop_one).unwrap();
    let opened = open(other.path());
    assert_eq!(opened.head, begun);
    assert_ne!(begun.epoch, earlier.epoch);
    assert_eq!((begun.sequence, begun.began, begun.alive_at), (0, now, earlier.alive_at));
    assert_eq!((begun.jumped_ms, begun.jumps), (5, 2));
    assert!(!opened.is_new && opened.waiting.is_empty());
    assert_eq!(opened.devices, [(DeviceId::new("d1").unwrap(), b"4".to_vec())]);
    let rows = opened.store.rows(&["zone/"]).unwrap();
    assert_eq!(rows.len(), 1_999);
    assert_eq!(rows[7].0, "zone/8", "rows keep their places");
    assert_eq!(opened.store.row("counter").unwrap(), Some(b"4".to_vec()));
    opened.store.close(SECOND);
    drop(opened);
    // A stream that is cut leaves an error, not half a database that would be used.
    let third = tempfile::tempdir().unwrap();
    let cut = Reader::new(&bytes[..bytes.len() - 1]);
    assert!(restore(cut, third.path(), (&earlier, now), |row| Ok(Some(row))).is_err());
}

#[test]
fn a_file_is_not_compacted_under_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, head, .. } = open(dir.path());
    store.spawn(
        |_| (),
        |tuning| {
            tuning.housekeeping = Duration::from_millis(20);
            tuning.compact_above = 1 << 20;
        },
    );
    fill(&store, &head, 0..40, 100_000);
    let snapshot = Arc::new(store.snapshot().unwrap());
    (0..40).for_each(|at| store.settle(at, Settled::Dropped(crate::store::Dropped::Full)));
    commit(&store, batch(40, &head, 10));
    store.settle(40, Settled::Acknowledged);
    std::thread::sleep(Duration::from_millis(1_500));
    let before = store.status().disk_bytes;
    assert!(before > 4_000_000, "{before}");
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    assert_eq!(read(&bytes).unwrap().0.waiting, 40, "it is still of its commit");
    drop(snapshot);
    let begun = Instant::now();
    while store.status().disk_bytes > 1_000_000 {
        assert!(begun.elapsed() < 20 * SECOND, "not compacted afterwards: {}", store.status().disk_bytes);
        std::thread::sleep(Duration::from_millis(20));
    }
    store.close(SECOND);
}
