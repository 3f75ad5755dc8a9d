//! The stream of what happens: server-sent events (WHATWG HTML, section 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, sleep_until};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::live::LiveMessage;
use crate::http::app::App;
use crate::http::auth::{Caller, Way};
use crate::http::extract::{NoQuery, header};
use crate::http::problem::Problem;
use crate::http::reply::Who;
use crate::http::state;
use crate::registrar::Role;

/// A comment comes at least so often, so that both ends see a connection that broke.
const BEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 2_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// What happens from now on, as server-sent events
///
/// `presence-event` (a `CloudEvent`, with an id to go on from), `positions`, `presence`, `occupancy`, `registry`, `nearby` (for editors,
/// while a session is on), `status`; `missed` where events between `Last-Event-ID` and now are no longer kept. Who reads too slowly is
/// disconnected.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "live",
    params(("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events, without end", body = String, content_type = "text/event-stream")))]
async fn stream(State(app): State<App>, who: Who, _query: NoQuery, headers: HeaderMap) -> Result<Response, Problem> {
    let place = app.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many streams are open; close one"))?;
    let stream = Stream::new(app, who.0, place, header(&headers, LAST_EVENT_ID));
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let frame = stream.next().await?;
        Some((Ok::<Bytes, Infallible>(frame), stream))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response())
}

/// One reader.
struct Stream {
    app: App,
    caller: Caller,
    changes: broadcast::Receiver<LiveMessage>,
    shutdown: watch::Receiver<bool>,
    /// What is to be sent before anything new.
    first: VecDeque<Bytes>,
    /// Events up to this one were sent.
    sent: u64,
    beat: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn new(app: App, caller: Caller, place: OwnedSemaphorePermit, last: Option<&str>) -> Self {
        // What happens between the two calls comes twice, and is sent once.
        let changes = app.services.live.subscribe();
        let mut first = VecDeque::from([Bytes::from(format!("retry: {RETRY_MS}\n\n"))]);
        let sent = missed(&app, last, &mut first);
        let services = &app.services;
        let now = services.registrar.now();
        first.push_back(frame("positions", None, services.live.positions(now).to_string().as_bytes()));
        first.push_back(frame("status", None, state::told(services).to_string().as_bytes()));
        let shutdown = app.shutdown.clone();
        Self { app, caller, changes, shutdown, first, sent, beat: Instant::now() + BEAT, _place: place }
    }

    /// The next thing to be sent; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        loop {
            let message = tokio::select! {
                _ = self.shutdown.wait_for(|stop| *stop) => return None,
                message = self.changes.recv() => Some(message),
                () = sleep_until(self.beat) => None,
            };
            let Some(message) = message else {
                self.beat = Instant::now() + BEAT;
                return self.still_may().then(|| Bytes::from_static(b":\n\n"));
            };
            match message {
                Ok(message) => {
                    if let Some(frame) = self.frame(&message) {
                        return Some(frame);
                    }
                }
                // It comes again, and goes on where it was.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            }
        }
    }

    fn frame(&mut self, message: &LiveMessage) -> Option<Bytes> {
        match message {
            LiveMessage::Event { id, payload } => {
                let sequence = sequence(id, self.app.services.live.epoch()).unwrap_or(u64::MAX);
                if sequence <= self.sent {
                    return None;
                }
                self.sent = sequence;
                Some(frame("presence-event", Some(id), payload))
            }
            LiveMessage::State { name: "nearby", .. } if self.caller.role < Role::Editor => None,
            LiveMessage::State { name: "status", .. } => {
                Some(frame("status", None, state::told(&self.app.services).to_string().as_bytes()))
            }
            LiveMessage::State { name, json } => Some(frame(name, None, json.as_bytes())),
        }
    }

    /// Whether whoever reads may go on: their token may have been revoked, or their session ended.
    fn still_may(&self) -> bool {
        let is_open = match &self.caller.way {
            Way::Session(digest) => self.app.sessions.is_open(digest),
            Way::Token | Way::Local => true,
        };
        is_open && self.app.services.role_now(self.caller.token.as_ref(), self.caller.role).is_some()
    }
}

/// What somebody missed who has seen events up to `last`; up to where they have them then.
fn missed(app: &App, last: Option<&str>, first: &mut VecDeque<Bytes>) -> u64 {
    let live = &app.services.live;
    let Some(last) = last.filter(|last| !last.is_empty()) else { return 0 };
    let Some(seen) = sequence(last, live.epoch()) else {
        first.push_back(frame("missed", None, b"{}"));
        return 0;
    };
    let since = live.since(seen);
    // Of what came before the first that is kept, nothing is known.
    let oldest = live.recent(usize::MAX).last().map(|event| event.sequence);
    if oldest.is_none_or(|oldest| oldest > seen + 1) {
        first.push_back(frame("missed", None, b"{}"));
    }
    for event in &since {
        let id = format!("{}:{}", live.epoch(), event.sequence);
        first.push_back(frame("presence-event", Some(&id), &event.payload));
    }
    since.last().map_or(seen, |event| event.sequence)
}

/// The sequence in `EPOCH:SEQUENCE`; none of another epoch.
fn sequence(id: &str, epoch: &str) -> Option<u64> {
    let (of, sequence) = id.rsplit_once(':')?;
    if of == epoch { sequence.parse().ok() } else { None }
}

/// One message. JSON is one line.
fn frame(name: &str, id: Option<&str>, json: &[u8]) -> Bytes {
    let mut text = format!("event: {name}\n").into_bytes();
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(json);
    text.extend_from_slice(b"\n\n");
    text.into()
}
