//! The event loop: the clock, channels, shutdown.
//!
//! Observations are handled at the time they were received, not at the time the loop gets round to them; the clock moves
//! the engine on only when nothing is waiting. So a loop that falls behind is late, but never wrong: it does not take a
//! device for silent whose sighting is still in the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::GatewayConfig;
use crate::engine::{DevicePresence, Engine, Input, Output, ReceiverState};
use crate::model::{DeviceId, Position, ReceiverId, Timestamp};
use crate::mqtt::wire::{self, Context, Message, ReceiverStatus, Status, WireError};
use crate::mqtt::{Inbound, Limits, Publisher, Settings, SettingsError, client_id};
use crate::registry::Registry;
use crate::source::{Observation, Sink, ble};

/// Observations that may wait for the loop. At 1,000 sightings a second that is four seconds.
const QUEUE: usize = 4_096;
/// Positions in the presence topic are published at most this often for each device.
const POSITION_INTERVAL: Duration = Duration::from_secs(10);
/// Presence of an earlier epoch is cleared for at most so many devices: each is a message on every connection.
const MOST_CLEARED: usize = 10_000;
/// How long an orderly stop may take to publish what is left.
const DRAIN: Duration = Duration::from_secs(3);

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The broker's settings are unusable.
    #[error(transparent)]
    Mqtt(#[from] SettingsError),
    /// The first status cannot be said.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// From the engine's outputs to the broker.
#[derive(Debug)]
pub struct Outlet {
    context: Context,
    publisher: Publisher,
    publish_positions: bool,
    presence: BTreeMap<DeviceId, Known>,
    unsaid: u64,
}

/// What was last said of a device.
#[derive(Debug)]
struct Known {
    presence: DevicePresence,
    position: Option<Position>,
    position_said: Option<Timestamp>,
}

impl Outlet {
    /// An outlet that has said nothing.
    pub fn new(context: Context, publisher: Publisher, publish_positions: bool) -> Self {
        Self { context, publisher, publish_positions, presence: BTreeMap::new(), unsaid: 0 }
    }

    /// Says that nobody is anywhere: the state before the first event. What brokers still hold of an earlier epoch is
    /// cleared, so that nobody is said to be where they were when the gateway stopped.
    pub fn nobody(&mut self, registry: &Registry, at: Timestamp) {
        for device in registry.devices().iter().take(MOST_CLEARED) {
            self.publisher.clear_state(&wire::presence_topic(&self.context.site, &device.id));
        }
        for zone in registry.zones() {
            self.state(wire::occupancy(&self.context, &zone.id, 0, at));
        }
    }

    /// Hands an output to the publisher. `at` is the engine's time.
    pub fn put(&mut self, output: Output, at: Timestamp) {
        match output {
            Output::Event(event) => match wire::event(&self.context, &event) {
                Ok(message) => self.publisher.event(&event.device.id, message),
                Err(error) => self.cannot_say(&error),
            },
            Output::Occupancy(zone, inside) => self.state(wire::occupancy(&self.context, &zone, inside, at)),
            Output::Presence(presence) => {
                let known = self.presence.remove(&presence.device.id);
                let position = known.as_ref().and_then(|known| known.position);
                let position_said = known.and_then(|known| known.position_said);
                self.say_presence(Known { presence, position, position_said }, at);
            }
            Output::Position(device, position) => {
                if self.publish_positions
                    && let Some(mut known) = self.presence.remove(&device.id)
                {
                    known.position = Some(position);
                    let due = known.position_said.is_none_or(|said| position.time.since(said) >= POSITION_INTERVAL);
                    if due && !known.presence.zones.is_empty() {
                        self.say_presence(known, at);
                    } else {
                        self.presence.insert(device.id.clone(), known);
                    }
                }
            }
        }
    }

    /// The publisher.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Sets a state.
    pub fn state(&mut self, message: Result<Message, WireError>) {
        match message {
            Ok(message) => self.publisher.state(message),
            Err(error) => self.cannot_say(&error),
        }
    }

    /// Publishes what is left for at most `within`, says that the gateway is gone, and disconnects.
    pub async fn close(self, since: Timestamp, at: Timestamp, within: Duration) {
        match (Status { at, ..Status::offline(since) }).message(&self.context) {
            Ok(last_word) => {
                let left = self.publisher.shutdown(last_word, within).await.queued;
                if left > 0 {
                    warn!(left, "stopped with events that no broker has taken: they are lost");
                }
            }
            Err(error) => warn!(%error, "stopped without a word to the broker"),
        }
    }

    fn say_presence(&mut self, mut known: Known, at: Timestamp) {
        let position = known.position.filter(|_| self.publish_positions && !known.presence.zones.is_empty());
        if position.is_some() {
            known.position_said = Some(at);
        }
        self.state(wire::presence(&self.context, &known.presence, position.as_ref()));
        self.presence.insert(known.presence.device.id.clone(), known);
    }

    fn cannot_say(&mut self, error: &WireError) {
        self.unsaid += 1;
        warn!(%error, "not published");
    }
}

/// What is known of a receiver.
struct ReceiverNow {
    state: ReceiverState,
    detail: Option<String>,
}

/// Runs the gateway until `shutdown` says so.
///
/// # Errors
/// [`GatewayError`] where it cannot begin; once it runs, whatever fails is retried.
pub async fn run(
    config: GatewayConfig,
    registry: Registry,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), GatewayError> {
    let registry = Arc::new(registry);
    let started = now();
    let context = Context {
        site: registry.site().id.clone(),
        gateway: config.id.clone(),
        epoch: epoch(),
        frame: *registry.frame(),
    };
    let settings = Settings::new(&config.mqtt, client_id(&context.site, &context.gateway))?;
    let will = Status::offline(started).message(&context)?;
    let publisher = Publisher::start(settings.clone(), will, Limits::default(), None);
    let (inbound, mut reports) = Inbound::start(settings, &context.site, &context.gateway, None);
    let mut outlet = Outlet::new(context.clone(), publisher, config.mqtt.publish_positions);
    outlet.nobody(&registry, started);

    let mine: Vec<ReceiverId> = config.adapters.iter().map(|adapter| adapter.receiver.clone()).collect();
    let (sink, mut observations) = Sink::new(&mine, QUEUE);
    let radio = tokio::spawn(ble::run(config.adapters.clone(), sink.clone(), shutdown.clone()));
    let mut receivers: BTreeMap<ReceiverId, ReceiverNow> = mine
        .iter()
        .map(|id| (id.clone(), ReceiverNow { state: ReceiverState::Down, detail: Some("starting".to_owned()) }))
        .collect();
    let mut engine = Engine::new(Arc::clone(&registry), &context.epoch);
    engine.begin(started);
    for receiver in &mine {
        engine.handle(Input::Receiver(receiver.clone(), ReceiverState::Down), started);
    }
    info!(site = %context.site, gateway = %context.gateway, epoch = %context.epoch, "running");

    let mut status_due = tokio::time::interval(config.mqtt.status_interval);
    status_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let deadline = engine.next_deadline();
        let mut changed = false;
        tokio::select! {
            _ = shutdown.changed() => break,
            observation = observations.recv() => {
                // The sink that this function holds keeps the channel open.
                let Some(observation) = observation else { break };
                changed |= take(&mut engine, &mut receivers, observation);
                put_all(&mut engine, &mut outlet);
                changed |= catch_up(&mut engine, &mut receivers, &mut outlet, &mut observations);
            }
            Some(received) = reports.recv() => {
                changed |= catch_up(&mut engine, &mut receivers, &mut outlet, &mut observations);
                engine.handle(Input::PositionReport(received.report), now());
                put_all(&mut engine, &mut outlet);
                received.token.acknowledge();
            }
            () = until(deadline) => {
                changed |= catch_up(&mut engine, &mut receivers, &mut outlet, &mut observations);
                engine.advance(now());
                put_all(&mut engine, &mut outlet);
            }
            _ = status_due.tick() => changed = true,
        }
        if changed {
            let status = status(started, &engine, &sink, &receivers, &outlet, &inbound);
            outlet.state(status.message(&context));
        }
    }
    info!("stopping");
    drop(inbound);
    outlet.close(started, now(), DRAIN).await;
    // The radio was told by the same signal; it has its own time limits.
    let _ = tokio::time::timeout(Duration::from_secs(2), radio).await;
    info!("stopped");
    Ok(())
}

