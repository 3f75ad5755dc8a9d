//! What the gateway keeps: hands to the store what each input changed, and gets it back after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;

use super::facts;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::engine::{DeviceRecord, Engine, Memory};
use crate::health::BeaconRecord;
use crate::model::{DeviceId, Timestamp};
use crate::store::{Batch, Head, Row, Store};
use crate::trigger::SiteHistory;

/// While somebody is inside, it is written down this often that the gateway runs: after a power cut it is known so well
/// when visits were last seen to go on.
const ALIVE: Duration = Duration::from_secs(60);
/// A device that is nowhere is remembered for so long: reports that are older are refused anyway.
const REMEMBERED: Duration = Duration::from_secs(11 * 60);

/// While rules wait for who stays away, that is written down every so many times.
const WAITING: u32 = 10;
/// The row of what rules remember of the site.
pub(crate) const SITE_HISTORY: &str = "rules/site";
/// Keys of the rows of what is known of beacons.
const BEACONS: &str = "beacon-health/";
/// Beacons that are written down at once, …
const MOST_BEACONS: usize = 256;
/// … and when the gateway stops.
const MOST_LAST_BEACONS: usize = 20_000;

/// What an answer waits for: the commit of what it led to.
pub type Then = Box<dyn FnOnce() + Send>;

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    clock: Clock,
    head: Head,
    alive_due: Timestamp,
    /// How often it was due since anybody was inside.
    waited: u32,
    /// Devices that are nowhere and still remembered, and since when.
    nowhere: BTreeMap<DeviceId, Timestamp>,
}

/// What rules remember of the site.
fn site_history(store: &Store) -> SiteHistory {
    let read = store.row(SITE_HISTORY).map_err(|error| error.to_string());
    let read = read.and_then(|row| row.map(|row| serde_json::from_slice(&row).map_err(|e| e.to_string())).transpose());
    match read {
        Ok(site) => site.unwrap_or_default(),
        Err(error) => {
            warn!("what rules remember of the site cannot be read; it is forgotten: {error}");
            SiteHistory::default()
        }
    }
}

/// What is known of beacons. A record that cannot be read is forgotten: it is learned anew.
pub fn beacons(store: &Store) -> Vec<BeaconRecord> {
    let rows = store.rows(&[BEACONS]).unwrap_or_else(|error| {
        warn!("what is known of beacons cannot be read; it is learned anew: {error}");
        Vec::new()
    });
    let read = rows.into_iter().filter_map(|(key, row)| {
        let record = serde_json::from_slice::<BeaconRecord>(&row).inspect_err(|error| {
            warn!(key, "what is known of a beacon cannot be read; it is learned anew: {error}");
        });
        record.ok().filter(|record| key.strip_prefix(BEACONS) == Some(record.id.as_str()))
    });
    read.collect()
}

/// The rows of what is known of beacons, where that is due by `now`.
fn beacon_rows(engine: &mut Engine, now: Timestamp, most: usize) -> Vec<Row> {
    let records = engine.take_beacons(now, most).into_iter();
    // Ids and numbers have a JSON form.
    let value = |record: Option<BeaconRecord>| record.and_then(|record| serde_json::to_vec(&record).ok());
    records.map(|(id, record)| Row { key: format!("{BEACONS}{id}"), value: value(record), place: 0 }).collect()
}

