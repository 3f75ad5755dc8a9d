//! The payloads: what is said over MQTT, byte for byte.
//!
//! Events are [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) in structured JSON;
//! state is plain JSON with `schema_version`. Fields come in the order of the structs below, an optional field that does
//! not apply is absent, never `null`, and the same event always gives the same bytes. The schemas are in
//! `docs/schemas`; version 1 only grows.

mod attributes;
mod event;
mod health;
mod replay;
mod report;
mod state;
mod trigger;
mod xdm;

use bytes::Bytes;

use crate::model::{DeviceId, Frame, GatewayId, Position, SiteId, Timestamp};

pub use attributes::{DeviceFacts, device_facts};
pub use event::{SCHEMA as EVENT_SCHEMA, event, samples};
pub use health::{HealthWords, beacon_health, beacon_health_topic};
pub use replay::{ReplayDone, ReplayError, ReplayRequest, replay_done, replay_request, replay_topic};
pub use report::{ReportError, position_report};
pub use state::{
    DriftWords, GatewayState, ReceiverStatus, Status, StoreWords, occupancy, occupancy_topic, presence, presence_topic,
    status_topic,
};
pub use trigger::{SCHEMA as TRIGGER_SCHEMA, card, card_topic, trigger};

/// The greatest payload in bytes, in either direction.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// What the gateway adds to everything it says.
#[derive(Debug, Clone)]
pub struct Context {
    /// The site.
    pub site: SiteId,
    /// The gateway that says it.
    pub gateway: GatewayId,
    /// The life of the database that counts the events.
    pub epoch: String,
    /// The site frame, from which latitude and longitude follow.
    pub frame: Frame,
    /// Whether events are also said in the words of Adobe's Experience Data Model.
    pub xdm: bool,
}

/// What a payload is, as MQTT 5 announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// A `CloudEvent`.
    CloudEvent,
    /// Plain JSON.
    Json,
}

impl ContentType {
    /// The media type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudEvent => "application/cloudevents+json; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// Something to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic under the prefix, such as `store-1/events/door/entered`.
    pub topic: String,
    /// The payload, at most [`MAX_PAYLOAD`] bytes; cheap to clone.
    pub payload: Bytes,
    /// What it is.
    pub content_type: ContentType,
}

/// Why something cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The payload would exceed [`MAX_PAYLOAD`].
    #[error("the payload for {topic} has {size} bytes, more than the {MAX_PAYLOAD} that are allowed")]
    TooLarge {
        /// The topic under the prefix.
        topic: String,
        /// Its size in bytes.
        size: usize,
    },
    /// The value has no JSON form.
    #[error("the payload for {topic} cannot be written as JSON")]
    Json {
        /// The topic under the prefix.
        topic: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes `body` for `topic`.
fn message(topic: String, content_type: ContentType, body: &impl serde::Serialize) -> Result<Message, WireError> {
    let payload = match serde_json::to_vec(body) {
        Ok(payload) => payload,
        Err(source) => return Err(WireError::Json { topic, source }),
    };
    if payload.len() > MAX_PAYLOAD {
        return Err(WireError::TooLarge { topic, size: payload.len() });
    }
    Ok(Message { topic, payload: payload.into(), content_type })
}

/// A position as one line of JSON: `time` (when it was worked out), `device`, `x`, `y`, `level`, `accuracy`, `latitude`,
/// `longitude`.
///
/// # Errors
/// None in practice: its size is bounded by that of the id.
pub fn position_line(
    context: &Context,
    device: &DeviceId,
    position: &Position,
    time: Timestamp,
) -> Result<Bytes, serde_json::Error> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        time: Timestamp,
        device: &'a str,
        #[serde(flatten)]
        position: WirePosition,
    }
    let line = Line { time, device: device.as_str(), position: WirePosition::new(context, position) };
    serde_json::to_vec(&line).map(Bytes::from)
}

/// `value` to that many decimals; never minus zero, which JSON would show.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale + 0.0
}

/// A duration as seconds with millisecond resolution.
fn seconds(duration: std::time::Duration) -> f64 {
    rounded(duration.as_secs_f64(), 3)
}

/// A position on the wire.
#[derive(Debug, serde::Serialize)]
struct WirePosition {
    x: f64,
    y: f64,
    level: i16,
    accuracy: f64,
    latitude: f64,
    longitude: f64,
}

impl WirePosition {
    fn new(context: &Context, position: &Position) -> Self {
        let geodetic = context.frame.to_geodetic(position.point);
        Self {
            x: rounded(position.point.x, 3),
            y: rounded(position.point.y, 3),
            level: position.level.0,
            accuracy: rounded(position.accuracy, 3),
            latitude: rounded(geodetic.latitude, 8),
            longitude: rounded(geodetic.longitude, 8),
        }
    }
}
