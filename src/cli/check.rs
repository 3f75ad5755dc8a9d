//! `beaconfence check`.

use std::process::ExitCode;

/// Validates gateway.toml and a site directory, and reports all faults at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
