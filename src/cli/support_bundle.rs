//! `beaconfence support-bundle`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::client::{Connect, Request};
use super::outbox;
use super::outbox::bytes;
use super::table::print;
use crate::backup::registered;
use crate::clock::wall_clock;
use crate::config::{GatewayConfig, check};
use crate::support::{self, Part, Redactor};

/// Collects what is needed to help you, without anybody's identifiers or secrets
///
/// One zip file of short texts: versions, settings, status, counters, how much is registered, and the end of the log.
/// Secrets are replaced by `[secret]`; ids, names, addresses and places by pseudonyms such as `device-3f9a1c2e`, which
/// are the same throughout one bundle and cannot be turned back. Nothing is sent: look at it, then send it yourself.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's settings
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// The file to write, which must not be there [default: beaconfence-support-TIME.zip]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The gateway's log; its last 2,000 lines are taken [default: the journal of the unit beaconfence]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checked = check(Some(&args.config), None);
    let config = checked.gateway.as_ref();
    let mut redactor = Redactor::new()?;
    support::know_machine(&mut redactor);
    config.iter().for_each(|config| support::know_config(&mut redactor, config));
    checked.registry.iter().for_each(|registry| support::know_registry(&mut redactor, registry));
    let registered = config.map(|config| registered(&config.data_dir));
    if let Some(Ok(registered)) = &registered {
        support::know_registered(&mut redactor, registered);
    }

    let mut parts = vec![Part::plain("system.json", "versions and the machine", &support::system())];
    parts.push(match support::settings(&args.config) {
        Ok(text) => Part::text("gateway.toml", "settings, without comments", &text, &redactor),
        Err(error) => Part::text("gateway.toml", "settings: cannot be read", &format!("# {error}\n"), &redactor),
    });
    let mut faults = String::new();
    checked.diagnostics.iter().for_each(|diagnostic| {
        let _ = writeln!(faults, "{diagnostic}");
    });
    let about = format!("what `check` says: {}", super::table::counted(checked.diagnostics.len() as u64, "line"));
    parts.push(Part::text("check.txt", &about, &faults, &redactor));
    if let Some(config) = config {
        parts.extend(of_gateway(&args.config, config, &redactor));
    }
    parts.push(match &registered {
        Some(Ok(registered)) => {
            let shape = support::shape(registered);
            Part::document("registry.json", "how much is registered, no names", &shape, &redactor)
        }
        Some(Err(error)) => {
            let shape = json!({ "unreadable": error.to_string() });
            Part::document("registry.json", "the registry: cannot be read", &shape, &redactor)
        }
        None => Part::document("registry.json", "the registry: not without settings", &json!({}), &redactor),
    });
    parts.extend(log(args.log.as_deref(), &redactor)?);
    parts.insert(0, readme(&parts));

    let path = args.output.unwrap_or_else(|| {
        let time = wall_clock().to_string();
        let time: String = time.split('.').next().unwrap_or_default().replace(['-', ':'], "");
        PathBuf::from(format!("beaconfence-support-{time}Z.zip"))
    });
    let size = support::write(&path, &parts).with_context(|| format!("cannot write {}", path.display()))?;
    print(&said(&path, size, &parts))?;
    Ok(ExitCode::SUCCESS)
}

/// What the gateway says of itself, and what lies in its data directory.
fn of_gateway(file: &Path, config: &GatewayConfig, redactor: &Redactor) -> Vec<Part> {
    let mut parts = Vec::new();
    let connect = Connect::of(file.to_owned());
    let status = connect.client_if_running().and_then(|client| match client {
        Some(mut client) => client.send(&Request::get("/status"))?.json::<Value>(),
        None => Ok(json!({ "state": "not running" })),
    });
    let status = status.unwrap_or_else(|error| json!({ "state": "unknown", "error": format!("{error:#}") }));
    parts.push(Part::document("status.json", "status and counters of the gateway", &status, redactor));
    let report = match outbox::ask(&config.data_dir) {
        Ok(Some(report)) => serde_json::to_value(report).map_err(Into::into),
        Ok(None) => outbox::look(&config.data_dir)
            .map_err(Into::into)
            .and_then(|report| serde_json::to_value(report).map_err(Into::into)),
        Err(error) => Err(error),
    };
    let report = report.unwrap_or_else(|error: anyhow::Error| json!({ "unreadable": format!("{error:#}") }));
    parts.push(Part::document(
        "outbox.json",
        "what waits for the broker, and what became of the rest",
        &report,
        redactor,
    ));
    let files = support::listing(&config.data_dir);
    parts.push(Part::text("files.txt", "names and sizes in the data directory", &files, redactor));
    parts
}

/// The end of the log; a file that is named must be there.
fn log(file: Option<&Path>, redactor: &Redactor) -> anyhow::Result<Option<Part>> {
    let text = match file {
        Some(file) => Some(support::log_lines(file).with_context(|| format!("cannot read {}", file.display()))?),
        None => support::journal(),
    };
    let Some(text) = text else {
        tell!("note: the journal has nothing of the unit beaconfence; name the gateway's log with --log FILE");
        return Ok(None);
    };
    let about = format!("the log's last {}", super::table::counted(text.lines().count() as u64, "line"));
    Ok(Some(Part::text("log.txt", &about, &text, redactor)))
}

fn readme(parts: &[Part]) -> Part {
    let mut text = format!(
        "A support bundle of beaconfence {}, made at {}.\n\n\
         Secrets are replaced by [secret]. Ids, names, addresses, hosts, accounts and places are replaced by pseudonyms such as\n\
         device-3f9a1c2e: the same throughout this bundle, different in every other, and made with a key that was thrown away.\n\
         What is not known to the gateway is recognised by what it looks like, which can miss something: names of people in a\n\
         log, for instance. So look through these texts before you send them.\n\n",
        env!("CARGO_PKG_VERSION"),
        wall_clock(),
    );
    for part in parts {
        let _ = writeln!(text, "{:<14} {}", part.name, part.about);
    }
    Part { name: "README.txt", about: "what this is, and how it was redacted".to_owned(), text }
}

fn said(path: &Path, size: u64, parts: &[Part]) -> String {
    let mut out = format!("{} ({})\n", path.display(), bytes(size));
    for part in parts {
        let _ = writeln!(out, "  {:<14} {:>9}  {}", part.name, bytes(part.text.len() as u64), part.about);
    }
    out.push_str("Look at it before you send it: unzip -p FILE | less. Nothing was sent.\n");
    out
}
