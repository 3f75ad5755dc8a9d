//! `beaconfence replay`.

use std::process::ExitCode;

/// Replays a sightings file or a capture through the engine, JSON Lines out
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
