//! Recordings, and what must not be in them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::worker::Worker;
use super::*;
use crate::model::{DeviceId, LatLon};
use crate::registry::{Beacon, Consent, Device, PresenceSettings, fixture};
use crate::source::recordings;

const IBEACON: &str = "ibeacon:41424344-4546-4748-4940-414243444546/1/2";

fn wall(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn address(last: u8) -> crate::advert::Address {
    crate::advert::Address { bytes: [0xc0, 0, 0, 0, 0, last], random: Some(true) }
}

fn heard(time: Timestamp, last: u8, data: AdvertisingData) -> Advertisement {
    Advertisement {
        time,
        receiver: "r1".parse().unwrap(),
        address: Some(address(last)),
        rssi: crate::model::Rssi::new(-60.0).unwrap(),
        data,
    }
}

fn sighting(time: &str, last: u8) -> Entry {
    Entry::Sighting(heard(wall(time), last, AdvertisingData::default()))
}

fn report(time: Timestamp, device: &str) -> PositionReport {
    let at = LatLon { latitude: 48.8566, longitude: 2.3522 };
    PositionReport { time, device: DeviceId::new(device).unwrap(), at, accuracy: 3.0, level: None }
}

/// The fixture's registry with other devices and beacons.
fn registry(change: impl FnOnce(&mut Vec<Beacon>, &mut Vec<Device>)) -> Arc<Registry> {
    let all = fixture::registry(&PresenceSettings::default());
    let mut beacons: Vec<Beacon> = all.beacons().iter().map(|beacon| (**beacon).clone()).collect();
    let mut devices: Vec<Device> = all.devices().iter().map(|device| (**device).clone()).collect();
    change(&mut beacons, &mut devices);
    let receivers = all.receivers().iter().map(|receiver| (**receiver).clone()).collect();
    Arc::new(Registry::new(fixture::site(), receivers, Vec::new(), beacons, devices).unwrap())
}

struct Desk {
    data: TempDir,
    shared: Arc<Shared>,
    config: RecordConfig,
}

impl Desk {
    fn new() -> Self {
        let config = RecordConfig { days: 36_500, ..RecordConfig::default() };
        Self { data: tempfile::tempdir().unwrap(), shared: Arc::default(), config }
    }

    fn dir(&self) -> PathBuf {
        self.data.path().join(DIRECTORY)
    }

    fn worker(&self, registry: &Arc<Registry>) -> Worker {
        let shelf = Shelf::new(self.dir(), self.config, Arc::clone(&self.shared));
        Worker::new(shelf, Arc::clone(registry), Clock::new(), Arc::clone(&self.shared))
    }

    /// Opens the shelf, writes those down, and ends.
    fn write(&self, registry: &Arc<Registry>, entries: &[Entry]) {
        let mut worker = self.worker(registry);
        worker.flush();
        entries.iter().for_each(|entry| worker.add(entry));
        worker.flush();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != carriers::FILE);
        names.sort();
        names
    }

    /// The lines of all recordings, as replay reads them, by time and last byte of the address or device.
    fn lines(&self) -> Vec<String> {
        let read = recordings::open(&[self.dir()], None);
        read.map(|item| match item.unwrap() {
            (time, Input::Advertisement(heard)) => {
                let whose = heard.address.map_or_else(|| "frame".to_owned(), |address| address.bytes[5].to_string());
                format!("{} {whose}", &time.to_string()[11..19])
            }
            (time, Input::PositionReport(report)) => format!("{} {}", &time.to_string()[11..19], report.device),
            _ => unreachable!("files do not say this"),
        })
        .collect()
    }
}

fn soon(hours_ago: i64) -> Timestamp {
    crate::clock::wall_clock().shifted(-hours_ago * 3_600_000)
}

