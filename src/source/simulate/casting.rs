//! Who takes part, and as what: from registered beacons to transmitters that walk.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::model::{MeasuredPower, Metres};
use crate::registry::{Beacon, BeaconIndex, DeviceIndex, DeviceKind, Registry};

use super::config::{SimulationConfig, SimulationError};
use super::places::{Place, Places};
use super::walker::{Life, Walker, stream};
use super::{ADDRESS_LIFE, Emitter, frames};

/// Height of a carried beacon above the floor, in metres: a pocket or a trolley.
const CARRIED_HEIGHT: Metres = 1.1;
/// Height of a fixed beacon above the floor, in metres: on a shelf.
const FIXED_HEIGHT: Metres = 1.5;
/// How often a fixed beacon sends.
const FIXED_INTERVAL: Duration = Duration::from_secs(1);

/// How many of each kind take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cast {
    /// Shoppers: devices that may be tracked.
    pub shoppers: usize,
    /// Customers without consent.
    pub without_consent: usize,
    /// Staff.
    pub staff: usize,
    /// Things.
    pub assets: usize,
    /// Fixed beacons.
    pub fixed: usize,
    /// Phones of people who are not registered.
    pub strangers: usize,
}

impl Cast {
    fn count(&mut self, shopper: bool, kind: DeviceKind) -> &mut usize {
        match kind {
            _ if shopper => &mut self.shoppers,
            DeviceKind::Customer => &mut self.without_consent,
            DeviceKind::Staff => &mut self.staff,
            DeviceKind::Asset => &mut self.assets,
        }
    }
}

/// Who takes part, and as what.
pub(super) struct Casting<'a> {
    pub registry: &'a Registry,
    pub places: &'a Arc<Places>,
    pub config: &'a SimulationConfig,
}

