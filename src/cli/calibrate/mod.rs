//! `beaconfence calibrate`: learns from a survey of the store.

mod gather;
mod report;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::quiet_when_nobody_reads;
use crate::config::{self, CALIBRATION, calibration_text};
use crate::position::survey::{self, holdout};
use crate::registry::Calibration;
use gather::Gathered;
use holdout::Comparison;

/// Learns from a survey how the store's receivers hear, and writes calibration.json into its site directory
///
/// The survey is a recording of sightings (--sightings), and a CSV that says where the device was when (--points). Fixed
/// beacons with a place in beacons.csv that the receivers hear are known places too; with enough of them --points may be
/// left out. What is learned is tried out on points that were held out; where it does not make positions better, or where the
/// survey is too poor to tell, nothing is written and the exit code is 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The site directory
    #[arg(long, value_name = "DIR")]
    site: PathBuf,
    /// The recording: a sightings file (JSON Lines), gzip or not
    #[arg(long, value_name = "FILE")]
    sightings: PathBuf,
    /// Where the device was when: CSV with the columns from,to,device,x,y,level
    #[arg(long, value_name = "FILE")]
    points: Option<PathBuf>,
    /// Write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why nothing is written, for people.
type Refusal = String;

/// What has come of it.
struct Outcome {
    learned: Option<(Calibration, Comparison)>,
    refusal: Option<Refusal>,
    /// Bytes written; none where nothing was.
    written: Option<usize>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (registry, warnings) = config::load_site_uncalibrated(&args.site)?;
    warnings.iter().for_each(|warning| tell!("{warning}"));
    let points = match &args.points {
        Some(file) => {
            let (points, warnings) = config::load_points(file, &registry)?;
            warnings.iter().for_each(|warning| tell!("{warning}"));
            points
        }
        None => Vec::new(),
    };
    let gathered = gather::gather(&args.sightings, &registry, &points)?;
    gathered.tell(args.points.as_deref());

    let mut outcome = learn(&registry, &gathered);
    let file = args.site.join(CALIBRATION);
    if let (Some((calibration, _)), None, false) = (&outcome.learned, &outcome.refusal, args.dry_run) {
        let text = calibration_text(&registry.site().id, calibration);
        write(&file, text.as_bytes()).with_context(|| format!("{} cannot be written", file.display()))?;
        outcome.written = Some(text.len());
    }
    let out = if args.json {
        report::json(&registry, &gathered, &outcome, &file)
    } else {
        report::table(&registry, &gathered, &outcome, &file)
    };
    quiet_when_nobody_reads(io::stdout().lock().write_all(out.as_bytes()).map_err(Into::into))?;
    if let Some(refusal) = &outcome.refusal {
        let left = if file.exists() { "is left as it was" } else { "is not written" };
        tell!("error: {refusal}; {} {left}", file.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Learns, and looks what that is worth.
fn learn(registry: &crate::registry::Registry, gathered: &Gathered) -> Outcome {
    let refuse = |refusal: String| Outcome { learned: None, refusal: Some(refusal), written: None };
    let (places, recording) = (&gathered.places, &gathered.recording);
    let calibration = match survey::fit(registry, places, recording.clone()) {
        Ok(calibration) => calibration,
        Err(error) => return refuse(error.to_string()),
    };
    match holdout::compare(registry, places, recording) {
        Err(error) => refuse(format!("the survey is too poor to hold out a part of it: {error}")),
        Ok(comparison) => {
            let (level, position) = (comparison.level, comparison.position);
            let refusal = if position.is_worse() {
                Some(format!(
                    "positions would get worse: on points that were held out they are {:.2} m off with the survey, and {:.2} m \
                     without; look whether points and recording belong together",
                    position.after, position.before
                ))
            } else if level.is_worse() {
                Some(format!(
                    "the levels would be predicted worse: on points that were held out they are {:.1} dB off with the survey, \
                     and {:.1} dB without; look whether points and recording belong together",
                    level.after, level.before
                ))
            } else {
                None
            };
            Outcome { learned: Some((calibration, comparison)), refusal, written: None }
        }
    }
}

/// Writes the whole file or leaves the old one, whatever happens meanwhile.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = file.with_extension(format!("json.{}.new", std::process::id()));
    let written = (|| {
        let mut new = File::create(&beside)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        // The name is in the directory, which has a cache of its own.
        match file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => File::open(dir)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
