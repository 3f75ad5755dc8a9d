//! `beaconfence outbox`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::quiet_when_nobody_reads;
use crate::clock::wall_clock;
use crate::config::load_gateway;
use crate::gateway::control::SOCKET;
use crate::gateway::report::OutboxReport;
use crate::model::format_duration;
use crate::store::{self, StoreError};

/// How long a running gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many parked events are shown to people; `--json` has them all.
const MOST_SHOWN: usize = 10;

/// Shows what waits for the broker, and what became of the rest
///
/// Asks the gateway where it runs, and looks into its database where it does not. Counts are those of the epoch, the
/// life of the database.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's settings
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, _) = load_gateway(&args.config)?;
    let report = match ask(&config.data_dir)? {
        Some(report) => report,
        None => match look(&config.data_dir) {
            Err(StoreError::InUse { .. }) => anyhow::bail!(
                "a gateway runs on {} but cannot be asked through {}; its log says why (a path may have 107 bytes there)",
                config.data_dir.display(),
                config.data_dir.join(SOCKET).display()
            ),
            looked => looked?,
        },
    };
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut out, &report).map_err(Into::into).and_then(|()| Ok(writeln!(out)?))
    } else {
        show(&report, &mut out)
    };
    quiet_when_nobody_reads(written)?;
    Ok(ExitCode::SUCCESS)
}

/// The report of the gateway that runs on this directory; none where none does.
pub(super) fn ask(data_dir: &Path) -> anyhow::Result<Option<OutboxReport>> {
    let path = data_dir.join(SOCKET);
    let Ok(mut stream) = UnixStream::connect(&path) else { return Ok(None) };
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_to_end(&mut answer).with_context(|| format!("the gateway does not answer on {}", path.display()))?;
    let report = serde_json::from_slice(&answer)
        .with_context(|| format!("the gateway on {} is of another version than this command", path.display()))?;
    Ok(Some(report))
}

/// What the database says while no gateway runs.
pub(super) fn look(data_dir: &Path) -> Result<OutboxReport, StoreError> {
    let peek = store::peek(data_dir)?;
    let now = wall_clock().shifted(-peek.head.jumped_ms);
    let report = OutboxReport::of_store(peek.head.epoch, peek.head.sequence, &peek.status);
    let waiting = peek.waiting;
    Ok(report.with_waiting(waiting.count, waiting.bytes, waiting.oldest, now).with_parked(peek.parked))
}

fn show(report: &OutboxReport, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<14} {value}");
    line("gateway", if report.running { "running".to_owned() } else { "not running".to_owned() })?;
    if report.running {
        let state = match (&report.broker, &report.last_error) {
            (Some(broker), _) => format!("connected to {broker}"),
            (None, Some(error)) => format!("not connected: {error}"),
            (None, None) => "not connected yet".to_owned(),
        };
        line("broker", state)?;
    }
    if let Some(failing) = &report.store_failing {
        line("disk", format!("FAILING: {failing}"))?;
    }
    let oldest = report.oldest_s.map_or_else(String::new, |seconds| {
        format!(", the oldest for {}", format_duration(Duration::from_secs(seconds.max(0.0) as u64)))
    });
    line("waiting", format!("{} ({}){oldest}", report.depth, bytes(report.bytes)))?;
    line("in flight", report.in_flight.to_string())?;
    if report.uncommitted > 0 {
        line("not on disk", report.uncommitted.to_string())?;
    }
    let unheard = match report.unheard {
        0 => String::new(),
        unheard => format!(", {unheard} of them unheard: nobody was subscribed"),
    };
    line("acknowledged", format!("{}{unheard}", report.acknowledged))?;
    line("parked", report.parked.to_string())?;
    for parked in report.parked_events.iter().take(MOST_SHOWN) {
        line(
            "",
            format!(
                "sequence {}, {}: {}",
                parked.sequence,
                parked.topic.as_deref().unwrap_or("damaged"),
                parked.reason
            ),
        )?;
    }
    if report.parked_events.len() > MOST_SHOWN {
        line("", format!("and {} more", report.parked_events.len() - MOST_SHOWN))?;
    }
    let dropped: u64 = report.dropped.values().sum();
    let reasons: Vec<String> = report
        .dropped
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")))
        .collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    line("dropped", format!("{dropped}{reasons}"))?;
    line("kept", format!("{} can be asked for again", report.tail))?;
    line("on disk", bytes(report.disk_bytes))?;
    if let Some(record) = &report.record {
        let what = format!("{} sightings, {} dropped, {}", record.kept, record.dropped, bytes(record.bytes));
        line("recorded", what)?;
        if let Some(failing) = &record.failing {
            line("", format!("FAILING: {failing}"))?;
        }
    }
    line("epoch", format!("{}, next sequence {}", report.epoch, report.next_sequence))?;
    Ok(())
}

/// `12.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
