//! Files of observations: sightings files and captures, told apart by how they begin, gzip or not.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::btsnoop::{self, Btsnoop, CaptureError};
use super::sightings::{SightingError, Sightings};
use crate::engine::Input;
use crate::model::{ReceiverId, Timestamp};

/// What a file can be wrong in, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}{at}: {cause}")]
pub struct ReplayError {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub at: Place,
    /// What is wrong.
    #[source]
    pub cause: Cause,
}

impl ReplayError {
    /// Whether nothing can be read behind it. The others cost one line or record.
    pub fn is_fatal(&self) -> bool {
        match &self.cause {
            Cause::Sighting(_) => false,
            Cause::Capture(error) => error.is_fatal(),
            _ => true,
        }
    }
}

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No place in particular.
    File,
    /// A line, counted from 1.
    Line(u64),
    /// A record of a capture, counted from 1.
    Record(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Line(line) => write!(f, ":{line}"),
            Self::Record(record) => write!(f, ": record {record}"),
        }
    }
}

/// What is wrong in a file.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It cannot be read on.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is a gzip file that lacks its end.
    #[error("the gzip data ends early; the file was not copied or written to its end")]
    GzipTruncated,
    /// It is a gzip file that is damaged.
    #[error("the gzip data is damaged; copy the file again")]
    GzipDamaged,
    /// It is a capture of a kind that is not read.
    #[error("{0} captures are not read; convert it to btsnoop (File > Save As in Wireshark)")]
    OtherCapture(&'static str),
    /// It is a capture, and no receiver was given.
    #[error("a capture does not say which receiver heard it; name the receiver")]
    NoReceiver,
    /// It is a directory that holds no recording.
    #[error("the directory holds no sightings file; their names end in .jsonl or .jsonl.gz")]
    NoFiles,
    /// A line is wrong.
    #[error(transparent)]
    Sighting(#[from] SightingError),
    /// A capture or one of its records is wrong.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

impl Cause {
    fn of_read(error: io::Error, gzip: bool) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if gzip => Self::GzipTruncated,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if gzip => Self::GzipDamaged,
            _ => Self::Read(error),
        }
    }
}

/// What a replay passed over without an error, since it says nothing of a file's quality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Advertisements of a capture without an RSSI.
    pub without_rssi: u64,
    /// Faulty AD structures of a capture; the whole ones beside them were delivered.
    pub faulty_structures: u64,
    /// Extended advertisements of a capture whose fragments are not all there.
    pub incomplete: u64,
}

/// Opens a sightings file or a btsnoop capture, gzip or not. `receiver` is the one that heard a capture, which does not
/// say so itself.
///
/// # Errors
/// [`ReplayError`] where the file cannot be opened, is of a kind that is not read, or its start is damaged.
pub fn open(path: &Path, receiver: Option<ReceiverId>) -> Result<Replay, ReplayError> {
    let file = path.display().to_string();
    match File::open(path) {
        Ok(reader) => read(&file, reader, receiver),
        Err(error) => Err(ReplayError { file, at: Place::File, cause: Cause::Open(error) }),
    }
}

/// As [`open`], from a reader; `file` names it in errors.
///
/// # Errors
/// As [`open`].
pub fn read(
    file: &str,
    reader: impl Read + Send + 'static,
    receiver: Option<ReceiverId>,
) -> Result<Replay, ReplayError> {
    let fail = |cause| ReplayError { file: file.to_owned(), at: Place::File, cause };
    let (start, reader) = peek(reader).map_err(|error| fail(Cause::Read(error)))?;
    let gzip = start.starts_with(&[0x1f, 0x8b]);
    let (start, reader): (_, Box<dyn Read + Send>) = if gzip {
        let (start, reader) = peek(MultiGzDecoder::new(reader)).map_err(|error| fail(Cause::of_read(error, gzip)))?;
        (start, Box::new(reader))
    } else {
        (start, Box::new(reader))
    };
    let content = match start[..] {
        _ if start == btsnoop::MAGIC => {
            let receiver = receiver.ok_or_else(|| fail(Cause::NoReceiver))?;
            Content::Btsnoop(Box::new(Btsnoop::new(reader, receiver)))
        }
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Err(fail(Cause::OtherCapture("pcapng"))),
        [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d, ..] => {
            return Err(fail(Cause::OtherCapture("pcap")));
        }
        _ => Content::Sightings(Sightings::new(reader)),
    };
    Ok(Replay { file: file.to_owned(), gzip, content, ended: false })
}

/// A reader with the bytes in front that were taken from it.
type Rewound<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes of a reader, at most as many as the longest magic has, and the reader as if they were not read.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, Rewound<R>)> {
    let mut start = Vec::new();
    reader.by_ref().take(btsnoop::MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

/// The observations of a file, in its order, each with its time. Out-of-order times are passed on as they are: the engine
/// decides. Takes a fixed amount of memory.
///
/// An error costs one line or record, unless it is fatal ([`ReplayError::is_fatal`]): then it is the last item, after
/// everything that was whole before it.
pub struct Replay {
    file: String,
    gzip: bool,
    content: Content,
    ended: bool,
}

enum Content {
    Sightings(Sightings<Box<dyn Read + Send>>),
    Btsnoop(Box<Btsnoop<Box<dyn Read + Send>>>),
}

impl Replay {
    /// What was passed over so far.
    pub fn counts(&self) -> Counts {
        match &self.content {
            Content::Sightings(_) => Counts::default(),
            Content::Btsnoop(capture) => capture.counts(),
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("file", &self.file).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Iterator for Replay {
    type Item = Result<(Timestamp, Input), ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let (at, item) = match &mut self.content {
            Content::Sightings(sightings) => {
                let item = sightings.next().transpose();
                (Place::Line(sightings.line()), item)
            }
            Content::Btsnoop(capture) => {
                let item = capture.next().transpose();
                (Place::Record(capture.record()), item)
            }
        };
        match item {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(cause) => {
                // What the gzip decoder says of its own data is no matter of the reader behind it.
                let cause = match cause {
                    Cause::Read(error) => Cause::of_read(error, self.gzip),
                    cause => cause,
                };
                let error = ReplayError { file: self.file.clone(), at, cause };
                self.ended = error.is_fatal();
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
