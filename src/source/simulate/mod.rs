//! Shoppers who walk through a store, what its receivers hear of their beacons, and the truth beside it.
//!
//! ```text
//! places (zones, ways) -> walkers (where each one is) -> radio (RSSI at each receiver) -> steps in the order of time
//! ```
//!
//! Everything follows from the seed: the same registry and configuration give the same steps, whatever the pace at which
//! they are asked for. Each device has random generators of its own, so that one more shopper does not change the others.
//! [`Simulation`] is an iterator and needs memory for the store and its devices, not for the time that passes: it may be
//! endless.
//!
//! What it is not: walls and bodies are only part of the shadowing, and packets fade independently of each other. Accuracy
//! measured on it is no substitute for real recordings.

mod config;
mod frames;
mod places;
mod radio;
mod shapes;
mod truth;
mod walker;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

pub use config::{Outage, SimulationConfig, SimulationError};
pub use radio::FadingModel;
pub use truth::{Crossing, CrossingKind, TruePosition};

use crate::advert::{Address, Advertisement, AdvertisingData};
use crate::engine::{Input, ReceiverState};
use crate::model::{DeviceId, Metres, ReceiverId, Timestamp};
use crate::registry::{Beacon, BeaconIndex, DeviceIndex, DeviceKind, Registry};

use places::{Place, Places};
use radio::{Ear, Fading, Law, Shadowing};
use truth::Tracker;
use walker::{Life, Walker, Whereabouts, stream};

/// Height of a carried beacon above the floor, in metres: a pocket or a trolley.
const CARRIED_HEIGHT: Metres = 1.1;
/// Height of a fixed beacon above the floor, in metres: on a shelf.
const FIXED_HEIGHT: Metres = 1.5;
/// How often a fixed beacon sends.
const FIXED_INTERVAL: Duration = Duration::from_secs(1);
/// Greatest random delay added to each advertising interval (Core specification, Vol 6, Part B, 4.4.2.2.1), in microseconds.
const ADVERTISING_DELAY_US: u64 = 10_000;
/// How often phones change their private address (Core specification, Vol 3, Part C, appendix A: 15 minutes), in seconds.
const ADDRESS_LIFE: f64 = 900.0;
/// How often the truth about zones is looked at.
const TRUTH_TICK: Duration = Duration::from_millis(100);

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When.
    pub time: Timestamp,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A receiver heard something.
    Heard(Advertisement),
    /// A receiver went down or came back.
    Receiver(ReceiverId, ReceiverState),
    /// Truth: where a tracked device is; only while it is in the store.
    Position(TruePosition),
    /// Truth: a tracked device crossed the border of a zone.
    Crossing(Crossing),
}

impl Step {
    /// What an engine is told of it; none for truth.
    pub fn into_input(self) -> Option<Input> {
        match self.what {
            What::Heard(advertisement) => Some(Input::Advertisement(advertisement)),
            What::Receiver(receiver, state) => Some(Input::Receiver(receiver, state)),
            What::Position(_) | What::Crossing(_) => None,
        }
    }
}

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

/// A transmitter.
#[derive(Debug)]
struct Emitter {
    /// The device, where it is tracked and walks.
    device: Option<DeviceId>,
    walker: Walker,
    height: Metres,
    /// True power at 1 m, in dBm.
    power: f64,
    interval: Duration,
    address: Address,
    data: AdvertisingData,
    /// For strangers, when the address is changed, in seconds since the start.
    address_until: Option<f64>,
    rng: ChaCha8Rng,
}

/// What is due, earliest first; at one time in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The outage of that index begins.
    OutageBegins(usize),
    /// The outage of that index ends.
    OutageEnds(usize),
    /// A look at the truth; counts up.
    Truth(u64),
    /// The emitter of that index sends.
    Transmission(usize),
}

/// Shoppers and what is heard of them, step by step.
#[derive(Debug)]
pub struct Simulation {
    config: SimulationConfig,
    places: Arc<Places>,
    law: Law,
    ears: Vec<Ear>,
    /// For each outage the receiver's place in `ears`.
    outage_ears: Vec<usize>,
    emitters: Vec<Emitter>,
    cast: Cast,
    tracker: Tracker,
    /// Microseconds since the start.
    due: BinaryHeap<Reverse<(u64, Due)>>,
    ready: VecDeque<Step>,
    ended: bool,
}

