//! What a gateway begins with: what outlives a restart, and the ways to the broker.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::control::{self, Control};
use super::keeper::Keeper;
use super::live::{Live, Question};
use super::report::OutboxReport;
use super::{First, GatewayError, Outlet};
use crate::clock::Clock;
use crate::config::{GatewayConfig, Plans};
use crate::engine::Memory;
use crate::model::{GatewayId, SiteId, Timestamp};
use crate::mqtt::wire::{self, Context, Status};
use crate::mqtt::{self, Backing, Inbound, Intake, Publisher, Settings, client_id};
use crate::record::{RecordStatus, Recorder};
use crate::registrar::{self, View, copy, load, offline};
use crate::registry::Registry;
use crate::store::{self, Batch, Opened, Row, Store, StoreError};

/// Events that wait in memory while the disk takes none, in bytes: some 60,000.
const UNCOMMITTED: usize = 64 * 1024 * 1024;

/// What outlives a restart, and the ways to the broker.
pub(super) struct Kept {
    pub(super) context: Context,
    pub(super) began: Timestamp,
    pub(super) is_new: bool,
    pub(super) memory: Memory,
    pub(super) waits: usize,
    pub(super) keeper: Keeper,
    pub(super) outlet: Outlet,
    pub(super) inbound: Inbound,
    pub(super) reports: mpsc::Receiver<mqtt::Report>,
    pub(super) recorder: Recorder,
    pub(super) control: Option<Control>,
    pub(super) live: Live,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) view: View,
}

/// Opens the database and goes on from it: the clock, what waits for the broker, and what the engine must know.
pub(super) fn open(config: &GatewayConfig, first: Option<First>, clock: &Clock) -> Result<Kept, GatewayError> {
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
