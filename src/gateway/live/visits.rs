//! Visits: those that are open, and the latest that have ended.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{DeviceId, Timestamp, ZoneId};

/// Ended visits that are remembered.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Visits {
    open: BTreeMap<DeviceId, Vec<(ZoneId, Timestamp, uuid::Uuid)>>,
    /// Newest last.
    ended: VecDeque<Value>,
}

/// What is read of an event that was made to be published.
#[derive(Deserialize)]
struct Exited<'a> {
    r#type: &'a str,
    subject: &'a str,
    time: &'a str,
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    visit_id: &'a str,
    #[serde(borrow)]
    zone: Zone<'a>,
    duration_s: Option<f64>,
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Zone<'a> {
    id: &'a str,
}

impl Visits {
    /// The zones that a device is in now.
    pub(super) fn set(&mut self, device: &DeviceId, zones: &[(ZoneId, Timestamp, uuid::Uuid)]) {
        if zones.is_empty() {
            self.open.remove(device);
        } else {
            self.open.insert(device.clone(), zones.to_vec());
        }
    }

    /// An event as it is published: of an exit, the visit is remembered.
    pub(super) fn event(&mut self, payload: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Exited<'_>>(payload) else { return };
        if event.r#type != "io.beaconfence.presence.exited" {
            return;
        }
        let Ok(exited) = event.time.parse::<Timestamp>() else { return };
        let duration = event.data.duration_s.unwrap_or_default();
        let entered = exited.shifted(-((duration * 1_000.0).round() as i64));
        self.ended.push_back(json!({
            "visit_id": event.data.visit_id, "device": event.subject, "zone": event.data.zone.id,
            "entered_at": entered, "exited_at": exited, "duration_s": event.data.duration_s, "reason": event.data.reason,
        }));
        if self.ended.len() > MOST {
            self.ended.pop_front();
        }
    }

    pub(super) fn list(&self) -> Vec<Value> {
        let mut open: Vec<(Timestamp, Value)> = self
            .open
            .iter()
            .flat_map(|(device, zones)| zones.iter().map(move |zone| (device, zone)))
            .map(|(device, (zone, since, visit))| {
                let visit = json!({
                    "visit_id": visit.to_string(), "device": device, "zone": zone, "entered_at": since,
                    "exited_at": null, "duration_s": null, "reason": null,
                });
                (*since, visit)
            })
            .collect();
        open.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        open.into_iter().map(|(_, visit)| visit).chain(self.ended.iter().rev().cloned()).collect()
    }
}
