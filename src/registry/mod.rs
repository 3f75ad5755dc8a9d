//! What is registered at a site: levels, receivers, zones, beacons, devices; and the way from an identity on the air to
//! the device that carries it.
//!
//! A [`Registry`] is built whole and never changed; an edit builds the next one. Its parts are addressed by dense
//! indices ([`ZoneIndex`] and so on), so that the stages behind it need no hashing.

mod calibration;
mod edit;
#[cfg(test)]
pub(crate) mod fixture;
mod identity;
mod resolve;
mod shape;
mod site;
mod trigger;

use std::collections::HashMap;
use std::sync::Arc;

pub use calibration::{BeaconCalibration, Calibration, MOST_MOVED, ReceiverCalibration, Recording, SurveyPoint};
pub use edit::{Edit, Key, Kind, Record};
pub use identity::{Identity, IdentityError};
pub use shape::{bounds, edges, nearest_on_ring, ring_holds, shape_bounds, shape_holds};
pub use site::{
    Beacon, Consent, Device, DeviceKind, FloorPlan, KindMargins, Labels, Level, PlanFormat, PresenceSettings,
    RadioDefaults, Receiver, Ring, Shape, Site, Zone,
};
pub use trigger::{
    Absence, AttributeType, Bound, Cap, CapError, Hours, MOST_CAPPED, MOST_PRIORITY, Nearness, Period, Place,
    PlaceError, Places, SharedCap, Target, Then, Trigger, TriggerSettings, USUAL, USUAL_FACTOR, USUAL_PRIORITY,
    USUAL_PURPOSE, USUAL_VISITS, Unless, WEEKDAYS, When,
};

use crate::model::{BeaconId, DeviceId, Frame, LevelOrdinal, ReceiverId, SiteId, TriggerId, ZoneId};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in the registry's list.
            pub const fn get(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// A zone's place in [`Registry::zones`].
    ZoneIndex
}
index! {
    /// A beacon's place in [`Registry::beacons`].
    BeaconIndex
}
index! {
    /// A device's place in [`Registry::devices`].
    DeviceIndex
}
index! {
    /// A receiver's place in [`Registry::receivers`].
    ReceiverIndex
}

/// What two parts of a registry can disagree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two things of one kind share an id.
    #[error("two {kind}s have the id \"{id}\"")]
    DuplicateId {
        /// `zone`, `beacon`, `device` or `receiver`.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// Two beacons share an identity.
    #[error("beacons \"{first}\" and \"{second}\" have the same identity {identity}")]
    DuplicateIdentity {
        /// The identity as text.
        identity: String,
        /// The beacon that came first.
        first: BeaconId,
        /// The other one.
        second: BeaconId,
    },
    /// A beacon belongs to a device that is not registered.
    #[error("beacon \"{beacon}\" belongs to device \"{device}\", which is not registered")]
    UnknownDevice {
        /// The beacon.
        beacon: BeaconId,
        /// The device it names.
        device: DeviceId,
    },
    /// Something stands on a level that the site does not have.
    #[error("{kind} \"{id}\" is on level {level}, which the site does not have")]
    UnknownLevel {
        /// `zone`, `beacon` or `receiver`.
        kind: &'static str,
        /// Its id.
        id: String,
        /// The level it names.
        level: LevelOrdinal,
    },
    /// A rule names what is not registered.
    #[error("trigger \"{trigger}\" names {kind} \"{id}\", which is not registered")]
    UnknownPlace {
        /// The rule.
        trigger: TriggerId,
        /// `zone` or `beacon`.
        kind: &'static str,
        /// The id it names.
        id: String,
    },
    /// A rule is about how near a beacon is that has no place.
    #[error("trigger \"{trigger}\" is about approaching beacon \"{beacon}\", which is not a fixed one with a place")]
    NoPlace {
        /// The rule.
        trigger: TriggerId,
        /// The beacon.
        beacon: BeaconId,
    },
    /// A rule says what cannot be judged, such as an attribute that is not declared.
    #[error("trigger \"{trigger}\" cannot be used: {reason}")]
    Unusable {
        /// The rule.
        trigger: TriggerId,
        /// What is wrong with it.
        reason: String,
    },
}

/// A whole registry, consistent in itself.
#[derive(Debug)]
pub struct Registry {
    site: Site,
    receivers: Vec<Arc<Receiver>>,
    zones: Vec<Arc<Zone>>,
    beacons: Vec<Arc<Beacon>>,
    devices: Vec<Arc<Device>>,
    receiver_index: HashMap<ReceiverId, ReceiverIndex>,
    zone_index: HashMap<ZoneId, ZoneIndex>,
    device_index: HashMap<DeviceId, DeviceIndex>,
    beacon_index: HashMap<BeaconId, BeaconIndex>,
    identity_index: HashMap<Identity, BeaconIndex>,
    device_of_beacon: Vec<Option<DeviceIndex>>,
    calibration: Option<Arc<Calibration>>,
    rules: Arc<Rules>,
}

