//! Who stays away: in attended time, which stands still while nobody looks.

use std::sync::Arc;
use std::time::Duration;

use super::Stage;
use super::judge::Try;
use crate::model::{Timestamp, TriggerId};
use crate::presence::Event;
use crate::registry::{Absence, DeviceIndex};
use crate::trigger::history::Away;
use crate::trigger::moment::Happening;
use crate::trigger::rules::{Rule, ZoneSet};
use crate::trigger::{DeviceHistory, Outcome};

/// An absence that is due while nobody looks is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Stage {
    pub(super) fn begin_absence(
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

    pub(super) fn look_for_absence(&mut self, device: DeviceIndex, now: Timestamp) {
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
            let one = Try { rule, observed_at: now, cause: vec![away.event], about: away.visit };
            let mut moment = self.moment(Some(device), zone, happening, now);
            self.attempt(&mut history, one, &mut moment);
        }
        self.devices[device.get()] = Some(history);
    }

    /// When the hours allow that rule next, and what holds it back until then; none where they do now, or never.
    pub(super) fn later(&self, rule: &Rule, now: Timestamp) -> Option<(Timestamp, Outcome)> {
        let open = rule.gate.open.as_ref().filter(|open| !open.hold(now, &self.calendar));
        let quiet = rule.gate.quiet.as_ref().filter(|quiet| quiet.hold(now, &self.calendar));
        match (open, quiet) {
            (Some(open), _) => open.next(now, true, &self.calendar).map(|at| (at, Outcome::StoreHours)),
            (None, Some(quiet)) => quiet.next(now, false, &self.calendar).map(|at| (at, Outcome::QuietHours)),
            (None, None) => None,
        }
    }

    /// Sets when the absences of a device are to be looked at.
    pub(super) fn schedule(&mut self, device: DeviceIndex, now: Timestamp) {
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
}
