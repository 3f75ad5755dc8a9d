//! `beaconfence decode`.

use std::process::ExitCode;

/// Decodes advertising data, JSON Lines in and out
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
