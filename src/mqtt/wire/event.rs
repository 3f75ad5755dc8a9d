//! Presence events as `CloudEvents`.

use serde::Serialize;

use super::{ContentType, Context, Message, WireError, WirePosition, message, rounded, seconds};
use crate::model::Timestamp;
use crate::presence::Event;
use crate::registry::Labels;

/// The URI of the schema of an event's `data`: `docs/schemas/presence-event.json`.
pub const SCHEMA: &str = "urn:beaconfence:schema:presence-event:v1";

/// The message that says `event`, on `{site}/events/{zone}/{kind}`.
///
/// # Errors
/// [`WireError::TooLarge`] where the zone's metadata and the labels make it exceed the greatest payload.
pub fn event(context: &Context, event: &Event) -> Result<Message, WireError> {
    let kind = event.kind.as_str();
    let topic = format!("{}/events/{}/{kind}", context.site, event.zone.id);
    let body = CloudEvent {
        specversion: "1.0",
        id: event.id.to_string(),
        source: format!("/beaconfence/{}", context.site),
        r#type: format!("io.beaconfence.presence.{kind}"),
        subject: event.device.id.as_str(),
        time: event.observed_at,
        datacontenttype: "application/json",
        dataschema: SCHEMA,
        data: Data::new(context, event),
    };
    message(topic, ContentType::CloudEvent, &body)
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    dataschema: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    sequence: u64,
    zone: WireZone<'a>,
    device: WireDevice<'a>,
    visit_id: String,
    visit_sequence: u32,
    observed_at: Timestamp,
    decided_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<WirePosition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    initial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held: bool,
}

#[derive(Serialize)]
struct WireZone<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<i16>,
    labels: &'a Labels,
    metadata: &'a serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct WireDevice<'a> {
    id: &'a str,
    kind: &'static str,
    labels: &'a Labels,
}

impl<'a> Data<'a> {
    fn new(context: &'a Context, event: &'a Event) -> Self {
        let (zone, device) = (&event.zone, &event.device);
        Self {
            site: context.site.as_str(),
            gateway: context.gateway.as_str(),
            epoch: &context.epoch,
            sequence: event.sequence,
            zone: WireZone {
                id: zone.id.as_str(),
                name: &zone.name,
                level: zone.level.map(|level| level.0),
                labels: &zone.labels,
                metadata: &zone.metadata,
            },
            device: WireDevice { id: device.id.as_str(), kind: device.kind.as_str(), labels: &device.labels },
            visit_id: event.visit_id.to_string(),
            visit_sequence: event.visit_sequence,
            observed_at: event.observed_at,
            decided_at: event.decided_at,
            position: event.position.as_ref().map(|position| WirePosition::new(context, position)),
            confidence: event.confidence.map(|probability| rounded(probability.get(), 4)),
            initial: event.initial,
            threshold_s: event.threshold.map(seconds),
            duration_s: event.duration.map(seconds),
            reason: event.reason.map(crate::presence::Reason::as_str),
            held: event.held,
        }
    }
}
