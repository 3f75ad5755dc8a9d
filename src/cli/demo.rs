//! `beaconfence demo`.

mod drive;
mod lines;
mod pace;
pub mod store;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::engine::{Engine, Output};
use crate::model::{GatewayId, Timestamp, parse_duration};
use crate::registry::Registry;
use crate::source::simulate::{Cast, Simulation, SimulationConfig};

use super::stop::stop_signal;
use crate::config::{MqttConfig, load_bundled_site};
use crate::gateway::Outlet;
use crate::mqtt::broker::EmbeddedBroker;
use crate::mqtt::wire::{Context as WireContext, Status};
use crate::mqtt::{Limits, Publisher, Settings};
use drive::Drive;
use lines::{Layout, Tally};
use pace::Speed;

/// Strangers' phones for each shopper.
const STRANGERS_EACH: f64 = 0.3;
/// At full speed, how many steps are made before others get their turn.
const STEPS_A_TURN: u32 = 2_000;
/// How long the end may take to publish what is left.
const DRAIN: Duration = Duration::from_secs(3);

/// Shows the main job with nothing else installed: embedded broker, simulated shoppers
///
/// Forty simulated shoppers walk through a store of two levels; the gateway works out from what five receivers hear where
/// they are, and publishes to an MQTT broker within the program. Nothing is written to disk. Events go to stdout, one a
/// line, with the simulated time since the start; the same seed gives the same lines at any speed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Simulated time until it ends [default: until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// What everything random follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Simulated seconds to the second
    #[arg(long, value_name = "X", default_value = "1")]
    speed: Speed,
    /// No lines for events, only the table at the end
    #[arg(long)]
    quiet: bool,
    /// Shoppers, at most 40
    #[arg(long, value_name = "N", default_value_t = 40)]
    shoppers: usize,
    /// Port of the embedded broker on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let registry = Arc::new(demo_registry()?);
    let simulation = Simulation::new(&registry, config(&args))?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    super::log::start("warn");
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        let wanted = SocketAddr::from(([127, 0, 0, 1], args.port.unwrap_or(0)));
        let broker = EmbeddedBroker::start(wanted).await?;
        tell!("{}", header(&registry, simulation.cast(), args.seed, broker.address()).trim_end_matches('\n'));
        tell!();
        let show = Show { args: &args, registry: &registry, colour };
        let start = SimulationConfig::default().start;
        let mut outlet = outlet(&registry, show.epoch(), &broker, start)?;
        outlet.nobody_else(&registry, start);
        let mut publish = |output: &Output, at| outlet.put(output.clone(), at);
        let played = show.play(simulation, &mut std::io::stdout(), &mut publish, stop).await;
        outlet.close(start, start, DRAIN).await;
        broker.stop().await;
        super::quiet_when_nobody_reads(played)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The way to the embedded broker.
fn outlet(registry: &Registry, epoch: String, broker: &EmbeddedBroker, start: Timestamp) -> anyhow::Result<Outlet> {
    let context = WireContext {
        site: registry.site().id.clone(),
        gateway: GatewayId::new("demo")?,
        epoch,
        frame: *registry.frame(),
    };
    let settings = Settings::new(&MqttConfig::new(vec![broker.url()?]), "beaconfence-demo".to_owned())?;
    let will = Status::offline(start).message(&context)?;
    let mut outlet = Outlet::new(context.clone(), Publisher::start(settings, will, Limits::default(), None), true);
    outlet.state(Status::online(start).message(&context));
    Ok(outlet)
}

/// The registry of the example store.
///
/// # Errors
/// Never with the files that the program was built with: a test reads them.
pub fn demo_registry() -> anyhow::Result<Registry> {
    load_bundled_site(&store::STORE).map(|(registry, _)| registry).map_err(|faults| anyhow::anyhow!("{faults}"))
}

