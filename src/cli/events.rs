//! `beaconfence events`.

use std::process::ExitCode;

/// Prints the events that a broker delivers
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
