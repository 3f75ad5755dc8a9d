//! A registry that changes while the engine runs.
//!
//! What takes long is worked out beforehand and elsewhere ([`Tables::prepare`]); the change itself takes a moment. What does not
//! depend on what was changed goes on untouched: who registers a beacon moves nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Engine, Output, Tracker};
use crate::geofence::{CellShares, Membership, ZoneTree, gaussian_membership};
use crate::model::{Timestamp, ZoneId};
use crate::position::{Drifts, Model};
use crate::presence::{Health, Moves};
use crate::registry::{BeaconIndex, DeviceIndex, ReceiverIndex, Registry, Zone, ZoneIndex};
use crate::trigger::Compiled;

/// What follows from a registry alone, and is shared between the engine and whoever prepares its next registry.
#[derive(Debug, Clone)]
pub struct Tables {
    registry: Arc<Registry>,
    tree: Arc<ZoneTree>,
    shares: Arc<CellShares>,
    compiled: Arc<Compiled>,
}

/// Another registry for an engine, with all that follows from it.
#[derive(Debug)]
pub struct Prepared {
    tables: Tables,
    /// None where the model stays what it is.
    model: Option<Box<Model>>,
    /// The registry that it was prepared from.
    before: Arc<Registry>,
}

impl Prepared {
    /// To prepare the registry after this one from.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

impl Tables {
    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Works out what an engine needs that is to go from this registry to the next one. May take seconds on large surveyed
    /// sites.
    pub fn prepare(&self, next: Arc<Registry>) -> Prepared {
        let keeps_model = Model::is_shared(&self.registry, &next);
        let model = (!keeps_model).then(|| Box::new(Model::new(&next)));
        let keeps_rules = Arc::ptr_eq(self.registry.rules(), next.rules()) && is_same_words(&self.registry, &next);
        let compiled = if keeps_rules { Arc::clone(&self.compiled) } else { Arc::new(Compiled::new(&next)) };
        let tables = if keeps_model && is_same_ground(&self.registry, &next) {
            Self { registry: next, tree: Arc::clone(&self.tree), shares: Arc::clone(&self.shares), compiled }
        } else {
            let tree = ZoneTree::new(&next);
            let own_grid;
            let grid = if let Some(model) = &model {
                model.grid()
            } else {
                own_grid = crate::position::Grid::new(&next);
                &own_grid
            };
            let shares = CellShares::new(&tree, grid, &next.site().margins, next.zones().len());
            Self { registry: next, tree: Arc::new(tree), shares: Arc::new(shares), compiled }
        };
        Prepared { tables, model, before: Arc::clone(&self.registry) }
    }
}

/// Whether rules find the same zones and fixed beacons at the same places.
fn is_same_words(one: &Registry, other: &Registry) -> bool {
    let (ours, theirs) = (one.zones(), other.zones());
    let is_same = |one: &Arc<Zone>, other: &Arc<Zone>| {
        Arc::ptr_eq(one, other)
            || (one.id == other.id
                && one.labels == other.labels
                && one.shape == other.shape
                && one.level == other.level)
    };
    let beacons = |rule: &Arc<crate::registry::Trigger>| {
        rule.when.beacon().is_none_or(|id| {
            let place = |of: &Registry| of.beacon(id).map(|at| of.beacons()[at.get()].fixed);
            place(one) == place(other)
        })
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(one, other)| is_same(one, other))
        && one.rules().triggers.iter().all(beacons)
}

/// Whether every zone is where it was, and at its place in the list.
fn is_same_ground(one: &Registry, other: &Registry) -> bool {
    let is_same = |one: &Zone, other: &Zone| {
        one.id == other.id
            && one.level == other.level
            && one.shape == other.shape
            && one.presence.margin.total_cmp(&other.presence.margin).is_eq()
    };
    let (ours, theirs) = (one.zones(), other.zones());
    one.site().margins == other.site().margins
        && ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(one, other)| Arc::ptr_eq(one, other) || is_same(one, other))
}

