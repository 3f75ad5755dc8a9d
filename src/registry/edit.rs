//! Edits: the next registry from the present one.
//!
//! An edit is applied whole or not at all. What is added comes after what is there, what is changed keeps its place; so
//! indices stay what they were unless something is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::model::{BeaconId, DeviceId, LevelOrdinal, ReceiverId, TriggerId, ZoneId};

use super::renumber::Extension;
use super::{
    Beacon, BeaconIndex, Calibration, Device, DeviceIndex, Level, List, Receiver, ReceiverIndex, Registry,
    RegistryError, Rules, Site, Standing, Trigger, TriggerSettings, Zone, ZoneIndex, unknown_level,
};

/// The kinds of things that a registry holds, in the order in which one may refer to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The site itself.
    Site,
    /// A level.
    Level,
    /// A receiver.
    Receiver,
    /// A zone.
    Zone,
    /// A device.
    Device,
    /// A beacon.
    Beacon,
    /// What every rule obeys.
    TriggerSettings,
    /// A rule.
    Trigger,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Site,
        Self::Level,
        Self::Receiver,
        Self::Zone,
        Self::Device,
        Self::Beacon,
        Self::TriggerSettings,
        Self::Trigger,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Level => "level",
            Self::Receiver => "receiver",
            Self::Zone => "zone",
            Self::Device => "device",
            Self::Beacon => "beacon",
            Self::TriggerSettings => "trigger-settings",
            Self::Trigger => "trigger",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which thing of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The site itself.
    Site,
    /// A level.
    Level(LevelOrdinal),
    /// A receiver.
    Receiver(ReceiverId),
    /// A zone.
    Zone(ZoneId),
    /// A device.
    Device(DeviceId),
    /// A beacon.
    Beacon(BeaconId),
    /// What every rule obeys.
    TriggerSettings,
    /// A rule.
    Trigger(TriggerId),
}

impl Key {
    /// What kind of thing it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Site => Kind::Site,
            Self::Level(_) => Kind::Level,
            Self::Receiver(_) => Kind::Receiver,
            Self::Zone(_) => Kind::Zone,
            Self::Device(_) => Kind::Device,
            Self::Beacon(_) => Kind::Beacon,
            Self::TriggerSettings => Kind::TriggerSettings,
            Self::Trigger(_) => Kind::Trigger,
        }
    }

    /// Its id as text; `site` for the site, `trigger-settings` for these, the ordinal for a level.
    pub fn id(&self) -> String {
        match self {
            Self::Site | Self::TriggerSettings => self.kind().as_str().to_owned(),
            Self::Level(ordinal) => ordinal.to_string(),
            Self::Receiver(id) => id.to_string(),
            Self::Zone(id) => id.to_string(),
            Self::Device(id) => id.to_string(),
            Self::Beacon(id) => id.to_string(),
            Self::Trigger(id) => id.to_string(),
        }
    }

    /// The key of that kind and id; none where the id is not one.
    pub fn parse(kind: Kind, id: &str) -> Option<Self> {
        Some(match kind {
            Kind::Site => Self::Site,
            Kind::Level => Self::Level(LevelOrdinal(id.parse().ok()?)),
            Kind::Receiver => Self::Receiver(ReceiverId::new(id).ok()?),
            Kind::Zone => Self::Zone(ZoneId::new(id).ok()?),
            Kind::Device => Self::Device(DeviceId::new(id).ok()?),
            Kind::Beacon => Self::Beacon(BeaconId::new(id).ok()?),
            Kind::TriggerSettings => Self::TriggerSettings,
            Kind::Trigger => Self::Trigger(TriggerId::new(id).ok()?),
        })
    }
}

/// `zone "tills"`, `level 0`, `the site`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site => f.write_str("the site"),
            Self::TriggerSettings => f.write_str("the settings of triggers"),
            Self::Level(ordinal) => write!(f, "level {ordinal}"),
            other => write!(f, "{} \"{}\"", other.kind(), other.id()),
        }
    }
}

/// One thing of a registry.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The site; its `levels` are records of their own, and ignored.
    Site(Box<Site>),
    /// A level.
    Level(Level),
    /// A receiver.
    Receiver(Arc<Receiver>),
    /// A zone.
    Zone(Arc<Zone>),
    /// A device.
    Device(Arc<Device>),
    /// A beacon.
    Beacon(Arc<Beacon>),
    /// What every rule obeys.
    TriggerSettings(Arc<TriggerSettings>),
    /// A rule.
    Trigger(Arc<Trigger>),
}

