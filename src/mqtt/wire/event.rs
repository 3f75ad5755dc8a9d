//! Presence events as `CloudEvents`.

use serde::Serialize;

use super::{ContentType, Context, Message, WireError, WirePosition, message, rounded, seconds};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{DeviceId, LevelOrdinal, Point, Position, Probability, Timestamp};
use crate::presence::{Event, EventKind, Reason};
use crate::registry::{Consent, Device, DeviceKind, Labels, Zone};

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

/// One message of each kind about a zone, as they look: what is stored is compressed against such.
pub fn samples(context: &Context, zone: &Arc<Zone>) -> Vec<Message> {
    let Ok(id) = DeviceId::new("device-0000") else { return Vec::new() };
    let device =
        Arc::new(Device { id, kind: DeviceKind::Customer, consent: Consent::default(), labels: Labels::new() });
    let at = Timestamp::from_millis(0);
    let sample = |kind, (duration, threshold, reason): (Option<Duration>, Option<Duration>, Option<Reason>)| Event {
        id: uuid::Uuid::nil(),
        kind,
        sequence: 0,
        zone: Arc::clone(zone),
        device: Arc::clone(&device),
        visit_id: uuid::Uuid::nil(),
        visit_sequence: 0,
        observed_at: at,
        decided_at: at,
        position: Some(Position {
            point: Point::default(),
            level: zone.level.unwrap_or(LevelOrdinal(0)),
            accuracy: 1.5,
            time: at,
        }),
        confidence: Probability::new(0.75).ok(),
        initial: false,
        threshold,
        duration,
        reason,
        held: false,
        suspect: false,
    };
    let minute = Some(Duration::from_secs(60));
    [
        sample(EventKind::Dwelled, (minute, minute, None)),
        sample(EventKind::Exited, (minute, None, Some(Reason::Lost))),
        sample(EventKind::Exited, (minute, None, Some(Reason::Left))),
        sample(EventKind::Entered, (None, None, None)),
    ]
    .iter()
    .filter_map(|sample| event(context, sample).ok())
    .collect()
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspect: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    xdm: Option<serde_json::Value>,
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
            suspect: event.suspect,
            xdm: if context.xdm { super::xdm::event(context, event) } else { None },
        }
    }
}
