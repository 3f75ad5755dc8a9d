//! A store in memory, behind a publisher.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use beaconfence::config::MqttConfig;
use beaconfence::model::Timestamp;
use beaconfence::mqtt::wire::{self, Status};
use beaconfence::mqtt::{Backing, Clock, Limits, Publisher, Settings, Stored, client_id};
use beaconfence::store::{Class, Entry, Page, Settled, Unreadable, Waiting};

use super::{context, device, entered, instant, zone};

#[derive(Default)]
pub struct Shelf {
    entries: Mutex<BTreeMap<u64, Entry>>,
    settled: Mutex<BTreeMap<u64, Settled>>,
}

impl Stored for Shelf {
    fn settle(&self, sequence: u64, settled: Settled) {
        let before = self.settled.lock().unwrap().insert(sequence, settled);
        assert_eq!(before, None, "{sequence} was settled twice");
    }

    fn load(&self, sequences: &[u64]) -> Result<Vec<Option<Entry>>, Unreadable> {
        let entries = self.entries.lock().unwrap();
        Ok(sequences.iter().map(|sequence| entries.get(sequence).cloned()).collect())
    }

    fn page(&self, from: u64, to: u64, most: usize) -> Page {
        let entries = self.entries.lock().unwrap();
        let mut found: Vec<Entry> = entries.range(from..=to).take(most + 1).map(|(_, entry)| entry.clone()).collect();
        let next = (found.len() > most).then(|| found[most].sequence);
        found.truncate(most);
        Page { entries: found, next }
    }
}

impl Shelf {
    /// Stores an event of device `d{sequence % devices}`, or a trigger of it.
    pub fn add(&self, sequence: u64, devices: u64, class: Class, made: Timestamp) -> Entry {
        let device = device(&format!("d{}", sequence % devices));
        let message = wire::event(&context(), &entered(sequence, &device, &zone("door"))).unwrap();
        let entry = Entry { sequence, device: device.id, class, made, topic: message.topic, payload: message.payload };
        self.entries.lock().unwrap().insert(sequence, entry.clone());
        entry
    }

    pub fn remove(&self, sequence: u64) {
        self.entries.lock().unwrap().remove(&sequence);
    }

    pub fn settled(&self) -> BTreeMap<u64, Settled> {
        self.settled.lock().unwrap().clone()
    }

    /// A publisher in front of it, with the wall clock as the steady one.
    pub fn publisher(self: &Arc<Self>, config: &MqttConfig, next_sequence: u64) -> Publisher {
        let context = context();
        let settings = Settings::new(config, client_id(&context.site, &context.gateway)).unwrap();
        let offline = Status::offline(instant("2026-01-01T09:00:00.000Z")).message(&context).unwrap();
        let limits = Limits { events: 1_000_000, bytes: 1 << 40, ..Limits::default() };
        let store: Arc<dyn Stored> = Arc::clone(self) as Arc<dyn Stored>;
        let backing = Backing { store, clock: Clock::of_this_process(), context, next_sequence };
        Publisher::start(settings, offline, limits, Some(backing))
    }
}

pub fn waiting(entry: &Entry) -> Waiting {
    Waiting {
        sequence: entry.sequence,
        device: entry.device.clone(),
        class: entry.class,
        made: entry.made,
        bytes: entry.size() as u32,
    }
}
