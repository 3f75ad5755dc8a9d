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
mod renumber;
mod resolve;
mod shape;
mod site;
mod trigger;

use std::collections::HashMap;
use std::sync::Arc;

pub use calibration::{BeaconCalibration, Calibration, MOST_MOVED, ReceiverCalibration, Recording, SurveyPoint};
pub use edit::{Edit, Key, Kind, Record};
pub use identity::{Identity, IdentityError};
pub use renumber::{Moved, Renumbering};
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

/// What says which of a list's things is meant.
pub trait ListIndex: Copy + Eq {
    /// The place in the registry's list.
    fn place(self) -> usize;
}

/// A list of which an edit copies only what it changes.
pub type List<T> = rpds::VectorSync<Arc<T>>;

/// A map of which an edit copies only what it changes.
type Index<K, V> = rpds::HashTrieMapSync<K, V>;

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

        impl ListIndex for $name {
            fn place(self) -> usize {
                self.get()
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
    zones: Arc<Vec<Arc<Zone>>>,
    beacons: List<Beacon>,
    devices: List<Device>,
    receiver_index: HashMap<ReceiverId, ReceiverIndex>,
    zone_index: Arc<HashMap<ZoneId, ZoneIndex>>,
    device_index: Index<DeviceId, DeviceIndex>,
    beacon_index: Index<BeaconId, BeaconIndex>,
    identity_index: Index<Identity, BeaconIndex>,
    device_of_beacon: rpds::VectorSync<Option<DeviceIndex>>,
    calibration: Option<Arc<Calibration>>,
    rules: Arc<Rules>,
    /// It is this one, and no other.
    mark: Arc<()>,
    extension: Option<renumber::Extension>,
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
            zones: Arc::new(zones),
            beacons: List::new_sync(),
            devices: List::new_sync(),
            receiver_index: HashMap::new(),
            zone_index: Arc::new(zone_index),
            device_index: Index::new_sync(),
            beacon_index: Index::new_sync(),
            identity_index: Index::new_sync(),
            device_of_beacon: rpds::VectorSync::new_sync(),
            calibration: None,
            rules: Arc::default(),
            mark: Arc::default(),
            extension: None,
        }
    }

    /// As [`Registry::new`], of parts that others may hold too.
    fn assemble(
        site: Site,
        receivers: Vec<Arc<Receiver>>,
        mut zones: Vec<Arc<Zone>>,
        beacons: List<Beacon>,
        devices: List<Device>,
    ) -> Result<Self, Vec<RegistryError>> {
        let mut errors = Vec::new();
        match zones.iter().position(|zone| zone.id.is_site()) {
            Some(at) => zones[..=at].rotate_right(1),
            None => zones.insert(0, Arc::new(Zone::whole_site(&site))),
        }
        let mut receiver_index = HashMap::with_capacity(receivers.len());
        for (at, receiver) in receivers.iter().enumerate() {
            if receiver_index.insert(receiver.id.clone(), ReceiverIndex(at as u32)).is_some() {
                errors.push(RegistryError::duplicate("receiver", &receiver.id));
            }
        }
        let mut zone_index = HashMap::with_capacity(zones.len());
        for (at, zone) in zones.iter().enumerate() {
            if zone_index.insert(zone.id.clone(), ZoneIndex(at as u32)).is_some() {
                errors.push(RegistryError::duplicate("zone", &zone.id));
            }
        }
        let mut beacon_index = Index::new_sync();
        for (at, beacon) in beacons.iter().enumerate() {
            beacon_index.insert_mut(beacon.id.clone(), BeaconIndex(at as u32));
            if beacon_index.size() <= at {
                errors.push(RegistryError::duplicate("beacon", &beacon.id));
            }
        }
        let mut device_index = Index::new_sync();
        for (at, device) in devices.iter().enumerate() {
            device_index.insert_mut(device.id.clone(), DeviceIndex(at as u32));
            if device_index.size() <= at {
                errors.push(RegistryError::duplicate("device", &device.id));
            }
        }
        errors.extend(receivers.iter().filter_map(|receiver| unknown_level(&site, Standing::Receiver(receiver))));
        errors.extend(zones.iter().filter_map(|zone| unknown_level(&site, Standing::Zone(zone))));
        errors.extend(beacons.iter().filter_map(|beacon| unknown_level(&site, Standing::Beacon(beacon))));

        let mut identity_index = Index::new_sync();
        let mut device_of_beacon = rpds::VectorSync::new_sync();
        for (at, beacon) in beacons.iter().enumerate() {
            if let Some(BeaconIndex(first)) = identity_index.get(&beacon.identity) {
                errors.push(RegistryError::DuplicateIdentity {
                    identity: beacon.identity.to_string(),
                    first: beacons[*first as usize].id.clone(),
                    second: beacon.id.clone(),
                });
            }
            identity_index.insert_mut(beacon.identity, BeaconIndex(at as u32));
            let device = beacon.device.as_ref().and_then(|id| device_index.get(id).copied());
            if let (Some(id), None) = (&beacon.device, device) {
                errors.push(RegistryError::UnknownDevice { beacon: beacon.id.clone(), device: id.clone() });
            }
            device_of_beacon.push_back_mut(device);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            site,
            receivers,
            zones: Arc::new(zones),
            beacons,
            devices,
            receiver_index,
            zone_index: Arc::new(zone_index),
            device_index,
            beacon_index,
            identity_index,
            device_of_beacon,
            calibration: None,
            rules: Arc::default(),
            mark: Arc::default(),
            extension: None,
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
    pub fn beacons(&self) -> &List<Beacon> {
        &self.beacons
    }

    /// All devices.
    pub fn devices(&self) -> &List<Device> {
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

impl RegistryError {
    fn duplicate(kind: &'static str, id: &impl ToString) -> Self {
        Self::DuplicateId { kind, id: id.to_string() }
    }
}

/// What may stand on a level.
#[derive(Clone, Copy)]
enum Standing<'a> {
    Receiver(&'a Receiver),
    Zone(&'a Zone),
    Beacon(&'a Beacon),
}

/// That something is on a level that the site does not have.
fn unknown_level(site: &Site, thing: Standing) -> Option<RegistryError> {
    let (kind, id, level) = match thing {
        Standing::Receiver(receiver) => ("receiver", receiver.id.as_str(), Some(receiver.level)),
        Standing::Zone(zone) => ("zone", zone.id.as_str(), zone.level),
        Standing::Beacon(beacon) => ("beacon", beacon.id.as_str(), beacon.fixed.map(|(_, level)| level)),
    };
    let level = level.filter(|level| site.levels.iter().all(|known| known.ordinal != *level))?;
    Some(RegistryError::UnknownLevel { kind, id: id.to_owned(), level })
}
