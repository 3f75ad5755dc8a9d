//! How a beacon fares: retained, the latest value wins.

use serde::Serialize;

use super::{ContentType, Context, Message, WireError, message, rounded};
use crate::advert::BatteryLevel;
use crate::health::{BatteryHealth, BeaconHealth, Elsewhere, IntervalHealth};
use crate::model::{BeaconId, SiteId, Timestamp};

/// `schema_version` of the payload.
const SCHEMA_VERSION: u32 = 1;

/// The topic of a beacon's health under the prefix.
pub fn beacon_health_topic(site: &SiteId, beacon: &BeaconId) -> String {
    format!("{site}/beacons/{beacon}/health")
}

/// The message that says how a beacon fares.
///
/// # Errors
/// None in practice: its size is bounded by that of the ids.
pub fn beacon_health(context: &Context, health: &BeaconHealth) -> Result<Message, WireError> {
    let body = Body {
        schema_version: SCHEMA_VERSION,
        site: context.site.as_str(),
        gateway: context.gateway.as_str(),
        epoch: &context.epoch,
        beacon: health.beacon.as_str(),
        device: health.device.as_ref().map(crate::model::DeviceId::as_str),
        words: HealthWords::of(health),
    };
    message(beacon_health_topic(&context.site, &health.beacon), ContentType::Json, &body)
}

#[derive(Serialize)]
struct Body<'a> {
    schema_version: u32,
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    beacon: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(flatten)]
    words: HealthWords,
}

/// What is said of the health of a beacon, here and by the API.
#[derive(Debug, Serialize)]
pub struct HealthWords {
    state: &'static str,
    problems: Vec<&'static str>,
    since: Timestamp,
    last_heard: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery: Option<Battery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<Moved>,
}

#[derive(Debug, Serialize)]
struct Battery {
    #[serde(skip_serializing_if = "Option::is_none")]
    millivolts: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    at: Timestamp,
    low: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Interval {
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    usual_ms: Option<f64>,
    counted: bool,
    drifted: bool,
}

#[derive(Debug, Serialize)]
struct Moved {
    since: Timestamp,
    level: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<f64>,
}

impl HealthWords {
    /// The words for it.
    pub fn of(health: &BeaconHealth) -> Self {
        Self {
            state: health.state().as_str(),
            problems: health.problems.iter().map(crate::health::BeaconState::as_str).collect(),
            since: health.since,
            last_heard: health.last_heard,
            battery: health.battery.as_ref().map(Battery::of),
            interval: health.interval.as_ref().map(Interval::of),
            moved: health.elsewhere.as_ref().map(Moved::of),
        }
    }
}

impl Battery {
    fn of(battery: &BatteryHealth) -> Self {
        let (millivolts, percent) = match battery.level {
            BatteryLevel::Millivolts(mv) => (Some(mv), None),
            BatteryLevel::Percent(percent) => (None, Some(percent)),
        };
        Self {
            millivolts,
            percent,
            at: battery.at,
            low: battery.is_low,
            per_day: battery.per_day.map(|value| rounded(value, 2)),
            days_left: battery.days_left,
        }
    }
}

impl Interval {
    fn of(interval: &IntervalHealth) -> Self {
        Self {
            ms: rounded(interval.ms, 0),
            usual_ms: interval.usual_ms.map(|ms| rounded(ms, 0)),
            counted: interval.is_counted,
            drifted: interval.has_drifted,
        }
    }
}

impl Moved {
    fn of(elsewhere: &Elsewhere) -> Self {
        // To a metre: more would be said than is known.
        Self {
            since: elsewhere.since,
            level: elsewhere.level.0,
            x: elsewhere.point.map(|point| rounded(point.x, 0)),
            y: elsewhere.point.map(|point| rounded(point.y, 0)),
        }
    }
}
