//! `beaconfence demo`.

mod desk;
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
use crate::http::Delivery;
use crate::model::{Frame, GatewayId, Timestamp, ZoneId, parse_duration};
use crate::registry::Registry;
use crate::source::simulate::{Cast, Simulation, SimulationConfig, What};

use super::stop::stop_signal;
use crate::config::{MqttConfig, Plans, load_bundled_site_with_plans};
use crate::gateway::Outlet;
use crate::mqtt::broker::EmbeddedBroker;
use crate::mqtt::wire::{Context as WireContext, Status};
use crate::mqtt::{Limits, Publisher, Settings};
use desk::Desk;
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
    /// Port of the live map on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "N")]
    http_port: Option<u16>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (registry, plans) = demo_site()?;
    let registry = Arc::new(registry);
    let simulation = Simulation::new(&registry, config(&args))?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    super::log::start_at("warn");
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        let wanted = SocketAddr::from(([127, 0, 0, 1], args.port.unwrap_or(0)));
        let broker = EmbeddedBroker::start(wanted).await?;
        let show = Show { args: &args, registry: &registry, colour };
        let start = SimulationConfig::default().start;
        let cast = simulation.cast();
        let mut drive = show.drive(simulation);
        let outlet = outlet(&registry, show.epoch(), &broker, start)?;
        let way = outlet.publisher().intake();
        let address = broker.address().to_string();
        let delivery = move || {
            let status = way.status();
            Delivery {
                connected: true,
                broker: Some(address.clone()),
                waiting: status.queued as u64,
                ..Delivery::default()
            }
        };
        let mut desk = Desk::open(&mut drive, plans, args.http_port.unwrap_or(0), &show.epoch(), delivery).await?;
        let mut outlet = outlet.watched(desk.live().clone());
        tell!("{}", header(&registry, cast, args.seed, broker.address(), desk.url()).trim_end_matches('\n'));
        tell!();
        outlet.nobody_else(&registry, start);
        let mut publish = |published: Published<'_>, at| match published {
            Published::Output(output) => outlet.put(output.clone(), at),
            Published::NoZone(zone) => outlet.forget_zone(zone),
            Published::Frame(frame) => outlet.set_frame(frame),
        };
        let played = show.play(drive, &mut std::io::stdout(), &mut publish, Some(&mut desk), stop).await;
        desk.close().await;
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
        xdm: false,
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
    demo_site().map(|(registry, _)| registry)
}

/// The registry of the example store, and its floor plans.
fn demo_site() -> anyhow::Result<(Registry, Plans)> {
    let loaded = load_bundled_site_with_plans(&store::STORE);
    loaded.map(|(registry, plans, _)| (registry, plans)).map_err(|faults| anyhow::anyhow!("{faults}"))
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

fn header(registry: &Registry, cast: Cast, seed: u64, broker: SocketAddr, url: &str) -> String {
    let site = registry.site();
    format!(
        "beaconfence demo: {} simulated shoppers in {} ({} zones on {} levels, {} receivers), seed {seed}\n\
         beside them: {} customers without consent, {} of staff, {} thing, {} fixed beacons, {} strangers\n\
         \n    live map (the link opens once): {url}\n\n\
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

/// What the broker is told.
enum Published<'a> {
    /// What follows from what happened.
    Output(&'a Output),
    /// A zone is no longer there.
    NoZone(&'a ZoneId),
    /// The site frame, after a change.
    Frame(Frame),
}

/// A wish of those who look; never where nobody can.
async fn wish_at(desk: Option<&mut Desk>) -> desk::Wish {
    match desk {
        Some(desk) => desk.wish().await,
        None => std::future::pending().await,
    }
}

/// A run of the demo.
struct Show<'a> {
    args: &'a Args,
    registry: &'a Arc<Registry>,
    colour: bool,
}

impl Show<'_> {
    /// The simulation and an engine.
    fn drive(&self, simulation: Simulation) -> Drive {
        let start = SimulationConfig::default().start;
        Drive::new(simulation, Engine::new(Arc::clone(self.registry), &self.epoch()), start)
    }

    /// Plays until the simulation or `stop` ends; events go to `out` as lines and every output to `publish`. `desk` is where
    /// others look, and change what is registered.
    async fn play(
        &self,
        mut drive: Drive,
        out: &mut impl Write,
        publish: &mut impl FnMut(Published<'_>, Timestamp),
        mut desk: Option<&mut Desk>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let start = SimulationConfig::default().start;
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
            let mut wish = desk.as_deref_mut().and_then(Desk::try_wish);
            if wish.is_none() && (wait.is_some() || steps.is_multiple_of(STEPS_A_TURN)) {
                tokio::select! {
                    biased;
                    () = &mut stop => { stopped = true; break }
                    wished = wish_at(desk.as_deref_mut()) => wish = Some(wished),
                    () = tokio::time::sleep(wait.unwrap_or_default()) => {}
                }
            }
            if let (Some(wish), Some(desk)) = (wish, desk.as_deref()) {
                let gone = desk.grant(wish, &mut drive, &mut |output, at| {
                    self.take(&output, at, &layout, &mut tally, &mut text, publish);
                });
                gone.iter().for_each(|zone| publish(Published::NoZone(zone), drive.now()));
                publish(Published::Frame(*drive.engine().registry().frame()), drive.now());
            } else {
                let registry = Arc::clone(drive.engine().registry());
                let desk = desk.as_deref_mut();
                let seen = |what: Option<&What>| desk.into_iter().for_each(|desk| desk.see(what, next, &registry));
                drive.step(seen, &mut |output, at| self.take(&output, at, &layout, &mut tally, &mut text, publish));
            }
            flush(&mut text, out)?;
        }
        let end = self.args.duration.filter(|_| !stopped).map(|duration| start + duration);
        drive.stop(end, &mut |output, at| self.take(&output, at, &layout, &mut tally, &mut text, publish));
        flush(&mut text, out)?;
        let registry = drive.engine().registry();
        writeln!(out, "\n{}", tally.table(registry, drive.elapsed(), drive.counters()).trim_end())?;
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
        publish: &mut impl FnMut(Published<'_>, Timestamp),
    ) {
        if let Output::Event(event) = output {
            tally.add(event);
            if !self.args.quiet {
                text.push_str(&layout.event(event));
                text.push('\n');
            }
        }
        if let Output::Trigger(fired) = output
            && !self.args.quiet
        {
            text.push_str(&layout.trigger(fired));
            text.push('\n');
        }
        publish(Published::Output(output), at);
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