fn config(args: &Args) -> SimulationConfig {
    SimulationConfig {
        seed: args.seed,
        duration: args.duration,
        shoppers: Some(args.shoppers),
        strangers: (args.shoppers as f64 * STRANGERS_EACH).ceil() as usize,
        // Long enough for `dwelled`, short enough to see people come and go.
        median_dwell: Duration::from_secs(40),
        arrivals: Duration::from_secs(180),
        // A store that was set up with care; the harder defaults are for measuring.
        shadowing_db: 3.0,
        transmit_db: 1.5,
        ..SimulationConfig::default()
    }
}

fn header(registry: &Registry, cast: Cast, seed: u64, broker: SocketAddr) -> String {
    let site = registry.site();
    format!(
        "beaconfence demo: {} simulated shoppers in {} ({} zones on {} levels, {} receivers), seed {seed}\n\
         beside them: {} customers without consent, {} of staff, {} thing, {} fixed beacons, {} strangers\n\
         MQTT broker on {broker}. To listen, in another terminal:\n\n    \
         mosquitto_sub -h {} -p {} -v -t 'beaconfence/v1/#'\n\n",
        cast.shoppers,
        site.name,
        registry.zones().len() - 1,
        site.levels.len(),
        registry.receivers().len(),
        cast.without_consent,
        cast.staff,
        cast.assets,
        cast.fixed,
        cast.strangers,
        broker.ip(),
        broker.port(),
    )
}

/// A run of the demo.
struct Show<'a> {
    args: &'a Args,
    registry: &'a Arc<Registry>,
    colour: bool,
}

impl Show<'_> {
    /// Plays until the simulation or `stop` ends; events go to `out` as lines and every output to `publish`.
    async fn play(
        &self,
        simulation: Simulation,
        out: &mut impl Write,
        publish: &mut impl FnMut(&Output, Timestamp),
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let start = SimulationConfig::default().start;
        let mut drive = Drive::new(simulation, Engine::new(Arc::clone(self.registry), &self.epoch()), start);
        let layout = Layout::new(self.registry, start, self.colour);
        let mut tally = Tally::default();
        let mut text = String::new();
        let began = Instant::now();
        let mut steps = 0_u32;
        tokio::pin!(stop);
        let mut stopped = false;
        while let Some(next) = drive.next_time() {
            steps += 1;
            let wait = self.args.speed.wait(next.since(start), began.elapsed());
            if wait.is_some() || steps.is_multiple_of(STEPS_A_TURN) {
                tokio::select! {
                    biased;
                    () = &mut stop => { stopped = true; break }
                    () = tokio::time::sleep(wait.unwrap_or_default()) => {}
                }
            }
            drive.step(&mut |output, at| self.take(&output, at, &layout, &mut tally, &mut text, publish));
            flush(&mut text, out)?;
        }
        let end = self.args.duration.filter(|_| !stopped).map(|duration| start + duration);
        drive.stop(end, &mut |output, at| self.take(&output, at, &layout, &mut tally, &mut text, publish));
        flush(&mut text, out)?;
        writeln!(out, "\n{}", tally.table(self.registry, drive.elapsed(), drive.counters()).trim_end())?;
        out.flush()?;
        Ok(())
    }

    /// A demo is over when it ends: each seed is an epoch of its own, the same each time.
    fn epoch(&self) -> String {
        format!("demo-{}", self.args.seed)
    }

    fn take(
        &self,
        output: &Output,
        at: Timestamp,
        layout: &Layout,
        tally: &mut Tally,
        text: &mut String,
        publish: &mut impl FnMut(&Output, Timestamp),
    ) {
        if let Output::Event(event) = output {
            tally.add(event);
            if !self.args.quiet {
                text.push_str(&layout.event(event));
                text.push('\n');
            }
        }
        publish(output, at);
    }
}

fn flush(text: &mut String, out: &mut impl Write) -> anyhow::Result<()> {
    if !text.is_empty() {
        out.write_all(text.as_bytes())?;
        out.flush()?;
        text.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
