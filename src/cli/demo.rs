//! `beaconfence demo`.

mod drive;
mod lines;
mod pace;
mod publish;
pub mod store;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::engine::{Engine, Output};
use crate::model::{Timestamp, parse_duration};
use crate::mqtt::broker::EmbeddedBroker;
use crate::registry::Registry;
use crate::source::simulate::{Cast, Simulation, SimulationConfig};

use super::site_files::load;
use drive::Drive;
use lines::{Layout, Tally};
use pace::Speed;
use publish::Outlet;

/// Strangers' phones for each shopper.
const STRANGERS_EACH: f64 = 0.3;
/// At full speed, how many steps are made before others get their turn.
const STEPS_A_TURN: u32 = 2_000;

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
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        let broker = EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], args.port.unwrap_or(0)))).await?;
        eprint!("{}", header(&registry, simulation.cast(), args.seed, broker.address()));
        let show = Show { args: &args, registry: &registry, colour };
        let outlet = Outlet::start(&broker, &registry, show.epoch(), show.start())?;
        let played =
            show.play(simulation, &mut std::io::stdout(), &mut |now, output| outlet.publish(now, output), stop).await;
        let left = outlet.stop().await?;
        broker.stop().await;
        played?;
        if left > 0 {
            anyhow::bail!("{left} events did not reach the embedded broker");
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The registry of the example store.
///
/// # Errors
/// Never with the files that the program was built with: a test reads them.
pub fn demo_registry() -> anyhow::Result<Registry> {
    load(&store::STORE).context("the example store")
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

/// Ends when the program is told to stop: SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// A run of the demo.
struct Show<'a> {
    args: &'a Args,
    registry: &'a Arc<Registry>,
    colour: bool,
}

impl Show<'_> {
    /// Plays until the simulation or `stop` ends; events go to `out` as lines, and every output to `publish`.
    async fn play(
        &self,
        simulation: Simulation,
        out: &mut impl Write,
        publish: &mut impl FnMut(Timestamp, &Output) -> anyhow::Result<()>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let start = self.start();
        let mut drive = Drive::new(simulation, Engine::new(Arc::clone(self.registry), &self.epoch()), start);
        let layout = Layout::new(self.registry, start, self.colour);
        let mut tally = Tally::default();
        let mut take = |now: Timestamp, output: Output| -> anyhow::Result<()> {
            publish(now, &output)?;
            if let Output::Event(event) = &output {
                tally.add(event);
                if !self.args.quiet {
                    writeln!(out, "{}", layout.event(event))?;
                    out.flush()?;
                }
            }
            Ok(())
        };
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
            drive.step(&mut take)?;
        }
        let end = self.args.duration.filter(|_| !stopped).map(|duration| start + duration);
        drive.stop(end, &mut take)?;
        writeln!(out, "\n{}", tally.table(self.registry, drive.elapsed(), drive.counters()).trim_end())?;
        out.flush()?;
        Ok(())
    }

    /// A demo is over when it ends: each seed is an epoch of its own, the same each time.
    fn epoch(&self) -> String {
        format!("demo-{}", self.args.seed)
    }

    /// Simulated time begins on a day of its own.
    fn start(&self) -> Timestamp {
        config(self.args).start
    }
}

#[cfg(test)]
mod tests;
