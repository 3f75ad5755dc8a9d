//! State: retained, the latest value wins.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ContentType, Context, Message, WireError, WirePosition, message};
use crate::engine::DevicePresence;
use crate::model::{DeviceId, GatewayId, Position, ReceiverId, SiteId, Timestamp, ZoneId};

/// `schema_version` of every state payload.
const SCHEMA_VERSION: u32 = 1;

/// The topic of a device's presence under the prefix.
pub fn presence_topic(site: &SiteId, device: &DeviceId) -> String {
    format!("{site}/presence/{device}")
}

/// The topic of a zone's occupancy under the prefix.
pub fn occupancy_topic(site: &SiteId, zone: &ZoneId) -> String {
    format!("{site}/zones/{zone}/occupancy")
}

/// The topic of a gateway's status under the prefix.
pub fn status_topic(site: &SiteId, gateway: &GatewayId) -> String {
    format!("{site}/gateways/{gateway}/status")
}

/// The message that says which zones a device is in, and where it is, if that is to be said.
///
/// # Errors
/// [`WireError::TooLarge`] where it is in many hundreds of zones at once.
pub fn presence(
    context: &Context,
    presence: &DevicePresence,
    position: Option<&Position>,
) -> Result<Message, WireError> {
    let zones = presence.zones.iter().map(|zone| PresenceZone {
        id: zone.zone.as_str(),
        since: zone.since,
        visit_id: zone.visit_id.to_string(),
    });
    let body = Presence {
        schema_version: SCHEMA_VERSION,
        site: context.site.as_str(),
        gateway: context.gateway.as_str(),
        epoch: &context.epoch,
        device: presence.device.id.as_str(),
        since: presence.since,
        zones: zones.collect(),
        position: position.map(|at| TimedPosition { observed_at: at.time, position: WirePosition::new(context, at) }),
    };
    message(presence_topic(&context.site, &presence.device.id), ContentType::Json, &body)
}

#[derive(Serialize)]
struct Presence<'a> {
    schema_version: u32,
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    device: &'a str,
    since: Timestamp,
    zones: Vec<PresenceZone<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<TimedPosition>,
}

#[derive(Serialize)]
struct PresenceZone<'a> {
    id: &'a str,
    since: Timestamp,
    visit_id: String,
}

#[derive(Serialize)]
struct TimedPosition {
    observed_at: Timestamp,
    #[serde(flatten)]
    position: WirePosition,
}

/// The message that says how many devices are in a zone, as of `at`.
///
/// # Errors
/// None in practice: its size is bounded by that of the ids.
pub fn occupancy(context: &Context, zone: &ZoneId, inside: u32, at: Timestamp) -> Result<Message, WireError> {
    let body = Occupancy {
        schema_version: SCHEMA_VERSION,
        site: context.site.as_str(),
        gateway: context.gateway.as_str(),
        epoch: &context.epoch,
        zone: zone.as_str(),
        inside,
        since: at,
    };
    message(occupancy_topic(&context.site, zone), ContentType::Json, &body)
}

#[derive(Serialize)]
struct Occupancy<'a> {
    schema_version: u32,
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    zone: &'a str,
    inside: u32,
    since: Timestamp,
}

/// Whether the gateway is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayState {
    /// It runs and is connected.
    Online,
    /// It has stopped, or its connection is lost (then the broker says so, as the last will).
    Offline,
}

/// One receiver in the gateway's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiverStatus {
    /// `up` or `down`.
    pub state: &'static str,
    /// What is wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Advertisements heard since the start, strangers included.
    pub advertisements: u64,
    /// Of these, sightings of registered beacons.
    pub sightings: u64,
    /// Advertisements dropped because the gateway was behind.
    pub shed: u64,
    /// How far the source was behind the air at the last look, in milliseconds.
    pub lag_ms: u64,
    /// How often the watchdog had to step in.
    pub recoveries: u64,
    /// Whether every packet is heard; where not, the scan is restarted every second, and a beacon is heard about as often.
    pub unfiltered: bool,
}

/// The gateway's database in its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreWords {
    /// Why the disk takes nothing at present, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Events that wait for the disk.
    pub uncommitted: u64,
    /// Events that a broker has taken and that can be asked for again.
    pub tail: u64,
}

/// A receiver that hears otherwise than in the survey of the site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DriftWords {
    /// What it reads more than in the survey, in dB.
    pub db: f64,
    /// Samples behind it.
    pub samples: u32,
}

/// The gateway's status.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether it is there.
    pub state: GatewayState,
    /// Its version.
    pub version: String,
    /// When this process began.
    pub since: Timestamp,
    /// When this was so: a status that says nothing else that is new still says that the gateway lives.
    pub at: Timestamp,
    /// Whether its clock is not known to be right.
    pub clock_suspect: bool,
    /// Its receivers.
    pub receivers: BTreeMap<ReceiverId, ReceiverStatus>,
    /// Receivers of the site that hear nothing of what they should, and since when.
    pub silent_receivers: BTreeMap<ReceiverId, Timestamp>,
    /// Its database; none where it has none.
    pub store: Option<StoreWords>,
    /// Receivers that hear otherwise than in the survey of the site.
    pub drifts: BTreeMap<ReceiverId, DriftWords>,
    /// Counters since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

impl Status {
    /// What is said when it has gone: the last will, and the last word of an orderly stop.
    pub fn offline(since: Timestamp) -> Self {
        Self {
            state: GatewayState::Offline,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            at: since,
            clock_suspect: false,
            receivers: BTreeMap::new(),
            silent_receivers: BTreeMap::new(),
            store: None,
            drifts: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// An online status without receivers and counters, to be filled.
    pub fn online(since: Timestamp) -> Self {
        Self { state: GatewayState::Online, ..Self::offline(since) }
    }

    /// The message that says it.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] with several hundreds of receivers.
    pub fn message(&self, context: &Context) -> Result<Message, WireError> {
        let body = WireStatus {
            schema_version: SCHEMA_VERSION,
            site: context.site.as_str(),
            gateway: context.gateway.as_str(),
            epoch: &context.epoch,
            state: self.state,
            version: &self.version,
            since: self.since,
            at: self.at,
            clock_suspect: self.clock_suspect,
            receivers: &self.receivers,
            silent_receivers: &self.silent_receivers,
            store: self.store.as_ref(),
            drifts: &self.drifts,
            counters: &self.counters,
        };
        message(status_topic(&context.site, &context.gateway), ContentType::Json, &body)
    }
}

#[derive(Serialize)]
struct WireStatus<'a> {
    schema_version: u32,
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    state: GatewayState,
    version: &'a str,
    since: Timestamp,
    at: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_suspect: bool,
    receivers: &'a BTreeMap<ReceiverId, ReceiverStatus>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    silent_receivers: &'a BTreeMap<ReceiverId, Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a StoreWords>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    drifts: &'a BTreeMap<ReceiverId, DriftWords>,
    counters: &'a BTreeMap<String, u64>,
}