impl Record {
    /// Which thing it is.
    pub fn key(&self) -> Key {
        match self {
            Self::Site(_) => Key::Site,
            Self::Level(level) => Key::Level(level.ordinal),
            Self::Receiver(receiver) => Key::Receiver(receiver.id.clone()),
            Self::Zone(zone) => Key::Zone(zone.id.clone()),
            Self::Device(device) => Key::Device(device.id.clone()),
            Self::Beacon(beacon) => Key::Beacon(beacon.id.clone()),
            Self::TriggerSettings(_) => Key::TriggerSettings,
            Self::Trigger(trigger) => Key::Trigger(trigger.id.clone()),
        }
    }
}

/// What is to be changed. Nothing is both put and removed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit {
    /// What is to be added, or takes the place of what has its key.
    pub put: Vec<Record>,
    /// What is to go. What is not there is ignored.
    pub remove: Vec<Key>,
    /// What a survey has taught, where that changes: none inside where it is to be forgotten.
    pub calibration: Option<Option<Arc<Calibration>>>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty() && self.calibration.is_none()
    }
}

impl Registry {
    /// The registry with an edit. The site itself and the reserved zone `site` are never removed: without a record of its own the
    /// zone has the defaults, and so have the settings of triggers.
    ///
    /// # Errors
    /// Every [`RegistryError`] found.
    pub fn edited(&self, edit: &Edit) -> Result<Self, Vec<RegistryError>> {
        let mut site = self.site.clone();
        let mut receivers = self.receivers.clone();
        let mut zones = self.zones.clone();
        let mut beacons = self.beacons.clone();
        let mut devices = self.devices.clone();
        let gone: BTreeSet<&Key> = edit.remove.iter().collect();
        let of = |kind: Kind| gone.iter().any(|key| key.kind() == kind);
        site.levels.retain(|level| !gone.contains(&Key::Level(level.ordinal)));
        if of(Kind::Receiver) {
            receivers.retain(|receiver| !gone.contains(&Key::Receiver(receiver.id.clone())));
        }
        if of(Kind::Zone) {
            Arc::make_mut(&mut zones).retain(|zone| !gone.contains(&Key::Zone(zone.id.clone())));
        }
        if of(Kind::Beacon) {
            let kept = beacons.iter().filter(|beacon| !gone.contains(&Key::Beacon(beacon.id.clone())));
            beacons = kept.cloned().collect();
        }
        if of(Kind::Device) {
            let kept = devices.iter().filter(|device| !gone.contains(&Key::Device(device.id.clone())));
            devices = kept.cloned().collect();
        }
        let is_shifted = [Kind::Receiver, Kind::Zone, Kind::Beacon, Kind::Device].into_iter().any(of);
        let mut put = Put::new(self, is_shifted);
        for record in &edit.put {
            match record {
                Record::Site(next) => site = Site { levels: site.levels, ..next.as_ref().clone() },
                Record::Level(level) => {
                    site.levels.retain(|known| known.ordinal != level.ordinal);
                    site.levels.push(level.clone());
                }
                Record::Receiver(receiver) => put.place(&mut receivers, receiver, &record.key()),
                Record::Zone(zone) => put.place(Arc::make_mut(&mut zones), zone, &record.key()),
                Record::Beacon(beacon) => put.place(&mut beacons, beacon, &record.key()),
                Record::Device(device) => put.place(&mut devices, device, &record.key()),
                Record::TriggerSettings(_) | Record::Trigger(_) => {}
            }
        }
        site.levels.sort_by_key(|level| level.ordinal);
        if edit.put.iter().any(|record| matches!(record, Record::Site(_))) {
            // Its name is the site's where it has no record of its own; that cannot be told apart, and is not needed.
            let is_named_so = |zone: &&Arc<Zone>| zone.name == self.site.name && zone.id.is_site();
            if let Some(first) = zones.first().filter(is_named_so).cloned() {
                Arc::make_mut(&mut zones)[0] = Arc::new(Zone { name: site.name.clone(), ..first.as_ref().clone() });
            }
        }
        let next = if is_shifted {
            Self::assemble(site, receivers, Arc::unwrap_or_clone(zones), beacons, devices)?
        } else {
            let levels_gone = gone.iter().any(|key| key.kind() == Kind::Level);
            let extension = put.extension(&self.mark);
            self.extended(site, receivers, zones, (beacons, devices), extension, levels_gone)?
        };
        let calibration = edit.calibration.clone().unwrap_or_else(|| self.calibration.clone());
        let rules = self.edited_rules(edit, &gone);
        Self { calibration, ..next }.with_rules(rules)
    }

