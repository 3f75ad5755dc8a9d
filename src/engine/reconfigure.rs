//! A registry that changes while the engine runs.
//!
//! What takes long is worked out beforehand and elsewhere ([`Tables::prepare`]); the change itself takes a moment. What does not
//! depend on what was changed goes on untouched: who registers a beacon moves nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Engine, Output, Tracker};
use crate::geofence::{CellShares, Membership, Redrawn, ZoneTree, gaussian_membership};
use crate::model::{Point, Timestamp, ZoneId};
use crate::position::{Drifts, Model};
use crate::presence::{Health, Moves};
use crate::registry::{
    DeviceIndex, DeviceKind, Moved, ReceiverIndex, Registry, Renumbering, Zone, ZoneIndex, shape_bounds,
};
use crate::trigger::Compiled;

/// So many zones are redrawn one by one; of more, all are.
const MOST_REDRAWN: usize = 50;

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
            let margins = &next.site().margins;
            let shares = match redrawn(&self.registry, &next).filter(|_| keeps_model) {
                Some(redrawn) => self.shares.redrawn(&tree, grid, margins, next.zones().len(), &redrawn),
                None => CellShares::new(&tree, grid, margins, next.zones().len()),
            };
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

/// Whether two zones, of the same id, cover the same ground.
fn covers_the_same(one: &Arc<Zone>, other: &Arc<Zone>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.level == other.level
            && one.shape == other.shape
            && one.presence.margin.total_cmp(&other.presence.margin).is_eq())
}

/// Whether every zone is where it was, and at its place in the list.
fn is_same_ground(one: &Registry, other: &Registry) -> bool {
    let (ours, theirs) = (one.zones(), other.zones());
    one.site().margins == other.site().margins
        && ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(one, other)| one.id == other.id && covers_the_same(one, other))
}

/// The zones that are others than before, or new; none where zones are gone, margins of kinds have changed, or where there are so
/// many that everything is worked out anew as fast.
fn redrawn(before: &Registry, next: &Registry) -> Option<Redrawn> {
    let margins = &next.site().margins;
    let (ours, theirs) = (before.zones(), next.zones());
    let keeps_places = ours.len() <= theirs.len() && ours.iter().zip(theirs).all(|(one, other)| one.id == other.id);
    if before.site().margins != *margins || !keeps_places {
        return None;
    }
    let widest = DeviceKind::ALL.into_iter().map(|kind| margins.of(kind)).fold(f64::NEG_INFINITY, f64::max);
    let mut redrawn = Redrawn::default();
    for (at, zone) in theirs.iter().enumerate() {
        let old = ours.get(at);
        if old.is_some_and(|old| covers_the_same(old, zone)) {
            continue;
        }
        if redrawn.zones.len() == MOST_REDRAWN {
            return None;
        }
        redrawn.zones.insert(ZoneIndex(at as u32));
        for zone in old.into_iter().chain([zone]) {
            let wider = (zone.presence.margin + widest).max(0.0);
            let bounds = shape_bounds(&zone.shape).map(|(low, high)| {
                (Point { x: low.x - wider, y: low.y - wider }, Point { x: high.x + wider, y: high.y + wider })
            });
            redrawn.ground.extend(bounds);
        }
    }
    Some(redrawn)
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
        let to = next.renumbering_of(&before);
        let keeps_places = to.devices.is_kept()
            && to.receivers.is_kept()
            && to.beacons.is_kept()
            && before.receivers().len() == next.receivers().len();

        self.carry_presence(&next, (&tree, &shares), model.is_none(), &to);
        self.carry_trackers(&next, model.is_none(), &to);
        let keeps_drifts = model.is_none() && keeps_places;
        match model {
            Some(model) => self.model = *model,
            None => self.model.reindex(&to.beacons),
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
        self.changed = std::mem::take(&mut self.changed).into_iter().filter_map(|at| to.devices.to(at)).collect();
        for at in to.touched.iter().copied() {
            let device = &before.devices()[at.get()];
            let may_not = |to: DeviceIndex| !next.devices()[to.get()].may_be_tracked();
            if to.devices.to(at).is_none_or(|to| device.may_be_tracked() && may_not(to)) {
                self.gone.push(device.id.clone());
            }
        }
        // What is written down of visits may say other words of zones and labels now.
        let shares_zones = before.shares_zones_with(&next);
        let touched: BTreeSet<DeviceIndex> = to.touched.iter().filter_map(|at| to.devices.to(*at)).collect();
        let has_other_words = |at: &DeviceIndex| !shares_zones || touched.contains(at);
        self.changed.extend(self.presence.inside().filter(has_other_words));
        // What ended because of the change was decided under the rules before.
        self.publish();
        self.triggers.reconfigure(Arc::clone(&next), Arc::clone(&compiled), &to, self.now);
        self.compiled = compiled;
        self.put_triggers();
        self.look();
        let known = if to.zones.is_kept() { before.zones().len() } else { 0 };
        for zone in next.zones().iter().skip(known).filter(|zone| before.zone(&zone.id).is_none()) {
            self.outputs.push_back(Output::Occupancy(zone.id.clone(), 0));
        }
        true
    }

    /// Zones of the present registry that are not in the next one.
    pub fn zones_gone(before: &Registry, next: &Registry) -> Vec<ZoneId> {
        if before.shares_zones_with(next) {
            return Vec::new();
        }
        before.zones().iter().filter(|zone| next.zone(&zone.id).is_none()).map(|zone| zone.id.clone()).collect()
    }

    fn carry_presence(
        &mut self,
        next: &Arc<Registry>,
        (tree, shares): (&ZoneTree, &CellShares),
        keeps_model: bool,
        to: &Renumbering,
    ) {
        let before = Arc::clone(&self.registry);
        let margins_moved = before.site().margins != next.site().margins;
        let is_other = |old: &Arc<Zone>, zone: &Arc<Zone>| margins_moved || !covers_the_same(old, zone);
        let old = |at: usize, zone: &Zone| match to.zones {
            Moved::Kept => before.zones().get(at),
            Moved::To(_) => before.zone(&zone.id).map(|at| &before.zones()[at.get()]),
        };
        let zones = next.zones().iter().enumerate();
        let reshaped: BTreeSet<ZoneIndex> = zones
            .filter(|(at, zone)| old(*at, zone).is_none_or(|old| is_other(old, zone)))
            .map(|(at, _)| ZoneIndex(at as u32))
            .collect();
        let moves = Moves { registry: Arc::clone(next), overlaps: shares.overlaps().clone(), to, reshaped };
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
    fn carry_trackers(&mut self, next: &Registry, keeps_model: bool, to: &Renumbering) {
        let mut trackers = to.devices.carry(std::mem::take(&mut self.trackers), next.devices().len(), || None);
        for at in to.touched.iter().filter_map(|at| to.devices.to(*at)) {
            if !next.devices()[at.get()].may_be_tracked() {
                trackers[at.get()] = None;
            }
        }
        if !keeps_model {
            for tracker in trackers.iter_mut().flatten() {
                **tracker = Tracker { last_report: tracker.last_report, ..*Tracker::new() };
            }
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
