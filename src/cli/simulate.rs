//! `beaconfence simulate`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::model::{Timestamp, format_duration, parse_duration};
use crate::source::line::{device_sighting_line, sighting_line};
use crate::source::simulate::{Outage, Simulation, SimulationConfig, What};

use super::faults::site_or_faults;

const SIGHTINGS: &str = "sightings.jsonl";
const SIGHTINGS_GZ: &str = "sightings.jsonl.gz";
const TRUTH: &str = "truth.csv";
const EVENTS: &str = "events.csv";

/// Writes the sightings of simulated shoppers, with the truth beside them
///
/// The directory gets sightings.jsonl (what the receivers heard), truth.csv (where the devices were, twice a second) and
/// events.csv (when they entered and left zones). The same seed gives the same bytes.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
pub(super) struct Args {
    /// Site directory
    #[arg(long, value_name = "DIR")]
    site: PathBuf,
    /// Directory to write to; made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write into a directory that is not empty
    #[arg(long)]
    force: bool,
    /// Compress the sightings (sightings.jsonl.gz)
    #[arg(long)]
    gzip: bool,
    /// How long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    duration: Duration,
    /// What everything random follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Time of the first step
    #[arg(long, value_name = "INSTANT", default_value = "2026-01-01T10:00:00Z")]
    start: Timestamp,
    /// Shoppers: the first customers who may be tracked and carry a beacon [default: all]
    #[arg(long, value_name = "N")]
    shoppers: Option<usize>,
    /// How many of the shoppers stand still
    #[arg(long, value_name = "N", default_value_t = 0)]
    standing: usize,
    /// Phones of people who are not registered
    #[arg(long, value_name = "N", default_value_t = 10)]
    strangers: usize,
    /// Shoppers (and strangers) only: no staff, no things, no fixed beacons, nobody without consent
    #[arg(long)]
    shoppers_only: bool,
    /// Roles exchanged: the fixed beacons send, and the devices report what they hear of them; receivers hear nothing
    #[arg(long)]
    reported_by_devices: bool,
    /// Standard deviation of shadowing: constant for a place and a receiver
    #[arg(long, value_name = "DB", default_value_t = 4.0)]
    shadowing_db: f64,
    /// Standard deviation of fading: new for each packet
    #[arg(long, value_name = "DB", default_value_t = 4.0)]
    fading_db: f64,
    /// Share of packets that a receiver misses
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    packet_loss: f64,
    /// Path loss exponent
    #[arg(long, value_name = "N", default_value_t = 2.5)]
    exponent: f64,
    /// Loss of a floor
    #[arg(long, value_name = "DB", default_value_t = 15.0)]
    floor_db: f64,
    /// Advertising interval
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = parse_duration)]
    interval: Duration,
    /// A receiver hears nothing from FROM to TO after the start, such as "upper-west:2m:4m"; may be repeated
    #[arg(long, value_name = "RECEIVER:FROM:TO", value_parser = parse_outage)]
    outage: Vec<Outage>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(registry) = site_or_faults(&args.site) else { return Ok(ExitCode::FAILURE) };
    let (out, gzip) = (args.out.clone(), args.gzip);
    prepare(&out, args.force)?;
    let config = config(args);
    let (duration, seed) = (config.duration.unwrap_or_default(), config.seed);
    let simulation = Simulation::new(&registry, config)?;
    let cast = simulation.cast();

    let written = if gzip {
        let file = create(&out, SIGHTINGS_GZ)?;
        // No file name and no time in the header: the same seed gives the same bytes.
        let mut sightings = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        let written = write(simulation, &mut sightings, &mut create(&out, TRUTH)?, &mut create(&out, EVENTS)?)?;
        sightings.finish()?.flush()?;
        written
    } else {
        write(simulation, &mut create(&out, SIGHTINGS)?, &mut create(&out, TRUTH)?, &mut create(&out, EVENTS)?)?
    };

    tell!(
        "{} of {} shoppers with seed {seed}: {} sightings, {} true positions, {} true entries, {} true exits",
        format_duration(duration),
        cast.shoppers,
        written.sightings,
        written.positions,
        written.entered,
        written.exited
    );
    tell!(
        "beside them {} without consent, {} of staff, {} things, {} fixed beacons, {} strangers",
        cast.without_consent,
        cast.staff,
        cast.assets,
        cast.fixed,
        cast.strangers
    );
    tell!("written to {}", out.display());
    Ok(ExitCode::SUCCESS)
}