impl Keeper {
    /// A keeper that goes on from `head` and `records`, and what the engine is to be restored from.
    pub fn new(store: Store, clock: Clock, head: Head, records: Vec<(DeviceId, Vec<u8>)>) -> (Self, Memory) {
        let now = clock.now();
        let mut devices: Vec<DeviceRecord> = Vec::with_capacity(records.len());
        let mut nowhere = BTreeMap::new();
        for (id, record) in records {
            match serde_json::from_slice::<DeviceRecord>(&record) {
                Ok(memory) if memory.presence.id == id => {
                    if !memory.is_lasting() {
                        nowhere.insert(id, now);
                    }
                    devices.push(memory);
                }
                Ok(_) => warn!(device = %id, "the record of a device is another's; it is forgotten"),
                Err(error) => warn!(device = %id, "the record of a device cannot be read; it is forgotten: {error}"),
            }
        }
        let site = site_history(&store);
        let memory = Memory { began: head.began, sequence: head.sequence, alive_at: head.alive_at, devices, site };
        (Self { store, clock, head, alive_due: now + ALIVE, waited: 0, nowhere }, memory)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Hands over what has changed since the last call. `then` is called when that is committed, and everything before it.
    pub fn keep(&mut self, engine: &mut Engine, outlet: &mut Outlet, then: Vec<Then>) {
        self.keep_with(engine, outlet, Vec::new(), then);
    }

    /// As [`Keeper::keep`], with rows that change in the same transaction.
    pub fn keep_with(&mut self, engine: &mut Engine, outlet: &mut Outlet, rows: Vec<Row>, then: Vec<Then>) {
        let (mut then, mut rows) = (then, rows);
        if let Some(site) = engine.take_site_changed() {
            // Ids, numbers and texts have a JSON form.
            rows.push(Row { key: SITE_HISTORY.to_owned(), value: serde_json::to_vec(site).ok(), place: 0 });
        }
        let entries = outlet.take_entries();
        then.extend(outlet.take_states());
        let changed = engine.take_changed();
        let gone = engine.take_gone();
        if entries.is_empty() && changed.is_empty() && gone.is_empty() && rows.is_empty() && then.is_empty() {
            return;
        }
        for device in &gone {
            outlet.forget(device);
            if engine.registry().device(device).is_none() {
                rows.push(facts::forgotten(device));
            }
        }
        let mut devices: Vec<_> = changed.into_iter().map(|memory| self.record(memory)).collect();
        devices.extend(gone.into_iter().map(|device| (device, None)));
        let head = (!entries.is_empty() || !devices.is_empty() || !rows.is_empty()).then(|| self.head(engine));
        self.store.write(Batch { entries, devices, head, rows, then });
    }

    /// To be called about once a second: says what time it is, that the gateway lives, and forgets who is long gone.
    pub fn tick(&mut self, engine: &mut Engine) {
        let now = self.clock.now();
        self.store.tick(now);
        let rows = beacon_rows(engine, now, MOST_BEACONS);
        if !rows.is_empty() {
            let head = Some(self.head(engine));
            self.store.write(Batch { head, rows, ..Batch::default() });
        }
        if now < self.alive_due {
            return;
        }
        self.alive_due = now + ALIVE;
        let gone: Vec<DeviceId> = self
            .nowhere
            .iter()
            .filter(|(_, since)| now.since(**since) > REMEMBERED)
            .map(|(device, _)| device.clone())
            .collect();
        for device in &gone {
            self.nowhere.remove(device);
        }
        if gone.is_empty() && !engine.is_anybody_inside() {
            // Nobody is to be called absent for the time in which the gateway was off: that is known less well.
            self.waited = (self.waited + 1) % WAITING;
            if !engine.is_waiting() || self.waited > 0 {
                return;
            }
        }
        let devices = gone.into_iter().map(|device| (device, None)).collect();
        let head = Some(self.head(engine));
        self.store.write(Batch { devices, head, ..Batch::default() });
    }

    /// The wall clock has jumped: that is part of every later time.
    pub fn jumped(&mut self, engine: &Engine) {
        let head = Some(self.head(engine));
        self.store.write(Batch { head, ..Batch::default() });
    }

    /// Writes down where everybody is, and waits for the commit.
    pub async fn finish(&mut self, engine: &mut Engine, outlet: &mut Outlet, within: Duration) {
        self.keep(engine, outlet, Vec::new());
        let devices: Vec<_> = engine.memories().into_iter().map(|memory| self.record(memory)).collect();
        // Whatever is due in the future.
        let rows = beacon_rows(engine, Timestamp::from_millis(i64::MAX), MOST_LAST_BEACONS);
        let head = Some(self.head(engine));
        let (done, committed) = tokio::sync::oneshot::channel();
        let tell = move || {
            // Nobody waits any longer.
            let _ = done.send(());
        };
        let then: Vec<Then> = vec![Box::new(tell)];
        self.store.write(Batch { devices, head, rows, then, ..Batch::default() });
        // What is not committed by then is counted when the store is closed.
        let _ = tokio::time::timeout(within, committed).await;
    }

    /// Closes the database. Gives how many events could not be committed.
    pub fn close(self, within: Duration) -> u64 {
        self.store.close(within)
    }

    fn record(&mut self, memory: DeviceRecord) -> (DeviceId, Option<Vec<u8>>) {
        let id = memory.presence.id.clone();
        if memory.is_lasting() {
            self.nowhere.remove(&id);
        } else {
            self.nowhere.insert(id.clone(), self.clock.now());
        }
        match serde_json::to_vec(&memory) {
            Ok(record) => (id, Some(record)),
            Err(error) => {
                // Ids, numbers and texts have a JSON form: this cannot happen, and must not end anything.
                warn!(device = %id, "a device cannot be written down: {error}");
                (id, None)
            }
        }
    }

    fn head(&mut self, engine: &Engine) -> Head {
        self.head.sequence = engine.sequence();
        self.head.alive_at = self.clock.now();
        self.head.jumped_ms = self.clock.offset_ms();
        self.head.jumps = self.clock.jumps();
        self.head.clone()
    }
}
