//! What is in the database, and the one transaction that changes it.
//!
//! Every stored entry is in `events`, and in exactly one of `pending` (waits), `tail` (acknowledged) and `parked`.

use redb::WriteTransaction;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition};
use serde::{Deserialize, Serialize};

use super::queue::Work;
use super::record::{decode, decode_waiting, encode, encode_waiting, waiting};
use super::rows;
use super::{Dropped, Entry, Head, Limits, Parked, Settled, StoreStatus, Waiting};
use crate::model::{DeviceId, SiteId, Timestamp};

/// The format that this version writes.
pub(super) const FORMAT: u32 = 2;
/// As far as lz4 looks back.
const MOST_DICTIONARY: usize = 64 << 10;
/// Entries of the tail that one commit prunes beyond those it adds: enough to catch up, too few to be noticed.
const PRUNED_AT_ONCE: usize = 256;

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Apart from `meta`, whose page is written with every commit.
pub(super) const DICTIONARY: TableDefinition<&str, &[u8]> = TableDefinition::new("dictionary");
pub(super) const DEVICES: TableDefinition<&str, &[u8]> = TableDefinition::new("devices");
pub(super) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
pub(super) const PENDING: TableDefinition<u64, &[u8]> = TableDefinition::new("pending");
/// When it was made, its bytes, and whether nobody subscribed to it.
pub(super) const TAIL: TableDefinition<u64, (i64, u32, bool)> = TableDefinition::new("tail");
/// Most entries that are kept parked: they are looked at by people.
const MOST_PARKED: u64 = 10_000;

pub(super) const PARKED: TableDefinition<u64, (&[u8], &str)> = TableDefinition::new("parked");

pub(super) const FORMAT_KEY: &str = "format";
pub(super) const SITE_KEY: &str = "site";
pub(super) const HEAD_KEY: &str = "head";
pub(super) const COUNTERS_KEY: &str = "counters";

/// What is counted for the life of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    acknowledged: u64,
    unheard: u64,
    parked: u64,
    dropped_full: u64,
    dropped_too_old: u64,
    dropped_expired: u64,
    dropped_damaged: u64,
    /// A total, not a difference: a commit that is tried again counts nothing twice.
    pub(super) dropped_uncommitted: u64,
    pub(super) tail_bytes: u64,
}

impl Counters {
    /// Fills in what is counted.
    pub(super) fn report(&self, status: &mut StoreStatus) {
        status.acknowledged = self.acknowledged;
        status.unheard = self.unheard;
        status.parked = self.parked;
        status.dropped_full = self.dropped_full;
        status.dropped_too_old = self.dropped_too_old;
        status.dropped_expired = self.dropped_expired;
        status.dropped_damaged = self.dropped_damaged;
        status.dropped_uncommitted = status.dropped_uncommitted.max(self.dropped_uncommitted);
    }

    fn drop_one(&mut self, why: Dropped) {
        let counter = match why {
            Dropped::Full => &mut self.dropped_full,
            Dropped::TooOld => &mut self.dropped_too_old,
            Dropped::Expired => &mut self.dropped_expired,
            Dropped::Damaged => &mut self.dropped_damaged,
        };
        *counter += 1;
    }
}

/// Everything but the stored bytes of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The format it was written in.
    pub format: u32,
    /// Whose it is.
    pub site: String,
    /// The head.
    pub head: Head,
    /// Records of devices.
    pub devices: Vec<(DeviceId, Vec<u8>)>,
    /// What waits.
    pub waiting: Vec<Waiting>,
    /// What is parked, and why.
    pub parked: Vec<(Waiting, String)>,
    /// Counters.
    pub counters: Counters,
    /// How many are in the acknowledged tail.
    pub tail: u64,
    /// What entries are compressed against.
    pub dictionary: Vec<u8>,
}

/// Why the content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database says so.
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// It is whole, but what it holds makes no sense.
    #[error("{0}")]
    Nonsense(String),
}

/// Results of a commit.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// What entries are compressed against.
    pub dictionary: Vec<u8>,
    /// Counters as committed.
    pub counters: Counters,
    /// How many wait.
    pub waiting: u64,
    /// How many are in the tail.
    pub tail: u64,
    /// When the oldest of the tail was made.
    pub oldest: Option<Timestamp>,
}

