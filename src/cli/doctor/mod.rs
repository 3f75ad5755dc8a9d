//! `beaconfence doctor`.

mod show;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::client::{Connect, Request};
use super::table;
use crate::doctor::finding::Check;
use crate::doctor::{self, Ask};
use crate::model::parse_duration;

/// Looks at all that a gateway needs, and says what is wrong and what to do about it
///
/// Configuration, radios, broker, clock, disk, memory and ports. A gateway that runs is not disturbed. The exit code is
/// 1 where something has failed; warnings leave it 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's settings
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// Print one JSON object with all findings
    #[arg(long)]
    json: bool,
    /// Look only at these
    #[arg(long, value_name = "CHECK", num_args = 1.., value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// How long to listen for advertisements; 0s not at all
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    listen: Duration,
}

fn names() -> PossibleValuesParser {
    Check::ALL.map(Check::as_str).into()
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What the parts that are tried have to say stands in the report; who looks for more sets the variable.
    super::log::start_at("off");
    let only = args.only.iter().filter_map(|name| Check::named(name)).collect();
    let request = doctor::Request { config: args.config, only, listen: args.listen, ask: ask() };
    if !args.json && std::io::stderr().is_terminal() && request.listens() {
        tell!("looking, and listening for {} s …", request.listen.as_secs());
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let report = runtime.block_on(doctor::examine(&request));
    // What still hangs is not waited for.
    runtime.shutdown_background();
    table::print(&if args.json { format!("{}\n", report.json()) } else { show::report(&report, table::width()) })?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks over the socket in the data directory.
fn ask() -> Ask {
    Arc::new(|data_dir| {
        let mut connect = Connect::default();
        connect.data_dir = Some(data_dir.to_owned());
        let status = || -> anyhow::Result<Option<Value>> {
            let Some(mut client) = connect.client_if_running()? else { return Ok(None) };
            Ok(Some(client.send(&Request::get("/status"))?.json()?))
        };
        status().map_err(|error| format!("{error:#}"))
    })
}
