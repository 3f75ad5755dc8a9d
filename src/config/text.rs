//! Files into text: bounded, UTF-8, with line numbers.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::diagnostic::FileReport;

/// Reads a text file of at most `limit` bytes, without its byte order mark. Reports the one fault that stands in the way.
pub(super) fn read(report: &FileReport, limit: u64, when_missing: &str) -> Option<String> {
    let bytes = match report.text().map_or_else(|| read_bytes(report.file(), limit), |text| bounded(text, limit)) {
        Ok(bytes) => bytes,
        Err(ReadError::Missing) => {
            report.error("the file is missing").help(when_missing);
            return None;
        }
        Err(error) => {
            report.error(error.to_string());
            return None;
        }
    };
    let wide = [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark));
    if wide || bytes.iter().take(64).filter(|&&b| b == 0).count() > 8 {
        report.error("the file is UTF-16 (from byte offset 0)").at(1).help("save it as UTF-8");
        return None;
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            report
                .error(format!("byte 0x{:02x} at byte offset {offset} of the file is not UTF-8", bytes[offset]))
                .at(bytes[..offset].split(|&b| b == b'\n').count())
                .help("save the file as UTF-8");
            return None;
        }
    };
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    if text.trim().is_empty() {
        report.error("the file is empty").at(1).help(when_missing);
        return None;
    }
    Some(text)
}

fn bounded(text: &str, limit: u64) -> Result<Vec<u8>, ReadError> {
    if text.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(text.into()) }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// There is none.
    #[error("the file is missing")]
    Missing,
    /// It is a directory.
    #[error("this is a directory; a file is wanted here")]
    Directory,
    /// A pipe, a device or a socket could block for ever.
    #[error("this is not a regular file; pipes and devices are not read")]
    NotRegular,
    /// It is larger than anything sensible.
    #[error("the file is larger than {} MiB, the most that is read; split it, or look whether it is the right file", .0 >> 20)]
    TooLarge(u64),
    /// The system says no.
    #[error("the file cannot be read: {0}; check its owner and permissions")]
    Io(io::Error),
}

/// The bytes of a regular file of at most `limit` bytes.
pub(super) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let io_error = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        _ => ReadError::Io(error),
    };
    // Asked before opening, because opening a pipe blocks until somebody writes.
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    if metadata.is_dir() {
        return Err(ReadError::Directory);
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that grew from one that fits.
    File::open(path).map_err(io_error)?.take(limit + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(bytes) }
}

/// Byte offsets into lines.
#[derive(Debug)]
pub(super) struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self { ends: text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at).collect() }
    }

    /// The line, counted from 1, that holds the byte at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|&end| end < offset) + 1
    }
}

/// `did you mean "…"?` where a known word is near, the list of known words otherwise.
pub(crate) fn nearest(word: &str, known: &[&str]) -> String {
    // Two typing errors in a long word, one in a short one.
    let short: String = word.chars().take(64).collect();
    let best = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&short.to_lowercase(), &candidate.to_lowercase()), candidate))
        .min_by_key(|&(distance, _)| distance);
    match best {
        Some((distance, candidate)) if distance <= 1 + candidate.len().min(short.len()) / 4 => {
            format!("did you mean \"{candidate}\"?")
        }
        _ => format!("known are {}", known.join(", ")),
    }
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines() {
        let lines = Lines::of("ab\ncd\n\nx");
        for (offset, line) in [(0, 1), (2, 1), (3, 2), (5, 2), (6, 3), (7, 4), (99, 4)] {
            assert_eq!(lines.line(offset), line, "{offset}");
        }
    }

    #[test]
    fn the_nearest_word_is_proposed_where_one_is_near() {
        let known = ["enter_probability", "id", "name"];
        assert_eq!(nearest("enter_probabilty", &known), "did you mean \"enter_probability\"?");
        assert_eq!(nearest("Id", &known), "did you mean \"id\"?");
        assert_eq!(nearest("colour", &known), "known are enter_probability, id, name");
    }
}
