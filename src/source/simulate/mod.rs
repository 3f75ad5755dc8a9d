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

mod casting;
mod config;
mod frames;
mod places;
mod radio;
mod shapes;
mod truth;
mod walker;

#[cfg(test)]
mod health_tests;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub use casting::Cast;
pub use config::{Outage, SimulationConfig, SimulationError};
pub use radio::FadingModel;
pub use truth::{Crossing, CrossingKind, TruePosition};

use crate::advert::{Address, Advertisement, AdvertisingData, DeviceSighting};
use crate::engine::{Input, ReceiverState};
use crate::model::{DeviceId, Metres, Point, ReceiverId, Rssi, Timestamp};
use crate::registry::Registry;

use casting::Casting;
use places::{Place, Places};
use radio::{Fading, Law, Link, Shadowing};
use truth::Tracker;
use walker::{Walker, Whereabouts};

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
    /// A device heard a fixed beacon.
    HeardByDevice(DeviceSighting),
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
            What::HeardByDevice(heard) => Some(Input::Heard(heard)),
            What::Receiver(receiver, state) => Some(Input::Receiver(receiver, state)),
            What::Position(_) | What::Crossing(_) => None,
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
    /// Whether it is a fixed beacon.
    fixed: bool,
    /// For phones that hear fixed beacons, by how much they read too high, in dB.
    gain: f64,
    /// For fixed beacons that phones hear, the link to them: the same as a receiver's at that place.
    link: Option<Link>,
    /// For strangers, when the address is changed, in seconds since the start.
    address_until: Option<f64>,
    rng: ChaCha8Rng,
}

/// A receiver.
#[derive(Debug)]
struct Ear {
    id: ReceiverId,
    link: Link,
    down: bool,
}

impl Ear {
    /// What it reads of one packet; none where the packet is lost.
    fn hear(&self, law: &Law, power: f64, place: Place, height: Metres, rng: &mut ChaCha8Rng) -> Option<Rssi> {
        // Always drawn, so that an outage does not change what is heard after it.
        self.link.hear(law, power, place, height, rng).filter(|_| !self.down)
    }
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
        let (mut emitters, cast) = Casting { registry, places: &places, config: &config }.emitters()?;
        if config.reported_by_devices {
            link(registry, &places, &config, &mut emitters)?;
        }
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
        let only_fixed = self.config.reported_by_devices;
        for (at, emitter) in self.emitters.iter_mut().enumerate().filter(|(_, e)| e.fixed || !only_fixed) {
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

    /// Sends one packet to every phone and says when the next one is due.
    fn transmit_to_devices(&mut self, at: u64, time: Timestamp, emitter: usize) -> u64 {
        let seconds = at as f64 / 1e6;
        let Some(link) = self.emitters[emitter].link.take() else { return u64::MAX };
        let (power, address, data) = {
            let sender = &self.emitters[emitter];
            (sender.power, sender.address, sender.data.clone())
        };
        let mut known = BTreeSet::new();
        for phone in &mut self.emitters {
            // A device with two beacons listens once.
            let Some(device) = phone.device.clone().filter(|device| known.insert(device.clone())) else { continue };
            let Whereabouts::Here { place, ground } = phone.walker.at(seconds) else { continue };
            let height = ground + phone.height;
            if let Some(rssi) = link.hear(&self.law, power + phone.gain, place, height, &mut phone.rng) {
                let heard = DeviceSighting { time, device, address: Some(address), rssi, data: data.clone() };
                self.ready.push_back(Step { time, what: What::HeardByDevice(heard) });
            }
        }
        let sender = &mut self.emitters[emitter];
        sender.link = Some(link);
        at + micros(sender.interval) + sender.rng.random_range(0..=ADVERTISING_DELAY_US)
    }

    /// Sends one packet and says when the next one is due.
    fn transmit(&mut self, at: u64, time: Timestamp, emitter: usize) -> u64 {
        if self.config.reported_by_devices {
            return self.transmit_to_devices(at, time, emitter);
        }
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
    let (shadowing, extents) = surroundings(registry, places, config);
    let ears: Vec<Ear> = registry
        .receivers()
        .iter()
        .enumerate()
        .filter_map(|(index, receiver)| {
            // The registry has made sure that its level exists.
            let floor = places.floor(receiver.level)?;
            let place = Place { point: receiver.point, floor };
            let height = places.floors[floor].elevation + receiver.z;
            let link = Link::new(place, height, receiver.rssi_offset, index, shadowing, &extents);
            Some(Ear { id: receiver.id.clone(), link, down: false })
        })
        .collect();
    if ears.is_empty() && !config.reported_by_devices { Err(SimulationError::NoReceivers) } else { Ok(ears) }
}

/// Shadowing, and the box of each floor.
fn surroundings(registry: &Registry, places: &Places, config: &SimulationConfig) -> (Shadowing, Vec<(Point, Point)>) {
    let shadowing = Shadowing { sd: config.shadowing_db, distance: config.shadowing_distance_m, seed: config.seed };
    let all = || {
        let receivers = registry.receivers().iter().map(|receiver| receiver.point);
        crate::registry::bounds(receivers.chain(places.areas.iter().flat_map(|area| area.spots.iter().copied())))
    };
    (shadowing, places.floors.iter().map(|floor| radio::extent(floor, all())).collect())
}

/// Gives each fixed beacon its link to the phones.
fn link(
    registry: &Registry,
    places: &Places,
    config: &SimulationConfig,
    emitters: &mut [Emitter],
) -> Result<(), SimulationError> {
    let (shadowing, extents) = surroundings(registry, places, config);
    let mut links = 0;
    for emitter in emitters.iter_mut().filter(|emitter| emitter.fixed) {
        let Whereabouts::Here { place, ground } = emitter.walker.at(0.0) else { continue };
        // The field of a receiver that is not there: they are counted from 0.
        let index = (1 << 24) + links;
        let height = ground + emitter.height;
        emitter.link = Some(Link::new(place, height, 0.0, index, shadowing, &extents));
        links += 1;
    }
    if links == 0 { Err(SimulationError::NoFixedBeacons) } else { Ok(()) }
}
