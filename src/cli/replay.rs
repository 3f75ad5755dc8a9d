//! `beaconfence replay`: a file of sightings through the engine, in event time.

mod against;
mod explain;
mod matching;
mod publish;
mod words;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::faults::site_or_faults;
use super::progress::Progress;
use super::quiet_when_nobody_reads;
use crate::engine::{Engine, Input, Output};
use crate::model::{DeviceId, GatewayId, ReceiverId, Timestamp};
use crate::mqtt::wire;
use crate::registry::Registry;
use crate::source::recordings::{self, Recordings};

/// So many faulty lines are shown one by one; the rest is counted.
const MOST_SHOWN: u64 = 20;

/// Replays sightings files or captures through the engine, JSON Lines out
///
/// Everything happens in event time, as fast as it goes, and the same input gives the same bytes. Visits that are open at
/// the end of the file stay open. Faulty lines are reported and passed over; the exit code is 1 where there were any.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(super) struct Args {
    /// Sightings files (JSON Lines) or btsnoop captures, gzip or not, or directories of sightings files; several are read
    /// in the order of their times
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The site directory
    #[arg(long, value_name = "DIR")]
    site: PathBuf,
    /// Print the CloudEvents that would be published (the default)
    #[arg(long, conflicts_with_all = ["positions", "explain", "against"])]
    events: bool,
    /// Print positions: time, device, x, y, level, accuracy, latitude, longitude
    #[arg(long, conflicts_with_all = ["explain", "against"])]
    positions: bool,
    /// Print the CloudEvents of triggers that would be published
    #[arg(long, conflicts_with_all = ["events", "positions", "explain", "against"])]
    triggers: bool,
    /// Print how beacons fare as it would be published: battery, missing, moved, advertising interval
    #[arg(long, conflicts_with_all = ["events", "positions", "triggers", "explain", "against"])]
    health: bool,
    /// Publish everything to the broker that this gateway.toml names, to try on recordings what subscribes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "positions", "triggers", "health", "explain", "against"])]
    publish: Option<PathBuf>,
    /// Explain the events of that device: what was heard, how the probability went, and the settings it was held against
    #[arg(long, value_name = "DEVICE", conflicts_with = "against")]
    explain: Option<DeviceId>,
    /// Explain in place of its events where the device is at that instant, and why nothing more has happened
    #[arg(long, value_name = "INSTANT", requires = "explain")]
    at: Option<Timestamp>,
    /// Compare with the events that another site directory would give: gained, lost and moved in time
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// How many changes are shown, with --against [default: 50, and all of them with --json]
    #[arg(long, value_name = "N", requires = "against")]
    limit: Option<usize>,
    /// Print JSON Lines where the output is for people otherwise: with --explain and --against
    #[arg(long)]
    json: bool,
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
    let mut tape = Tape::open(&args.files, args.receiver.clone());
    if let Some(other) = &args.against {
        let Some(other) = site_or_faults(other) else { return Ok(ExitCode::FAILURE) };
        against::run(
            &mut tape,
            registry,
            other,
            &against::Options { epoch: args.epoch, json: args.json, limit: args.limit },
        )?;
    } else if let Some(device) = &args.explain {
        explain::run(&mut tape, registry, device, args.at, &args.epoch, args.json)?;
    } else if let Some(config) = &args.publish {
        let context = context(&registry, args.gateway, args.epoch);
        if !publish::run(&mut tape, registry, &context, config)? {
            return Ok(ExitCode::FAILURE);
        }
    } else {
        print(&mut tape, registry, args)?;
    }
    Ok(tape.finish())
}

fn context(registry: &Registry, gateway: GatewayId, epoch: String) -> wire::Context {
    wire::Context { site: registry.site().id.clone(), gateway, epoch, frame: *registry.frame(), xdm: false }
}