    /// The rules with an edit; the same ones where it is not about them.
    fn edited_rules(&self, edit: &Edit, gone: &BTreeSet<&Key>) -> Arc<Rules> {
        let is_one = |kind: Kind| matches!(kind, Kind::TriggerSettings | Kind::Trigger);
        let is_about = edit.put.iter().map(Record::key).any(|key| is_one(key.kind()));
        if !is_about && !gone.iter().any(|key| is_one(key.kind())) {
            return Arc::clone(&self.rules);
        }
        let mut rules = self.rules.as_ref().clone();
        if gone.contains(&Key::TriggerSettings) {
            rules.settings = Arc::default();
        }
        rules.triggers.retain(|rule| !gone.contains(&Key::Trigger(rule.id.clone())));
        let mut places: BTreeMap<TriggerId, usize> =
            rules.triggers.iter().enumerate().map(|(at, rule)| (rule.id.clone(), at)).collect();
        for record in &edit.put {
            match record {
                Record::TriggerSettings(settings) => rules.settings = Arc::clone(settings),
                Record::Trigger(rule) => {
                    if let Some(at) = places.get(&rule.id) {
                        rules.triggers[*at] = Arc::clone(rule);
                    } else {
                        places.insert(rule.id.clone(), rules.triggers.len());
                        rules.triggers.push(Arc::clone(rule));
                    }
                }
                _ => {}
            }
        }
        Arc::new(rules)
    }

