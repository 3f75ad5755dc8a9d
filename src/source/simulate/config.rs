//! What a simulation is made of, and why it may not be.

use std::time::Duration;

use crate::model::{Metres, ReceiverId, Timestamp};

use super::radio::FadingModel;

/// A receiver hears nothing for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Which.
    pub receiver: ReceiverId,
    /// From when, since the start.
    pub from: Duration,
    /// Until when, since the start; later than `from`.
    pub to: Duration,
}

/// A simulation's parameters. The defaults are those of a busy store with plain receivers.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationConfig {
    /// What everything random follows from.
    pub seed: u64,
    /// Time of the first step.
    pub start: Timestamp,
    /// How long; none for ever.
    pub duration: Option<Duration>,
    /// How many shoppers: the first customers who may be tracked and carry a beacon. None for all of them.
    pub shoppers: Option<usize>,
    /// How many of the shoppers (the first) stand still at one spot all the time.
    pub standing: usize,
    /// Share of the other shoppers who are in the store at the start, 0 to 1.
    pub inside_at_start: f64,
    /// How long it takes until every other shopper has come for the first time.
    pub arrivals: Duration,
    /// Median of the time that a shopper spends in a zone; log-normal.
    pub median_dwell: Duration,
    /// Whether the other beacons are there as well: customers without consent, staff, things, fixed ones.
    pub company: bool,
    /// Phones of people who are not registered.
    pub strangers: usize,
    /// Roles exchanged: the fixed beacons send, once an interval, and the devices report what they hear of them.
    /// Receivers hear nothing.
    pub reported_by_devices: bool,
    /// Advertising interval; 0 to 10 ms are added at random each time, as the specification wants it.
    pub interval: Duration,
    /// Exponent n of the log-distance law.
    pub path_loss_exponent: f64,
    /// How devices of one kind differ in power: standard deviation in dB.
    pub transmit_db: f64,
    /// Standard deviation of shadowing, in dB: constant for a place and a receiver.
    pub shadowing_db: f64,
    /// Distance at which shadowing has fallen to a correlation of 1/e. 6 m is what surveys of real halls gave.
    pub shadowing_distance_m: Metres,
    /// Standard deviation of fading, in dB: new for every packet.
    pub fading_db: f64,
    /// Its distribution.
    pub fading_model: FadingModel,
    /// Share of packets that a receiver misses, 0 to 1.
    pub packet_loss: f64,
    /// What each floor between takes, in dB.
    pub floor_loss_db: f64,
    /// Weakest signal that is heard, in dBm.
    pub sensitivity_dbm: f64,
    /// When receivers fail.
    pub outages: Vec<Outage>,
    /// How often true positions are given, in tenths of a second; none for no truth at all.
    pub truth_interval: Option<Duration>,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            // A Thursday morning.
            start: Timestamp::from_millis(1_767_261_600_000),
            duration: None,
            shoppers: None,
            standing: 0,
            inside_at_start: 0.5,
            arrivals: Duration::from_secs(300),
            median_dwell: Duration::from_secs(45),
            company: true,
            strangers: 0,
            reported_by_devices: false,
            interval: Duration::from_millis(200),
            path_loss_exponent: 2.5,
            transmit_db: 2.0,
            shadowing_db: 4.0,
            shadowing_distance_m: 6.0,
            fading_db: 4.0,
            fading_model: FadingModel::default(),
            packet_loss: 0.2,
            floor_loss_db: 15.0,
            sensitivity_dbm: -100.0,
            outages: Vec::new(),
            truth_interval: None,
        }
    }
}

/// Why there is no simulation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// Nobody hears.
    #[error("the site has no receiver; add at least one [[receiver]] to site.toml")]
    NoReceivers,
    /// Devices are to report fixed beacons, of which there is none.
    #[error("the site has no fixed beacon with a place; add some with x, y, level and no device to beacons.csv")]
    NoFixedBeacons,
    /// Nowhere to go.
    #[error("the site has no zone inside its levels' outlines; add at least one to zones.geojson")]
    NoZones,
    /// Nobody to walk.
    #[error(
        "{wanted} shoppers wanted, but the site has {found} devices that carry a beacon and may be tracked (consent \"presence\")"
    )]
    TooFewDevices {
        /// Shoppers asked for.
        wanted: usize,
        /// Devices that could be.
        found: usize,
    },
    /// An outage of a receiver that is not there.
    #[error("outage of receiver \"{0}\", which the site does not have")]
    UnknownReceiver(ReceiverId),
    /// An outage that ends before it begins, or begins before the last one has ended.
    #[error("outages of receiver \"{0}\" must end after they begin, and not overlap")]
    OutageTimes(ReceiverId),
    /// A number out of range.
    #[error("{name} is {value}; it must lie between {least} and {most}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The least allowed.
        least: f64,
        /// The most allowed.
        most: f64,
    },
}

impl SimulationConfig {
    pub(super) fn validate(&self) -> Result<(), SimulationError> {
        let ranges = [
            ("the share inside at the start", self.inside_at_start, 0.0, 1.0),
            ("the packet loss", self.packet_loss, 0.0, 1.0),
            ("the path loss exponent", self.path_loss_exponent, 1.0, 8.0),
            ("the spread of transmit powers in dB", self.transmit_db, 0.0, 20.0),
            ("shadowing in dB", self.shadowing_db, 0.0, 20.0),
            ("the shadowing distance in metres", self.shadowing_distance_m, 0.1, 1_000.0),
            ("fading in dB", self.fading_db, 0.0, 20.0),
            ("the loss of a floor in dB", self.floor_loss_db, 0.0, 100.0),
            ("the sensitivity in dBm", self.sensitivity_dbm, -127.0, 20.0),
            // Core specification, Vol 6, Part B, 4.4.2.2.1: 20 ms to 10 485.76 s.
            ("the advertising interval in ms", self.interval.as_secs_f64() * 1e3, 20.0, 10_485_760.0),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(SimulationError::OutOfRange { name, value, least, most });
            }
        }
        for (at, outage) in self.outages.iter().enumerate() {
            let overlaps = |other: &Outage| {
                other.receiver == outage.receiver && other.from <= outage.to && outage.from <= other.to
            };
            if outage.from >= outage.to || self.outages[..at].iter().any(overlaps) {
                return Err(SimulationError::OutageTimes(outage.receiver.clone()));
            }
        }
        Ok(())
    }
}
