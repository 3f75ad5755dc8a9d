//! Visits that begin, go on and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::judge::Try;
use super::{Made, Stage};
use crate::model::{Timestamp, TriggerId};
use crate::presence::{Event, Reason};
use crate::registry::{Absence, DeviceIndex, When, ZoneIndex};
use crate::trigger::history::{Dwell, Stay, Total};
use crate::trigger::moment::Happening;
use crate::trigger::rules::{Rule, Waits, ZoneSet};
use crate::trigger::{DeviceHistory, Outcome, Steps};

impl Stage {
    pub(super) fn entered(&mut self, device: DeviceIndex, history: &mut DeviceHistory, event: &Event) {
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
        let happening =
            Happening { kind: "entered", duration_ms: Some(0), initial: Some(event.initial), ..Happening::default() };
        let mut tries = Vec::new();
        // All of them ask what was before it.
        for rule in compiled.entered[zone.get()].iter().map(|at| &compiled.rules[*at]) {
            let id = &rule.def.id;
            let mut cause = vec![event.id];
            let mut away_ms = None;
            let matched = match (&rule.waits, &rule.def.when) {
                (Waits::Entered(_), _) => true,
                (Waits::FirstVisit(zones), _) => {
                    !zones.iter().any(|zone| history.zones.contains_key(&self.registry.zones()[zone.get()].id))
                }
                (Waits::Returned(zones), When::Returned { after, .. }) => {
                    away_ms = self.away_from(zones, history, attended);
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
                    self.begin_dwell(history, rule, zones, (*after, *total), event);
                    false
                }
                (Waits::Absent(zones), When::Absent { absence, .. }) => {
                    history.away.remove(id);
                    // From shelf to shelf within a visit is no absence.
                    let been = |zone: ZoneIndex| {
                        let zone = &self.registry.zones()[zone.get()].id;
                        history.stay.as_ref().is_some_and(|stay| stay.been.contains_key(zone))
                    };
                    let is_again = zones.iter().any(been);
                    if let (Absence::Usual { .. }, Some(away), false) =
                        (absence, self.away_from(zones, history, attended), is_again)
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
        history.enter(&event.zone.id, event.visit_id, event.observed_at);
        if let Some(stay) = &mut history.stay
            && !stay.been.contains_key(&event.zone.id)
        {
            stay.been.insert(event.zone.id.clone(), event.id);
        }
        let moment_of = |stage: &Self, away_ms| {
            let happening = Happening { away_ms, ..happening };
            stage.moment(Some(device), Some(Arc::clone(&event.zone)), happening, event.decided_at)
        };
        let mut shared = moment_of(self, None);
        for (rule, cause, away_ms) in tries {
            let one = Try { rule, observed_at: event.observed_at, cause, about: event.visit_id };
            match away_ms {
                None => self.attempt(history, one, &mut shared),
                Some(_) => self.attempt(history, one, &mut moment_of(self, away_ms)),
            }
        }
    }

    /// For how long, in attended milliseconds, a device was in none of these zones; none where it is, or never was.
    pub(super) fn away_from(&self, zones: &ZoneSet, history: &DeviceHistory, attended: i64) -> Option<i64> {
        let mut last = None;
        for zone in zones.iter() {
            let Some(known) = history.zones.get(&self.registry.zones()[zone.get()].id) else { continue };
            if known.open.is_some() {
                return None;
            }
            last = last.max(known.left.map(|_| known.left_attended));
        }
        last.map(|left| (attended - left).max(0))
    }

    pub(super) fn begin_dwell(
        &self,
        history: &mut DeviceHistory,
        rule: &Rule,
        zones: &ZoneSet,
        (after, total): (Duration, bool),
        event: &Event,
    ) {
        let trigger = rule.def.id.clone();
        let mut at = event.observed_at + after;
        if total {
            let is_in_another = zones.iter().any(|zone| {
                history.zones.get(&self.registry.zones()[zone.get()].id).is_some_and(|zone| zone.open.is_some())
            });
            let Some(stay) = &mut history.stay else { return };
            let sum = stay.totals.entry(trigger.clone()).or_default();
            if sum.done || (is_in_another && sum.since.is_some()) {
                return;
            }
            sum.since = Some(event.observed_at);
            at = event.observed_at + Duration::from_millis((after.as_millis() as i64 - sum.ms).max(0) as u64);
        }
        history.dwells.retain(|dwell| dwell.trigger != trigger || dwell.visit != event.visit_id);
        history.dwells.push(Dwell { trigger, zone: event.zone.id.clone(), visit: event.visit_id, event: event.id, at });
    }

    pub(super) fn exited(&mut self, device: DeviceIndex, history: &mut DeviceHistory, event: &Event) {
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
        let mut moment = self.moment(Some(device), Some(Arc::clone(&event.zone)), happening, now);
        let mut one = |stage: &mut Self, history: &mut DeviceHistory, rule: &Rule, cause: Vec<Uuid>| {
            let one = Try { rule, observed_at: event.observed_at, cause, about: event.visit_id };
            stage.attempt(history, one, &mut moment);
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
    pub(super) fn missed(
        &mut self,
        history: &mut DeviceHistory,
        event: &Event,
        attended: i64,
        one: &mut impl FnMut(&mut Self, &mut DeviceHistory, &Rule, Vec<Uuid>),
    ) {
        let compiled = Arc::clone(&self.compiled);
        for rule in compiled.missed.iter().map(|at| &compiled.rules[*at]) {
            let Waits::Missed { places, was_in } = &rule.waits else { continue };
            let Some(stay) = &history.stay else { return };
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

    pub(super) fn end_total(
        &self,
        history: &mut DeviceHistory,
        id: &TriggerId,
        zones: &ZoneSet,
        after: Duration,
        event: &Event,
    ) {
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
                // Once a visit, though it may wait for several stays.
                if std::mem::replace(&mut sum.done, true) {
                    continue;
                }
                history.dwells.retain(|known| known.trigger != dwell.trigger);
            }
            let zone = self.registry.zone(&dwell.zone).map(|at| Arc::clone(&self.registry.zones()[at.get()]));
            let entered = history.zones.get(&dwell.zone).map_or(at, |zone| zone.entered);
            let happening = Happening {
                kind: "dwelled",
                duration_ms: Some(at.since(entered).as_millis() as i64),
                ..Happening::default()
            };
            let one = Try { rule, observed_at: at, cause: vec![dwell.event], about: dwell.visit };
            let mut moment = self.moment(Some(device), zone, happening, now);
            self.attempt(&mut history, one, &mut moment);
            self.changed.insert(device);
        }
        self.devices[device.get()] = Some(history);
    }
}