    /// As [`Registry::assemble`] with everything at its place, in a time that grows with what is changed.
    fn extended(
        &self,
        site: Site,
        receivers: Vec<Arc<Receiver>>,
        zones: Arc<Vec<Arc<Zone>>>,
        (beacons, devices): (List<Beacon>, List<Device>),
        extension: Extension,
        levels_gone: bool,
    ) -> Result<Self, Vec<RegistryError>> {
        let mut errors = Vec::new();
        let mut device_index = self.device_index.clone();
        for at in extension.devices.iter().filter(|at| at.get() >= self.devices.len()) {
            device_index.insert_mut(devices[at.get()].id.clone(), *at);
        }
        let mut beacon_index = self.beacon_index.clone();
        let mut identity_index = self.identity_index.clone();
        let mut device_of_beacon = self.device_of_beacon.clone();
        for at in &extension.beacons {
            if let Some(before) = self.beacons.get(at.get()) {
                identity_index.remove_mut(&before.identity);
            }
        }
        for at in extension.beacons.iter().copied() {
            let beacon = &beacons[at.get()];
            if let Some(first) = identity_index.get(&beacon.identity) {
                errors.push(RegistryError::DuplicateIdentity {
                    identity: beacon.identity.to_string(),
                    first: beacons[first.get()].id.clone(),
                    second: beacon.id.clone(),
                });
            }
            identity_index.insert_mut(beacon.identity, at);
            let device = beacon.device.as_ref().and_then(|id| device_index.get(id).copied());
            if let (Some(id), None) = (&beacon.device, device) {
                errors.push(RegistryError::UnknownDevice { beacon: beacon.id.clone(), device: id.clone() });
            }
            if at.get() < device_of_beacon.len() {
                device_of_beacon.set_mut(at.get(), device);
            } else {
                beacon_index.insert_mut(beacon.id.clone(), at);
                device_of_beacon.push_back_mut(device);
            }
        }
        let has_other_zones = !Arc::ptr_eq(&zones, &self.zones);
        errors.extend(receivers.iter().filter_map(|receiver| unknown_level(&site, Standing::Receiver(receiver))));
        if has_other_zones || levels_gone {
            errors.extend(zones.iter().filter_map(|zone| unknown_level(&site, Standing::Zone(zone))));
        }
        if levels_gone {
            errors.extend(beacons.iter().filter_map(|beacon| unknown_level(&site, Standing::Beacon(beacon))));
        } else {
            let changed = extension.beacons.iter().map(|at| Standing::Beacon(&beacons[at.get()]));
            errors.extend(changed.filter_map(|beacon| unknown_level(&site, beacon)));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let places = |(at, receiver): (usize, &Arc<Receiver>)| (receiver.id.clone(), ReceiverIndex(at as u32));
        let receiver_index = receivers.iter().enumerate().map(places).collect();
        let mut zone_index = Arc::clone(&self.zone_index);
        for (at, zone) in zones.iter().enumerate().skip(self.zones.len()) {
            Arc::make_mut(&mut zone_index).insert(zone.id.clone(), ZoneIndex(at as u32));
        }
        Ok(Self {
            site,
            receivers,
            zones,
            beacons,
            devices,
            receiver_index,
            zone_index,
            device_index,
            beacon_index,
            identity_index,
            device_of_beacon,
            calibration: None,
            rules: Arc::default(),
            mark: Arc::default(),
            extension: Some(extension),
        })
    }

    /// The edit that makes `target` out of this registry. The order in which things are listed does not matter to it.
    pub fn difference(&self, target: &Self) -> Edit {
        let mut edit = Edit::default();
        let bare = |site: &Site| Site { levels: Vec::new(), ..site.clone() };
        if bare(&self.site) != bare(&target.site) {
            edit.put.push(Record::Site(Box::new(target.site.clone())));
        }
        let levels: BTreeMap<LevelOrdinal, &Level> =
            self.site.levels.iter().map(|level| (level.ordinal, level)).collect();
        let changed = target.site.levels.iter().filter(|level| levels.get(&level.ordinal) != Some(level));
        edit.put.extend(changed.cloned().map(Record::Level));
        let kept: BTreeSet<LevelOrdinal> = target.site.levels.iter().map(|level| level.ordinal).collect();
        edit.remove.extend(levels.keys().filter(|ordinal| !kept.contains(ordinal)).map(|ordinal| Key::Level(*ordinal)));
        let same = |at: Option<usize>, record: &dyn Fn(usize) -> bool| at.is_some_and(record);
        for next in &target.receivers {
            if !same(self.receiver(&next.id).map(ReceiverIndex::get), &|at| self.receivers[at] == *next) {
                edit.put.push(Record::Receiver(Arc::clone(next)));
            }
        }
        for next in target.zones.iter() {
            if !same(self.zone(&next.id).map(ZoneIndex::get), &|at| self.zones[at] == *next) {
                edit.put.push(Record::Zone(Arc::clone(next)));
            }
        }
        for next in &target.devices {
            if !same(self.device(&next.id).map(DeviceIndex::get), &|at| self.devices[at] == *next) {
                edit.put.push(Record::Device(Arc::clone(next)));
            }
        }
        for next in &target.beacons {
            if !same(self.beacon(&next.id).map(BeaconIndex::get), &|at| self.beacons[at] == *next) {
                edit.put.push(Record::Beacon(Arc::clone(next)));
            }
        }
        if self.rules.settings != target.rules.settings {
            edit.put.push(Record::TriggerSettings(Arc::clone(&target.rules.settings)));
        }
        let known: BTreeMap<&TriggerId, &Arc<Trigger>> =
            self.rules.triggers.iter().map(|rule| (&rule.id, rule)).collect();
        let changed = target.rules.triggers.iter().filter(|rule| known.get(&rule.id) != Some(rule));
        edit.put.extend(changed.cloned().map(Record::Trigger));
        let kept: BTreeSet<&TriggerId> = target.rules.triggers.iter().map(|rule| &rule.id).collect();
        edit.remove.extend(known.keys().filter(|id| !kept.contains(*id)).map(|id| Key::Trigger((*id).clone())));
        if self.calibration != target.calibration {
            edit.calibration = Some(target.calibration.clone());
        }
        let gone = self.receivers.iter().filter(|known| target.receiver(&known.id).is_none());
        edit.remove.extend(gone.map(|known| Key::Receiver(known.id.clone())));
        let gone = self.zones.iter().filter(|known| target.zone(&known.id).is_none());
        edit.remove.extend(gone.map(|known| Key::Zone(known.id.clone())));
        let gone = self.devices.iter().filter(|known| target.device(&known.id).is_none());
        edit.remove.extend(gone.map(|known| Key::Device(known.id.clone())));
        let gone = self.beacons.iter().filter(|known| target.beacon(&known.id).is_none());
        edit.remove.extend(gone.map(|known| Key::Beacon(known.id.clone())));
        edit
    }

    /// What has that key.
    pub fn record(&self, key: &Key) -> Option<Record> {
        Some(match key {
            Key::Site => Record::Site(Box::new(self.site.clone())),
            Key::Level(ordinal) => {
                Record::Level(self.site.levels.iter().find(|level| level.ordinal == *ordinal)?.clone())
            }
            Key::Receiver(id) => Record::Receiver(Arc::clone(&self.receivers[self.receiver(id)?.get()])),
            Key::Zone(id) => Record::Zone(Arc::clone(&self.zones[self.zone(id)?.get()])),
            Key::Device(id) => Record::Device(Arc::clone(&self.devices[self.device(id)?.get()])),
            Key::Beacon(id) => Record::Beacon(Arc::clone(&self.beacons[self.beacon(id)?.get()])),
            Key::TriggerSettings => Record::TriggerSettings(Arc::clone(&self.rules.settings)),
            Key::Trigger(id) => Record::Trigger(Arc::clone(self.trigger(id)?)),
        })
    }
}

/// Where records are put.
struct Put<'r> {
    before: &'r Registry,
    /// Places are not what they were.
    is_shifted: bool,
    /// Places of things that this edit has added, or that are looked up in shifted lists.
    places: BTreeMap<Key, usize>,
    devices: BTreeSet<usize>,
    beacons: BTreeSet<usize>,
}

