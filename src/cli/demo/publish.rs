//! The demo's way to its broker: what the engine puts out, as the gateway would publish it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{MqttConfig, MqttVersion};
use crate::engine::Output;
use crate::model::{GatewayId, Timestamp};
use crate::mqtt::broker::EmbeddedBroker;

use crate::mqtt::wire::{self, Context, Status};
use crate::mqtt::{Limits, Publisher, Settings, client_id};
use crate::registry::Registry;

/// How long the last messages may take. Together with the broker's stop it stays within the 5 s that people wait.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A publisher to the embedded broker.
#[derive(Debug)]
pub struct Outlet {
    context: Context,
    publisher: Publisher,
    start: Timestamp,
}

impl Outlet {
    /// Connects to the broker; says that the gateway `demo` is online since `start`.
    ///
    /// # Errors
    /// None in practice: everything in it is fixed.
    pub fn start(
        broker: &EmbeddedBroker,
        registry: &Registry,
        epoch: String,
        start: Timestamp,
    ) -> anyhow::Result<Self> {
        let site = registry.site().id.clone();
        let context = Context { site, gateway: GatewayId::new("demo")?, epoch, frame: *registry.frame() };
        let settings = Settings::new(&config(broker)?, client_id(&context.site, &context.gateway))?;
        let will = Status::offline(start).message(&context)?;
        let publisher = Publisher::start(settings, will, Limits::default());
        publisher.state(Status::online(start).message(&context)?);
        Ok(Self { context, publisher, start })
    }

    /// Publishes an output of the engine, made at `now`.
    ///
    /// # Errors
    /// Where a payload would be larger than allowed; none in the example store.
    pub fn publish(&self, now: Timestamp, output: &Output) -> anyhow::Result<()> {
        match output {
            Output::Event(event) => self.publisher.event(&event.device.id, wire::event(&self.context, event)?),
            Output::Presence(presence) => {
                self.publisher.state(wire::presence(&self.context, presence, None)?);
            }
            Output::Occupancy(zone, inside) => {
                self.publisher.state(wire::occupancy(&self.context, zone, *inside, now)?);
            }
            // Positions are published only where it is switched on.
            Output::Position(..) => {}
        }
        Ok(())
    }

    /// Publishes what is left, says that the gateway is offline, and tells how many events never reached the broker.
    ///
    /// # Errors
    /// None in practice, as at the start.
    pub async fn stop(self) -> anyhow::Result<u64> {
        let last_word = Status::offline(self.start).message(&self.context)?;
        let status = self.publisher.shutdown(last_word, LAST_WORDS).await;
        Ok(status.queued + status.dropped)
    }
}

fn config(broker: &EmbeddedBroker) -> anyhow::Result<MqttConfig> {
    let none: Option<PathBuf> = None;
    Ok(MqttConfig {
        brokers: vec![broker.url().context("the embedded broker's address")?],
        version: MqttVersion::V5,
        prefix: "beaconfence/v1".to_owned(),
        client_id: None,
        username: None,
        password_file: none.clone(),
        ca_file: none.clone(),
        certificate_file: none.clone(),
        key_file: none,
        keep_alive: Duration::from_secs(30),
        status_interval: Duration::from_secs(30),
        publish_positions: false,
    })
}