impl Simulation {
    /// Prepares a simulation in that store.
    ///
    /// # Errors
    /// [`SimulationError`] where the site lacks what is needed (receivers, zones, devices with beacons) or the configuration
    /// is out of range.
    pub fn new(registry: &Registry, config: SimulationConfig) -> Result<Self, SimulationError> {
        config.validate()?;
        let places = Arc::new(Places::new(registry).ok_or(SimulationError::NoZones)?);
        let law = Law {
            path_loss_exponent: config.path_loss_exponent,
            floor_loss: config.floor_loss_db,
            sensitivity: config.sensitivity_dbm,
            packet_loss: config.packet_loss,
            fading: Fading::new(config.fading_model, config.fading_db),
        };
        let ears = ears(registry, &places, &config)?;
        let outage_ears = config
            .outages
            .iter()
            .map(|outage| {
                ears.iter()
                    .position(|ear| ear.id == outage.receiver)
                    .ok_or_else(|| SimulationError::UnknownReceiver(outage.receiver.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (emitters, cast) = Casting { registry, places: &places, config: &config }.emitters()?;
        let tracker = Tracker::new(registry, &emitters, config.truth_interval);
        let mut simulation = Self {
            config,
            places,
            law,
            ears,
            outage_ears,
            emitters,
            cast,
            tracker,
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            ended: false,
        };
        simulation.schedule_first();
        Ok(simulation)
    }

    /// How many of each kind take part.
    pub fn cast(&self) -> Cast {
        self.cast
    }

    fn schedule_first(&mut self) {
        for (at, outage) in self.config.outages.iter().enumerate() {
            self.due.push(Reverse((micros(outage.from), Due::OutageBegins(at))));
            self.due.push(Reverse((micros(outage.to), Due::OutageEnds(at))));
        }
        if self.config.truth_interval.is_some() {
            self.due.push(Reverse((0, Due::Truth(0))));
        }
        for (at, emitter) in self.emitters.iter_mut().enumerate() {
            // Out of step with each other from the start.
            let first = emitter.rng.random_range(0..micros(emitter.interval).max(1));
            self.due.push(Reverse((first, Due::Transmission(at))));
        }
    }

    fn timestamp(&self, micros: u64) -> Timestamp {
        self.config.start + Duration::from_millis(micros / 1_000)
    }

    fn happen(&mut self, at: u64, due: Due) {
        let time = self.timestamp(at);
        match due {
            Due::OutageBegins(outage) => self.set_receiver(time, outage, ReceiverState::Down),
            Due::OutageEnds(outage) => self.set_receiver(time, outage, ReceiverState::Up),
            Due::Truth(count) => {
                self.tracker.look(count, time, at as f64 / 1e6, &self.places, &mut self.emitters, &mut self.ready);
                self.due.push(Reverse((at + micros(TRUTH_TICK), Due::Truth(count + 1))));
            }
            Due::Transmission(emitter) => {
                let next = self.transmit(at, time, emitter);
                self.due.push(Reverse((next, Due::Transmission(emitter))));
            }
        }
    }

    fn set_receiver(&mut self, time: Timestamp, outage: usize, state: ReceiverState) {
        let ear = &mut self.ears[self.outage_ears[outage]];
        let down = state == ReceiverState::Down;
        // Outages of one receiver do not overlap: the configuration was checked.
        ear.down = down;
        self.ready.push_back(Step { time, what: What::Receiver(ear.id.clone(), state) });
    }

    /// Sends one packet and says when the next one is due.
    fn transmit(&mut self, at: u64, time: Timestamp, emitter: usize) -> u64 {
        let emitter = &mut self.emitters[emitter];
        let seconds = at as f64 / 1e6;
        match emitter.walker.at(seconds) {
            Whereabouts::Away { until } => {
                // It sends again when it is back, out of step with its last visit.
                let jitter = emitter.rng.random_range(0..micros(emitter.interval).max(1));
                return ((until * 1e6).ceil() as u64 + jitter).max(at + 1);
            }
            Whereabouts::Here { place, ground } => {
                if emitter.address_until.is_some_and(|until| until <= seconds) {
                    emitter.address = frames::private_address(&mut emitter.rng);
                    emitter.address_until = Some(seconds + ADDRESS_LIFE);
                }
                for ear in &self.ears {
                    let height = ground + emitter.height;
                    if let Some(rssi) = ear.hear(&self.law, emitter.power, place, height, &mut emitter.rng) {
                        let heard = Advertisement {
                            time,
                            receiver: ear.id.clone(),
                            address: Some(emitter.address),
                            rssi,
                            data: emitter.data.clone(),
                        };
                        self.ready.push_back(Step { time, what: What::Heard(heard) });
                    }
                }
            }
        }
        at + micros(emitter.interval) + emitter.rng.random_range(0..=ADVERTISING_DELAY_US)
    }
}

impl Iterator for Simulation {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            if self.ended {
                return None;
            }
            let end = self.config.duration.map(micros);
            match self.due.pop() {
                Some(Reverse((at, due))) if end.is_none_or(|end| at < end) => self.happen(at, due),
                _ => {
                    self.ended = true;
                    if let (Some(end), true) = (end, self.config.truth_interval.is_some()) {
                        self.tracker.finish(self.timestamp(end), &mut self.ready);
                    }
                }
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn ears(registry: &Registry, places: &Places, config: &SimulationConfig) -> Result<Vec<Ear>, SimulationError> {
    let shadowing = Shadowing { sd: config.shadowing_db, distance: config.shadowing_distance_m, seed: config.seed };
    let all = || {
        let receivers = registry.receivers().iter().map(|receiver| receiver.point);
        shapes::bounds(receivers.chain(places.areas.iter().flat_map(|area| area.spots.iter().copied())))
    };
    let extents: Vec<_> = places.floors.iter().map(|floor| radio::extent(floor, all())).collect();
    let ears: Vec<Ear> = registry
        .receivers()
        .iter()
        .enumerate()
        .filter_map(|(index, receiver)| {
            // The registry has made sure that its level exists.
            let floor = places.floor(receiver.level)?;
            let place = Place { point: receiver.point, floor };
            let height = places.floors[floor].elevation + receiver.z;
            Some(Ear::new(receiver.id.clone(), place, height, receiver.rssi_offset, index, shadowing, &extents))
        })
        .collect();
    if ears.is_empty() { Err(SimulationError::NoReceivers) } else { Ok(ears) }
}

/// Who takes part, and as what.
struct Casting<'a> {
    registry: &'a Registry,
    places: &'a Arc<Places>,
    config: &'a SimulationConfig,
}

impl Casting<'_> {
    fn emitters(&self) -> Result<(Vec<Emitter>, Cast), SimulationError> {
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
                None if self.config.company => self.fixed_life(beacon),
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
                interval: if fixed { FIXED_INTERVAL.max(self.config.interval) } else { self.config.interval },
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
            power: crate::model::MeasuredPower::USUAL.get() + 3.0 * unit,
            interval: self.config.interval,
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
