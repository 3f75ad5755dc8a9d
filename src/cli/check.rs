//! `beaconfence check`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{self, Checked, Diagnostic, Severity};
use crate::registry::Registry;

/// Validates gateway.toml and a site directory, and reports all faults at once
///
/// Faults go to standard error, one a line; warnings and the summary go to standard output. The exit code is 1 where
/// there is a fault; warnings leave it 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's file, checked with its site directory [default: gateway.toml, or else /etc/beaconfence/gateway.toml, where --site is not given either]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The site directory, in place of the one that gateway.toml names
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// Print one JSON object with the summary, the faults and the warnings
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { mut config, site, json } = args;
    if config.is_none() && site.is_none() {
        config = Some(super::usual_settings());
    }
    let checked = config::check(config.as_deref(), site.as_deref());
    let (errors, mut out) = (checked.count(Severity::Error), String::new());
    {
        let mut stderr = io::stderr().lock();
        for fault in checked.diagnostics.iter().filter(|d| d.severity == Severity::Error) {
            // A closed standard error is no reason to fail otherwise than by the exit code.
            let _ = writeln!(stderr, "{fault}");
        }
    }
    if json {
        out.push_str(&as_json(&checked).to_string());
        out.push('\n');
    } else {
        for warning in checked.diagnostics.iter().filter(|d| d.severity == Severity::Warning) {
            let _ = writeln!(out, "{warning}");
        }
        out.push_str(&summary(&checked));
        out.push('\n');
    }
    match io::stdout().lock().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(checked: &Checked) -> String {
    let (errors, warnings) = (checked.count(Severity::Error), checked.count(Severity::Warning));
    let noted = if warnings == 0 { String::new() } else { format!(", {}", count(warnings, "warning")) };
    if errors > 0 {
        return format!("{}{noted}", count(errors, "fault"));
    }
    match &checked.registry {
        Some(registry) => {
            let site = registry.site();
            let surveyed = match surveyed(registry) {
                Some(number) => format!(", {number} of {} surveyed", count(registry.receivers().len(), "receiver")),
                None => String::new(),
            };
            let rules = registry.rules().triggers.len();
            let rules = if rules == 0 { String::new() } else { format!(", {}", count(rules, "trigger")) };
            format!(
                "ok: site \"{}\" ({}): {}, {}, {}, {}, {}{rules}{surveyed}{noted}",
                site.id,
                site.name.escape_debug(),
                count(site.levels.len(), "level"),
                count(registry.receivers().len(), "receiver"),
                // The reserved zone is always there; people count those that they drew.
                count(registry.zones().len() - 1, "zone"),
                count(registry.beacons().len(), "beacon"),
                count(registry.devices().len(), "device"),
            )
        }
        None => format!("ok{noted}"),
    }
}

/// How many receivers have a survey that is used; none where there is no calibration.
fn surveyed(registry: &Registry) -> Option<usize> {
    let calibration = registry.calibration()?;
    Some(registry.receivers().iter().filter(|receiver| calibration.of(receiver).is_some()).count())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn as_json(checked: &Checked) -> Value {
    let of = |severity| -> Vec<Value> {
        checked.diagnostics.iter().filter(|d| d.severity == severity).map(diagnostic).collect()
    };
    json!({
        "ok": checked.count(Severity::Error) == 0,
        "site": checked.registry.as_ref().map(|registry| json!({
            "id": registry.site().id,
            "name": registry.site().name,
            "levels": registry.site().levels.len(),
            "receivers": registry.receivers().len(),
            "receivers_surveyed": surveyed(registry),
            "zones": registry.zones().len() - 1,
            "beacons": registry.beacons().len(),
            "devices": registry.devices().len(),
            "triggers": registry.rules().triggers.len(),
        })),
        "faults": of(Severity::Error),
        "warnings": of(Severity::Warning),
    })
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "file": diagnostic.file.to_string_lossy(),
        "line": diagnostic.line,
        "record": diagnostic.record,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}
