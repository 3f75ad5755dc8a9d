//! A registry that changes while people are inside.
//!
//! A visit carries on where its zone still holds the device; otherwise it ends, with the reason. What does not concern a
//! visit does not touch it: names, labels and settings apply from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{INITIAL, Machine, Phase, SITE};
use crate::geofence::Overlaps;
use crate::model::{Position, Probability, Timestamp};
use crate::presence::Reason;
use crate::registry::{DeviceIndex, Registry, Renumbering, ZoneIndex};

/// How one registry follows from another.
#[derive(Debug)]
pub struct Moves<'a> {
    /// The next registry.
    pub registry: Arc<Registry>,
    /// Which of its zones overlap.
    pub overlaps: Overlaps,
    /// Where the things of the present registry are in the next one.
    pub to: &'a Renumbering,
    /// Zones of the next registry that are new, or cover other ground than before.
    pub reshaped: BTreeSet<ZoneIndex>,
}

impl Machine {
    /// Goes on with another registry. `membership` gives the probability of each zone of the next registry for a device of the
    /// present one, whose last position is given.
    pub fn reconfigure(
        &mut self,
        moves: Moves<'_>,
        mut membership: impl FnMut(DeviceIndex, Position) -> Vec<(ZoneIndex, Probability)>,
        now: Timestamp,
    ) {
        for device in (0..self.devices.len()).map(|at| DeviceIndex(at as u32)) {
            if self.devices[device.get()].is_some() {
                self.close_what_ends(device, &moves, &mut membership, now);
            }
        }
        self.carry_over(moves, now);
        for device in (0..self.devices.len()).map(|at| DeviceIndex(at as u32)) {
            self.schedule(device, now);
        }
    }

    /// Ends the visits of a device that do not outlive the change; the events speak of zones and devices as they were.
    fn close_what_ends(
        &mut self,
        device: DeviceIndex,
        moves: &Moves<'_>,
        membership: &mut impl FnMut(DeviceIndex, Position) -> Vec<(ZoneIndex, Probability)>,
        now: Timestamp,
    ) {
        let gone = match moves.to.devices.to(device) {
            None => Some(Reason::DeviceRemoved),
            Some(at) if !moves.registry.devices()[at.get()].may_be_tracked() => Some(Reason::ConsentWithdrawn),
            Some(_) => None,
        };
        let mut known: Option<Vec<(ZoneIndex, Probability)>> = None;
        let Some(state) = self.devices[device.get()].as_deref() else { return };
        let position = state.position;
        for slot in (0..state.zones.len()).rev() {
            let Some(state) = self.devices[device.get()].as_deref_mut() else { return };
            let presence = &mut state.zones[slot];
            let reason = match (gone, moves.to.zones.to(presence.zone)) {
                (Some(reason), _) => Some(reason),
                (None, None) => Some(Reason::ZoneRemoved),
                (None, Some(zone)) if moves.reshaped.contains(&zone) => {
                    let is_entering = matches!(presence.phase, Phase::Entering { .. });
                    // Where it is not known where the device is, its next position decides.
                    position
                        .filter(|_| !is_entering)
                        .map_or(is_entering, |position| {
                            let known = known.get_or_insert_with(|| membership(device, position));
                            let found = known.iter().find(|(other, _)| *other == zone);
                            let probability =
                                found.map_or(Probability::saturating(0.0), |(_, probability)| *probability);
                            presence.confidence = Some(probability);
                            probability < moves.registry.zones()[zone.get()].presence.exit_probability
                        })
                        .then_some(Reason::ZoneChanged)
                }
                (None, Some(_)) => None,
            };
            if let Some(reason) = reason {
                self.leave(device, slot, reason, now);
            }
        }
        if gone.is_some() {
            let state = self.devices[device.get()].take();
            if let Some(deadline) = state.and_then(|state| state.deadline) {
                self.deadlines.remove(&(deadline, device));
            }
        }
    }

    /// Puts what is known of each device to its place in the next registry.
    fn carry_over(&mut self, moves: Moves<'_>, now: Timestamp) {
        let Moves { registry, overlaps, to: Renumbering { zones, devices, receivers, .. }, reshaped } = moves;
        let before = std::mem::replace(&mut self.registry, Arc::clone(&registry));
        let has_new_thresholds = |old: ZoneIndex, new: ZoneIndex| {
            before.zones()[old.get()].presence.dwell != registry.zones()[new.get()].presence.dwell
        };
        self.devices = devices.carry(std::mem::take(&mut self.devices), registry.devices().len(), || None);
        for state in self.devices.iter_mut().flatten() {
            let heard = std::mem::take(&mut state.heard).into_iter();
            state.heard = heard.filter_map(|(receiver, at)| Some((receivers.to(receiver)?, at))).collect();
            let last_seen = state.last_seen;
            state.zones = std::mem::take(&mut state.zones)
                .into_iter()
                .filter_map(|mut presence| {
                    let zone = zones.to(presence.zone)?;
                    if has_new_thresholds(presence.zone, zone)
                        && let Phase::Inside { visit } | Phase::Leaving { visit, .. } = &mut presence.phase
                    {
                        // What has passed by now counts as said: nobody is told late of a threshold that is new.
                        let stayed = last_seen.since(visit.entered_at);
                        let thresholds = &registry.zones()[zone.get()].presence.dwell;
                        visit.dwelled = thresholds.iter().filter(|threshold| **threshold <= stayed).count();
                    }
                    presence.zone = zone;
                    Some(presence)
                })
                .collect();
            state.zones.sort_by_key(|presence| presence.zone);
        }
        self.deadlines = self
            .devices
            .iter()
            .enumerate()
            .filter_map(|(at, state)| Some((state.as_ref()?.deadline?, DeviceIndex(at as u32))))
            .collect();
        self.occupancy = zones.carry(std::mem::take(&mut self.occupancy), registry.zones().len(), || 0);
        self.coverage.reconfigure(&before, &registry, (zones, receivers));
        self.overlaps = Some(overlaps);
        let mut fresh: BTreeMap<ZoneIndex, Timestamp> = std::mem::take(&mut self.fresh)
            .into_iter()
            .filter(|(_, since)| now.since(*since) < INITIAL)
            .filter_map(|(zone, since)| Some((zones.to(zone)?, since)))
            .collect();
        fresh.extend(reshaped.into_iter().filter(|zone| *zone != SITE).map(|zone| (zone, now)));
        self.fresh = fresh;
    }
}