/// What records are put into.
trait Records<T> {
    fn len(&self) -> usize;
    fn at(&self, at: usize) -> &T;
    /// Puts it there; after the last one, it is added.
    fn put(&mut self, at: usize, record: Arc<T>);
}

impl<T> Records<T> for Vec<Arc<T>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn at(&self, at: usize) -> &T {
        &self[at]
    }

    fn put(&mut self, at: usize, record: Arc<T>) {
        if at == self.len() {
            self.push(record);
        } else {
            self[at] = record;
        }
    }
}

impl<T> Records<T> for List<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn at(&self, at: usize) -> &T {
        &self[at]
    }

    fn put(&mut self, at: usize, record: Arc<T>) {
        if at == self.len() {
            self.push_back_mut(record);
        } else {
            self.set_mut(at, record);
        }
    }
}

trait Keyed {
    fn key(&self) -> Key;
}

macro_rules! keyed {
    ($($kind:ident),*) => {
        $(impl Keyed for $kind {
            fn key(&self) -> Key {
                Key::$kind(self.id.clone())
            }
        })*
    };
}

keyed!(Receiver, Zone, Beacon, Device);

impl<'r> Put<'r> {
    fn new(before: &'r Registry, is_shifted: bool) -> Self {
        Self { before, is_shifted, places: BTreeMap::new(), devices: BTreeSet::new(), beacons: BTreeSet::new() }
    }

    fn place<T: Keyed>(&mut self, list: &mut impl Records<T>, record: &Arc<T>, key: &Key) {
        let known = self.places.get(key).copied().or_else(|| self.place_before(list, key));
        let at = known.unwrap_or(list.len());
        list.put(at, Arc::clone(record));
        self.places.insert(key.clone(), at);
        match key {
            Key::Beacon(_) => drop(self.beacons.insert(at)),
            Key::Device(_) => drop(self.devices.insert(at)),
            _ => {}
        }
    }

    fn place_before<T: Keyed>(&self, list: &impl Records<T>, key: &Key) -> Option<usize> {
        let before = match key {
            Key::Receiver(id) => self.before.receiver(id).map(ReceiverIndex::get),
            Key::Zone(id) => self.before.zone(id).map(ZoneIndex::get),
            Key::Beacon(id) => self.before.beacon(id).map(BeaconIndex::get),
            Key::Device(id) => self.before.device(id).map(DeviceIndex::get),
            Key::Site | Key::Level(_) | Key::TriggerSettings | Key::Trigger(_) => None,
        }?;
        if !self.is_shifted {
            return Some(before);
        }
        // Things only ever move towards the front.
        (0..list.len().min(before + 1)).rev().find(|at| list.at(*at).key() == *key)
    }

    /// What was put, where nothing is shifted.
    fn extension(self, of: &Arc<()>) -> Extension {
        Extension {
            of: Arc::clone(of),
            devices: self.devices.into_iter().map(|at| DeviceIndex(at as u32)).collect(),
            beacons: self.beacons.into_iter().map(|at| BeaconIndex(at as u32)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
