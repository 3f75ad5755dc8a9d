//! A copy of what is registered, beside the database: should that be damaged, nobody has to register everything again.
//!
//! It is written by a thread of its own a moment after each change, whole, under another name first. It holds what is
//! registered, floor plans and the hashes of tokens; not the history.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::keep::{Keep, KeyedRow, Memory, Then};
use super::load::{self, LoadError};
use super::tokens::TOKEN;
use super::{CALIBRATION, PLAN, RECORDS, REVISION, View};
use crate::store::Row;

/// Its name in the data directory.
pub const FILE: &str = "registry.jsonl.gz";
/// Changes that come so soon after one another are written together.
const TOGETHER: Duration = Duration::from_secs(2);
/// A million records, and floor plans of every level, take less.
const MOST: u64 = 4 << 30;

/// One row. Pictures are in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Writes the copy. Dropped, it writes what is new and ends.
#[derive(Debug)]
pub struct Copier {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells that something has changed.
#[derive(Debug, Clone)]
pub struct Waker(SyncSender<()>);

impl Waker {
    /// Something has changed.
    pub fn wake(&self) {
        // Where it is told already, or has ended, there is nothing to tell.
        let _ = self.0.try_send(());
    }
}

impl Copier {
    /// Begins to copy into a directory.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(dir: &Path, keep: Arc<dyn Keep>) -> io::Result<(Self, Waker)> {
        let (wake, woken) = sync_channel(1);
        let path = dir.join(FILE);
        let run = move || copy_on(&path, &*keep, &woken);
        let thread = std::thread::Builder::new().name("registry-copy".to_owned()).spawn(run)?;
        Ok((Self { wake: Some(wake.clone()), thread: Some(thread) }, Waker(wake)))
    }

    /// Writes what is new, and ends, when the last waker is gone.
    pub fn close(mut self) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread that copies the registry has failed");
        }
    }
}

fn copy_on(path: &Path, keep: &dyn Keep, woken: &Receiver<()>) {
    let mut failing = false;
    while woken.recv().is_ok() {
        let is_last = loop {
            match woken.recv_timeout(TOGETHER) {
                Ok(()) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break false,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break true,
            }
        };
        match write(path, keep) {
            Ok(()) => failing = false,
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!("{} cannot be written: {error}; the registry is in the database all the same", path.display());
            }
            Err(_) => {}
        }
        if is_last {
            return;
        }
    }
}

fn write(path: &Path, keep: &dyn Keep) -> io::Result<()> {
    let prefixes: Vec<&str> = RECORDS.iter().map(|(_, prefix)| *prefix).chain([PLAN, TOKEN]).collect();
    let mut rows = keep.rows(&prefixes).map_err(io::Error::other)?;
    for key in [CALIBRATION, REVISION] {
        rows.extend(keep.row(key).map_err(io::Error::other)?.map(|value| (key.to_owned(), value)));
    }
    let new = PathBuf::from(format!("{}.new", path.display()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let mut gzip = GzEncoder::new(BufWriter::new(file), Compression::fast());
    for (key, value) in rows {
        let line = match String::from_utf8(value) {
            Ok(text) => Line { key, text: Some(text), hex: None },
            Err(binary) => Line { key, text: None, hex: Some(hex::encode(binary.into_bytes())) },
        };
        serde_json::to_writer(&mut gzip, &line)?;
        gzip.write_all(b"\n")?;
    }
    let file = gzip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// The registry of the copy in a directory, and the rows that make it up; none where there is no copy.
///
/// # Errors
/// [`LoadError`] where it cannot be used.
pub fn read(dir: &Path) -> Result<Option<(View, Vec<Row>)>, LoadError> {
    let path = dir.join(FILE);
    let unreadable = |error: &dyn std::fmt::Display| LoadError::Unreadable(format!("{}: {error}", path.display()));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut rows = Vec::new();
    for (place, line) in BufReader::new(GzDecoder::new(file).take(MOST)).lines().enumerate() {
        let line = line.map_err(|error| unreadable(&error))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| unreadable(&error))?;
        let value = match (line.text, line.hex) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(binary)) => hex::decode(binary).map_err(|error| unreadable(&error))?,
            (None, None) => continue,
        };
        rows.push(Row { key: line.key, value: Some(value), place: place as u64 });
    }
    let memory = Memory::default();
    memory.write(rows.clone(), Box::new(|| ()));
    Ok(load::load(&memory)?.map(|view| (view, rows)))
}

/// Rows that are kept elsewhere, and copied after each change.
pub struct Copied<K> {
    keep: K,
    waker: Waker,
}

impl<K: Keep> Copied<K> {
    /// Rows kept by `keep`.
    pub fn new(keep: K, waker: Waker) -> Self {
        Self { keep, waker }
    }
}

impl<K: Keep> Keep for Copied<K> {
    fn write(&self, rows: Vec<Row>, then: Then) {
        let waker = self.waker.clone();
        // What is read to be copied is what is committed.
        let then = Box::new(move || {
            then();
            waker.wake();
        });
        self.keep.write(rows, then);
    }

    fn row(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.keep.row(key)
    }

    fn rows_before(&self, prefix: &str, before: Option<&str>, most: usize) -> Result<Vec<KeyedRow>, String> {
        self.keep.rows_before(prefix, before, most)
    }

    fn rows(&self, prefixes: &[&str]) -> Result<Vec<KeyedRow>, String> {
        self.keep.rows(prefixes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::registry::fixture;

    #[test]
    fn a_copy_is_the_registry_with_its_tokens_and_pictures_and_follows_changes() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Arc::new(Memory::default());
        let registry = fixture::registry(&fixture::settings());
        let (view, rows) = load::first(&registry, "test", Timestamp::from_millis(0)).unwrap();
        let (copier, waker) = Copier::start(dir.path(), Arc::clone(&keep) as Arc<dyn Keep>).unwrap();
        let copied = Copied::new(Arc::clone(&keep), waker);
        assert!(read(dir.path()).unwrap().is_none());
        copied.write(rows, Box::new(|| ()));
        let picture = Row { key: "plan/0".to_owned(), value: Some(vec![0x89, b'P', 0xff]), place: 0 };
        let token = Row { key: "token/anna".to_owned(), value: Some(b"{}".to_vec()), place: 0 };
        copied.write(vec![picture.clone(), token.clone()], Box::new(|| ()));
        drop(copied);
        copier.close();
        let (again, rows) = read(dir.path()).unwrap().unwrap();
        assert!(view.registry.difference(&again.registry).is_empty());
        assert_eq!(again.revision, view.revision);
        for wanted in [&picture, &token] {
            assert!(rows.iter().any(|row| row.key == wanted.key && row.value == wanted.value), "{}", wanted.key);
        }
        assert!(!rows.iter().any(|row| row.key.starts_with("change/")));

        std::fs::write(dir.path().join(FILE), b"nonsense").unwrap();
        assert!(matches!(read(dir.path()), Err(LoadError::Unreadable(_))));
    }
}