impl Engine {
    /// What a next registry is prepared from ([`Tables::prepare`]).
    pub fn tables(&self) -> Tables {
        Tables {
            registry: Arc::clone(&self.registry),
            tree: Arc::clone(&self.tree),
            shares: Arc::clone(&self.shares),
            compiled: Arc::clone(&self.compiled),
        }
    }

    /// Goes on with a registry that was prepared from the present one. Visits end where zone, device or consent are gone, or
    /// the zone does not hold the device any more; the others carry on. False, and nothing is done, where it was prepared
    /// from another registry.
    pub fn reconfigure(&mut self, prepared: Prepared, now: Timestamp) -> bool {
        if !Arc::ptr_eq(&prepared.before, &self.registry) {
            return false;
        }
        self.advance(now);
        let Prepared { tables: Tables { registry: next, tree, shares, compiled }, model, before } = prepared;
        let place = |ids: &mut dyn Iterator<Item = Option<u32>>| ids.collect::<Vec<_>>();
        let zones: Vec<Option<ZoneIndex>> = before.zones().iter().map(|zone| next.zone(&zone.id)).collect();
        let devices: Vec<Option<DeviceIndex>> = before.devices().iter().map(|device| next.device(&device.id)).collect();
        let receivers: Vec<Option<ReceiverIndex>> = before.receivers().iter().map(|r| next.receiver(&r.id)).collect();
        let beacons: Vec<Option<BeaconIndex>> = before.beacons().iter().map(|b| next.beacon(&b.id)).collect();
        let is_kept = |places: Vec<Option<u32>>| places.iter().enumerate().all(|(at, to)| *to == Some(at as u32));
        let keeps_places = is_kept(place(&mut devices.iter().map(|to| to.map(|to| to.0))))
            && is_kept(place(&mut receivers.iter().map(|to| to.map(|to| to.0))))
            && is_kept(place(&mut beacons.iter().map(|to| to.map(|to| to.0))))
            && before.receivers().len() == next.receivers().len();

        self.carry_presence(&next, (&tree, &shares), model.is_none(), zones, devices.clone(), receivers);
        self.carry_trackers(&next, model.is_none(), &devices);
        let keeps_drifts = model.is_none() && keeps_places;
        match model {
            Some(model) => self.model = *model,
            None => self.model.reindex(&beacons),
        }
        if !keeps_drifts {
            self.drifts = Drifts::new(&next, &self.model);
        }
        let down: Vec<bool> = next
            .receivers()
            .iter()
            .map(|receiver| before.receiver(&receiver.id).is_some_and(|at| self.down[at.get()]))
            .collect();
        self.counters.sightings_by_receiver = next
            .receivers()
            .iter()
            .map(|receiver| before.receiver(&receiver.id).map_or(0, |at| self.counters.sightings_by_receiver[at.get()]))
            .collect();
        (self.down, self.tree, self.shares) = (down, tree, shares);
        self.registry = Arc::clone(&next);
        self.beacons.reconfigure(Arc::clone(&next), self.now);
        self.put_beacons();
        if !keeps_places {
            // Who hears what is learned anew.
            self.health = Health::new(next.receivers().len());
            for receiver in (0..next.receivers().len()).map(|at| ReceiverIndex(at as u32)) {
                self.health.set(receiver, !self.down[receiver.get()], self.now);
                self.hold(receiver);
            }
        }
        self.changed = std::mem::take(&mut self.changed).into_iter().filter_map(|at| devices[at.get()]).collect();
        for (at, to) in devices.iter().enumerate() {
            let device = &before.devices()[at];
            match to {
                None => self.gone.push(device.id.clone()),
                Some(to) if device.may_be_tracked() && !next.devices()[to.get()].may_be_tracked() => {
                    self.gone.push(device.id.clone());
                }
                // What is written down of its visits may say other words of zones and labels now.
                Some(to) if !self.presence.zones_of(*to).is_empty() => {
                    self.changed.insert(*to);
                }
                Some(_) => {}
            }
        }
        // What ended because of the change was decided under the rules before.
        self.publish();
        self.triggers.reconfigure(Arc::clone(&next), Arc::clone(&compiled), &devices, self.now);
        self.compiled = compiled;
        self.put_triggers();
        self.look();
        for zone in next.zones().iter().filter(|zone| before.zone(&zone.id).is_none()) {
            self.outputs.push_back(Output::Occupancy(zone.id.clone(), 0));
        }
        true
    }

