//! Asking for stored events again.

use serde::{Deserialize, Serialize};

use super::{ContentType, Context, Message, WireError, message};
use crate::model::{GatewayId, SiteId};

/// `schema_version` of what is said at the end.
const SCHEMA_VERSION: u32 = 1;

/// The greatest request in bytes; a real one has about a hundred.
const MAX_REQUEST: usize = 4 * 1024;

/// The topic under the prefix on which a gateway is asked.
pub fn replay_topic(site: &SiteId, gateway: &GatewayId) -> String {
    format!("{site}/gateways/{gateway}/replay")
}

/// A request for stored entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The first `sequence`.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Where to publish them, under the prefix: `{site}/replays/NAME`, nothing else.
    pub reply_to: String,
    /// The epoch whose sequences are meant, where it is said.
    pub epoch: Option<String>,
}

/// Why a request is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The payload is too large.
    #[error("the payload has {0} bytes, more than the {MAX_REQUEST} that are allowed")]
    TooLarge(usize),
    /// The payload is something else.
    #[error("it is not {{\"from\":N,\"to\":M,\"reply_to\":\"SITE/replays/NAME\"}}: {0}")]
    Malformed(String),
    /// The last comes before the first.
    #[error("\"to\" is less than \"from\"")]
    Backwards,
    /// The answers would go elsewhere.
    #[error("\"reply_to\" must be {0}/replays/NAME, with an id as NAME")]
    ReplyTo(String),
}

/// Reads a request to a gateway of `site`. Unknown fields are ignored.
///
/// # Errors
/// [`ReplayError`] says what is wrong with it.
pub fn replay_request(site: &SiteId, payload: &[u8]) -> Result<ReplayRequest, ReplayError> {
    #[derive(Deserialize)]
    struct Wire {
        from: u64,
        to: u64,
        reply_to: String,
        #[serde(default)]
        epoch: Option<String>,
    }
    if payload.len() > MAX_REQUEST {
        return Err(ReplayError::TooLarge(payload.len()));
    }
    let wire: Wire = serde_json::from_slice(payload).map_err(|error| ReplayError::Malformed(error.to_string()))?;
    // Whoever may ask must not be able to make the gateway publish anywhere else.
    let name = wire.reply_to.strip_prefix(site.as_str()).and_then(|rest| rest.strip_prefix("/replays/"));
    if name.is_none_or(|name| GatewayId::new(name).is_err()) {
        return Err(ReplayError::ReplyTo(site.to_string()));
    }
    if wire.to < wire.from {
        return Err(ReplayError::Backwards);
    }
    Ok(ReplayRequest { from: wire.from, to: wire.to, reply_to: wire.reply_to, epoch: wire.epoch })
}

/// What is said after the last answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayDone {
    /// How many were published.
    pub answered: u64,
    /// Ranges of which nothing is stored any more, both ends included.
    pub missing: Vec<(u64, u64)>,
    /// Where to go on, where the range was not worked off.
    pub next: Option<u64>,
    /// The `sequence` that the next new event will have.
    pub next_sequence: u64,
    /// Why nothing was answered.
    pub error: Option<&'static str>,
}

/// The message that says it, on `{reply_to}/done`.
///
/// # Errors
/// None in practice: its size is bounded by that of the ids and the ranges.
pub fn replay_done(context: &Context, request: &ReplayRequest, done: &ReplayDone) -> Result<Message, WireError> {
    #[derive(Serialize)]
    struct Wire<'a> {
        schema_version: u32,
        site: &'a str,
        gateway: &'a str,
        epoch: &'a str,
        from: u64,
        to: u64,
        answered: u64,
        missing: &'a [(u64, u64)],
        complete: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
        next_sequence: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let body = Wire {
        schema_version: SCHEMA_VERSION,
        site: context.site.as_str(),
        gateway: context.gateway.as_str(),
        epoch: &context.epoch,
        from: request.from,
        to: request.to,
        answered: done.answered,
        missing: &done.missing,
        complete: done.next.is_none() && done.error.is_none(),
        next: done.next,
        next_sequence: done.next_sequence,
        error: done.error,
    };
    message(format!("{}/done", request.reply_to), ContentType::Json, &body)
}
