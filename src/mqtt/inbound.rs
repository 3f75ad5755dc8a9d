//! What comes in over MQTT: position reports, facts of devices from the back end, and requests for a replay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::connect::Settings;
use super::publisher::Replays;
use super::subscription::{AckToken, Delivered, Keep, Notice, Subscription};
use super::wire::{DeviceFacts, ReportError, device_facts, position_report, replay_request, replay_topic};
use crate::config::MqttVersion;
use crate::model::{DeviceId, GatewayId, SiteId};
use crate::position::PositionReport;
use crate::throttle::Throttle;

/// Reports that wait for the gateway's loop. More than a broker hands out unacknowledged, where it keeps to the window that
/// it is given (MQTT 5); others must be shed beyond, and a device's next report replaces what was shed.
const CAPACITY: usize = 1024;

/// What was received.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A device says where it is.
    Report(PositionReport),
    /// The back end says something of a device.
    Facts {
        /// Of whom.
        device: DeviceId,
        /// What.
        facts: DeviceFacts,
        /// Whether it was said before, and kept by the broker.
        is_old: bool,
    },
}

/// What was received, and the token to acknowledge it with after its commit.
#[derive(Debug)]
pub struct Report {
    /// What is said.
    pub said: Said,
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
    /// Of these, those dropped because the gateway was behind: sent at `QoS` 0, or by an MQTT 3.1.1 broker, which knows no
    /// bound.
    pub shed: u64,
    /// Facts of devices read since the start.
    pub facts: u64,
    /// Messages that are neither, by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests for a replay that were queued.
    pub replays: u64,
    /// Requests for a replay that were refused.
    pub replays_refused: u64,
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
    /// Subscribes to `{site}/positions/+` and the gateway's replay topic, on a connection of its own under the client id with
    /// `-in`. Hands on the reports, and gives the requests to `replays`. What is wrong is acknowledged, counted by
    /// kind, logged once in a while, and otherwise without effect.
    ///
    /// A report that was not acknowledged comes again, also to the next process. MQTT 5 brokers hand out a window of reports
    /// and wait; so what the gateway's loop has not taken stays with the broker.
    pub fn start(
        settings: Settings,
        site: &SiteId,
        gateway: &GatewayId,
        replays: Option<Replays>,
    ) -> (Self, mpsc::Receiver<Report>) {
        let replay = replay_topic(site, gateway);
        let desk = Desk {
            site: site.clone(),
            positions: settings.topic(&format!("{site}/positions/")),
            devices: settings.topic(&format!("{site}/devices/")),
            replay: settings.topic(&replay),
            replays,
            bounded: settings.version == MqttVersion::V5,
        };
        let filters = [format!("{site}/positions/+"), format!("{site}/devices/+/attributes"), replay];
        let (subscription, notices) =
            Subscription::start(settings.with_suffix("-in"), &filters.each_ref().map(String::as_str), Keep::Messages);
        let (reports, receiver) = mpsc::channel(CAPACITY);
        let status = Arc::new(Mutex::new(InboundStatus::default()));
        let task = tokio::spawn(run(desk, subscription, notices, reports, Arc::clone(&status)));
        (Self { status, task }, receiver)
    }

    /// How it fares.
    pub fn status(&self) -> InboundStatus {
        lock(&self.status).clone()
    }
}

fn count(status: &Mutex<InboundStatus>, said: &Said) {
    let mut counts = lock(status);
    match said {
        Said::Report(_) => counts.reports += 1,
        Said::Facts { .. } => counts.facts += 1,
    }
}

fn lock(status: &Mutex<InboundStatus>) -> MutexGuard<'_, InboundStatus> {
    // Poisoned only by a panic while it was held, of which there is none below; counters stay usable.
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts what comes.
struct Desk {
    site: SiteId,
    /// The full topics; that of positions up to the device.
    positions: String,
    devices: String,
    replay: String,
    replays: Option<Replays>,
    /// Whether the broker hands out no more than the window.
    bounded: bool,
}

