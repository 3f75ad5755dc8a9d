//! `beaconfence run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use tokio::sync::watch;

use super::stop::stop_signal;
use crate::config::{self, GatewayConfig, Plans, Severity};
use crate::gateway::{self, First};
use crate::model::SiteId;
use crate::registry::Registry;
use crate::source::live::Feed;
use crate::store;

/// Runs the gateway
///
/// Scans on the adapters that gateway.toml names, and publishes until SIGINT or SIGTERM. The log goes to stderr, or where
/// gateway.toml says; `BEACONFENCE_LOG` sets what is in it, such as `debug` or `warn,beaconfence::mqtt=debug`. SIGHUP reads
/// gateway.toml again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// This gateway's settings
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// Takes in sightings as they are heard elsewhere, too: JSON Lines on standard input (`-`) or a named pipe
    #[arg(long, value_name = "PATH")]
    sightings: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checked = config::check_to_run(&args.config);
    let faulty = checked.count(Severity::Error) > 0;
    checked.diagnostics.iter().for_each(|diagnostic| tell!("{diagnostic}"));
    let (Some(config), false) = (checked.gateway, faulty) else { return Ok(ExitCode::FAILURE) };
    let first = first(&config, checked.registry);
    let feed = args.sightings.as_deref().map(feed).transpose()?;
    super::log::start(&config.log);
    let (file, log) = (args.config, config.log.clone());
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let stop = stop_signal()?;
        super::reload::on_hangup(file, log)?;
        let (shutdown, stopped) = watch::channel(false);
        tokio::spawn(async move {
            stop.await;
            let _ = shutdown.send(true);
        });
        // Beside the start, which it neither holds up nor prevents.
        tokio::spawn(crate::doctor::at_start(config.clone()));
        gateway::run(config, first, feed, stopped).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// What it begins with where nothing is registered in its database: the site directory, or else an empty store, which has the id
/// of the gateway. Whoever edits a site directory that was taken in before is told that it is not read any more.
fn first(config: &GatewayConfig, checked: Option<Registry>) -> Option<First> {
    if let Some(directory) = &config.site {
        let (registry, plans, _) = config::load_site_with_plans(directory).ok()?;
        return Some(First { registry: checked.unwrap_or(registry), plans });
    }
    if store::is_there(&config.data_dir) {
        return None;
    }
    let here = jiff::tz::TimeZone::system();
    // Both kinds of id are made of the same characters.
    let id = SiteId::new(config.id.as_str()).ok()?;
    let registry = Registry::empty(id, here.iana_name().unwrap_or("UTC"));
    Some(First { registry, plans: Plans::new() })
}

/// Where sightings are to come from; what can never give any is refused here.
fn feed(path: &Path) -> anyhow::Result<Feed> {
    let feed = Feed::from(path);
    if let Feed::Path(path) = &feed {
        let name = path.display();
        let found = std::fs::metadata(path).with_context(|| {
            format!("--sightings {name}: make a named pipe with mkfifo, or write - for standard input")
        })?;
        anyhow::ensure!(!found.is_dir(), "--sightings {name}: it is a directory; name a pipe or a file in it");
    }
    Ok(feed)
}
