//! Position reports that come over MQTT.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::backoff::Throttle;
use super::connect::Settings;
use super::subscription::{AckToken, Delivered, Keep, Notice, Subscription};
use super::wire::{ReportError, position_report};
use crate::model::{DeviceId, SiteId};
use crate::position::PositionReport;

/// Reports that wait for the gateway's loop. Beyond, reports are shed: a device's next one replaces them anyway.
const CAPACITY: usize = 1024;

/// A report, and the token to acknowledge it with after its commit.
#[derive(Debug)]
pub struct Report {
    /// What the device says.
    pub report: PositionReport,
    /// To be acknowledged when it is safe.
    pub token: AckToken,
}

/// How the inbound side fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct InboundStatus {
    /// Whether the subscription stands.
    pub connected: bool,
    /// Reports read since the start.
    pub reports: u64,
    /// Of these, those dropped because the gateway was behind.
    pub shed: u64,
    /// Messages that are no reports, by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// Why there is no connection, or why the last one ended, in words.
    pub last_error: Option<String>,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Inbound {
    status: Arc<Mutex<InboundStatus>>,
    task: JoinHandle<()>,
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbound {
    /// Subscribes to `{site}/positions/+`, on a connection of its own under the client id with `-in`, and hands on what it
    /// reads. What is wrong is acknowledged, counted by kind, logged once in a while, and otherwise without effect.
    pub fn start(settings: Settings, site: &SiteId) -> (Self, mpsc::Receiver<Report>) {
        let (subscription, notices) =
            Subscription::start(settings.with_suffix("-in"), &format!("{site}/positions/+"), Keep::Messages);
        let (reports, receiver) = mpsc::channel(CAPACITY);
        let status = Arc::new(Mutex::new(InboundStatus::default()));
        let task = tokio::spawn(run(subscription, notices, reports, Arc::clone(&status)));
        (Self { status, task }, receiver)
    }

    /// How it fares.
    pub fn status(&self) -> InboundStatus {
        lock(&self.status).clone()
    }
}

fn lock(status: &Mutex<InboundStatus>) -> MutexGuard<'_, InboundStatus> {
    // Poisoned only by a panic while it was held, of which there is none below; counters stay usable.
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    subscription: Subscription,
    mut notices: mpsc::Receiver<Notice>,
    reports: mpsc::Sender<Report>,
    status: Arc<Mutex<InboundStatus>>,
) {
    let (mut refusals, mut sheds, mut losses) = (Throttle::default(), Throttle::default(), Throttle::default());
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Subscribed(broker) => {
                let mut status = lock(&status);
                status.connected = true;
                status.last_error = None;
                info!(%broker, "listens for position reports");
            }
            Notice::Lost(broker, failure) => {
                if let Some(held_back) = losses.pass(Instant::now()) {
                    warn!(%broker, held_back, "no connection for position reports: {failure}");
                }
                let mut status = lock(&status);
                status.connected = false;
                status.last_error = Some(format!("{broker}: {failure}"));
            }
            Notice::Message(Delivered { topic, payload, token, .. }) => match read(&topic, &payload) {
                Ok(report) => {
                    lock(&status).reports += 1;
                    match reports.try_send(Report { report, token }) {
                        Ok(()) => {}
                        Err(mpsc::error::TrySendError::Full(report)) => {
                            report.token.acknowledge();
                            lock(&status).shed += 1;
                            if let Some(held_back) = sheds.pass(Instant::now()) {
                                warn!(held_back, "behind: position reports are dropped");
                            }
                        }
                        Err(mpsc::error::TrySendError::Closed(_)) => break,
                    }
                }
                Err((kind, error)) => {
                    token.acknowledge();
                    *lock(&status).refused.entry(kind).or_default() += 1;
                    if let Some(held_back) = refusals.pass(Instant::now()) {
                        warn!(held_back, topic, "no position report: {error}");
                    }
                }
            },
        }
    }
    drop(subscription);
}

/// The report, or the kind of what is wrong and the words for it.
fn read(topic: &str, payload: &[u8]) -> Result<PositionReport, (&'static str, String)> {
    let id = topic.rsplit('/').next().unwrap_or_default();
    let device = DeviceId::new(id).map_err(|error| ("device_id", error.to_string()))?;
    position_report(&device, payload).map_err(|error: ReportError| (error.kind(), error.to_string()))
}
