//! The stage: events in, triggers out.

mod absence;
mod judge;
mod places;
mod visits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::moment::Alike;
use super::rules::Compiled;
use super::{Calendar, Decision, DeviceHistory, Facts, Outcome, SiteHistory};
use crate::model::{DeviceId, Timestamp, TriggerId};
use crate::presence::{Event, EventKind};
use crate::registry::{Device, DeviceIndex, Registry, Renumbering, Trigger, Zone};

/// How often it is looked for what is to be forgotten.
const SWEEP: Duration = Duration::from_secs(3_600);

/// A trigger that fired.
#[derive(Debug, Clone)]
pub struct Fired {
    /// Deterministic: the same input gives the same id.
    pub id: Uuid,
    /// Counts all events and triggers of a site and epoch.
    pub sequence: u64,
    /// The rule.
    pub rule: Arc<Trigger>,
    /// The device; none where it is about a zone.
    pub device: Option<Arc<Device>>,
    /// The zone that it is about, where there is one.
    pub zone: Option<Arc<Zone>>,
    /// When that happened which it follows from.
    pub observed_at: Timestamp,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When it is worth nothing any more.
    pub expires_at: Timestamp,
    /// The key by which repeats are known, without the site where it is the usual one.
    pub deduplication_key: String,
    /// The channels that are allowed, in order of preference; none leaves it to the dispatcher.
    pub channels: Vec<String>,
    /// The events that it follows from.
    pub cause: Vec<Uuid>,
    /// What was known.
    pub facts: Facts,
    /// What the rule says.
    pub data: Value,
    /// The clock was not known to be set when it was decided.
    pub suspect: bool,
}

/// How well a site is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looking {
    /// Every receiver hears.
    Everywhere,
    /// One or more do not: presence is held for so long at most.
    Partly(Duration),
    /// None does.
    Nowhere,
}

/// What comes of the stage.
#[derive(Debug, Clone)]
pub enum Made {
    /// A trigger.
    Fired(Box<Fired>),
    /// A card is to be taken away: the visit is over.
    CardEnded(DeviceId, TriggerId),
}

/// The rules of a site at work.
#[derive(Debug)]
pub struct Stage {
    registry: Arc<Registry>,
    compiled: Arc<Compiled>,
    calendar: Calendar,
    alike: Arc<Alike>,
    devices: Vec<Option<Box<DeviceHistory>>>,
    site: SiteHistory,
    /// Since when nobody looks, and for how long at most that counts.
    unattended_since: Option<(Timestamp, Option<Duration>)>,
    /// When absences are to be looked at; of each device one.
    deadlines: BTreeSet<(Timestamp, DeviceIndex)>,
    due: Vec<Option<Timestamp>>,
    sweep_due: Option<Timestamp>,
    made: Vec<Made>,
    changed: BTreeSet<DeviceIndex>,
    is_site_changed: bool,
    counts: BTreeMap<TriggerId, BTreeMap<Outcome, u64>>,
}

