//! `beaconfence run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::sync::watch;

use super::faults::site_or_faults;
use super::stop::stop_signal;
use crate::{config, gateway};

/// Runs the gateway
///
/// Scans on the adapters that gateway.toml names, and publishes until SIGINT or SIGTERM. The log goes to stderr;
/// `BEACONFENCE_LOG` sets what is in it, such as `debug` or `warn,beaconfence::mqtt=debug`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// This gateway's settings
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = match config::load_gateway(&args.config) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("{warning}"));
            config
        }
        Err(faults) => {
            eprintln!("{faults}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(registry) = site_or_faults(&config.site) else { return Ok(ExitCode::FAILURE) };
    for adapter in &config.adapters {
        if registry.receiver(&adapter.receiver).is_none() {
            anyhow::bail!(
                "{}: an adapter is receiver \"{}\", which {} does not have; add it there, or name one that it has",
                args.config.display(),
                adapter.receiver,
                config.site.join("site.toml").display()
            );
        }
    }
    super::log::start("info");
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        let (shutdown, stopped) = watch::channel(false);
        tokio::spawn(async move {
            stop.await;
            let _ = shutdown.send(true);
        });
        gateway::run(config, registry, stopped).await?;
        Ok(ExitCode::SUCCESS)
    })
}
