//! What is known at the moment of an event: for conditions, for texts, and for who receives the trigger.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::civil::DateTime;
use serde_json::{Map, Value, json};

use super::history::ZoneHistory;
use super::{Calendar, DeviceHistory, Facts, Seen};
use crate::model::{Timestamp, ZoneId};
use crate::presence::Reason;
use crate::registry::{Device, DeviceIndex, Registry, Trigger, Zone, ZoneIndex};

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

/// An event as rules see it: its facts are put together when the first rule asks for them, once for all of them.
#[derive(Debug)]
pub(super) struct Moment {
    registry: Arc<Registry>,
    pub(super) device: Option<DeviceIndex>,
    pub(super) zone: Option<Arc<Zone>>,
    pub(super) now: Timestamp,
    happening: Happening,
    calendar: Calendar,
    alike: Arc<Alike>,
    seen: Option<Seen>,
}

impl Moment {
    pub(super) fn new(
        (registry, calendar, alike): (Arc<Registry>, Calendar, Arc<Alike>),
        device: Option<DeviceIndex>,
        zone: Option<Arc<Zone>>,
        happening: Happening,
        now: Timestamp,
    ) -> Self {
        Self { registry, device, zone, now, happening, calendar, alike, seen: None }
    }

    /// The device that it is about.
    pub(super) fn device(&self) -> Option<&Arc<Device>> {
        self.device.map(|at| &self.registry.devices()[at.get()])
    }

    /// The facts for who receives the trigger.
    pub(super) fn facts(&mut self, history: Option<&DeviceHistory>) -> Facts {
        self.looked_at(history).facts().clone()
    }

    /// The facts for the expressions of a rule.
    pub(super) fn seen(&mut self, history: Option<&DeviceHistory>, rule: &Arc<Trigger>) -> &mut Seen {
        let seen = self.looked_at(history);
        seen.of_trigger(rule);
        seen
    }

    fn looked_at(&mut self, history: Option<&DeviceHistory>) -> &mut Seen {
        let seen = self.seen.take().unwrap_or_else(|| self.collect(history).seen());
        self.seen.insert(seen)
    }

    fn collect(&self, history: Option<&DeviceHistory>) -> Facts {
        let mut facts: Vec<(&'static str, Arc<Value>)> = Vec::with_capacity(8);
        facts.push(("site", self.alike.site(&self.registry)));
        if let (Some(at), Some(device)) = (self.device, self.device()) {
            facts.push(("device", self.alike.device(at, device)));
        }
        let visits_to = |zone: &ZoneId| history.and_then(|history| history.zones.get(zone));
        if let Some(zone) = &self.zone {
            facts.push(("zone", self.alike.zone(self.registry.zone(&zone.id), zone)));
            if let Some(visits) = visits_to(&zone.id) {
                let mut visit = visits_of(visits, self.happening.duration_ms);
                if let Some(initial) = self.happening.initial {
                    visit.insert("initial".to_owned(), Value::Bool(initial));
                }
                facts.push(("visit", Arc::new(Value::Object(visit))));
            }
        }
        if let Some(visits) = visits_to(&ZoneId::site()) {
            // At its end it has lasted until the device was last seen.
            let of_site = self.zone.as_ref().is_some_and(|zone| zone.id.is_site());
            let lasts = match self.happening.duration_ms {
                Some(ms) if of_site => Some(ms),
                _ => visits.open.map(|_| self.now.since(visits.entered).as_millis() as i64),
            };
            let mut visit = visits_of(visits, lasts);
            visit.shift_remove("id");
            facts.push(("site_visit", Arc::new(Value::Object(visit))));
        }
        facts.push(("event", Arc::new(Value::Object(self.happening.facts()))));
        facts.push(("local", self.alike.local(self.calendar.local(self.now))));
        let attributes = history.map(|history| history.attributes.clone()).unwrap_or_default();
        facts.push(("attributes", Arc::new(Value::Object(attributes))));
        Facts::new(facts)
    }
}

impl Happening {
    fn facts(&self) -> Map<String, Value> {
        let mut event = Map::with_capacity(3);
        event.insert("kind".to_owned(), self.kind.into());
        let mut put = |name: &str, value: Option<Value>| event.extend(value.map(|value| (name.to_owned(), value)));
        put("reason", self.reason.map(|reason| reason.as_str().into()));
        put("distance_m", self.distance.map(|metres| ((metres * 100.0).round() / 100.0).into()));
        put("occupancy", self.occupancy.map(Into::into));
        put("away_s", self.away_ms.map(seconds));
        event
    }
}

/// Facts that many events know alike, for as long as the registry is the same.
#[derive(Debug, Default)]
pub(super) struct Alike {
    site: OnceLock<Arc<Value>>,
    zones: Mutex<HashMap<ZoneIndex, Arc<Value>>>,
    devices: Mutex<HashMap<DeviceIndex, Arc<Value>>>,
    local: Mutex<Option<(DateTime, Arc<Value>)>>,
}

/// Devices whose facts are kept at hand.
const MOST_DEVICES: usize = 4_096;

impl Alike {
    fn site(&self, registry: &Registry) -> Arc<Value> {
        let site = || Arc::new(json!({"id": registry.site().id, "name": registry.site().name}));
        Arc::clone(self.site.get_or_init(site))
    }

    fn zone(&self, at: Option<ZoneIndex>, zone: &Zone) -> Arc<Value> {
        let facts = || {
            let Zone { id, name, level, labels, metadata, .. } = zone;
            let facts = json!({"id": id, "name": name, "level": level, "labels": labels, "metadata": metadata});
            Arc::new(clean(facts))
        };
        let Some(at) = at else { return facts() };
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(zones.entry(at).or_insert_with(facts))
    }

    fn device(&self, at: DeviceIndex, device: &Device) -> Arc<Value> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.len() >= MOST_DEVICES && !devices.contains_key(&at) {
            devices.clear();
        }
        let facts = || {
            let Device { id, kind, consent, labels } = device;
            Arc::new(json!({"id": id, "kind": kind, "labels": labels, "consent": consent.0}))
        };
        Arc::clone(devices.entry(at).or_insert_with(facts))
    }

    /// The time, to the minute.
    fn local(&self, local: DateTime) -> Arc<Value> {
        let minute = local.date().at(local.hour(), local.minute(), 0, 0);
        let mut known = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, facts)) = known.as_ref().filter(|(at, _)| *at == minute) {
            return Arc::clone(facts);
        }
        let weekday = crate::registry::WEEKDAYS[local.weekday().to_monday_zero_offset() as usize];
        let facts = Arc::new(json!({
            "date": local.date().to_string(),
            "time": format!("{:02}:{:02}", local.hour(), local.minute()),
            "hour": local.hour(),
            "minute": local.minute(),
            "weekday": weekday,
            "day": local.day(),
            "month": local.month(),
        }));
        *known = Some((minute, Arc::clone(&facts)));
        facts
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
    let mut visit = Map::with_capacity(5);
    visit.extend(visits.open.map(|id| ("id".to_owned(), id.to_string().into())));
    visit.insert("count".to_owned(), visits.count.into());
    visit.extend(lasts_ms.map(|ms| ("duration_s".to_owned(), seconds(ms))));
    visit.extend(visits.since_last.map(|ms| ("since_last_s".to_owned(), seconds(ms))));
    visit
}

/// A whole number where it is one.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { (ms / 1_000).into() } else { (ms as f64 / 1_000.0).into() }
}