impl Casting<'_> {
    pub fn emitters(&self) -> Result<(Vec<Emitter>, Cast), SimulationError> {
        let registry = self.registry;
        let candidates = self.candidates();
        let wanted = self.config.shoppers.unwrap_or(candidates.len());
        if candidates.is_empty() || wanted > candidates.len() {
            return Err(SimulationError::TooFewDevices { wanted, found: candidates.len() });
        }
        // For each device the rank among shoppers, and whether it could have been one.
        let mut ranks: Vec<Option<usize>> = vec![None; registry.devices().len()];
        let mut idle = vec![false; registry.devices().len()];
        for (rank, &device) in candidates.iter().enumerate() {
            (ranks[device], idle[device]) = (Some(rank).filter(|&rank| rank < wanted), rank >= wanted);
        }
        let mut counted = vec![false; registry.devices().len()];
        let mut cast = Cast::default();
        let mut emitters = Vec::new();
        for (index, beacon) in registry.beacons().iter().enumerate() {
            let believed = beacon.measured_power.unwrap_or(registry.site().radio.measured_power).get();
            let carrier = registry.device_of(BeaconIndex(index as u32)).map(DeviceIndex::get);
            let life = match carrier {
                Some(at) if ranks[at].is_some() => ranks[at].map(|rank| self.shopper_life(rank, wanted)),
                Some(at) if self.config.company && !idle[at] => Some(self.company_life(at)),
                None if self.config.company || self.config.reported_by_devices => self.fixed_life(beacon),
                _ => None,
            };
            let Some(life) = life else { continue };
            match carrier {
                None => cast.fixed += 1,
                Some(at) if !std::mem::replace(&mut counted[at], true) => {
                    *cast.count(ranks[at].is_some(), registry.devices()[at].kind) += 1;
                }
                Some(_) => {}
            }
            // A device with two beacons walks one way.
            let walk = carrier.map_or((1 << 40) + index as u64, |at| at as u64);
            let fixed = matches!(life, Life::Fixed(_));
            let mut rng = stream(self.config.seed, 1, index as u64);
            let unit: f64 = StandardNormal.sample(&mut rng);
            emitters.push(Emitter {
                device: carrier
                    .map(|at| &registry.devices()[at])
                    .filter(|device| device.may_be_tracked())
                    .map(|device| device.id.clone()),
                walker: self.walker(life, stream(self.config.seed, 0, walk)),
                height: if fixed { FIXED_HEIGHT } else { CARRIED_HEIGHT },
                power: believed + self.config.transmit_db * unit,
                interval: if fixed && !self.config.reported_by_devices {
                    FIXED_INTERVAL.max(self.config.interval)
                } else {
                    self.config.interval
                },
                // Of a stream of its own: what is heard by receivers stays as it is.
                gain: self.config.transmit_db * {
                    let unit: f64 = StandardNormal.sample(&mut stream(self.config.seed, 6, walk));
                    unit
                },
                fixed,
                link: None,
                address: frames::address(&beacon.identity, &mut rng),
                data: frames::data(&beacon.identity, believed),
                address_until: None,
                rng,
            });
        }
        for index in 0..self.config.strangers {
            cast.strangers += 1;
            emitters.push(self.stranger(index));
        }
        Ok((emitters, cast))
    }

    /// Devices that can be shoppers: customers who may be tracked; where there are none, all that may be.
    fn candidates(&self) -> Vec<usize> {
        let registry = self.registry;
        let mut carries = vec![false; registry.devices().len()];
        (0..registry.beacons().len() as u32)
            .filter_map(|at| registry.device_of(BeaconIndex(at)))
            .for_each(|device| carries[device.get()] = true);
        let able = |kind: Option<DeviceKind>| -> Vec<usize> {
            (0..carries.len())
                .filter(|&at| carries[at] && registry.devices()[at].may_be_tracked())
                .filter(|&at| kind.is_none_or(|kind| registry.devices()[at].kind == kind))
                .collect()
        };
        let customers = able(Some(DeviceKind::Customer));
        if customers.is_empty() { able(None) } else { customers }
    }

    /// The life of the shopper of that rank among so many: some stand, some are inside already, the others arrive one
    /// after the other.
    fn shopper_life(&self, rank: usize, of: usize) -> Life {
        if rank < self.config.standing {
            return Life::Stands;
        }
        let mut rng = stream(self.config.seed, 2, rank as u64);
        let rank = rank - self.config.standing;
        let moving = of.saturating_sub(self.config.standing).max(1);
        let inside = (self.config.inside_at_start * moving as f64).round() as usize;
        if rank < inside {
            // Every third is at the last zone of the visit.
            return Life::Inside { stops: rank % 3 };
        }
        let window = self.config.arrivals.as_secs_f64();
        let slot = (rank - inside) as f64 + rng.random_range(0.0..1.0);
        Life::Visits { from: 0.5 + window * slot / (moving - inside).max(1) as f64 }
    }

    /// The life of a device that is no shopper.
    fn company_life(&self, device: usize) -> Life {
        match self.registry.devices()[device].kind {
            DeviceKind::Customer => self.shopper_life(self.config.standing + device % 4, self.config.standing + 4),
            DeviceKind::Staff => Life::Works,
            DeviceKind::Asset => Life::Stands,
        }
    }

    fn fixed_life(&self, beacon: &Beacon) -> Option<Life> {
        let (point, level) = beacon.fixed?;
        Some(Life::Fixed(Place { point, floor: self.places.floor(level)? }))
    }

    fn stranger(&self, index: usize) -> Emitter {
        let mut rng = stream(self.config.seed, 4, index as u64);
        let unit: f64 = StandardNormal.sample(&mut rng);
        let life = if index.is_multiple_of(2) {
            Life::Inside { stops: 1 }
        } else {
            Life::Visits { from: rng.random_range(0.0..self.config.arrivals.as_secs_f64().max(1.0)) }
        };
        Emitter {
            device: None,
            walker: self.walker(life, stream(self.config.seed, 5, index as u64)),
            height: CARRIED_HEIGHT,
            power: MeasuredPower::USUAL.get() + 3.0 * unit,
            interval: self.config.interval,
            fixed: false,
            gain: 0.0,
            link: None,
            address: frames::private_address(&mut rng),
            data: frames::stranger_data(&mut rng),
            address_until: Some(rng.random_range(0.0..ADDRESS_LIFE)),
            rng,
        }
    }

    fn walker(&self, life: Life, rng: ChaCha8Rng) -> Walker {
        Walker::new(Arc::clone(self.places), life, self.config.median_dwell.as_secs_f64(), rng)
    }
}
