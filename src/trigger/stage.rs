//! The stage: events in, triggers out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::history::{Away, Dwell, Stay, Total, ZoneHistory};
use super::moment::{Happening, Moment};
use super::rules::{Compiled, Rule, Waits, ZoneSet};
use super::{Calendar, Decision, DeviceHistory, Missing, Outcome, SiteHistory, Steps};
use crate::model::{DeviceId, Position, Timestamp, TriggerId, ZoneId};
use crate::presence::{Event, EventKind, Reason};
use crate::registry::{Absence, Bound, Device, DeviceIndex, DeviceKind, Registry, Trigger, When, Zone, ZoneIndex};

/// Who was near goes on to be near until so much farther away.
const NEAR_FACTOR: f64 = 1.5;
/// And by so many metres at least.
const NEAR_MARGIN: f64 = 0.5;
/// How often it is looked for what is to be forgotten.
const SWEEP: Duration = Duration::from_secs(3_600);
/// An absence that is due while nobody looks is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

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
    pub facts: Map<String, Value>,
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

/// What a rule is tried for.
struct Try<'a> {
    rule: &'a Rule,
    device: Option<DeviceIndex>,
    zone: Option<Arc<Zone>>,
    observed_at: Timestamp,
    cause: Vec<Uuid>,
    /// What the usual key ends in.
    about: Uuid,
}

