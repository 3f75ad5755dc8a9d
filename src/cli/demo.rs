//! `beaconfence demo`.

pub mod store;

use std::process::ExitCode;

/// Shows the main job with nothing else installed: embedded broker, simulated shoppers
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not built yet")
}
