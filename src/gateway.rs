//! The event loop: the clock, channels, shutdown.
//!
//! Observations are handled at the time they were received, not at the time the loop gets round to them; the clock moves
//! the engine on only when nothing is waiting. So a loop that falls behind is late, but never wrong: it does not take a
//! device for silent whose sighting is still in the queue.
//!
//! Everything is in steady time ([`crate::clock`]). What an input changed goes to the store as one batch; its events are
//! published, and the report that led to them acknowledged, when that is committed.

mod board;
pub mod control;
pub(crate) mod facts;
pub(crate) mod keeper;
pub mod live;
mod open;
mod outlet;
pub mod report;
pub mod service;
mod states;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::clock::{self, Clock};
use crate::config::{GatewayConfig, Plans};
use crate::engine::{Engine, Input, Memory, Prepared, ReceiverState};
use crate::http::{self, Delivery, ServeError, Services};
use crate::model::{ReceiverId, Timestamp};
use crate::mqtt::wire::WireError;
use crate::mqtt::{self, Intake, SettingsError};
use crate::record::{self, Recorder};
use crate::registrar::copy::{Copied, Copier, Waker};
use crate::registrar::{self, EditError, Reconfigure, Registrar, View, load, offline};
use crate::registry::Registry;
use crate::source::live::{self as feeds, Feed};
use crate::source::{Observation, Sink, ble};
use crate::store::{Row, Store, StoreError};
use board::Board;
use facts::{Facts, Heard};
use keeper::Then;
use live::Live;
pub(crate) use open::store_options;
use open::{Kept, open};
pub use outlet::Outlet;
use report::OutboxReport;
use service::Watchdog;
use status::{DriftLog, ReceiverNow, record_counters, status};

