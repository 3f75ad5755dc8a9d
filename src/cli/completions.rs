//! `beaconfence completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Prints the completions for a shell
///
/// For instance: `beaconfence completions bash > /etc/bash_completion.d/beaconfence`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Into memory first: a closed pipe would make the generator panic.
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "beaconfence", &mut out);
    super::table::print(&String::from_utf8(out)?)?;
    Ok(ExitCode::SUCCESS)
}