#[test]
fn of_a_sighting_only_what_names_the_beacon_is_kept() {
    let registry = registry(|beacons, _| beacons[0].identity = IBEACON.parse().unwrap());
    let clock = Clock::new();
    let now = clock.now();
    let frame = hex::decode("02154142434445464748494041424344454600010002f8").unwrap();
    let phone = (0x75, vec![1, 2, 3]);
    let data = AdvertisingData { manufacturer_data: vec![phone, (0x4c, frame.clone())], service_data: Vec::new() };
    let of = |heard: Advertisement| entry(&registry, &clock, &Input::Advertisement(heard));

    let Some(Entry::Sighting(kept)) = of(heard(now, 9, data.clone())) else { panic!("it is a registered beacon") };
    assert_eq!((kept.address, &kept.data.manufacturer_data[..]), (None, &[(0x4c, frame)][..]));
    // By its address: then the data is of no use.
    let other = AdvertisingData { manufacturer_data: vec![(0x75, vec![1])], service_data: Vec::new() };
    let Some(Entry::Sighting(kept)) = of(heard(now, 2, other)) else { panic!("it is a registered beacon") };
    assert_eq!((kept.address, kept.data), (Some(address(2)), AdvertisingData::default()));

    assert_eq!(of(heard(now, 3, AdvertisingData::default())), None, "without consent");
    assert_eq!(of(heard(now, 77, AdvertisingData::default())), None, "a stranger");
    assert!(of(heard(now, 0x0f, AdvertisingData::default())).is_some(), "a fixed beacon");
    let reported = |device| entry(&registry, &clock, &Input::PositionReport(report(now, device)));
    assert!(reported("d1").is_some() && reported("d3").is_none() && reported("nobody").is_none());
}

#[test]
fn what_the_engine_refuses_is_not_recorded() {
    let desk = Desk::new();
    let registry = registry(|_, _| {});
    let clock = Clock::new();
    let mut engine = Engine::new(Arc::clone(&registry), "e");
    let recorder = Recorder::start(desk.data.path(), desk.config, &registry, &clock).unwrap();
    let now = clock.now();
    let at = |last: u8| Input::Advertisement(heard(now, last, AdvertisingData::default()));
    recorder.handle(&mut engine, at(1), now);
    recorder.handle(&mut engine, at(3), now);
    let mut unknown = heard(now, 1, AdvertisingData::default());
    unknown.receiver = "elsewhere".parse().unwrap();
    recorder.handle(&mut engine, Input::Advertisement(unknown), now);
    recorder.handle(
        &mut engine,
        Input::Advertisement(heard(now.shifted(-700_000), 1, AdvertisingData::default())),
        now,
    );
    recorder.handle(&mut engine, Input::PositionReport(report(now, "d2")), now);
    let mut home = report(now.shifted(1), "d2");
    home.at.latitude = 49.9;
    recorder.handle(&mut engine, Input::PositionReport(home), now);
    let watch = recorder.watch();
    recorder.close(Duration::from_secs(20));
    let status = watch().unwrap();
    assert_eq!((status.kept, status.dropped, status.failing), (2, 0, None));
    assert!(status.bytes > 0);
    assert_eq!(desk.lines().len(), 2);
}

#[test]
fn each_hour_has_a_file_that_only_its_user_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    let entries = [
        sighting("2026-11-24T10:59:59.900Z", 1),
        sighting("2026-11-24T11:00:00.100Z", 1),
        // It came late, and belongs where its time is.
        sighting("2026-11-24T10:59:59.950Z", 2),
        sighting("2026-11-24T23:00:00.000Z", 1),
    ];
    desk.write(&registry(|_, _| {}), &entries);
    assert_eq!(desk.names(), ["2026-11-24T10.jsonl.gz", "2026-11-24T11.jsonl.gz", "2026-11-24T23.jsonl.gz"]);
    assert_eq!(desk.lines(), ["10:59:59 1", "10:59:59 2", "11:00:00 1", "23:00:00 1"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.dir()), 0o700);
    for entry in fs::read_dir(desk.dir()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_torn_file_is_whole_again_after_the_next_start_wherever_it_was_torn() {
    let registry = registry(|_, _| {});
    let desk = Desk::new();
    let path = desk.dir().join("2026-11-24T10.jsonl.gz");
    desk.write(&registry, &[sighting("2026-11-24T10:00:01Z", 1), sighting("2026-11-24T10:00:02Z", 1)]);
    let first = fs::read(&path).unwrap();
    desk.write(&registry, &[sighting("2026-11-24T10:00:03Z", 2), sighting("2026-11-24T10:00:04Z", 2)]);
    let whole = fs::read(&path).unwrap();
    assert!(whole.starts_with(&first) && whole.len() > first.len() + 20);
    for end in first.len()..=whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        desk.write(&registry, &[sighting("2026-11-24T10:00:05Z", 1)]);
        let mut expected = vec!["10:00:01 1", "10:00:02 1", "10:00:03 2", "10:00:04 2", "10:00:05 1"];
        if end < whole.len() {
            expected.drain(2..4);
        }
        assert_eq!(desk.lines(), expected, "torn after {end} of {} bytes", whole.len());
    }
    // Nothing of the first member is whole: nothing is left, and the file begins anew.
    for end in 0..first.len() {
        fs::write(&path, &first[..end]).unwrap();
        desk.write(&registry, &[sighting("2026-11-24T10:00:05Z", 1)]);
        assert_eq!(desk.lines(), ["10:00:05 1"], "torn after {end} of {} bytes", first.len());
    }
}