/// Handles what waits, before the clock moves on: what was heard before a deadline comes before it. At most a queueful, so
/// that a flood cannot keep the loop from everything else. Whether a receiver's state changed.
fn catch_up(
    engine: &mut Engine,
    receivers: &mut BTreeMap<ReceiverId, ReceiverNow>,
    outlet: &mut Outlet,
    observations: &mut mpsc::Receiver<Observation>,
) -> bool {
    let mut changed = false;
    for _ in 0..QUEUE {
        let Ok(observation) = observations.try_recv() else { break };
        changed |= take(engine, receivers, observation);
        put_all(engine, outlet);
    }
    changed
}

/// Hands one observation to the engine; whether a receiver's state changed.
fn take(engine: &mut Engine, receivers: &mut BTreeMap<ReceiverId, ReceiverNow>, observation: Observation) -> bool {
    match observation {
        Observation::Input(at, input) => {
            engine.handle(input, at);
            false
        }
        Observation::Receiver { at, receiver, state, detail } => {
            match state {
                ReceiverState::Up => info!(%receiver, detail = detail.as_deref().unwrap_or(""), "receiver is up"),
                ReceiverState::Down => warn!(%receiver, reason = detail.as_deref().unwrap_or(""), "receiver is down"),
            }
            engine.handle(Input::Receiver(receiver.clone(), state), at);
            receivers.insert(receiver, ReceiverNow { state, detail });
            true
        }
    }
}