impl Stage {
    /// A stage that remembers nothing.
    pub fn new(registry: Arc<Registry>, compiled: Arc<Compiled>) -> Self {
        let zone = jiff::tz::TimeZone::get(&registry.site().time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        Self {
            calendar: Calendar::new(zone),
            alike: Arc::default(),
            devices: registry.devices().iter().map(|_| None).collect(),
            site: SiteHistory::default(),
            unattended_since: None,
            deadlines: BTreeSet::new(),
            due: vec![None; registry.devices().len()],
            sweep_due: None,
            made: Vec::new(),
            changed: BTreeSet::new(),
            is_site_changed: false,
            counts: BTreeMap::new(),
            registry,
            compiled,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.compiled.is_idle()
    }

    /// Whether positions matter.
    pub fn wants_positions(&self) -> bool {
        self.compiled.wants_positions()
    }

    /// Whether it matters that the time in which nobody looked is known well.
    pub fn is_waiting(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// The wall clock is ahead of steady time by so many milliseconds.
    pub const fn set_offset(&mut self, ms: i64) {
        self.calendar.set_offset(ms);
    }

    /// Goes on with what is remembered of the site; nobody looked since `alive_at`.
    pub fn restore_site(&mut self, site: SiteHistory, alive_at: Timestamp, now: Timestamp) {
        self.site = site;
        self.site.unattended_ms += now.since(alive_at).as_millis() as i64;
        self.is_site_changed = !self.is_idle();
    }

    /// Goes on with what is remembered of a device.
    pub fn restore(&mut self, device: DeviceIndex, history: DeviceHistory, now: Timestamp) {
        self.sweep_due.get_or_insert(now + SWEEP);
        self.devices[device.get()] = Some(Box::new(history));
        self.schedule(device, now);
    }

    /// What must outlive a restart of a device.
    pub fn history(&self, device: DeviceIndex) -> Option<&DeviceHistory> {
        self.devices[device.get()].as_deref().filter(|history| !history.is_empty())
    }

    /// What must outlive a restart of the site, where that has changed since the last call.
    pub fn take_site(&mut self) -> Option<&SiteHistory> {
        std::mem::take(&mut self.is_site_changed).then_some(&self.site)
    }

    /// Devices of which what is remembered has changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<DeviceIndex> {
        std::mem::take(&mut self.changed)
    }

    /// What was made since the last call, in order.
    pub fn take_made(&mut self) -> Vec<Made> {
        std::mem::take(&mut self.made)
    }

    /// How often each rule fired and was held back.
    pub const fn counts(&self) -> &BTreeMap<TriggerId, BTreeMap<Outcome, u64>> {
        &self.counts
    }

    /// What was decided lately of rules that are about no device, oldest first.
    pub fn site_decisions(&self) -> impl Iterator<Item = &Decision> {
        self.site.decisions.iter()
    }

    /// What the back end says of a device. What is not declared, or is of another type, is not kept. Whether anything changed.
    pub fn set_attributes(&mut self, device: DeviceIndex, said: &Map<String, Value>) -> bool {
        let declared = &self.compiled.settings.attributes;
        let kept = said.iter().filter(|(name, value)| declared.get(*name).is_some_and(|of| of.holds(value)));
        let attributes: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        let known = self.devices[device.get()].as_deref().map(|history| &history.attributes);
        if known.is_none_or(Map::is_empty) && attributes.is_empty() || known == Some(&attributes) {
            return false;
        }
        self.devices[device.get()].get_or_insert_default().attributes = attributes;
        self.changed.insert(device);
        true
    }

    /// The device is gone, or not to be tracked any more. Its cards end.
    pub fn remove(&mut self, device: DeviceIndex) {
        if let Some(history) = self.devices[device.get()].take() {
            let id = &self.registry.devices()[device.get()].id;
            self.made.extend(history.cards.iter().map(|card| Made::CardEnded(id.clone(), card.clone())));
        }
        if let Some(at) = self.due[device.get()].take() {
            self.deadlines.remove(&(at, device));
        }
    }

    /// How well the site is looked at from now on.
    pub fn looking(&mut self, looking: Looking, now: Timestamp) {
        let still = self.still_at(now);
        let next = match looking {
            Looking::Everywhere => None,
            Looking::Partly(most) => Some((now, Some(most))),
            Looking::Nowhere => Some((now, None)),
        };
        if self.unattended_since.is_some() || next.is_some() {
            self.site.unattended_ms += still;
            self.unattended_since = next;
            self.is_site_changed = !self.is_idle();
        }
    }

    /// For how many milliseconds it has stood still since the last change.
    fn still_at(&self, now: Timestamp) -> i64 {
        self.unattended_since.map_or(0, |(since, most)| {
            let still = now.since(since);
            most.map_or(still, |most| still.min(most)).as_millis() as i64
        })
    }

    /// A sum of time that stands still while nobody looks.
    fn attended_at(&self, now: Timestamp) -> i64 {
        now.as_millis() - self.site.unattended_ms - self.still_at(now)
    }

    /// When [`Stage::advance`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.deadlines.first().map(|(at, _)| *at), self.sweep_due].into_iter().flatten().min()
    }

    /// Makes what is due by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, device)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, device));
            self.due[device.get()] = None;
            self.look_for_absence(device, now);
            self.schedule(device, now);
        }
        if self.sweep_due.is_some_and(|due| due <= now) {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        let since = now - self.compiled.settings.retention;
        let compiled = Arc::clone(&self.compiled);
        let is_rule = |id: &TriggerId| compiled.known.contains(id);
        let mut is_any = false;
        for (at, history) in self.devices.iter_mut().enumerate() {
            let Some(known) = history.as_deref_mut() else { continue };
            if known.forget(since, is_rule) {
                self.changed.insert(DeviceIndex(at as u32));
            }
            if known.is_empty() {
                *history = None;
            }
            is_any |= history.is_some();
        }
        self.sweep_due = is_any.then(|| now + SWEEP);
    }

