//! What waits for a commit, and its bounds.

use std::collections::{BTreeMap, VecDeque};

use super::{Batch, Class, Entry, Head, Row, Settled};
use crate::model::DeviceId;

/// More acknowledgements than a broker ever has outstanding (MQTT 5, 3.3.4: 65,535 in flight).
const MOST_CLOSURES: usize = 1 << 16;
/// What an entry takes beside its bytes.
const ENTRY_OVERHEAD: usize = 160;

type Then = Box<dyn FnOnce() + Send>;

/// Batches that become one transaction.
#[derive(Default)]
pub struct Work {
    pub(super) events: VecDeque<Entry>,
    pub(super) triggers: VecDeque<Entry>,
    /// The latest record of each device.
    pub(super) devices: BTreeMap<DeviceId, Option<Vec<u8>>>,
    /// The latest head.
    pub(super) head: Option<Head>,
    /// The latest change of each row.
    pub(super) rows: BTreeMap<String, Row>,
    /// What became of entries.
    pub(super) settled: Vec<(u64, Settled)>,
    /// Called when it is committed.
    pub(super) then: VecDeque<Then>,
    /// How many entries were ever dropped before their commit.
    pub(super) dropped_total: u64,
    /// Bytes of topics and payloads.
    pub(super) entry_bytes: usize,
    pub(super) device_bytes: usize,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("entries", &self.entry_count())
            .field("settled", &self.settled.len())
            .finish_non_exhaustive()
    }
}

impl Work {
    /// Takes in a batch.
    pub fn absorb(&mut self, batch: Batch) {
        for entry in batch.entries {
            self.entry_bytes += entry.size();
            match entry.class {
                Class::Event => self.events.push_back(entry),
                Class::Trigger { .. } => self.triggers.push_back(entry),
            }
        }
        for (device, record) in batch.devices {
            self.set_device(device, record);
        }
        self.head = batch.head.or_else(|| self.head.take());
        self.rows.extend(batch.rows.into_iter().map(|row| (row.key.clone(), row)));
        self.then.extend(batch.then);
    }

    /// Says what became of an entry.
    pub fn settle(&mut self, sequence: u64, settled: Settled) {
        self.settled.push((sequence, settled));
    }

    /// Entries in the order of their keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let (mut events, mut triggers) = (self.events.iter().peekable(), self.triggers.iter().peekable());
        std::iter::from_fn(move || match (events.peek(), triggers.peek()) {
            (Some(event), Some(trigger)) if trigger.sequence < event.sequence => triggers.next(),
            (Some(_), _) => events.next(),
            (None, _) => triggers.next(),
        })
    }

    /// Entries in the order of their keys, and what is called then.
    pub(super) fn into_parts(self) -> (Vec<Entry>, VecDeque<Then>) {
        let mut entries: Vec<Entry> = self.events.into_iter().chain(self.triggers).collect();
        entries.sort_by_key(|entry| entry.sequence);
        (entries, self.then)
    }

    /// Whether there is something that must be committed at once.
    pub(super) fn is_durable(&self) -> bool {
        self.entry_count() > 0 || !self.devices.is_empty() || self.head.is_some() || !self.rows.is_empty()
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_durable() && self.settled.is_empty() && self.then.is_empty()
    }

    /// How many entries.
    pub(super) fn entry_count(&self) -> usize {
        self.events.len() + self.triggers.len()
    }

    /// Bytes of topics and payloads.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// About the memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.entry_bytes
            + self.device_bytes
            + self.entry_count() * ENTRY_OVERHEAD
            + self.settled.len() * size_of::<(u64, Settled)>()
    }

    /// Puts back earlier work that could not be committed.
    pub(super) fn put_back(&mut self, earlier: Self) {
        let later = std::mem::replace(self, earlier);
        self.events.extend(later.events);
        self.triggers.extend(later.triggers);
        self.entry_bytes += later.entry_bytes;
        for (device, record) in later.devices {
            self.set_device(device, record);
        }
        self.head = later.head.or_else(|| self.head.take());
        self.rows.extend(later.rows);
        self.settled.extend(later.settled);
        self.then.extend(later.then);
        self.dropped_total = self.dropped_total.max(later.dropped_total);
    }

    /// Drops the oldest entries, events before triggers, until at most `most` bytes of memory are taken; how many.
    pub(super) fn shrink(&mut self, most: usize) -> u64 {
        let mut dropped = 0;
        while self.memory() > most {
            let Some(entry) = self.events.pop_front().or_else(|| self.triggers.pop_front()) else { break };
            self.entry_bytes -= entry.size();
            dropped += 1;
        }
        self.dropped_total += dropped;
        // What is not acknowledged is delivered again: no report is lost by forgetting that one waits for it.
        let beyond = self.then.len().saturating_sub(MOST_CLOSURES);
        drop(self.then.drain(..beyond));
        dropped
    }

    fn set_device(&mut self, device: DeviceId, record: Option<Vec<u8>>) {
        let cost = |record: &Option<Vec<u8>>| ENTRY_OVERHEAD + record.as_ref().map_or(0, Vec::len);
        self.device_bytes += cost(&record);
        if let Some(before) = self.devices.insert(device, record) {
            self.device_bytes -= cost(&before);
        }
    }
}
