//! `beaconfence export`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::client::{Client, Connect, MOST_EXPORT_BYTES, Request};
use super::offline;
use super::table::{counted, print};
use crate::config::{self, Plans};
use crate::registry::Registry;

/// Writes the registry into a site directory, which apply, check and replay read
///
/// Speaks to the gateway where it runs, and reads its data directory where it does not. The directory is made where it is
/// missing; one that is there must be empty or a site directory already, whose files are written anew.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The site directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    connect: Connect,
}

/// What the API exports.
#[derive(Debug, serde::Deserialize)]
struct Exported {
    files: BTreeMap<String, String>,
    #[serde(default)]
    plans: Option<BTreeMap<String, String>>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (registry, pictures) = read(&args.connect)?;
    config::write_site(&args.dir, &registry, &pictures)?;
    let rules = registry.rules().triggers.len() as u64;
    let rules = if rules == 0 { String::new() } else { format!(", {}", counted(rules, "trigger")) };
    print(&format!(
        "site \"{}\" is in {}: {}, {}, {}, {}, {}{rules}\n",
        registry.site().id,
        args.dir.display(),
        counted(registry.site().levels.len() as u64, "level"),
        counted(registry.receivers().len() as u64, "receiver"),
        // The reserved zone is always there; people count those that they drew.
        counted(registry.zones().len().saturating_sub(1) as u64, "zone"),
        counted(registry.beacons().len() as u64, "beacon"),
        counted(registry.devices().len() as u64, "device"),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The registry of the gateway where it runs, and of its data directory where it does not, with the pictures of its levels.
pub(super) fn read(connect: &Connect) -> anyhow::Result<(Arc<Registry>, Plans)> {
    match connect.client_if_running()? {
        Some(mut client) => fetch(&mut client),
        None => offline::read(connect),
    }
}

/// What the gateway exports, read as any site is: nothing is written that could not be applied again.
fn fetch(client: &mut Client) -> anyhow::Result<(Arc<Registry>, Plans)> {
    let Exported { files, plans } = client.send(&Request::get("/export").long(MOST_EXPORT_BYTES))?.json()?;
    let pictures = plans.unwrap_or_default().into_iter().map(|(name, text)| {
        let picture =
            crate::http::base64::decode(&text).with_context(|| format!("the floor plan {name:?} arrives damaged"))?;
        Ok((name, picture))
    });
    let pictures = pictures.collect::<anyhow::Result<_>>()?;
    let (registry, pictures, _) = config::read_site_texts(files, pictures)?;
    Ok((Arc::new(registry), pictures))
}
