//! The stream of what happens.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt as _;
use tower::ServiceExt as _;

use crate::api::{Api, elsewhere, request};

struct Reader {
    body: BodyDataStream,
    waiting: String,
}

impl Reader {
    async fn open(api: &Api, token: &str, last: Option<&str>) -> Self {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(last.map(|last| ("last-event-id", last)));
        let mut request = request("GET", "/api/v1/events/stream", &headers, "");
        request.extensions_mut().insert(elsewhere());
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: Body::into_data_stream(response.into_body()), waiting: String::new() }
    }

    /// The name, id and data of the next message; none at the end.
    async fn next(&mut self) -> Option<(String, Option<String>, String)> {
        loop {
            if let Some((message, rest)) = self.waiting.split_once("\n\n") {
                let field = |name: &str| {
                    message.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
                };
                let found = (field("event"), field("id"), field("data"));
                let rest = rest.to_owned();
                self.waiting = rest;
                if let (Some(event), id, data) = found {
                    return Some((event, id, data.unwrap_or_default()));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.body.next()).await.expect("nothing came");
            self.waiting.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    async fn expect(&mut self, event: &str) -> (Option<String>, String) {
        let (found, id, data) = self.next().await.expect("the stream ended");
        assert_eq!(found, event);
        (id, data)
    }
}

fn happen(api: &Api, sequence: u64) {
    api.services.live.event(sequence, &Bytes::from(format!("{{\"n\":{sequence}}}")));
}

#[tokio::test]
async fn who_looks_sees_what_is_and_then_what_happens() {
    let api = Api::new().await;
    let mut reader = Reader::open(&api, &api.viewer, None).await;
    assert!(reader.expect("positions").await.1.contains("\"devices\":[]"));
    let status = reader.expect("status").await.1;
    assert!(status.contains("\"receivers\"") && status.contains("\"delivery\""));
    happen(&api, 1);
    assert_eq!(reader.expect("presence-event").await, (Some("01TESTEPOCH0:1".to_owned()), "{\"n\":1}".to_owned()));
    api.call("POST", "/api/v1/devices", &api.editor, r#"{"id": "new", "kind": "asset"}"#).await;
    assert!(reader.expect("registry").await.1.contains("\"by\":\"editor\""));
}

#[tokio::test]
async fn who_comes_back_gets_what_they_missed_once_each() {
    let api = Api::new().await;
    (1..=5).for_each(|n| happen(&api, n));
    let mut reader = Reader::open(&api, &api.viewer, Some("01TESTEPOCH0:3")).await;
    happen(&api, 6);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let (event, id, _) = reader.next().await.unwrap();
        assert_ne!(event, "missed");
        seen.extend(id);
    }
    assert_eq!(seen, ["01TESTEPOCH0:4", "01TESTEPOCH0:5", "01TESTEPOCH0:6"]);
}

#[tokio::test]
async fn who_missed_what_is_no_longer_kept_is_told_so() {
    let api = Api::new().await;
    (5..=6).for_each(|n| happen(&api, n));
    for last in ["01TESTEPOCH0:1", "01OTHEREPOCH:5", "nonsense"] {
        let mut reader = Reader::open(&api, &api.viewer, Some(last)).await;
        reader.expect("missed").await;
    }
    let mut reader = Reader::open(&api, &api.viewer, Some("01TESTEPOCH0:4")).await;
    assert_eq!(reader.expect("presence-event").await.0.unwrap(), "01TESTEPOCH0:5");
}

#[tokio::test]
async fn who_reads_too_slowly_is_disconnected_and_others_are_not() {
    let api = Api::new().await;
    let mut slow = Reader::open(&api, &api.viewer, None).await;
    slow.expect("positions").await;
    (1..=3_000).for_each(|n| happen(&api, n));
    let mut ended = false;
    for _ in 0..3_000 {
        if slow.next().await.is_none() {
            ended = true;
            break;
        }
    }
    assert!(ended, "three thousand events were kept for a reader that did not read");
    // It comes back, and goes on.
    let mut again = Reader::open(&api, &api.viewer, Some("01TESTEPOCH0:2999")).await;
    assert_eq!(again.expect("presence-event").await.0.unwrap(), "01TESTEPOCH0:3000");
}

#[tokio::test]
async fn what_is_near_is_for_editors() {
    let api = Api::new().await;
    let mut viewer = Reader::open(&api, &api.viewer, None).await;
    let mut editor = Reader::open(&api, &api.editor, None).await;
    for reader in [&mut viewer, &mut editor] {
        reader.expect("positions").await;
        reader.expect("status").await;
    }
    assert_eq!(api.call("POST", "/api/v1/nearby", &api.viewer, "").await.status, 403);
    let started = api.call("POST", "/api/v1/nearby", &api.editor, "").await;
    assert_eq!(started.json()["until"], "2026-01-01T10:05:00.000Z");
    assert_eq!(api.call("DELETE", "/api/v1/nearby", &api.editor, "").await.status, 204);
    happen(&api, 1);
    editor.expect("nearby").await;
    editor.expect("presence-event").await;
    viewer.expect("presence-event").await;
}

#[tokio::test]
async fn streams_end_with_the_gateway_and_are_so_many_and_no_more() {
    let api = Api::new().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Reader::open(&api, &api.viewer, None).await);
    }
    let refused = api.call("GET", "/api/v1/events/stream", &api.viewer, "").await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (503, "busy"));
    drop(open.pop());
    let mut last = Reader::open(&api, &api.viewer, None).await;
    api.shutdown.send(true).unwrap();
    while last.next().await.is_some() {}
}
