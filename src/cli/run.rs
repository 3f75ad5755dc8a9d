//! `beaconfence run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::sync::watch;

use super::stop::stop_signal;
use crate::config::{self, Severity};
use crate::gateway;
use crate::source::live::Feed;

/// Runs the gateway
///
/// Scans on the adapters that gateway.toml names, and publishes until SIGINT or SIGTERM. The log goes to stderr;
/// `BEACONFENCE_LOG` sets what is in it, such as `debug` or `warn,beaconfence::mqtt=debug`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// This gateway's settings
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Takes in sightings as they are heard elsewhere, too: JSON Lines on standard input (`-`) or a named pipe
    #[arg(long, value_name = "PATH")]
    sightings: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checked = config::check(Some(&args.config), None);
    let faulty = checked.count(Severity::Error) > 0;
    checked.diagnostics.iter().for_each(|diagnostic| tell!("{diagnostic}"));
    let (Some(config), Some(registry), false) = (checked.gateway, checked.registry, faulty) else {
        return Ok(ExitCode::FAILURE);
    };
    super::log::start("info");
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        let (shutdown, stopped) = watch::channel(false);
        tokio::spawn(async move {
            stop.await;
            let _ = shutdown.send(true);
        });
        gateway::run(config, registry, args.sightings.as_deref().map(Feed::from), stopped).await?;
        Ok(ExitCode::SUCCESS)
    })
}
