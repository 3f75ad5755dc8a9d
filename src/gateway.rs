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
mod outlet;
pub mod report;
pub mod service;
mod states;

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
use crate::model::{GatewayId, ReceiverId, SiteId, Timestamp};
use crate::mqtt::wire::{self, Context, DriftWords, ReceiverStatus, Status, StoreWords, WireError};
use crate::mqtt::{self, Backing, Inbound, Intake, Publisher, Settings, SettingsError, client_id};
use crate::record::{self, RecordStatus, Recorder};
use crate::registrar::copy::{self, Copied, Copier, Waker};
use crate::registrar::{self, EditError, Reconfigure, Registrar, View, load, offline};
use crate::registry::{ReceiverIndex, Registry};
use crate::source::live::{self as feeds, Feed};
use crate::source::{Observation, Sink, ble};
use crate::store::{self, Batch, Opened, Row, Store, StoreError};
use crate::trigger::Outcome;
use board::Board;
use control::Control;
use facts::{Facts, Heard};
use keeper::{Keeper, Then};
use live::{Live, Question};
pub use outlet::Outlet;
use report::OutboxReport;
use service::Watchdog;

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
/// How often the log says of a receiver that it drifts.
const DRIFT_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// How often the wall clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the system is asked whether its clock is set, until it is.
const ASK_CLOCK: Duration = Duration::from_secs(10);
/// Events that wait in memory while the disk takes none, in bytes: some 60,000.
const UNCOMMITTED: usize = 64 * 1024 * 1024;

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

/// When the log last said of each receiver that it drifts.
#[derive(Default)]
struct DriftLog(BTreeMap<ReceiverIndex, Timestamp>);

impl DriftLog {
    /// Says what drifts, of each receiver at most once in [`DRIFT_EVERY`].
    fn look(&mut self, engine: &Engine, now: Timestamp) {
        for drift in engine.drifts() {
            if self.0.get(&drift.receiver).is_none_or(|last| now.since(*last) >= DRIFT_EVERY) {
                self.0.insert(drift.receiver, now);
                let receiver = &engine.registry().receivers()[drift.receiver.get()].id;
                let (db, samples) = (format!("{:+.1}", drift.db), drift.samples);
                warn!(%receiver, db, samples, "the receiver reads otherwise than in the survey: look at it, or survey again");
            }
        }
    }
}

