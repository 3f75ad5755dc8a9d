//! Triggers as `CloudEvents`.

use serde::Serialize;
use serde_json::Value;

use super::{ContentType, Context, Message, WireError, message};
use crate::model::{DeviceId, SiteId, Timestamp, TriggerId};
use crate::registry::Labels;
use crate::trigger::{Facts, Fired};

/// The URI of the schema of a trigger: `docs/schemas/trigger.json`.
pub const SCHEMA: &str = "urn:beaconfence:schema:trigger:v1";

/// The message that says a trigger, on `{site}/triggers/{trigger}`. Its times are those of the wall clock.
///
/// # Errors
/// [`WireError::TooLarge`] where what the rule says and the facts make it exceed the greatest payload.
pub fn trigger(context: &Context, fired: &Fired) -> Result<Message, WireError> {
    let topic = format!("{}/triggers/{}", context.site, fired.rule.id);
    message(topic, ContentType::CloudEvent, &CloudEvent::new(context, fired))
}

/// The same trigger as a card, on `{site}/cards/{device}/{trigger}`; none where it is not one.
///
/// # Errors
/// As [`trigger`].
pub fn card(context: &Context, fired: &Fired) -> Option<Result<Message, WireError>> {
    let device = fired.device.as_ref().filter(|_| fired.rule.then.card)?;
    let topic = card_topic(&context.site, &device.id, &fired.rule.id);
    Some(message(topic, ContentType::CloudEvent, &CloudEvent::new(context, fired)))
}

/// Where a card is, under the prefix.
pub fn card_topic(site: &SiteId, device: &DeviceId, trigger: &TriggerId) -> String {
    format!("{site}/cards/{device}/{trigger}")
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'static str,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    dataschema: &'static str,
    data: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    site: &'a str,
    gateway: &'a str,
    epoch: &'a str,
    sequence: u64,
    trigger: &'a str,
    campaign: &'a str,
    priority: u8,
    channels: &'a [String],
    deduplication_key: &'a str,
    observed_at: Timestamp,
    decided_at: Timestamp,
    expires_at: Timestamp,
    cause: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<WireDevice<'a>>,
    facts: &'a Facts,
    data: &'a Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    card: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspect: bool,
}

#[derive(Serialize)]
struct WireDevice<'a> {
    id: &'a str,
    kind: &'static str,
    labels: &'a Labels,
}

impl<'a> CloudEvent<'a> {
    fn new(context: &'a Context, fired: &'a Fired) -> Self {
        let rule = &fired.rule;
        let device = fired.device.as_deref();
        let zone = fired.zone.as_ref().map(|zone| zone.id.as_str());
        Self {
            specversion: "1.0",
            id: fired.id.to_string(),
            source: format!("/beaconfence/{}", context.site),
            r#type: "io.beaconfence.trigger.fired",
            subject: device.map(|device| device.id.as_str()).or(zone).unwrap_or(context.site.as_str()),
            time: fired.observed_at,
            datacontenttype: "application/json",
            dataschema: SCHEMA,
            data: Body {
                site: context.site.as_str(),
                gateway: context.gateway.as_str(),
                epoch: &context.epoch,
                sequence: fired.sequence,
                trigger: rule.id.as_str(),
                campaign: &rule.campaign,
                priority: rule.then.priority,
                channels: &fired.channels,
                deduplication_key: &fired.deduplication_key,
                observed_at: fired.observed_at,
                decided_at: fired.decided_at,
                expires_at: fired.expires_at,
                cause: fired.cause.iter().map(ToString::to_string).collect(),
                device: device.map(|device| WireDevice {
                    id: device.id.as_str(),
                    kind: device.kind.as_str(),
                    labels: &device.labels,
                }),
                facts: &fired.facts,
                data: &fired.data,
                card: rule.then.card && device.is_some(),
                suspect: fired.suspect,
            },
        }
    }
}