/// The rules that make triggers of events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// What every rule obeys.
    pub settings: Arc<TriggerSettings>,
    /// The rules, in the order in which they are tried.
    pub triggers: Vec<Arc<Trigger>>,
}

impl Rules {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.triggers.iter().all(|rule| !rule.enabled)
    }
}

impl Registry {
    /// Builds a registry. Zone 0 is always the reserved zone `site`: it is added where `zones` has none.
    ///
    /// # Errors
    /// Every [`RegistryError`] found, in the order of the lists.
    pub fn new(
        site: Site,
        receivers: Vec<Receiver>,
        zones: Vec<Zone>,
        beacons: Vec<Beacon>,
        devices: Vec<Device>,
    ) -> Result<Self, Vec<RegistryError>> {
        Self::assemble(
            site,
            receivers.into_iter().map(Arc::new).collect(),
            zones.into_iter().map(Arc::new).collect(),
            beacons.into_iter().map(Arc::new).collect(),
            devices.into_iter().map(Arc::new).collect(),
        )
    }

    /// The registry of a store of which nothing is known yet: one level, and nowhere on Earth.
    pub fn empty(id: SiteId, time_zone: &str) -> Self {
        let site = Site {
            name: id.to_string(),
            id,
            time_zone: time_zone.to_owned(),
            frame: Frame::default(),
            levels: vec![Level {
                ordinal: LevelOrdinal(0),
                name: "Ground floor".to_owned(),
                elevation: 0.0,
                outline: None,
                plan: None,
            }],
            radio: RadioDefaults::default(),
            margins: KindMargins::default(),
        };
        let zones = vec![Arc::new(Zone::whole_site(&site))];
        let zone_index = HashMap::from([(ZoneId::site(), ZoneIndex(0))]);
        Self {
            site,
            receivers: Vec::new(),
            zones,
            beacons: Vec::new(),
            devices: Vec::new(),
            receiver_index: HashMap::new(),
            zone_index,
            device_index: HashMap::new(),
            beacon_index: HashMap::new(),
            identity_index: HashMap::new(),
            device_of_beacon: Vec::new(),
            calibration: None,
            rules: Arc::default(),
        }
    }