impl Books {
    /// Makes an empty database of a site.
    ///
    /// # Errors
    /// What the database says.
    pub fn initialise(db: &Database, site: &SiteId, head: &Head, dictionary: &[u8]) -> Result<(), redb::Error> {
        let tx = db.begin_write()?;
        {
            let mut meta = tx.open_table(META)?;
            meta.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice())?;
            meta.insert(SITE_KEY, site.as_str().as_bytes())?;
            meta.insert(HEAD_KEY, json(head)?.as_slice())?;
            meta.insert(COUNTERS_KEY, json(&Counters::default())?.as_slice())?;
            let from = dictionary.len().saturating_sub(MOST_DICTIONARY);
            tx.open_table(DICTIONARY)?.insert("1", &dictionary[from..])?;
            open_all(&tx)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// What is known of a database that was just read.
    pub fn of(content: &Content) -> Self {
        Self {
            dictionary: content.dictionary.clone(),
            counters: content.counters.clone(),
            waiting: content.waiting.len() as u64,
            tail: content.tail,
            // Not known before the first commit: the epoch makes it look.
            oldest: (content.tail > 0).then(|| Timestamp::from_millis(0)),
        }
    }

    /// Commits work, whole or not at all. It may be work of which it is not known whether it was committed before: then
    /// nothing is done or counted twice.
    ///
    /// # Errors
    /// What the database says; it must be opened again before it is used.
    pub fn commit(
        &mut self,
        db: &Database,
        work: &Work,
        limits: &Limits,
        steady: Timestamp,
    ) -> Result<(), redb::Error> {
        let mut next = self.counters.clone();
        // The durability of a transaction is `Immediate` where nothing else is said.
        let tx = db.begin_write()?;
        let (waiting_now, tail_now, oldest);
        {
            let mut meta = tx.open_table(META)?;
            let mut rows = Rows {
                events: tx.open_table(EVENTS)?,
                pending: tx.open_table(PENDING)?,
                tail: tx.open_table(TAIL)?,
                parked: tx.open_table(PARKED)?,
                dictionary: &self.dictionary,
                counters: &mut next,
            };
            for entry in work.entries() {
                rows.add(entry)?;
            }
            for (sequence, settled) in &work.settled {
                rows.settle(*sequence, settled)?;
            }
            oldest = rows.prune(limits, steady, PRUNED_AT_ONCE + work.settled.len())?;
            waiting_now = rows.pending.len()?;
            tail_now = rows.tail.len()?;
            drop(rows);
            if !work.devices.is_empty() {
                let mut devices = tx.open_table(DEVICES)?;
                for (device, record) in &work.devices {
                    match record {
                        Some(record) => devices.insert(device.as_str(), record.as_slice())?,
                        None => devices.remove(device.as_str())?,
                    };
                }
            }
            if !work.rows.is_empty() {
                rows::change(&tx, work.rows.values())?;
            }
            if let Some(head) = &work.head {
                meta.insert(HEAD_KEY, json(head)?.as_slice())?;
            }
            next.dropped_uncommitted = next.dropped_uncommitted.max(work.dropped_total);
            if next != self.counters {
                meta.insert(COUNTERS_KEY, json(&next)?.as_slice())?;
            }
        }
        tx.commit()?;
        self.counters = next;
        (self.waiting, self.tail, self.oldest) = (waiting_now, tail_now, oldest);
        Ok(())
    }

    /// Whether a commit would prune the tail.
    pub(super) fn wants_pruning(&self, limits: &Limits, steady: Timestamp) -> bool {
        self.counters.tail_bytes > limits.tail_bytes
            || self.oldest.is_some_and(|oldest| steady.since(oldest) > limits.tail_age)
    }

    /// Reads entries by their keys; none where one is gone or damaged.
    pub(super) fn load(db: &Database, dictionary: &[u8], sequences: &[u64]) -> Result<Vec<Option<Entry>>, redb::Error> {
        let tx = db.begin_read()?;
        let events = tx.open_table(EVENTS)?;
        let mut found = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            found.push(events.get(*sequence)?.and_then(|row| decode(*sequence, row.value(), dictionary)));
        }
        Ok(found)
    }

    /// Reads the entries of a range, at most `most` of them, and the key to go on with.
    pub(super) fn range(
        db: &Database,
        dictionary: &[u8],
        (from, to): (u64, u64),
        most: usize,
    ) -> Result<(Vec<Entry>, Option<u64>), redb::Error> {
        let tx = db.begin_read()?;
        let events = tx.open_table(EVENTS)?;
        let mut found = Vec::new();
        for row in events.range(from..=to)? {
            let (sequence, record) = row?;
            let sequence = sequence.value();
            if found.len() >= most {
                return Ok((found, Some(sequence)));
            }
            found.extend(decode(sequence, record.value(), dictionary));
        }
        Ok((found, None))
    }

    /// The keys of all stored entries.
    ///
    /// # Errors
    /// What the database says.
    pub fn stored(db: &impl ReadableDatabase) -> Result<Vec<u64>, redb::Error> {
        let events = db.begin_read()?.open_table(EVENTS)?;
        let mut keys = Vec::new();
        for row in events.iter()? {
            keys.push(row?.0.value());
        }
        Ok(keys)
    }

