//! `replay --publish`: to a real broker, so that what subscribes can be tried on what was recorded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::{Tape, tell_what_was_passed_over};
use crate::config::load_gateway;
use crate::engine::{Engine, Output};
use crate::gateway::Outlet;
use crate::mqtt::wire::{self, Status};
use crate::mqtt::{Intake, Limits, Publisher, Settings, client_id};
use crate::registry::Registry;

/// What may wait for the broker: beyond, the file waits.
const MOST_WAITING: u64 = 2_000;
/// How often it is looked whether the broker has caught up.
const LOOK: Duration = Duration::from_millis(5);
/// How long the broker may take for a connection, and for each step after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes everything that comes of the tape, in event time, as fast as the broker takes it. Whether it took all.
pub(super) fn run(tape: &mut Tape, registry: Registry, context: &wire::Context, config: &Path) -> anyhow::Result<bool> {
    let (config, _) = load_gateway(config)?;
    let settings = Settings::new(&config.mqtt, client_id(&context.site, &context.gateway))?;
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let first = tape.next();
        let began = first.as_ref().map_or(tape.now, |(at, _)| *at);
        let will = Status::offline(began).message(context)?;
        let publisher = Publisher::start(settings, will, Limits::default(), None);
        let intake = publisher.intake();
        let mut outlet = Outlet::new(context.clone(), publisher, false);
        wait(|| intake.status().connected).await.map_err(|()| {
            let why = intake.status().last_error.unwrap_or_else(|| "it does not answer".to_owned());
            anyhow::anyhow!("no broker of [mqtt] lets it in: {why}")
        })?;
        let mut engine = Engine::new(Arc::new(registry), &context.epoch);
        let mut next = first;
        let mut lost = false;
        while let Some((now, input)) = next {
            while let Some(due) = engine.next_deadline().filter(|due| *due <= now) {
                engine.advance(due);
                put(&mut engine, &mut outlet, &intake).await;
            }
            engine.handle(input, now);
            put(&mut engine, &mut outlet, &intake).await;
            if intake.status().queued > MOST_WAITING
                && wait(|| intake.status().queued <= MOST_WAITING / 2).await.is_err()
            {
                lost = true;
                break;
            }
            next = tape.next();
        }
        lost |= wait(|| intake.status().queued == 0).await.is_err();
        let left = intake.status();
        outlet.close(began, engine.now(), PATIENCE).await;
        if lost {
            let why = left.last_error.map_or(String::new(), |why| format!(": {why}"));
            tell!(
                "error: the broker has not taken {} messages{why}; triggers wait until somebody subscribes to them",
                left.queued
            );
        }
        tell_what_was_passed_over("", &engine);
        Ok(!lost)
    })
}

async fn put(engine: &mut Engine, outlet: &mut Outlet, intake: &Intake) {
    while let Some(output) = engine.poll_output() {
        let at = engine.now();
        // Of states the latest wins: a card that ends at once, as time goes here, or gives way to the next, would never be seen.
        // A broker that is too slow for it is noticed elsewhere.
        let is_card = match &output {
            Output::Trigger(fired) => fired.rule.then.card,
            other => matches!(other, Output::CardEnded(..)),
        };
        if is_card {
            let _ = wait(|| intake.pending_states() == 0).await;
        }
        outlet.put(output, at);
    }
}

/// Waits for that, for as long as [`PATIENCE`].
async fn wait(is_so: impl Fn() -> bool) -> Result<(), ()> {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.map_err(drop)
}
