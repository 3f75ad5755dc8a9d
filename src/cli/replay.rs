//! `beaconfence replay`: a file of sightings through the engine, in event time.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::faults::site_or_faults;
use super::quiet_when_nobody_reads;
use crate::engine::{Engine, Output};
use crate::model::{GatewayId, ReceiverId, Timestamp};
use crate::mqtt::wire;
use crate::source::replay;

/// So many faulty lines are shown one by one; the rest is counted.
const MOST_SHOWN: u64 = 20;

/// Replays a sightings file or a capture through the engine, JSON Lines out
///
/// Everything happens in event time, as fast as it goes, and the same input gives the same bytes. Visits that are open at
/// the end of the file stay open. Faulty lines are reported and passed over; the exit code is 1 where there were any.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A sightings file (JSON Lines) or a btsnoop capture, gzip or not
    file: PathBuf,
    /// The site directory
    #[arg(long, value_name = "DIR")]
    site: PathBuf,
    /// Print the CloudEvents that would be published (the default)
    #[arg(long, conflicts_with = "positions")]
    events: bool,
    /// Print positions: time, device, x, y, level, accuracy, latitude, longitude
    #[arg(long)]
    positions: bool,
    /// The receiver that heard a capture, which does not say so itself
    #[arg(long, value_name = "ID")]
    receiver: Option<ReceiverId>,
    /// The gateway in the events: with it and the epoch of a real one, they are what that one would publish
    #[arg(long, value_name = "ID", default_value = "replay")]
    gateway: GatewayId,
    /// The epoch in the events, from which all ids follow
    #[arg(long, value_name = "TEXT", default_value = "replay")]
    epoch: String,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(registry) = site_or_faults(&args.site) else { return Ok(ExitCode::FAILURE) };
    if let Some(receiver) = &args.receiver
        && registry.receiver(receiver).is_none()
    {
        anyhow::bail!("the site has no receiver \"{receiver}\"; its receivers are {}", receivers(&registry));
    }
    let context = wire::Context {
        site: registry.site().id.clone(),
        gateway: args.gateway.clone(),
        epoch: args.epoch.clone(),
        frame: *registry.frame(),
    };
    let mut engine = Engine::new(Arc::new(registry), &context.epoch);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut faults = 0_u64;
    let mut now = Timestamp::from_millis(0);
    let print = |engine: &mut Engine, out: &mut dyn Write| -> anyhow::Result<()> {
        while let Some(output) = engine.poll_output() {
            let line = match output {
                Output::Event(event) if !args.positions => wire::event(&context, &event)?.payload,
                Output::Position(device, position) if args.positions => {
                    wire::position_line(&context, &device.id, &position, engine.now())?
                }
                _ => continue,
            };
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    };
    let mut fault = |error: replay::ReplayError| {
        faults += 1;
        if faults <= MOST_SHOWN {
            tell!("error: {error}");
        }
    };
    let mut run = || -> anyhow::Result<()> {
        match replay::open(&args.file, args.receiver.clone()) {
            Err(error) => fault(error),
            Ok(observations) => {
                for observation in observations {
                    match observation {
                        Ok((at, input)) => {
                            now = now.max(at);
                            engine.handle(input, now);
                            print(&mut engine, &mut out)?;
                        }
                        Err(error) => fault(error),
                    }
                }
            }
        }
        out.flush().context("standard output cannot be written")
    };
    quiet_when_nobody_reads(run())?;
    if faults > MOST_SHOWN {
        tell!("error: and {} more faults", faults - MOST_SHOWN);
    }
    tell_what_was_passed_over(&engine);
    for drift in engine.drifts() {
        let receiver = &engine.registry().receivers()[drift.receiver.get()].id;
        tell!(
            "note: receiver \"{receiver}\" reads {:+.1} dB against the survey ({} samples); look at it, or survey again",
            drift.db,
            drift.samples
        );
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn receivers(registry: &crate::registry::Registry) -> String {
    let ids: Vec<&str> = registry.receivers().iter().map(|receiver| receiver.id.as_str()).take(20).collect();
    ids.join(", ")
}

/// On stderr: what of the file led to nothing, and why.
fn tell_what_was_passed_over(engine: &Engine) {
    let counters = engine.counters();
    for (count, what) in [
        (counters.strangers, "advertisements of beacons that are not registered"),
        (counters.without_consent, "sightings of customers without consent for presence"),
        (counters.unknown_receivers, "advertisements heard by receivers that the site does not have"),
        (counters.unknown_devices, "position reports of devices that are not registered"),
        (counters.reports_outside, "position reports from outside the site"),
        (counters.unknown_levels, "position reports on levels that the site does not have"),
        (counters.stale_reports, "position reports that were not newer than the device's last"),
        (counters.behind, "inputs more than 10 minutes behind the ones before them"),
    ] {
        if count > 0 {
            tell!("note: passed over {count} {what}");
        }
    }
}