/// Observations that may wait for the loop. At 1,000 sightings a second that is four seconds.
const QUEUE: usize = 4_096;
/// How long an orderly stop may take to publish what is left.
const DRAIN: Duration = Duration::from_secs(3);
/// How long an orderly stop may take to write down what is left.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// How long an orderly stop may take to answer those who have asked.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// How long an orderly stop may take to copy the registry once more.
const LAST_COPY: Duration = Duration::from_secs(5);
/// How long an orderly stop may take to write down the last sightings.
const LAST_RECORDS: Duration = Duration::from_secs(2);
/// How often the wall clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the system is asked whether its clock is set, until it is.
const ASK_CLOCK: Duration = Duration::from_secs(10);

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The broker's settings are unusable.
    #[error(transparent)]
    Mqtt(#[from] SettingsError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] load::LoadError),
    /// It cannot be changed.
    #[error(transparent)]
    Registrar(#[from] EditError),
    /// The API cannot be served.
    #[error(transparent)]
    Http(#[from] ServeError),
    /// It cannot be found out whose the data directory is.
    #[error(transparent)]
    Offline(#[from] offline::OfflineError),
    /// The first status cannot be said.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The system gives no thread.
    #[error("the sightings cannot be read: {0}")]
    Feed(std::io::Error),
    /// The system gives no thread.
    #[error("the registry cannot be copied: {0}")]
    Copy(std::io::Error),
    /// The system gives no thread.
    #[error("the sightings cannot be recorded: {0}")]
    Record(std::io::Error),
}

/// Begins anew, or goes on with what an earlier life remembered and the events that wait since. Its own radios are yet to start.
fn begin(engine: &mut Engine, earlier: Option<(Memory, usize)>, mine: &[ReceiverId], clock: &Clock) {
    if let Some((memory, waits)) = earlier {
        let visits: usize = memory.devices.iter().map(|device| device.presence.visits.len()).sum();
        info!(visits, waits, "goes on where it was at {}", clock.wall(memory.alive_at));
        engine.restore(memory, clock.now());
    } else {
        engine.begin(clock.now());
    }
    for receiver in mine {
        engine.handle(Input::Receiver(receiver.clone(), ReceiverState::Down), clock.now());
    }
}

/// What a gateway begins with whose data directory is new.
#[derive(Debug)]
pub struct First {
    /// The registry.
    pub registry: Registry,
    /// The pictures of its levels.
    pub plans: Plans,
}

/// Changes of the registry that may wait for the loop: the registrar makes one at a time.
const CHANGES: usize = 1;

/// Runs the gateway until `shutdown` says so. `first` is the registry to begin with where the data directory has none yet, and
/// `feed` is where sightings come from beside its own radios.
///
/// # Errors
/// [`GatewayError`] where it cannot begin; once it runs, whatever fails is retried.
#[allow(clippy::too_many_lines)] // One loop, from its beginning to its end.
pub async fn run(
    config: GatewayConfig,
    first: Option<First>,
    feed: Option<Feed>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), GatewayError> {
    let clock = Clock::new();
    let Kept {
        mut context,
        began,
        is_new,
        memory,
        waits,
        mut keeper,
        mut outlet,
        inbound,
        mut reports,
        mut recorder,
        control,
        live,
        mut questions,
        view,
    } = open(&config, first, &clock)?;
    let registry = Arc::clone(&view.registry);
    let mine: Vec<ReceiverId> = config.adapters.iter().map(|adapter| adapter.receiver.clone()).collect();
    let (sink, mut observations) = Sink::new(&mine, QUEUE, clock.clone());
    let radio = tokio::spawn(ble::run(config.adapters.clone(), sink.clone(), shutdown.clone()));
    if let Some(feed) = feed {
        feeds::start(feed, sink.clone()).map_err(GatewayError::Feed)?;
    }
    let asking = tokio::spawn(ask_about_the_clock(clock.clone()));
    let mut receivers: BTreeMap<ReceiverId, ReceiverNow> = mine
        .iter()
        .map(|id| (id.clone(), ReceiverNow { state: ReceiverState::Down, detail: Some("starting".to_owned()) }))
        .collect();
    let mut engine = Engine::new(Arc::clone(&registry), &context.epoch);
    engine.set_wall_offset(clock.offset_ms());
    for (trigger, why) in engine.trigger_faults() {
        warn!(%trigger, "the rule cannot be used, and never fires: {why}");
    }
    engine.restore_beacons(keeper::beacons(keeper.store()), clock.now());
    begin(&mut engine, (!is_new).then_some((memory, waits)), &mine, &clock);
    let (changes, mut changed_registries) = mpsc::channel(CHANGES);
    let (copier, waker) =
        Copier::start(&config.data_dir, Arc::new(keeper.store().clone())).map_err(GatewayError::Copy)?;
    // The first registry is copied, too.
    waker.wake();
    let registrar = registrar(view, &engine, changes, (keeper.store(), waker), &live, &clock)?;
    let facts = Facts::new(registrar.clone(), live.clone(), keeper.store().clone());
    let board = Board::new();
    let mut services = services(registrar, &live, &context.epoch, keeper.store(), outlet.publisher().intake(), &board);
    if config.record.days > 0 {
        services = services.recorded(config.data_dir.join(record::DIRECTORY));
    }
    let bound = http::bind(&config.http, Some(&config.data_dir)).await?;
    if let Some(url) = bound.url() {
        info!("the web UI is on {url}/; `beaconfence token link` gives a link that signs in");
    }
    let (http, stopped) = (config.http.clone(), shutdown.clone());
    let serving = tokio::spawn(async move { http::serve_on(bound, services, &http, stopped).await });
    put_all(&mut engine, &mut outlet);
    outlet.nobody_else(&registry, clock.now());
    keeper.keep(&mut engine, &mut outlet, Vec::new());
    info!(site = %context.site, gateway = %context.gateway, epoch = %context.epoch, "running");
    service::ready();
    let watchdog = Watchdog::new();

    let mut status_due = tokio::time::interval(config.mqtt.status_interval);
    status_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    let recorded = recorder.watch();
    let mut drift_log = DriftLog::default();
    let store = keeper.store().clone();
    let status_now = |receivers: &BTreeMap<ReceiverId, ReceiverNow>, outlet: &Outlet, engine: &Engine| {
        let mut status = status(began, &clock, engine, &sink, receivers, outlet, &inbound, &store);
        status.counters.extend(recorded().iter().flat_map(record_counters));
        status
    };
    loop {
        let deadline = engine.next_deadline();
        let mut changed = false;
        let (mut then, mut rows): (Vec<Then>, Vec<Row>) = (Vec::new(), Vec::new());
        tokio::select! {
            _ = shutdown.changed() => break,
            observation = observations.recv() => {
                // The sink that this function holds keeps the channel open.
                let Some(observation) = observation else { break };
                changed |= take(&mut engine, &recorder, &live, &mut receivers, observation);
                put_all(&mut engine, &mut outlet);
                changed |= catch_up(&mut engine, &recorder, &live, &mut receivers, &mut outlet, &mut observations);
            }
            Some(change) = changed_registries.recv() => {
                changed |= catch_up(&mut engine, &recorder, &live, &mut receivers, &mut outlet, &mut observations);
                put_all(&mut engine, &mut outlet);
                let Reconfigure { prepared, rows, done } = change;
                reconfigure(&mut engine, &mut outlet, prepared, &receivers, clock.now());
                context.frame = *engine.registry().frame();
                recorder.reconfigure(engine.registry());
                keeper.keep_with(&mut engine, &mut outlet, rows, vec![done]);
            }
            Some(question) = questions.recv() => {
                changed |= catch_up(&mut engine, &recorder, &live, &mut receivers, &mut outlet, &mut observations);
                then.extend(live::answer(&mut engine, question, clock.now(), |at| clock.wall(at)));
                put_all(&mut engine, &mut outlet);
            }
            Some(received) = reports.recv() => {
                changed |= catch_up(&mut engine, &recorder, &live, &mut receivers, &mut outlet, &mut observations);
                let heard = hear(&mut engine, &recorder, &facts, received, clock.now());
                then.extend(heard.then);
                rows.extend(heard.rows);
                put_all(&mut engine, &mut outlet);
            }
            () = until(&clock, deadline) => {
                changed |= catch_up(&mut engine, &recorder, &live, &mut receivers, &mut outlet, &mut observations);
                engine.advance(clock.now());
                put_all(&mut engine, &mut outlet);
            }
            _ = tick.tick() => {
                if let Some(by) = clock.look() {
                    warn!("the clock was set {}: stays and holds go on as if it was not", jump_in_words(by));
                    engine.set_wall_offset(clock.offset_ms());
                    keeper.jumped(&engine);
                }
                engine.set_wall_offset(clock.offset_ms());
                keeper.tick(&mut engine);
                tell_of_filters(&mut engine, &sink);
                live.tick(clock.wall(clock.now()), engine.registry());
                let fails = keeper.store().status().failing.is_some();
                changed |= std::mem::replace(&mut failing, fails) != fails;
                let status = status_now(&receivers, &outlet, &engine);
                board.put(status, &engine, &sink, &live, &clock);
                watchdog.alive();
            }
            _ = status_due.tick() => {
                changed = true;
                drift_log.look(&engine, clock.now());
            }
        }
        keeper.keep_with(&mut engine, &mut outlet, rows, then);
        changed |= outlet.take_health_changed();
        if changed {
            let status = status_now(&receivers, &outlet, &engine);
            let message = status.message(&context);
            message.iter().for_each(|message| live.status(&message.payload));
            outlet.state(message);
        }
    }
    info!("stopping");
    service::stopping();
    drop(control);
    // Told by the same signal: whoever waits for a change to be made is told that it was not.
    drop((changed_registries, questions));
    let _ = tokio::time::timeout(LAST_ANSWERS, serving).await;
    let copied = tokio::task::spawn_blocking(move || copier.close());
    let _ = tokio::time::timeout(LAST_COPY, copied).await;
    asking.abort();
    drop(inbound);
    keeper.finish(&mut engine, &mut outlet, LAST_COMMIT).await;
    outlet.close(began, clock.wall(clock.now()), DRAIN).await;
    let uncommitted = keeper.close(LAST_COMMIT);
    if uncommitted > 0 {
        warn!(uncommitted, "stopped with events that the disk has not taken: they are lost");
    }
    recorder.close(LAST_RECORDS);
    // The radio was told by the same signal; it has its own time limits.
    let _ = tokio::time::timeout(Duration::from_secs(2), radio).await;
    info!("stopped");
    Ok(())
}

/// Who changes the registry.
fn registrar(
    view: View,
    engine: &Engine,
    changes: mpsc::Sender<Reconfigure>,
    (store, waker): (&Store, Waker),
    live: &Live,
    clock: &Clock,
) -> Result<Registrar, GatewayError> {
    let (live, clock, changed) = (live.clone(), clock.clone(), waker.clone());
    Ok(Registrar::new(registrar::Parts {
        view,
        keep: Arc::new(Copied::new(store.clone(), waker)),
        engine: Some((engine.tables(), changes)),
        now: Box::new(move || clock.wall(clock.now())),
        told: Box::new(move |change| {
            live.changed(change);
            changed.wake();
        }),
    })?)
}

/// What the API stands on.
fn services(
    registrar: Registrar,
    live: &Live,
    epoch: &str,
    store: &Store,
    publisher: Intake,
    board: &Board,
) -> Services {
    let (store, epoch, wall) = (store.clone(), epoch.to_owned(), registrar.clone());
    let report = Arc::new(move || {
        let report = OutboxReport::of_store(epoch.clone(), publisher.next_sequence(), &store.status());
        report.with_publisher(&publisher.status())
    });
    let (board, measured) = (board.clone(), Arc::clone(&report));
    let services = Services::new(registrar, live.clone(), move || {
        let report = report();
        let oldest = report.oldest_s.map(|age| wall.now() - Duration::from_secs_f64(age.max(0.0)));
        Delivery {
            connected: report.broker.is_some(),
            broker: report.broker,
            waiting: report.depth,
            parked: report.parked,
            oldest,
            failing: report.store_failing.or(report.last_error),
        }
    });
    services.measured(move || board.text(&measured()))
}

/// Goes on with another registry.
fn reconfigure(
    engine: &mut Engine,
    outlet: &mut Outlet,
    prepared: Prepared,
    receivers: &BTreeMap<ReceiverId, ReceiverNow>,
    now: Timestamp,
) {
    let before = Arc::clone(engine.registry());
    if !engine.reconfigure(prepared, now) {
        // The registrar prepares each from the one before: this cannot be, and must not end anything.
        warn!("a change of the registry came out of order; restart the gateway to take it in");
        return;
    }
    let registry = Arc::clone(engine.registry());
    outlet.set_frame(*registry.frame());
    put_all(engine, outlet);
    Engine::zones_gone(&before, &registry).iter().for_each(|zone| outlet.forget_zone(zone));
    // A receiver may be registered after its radio was found to be down.
    for (receiver, now_known) in receivers.iter().filter(|(id, _)| before.receiver(id).is_none()) {
        engine.handle(Input::Receiver(receiver.clone(), now_known.state), now);
        put_all(engine, outlet);
    }
}

/// Asks the system whether its clock is set, until it is.
async fn ask_about_the_clock(clock: Clock) {
    let mut told = false;
    while let Some(synchronised) = clock::synchronised().await {
        clock.set_synchronised(synchronised);
        if synchronised {
            if told {
                info!("the system's clock is set");
            }
            return;
        }
        if !std::mem::replace(&mut told, true) {
            warn!("the system's clock is not set yet: events are marked as suspect until it is");
        }
        tokio::time::sleep(ASK_CLOCK).await;
    }
}

/// `forward by 3h`.
fn jump_in_words(by_ms: i64) -> String {
    let amount = crate::model::format_duration(Duration::from_secs(by_ms.unsigned_abs() / 1_000));
    format!("{} by {amount}", if by_ms > 0 { "forward" } else { "back" })
}

/// Handles what waits, before the clock moves on: what was heard before a deadline comes before it. At most a queueful, so
/// that a flood cannot keep the loop from everything else. Whether a receiver's state changed.
fn catch_up(
    engine: &mut Engine,
    recorder: &Recorder,
    live: &Live,
    receivers: &mut BTreeMap<ReceiverId, ReceiverNow>,
    outlet: &mut Outlet,
    observations: &mut mpsc::Receiver<Observation>,
) -> bool {
    let mut changed = false;
    for _ in 0..QUEUE {
        let Ok(observation) = observations.try_recv() else { break };
        changed |= take(engine, recorder, live, receivers, observation);
        put_all(engine, outlet);
    }
    changed
}

/// Tells the engine which of its own radios hear every packet.
fn tell_of_filters(engine: &mut Engine, sink: &Sink) {
    for (receiver, counters) in sink.counters().iter() {
        engine.set_unfiltered(receiver, counters.unfiltered.load(Ordering::Relaxed));
    }
}

/// Hands what came over MQTT to the engine. Gives what is to be done when that is committed.
fn hear(engine: &mut Engine, recorder: &Recorder, facts: &Facts, received: mqtt::Report, now: Timestamp) -> Heard {
    let mqtt::Report { said, token } = received;
    match said {
        mqtt::Said::Report(report) => recorder.handle(engine, Input::PositionReport(report), now),
        mqtt::Said::Facts { device, facts: said, is_old } => {
            return facts.hear(engine, (device, said, is_old), token, now);
        }
    }
    Heard { then: Some(Box::new(move || token.acknowledge())), rows: Vec::new() }
}

/// Hands one observation to the engine; whether a receiver's state changed.
fn take(
    engine: &mut Engine,
    recorder: &Recorder,
    live: &Live,
    receivers: &mut BTreeMap<ReceiverId, ReceiverNow>,
    observation: Observation,
) -> bool {
    match observation {
        Observation::Input(at, input) => {
            if let Input::Advertisement(heard) = &input {
                live.heard(heard, || live.wall(at));
            }
            recorder.handle(engine, input, at);
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

/// Waits until an instant of steady time; for ever where there is none.
async fn until(clock: &Clock, deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(clock.now())).await,
        None => std::future::pending().await,
    }
}
