//! Counters, as Prometheus reads them, on a loopback port.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// Name, type, whether it has labels, meaning.
const ALL: [(&str, &str, bool, &str); 7] = [
    ("dispatcher_received_total", "counter", false, "Messages from the broker, repetitions among them."),
    ("dispatcher_delivered_total", "counter", true, "Messages delivered."),
    (
        "dispatcher_skipped_total",
        "counter",
        true,
        "Triggers that were acknowledged and not delivered: duplicate, duplicate_key, expired, invalid, unroutable, rejected.",
    ),
    ("dispatcher_failed_attempts_total", "counter", true, "Attempts to deliver that did not work."),
    (
        "dispatcher_delay_seconds_total",
        "counter",
        false,
        "Seconds from the gateway's decision to the delivery, over all that were delivered.",
    ),
    ("dispatcher_waiting", "gauge", false, "Messages in hand that are not acknowledged yet."),
    ("dispatcher_connected", "gauge", false, "Whether the broker is connected."),
];

#[derive(Default)]
pub struct Metrics(Mutex<BTreeMap<(String, String), f64>>);

impl Metrics {
    pub fn add(&self, name: &str, labels: &[(&str, &str)]) {
        self.add_amount(name, labels, 1.0);
    }

    pub fn add_amount(&self, name: &str, labels: &[(&str, &str)], amount: f64) {
        let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *values.entry((name.to_owned(), labels.join(","))).or_default() += amount;
    }

    pub fn set(&self, name: &str, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((name.to_owned(), String::new()), value);
    }

    fn text(&self) -> String {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, kind, labelled, means) in ALL {
            let _ = writeln!(text, "# HELP {name} {means}\n# TYPE {name} {kind}");
            if !labelled {
                let value = values.get(&(name.to_owned(), String::new())).copied().unwrap_or_default();
                let _ = writeln!(text, "{name} {value}");
                continue;
            }
            for ((_, labels), value) in values.iter().filter(|((of, _), _)| of == name) {
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        }
        text
    }

    /// The port that it listens on; 0 takes a free one.
    pub async fn serve(self: Arc<Self>, port: u16) -> std::io::Result<u16> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let answer = move || {
            let text = self.text();
            async { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
        };
        let routes = Router::new().route("/metrics", get(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(port)
    }
}