impl Stage {
    /// A stage that remembers nothing.
    pub fn new(registry: Arc<Registry>, compiled: Arc<Compiled>) -> Self {
        let zone = jiff::tz::TimeZone::get(&registry.site().time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        Self {
            calendar: Calendar::new(zone),
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

    /// What the back end says of the consent of a device. Whether that is something else than it said last.
    pub fn set_consent_said(&mut self, device: DeviceIndex, said: &[String]) -> bool {
        let history = self.devices[device.get()].get_or_insert_default();
        if history.consent_said.as_deref() == Some(said) {
            return false;
        }
        history.consent_said = Some(said.to_vec());
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

    fn entered(&mut self, device: DeviceIndex, history: &mut DeviceHistory, event: &Event) {
        let compiled = Arc::clone(&self.compiled);
        let Some(zone) = self.registry.zone(&event.zone.id) else { return };
        let attended = self.attended_at(event.decided_at);
        if event.zone.id.is_site() {
            history.stay = Some(Stay {
                visit: event.visit_id,
                began: event.decided_at,
                began_attended: attended,
                been: BTreeMap::new(),
                totals: BTreeMap::new(),
            });
        }
        let before = history.zones.clone();
        history.enter(&event.zone.id, event.visit_id, event.observed_at);
        let been = history.stay.as_ref().map(|stay| stay.been.clone()).unwrap_or_default();
        if let Some(stay) = &mut history.stay {
            stay.been.entry(event.zone.id.clone()).or_insert(event.id);
        }
        let happening =
            Happening { kind: "entered", duration_ms: Some(0), initial: Some(event.initial), ..Happening::default() };
        let mut tries = Vec::new();
        for rule in compiled.entered[zone.get()].iter().map(|at| &compiled.rules[*at]) {
            let id = &rule.def.id;
            let mut cause = vec![event.id];
            let mut away_ms = None;
            let matched = match (&rule.waits, &rule.def.when) {
                (Waits::Entered(_), _) => true,
                (Waits::FirstVisit(zones), _) => {
                    !zones.iter().any(|zone| before.contains_key(&self.registry.zones()[zone.get()].id))
                }
                (Waits::Returned(zones), When::Returned { after, .. }) => {
                    away_ms = self.away_from(zones, &before, attended);
                    away_ms.is_some_and(|away| away >= after.as_millis() as i64)
                }
                (Waits::Sequence(steps), When::Sequence { within, .. }) => {
                    let sequence = Steps { count: steps.len(), within: *within };
                    let progress = history.progress.entry(id.clone()).or_default();
                    let done = progress.step(sequence, event.id, event.observed_at, |step| steps[step].holds(zone));
                    if progress.forget(sequence, event.observed_at) {
                        history.progress.remove(id);
                    }
                    done.is_some_and(|events| {
                        cause = events;
                        true
                    })
                }
                (Waits::Dwelled(zones), When::Dwelled { after, total, .. }) => {
                    self.begin_dwell(history, rule, zones, (*after, *total), &before, event);
                    false
                }
                (Waits::Absent(zones), When::Absent { absence, .. }) => {
                    history.away.remove(id);
                    // From shelf to shelf within a visit is no absence.
                    let is_again = zones.iter().any(|zone| been.contains_key(&self.registry.zones()[zone.get()].id));
                    if let (Absence::Usual { .. }, Some(away), false) =
                        (absence, self.away_from(zones, &before, attended), is_again)
                    {
                        history.gap(id, away);
                    }
                    false
                }
                _ => false,
            };
            if matched {
                tries.push((rule, cause, away_ms));
            }
        }
        for (rule, cause, away_ms) in tries {
            let one = Try {
                rule,
                device: Some(device),
                zone: Some(Arc::clone(&event.zone)),
                observed_at: event.observed_at,
                cause,
                about: event.visit_id,
            };
            self.attempt(history, one, Happening { away_ms, ..happening }, event.decided_at);
        }
    }

    /// For how long, in attended milliseconds, a device was in none of these zones; none where it is, or never was.
    fn away_from(&self, zones: &ZoneSet, before: &BTreeMap<ZoneId, ZoneHistory>, attended: i64) -> Option<i64> {
        let known: Vec<&ZoneHistory> =
            zones.iter().filter_map(|zone| before.get(&self.registry.zones()[zone.get()].id)).collect();
        if known.iter().any(|zone| zone.open.is_some()) {
            return None;
        }
        let left = known.iter().filter(|zone| zone.left.is_some()).map(|zone| zone.left_attended).max()?;
        Some((attended - left).max(0))
    }

    fn begin_dwell(
        &self,
        history: &mut DeviceHistory,
        rule: &Rule,
        zones: &ZoneSet,
        (after, total): (Duration, bool),
        before: &BTreeMap<ZoneId, ZoneHistory>,
        event: &Event,
    ) {
        let trigger = rule.def.id.clone();
        let mut at = event.observed_at + after;
        if total {
            let Some(stay) = &mut history.stay else { return };
            let sum = stay.totals.entry(trigger.clone()).or_default();
            let is_in_another = zones
                .iter()
                .any(|zone| before.get(&self.registry.zones()[zone.get()].id).is_some_and(|z| z.open.is_some()));
            if sum.done || (is_in_another && sum.since.is_some()) {
                return;
            }
            sum.since = Some(event.observed_at);
            at = event.observed_at + Duration::from_millis((after.as_millis() as i64 - sum.ms).max(0) as u64);
        }
        history.dwells.retain(|dwell| dwell.trigger != trigger || dwell.visit != event.visit_id);
        history.dwells.push(Dwell { trigger, zone: event.zone.id.clone(), visit: event.visit_id, event: event.id, at });
    }

    fn exited(&mut self, device: DeviceIndex, history: &mut DeviceHistory, event: &Event) {
        let compiled = Arc::clone(&self.compiled);
        let zone = self.registry.zone(&event.zone.id);
        let attended = self.attended_at(event.decided_at);
        let now = event.decided_at;
        let reason = event.reason;
        // What an administrator does is no departure, and nobody saw what happened while the gateway was away.
        let is_seen = matches!(reason, Some(Reason::Left | Reason::Lost));
        let is_gone = is_seen || matches!(reason, Some(Reason::ReceiverLost | Reason::ShutdownGap));
        let happening = Happening {
            kind: "exited",
            reason,
            duration_ms: event.duration.map(|duration| duration.as_millis() as i64),
            ..Happening::default()
        };
        let mut one = |stage: &mut Self, history: &mut DeviceHistory, rule: &Rule, cause: Vec<Uuid>| {
            let one = Try {
                rule,
                device: Some(device),
                zone: Some(Arc::clone(&event.zone)),
                observed_at: event.observed_at,
                cause,
                about: event.visit_id,
            };
            stage.attempt(history, one, happening, now);
        };
        let rules = zone.map(|zone| compiled.exited[zone.get()].as_slice()).unwrap_or_default();
        if is_seen {
            for rule in rules.iter().map(|at| &compiled.rules[*at]) {
                if matches!(rule.waits, Waits::Exited(_)) {
                    one(self, history, rule, vec![event.id]);
                }
            }
            if event.zone.id.is_site() {
                self.missed(history, event, attended, &mut one);
            }
        }
        history.dwells.retain(|dwell| dwell.visit != event.visit_id);
        if let Some(known) = history.zones.get_mut(&event.zone.id) {
            known.open = None;
            known.left = Some(event.observed_at);
            // Who was lost is gone since it was last seen, though that is known only now.
            let late = now.since(event.observed_at).as_millis() as i64;
            known.left_attended = attended - late;
        }
        for rule in rules.iter().map(|at| &compiled.rules[*at]) {
            match (&rule.waits, &rule.def.when) {
                (Waits::Absent(zones), When::Absent { absence, .. }) if is_gone => {
                    self.begin_absence(history, rule, zones, *absence, event);
                }
                (Waits::Dwelled(zones), When::Dwelled { after, total: true, .. }) => {
                    self.end_total(history, &rule.def.id, zones, *after, event);
                }
                _ => {}
            }
        }
        if event.zone.id.is_site() {
            history.stay = None;
            history.near.clear();
        }
        if history.stay.is_none() {
            for card in std::mem::take(&mut history.cards) {
                self.made.push(Made::CardEnded(event.device.id.clone(), card));
            }
        }
    }

    /// Rules about what was missed, when a visit to the site ends.
    fn missed(
        &mut self,
        history: &mut DeviceHistory,
        event: &Event,
        attended: i64,
        one: &mut impl FnMut(&mut Self, &mut DeviceHistory, &Rule, Vec<Uuid>),
    ) {
        let compiled = Arc::clone(&self.compiled);
        let Some(stay) = history.stay.clone() else { return };
        for rule in compiled.missed.iter().map(|at| &compiled.rules[*at]) {
            let Waits::Missed { places, was_in } = &rule.waits else { continue };
            let been = |zones: &ZoneSet| {
                zones.iter().find_map(|zone| stay.been.get(&self.registry.zones()[zone.get()].id).copied())
            };
            let (Some(was_in), None) = (been(was_in), been(places)) else { continue };
            // Where nobody looked for a while, it may have been there.
            let looked = attended - stay.began_attended;
            if event.decided_at.since(stay.began).as_millis() as i64 != looked || event.held {
                history.decide(&rule.def.id, event.decided_at, Outcome::NotObserved, None);
                self.count(&rule.def.id, Outcome::NotObserved);
                continue;
            }
            one(self, history, rule, vec![was_in, event.id]);
        }
    }

    fn begin_absence(
        &self,
        history: &mut DeviceHistory,
        rule: &Rule,
        zones: &ZoneSet,
        absence: Absence,
        event: &Event,
    ) {
        let is_in_another = zones.iter().any(|zone| {
            history.zones.get(&self.registry.zones()[zone.get()].id).is_some_and(|zone| zone.open.is_some())
        });
        if is_in_another {
            return;
        }
        let id = &rule.def.id;
        let need = match absence {
            Absence::For(duration) => duration.as_millis() as i64,
            Absence::Usual { factor, min_visits } => {
                let mut gaps: Vec<u32> = history.gaps.get(id).into_iter().flatten().copied().collect();
                // Between so many visits there is one gap less.
                if gaps.len() + 1 < usize::from(min_visits) {
                    return;
                }
                gaps.sort_unstable();
                let (low, high) = (gaps[(gaps.len() - 1) / 2], gaps[gaps.len() / 2]);
                let median = f64::midpoint(f64::from(low), f64::from(high));
                (median * factor * 1_000.0) as i64
            }
        };
        let left_attended = history.zones.get(&event.zone.id).map_or(0, |zone| zone.left_attended);
        history.away.insert(
            id.clone(),
            Away {
                event: event.id,
                visit: event.visit_id,
                zone: event.zone.id.clone(),
                left: event.observed_at,
                left_attended,
                need,
                not_before: None,
            },
        );
    }

    fn end_total(&self, history: &mut DeviceHistory, id: &TriggerId, zones: &ZoneSet, after: Duration, event: &Event) {
        let open = zones.iter().find_map(|zone| {
            let zone = &self.registry.zones()[zone.get()].id;
            history.zones.get(zone).and_then(|known| Some((zone.clone(), known.open?)))
        });
        let Some(sum) = history.stay.as_mut().and_then(|stay| stay.totals.get_mut(id)) else { return };
        let Some(since) = sum.since.filter(|_| !sum.done) else { return };
        match open {
            // It goes on in another of them.
            Some((zone, visit)) => {
                let at = since + Duration::from_millis((after.as_millis() as i64 - sum.ms).max(0) as u64);
                let dwell = Dwell { trigger: id.clone(), zone, visit, event: event.id, at };
                history.dwells.push(dwell);
            }
            None => {
                *sum =
                    Total { ms: sum.ms + event.observed_at.since(since).as_millis() as i64, since: None, done: false };
            }
        }
    }

    /// A device was seen at that time. `is_inside` says whether it is inside that zone, not about to leave it.
    pub fn seen(&mut self, device: DeviceIndex, at: Timestamp, now: Timestamp, is_inside: impl Fn(ZoneIndex) -> bool) {
        let Some(history) = self.devices[device.get()].as_deref() else { return };
        if !history.dwells.iter().any(|dwell| dwell.at <= at) {
            return;
        }
        let inside = |dwell: &Dwell| self.registry.zone(&dwell.zone).is_some_and(&is_inside);
        let due: Vec<Dwell> = history.dwells.iter().filter(|d| d.at <= at && inside(d)).cloned().collect();
        let compiled = Arc::clone(&self.compiled);
        let Some(mut history) = self.devices[device.get()].take() else { return };
        for dwell in due {
            history.dwells.retain(|known| *known != dwell);
            let Some(rule) = compiled.get(&dwell.trigger) else { continue };
            if let Some(sum) = history.stay.as_mut().and_then(|stay| stay.totals.get_mut(&dwell.trigger)) {
                sum.done = true;
                history.dwells.retain(|known| known.trigger != dwell.trigger);
            }
            let zone = self.registry.zone(&dwell.zone).map(|at| Arc::clone(&self.registry.zones()[at.get()]));
            let entered = history.zones.get(&dwell.zone).map_or(at, |zone| zone.entered);
            let happening = Happening {
                kind: "dwelled",
                duration_ms: Some(at.since(entered).as_millis() as i64),
                ..Happening::default()
            };
            let one =
                Try { rule, device: Some(device), zone, observed_at: at, cause: vec![dwell.event], about: dwell.visit };
            self.attempt(&mut history, one, happening, now);
            self.changed.insert(device);
        }
        self.devices[device.get()] = Some(history);
    }

    /// A device is there now.
    pub fn position(&mut self, device: DeviceIndex, position: &Position, now: Timestamp) {
        let compiled = Arc::clone(&self.compiled);
        for rule in compiled.approach.iter().map(|at| &compiled.rules[*at]) {
            let Waits::Approach { at, level, within, zone } = &rule.waits else { continue };
            let id = &rule.def.id;
            let distance = position.point.distance(*at);
            let known = self.devices[device.get()].as_deref();
            let Some(stay) = known.and_then(|history| history.stay.as_ref()) else { return };
            let was_near = known.is_some_and(|history| history.near.contains(id));
            let cause = stay.been.get(&ZoneId::site()).copied();
            let is_near = position.level == *level && distance <= *within;
            let is_far = position.level != *level || distance > (within * NEAR_FACTOR).max(within + NEAR_MARGIN);
            if was_near && is_far {
                if let Some(history) = &mut self.devices[device.get()] {
                    history.near.remove(id);
                }
                self.changed.insert(device);
            } else if !was_near && is_near {
                let Some(mut history) = self.devices[device.get()].take() else { return };
                history.near.insert(id.clone());
                let happening = Happening { kind: "approach", distance: Some(distance), ..Happening::default() };
                let one = Try {
                    rule,
                    device: Some(device),
                    zone: zone.map(|zone| Arc::clone(&self.registry.zones()[zone.get()])),
                    observed_at: position.time,
                    cause: cause.into_iter().collect(),
                    about: Uuid::nil(),
                };
                self.attempt(&mut history, one, happening, now);
                self.devices[device.get()] = Some(history);
                self.changed.insert(device);
            }
        }
    }

    /// So many devices are inside a zone since that event.
    pub fn occupancy(&mut self, inside: u32, event: &Event) {
        if self.is_idle() {
            return;
        }
        let Some(zone) = self.registry.zone(&event.zone.id) else { return };
        let compiled = Arc::clone(&self.compiled);
        for rule in compiled.occupancy[zone.get()].iter().map(|at| &compiled.rules[*at]) {
            let When::Occupancy { bound, until, .. } = &rule.def.when else { continue };
            let (is_beyond, is_back) = match bound {
                Bound::Above(above) => (inside > *above, inside <= *until),
                Bound::Below(below) => (inside < *below, inside >= *until),
            };
            // A store is empty when it opens: that is no news.
            let armed = self.site.armed.entry(rule.def.id.clone()).or_insert(matches!(bound, Bound::Above(_)));
            if is_back && !*armed {
                *armed = true;
                self.is_site_changed = true;
            } else if is_beyond && *armed {
                *armed = false;
                self.is_site_changed = true;
                let happening = Happening { kind: "occupancy", occupancy: Some(inside), ..Happening::default() };
                let one = Try {
                    rule,
                    device: None,
                    zone: Some(Arc::clone(&self.registry.zones()[zone.get()])),
                    observed_at: event.observed_at,
                    cause: vec![event.id],
                    about: event.id,
                };
                let mut history =
                    DeviceHistory { decisions: std::mem::take(&mut self.site.decisions), ..Default::default() };
                self.attempt(&mut history, one, happening, event.decided_at);
                self.site.decisions = history.decisions;
            }
        }
    }

    fn look_for_absence(&mut self, device: DeviceIndex, now: Timestamp) {
        let compiled = Arc::clone(&self.compiled);
        let attended = self.attended_at(now);
        let Some(mut history) = self.devices[device.get()].take() else { return };
        let is_due = |away: &Away| {
            attended - away.left_attended >= away.need && away.not_before.is_none_or(|not_before| not_before <= now)
        };
        let due: Vec<(TriggerId, Away)> =
            history.away.iter().filter(|(_, away)| is_due(away)).map(|(id, away)| (id.clone(), away.clone())).collect();
        for (id, away) in due {
            self.changed.insert(device);
            let Some(rule) = compiled.get(&id) else {
                history.away.remove(&id);
                continue;
            };
            if let Some(later) = self.later(rule, now) {
                // Nobody is woken for it: it waits for the hours.
                history.decide(&id, now, later.1, Some("waits for the hours".to_owned()));
                self.count(&id, later.1);
                if let Some(known) = history.away.get_mut(&id) {
                    known.not_before = Some(later.0);
                }
                continue;
            }
            history.away.remove(&id);
            let zone = self.registry.zone(&away.zone).map(|at| Arc::clone(&self.registry.zones()[at.get()]));
            let happening =
                Happening { kind: "absent", away_ms: Some(attended - away.left_attended), ..Happening::default() };
            let one =
                Try { rule, device: Some(device), zone, observed_at: now, cause: vec![away.event], about: away.visit };
            self.attempt(&mut history, one, happening, now);
        }
        self.devices[device.get()] = Some(history);
    }

    /// When the hours allow that rule next, and what holds it back until then; none where they do now, or never.
    fn later(&self, rule: &Rule, now: Timestamp) -> Option<(Timestamp, Outcome)> {
        let open = rule.gate.open.as_ref().filter(|open| !open.hold(now, &self.calendar));
        let quiet = rule.gate.quiet.as_ref().filter(|quiet| quiet.hold(now, &self.calendar));
        match (open, quiet) {
            (Some(open), _) => open.next(now, true, &self.calendar).map(|at| (at, Outcome::StoreHours)),
            (None, Some(quiet)) => quiet.next(now, false, &self.calendar).map(|at| (at, Outcome::QuietHours)),
            (None, None) => None,
        }
    }

    /// Sets when the absences of a device are to be looked at.
    fn schedule(&mut self, device: DeviceIndex, now: Timestamp) {
        let attended = self.attended_at(now);
        let next = self.devices[device.get()].as_deref().into_iter().flat_map(|history| history.away.values());
        let next = next
            .map(|away| {
                let rest = Duration::from_millis((away.need - (attended - away.left_attended)).max(0) as u64);
                let at = now + rest;
                let at = away.not_before.map_or(at, |not_before| at.max(not_before));
                // It stands still: it is not due before somebody looks again.
                if self.unattended_since.is_some() { at.max(now + LOOK_AGAIN) } else { at }
            })
            .min();
        let next = next.map(|at| at.max(now + Duration::from_millis(1)));
        let known = std::mem::replace(&mut self.due[device.get()], next);
        if known != next {
            if let Some(at) = known {
                self.deadlines.remove(&(at, device));
            }
            self.deadlines.extend(next.map(|at| (at, device)));
        }
    }

    /// Tries a rule whose time has come.
    fn attempt(&mut self, history: &mut DeviceHistory, one: Try<'_>, happening: Happening, now: Timestamp) {
        let registry = Arc::clone(&self.registry);
        let calendar = self.calendar.clone();
        let device = one.device.map(|at| &registry.devices()[at.get()]);
        let mut moment = Moment {
            site: registry.site(),
            device: device.map(AsRef::as_ref),
            zone: one.zone.as_deref(),
            happening,
            now,
            calendar: &calendar,
            facts: None,
            seen: None,
        };
        let rule = one.rule;
        let id = &rule.def.id;
        let (outcome, detail) = match self.judge(history, &one, device, &mut moment, now) {
            Ok(fired) => {
                if rule.def.then.card && device.is_some() {
                    history.cards.insert(id.clone());
                }
                self.made.push(Made::Fired(Box::new(fired)));
                (Outcome::Fired, None)
            }
            Err((outcome, detail)) => (outcome, detail),
        };
        history.decide(id, now, outcome, detail);
        self.count(id, outcome);
    }

    fn count(&mut self, id: &TriggerId, outcome: Outcome) {
        *self.counts.entry(id.clone()).or_default().entry(outcome).or_default() += 1;
    }

    fn judge(
        &mut self,
        history: &mut DeviceHistory,
        one: &Try<'_>,
        device: Option<&Arc<Device>>,
        moment: &mut Moment<'_>,
        now: Timestamp,
    ) -> Result<Fired, (Outcome, Option<String>)> {
        let rule = one.rule;
        let def = &rule.def;
        let id = &def.id;
        let missing = |Missing(what): Missing| (Outcome::Missing, Some(what));
        let channels = match device {
            Some(device) => channels(def, device).ok_or((Outcome::NoConsent, None))?,
            None => def.then.channels.clone(),
        };
        if let Some(device) = device
            && is_held_out(def, &device.id)
        {
            return Err((Outcome::Holdout, None));
        }
        if let Some(condition) = &rule.condition {
            let seen = moment.seen(device.map(|_| &*history), def);
            if !condition.holds(seen).map_err(missing)? {
                return Err((Outcome::Condition, None));
            }
        }
        // Who is lost has left the site before the zones in it: their ends belong to the visit that is over.
        let visit = history.stay.as_ref().map(|stay| stay.began);
        let visit = visit.or_else(|| history.zones.get(&ZoneId::site()).map(|site| site.entered)).unwrap_or(now);
        let nothing = super::Ledger::default();
        let fired = if device.is_some() { history.fired.get(id) } else { self.site.fired.get(id) };
        rule.gate.judge(now, visit, fired.unwrap_or(&nothing), &self.calendar).map_err(|held| (held.into(), None))?;
        let site = self.site.fired.get(id).unwrap_or(&nothing);
        rule.site_gate.judge(now, visit, site, &self.calendar).map_err(|_| (Outcome::SiteCap, None))?;
        if device.is_some() {
            for (name, gate) in &rule.shared {
                let ledger = history.shared.get(name).unwrap_or(&nothing);
                let held = |_| (Outcome::SharedCap, (!name.is_empty()).then(|| name.clone()));
                gate.judge(now, visit, ledger, &self.calendar).map_err(held)?;
            }
        }
        let snapshot = device.map(|_| &*history);
        let trigger_id = trigger_id(one, def, device);
        let (data, key) = {
            let plain;
            let seen = if rule.is_plain {
                plain = super::Facts::default().seen();
                &plain
            } else {
                moment.seen(snapshot, def)
            };
            let data = rule.data.render(seen).map_err(missing)?;
            let key = rule.key.as_ref().map(|key| key.render(seen)).transpose().map_err(missing)?;
            (data, key)
        };
        let key = key.map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned)).map(|mut key| {
            let mut end = key.len().min(256);
            while !key.is_char_boundary(end) {
                end -= 1;
            }
            key.truncate(end);
            key
        });
        let facts = moment.facts(snapshot).0.clone();
        let about = if one.about.is_nil() { trigger_id } else { one.about };
        let who = device.map_or_else(|| one.zone.as_ref().map(|zone| zone.id.to_string()), |d| Some(d.id.to_string()));
        let usual = || format!("{}:{id}:{}:{about}", self.registry.site().id, who.unwrap_or_default());
        let fired = Fired {
            id: trigger_id,
            sequence: 0,
            rule: Arc::clone(def),
            device: device.cloned(),
            zone: one.zone.clone(),
            observed_at: one.observed_at,
            decided_at: now,
            expires_at: now + def.then.expires_after,
            deduplication_key: key.unwrap_or_else(usual),
            channels,
            cause: one.cause.clone(),
            facts,
            data,
            suspect: false,
        };
        let keep = rule.gate.keep();
        if device.is_some() {
            history.fired.entry(id.clone()).or_default().add(now, keep);
            for (name, _) in &rule.shared {
                let keep = self.compiled.shared_keep.get(name).copied().unwrap_or(1);
                history.shared.entry(name.clone()).or_default().add(now, keep);
            }
        }
        if device.is_none() || !def.unless.site_caps.is_empty() {
            let keep = keep.max(rule.site_gate.keep());
            self.site.fired.entry(id.clone()).or_default().add(now, keep);
            self.is_site_changed = true;
        }
        Ok(fired)
    }

    /// Goes on with another registry and its rules. `devices` says where each device is now.
    pub fn reconfigure(
        &mut self,
        registry: Arc<Registry>,
        compiled: Arc<Compiled>,
        devices: &[Option<DeviceIndex>],
        now: Timestamp,
    ) {
        for (at, to) in devices.iter().enumerate() {
            let gone = to.is_none_or(|to| {
                self.registry.devices()[at].may_be_tracked() && !registry.devices()[to.get()].may_be_tracked()
            });
            if gone {
                self.remove(DeviceIndex(at as u32));
            }
        }
        let mut histories: Vec<Option<Box<DeviceHistory>>> = registry.devices().iter().map(|_| None).collect();
        for (history, to) in std::mem::take(&mut self.devices).into_iter().zip(devices) {
            if let Some(to) = to {
                histories[to.get()] = history;
            }
        }
        let offset = self.calendar.offset();
        let zone = jiff::tz::TimeZone::get(&registry.site().time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
        self.calendar = Calendar::new(zone);
        self.calendar.set_offset(offset);
        self.changed = std::mem::take(&mut self.changed).into_iter().filter_map(|at| devices[at.get()]).collect();
        self.devices = histories;
        self.registry = registry;
        self.compiled = compiled;
        self.counts.retain(|id, _| self.compiled.by_id.contains_key(id));
        self.site.armed.retain(|id, _| self.compiled.known.contains(id));
        self.site.fired.retain(|id, _| self.compiled.known.contains(id));
        self.deadlines.clear();
        self.due = vec![None; self.devices.len()];
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

/// The id of what fires: the same for the same cause.
fn trigger_id(one: &Try<'_>, def: &Trigger, device: Option<&Arc<Device>>) -> Uuid {
    let cause = one.cause.last().copied().unwrap_or_default();
    let who = device.map_or("", |device| device.id.as_str());
    Uuid::new_v5(&cause, format!("trigger/{}/{who}/{}", def.id, one.observed_at.as_millis()).as_bytes())
}

/// The channels that the person behind a device has agreed to; none where there is none.
fn channels(def: &Trigger, device: &Device) -> Option<Vec<String>> {
    let purpose = &def.unless.consent;
    let wanted = &def.then.channels;
    if device.kind != DeviceKind::Customer || purpose.is_empty() || device.consent.allows(purpose) {
        return Some(wanted.clone());
    }
    let given = |channel: &str| device.consent.allows(&format!("{purpose}:{channel}"));
    let allowed: Vec<String> = if wanted.is_empty() {
        let prefix = format!("{purpose}:");
        device.consent.0.iter().filter_map(|given| given.strip_prefix(&prefix)).map(str::to_owned).collect()
    } else {
        wanted.iter().filter(|channel| given(channel)).cloned().collect()
    };
    (!allowed.is_empty()).then_some(allowed)
}

/// Whether a device is one of those that never get this campaign: always the same ones, in every store.
fn is_held_out(def: &Trigger, device: &DeviceId) -> bool {
    let share = def.unless.holdout;
    if share <= 0.0 {
        return false;
    }
    let digest = Sha256::digest(format!("holdout\n{}\n{device}", def.campaign).as_bytes());
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(number) / f64::from(u32::MAX) * 100.0 < share
}
