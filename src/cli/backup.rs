//! `beaconfence backup`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::outbox::bytes;
use super::quiet_when_nobody_reads;
use super::table::counted;
use crate::backup::{TakeOrder, Taken, take};
use crate::clock::wall_clock;
use crate::config::load_gateway;

/// Copies what the gateway keeps into one file, while it runs or not
///
/// The copy is of one moment: what is registered, with floor plans, history and tokens, what rules remember, and the
/// events that wait. It is read again before it gets its name. It holds personal data, and is readable for you only;
/// settings (gateway.toml) and passwords are not in it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's settings
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// The file to write, which must not be there; or a directory, in which each backup gets a name of its own
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    output: PathBuf,
    /// Leaves the latest N backups of this gateway in the directory, and deletes the older ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    keep: Option<u16>,
    /// Takes the recorded sightings, too: what is erased from the gateway stays in its backups
    #[arg(long)]
    recordings: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, _) = load_gateway(&args.config)?;
    if args.keep.is_some() && !args.output.is_dir() {
        tell!("error: --keep is for a directory of backups; --output {} is none", args.output.display());
        return Ok(ExitCode::from(2));
    }
    let begun = Instant::now();
    let order = TakeOrder {
        config: &config,
        output: &args.output,
        keep: args.keep.map(usize::from),
        recordings: args.recordings,
        now: wall_clock(),
    };
    let taken = take(&order)?;
    quiet_when_nobody_reads(show(&taken, begun.elapsed().as_secs_f64()))?;
    Ok(ExitCode::SUCCESS)
}

fn show(taken: &Taken, seconds: f64) -> anyhow::Result<()> {
    use std::io::Write as _;
    let Taken { path, bytes: size, manifest, deleted } = taken;
    let mut out = std::io::stdout().lock();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<10} {value}");
    line("backup", format!("{} ({}, {seconds:.1} s, read again and found whole)", shown(path), bytes(*size)))?;
    let state = if manifest.running { "while it runs" } else { "while it does not run" };
    line("of", format!("gateway {}, site {}, {state}", manifest.gateway, manifest.site))?;
    line("epoch", format!("{}, next sequence {}", manifest.epoch, manifest.sequence))?;
    line(
        "holds",
        format!(
            "{}, {} with a memory, {} that wait{}",
            counted(manifest.rows, "row"),
            counted(manifest.devices, "device"),
            counted(manifest.waiting, "event"),
            if manifest.recordings { ", recordings" } else { "" }
        ),
    )?;
    for old in deleted {
        line("deleted", shown(old))?;
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