    /// As [`Registry::new`], of parts that others may hold too.
    fn assemble(
        site: Site,
        receivers: Vec<Arc<Receiver>>,
        mut zones: Vec<Arc<Zone>>,
        beacons: Vec<Arc<Beacon>>,
        devices: Vec<Arc<Device>>,
    ) -> Result<Self, Vec<RegistryError>> {
        let mut errors = Vec::new();
        match zones.iter().position(|zone| zone.id.is_site()) {
            Some(at) => zones[..=at].rotate_right(1),
            None => zones.insert(0, Arc::new(Zone::whole_site(&site))),
        }
        let receiver_index = index_by(&receivers, "receiver", |r| r.id.clone(), ReceiverIndex, &mut errors);
        let zone_index = index_by(&zones, "zone", |z| z.id.clone(), ZoneIndex, &mut errors);
        let beacon_index = index_by(&beacons, "beacon", |b| b.id.clone(), BeaconIndex, &mut errors);
        let device_index = index_by(&devices, "device", |d| d.id.clone(), DeviceIndex, &mut errors);
        let parts = Parts { site: &site, receivers: &receivers, zones: &zones, beacons: &beacons };
        errors.extend(parts.unknown_levels());

        let mut identity_index = HashMap::with_capacity(beacons.len());
        let mut device_of_beacon = Vec::with_capacity(beacons.len());
        for (at, beacon) in beacons.iter().enumerate() {
            if let Some(BeaconIndex(first)) = identity_index.insert(beacon.identity, BeaconIndex(at as u32)) {
                errors.push(RegistryError::DuplicateIdentity {
                    identity: beacon.identity.to_string(),
                    first: beacons[first as usize].id.clone(),
                    second: beacon.id.clone(),
                });
            }
            let device = beacon.device.as_ref().and_then(|id| device_index.get(id).copied());
            if let (Some(id), None) = (&beacon.device, device) {
                errors.push(RegistryError::UnknownDevice { beacon: beacon.id.clone(), device: id.clone() });
            }
            device_of_beacon.push(device);
        }
        if !errors.is_empty() {
            return Err(errors);
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
        })
    }

    /// The same with what a survey has taught.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Option<Calibration>) -> Self {
        self.calibration = calibration.map(Arc::new);
        self
    }

    /// The same with these rules.
    ///
    /// # Errors
    /// Every [`RegistryError`] found in the rules.
    pub fn with_rules(mut self, rules: Arc<Rules>) -> Result<Self, Vec<RegistryError>> {
        let mut errors = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for rule in &rules.triggers {
            let trigger = &rule.id;
            if !seen.insert(trigger) {
                errors.push(RegistryError::DuplicateId { kind: "trigger", id: trigger.to_string() });
            }
            let zones = rule.when.zones().into_iter().filter(|id| self.zone(id).is_none());
            errors.extend(zones.map(|id| RegistryError::UnknownPlace {
                trigger: trigger.clone(),
                kind: "zone",
                id: id.to_string(),
            }));
            if let Some(id) = rule.when.beacon() {
                match self.beacon(id).map(|at| self.beacons[at.get()].fixed) {
                    None => errors.push(RegistryError::UnknownPlace {
                        trigger: trigger.clone(),
                        kind: "beacon",
                        id: id.to_string(),
                    }),
                    Some(None) => {
                        errors.push(RegistryError::NoPlace { trigger: trigger.clone(), beacon: id.clone() });
                    }
                    Some(Some(_)) => {}
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.rules = rules;
        Ok(self)
    }

    /// The rules that make triggers of events.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The rule of that id.
    pub fn trigger(&self, id: &TriggerId) -> Option<&Arc<Trigger>> {
        self.rules.triggers.iter().find(|rule| rule.id == *id)
    }

    /// What a survey has taught, where there was one.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_deref()
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The site frame.
    pub fn frame(&self) -> &Frame {
        &self.site.frame
    }

    /// All receivers.
    pub fn receivers(&self) -> &[Arc<Receiver>] {
        &self.receivers
    }

    /// All zones; the first is the reserved zone `site`.
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    /// All beacons.
    pub fn beacons(&self) -> &[Arc<Beacon>] {
        &self.beacons
    }

    /// All devices.
    pub fn devices(&self) -> &[Arc<Device>] {
        &self.devices
    }

    /// The receiver of that id.
    pub fn receiver(&self, id: &ReceiverId) -> Option<ReceiverIndex> {
        self.receiver_index.get(id).copied()
    }

    /// The zone of that id.
    pub fn zone(&self, id: &ZoneId) -> Option<ZoneIndex> {
        self.zone_index.get(id).copied()
    }

    /// The device of that id.
    pub fn device(&self, id: &DeviceId) -> Option<DeviceIndex> {
        self.device_index.get(id).copied()
    }

    /// The beacon of that id.
    pub fn beacon(&self, id: &BeaconId) -> Option<BeaconIndex> {
        self.beacon_index.get(id).copied()
    }

    /// The beacon that has that identity.
    pub fn beacon_of(&self, identity: &Identity) -> Option<BeaconIndex> {
        self.identity_index.get(identity).copied()
    }

    /// The device that carries that beacon; none where it is fixed.
    pub fn device_of(&self, beacon: BeaconIndex) -> Option<DeviceIndex> {
        self.device_of_beacon[beacon.get()]
    }
}

/// What stands on levels.
struct Parts<'a> {
    site: &'a Site,
    receivers: &'a [Arc<Receiver>],
    zones: &'a [Arc<Zone>],
    beacons: &'a [Arc<Beacon>],
}

impl Parts<'_> {
    fn unknown_levels(&self) -> Vec<RegistryError> {
        let mut errors = Vec::new();
        let known = |level: LevelOrdinal| self.site.levels.iter().any(|l| l.ordinal == level);
        let mut check = |kind, id: &str, level: Option<LevelOrdinal>| {
            if let Some(level) = level.filter(|&level| !known(level)) {
                errors.push(RegistryError::UnknownLevel { kind, id: id.to_owned(), level });
            }
        };
        self.receivers.iter().for_each(|r| check("receiver", r.id.as_str(), Some(r.level)));
        self.zones.iter().for_each(|z| check("zone", z.id.as_str(), z.level));
        self.beacons.iter().for_each(|b| check("beacon", b.id.as_str(), b.fixed.map(|(_, level)| level)));
        errors
    }
}

fn index_by<T, K: std::hash::Hash + Eq + std::fmt::Display, I: Copy>(
    items: &[Arc<T>],
    kind: &'static str,
    key: impl Fn(&T) -> K,
    index: impl Fn(u32) -> I,
    errors: &mut Vec<RegistryError>,
) -> HashMap<K, I> {
    let mut map = HashMap::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if map.insert(key(item), index(at as u32)).is_some() {
            errors.push(RegistryError::DuplicateId { kind, id: key(item).to_string() });
        }
    }
    map
}

/// Where each item is, by its key; keys are different.
fn places<T, K: std::hash::Hash + Eq, I: Copy>(
    items: &[Arc<T>],
    key: impl Fn(&T) -> K,
    index: impl Fn(u32) -> I,
) -> HashMap<K, I> {
    items.iter().enumerate().map(|(at, item)| (key(item), index(at as u32))).collect()
}