/// What a message is; or the kind of what is wrong, and the words for it.
type Sorted<T> = Result<T, (&'static str, String)>;

impl Desk {
    fn said(&self, topic: &str, payload: &[u8], is_old: bool) -> Sorted<Said> {
        let of = topic.strip_prefix(&self.devices).and_then(|rest| rest.strip_suffix("/attributes"));
        let Some(id) = of else { return self.report(topic, payload).map(Said::Report) };
        let device = DeviceId::new(id).map_err(|error| ("device_id", error.to_string()))?;
        let facts = device_facts(payload).map_err(|error| (error.kind(), error.to_string()))?;
        Ok(Said::Facts { device, facts, is_old })
    }

    fn report(&self, topic: &str, payload: &[u8]) -> Sorted<PositionReport> {
        // A session that the broker kept may hold subscriptions of an earlier configuration.
        let id = topic.strip_prefix(&self.positions).ok_or_else(|| ("topic", "not a topic of this site".to_owned()))?;
        let device = DeviceId::new(id).map_err(|error| ("device_id", error.to_string()))?;
        position_report(&device, payload).map_err(|error: ReportError| (error.kind(), error.to_string()))
    }

    fn replay(&self, retained: bool, payload: &[u8]) -> Result<(), String> {
        if retained {
            return Err("it is retained, and would be answered on every connection".to_owned());
        }
        let request = replay_request(&self.site, payload).map_err(|error| error.to_string())?;
        let replays = self.replays.as_ref().ok_or_else(|| "this gateway stores nothing".to_owned())?;
        replays.ask(request).map_err(|error| error.to_string())
    }
}

async fn run(
    desk: Desk,
    subscription: Subscription,
    mut notices: mpsc::Receiver<Notice>,
    reports: mpsc::Sender<Report>,
    status: Arc<Mutex<InboundStatus>>,
) {
    let (mut refusals, mut sheds, mut losses) = (Throttle::default(), Throttle::default(), Throttle::default());
    let mut replay_refusals = Throttle::default();
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Subscribed(broker) => {
                let mut status = lock(&status);
                status.connected = true;
                status.last_error = None;
                info!(%broker, "listens for position reports and requests");
            }
            Notice::Lost(broker, failure) => {
                if let Some(held_back) = losses.pass(Instant::now()) {
                    warn!(%broker, held_back, "no connection for position reports: {failure}");
                }
                let mut status = lock(&status);
                status.connected = false;
                status.last_error = Some(format!("{broker}: {failure}"));
            }
            Notice::Message(Delivered { topic, payload, token, retained }) if topic == desk.replay => {
                let asked = desk.replay(retained, &payload);
                // Queued or refused: it need not come again.
                token.acknowledge();
                let mut status = lock(&status);
                match asked {
                    Ok(()) => status.replays += 1,
                    Err(error) => {
                        status.replays_refused += 1;
                        if let Some(held_back) = replay_refusals.pass(Instant::now()) {
                            warn!(held_back, "a request for a replay is refused: {error}");
                        }
                    }
                }
            }
            Notice::Message(Delivered { topic, payload, token, retained }) => {
                match desk.said(&topic, &payload, retained) {
                    Ok(said) => {
                        count(&status, &said);
                        // A report is followed by the next one, facts are not.
                        let may_be_shed = matches!(said, Said::Report(_));
                        let full = match reports.try_send(Report { said, token }) {
                            Ok(()) => continue,
                            Err(mpsc::error::TrySendError::Full(report)) => report,
                            Err(mpsc::error::TrySendError::Closed(_)) => break,
                        };
                        if !may_be_shed || (desk.bounded && full.token.is_awaited()) {
                            // Reports without acknowledgement have filled the channel.
                            if reports.send(full).await.is_err() {
                                break;
                            }
                            continue;
                        }
                        full.token.acknowledge();
                        lock(&status).shed += 1;
                        if let Some(held_back) = sheds.pass(Instant::now()) {
                            warn!(held_back, "behind: position reports are dropped");
                        }
                    }
                    Err((kind, error)) => {
                        token.acknowledge();
                        *lock(&status).refused.entry(kind).or_default() += 1;
                        if let Some(held_back) = refusals.pass(Instant::now()) {
                            warn!(held_back, topic, "neither a position report nor facts of a device: {error}");
                        }
                    }
                }
            }
        }
    }
    drop(subscription);
}