fn config(args: Args) -> SimulationConfig {
    let usual = SimulationConfig::default();
    SimulationConfig {
        seed: args.seed,
        start: args.start,
        duration: Some(args.duration),
        shoppers: args.shoppers,
        standing: args.standing,
        // In a short simulation too everybody comes.
        arrivals: usual.arrivals.min(args.duration.mul_f64(0.6)),
        company: !args.shoppers_only,
        strangers: args.strangers,
        reported_by_devices: args.reported_by_devices,
        interval: args.interval,
        path_loss_exponent: args.exponent,
        shadowing_db: args.shadowing_db,
        fading_db: args.fading_db,
        packet_loss: args.packet_loss,
        floor_loss_db: args.floor_db,
        outages: args.outage,
        truth_interval: Some(Duration::from_millis(500)),
        ..usual
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Written {
    sightings: u64,
    positions: u64,
    entered: u64,
    exited: u64,
}

fn write(
    simulation: Simulation,
    sightings: &mut impl Write,
    truth: &mut impl Write,
    events: &mut impl Write,
) -> anyhow::Result<Written> {
    use crate::source::simulate::CrossingKind::{Entered, Exited};
    let mut written = Written::default();
    writeln!(truth, "time,device,x,y,level")?;
    writeln!(events, "time,device,zone,event")?;
    for step in simulation {
        let time = step.time;
        match step.what {
            What::Heard(heard) => {
                written.sightings += 1;
                writeln!(sightings, "{}", sighting_line(&heard))?;
            }
            What::HeardByDevice(heard) => {
                written.sightings += 1;
                writeln!(sightings, "{}", device_sighting_line(&heard))?;
            }
            What::Position(at) => {
                written.positions += 1;
                writeln!(truth, "{time},{},{:.3},{:.3},{}", at.device, at.point.x, at.point.y, at.level)?;
            }
            What::Crossing(crossing) => {
                written.entered += u64::from(crossing.kind == Entered);
                written.exited += u64::from(crossing.kind == Exited);
                writeln!(events, "{time},{},{},{}", crossing.device, crossing.zone, crossing.kind.as_str())?;
            }
            // A sightings file has no word for it: an outage shows as silence.
            What::Receiver(..) => {}
        }
    }
    sightings.flush()?;
    truth.flush()?;
    events.flush()?;
    Ok(written)
}

fn parse_outage(text: &str) -> Result<Outage, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [receiver, from, to] = parts[..] else {
        return Err("write RECEIVER:FROM:TO, such as upper-west:2m:4m".to_owned());
    };
    Ok(Outage {
        receiver: receiver.parse().map_err(|error| format!("receiver: {error}"))?,
        from: parse_duration(from).map_err(|error| error.to_string())?,
        to: parse_duration(to).map_err(|error| error.to_string())?,
    })
}

/// Makes the directory; refuses one that holds something.
fn prepare(out: &Path, force: bool) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: cannot be made", out.display()))?;
    let mut entries = std::fs::read_dir(out).with_context(|| format!("{}: cannot be read", out.display()))?;
    if entries.next().is_some() {
        if !force {
            bail!("{} is not empty; give another directory, or --force to write into it", out.display());
        }
        // Of an earlier run: sightings that do not belong to the new truth.
        for name in [SIGHTINGS, SIGHTINGS_GZ] {
            let stale = out.join(name);
            if stale.exists() {
                std::fs::remove_file(&stale).with_context(|| format!("{}: cannot be removed", stale.display()))?;
            }
        }
    }
    Ok(())
}

fn create(out: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = out.join(name);
    Ok(BufWriter::new(File::create(&path).with_context(|| format!("{}: cannot be written", path.display()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::demo_registry;
    use crate::registry::Registry;

    fn registry() -> Registry {
        demo_registry().unwrap()
    }

    fn written(seed: u64) -> [String; 3] {
        let config = SimulationConfig {
            seed,
            duration: Some(Duration::from_secs(20)),
            shoppers: Some(24),
            strangers: 2,
            truth_interval: Some(Duration::from_millis(500)),
            ..SimulationConfig::default()
        };
        let mut files = [Vec::new(), Vec::new(), Vec::new()];
        let [sightings, truth, events] = &mut files;
        write(Simulation::new(&registry(), config).unwrap(), sightings, truth, events).unwrap();
        files.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert!(written(1) == written(1));
        assert!(written(1) != written(2));
    }

    #[test]
    fn every_sighting_is_a_line_of_json_with_whole_dbm() {
        let [sightings, ..] = written(1);
        let mut kinds = std::collections::BTreeSet::new();
        for line in sightings.lines() {
            let sighting: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(sighting["rssi"].is_i64(), "{line}");
            assert!(sighting["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
            let company = sighting["manufacturer_data"].as_object().and_then(|data| data.keys().next().cloned());
            kinds.insert(company.unwrap_or_else(|| sighting["service_data"].to_string().chars().take(6).collect()));
        }
        for kind in ["004c", "0118", "{\"feaa", "null"] {
            assert!(kinds.contains(kind), "{kind} of {kinds:?}");
        }
    }

    #[test]
    fn the_truth_is_written_as_the_scoring_reads_it() {
        let [_, truth, events] = written(1);
        assert_eq!(truth.lines().next(), Some("time,device,x,y,level"));
        let row: Vec<&str> = truth.lines().nth(1).unwrap().split(',').collect();
        assert_eq!((row.len(), row[0]), (5, "2026-01-01T10:00:00.000Z"));
        assert!(row[2].split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3));
        assert_eq!(events.lines().next(), Some("time,device,zone,event"));
        assert!(events.lines().any(|line| line.ends_with(",initial-inside")));
        assert!(events.lines().last().unwrap().ends_with(",end"));
        assert!(!events.contains("guest"), "who has not agreed is not in the truth either");
    }

    #[test]
    fn an_outage_is_read_as_it_is_written() {
        let outage = parse_outage("upper-west:90s:4m").unwrap();
        assert_eq!((outage.receiver.as_str(), outage.from.as_secs(), outage.to.as_secs()), ("upper-west", 90, 240));
        for bad in ["", "upper-west", "upper-west:1m", "a/b:1m:2m", "r:x:2m", "r:1m:2m:3m"] {
            assert!(parse_outage(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_that_holds_something_is_not_written_into() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/deeper");
        prepare(&out, false).unwrap();
        prepare(&out, false).unwrap();
        std::fs::write(out.join(SIGHTINGS_GZ), "old").unwrap();
        assert!(prepare(&out, false).unwrap_err().to_string().contains("not empty"));
        prepare(&out, true).unwrap();
        assert!(!out.join(SIGHTINGS_GZ).exists());
    }
}
