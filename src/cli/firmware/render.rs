//! `beaconfence firmware render`.

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::{Choice, Source, target_parser};
use crate::cli::table::{counted, print};
use crate::firmware::air::Air;
use crate::firmware::plan::Row;
use crate::firmware::{self, Interval, Rendered, Settings, Subject, Target};

/// Makes the files of a target, filled in from the registry
///
/// A single file goes to standard output, several need a directory: firmware render shelf-a --target zephyr --output
/// build. sheet and labels take all beacons where none is named; bluez needs neither a beacon nor a gateway.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The beacons
    #[arg(value_name = "BEACON")]
    beacons: Vec<String>,
    /// What for
    #[arg(long, value_parser = target_parser(Target::ALL))]
    target: Target,
    #[command(flatten)]
    choice: Choice,
    /// Directory for the files, which are written anew; - is standard output, for one file
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = args.choice.settings(args.target)?;
    if args.target == Target::Bluez {
        anyhow::ensure!(args.beacons.is_empty(), "bluez is about the gateway's own radio; name no beacon");
        return write(args, &firmware::render(args.target, &[], &settings)?);
    }
    let lists = matches!(args.target, Target::Sheet | Target::Labels);
    anyhow::ensure!(
        lists || !args.beacons.is_empty(),
        "name the beacons: beaconfence firmware render BEACON… --target {}",
        args.target.as_str()
    );
    let registry = args.source.registry()?;
    let subjects = if args.beacons.is_empty() {
        Subject::all(&registry)
    } else {
        args.beacons.iter().map(|id| Subject::find(&registry, id)).collect::<Result<_, _>>()?
    };
    anyhow::ensure!(!subjects.is_empty(), "no beacon is registered yet; \"beaconfence beacon add\" registers one");
    let files = firmware::render(args.target, &subjects, &settings)?;
    advise(args.target, &subjects, &settings);
    write(args, &files)
}

/// What is made of the beacons, and what is to be thought of.
fn advise(target: Target, subjects: &[Subject<'_>], settings: &Settings) {
    if let Some(longest) = subjects.iter().max_by_key(|subject| settings.bytes(subject)) {
        let row = Row::new(settings, settings.bytes(longest), &Air::default(), &settings.presence());
        tell!("{}; \"beaconfence firmware plan\" compares", row.summary(settings));
        if row.is_too_rare() {
            tell!(
                "note: so rare a beacon is silent for the 60 s of lost_after by chance; \
                 set a shorter interval or a longer lost_after"
            );
        }
    }
    if settings.interval.ms() < Interval::LEAST_BEFORE_5 {
        tell!(
            "note: before Bluetooth 5.0 a beacon that is not connectable has to leave {} ms; \
             older controllers refuse less",
            Interval::LEAST_BEFORE_5
        );
    }
    if target == Target::Linux && settings.tx_power != Settings::USUAL_POWER {
        tell!(
            "note: whether a power can be chosen is up to the controller; \
             those without extended advertising keep their own"
        );
    }
}

fn write(args: &Args, files: &[Rendered]) -> anyhow::Result<ExitCode> {
    let dir = match (&args.output, files) {
        (Some(dir), _) if dir.as_os_str() != "-" => dir,
        (_, [file]) => {
            print(&file.text)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => anyhow::bail!("these are {} files; name a directory for them with --output DIR", files.len()),
    };
    for file in files {
        write_file(dir, file)?;
    }
    let names: Vec<String> = files.iter().map(|file| format!("  {}\n", file.path)).collect();
    print(&format!("{} in {}:\n{}", counted(files.len() as u64, "file"), dir.display(), names.concat()))?;
    Ok(ExitCode::SUCCESS)
}

fn write_file(dir: &Path, file: &Rendered) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // Ids are made so that this holds; it is what the directory's owner relies on.
    let is_below = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
    anyhow::ensure!(is_below, "{} is no file below a directory", file.path);
    let path = dir.join(&file.path);
    let fault = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(fault)?;
    }
    std::fs::write(&path, &file.text).with_context(fault)?;
    let mode = if file.is_program { 0o755 } else { 0o644 };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).with_context(fault)
}
