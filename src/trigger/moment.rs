//! What is known at the moment of an event: for conditions, for texts, and for who receives the trigger.

use serde_json::{Map, Value, json};

use super::history::ZoneHistory;
use super::{Calendar, DeviceHistory, Facts, Seen};
use crate::model::{Timestamp, ZoneId};
use crate::presence::Reason;
use crate::registry::{Device, Site, Trigger, Zone};

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happening {
    pub(super) kind: &'static str,
    pub(super) reason: Option<Reason>,
    pub(super) distance: Option<f64>,
    pub(super) occupancy: Option<u32>,
    pub(super) away_ms: Option<i64>,
    /// How long the visit has lasted.
    pub(super) duration_ms: Option<i64>,
    pub(super) initial: Option<bool>,
}

/// Facts, put together when the first rule asks for them.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) site: &'a Site,
    pub(super) device: Option<&'a Device>,
    pub(super) zone: Option<&'a Zone>,
    pub(super) happening: Happening,
    pub(super) now: Timestamp,
    pub(super) calendar: &'a Calendar,
    pub(super) facts: Option<Facts>,
    pub(super) seen: Option<Seen>,
}

impl Moment<'_> {
    /// The facts for who receives the trigger.
    pub(super) fn facts(&mut self, history: Option<&DeviceHistory>) -> &Facts {
        let facts = self.facts.take().unwrap_or_else(|| self.collect(history));
        self.facts.insert(facts)
    }

    /// The facts for the expressions of a rule.
    pub(super) fn seen(&mut self, history: Option<&DeviceHistory>, rule: &Trigger) -> &Seen {
        let mut seen = match self.seen.take() {
            Some(seen) => seen,
            None => self.facts(history).seen(),
        };
        seen.of_trigger(&json!({"id": rule.id, "name": rule.name, "campaign": rule.campaign}));
        self.seen.insert(seen)
    }

    fn collect(&self, history: Option<&DeviceHistory>) -> Facts {
        let mut facts = Map::new();
        let mut put = |name: &str, value: Value| facts.insert(name.to_owned(), value);
        put("site", json!({"id": self.site.id, "name": self.site.name}));
        if let Some(device) = self.device {
            let Device { id, kind, consent, labels } = device;
            put("device", json!({"id": id, "kind": kind, "labels": labels, "consent": consent.0}));
        }
        if let Some(zone) = self.zone {
            let Zone { id, name, level, labels, metadata, .. } = zone;
            put("zone", clean(json!({"id": id, "name": name, "level": level, "labels": labels, "metadata": metadata})));
            if let Some(visits) = history.and_then(|history| history.zones.get(id)) {
                let mut visit = visits_of(visits, self.happening.duration_ms);
                if let Some(initial) = self.happening.initial {
                    visit.insert("initial".to_owned(), json!(initial));
                }
                put("visit", Value::Object(visit));
            }
        }
        if let Some(visits) = history.and_then(|history| history.zones.get(&ZoneId::site())) {
            // At its end it has lasted until the device was last seen.
            let of_site = self.zone.is_some_and(|zone| zone.id.is_site());
            let lasts = match self.happening.duration_ms {
                Some(ms) if of_site => Some(ms),
                _ => visits.open.map(|_| self.now.since(visits.entered).as_millis() as i64),
            };
            let mut visit = visits_of(visits, lasts);
            visit.remove("id");
            put("site_visit", Value::Object(visit));
        }
        let Happening { kind, reason, distance, occupancy, away_ms, .. } = self.happening;
        put(
            "event",
            clean(json!({
                "kind": kind,
                "reason": reason.map(Reason::as_str),
                "distance_m": distance.map(|metres| (metres * 100.0).round() / 100.0),
                "occupancy": occupancy,
                "away_s": away_ms.map(seconds),
            })),
        );
        let local = self.calendar.local(self.now);
        let weekday = crate::registry::WEEKDAYS[local.weekday().to_monday_zero_offset() as usize];
        put(
            "local",
            json!({
                "date": local.date().to_string(),
                "time": format!("{:02}:{:02}", local.hour(), local.minute()),
                "hour": local.hour(),
                "minute": local.minute(),
                "weekday": weekday,
                "day": local.day(),
                "month": local.month(),
            }),
        );
        let attributes = history.map(|history| history.attributes.clone()).unwrap_or_default();
        put("attributes", Value::Object(attributes));
        Facts(facts)
    }
}

/// Without what is null.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            members.retain(|_, value| !value.is_null());
            Value::Object(members)
        }
        other => other,
    }
}

fn visits_of(visits: &ZoneHistory, lasts_ms: Option<i64>) -> Map<String, Value> {
    let mut visit = Map::new();
    visit.extend(visits.open.map(|id| ("id".to_owned(), json!(id))));
    visit.insert("count".to_owned(), json!(visits.count));
    visit.extend(lasts_ms.map(|ms| ("duration_s".to_owned(), seconds(ms))));
    visit.extend(visits.since_last.map(|ms| ("since_last_s".to_owned(), seconds(ms))));
    visit
}

/// A whole number where it is one.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}