    /// The keys of all entries that are acknowledged.
    ///
    /// # Errors
    /// What the database says.
    pub fn acknowledged(db: &impl ReadableDatabase) -> Result<Vec<u64>, redb::Error> {
        let tail = db.begin_read()?.open_table(TAIL)?;
        let mut keys = Vec::new();
        for row in tail.iter()? {
            keys.push(row?.0.value());
        }
        Ok(keys)
    }
}

/// Makes the tables of a database that is to be filled with the rows of another.
pub(super) fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let tx = db.begin_write()?;
    tx.open_table(META)?;
    tx.open_table(DICTIONARY)?;
    open_all(&tx)?;
    tx.commit()?;
    Ok(())
}

fn open_all(tx: &WriteTransaction) -> Result<(), redb::Error> {
    tx.open_table(DEVICES)?;
    tx.open_table(EVENTS)?;
    tx.open_table(PENDING)?;
    tx.open_table(TAIL)?;
    tx.open_table(PARKED)?;
    rows::create(tx)
}

/// Format and site of a database: as much as every format has.
///
/// # Errors
/// [`ReadError`].
pub(super) fn label(db: &impl ReadableDatabase) -> Result<(u32, String), ReadError> {
    label_in(&db.begin_read().map_err(redb::Error::from)?)
}

fn label_in(tx: &ReadTransaction) -> Result<(u32, String), ReadError> {
    let meta = tx.open_table(META).map_err(redb::Error::from)?;
    let format = get(&meta, FORMAT_KEY)?;
    let format = <[u8; 4]>::try_from(format).map_err(|_| ReadError::Nonsense("its format is unreadable".to_owned()))?;
    let site = String::from_utf8(get(&meta, SITE_KEY)?)
        .map_err(|_| ReadError::Nonsense("the name of its site is unreadable".to_owned()))?;
    Ok((u32::from_le_bytes(format), site))
}

/// Reads what is parked, oldest first.
///
/// # Errors
/// What the database says.
pub(super) fn parked(db: &impl ReadableDatabase, dictionary: &[u8]) -> Result<Vec<Parked>, redb::Error> {
    let tx = db.begin_read()?;
    let (parked, events) = (tx.open_table(PARKED)?, tx.open_table(EVENTS)?);
    let mut found = Vec::new();
    for row in parked.iter()? {
        let (sequence, row) = row?;
        let (sequence, (_, reason)) = (sequence.value(), row.value());
        let entry = events.get(sequence)?.and_then(|row| decode(sequence, row.value(), dictionary));
        found.push(Parked { sequence, topic: entry.map(|entry| entry.topic), reason: reason.to_owned() });
    }
    Ok(found)
}

/// Reads everything but the stored bytes of entries.
///
/// # Errors
/// [`ReadError`].
pub fn read(db: &impl ReadableDatabase) -> Result<Content, ReadError> {
    let tx = db.begin_read().map_err(redb::Error::from)?;
    let (format, site) = label_in(&tx)?;
    let meta = tx.open_table(META).map_err(redb::Error::from)?;
    let head = parse(&get(&meta, HEAD_KEY)?, HEAD_KEY)?;
    let counters = parse(&get(&meta, COUNTERS_KEY)?, COUNTERS_KEY)?;
    let rows = || -> Result<_, redb::Error> {
        let dictionary = tx.open_table(DICTIONARY)?.get("1")?.map(|row| row.value().to_vec()).unwrap_or_default();
        let mut devices = Vec::new();
        for row in tx.open_table(DEVICES)?.iter()? {
            let (device, record) = row?;
            devices.push((DeviceId::new(device.value()).ok(), record.value().to_vec()));
        }
        let mut waiting = Vec::new();
        for row in tx.open_table(PENDING)?.iter()? {
            let (sequence, row) = row?;
            waiting.push(decode_waiting(sequence.value(), row.value()));
        }
        let mut parked = Vec::new();
        for row in tx.open_table(PARKED)?.iter()? {
            let (sequence, row) = row?;
            let (row, reason) = row.value();
            parked.push(decode_waiting(sequence.value(), row).map(|waiting| (waiting, reason.to_owned())));
        }
        Ok((dictionary, devices, waiting, parked, tx.open_table(TAIL)?.len()?))
    };
    let (dictionary, devices, waiting, parked, tail) = rows()?;
    let nonsense = |what: &str| ReadError::Nonsense(format!("{what} is unreadable"));
    Ok(Content {
        format,
        site,
        head,
        devices: devices
            .into_iter()
            .map(|(device, record)| Some((device?, record)))
            .collect::<Option<_>>()
            .ok_or_else(|| nonsense("the id of a device"))?,
        waiting: waiting.into_iter().collect::<Option<_>>().ok_or_else(|| nonsense("an entry that waits"))?,
        parked: parked.into_iter().collect::<Option<_>>().ok_or_else(|| nonsense("a parked entry"))?,
        counters,
        tail,
        dictionary,
    })
}