#[test]
fn files_that_are_too_old_are_deleted_and_of_too_many_the_oldest() {
    let mut desk = Desk::new();
    let registry = registry(|_, _| {});
    let at = |hours_ago: i64| Entry::Sighting(heard(soon(hours_ago), 1, AdvertisingData::default()));
    desk.write(&registry, &[at(100), at(48), at(30), at(2)]);
    desk.config.days = 2;
    desk.worker(&registry).flush();
    let left = desk.names();
    assert_eq!(left.len(), 3, "an hour is kept until its last minute is two days old: {left:?}");
    assert_eq!(desk.shared.deleted.load(Ordering::Relaxed), 1);
    fs::write(desk.dir().join("notes.txt"), "not ours").unwrap();
    desk.config.max_bytes = fs::metadata(desk.dir().join(&left[2])).unwrap().len() + 1;
    desk.worker(&registry).flush();
    assert_eq!(desk.names(), [left[2].as_str(), "notes.txt"]);
    desk.config.max_bytes = 1;
    desk.worker(&registry).flush();
    assert_eq!(desk.names(), [left[2].as_str(), "notes.txt"], "the newest stays");
}

#[test]
fn where_recording_is_switched_off_nothing_of_it_is_left() {
    let desk = Desk::new();
    let registry = registry(|_, _| {});
    desk.write(&registry, &[sighting("2026-11-24T10:00:01Z", 1)]);
    let off = RecordConfig { days: 0, ..desk.config };
    let recorder = Recorder::start(desk.data.path(), off, &registry, &Clock::new()).unwrap();
    assert!(!desk.dir().exists());
    assert_eq!(recorder.watch()(), None);
    Recorder::start(desk.data.path(), off, &registry, &Clock::new()).unwrap();
}

#[test]
fn who_withdraws_consent_or_is_removed_is_erased_at_the_next_start() {
    let all = registry(|_, _| {});
    let time = |second: u32| format!("2026-11-24T10:00:{second:02}Z");
    let desk = || {
        let desk = Desk::new();
        let mut entries: Vec<Entry> = [1, 2, 0x0f].into_iter().map(|last| sighting(&time(last.into()), last)).collect();
        entries.push(Entry::Report(report(wall(&time(20)), "d1")));
        entries.push(Entry::Report(report(wall(&time(21)), "d2")));
        desk.write(&all, &entries);
        // An hour of d1 alone.
        desk.write(&all, &[sighting("2026-11-24T12:00:00Z", 1)]);
        desk
    };
    let left = ["10:00:02 2", "10:00:15 15", "10:00:21 d2"];
    let withdrawn = registry(|_, devices| devices[0].consent = Consent::default());
    let removed = registry(|beacons, devices| {
        beacons.remove(0);
        devices.remove(0);
    });
    let d2 = DeviceId::new("d2").unwrap();
    for (registry, expected, erased) in [
        (&withdrawn, &left[..], 3),
        (&removed, &left[..], 3),
        // The beacon is another's now, but what was heard of its former carrier is not.
        (
            &registry(|beacons, _| beacons[0].device = Some(d2)),
            &["10:00:02 2", "10:00:15 15", "10:00:20 d1", "10:00:21 d2"],
            2,
        ),
        (
            &registry(|_, devices| devices[2].consent = Consent(vec!["presence".to_owned()])),
            &["10:00:01 1", "10:00:02 2", "10:00:15 15", "10:00:20 d1", "10:00:21 d2", "12:00:00 1"],
            0,
        ),
    ] {
        let desk = desk();
        desk.worker(registry).flush();
        assert_eq!(desk.lines(), expected);
        assert_eq!(desk.shared.erased.load(Ordering::Relaxed), erased);
        assert!(!desk.names().iter().any(|name| name.contains("new")), "{:?}", desk.names());
        assert_eq!(desk.names().len(), if erased == 0 { 2 } else { 1 });
        // It is done: the next start has nothing to do, and who comes back begins anew.
        desk.worker(&all).flush();
        assert_eq!(desk.lines(), expected);
    }
}