/// What is known of a receiver.
struct ReceiverNow {
    state: ReceiverState,
    detail: Option<String>,
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

/// What outlives a restart, and the ways to the broker.
struct Kept {
    context: Context,
    began: Timestamp,
    is_new: bool,
    memory: Memory,
    waits: usize,
    keeper: Keeper,
    outlet: Outlet,
    inbound: Inbound,
    reports: mpsc::Receiver<mqtt::Report>,
    recorder: Recorder,
    control: Option<Control>,
    live: Live,
    questions: mpsc::Receiver<Question>,
    view: View,
}

/// Opens the database and goes on from it: the clock, what waits for the broker, and what the engine must know.
fn open(config: &GatewayConfig, first: Option<First>, clock: &Clock) -> Result<Kept, GatewayError> {
    let is_named = first.is_some();
    let (first, plans) = match first {
        Some(first) => (first.registry, first.plans),
        None => (stand_in(config)?, Plans::new()),
    };
    let Opened { store, head, devices, waiting, is_new, set_aside } =
        Store::open(store_options(config, &first, clock.now()))?;
    let (view, mut rows) = match load::load(&store)? {
        Some(view) => (view, Vec::new()),
        None => begin_registry(config, &first, clock)?,
    };
    let is_first = !rows.is_empty();
    if is_first {
        rows.extend(plans.into_iter().map(|(level, plan)| registrar::plan_row(level, Some(plan.bytes))));
        store.write(Batch { rows, ..Batch::default() });
    } else if is_named {
        tell_of_differences(&view.registry, &first);
    }
    let registry = &view.registry;
    let site = registry.site().id.clone();
    if let Some((path, why)) = &set_aside {
        warn!("the database was damaged ({why}): it is set aside as {}, and a new epoch begins", path.display());
    }
    clock.resume(head.jumped_ms, head.jumps, if is_new { Timestamp::from_millis(0) } else { head.alive_at });
    let context = Context {
        site: site.clone(),
        gateway: config.id.clone(),
        epoch: head.epoch.clone(),
        frame: *registry.frame(),
        xdm: config.mqtt.xdm,
    };
    let began = clock.wall(clock.now());
    let settings = Settings::new(&config.mqtt, client_id(&context.site, &context.gateway))?;
    let will = Status::offline(began).message(&context)?;
    let steady = clock.clone();
    let backing = Backing {
        store: Arc::new(store.clone()),
        clock: mqtt::Clock::new(move || steady.now()),
        context: context.clone(),
        next_sequence: head.sequence,
    };
    let limits = mqtt::Limits::stored(&store_limits(config));
    let publisher = Publisher::start(settings.clone(), will, limits, Some(backing));
    let waits = waiting.len();
    publisher.restore(waiting);
    let intake = publisher.intake();
    let (live, questions) = Live::new(&context.epoch);
    let wall = clock.clone();
    live.set_wall(move |at| wall.wall(at));
    let told = live.clone();
    store.start(move |entries| {
        told.events(&entries);
        intake.queue(entries);
    });
    let replays = Some(publisher.replays());
    let (inbound, reports) = Inbound::start(settings, &context.site, &context.gateway, replays);
    let recorder = Recorder::start(&config.data_dir, config.record, registry, clock).map_err(GatewayError::Record)?;
    let control = control(config, &context, &store, publisher.intake(), recorder.watch());

    let (keeper, memory) = Keeper::new(store, clock.clone(), head, devices);
    let outlet = Outlet::new(context.clone(), publisher, config.mqtt.publish_positions);
    let outlet = outlet.durable(clock.clone()).watched(live.clone());
    Ok(Kept {
        context,
        began,
        is_new,
        memory,
        waits,
        keeper,
        outlet,
        inbound,
        reports,
        recorder,
        control,
        live,
        questions,
        view,
    })
}

/// A registry of the site that the data directory is of, with nothing in it. Whose it is says the database; where that is damaged,
/// which is dealt with when it is opened, the copy beside it; or else the site has the id of the gateway.
fn stand_in(config: &GatewayConfig) -> Result<Registry, GatewayError> {
    match offline::stand_in(config) {
        Err(offline::OfflineError::Store(StoreError::Damaged { .. })) => {}
        known => return Ok(known?),
    }
    let copied = copy::read(&config.data_dir).ok().flatten().map(|(view, _)| view.registry.site().id.clone());
    // Both kinds of id are made of the same characters.
    let id = copied.or_else(|| SiteId::new(config.id.as_str()).ok());
    id.map(|id| Registry::empty(id, "UTC"))
        .ok_or_else(|| offline::OfflineError::NoRegistry(config.data_dir.clone()).into())
}

/// The registry of a new database: the copy of an earlier one, where there is one, or else that of the site directory.
fn begin_registry(config: &GatewayConfig, first: &Registry, clock: &Clock) -> Result<(View, Vec<Row>), GatewayError> {
    match copy::read(&config.data_dir) {
        Ok(Some((view, rows))) if view.registry.site().id == first.site().id => {
            info!(revision = view.revision, "begins with the copy of what was registered");
            return Ok((view, rows));
        }
        Ok(None) => {}
        Ok(Some((view, _))) => {
            warn!(site = %view.registry.site().id, "the copy of what was registered is another site's, and not used");
        }
        Err(error) => warn!("the copy of what was registered cannot be used: {error}"),
    }
    Ok(load::first(first, "gateway.toml", clock.wall(clock.now()))?)
}

/// The site directory is read once; who edits it afterwards is told what is missing.
fn tell_of_differences(registry: &Registry, directory: &Registry) {
    let edit = registry.difference(directory);
    if !edit.is_empty() {
        let (put, remove) = (edit.put.len(), edit.remove.len());
        info!(
            "the registry is the database's; the site directory differs in {} records: `beaconfence apply` takes it in",
            put + remove
        );
    }
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

/// How the store of a gateway is opened.
pub(crate) fn store_options(config: &GatewayConfig, registry: &Registry, now: Timestamp) -> store::Options {
    store::Options {
        dir: config.data_dir.clone(),
        site: registry.site().id.clone(),
        limits: store_limits(config),
        dictionary: dictionary(registry, &config.id),
        now,
    }
}

/// What the payloads of this site are like: one of each kind for as many zones as there is room for.
fn dictionary(registry: &Registry, gateway: &GatewayId) -> Vec<u8> {
    const ROOM: usize = 32 * 1024;
    let context = Context {
        site: registry.site().id.clone(),
        gateway: gateway.clone(),
        epoch: "0".repeat(12),
        frame: *registry.frame(),
        xdm: false,
    };
    let mut dictionary = Vec::new();
    for zone in registry.zones() {
        for sample in wire::samples(&context, zone) {
            if dictionary.len() + sample.payload.len() <= ROOM {
                dictionary.extend_from_slice(&sample.payload);
            }
        }
    }
    dictionary
}

fn store_limits(config: &GatewayConfig) -> store::Limits {
    store::Limits {
        max_age: config.outbox.max_age,
        max_bytes: config.outbox.max_bytes,
        tail_age: config.outbox.keep,
        tail_bytes: config.outbox.keep_bytes,
        memory_bytes: UNCOMMITTED,
    }
}

/// What the commands beside it may ask.
fn control(
    config: &GatewayConfig,
    context: &Context,
    store: &Store,
    publisher: Intake,
    recorded: impl Fn() -> Option<RecordStatus> + Send + Sync + 'static,
) -> Option<Control> {
    let (copied, store, epoch) = (store.clone(), store.clone(), context.epoch.clone());
    let report = move || {
        let report = OutboxReport::of_store(epoch.clone(), publisher.next_sequence(), &store.status());
        let report = report.with_publisher(&publisher.status()).with_parked(store.parked()).with_record(recorded());
        serde_json::to_vec(&report).unwrap_or_default()
    };
    Control::start(&config.data_dir, report, copied)
        .inspect_err(|error| {
            let path = config.data_dir.join(control::SOCKET);
            warn!("commands cannot ask this gateway, for {} cannot be made: {error}", path.display());
        })
        .ok()
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

/// What the status says of recording.
fn record_counters(record: &RecordStatus) -> [(String, u64); 4] {
    [
        ("recorded", record.kept),
        ("record_dropped", record.dropped),
        ("record_files_deleted", record.deleted),
        ("record_erased", record.erased),
    ]
    .map(|(name, count)| (name.to_owned(), count))
}

#[allow(clippy::too_many_arguments)] // Everybody has something to say in it.
fn status(
    since: Timestamp,
    clock: &Clock,
    engine: &Engine,
    sink: &Sink,
    receivers: &BTreeMap<ReceiverId, ReceiverNow>,
    outlet: &Outlet,
    inbound: &Inbound,
    store: &Store,
) -> Status {
    let stored = store.status();
    let mut status = Status { at: clock.wall(clock.now()), ..Status::online(since) };
    status.clock_suspect = clock.is_suspect();
    status.store = Some(StoreWords {
        failing: stored.failing.clone(),
        disk_bytes: stored.disk_bytes,
        uncommitted: stored.uncommitted,
        tail: stored.tail,
    });
    let taken = engine.counters();
    for (at, receiver) in engine.registry().receivers().iter().enumerate() {
        if let Some(since) = engine.silent_since(ReceiverIndex(at as u32)) {
            status.silent_receivers.insert(receiver.id.clone(), clock.wall(since));
        }
    }
    for (id, now) in receivers {
        let Some(counters) = sink.counters().get(id) else { continue };
        let sightings = engine.registry().receiver(id).map_or(0, |at| taken.sightings_by_receiver[at.get()]);
        let silent = status.silent_receivers.contains_key(id);
        status.receivers.insert(
            id.clone(),
            ReceiverStatus {
                state: match now.state {
                    ReceiverState::Up if !silent => "up",
                    _ => "down",
                },
                reason: match now.state {
                    ReceiverState::Up if silent => Some("hears nothing of what it should".to_owned()),
                    _ => now.detail.clone(),
                },
                advertisements: counters.advertisements.load(Ordering::Relaxed),
                sightings,
                shed: counters.shed.load(Ordering::Relaxed),
                lag_ms: counters.lag_ms.load(Ordering::Relaxed),
                recoveries: counters.recoveries.load(Ordering::Relaxed),
                unfiltered: counters.unfiltered.load(Ordering::Relaxed),
            },
        );
    }
    for drift in engine.drifts() {
        let db = (drift.db * 10.0).round() / 10.0;
        let receiver = engine.registry().receivers()[drift.receiver.get()].id.clone();
        status.drifts.insert(receiver, DriftWords { db, samples: drift.samples });
    }
    status.counters.extend(outlet.publisher().status().counters().map(|(name, value)| (name.to_owned(), value)));
    let mut count = |name: &str, value: u64| status.counters.insert(name.to_owned(), value);
    count("sightings", taken.sightings);
    count("sightings_shed", sink.shed());
    count("fixed_beacons", taken.fixed_beacons);
    count("device_sightings", taken.device_sightings);
    count("unplaced_beacons", taken.unplaced_beacons);
    count("position_reports", taken.reports);
    count("telemetry", taken.telemetry);
    count("strangers", taken.strangers);
    count("without_consent", taken.without_consent);
    count("refused_ahead", taken.ahead);
    count("refused_behind", taken.behind);
    count("reports_outside", taken.reports_outside);
    count("unknown_levels", taken.unknown_levels);
    count("stale_reports", taken.stale_reports);
    count("unknown_devices", taken.unknown_devices);
    count("unknown_receivers", taken.unknown_receivers);
    count("clock_jumps", u64::from(clock.jumps()));
    count("commits", stored.commits);
    count("events_dropped_uncommitted", stored.dropped_uncommitted);
    let inbound = inbound.status();
    count("reports_shed", inbound.shed);
    count("reports_refused", inbound.refused.values().sum());
    count("replays_refused", inbound.replays_refused);
    count("facts", inbound.facts);
    count("unsaid", outlet.unsaid());
    for outcome in Outcome::ALL {
        let times: u64 = engine.trigger_counts().values().filter_map(|counts| counts.get(&outcome)).sum();
        if times > 0 || outcome == Outcome::Fired {
            count(&format!("triggers_{}", outcome.as_str()), times);
        }
    }
    status
}