fn get(meta: &impl ReadableTable<&'static str, &'static [u8]>, key: &str) -> Result<Vec<u8>, ReadError> {
    let row = meta.get(key).map_err(redb::Error::from)?;
    row.map(|row| row.value().to_vec()).ok_or_else(|| ReadError::Nonsense(format!("its {key} is missing")))
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], key: &str) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::Nonsense(format!("its {key} is unreadable: {error}")))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(value).map_err(|error| redb::Error::Io(error.into()))
}

/// The open tables of a transaction.
struct Rows<'tx, 'a> {
    events: Table<'tx, u64, &'static [u8]>,
    pending: Table<'tx, u64, &'static [u8]>,
    tail: Table<'tx, u64, (i64, u32, bool)>,
    parked: Table<'tx, u64, (&'static [u8], &'static str)>,
    dictionary: &'a [u8],
    counters: &'a mut Counters,
}

impl Rows<'_, '_> {
    fn add(&mut self, entry: &Entry) -> Result<(), redb::Error> {
        let record = encode(entry, self.dictionary);
        // Where it is there already, an earlier commit said that it failed and had not; it may be settled since.
        if self.events.insert(entry.sequence, record.as_slice())?.is_none() {
            self.pending.insert(entry.sequence, encode_waiting(&waiting(entry)).as_slice())?;
        }
        Ok(())
    }

    fn settle(&mut self, sequence: u64, settled: &Settled) -> Result<(), redb::Error> {
        // A reader that could not read, for whatever reason, does not make a sound entry damaged.
        if *settled == Settled::Dropped(Dropped::Damaged)
            && self.events.get(sequence)?.is_some_and(|row| decode(sequence, row.value(), self.dictionary).is_some())
        {
            return Ok(());
        }
        let waited = self.pending.remove(sequence)?.map(|row| row.value().to_vec());
        let row = match waited {
            Some(row) => row,
            None => match self.parked.remove(sequence)? {
                Some(row) => row.value().0.to_vec(),
                None => return Ok(()),
            },
        };
        let (made, bytes) = decode_waiting(sequence, &row).map_or((0, 0), |row| (row.made.as_millis(), row.bytes));
        match settled {
            Settled::Acknowledged | Settled::Unheard => {
                let unheard = *settled == Settled::Unheard;
                self.tail.insert(sequence, (made, bytes, unheard))?;
                self.counters.tail_bytes += u64::from(bytes);
                self.counters.acknowledged += 1;
                self.counters.unheard += u64::from(unheard);
            }
            Settled::Parked(reason) => {
                self.parked.insert(sequence, (row.as_slice(), reason.as_str()))?;
                self.counters.parked += 1;
            }
            Settled::Dropped(why) => {
                self.events.remove(sequence)?;
                self.counters.drop_one(*why);
            }
        }
        Ok(())
    }

    /// Prunes the oldest of what is kept beyond the limits, at most `most`; when the oldest that stays was made.
    fn prune(&mut self, limits: &Limits, steady: Timestamp, most: usize) -> Result<Option<Timestamp>, redb::Error> {
        for _ in 0..most {
            let too_many = self.parked.len()? > MOST_PARKED;
            let Some((sequence, bytes)) = self.parked.first()?.and_then(|(sequence, row)| {
                let waiting = decode_waiting(sequence.value(), row.value().0)?;
                (too_many || steady.since(waiting.made) > limits.max_age).then_some((sequence.value(), waiting.bytes))
            }) else {
                break;
            };
            tracing::debug!(sequence, bytes, "a parked entry is too old, or one too many");
            self.parked.remove(sequence)?;
            self.events.remove(sequence)?;
            self.counters.drop_one(Dropped::TooOld);
        }
        let mut oldest = None;
        for _ in 0..=most {
            let first = self.tail.first()?.map(|(sequence, row)| (sequence.value(), row.value()));
            let Some((sequence, (made, bytes, _))) = first else { return Ok(None) };
            let made = Timestamp::from_millis(made);
            oldest = Some(made);
            if self.counters.tail_bytes <= limits.tail_bytes && steady.since(made) <= limits.tail_age {
                break;
            }
            self.tail.remove(sequence)?;
            self.events.remove(sequence)?;
            self.counters.tail_bytes = self.counters.tail_bytes.saturating_sub(u64::from(bytes));
        }
        Ok(oldest)
    }
}