fn put_all(engine: &mut Engine, outlet: &mut Outlet) {
    while let Some(output) = engine.poll_output() {
        let at = engine.now();
        outlet.put(output, at);
    }
}

/// Waits until an instant of the wall clock; for ever where there is none.
async fn until(deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(now())).await,
        None => std::future::pending().await,
    }
}

/// The epoch: until presence is kept over restarts, every start is a new one.
fn epoch() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(12).collect()
}

fn status(
    since: Timestamp,
    engine: &Engine,
    sink: &Sink,
    receivers: &BTreeMap<ReceiverId, ReceiverNow>,
    outlet: &Outlet,
    inbound: &Inbound,
) -> Status {
    let mut status = Status { at: now(), ..Status::online(since) };
    let taken = engine.counters();
    for (id, now) in receivers {
        let Some(counters) = sink.counters().get(id) else { continue };
        let sightings = engine.registry().receiver(id).map_or(0, |at| taken.sightings_by_receiver[at.get()]);
        status.receivers.insert(
            id.clone(),
            ReceiverStatus {
                state: match now.state {
                    ReceiverState::Up => "up",
                    ReceiverState::Down => "down",
                },
                reason: now.detail.clone(),
                advertisements: counters.advertisements.load(Ordering::Relaxed),
                sightings,
                shed: counters.shed.load(Ordering::Relaxed),
                lag_ms: counters.lag_ms.load(Ordering::Relaxed),
                recoveries: counters.recoveries.load(Ordering::Relaxed),
                unfiltered: counters.unfiltered.load(Ordering::Relaxed),
            },
        );
    }
    status.counters.extend(outlet.publisher().status().counters().map(|(name, value)| (name.to_owned(), value)));
    let mut count = |name: &str, value: u64| status.counters.insert(name.to_owned(), value);
    count("sightings", taken.sightings);
    count("fixed_beacons", taken.fixed_beacons);
    count("position_reports", taken.reports);
    count("strangers", taken.strangers);
    count("without_consent", taken.without_consent);
    count("refused_ahead", taken.ahead);
    count("refused_behind", taken.behind);
    count("reports_outside", taken.reports_outside);
    count("unknown_levels", taken.unknown_levels);
    count("stale_reports", taken.stale_reports);
    count("unknown_devices", taken.unknown_devices);
    count("unknown_receivers", taken.unknown_receivers);
    let inbound = inbound.status();
    count("reports_shed", inbound.shed);
    count("reports_refused", inbound.refused.values().sum());
    count("unsaid", outlet.unsaid);
    status
}
