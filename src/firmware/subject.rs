//! A beacon, and what the registry says about it.

use super::{FirmwareError, Target};
use crate::config::nearest;
use crate::model::BeaconId;
use crate::registry::{Beacon, Identity, Registry, Zone, shape_holds};

/// Up to so many beacons the nearest id is looked for.
const MOST_PROPOSED: usize = 1_000;

/// A beacon of a registry.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The beacon.
    pub beacon: &'a Beacon,
    /// Where it is registered.
    pub registry: &'a Registry,
}

impl<'a> Subject<'a> {
    /// The beacon of that id.
    ///
    /// # Errors
    /// [`FirmwareError::UnknownBeacon`].
    pub fn find(registry: &'a Registry, id: &str) -> Result<Self, FirmwareError> {
        if let Some(at) = BeaconId::new(id).ok().and_then(|id| registry.beacon(&id)) {
            return Ok(Self { beacon: &registry.beacons()[at.get()], registry });
        }
        let mut ids: Vec<&str> =
            registry.beacons().iter().take(MOST_PROPOSED).map(|beacon| beacon.id.as_str()).collect();
        ids.sort_unstable();
        let near = Some(nearest(id, &ids)).filter(|help| help.starts_with("did you mean"));
        let help = near.unwrap_or_else(|| "\"beaconfence beacon list\" shows those that are registered".into());
        Err(FirmwareError::UnknownBeacon { id: id.chars().take(64).collect(), help })
    }

    /// All beacons, in the order of their ids.
    pub fn all(registry: &'a Registry) -> Vec<Self> {
        let mut all: Vec<Self> = registry.beacons().iter().map(|beacon| Self { beacon, registry }).collect();
        all.sort_by(|a, b| a.beacon.id.cmp(&b.beacon.id));
        all
    }

    /// RSSI at 1 m as the frame says it, in dBm: the beacon's own, or the site's.
    pub fn measured_power(&self) -> i8 {
        let power = self.beacon.measured_power.unwrap_or(self.registry.site().radio.measured_power);
        power.get().round() as i8
    }

    /// `fixed` or `carried`; empty for one that is neither yet.
    pub fn kind(&self) -> &'static str {
        match (&self.beacon.device, self.beacon.fixed) {
            (Some(_), _) => "carried",
            (None, Some(_)) => "fixed",
            (None, None) => "",
        }
    }

    /// The zones in which a fixed one stands, without the whole site.
    pub fn zones(&self) -> Vec<&'a Zone> {
        let Some((point, level)) = self.beacon.fixed else { return Vec::new() };
        let holds = |zone: &&'a Zone| zone.level == Some(level) && shape_holds(&zone.shape, point);
        self.registry.zones().iter().map(AsRef::as_ref).filter(|zone| !zone.id.is_site()).filter(holds).collect()
    }

    /// The name of its level; empty where it is carried.
    pub fn level_name(&self) -> &'a str {
        let Some((_, level)) = self.beacon.fixed else { return "" };
        let levels = &self.registry.site().levels;
        levels.iter().find(|known| known.ordinal == level).map_or("", |level| level.name.as_str())
    }

    /// Where it is, in words; free text, to be escaped.
    pub fn place(&self) -> String {
        match (&self.beacon.device, self.beacon.fixed) {
            (Some(device), _) => format!("carried by {device}"),
            (None, Some((point, _))) => {
                let zones: Vec<&str> = self.zones().iter().map(|zone| zone.name.as_str()).collect();
                let zones = if zones.is_empty() { String::new() } else { format!(", {}", zones.join(", ")) };
                format!("x {:.2} m, y {:.2} m, {}{zones}", point.x, point.y, self.level_name())
            }
            (None, None) => "without a place".to_owned(),
        }
    }

    /// Whether the target can send it.
    ///
    /// # Errors
    /// [`FirmwareError::CannotSend`].
    pub fn check(&self, target: Target) -> Result<(), FirmwareError> {
        if target.sends(&self.beacon.identity) { Ok(()) } else { Err(self.cannot_be_sent_by(target)) }
    }

    pub(super) fn cannot_be_sent_by(&self, target: Target) -> FirmwareError {
        let help = match self.beacon.identity {
            Identity::Mac(_) => {
                "the address is the chip's own; register what the beacon says, such as ibeacon:UUID/MAJOR/MINOR"
            }
            _ => {
                "its component sends iBeacons only; render it for zephyr or linux, \
                 or register an ibeacon:UUID/MAJOR/MINOR"
            }
        };
        FirmwareError::CannotSend {
            beacon: self.beacon.id.to_string(),
            target: target.as_str(),
            identity: self.beacon.identity.to_string(),
            help,
        }
    }
}