    /// Zones of the present registry that are not in the next one.
    pub fn zones_gone(before: &Registry, next: &Registry) -> Vec<ZoneId> {
        before.zones().iter().filter(|zone| next.zone(&zone.id).is_none()).map(|zone| zone.id.clone()).collect()
    }

    fn carry_presence(
        &mut self,
        next: &Arc<Registry>,
        (tree, shares): (&ZoneTree, &CellShares),
        keeps_model: bool,
        zones: Vec<Option<ZoneIndex>>,
        devices: Vec<Option<DeviceIndex>>,
        receivers: Vec<Option<ReceiverIndex>>,
    ) {
        let before = Arc::clone(&self.registry);
        let margins_moved = before.site().margins != next.site().margins;
        let reshaped: BTreeSet<ZoneIndex> = next
            .zones()
            .iter()
            .enumerate()
            .filter(|(_, zone)| {
                before.zone(&zone.id).map(|at| &before.zones()[at.get()]).is_none_or(|old| {
                    old.shape != zone.shape
                        || old.level != zone.level
                        || old.presence.margin.total_cmp(&zone.presence.margin).is_ne()
                        || margins_moved
                })
            })
            .map(|(at, _)| ZoneIndex(at as u32))
            .collect();
        let moves = Moves {
            registry: Arc::clone(next),
            overlaps: shares.overlaps().clone(),
            zones,
            devices,
            receivers,
            reshaped,
        };
        let (trackers, model, now) = (&self.trackers, &self.model, self.now);
        let membership = |device: DeviceIndex, position: crate::model::Position| -> Membership {
            let kind = before.devices()[device.get()].kind;
            let tracker = trackers[device.get()].as_deref();
            match tracker.and_then(|tracker| tracker.filter.as_ref().filter(|_| !tracker.is_reported)) {
                Some(filter) if keeps_model => shares.membership(kind, model.grid(), filter.belief()),
                _ => gaussian_membership(
                    tree,
                    position.level,
                    position.point,
                    position.accuracy,
                    next.site().margins.of(kind),
                ),
            }
        };
        self.presence.reconfigure(moves, membership, now);
    }

    /// Puts the position stage of each device to its place. Where the model is another, positions begin anew.
    fn carry_trackers(&mut self, next: &Registry, keeps_model: bool, devices: &[Option<DeviceIndex>]) {
        let mut trackers: Vec<Option<Box<Tracker>>> = next.devices().iter().map(|_| None).collect();
        for (tracker, to) in std::mem::take(&mut self.trackers).into_iter().zip(devices) {
            let Some(to) = to.filter(|to| next.devices()[to.get()].may_be_tracked()) else { continue };
            trackers[to.get()] = tracker.map(|mut tracker| {
                if !keeps_model {
                    *tracker = Tracker { last_report: tracker.last_report, ..*Tracker::new() };
                }
                tracker
            });
        }
        self.batches.clear();
        self.silences.clear();
        for (at, tracker) in trackers.iter().enumerate() {
            let Some(tracker) = tracker.as_deref() else { continue };
            let device = DeviceIndex(at as u32);
            self.batches.extend(tracker.batch_ends.map(|ends| (ends, device)));
            self.silences.extend(tracker.located.map(|(_, due)| (due, device)));
        }
        self.trackers = trackers;
    }
}

#[cfg(test)]
mod tests;
