//! Where devices are: what they come near to, and how many are in a zone.

use std::sync::Arc;

use uuid::Uuid;

use super::Stage;
use super::judge::Try;
use crate::model::{Position, Timestamp, ZoneId};
use crate::presence::Event;
use crate::registry::{Bound, DeviceIndex, When};
use crate::trigger::DeviceHistory;
use crate::trigger::moment::Happening;
use crate::trigger::rules::Waits;

/// Who was near goes on to be near until so much farther away.
const NEAR_FACTOR: f64 = 1.5;
/// And by so many metres at least.
const NEAR_MARGIN: f64 = 0.5;

impl Stage {
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
                let zone = zone.map(|zone| Arc::clone(&self.registry.zones()[zone.get()]));
                let mut moment = self.moment(Some(device), zone, happening, now);
                let one =
                    Try { rule, observed_at: position.time, cause: cause.into_iter().collect(), about: Uuid::nil() };
                self.attempt(&mut history, one, &mut moment);
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
                let zone = Arc::clone(&self.registry.zones()[zone.get()]);
                let mut moment = self.moment(None, Some(zone), happening, event.decided_at);
                let one = Try { rule, observed_at: event.observed_at, cause: vec![event.id], about: event.id };
                let mut history =
                    DeviceHistory { decisions: std::mem::take(&mut self.site.decisions), ..Default::default() };
                self.attempt(&mut history, one, &mut moment);
                self.site.decisions = history.decisions;
            }
        }
    }
}