fn print(tape: &mut Tape, registry: Registry, args: Args) -> anyhow::Result<()> {
    let context = context(&registry, args.gateway, args.epoch);
    let mut engine = Engine::new(Arc::new(registry), &context.epoch);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut run = || -> anyhow::Result<()> {
        let mut print = |engine: &mut Engine| -> anyhow::Result<()> {
            while let Some(output) = engine.poll_output() {
                let line = match output {
                    Output::Event(event) if !args.positions && !args.triggers && !args.health => {
                        wire::event(&context, &event)?.payload
                    }
                    Output::Beacon(_, Some(health)) if args.health => wire::beacon_health(&context, &health)?.payload,
                    Output::Trigger(fired) if args.triggers => wire::trigger(&context, &fired)?.payload,
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
        while let Some((now, input)) = tape.next() {
            // One deadline after the other, so that each position says when it was decided.
            while let Some(due) = engine.next_deadline().filter(|due| *due <= now) {
                engine.advance(due);
                print(&mut engine)?;
            }
            engine.handle(input, now);
            print(&mut engine)?;
        }
        out.flush().context("standard output cannot be written")
    };
    quiet_when_nobody_reads(run())?;
    tell_what_was_passed_over("", &engine);
    for drift in engine.drifts() {
        let receiver = &engine.registry().receivers()[drift.receiver.get()].id;
        tell!(
            "note: receiver \"{receiver}\" reads {:+.1} dB against the survey ({} samples); look at it, or survey again",
            drift.db,
            drift.samples
        );
    }
    Ok(())
}

/// What is replayed: every input with the time to handle it at. Faults are told, counted and passed over.
#[derive(Debug)]
struct Tape {
    recordings: Recordings,
    faults: u64,
    /// The time of the latest input so far; it never runs backwards.
    now: Timestamp,
    /// The time of the first input.
    begins: Option<Timestamp>,
    progress: Progress,
}

impl Tape {
    fn open(files: &[PathBuf], receiver: Option<ReceiverId>) -> Self {
        let recordings = recordings::open(files, receiver);
        let progress = Progress::new("observations");
        Self { recordings, faults: 0, now: Timestamp::from_millis(0), begins: None, progress }
    }

    fn next(&mut self) -> Option<(Timestamp, Input)> {
        loop {
            match self.recordings.next()? {
                Ok((at, input)) => {
                    self.now = self.now.max(at);
                    self.begins.get_or_insert(at);
                    self.progress.pass(at);
                    return Some((self.now, input));
                }
                Err(error) => {
                    self.faults += 1;
                    if self.faults <= MOST_SHOWN {
                        tell!("error: {error}");
                    }
                }
            }
        }
    }

    /// The exit code.
    fn finish(self) -> ExitCode {
        if self.faults > MOST_SHOWN {
            tell!("error: and {} more faults", self.faults - MOST_SHOWN);
        }
        if self.faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn receivers(registry: &Registry) -> String {
    let ids: Vec<&str> = registry.receivers().iter().map(|receiver| receiver.id.as_str()).take(20).collect();
    ids.join(", ")
}

/// On stderr: what of the file led to nothing, and why.
fn tell_what_was_passed_over(whose: &str, engine: &Engine) {
    let counters = engine.counters();
    for (count, what) in [
        (counters.strangers, "advertisements of beacons that are not registered"),
        (counters.without_consent, "sightings of customers without consent for presence"),
        (counters.unknown_receivers, "advertisements heard by receivers that the site does not have"),
        (counters.unknown_devices, "position reports and sightings of devices that are not registered"),
        (counters.unplaced_beacons, "sightings by devices of beacons that have no fixed place"),
        (counters.reports_outside, "position reports from outside the site"),
        (counters.unknown_levels, "position reports on levels that the site does not have"),
        (counters.stale_reports, "position reports that were not newer than the device's last"),
        (counters.behind, "inputs more than 10 minutes behind the ones before them"),
    ] {
        if count > 0 {
            tell!("note: {whose}passed over {count} {what}");
        }
    }
}
