//! One stay of a device in a zone, and its ids.

use std::time::Duration;

use uuid::Uuid;

use super::memory::VisitMemory;
use crate::model::{DeviceId, SiteId, Timestamp, ZoneId};

/// The namespace of every id that beaconfence derives (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_1f5e_8a5c_4c39_9d5e_0b7f_5a4b_e1c2);

/// Names visits and events: the same site, epoch, device, zone and time give the same ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer(Uuid);

impl Namer {
    pub(super) fn new(site: &SiteId, epoch: &str) -> Self {
        // Neither ids nor epochs hold a slash, so no two pairs share a name.
        Self(Uuid::new_v5(&NAMESPACE, format!("{site}/{epoch}").as_bytes()))
    }

    pub(super) fn visit(self, device: &DeviceId, zone: &ZoneId, entered_at: Timestamp) -> Uuid {
        Uuid::new_v5(&self.0, format!("{device}/{zone}/{}", entered_at.as_millis()).as_bytes())
    }
}

/// One stay of a device in a zone.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) id: Uuid,
    /// `observed_at` of its `entered`.
    pub(super) entered_at: Timestamp,
    /// The `visit_sequence` of its next event.
    pub(super) next_sequence: u32,
    /// How many dwell thresholds it has passed.
    pub(super) dwelled: usize,
    /// Presence was held since its last event.
    pub(super) held: bool,
}

impl Visit {
    pub(super) fn of(memory: &VisitMemory) -> Self {
        Self {
            id: memory.id,
            entered_at: memory.entered_at,
            next_sequence: memory.next_sequence,
            dwelled: memory.dwelled,
            held: memory.held,
        }
    }

    pub(super) fn new(id: Uuid, entered_at: Timestamp) -> Self {
        Self { id, entered_at, next_sequence: 0, dwelled: 0, held: false }
    }

    /// The next event's number and id.
    pub(super) fn next_event(&mut self) -> (u32, Uuid) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        (sequence, Uuid::new_v5(&self.id, &sequence.to_be_bytes()))
    }

    /// The next dwell threshold that has been reached at that time.
    pub(super) fn due_dwell(&self, thresholds: &[Duration], at: Timestamp) -> Option<Duration> {
        thresholds.get(self.dwelled).copied().filter(|threshold| at.since(self.entered_at) >= *threshold)
    }
}