#[test]
fn recordings_of_nobody_knows_whom_are_deleted() {
    let (desk, registry) = (Desk::new(), registry(|_, _| {}));
    desk.write(&registry, &[sighting("2026-11-24T10:00:01Z", 1)]);
    fs::write(desk.dir().join(carriers::FILE), "{").unwrap();
    desk.worker(&registry).flush();
    assert!(desk.names().is_empty());
}

#[test]
fn a_disk_that_takes_nothing_is_tried_again_and_what_is_too_much_meanwhile_is_counted() {
    let (desk, registry) = (Desk::new(), registry(|_, _| {}));
    fs::write(desk.dir(), "in the way").unwrap();
    let mut worker = desk.worker(&registry);
    worker.flush();
    let failing = || desk.shared.failing.lock().unwrap().clone();
    assert!(failing().unwrap().contains("takes nothing"));
    let one = sighting("2026-11-24T10:00:01Z", 1);
    for _ in 0..120_000 {
        worker.add(&one);
    }
    let dropped = desk.shared.dropped.load(Ordering::Relaxed);
    assert!(dropped > 10_000, "{dropped}");
    fs::remove_file(desk.dir()).unwrap();
    worker.flush();
    assert_eq!(failing(), None);
    assert_eq!(desk.shared.kept.load(Ordering::Relaxed) + dropped, 120_000);
    worker.add(&one);
    worker.flush();
    assert_eq!(desk.lines().len() as u64, 120_001 - dropped);
}

#[test]
fn a_slow_disk_costs_sightings_and_never_time() {
    let (registry, clock) = (registry(|_, _| {}), Clock::new());
    let (queue, entries) = sync_channel(3);
    let shared = Arc::<Shared>::default();
    let handle = std::thread::spawn(|| {});
    let on = Some(Thread { queue, shared, handle });
    let recorder = Recorder { registry: Arc::clone(&registry), clock: clock.clone(), on };
    let mut engine = Engine::new(registry, "e");
    for _ in 0..10 {
        let now = clock.now();
        recorder.handle(&mut engine, Input::Advertisement(heard(now, 1, AdvertisingData::default())), now);
    }
    assert_eq!(recorder.watch()().unwrap().dropped, 7);
    assert_eq!((entries.try_iter().count(), engine.counters().sightings), (3, 10));
}

#[test]
fn a_replay_of_a_recording_gives_the_events_that_there_were() {
    let (desk, registry) = (Desk::new(), registry(|_, _| {}));
    let clock = Clock::new();
    let recorder = Recorder::start(desk.data.path(), desk.config, &registry, &clock).unwrap();
    let mut live = Engine::new(Arc::clone(&registry), "e");
    let mut events = Vec::new();
    let take = |engine: &mut Engine| {
        let mut events = Vec::new();
        while let Some(output) = engine.poll_output() {
            if let crate::engine::Output::Event(event) = output {
                events.push((event.id, event.observed_at, event.decided_at, event.position));
            }
        }
        events
    };
    let start = clock.now().shifted(-3_600_000);
    for step in 0..600 {
        let now = start.shifted(step * 200);
        for last in [1, 2, 3, 77] {
            recorder.handle(&mut live, Input::Advertisement(heard(now, last, AdvertisingData::default())), now);
            events.extend(take(&mut live));
        }
        if step % 50 == 49 {
            recorder.handle(&mut live, Input::PositionReport(report(now, "d2")), now);
            events.extend(take(&mut live));
        }
    }
    recorder.close(Duration::from_secs(20));
    let mut again = Engine::new(registry, "e");
    let mut replayed = Vec::new();
    for item in recordings::open(&[desk.dir()], None) {
        let (now, input) = item.unwrap();
        again.handle(input, now);
        replayed.extend(take(&mut again));
    }
    assert!(replayed.len() >= 2, "{replayed:?}");
    assert_eq!(replayed, events);
}