    /// An event of presence. What follows from it is in [`Stage::take_made`].
    pub fn event(&mut self, event: &Event) {
        if self.is_idle() {
            return;
        }
        let Some(device) = self.registry.device(&event.device.id) else { return };
        self.sweep_due.get_or_insert(event.decided_at + SWEEP);
        // Taken out, so that the rest can be looked at beside it.
        let mut history = self.devices[device.get()].take().unwrap_or_default();
        match event.kind {
            EventKind::Entered => self.entered(device, &mut history, event),
            EventKind::Dwelled => {}
            EventKind::Exited => self.exited(device, &mut history, event),
        }
        self.devices[device.get()] = Some(history);
        self.changed.insert(device);
        self.schedule(device, event.decided_at);
    }

    /// Goes on with another registry and its rules; `to` says how it follows from the one before.
    pub fn reconfigure(&mut self, registry: Arc<Registry>, compiled: Arc<Compiled>, to: &Renumbering, now: Timestamp) {
        for at in to.touched.iter().copied() {
            let gone = to.devices.to(at).is_none_or(|to| {
                self.registry.devices()[at.get()].may_be_tracked() && !registry.devices()[to.get()].may_be_tracked()
            });
            if gone {
                self.remove(at);
            }
        }
        let histories = to.devices.carry(std::mem::take(&mut self.devices), registry.devices().len(), || None);
        let offset = self.calendar.offset();
        let zone = jiff::tz::TimeZone::get(&registry.site().time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        self.calendar = Calendar::new(zone);
        self.calendar.set_offset(offset);
        self.changed = std::mem::take(&mut self.changed).into_iter().filter_map(|at| to.devices.to(at)).collect();
        self.devices = histories;
        self.alike = Arc::default();
        self.registry = registry;
        self.compiled = compiled;
        self.counts.retain(|id, _| self.compiled.by_id.contains_key(id));
        self.site.armed.retain(|id, _| self.compiled.known.contains(id));
        self.site.fired.retain(|id, _| self.compiled.known.contains(id));
        self.deadlines.clear();
        self.due = vec![None; self.devices.len()];
        if self.is_idle() {
            let attended = self.attended_at(now);
            for (at, history) in self.devices.iter_mut().enumerate() {
                let Some(history) = history.as_deref_mut().filter(|history| history.stay.is_some()) else { continue };
                history.pause(now, attended);
                self.changed.insert(DeviceIndex(at as u32));
            }
        }
        for at in 0..self.devices.len() {
            let Some(history) = &mut self.devices[at] else { continue };
            // Cards of rules that are no more end with them.
            let ended: Vec<TriggerId> =
                history.cards.iter().filter(|card| !self.compiled.by_id.contains_key(*card)).cloned().collect();
            for card in ended {
                history.cards.remove(&card);
                self.changed.insert(DeviceIndex(at as u32));
                self.made.push(Made::CardEnded(self.registry.devices()[at].id.clone(), card));
            }
            self.schedule(DeviceIndex(at as u32), now);
        }
    }
}
