//! `beaconfence simulate`.

use std::process::ExitCode;

/// Writes the sightings of simulated shoppers, with the truth beside them
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
