//! `beaconfence man`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Cli;

/// Prints the manual page, or writes one for each command into a directory
///
/// For instance: beaconfence man | man -l -, or beaconfence man /usr/local/share/man/man1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to write the pages; made where it is missing
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        super::table::print(&page(&Man::new(command))?)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let written = write(&command, dir)?;
    super::table::print(&format!("{} in {}\n", super::table::counted(written, "page"), dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those below it; returns how many that were.
fn write(command: &clap::Command, dir: &Path) -> anyhow::Result<u64> {
    let own = Man::new(command.clone());
    let file = dir.join(own.get_filename());
    std::fs::write(&file, page(&own)?).with_context(|| format!("{} cannot be written", file.display()))?;
    command.get_subcommands().try_fold(1, |written, below| Ok(written + write(below, dir)?))
}

fn page(of: &Man) -> anyhow::Result<String> {
    let mut out = Vec::new();
    of.render(&mut out)?;
    Ok(String::from_utf8(out)?)
}
