//! An API on the example store, with a registry in memory.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use beaconfence::config::load_site;
use beaconfence::gateway::live::{Live, Question};
use beaconfence::http::{Delivery, Peer, Services, router};
use beaconfence::model::Timestamp;
use beaconfence::registrar::{Author, Memory, Parts, Registrar, Role, View};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

/// When everything happens: 2026-01-01T10:00:00Z.
pub const NOW: i64 = 1_767_261_600_000;

pub struct Api {
    pub router: Router,
    pub services: Services,
    pub viewer: String,
    pub editor: String,
    pub admin: String,
    pub shutdown: watch::Sender<bool>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} with no JSON ({error}): {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The name in the problem's type.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.status);
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        let kind = body["type"].as_str().unwrap();
        kind.strip_prefix("urn:beaconfence:problem:").unwrap().to_owned()
    }
}

/// A browser, or a program on another machine.
pub fn elsewhere() -> Peer {
    Peer::Tcp { remote: "10.0.0.9:50000".parse().unwrap(), local: "10.0.0.1:8090".parse().unwrap(), tls: true }
}

pub fn services() -> (Services, mpsc::Receiver<Question>) {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/store");
    // Tests make rules of their own.
    let registry = load_site(&store).unwrap().0.with_rules(Arc::default()).unwrap();
    let (live, questions) = Live::new("01TESTEPOCH0");
    let told = live.clone();
    let parts = Parts {
        view: View { revision: 1, registry: Arc::new(registry) },
        keep: Arc::new(Memory::default()),
        engine: None,
        now: Box::new(|| Timestamp::from_millis(NOW)),
        told: Box::new(move |change| told.changed(change)),
    };
    (Services::new(Registrar::new(parts).unwrap(), live, Delivery::default), questions)
}

impl Api {
    pub async fn new() -> Self {
        Self::of(services().0).await
    }

    pub async fn of(services: Services) -> Self {
        let author = Author("test".to_owned());
        let mut made = Vec::new();
        for role in Role::ALL {
            let tokens = services.registrar.tokens();
            made.push(tokens.add(role.as_str(), role, &author, Timestamp::from_millis(NOW)).await.unwrap());
        }
        let [viewer, editor, admin] = made.try_into().unwrap();
        let (shutdown, stop) = watch::channel(false);
        let names = vec!["gateway.example".to_owned()];
        let router = router(services.clone(), names, Some("https://10.0.0.1:8090".to_owned()), stop);
        Self { router, services, viewer, editor, admin, shutdown }
    }

    pub async fn send(&self, peer: Peer, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with these headers, besides `Host`.
    pub async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(elsewhere(), request(method, path, headers, body)).await
    }

    /// A request with a token, and JSON where there is a body.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        self.call_with(method, path, token, &[], body).await
    }

    pub async fn call_with(&self, method: &str, path: &str, token: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if !body.is_empty() && !more.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        headers.extend_from_slice(more);
        self.with(method, path, &headers, body).await
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "gateway.example");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}
