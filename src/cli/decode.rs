//! `beaconfence decode`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::advert::line::{LineDecoder, MAX_LINE};
use crate::source::lines::{Line, Lines};

/// Decodes advertising data, JSON Lines in and out
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON Lines such as {"adv":"0201061aff4c000215…"}; standard input where it is missing or -
    file: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file } = args;
    let output = io::stdout().lock();
    let (name, result) = match file.filter(|path| path.as_os_str() != "-") {
        None => ("standard input".to_owned(), decode(io::stdin().lock(), output)),
        Some(path) => {
            let input = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            (path.display().to_string(), decode(input, output))
        }
    };
    match result {
        Err(Failure::Read(error)) => Err(error).with_context(|| format!("cannot read {name}")),
        // Whoever reads the output has enough, as `head` has.
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Failure::Write(error)) => Err(error).context("cannot write to standard output"),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

enum Failure {
    Read(io::Error),
    Write(io::Error),
}

/// One line of output for each of input. What is decoded is written before more input is waited for.
fn decode(input: impl Read, mut output: impl Write) -> Result<(), Failure> {
    /// How much output is gathered at most before it is written, in bytes, short of a line.
    const ENOUGH: usize = 64 * 1024;
    let mut lines = Lines::new(input, MAX_LINE);
    let mut decoder = LineDecoder::default();
    let mut out = Vec::with_capacity(2 * ENOUGH);
    loop {
        if !out.is_empty() && (out.len() >= ENOUGH || !lines.is_buffered()) {
            output.write_all(&out).and_then(|()| output.flush()).map_err(Failure::Write)?;
            out.clear();
        }
        match lines.next_line().map_err(Failure::Read)? {
            None => break,
            Some(Line::Whole(line)) => decoder.decode(line, &mut out),
            Some(Line::TooLong) => decoder.too_long(&mut out),
        }
    }
    output.write_all(&out).and_then(|()| output.flush()).map_err(Failure::Write)
}
