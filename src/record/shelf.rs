//! The files: their names, how they are appended to, and when they are deleted.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use tracing::{info, warn};

use super::Shared;
use super::carriers;
use crate::config::RecordConfig;
use crate::model::Timestamp;

/// How the names end.
const ENDING: &str = ".jsonl.gz";
/// What is being made; left over only where the power went.
pub(super) const NEW: &str = ".new";
/// Files that can have been written to last: one for each hour that is open, and one that came before.
const LAST_WRITTEN: usize = 4;
const HOUR: Duration = Duration::from_secs(3_600);

/// An hour of the wall clock, and the name of its file: `2026-11-24T10`. Sorting by name is sorting by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hour(String);

impl Hour {
    pub(super) fn of(time: Timestamp) -> Self {
        // Date, `T` and hour of RFC 3339.
        Self(time.to_string()[..13].to_owned())
    }

    /// None where a file is not ours.
    fn of_file(name: &str) -> Option<Self> {
        let hour = Self(name.strip_suffix(ENDING)?.to_owned());
        hour.begins().is_some_and(|begins| Self::of(begins) == hour).then_some(hour)
    }

    fn begins(&self) -> Option<Timestamp> {
        format!("{}:00:00Z", self.0).parse().ok()
    }

    fn file(&self) -> String {
        format!("{}{ENDING}", self.0)
    }
}

/// The files of a directory of recordings that may hold something between two instants, oldest first.
pub(super) fn files_of(dir: &Path, from: Timestamp, to: Timestamp) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let hours = entries.filter_map(|entry| Hour::of_file(entry.file_name().to_str()?));
    let mut hours: Vec<Hour> =
        hours.filter(|hour| hour.begins().is_some_and(|begins| begins <= to && begins + HOUR >= from)).collect();
    hours.sort();
    hours.iter().map(|hour| dir.join(hour.file())).collect()
}

/// Whether a name is that of an hour's file.
pub(super) fn is_hour(name: &str) -> bool {
    Hour::of_file(name).is_some()
}

/// The directory of recordings.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    config: RecordConfig,
    shared: Arc<Shared>,
    /// The bytes of each file.
    files: BTreeMap<Hour, u64>,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf, config: RecordConfig, shared: Arc<Shared>) -> Self {
        Self { dir, config, shared, files: BTreeMap::new() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory, and looks at what is in it. What was torn apart is cut off, what was half made is removed.
    pub(super) fn open(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        std::fs::set_permissions(&self.dir, Permissions::from_mode(0o700))?;
        self.files.clear();
        let mut written: Vec<(SystemTime, Hour)> = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(NEW) {
                std::fs::remove_file(entry.path())?;
            } else if let Some(hour) = Hour::of_file(&name) {
                let metadata = entry.metadata()?;
                written.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), hour.clone()));
                self.files.insert(hour, metadata.len());
            }
        }
        written.sort();
        for (_, hour) in written.into_iter().rev().take(LAST_WRITTEN) {
            self.cut(&hour)?;
        }
        self.count();
        Ok(())
    }

    /// The hours there are, oldest first.
    pub(super) fn hours(&self) -> Vec<Hour> {
        self.files.keys().cloned().collect()
    }

    pub(super) fn path(&self, hour: &Hour) -> PathBuf {
        self.dir.join(hour.file())
    }

    /// Cuts off what is behind the last whole member.
    fn cut(&mut self, hour: &Hour) -> io::Result<()> {
        let path = self.path(hour);
        let whole = whole(BufReader::new(File::open(&path)?))?;
        let bytes = path.metadata()?.len();
        if whole == 0 {
            std::fs::remove_file(&path)?;
            self.files.remove(hour);
        } else if whole < bytes {
            OpenOptions::new().write(true).open(&path)?.set_len(whole)?;
            self.files.insert(hour.clone(), whole);
        }
        if whole < bytes {
            info!("{}: cut off {} bytes that were written only in part", path.display(), bytes - whole);
        }
        Ok(())
    }

    /// Appends lines to the file of an hour, as one whole gzip member, and waits for the disk. The file is as before
    /// where that fails.
    pub(super) fn append(&mut self, hour: &Hour, lines: &[u8]) -> io::Result<()> {
        let member = member(lines)?;
        let mut file = private(OpenOptions::new().append(true)).open(self.path(hour))?;
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&member).and_then(|()| file.sync_data()) {
            // What cannot be taken back is cut off at the next start.
            let _ = file.set_len(before);
            return Err(error);
        }
        self.files.insert(hour.clone(), before + member.len() as u64);
        self.count();
        Ok(())
    }

    /// Puts a file in the place of an hour's, or nothing where no line is left.
    pub(super) fn replace(&mut self, hour: &Hour, lines: Option<&Path>) -> io::Result<()> {
        let path = self.path(hour);
        if let Some(new) = lines {
            std::fs::rename(new, &path)?;
            self.files.insert(hour.clone(), path.metadata()?.len());
        } else {
            std::fs::remove_file(&path)?;
            self.files.remove(hour);
        }
        self.count();
        File::open(&self.dir)?.sync_all()
    }

    /// Deletes files that are older than they may be.
    pub(super) fn delete_old(&mut self, now: Timestamp) -> io::Result<()> {
        let keep = Duration::from_secs(u64::from(self.config.days) * 86_400);
        let old = |hour: &Hour| hour.begins().is_some_and(|begins| begins + HOUR + keep < now);
        let old: Vec<Hour> = self.files.keys().filter(|hour| old(hour)).cloned().collect();
        self.delete(&old, "they are too old")
    }

    /// Deletes the oldest files until the rest is not too large. The newest stays.
    pub(super) fn delete_surplus(&mut self) -> io::Result<()> {
        let mut bytes: u64 = self.files.values().sum();
        let mut surplus = Vec::new();
        for (hour, size) in self.files.iter().take(self.files.len().saturating_sub(1)) {
            if bytes <= self.config.max_bytes {
                break;
            }
            bytes -= size;
            surplus.push(hour.clone());
        }
        self.delete(&surplus, "together they are larger than max_megabytes")
    }

    fn delete(&mut self, hours: &[Hour], why: &str) -> io::Result<()> {
        for hour in hours {
            match std::fs::remove_file(self.path(hour)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.files.remove(hour);
            self.shared.deleted.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(first), Some(last)) = (hours.first(), hours.last()) {
            info!(files = hours.len(), "deleted recordings from {} to {}: {why}", first.0, last.0);
            self.count();
        }
        Ok(())
    }

    fn count(&self) {
        self.shared.bytes.store(self.files.values().sum(), Ordering::Relaxed);
    }
}

/// Deletes every recording, and what belongs to them. Files that are not ours stay.
pub(super) fn delete_all(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut deleted = 0_u64;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if Hour::of_file(name).is_some() || name == carriers::FILE || name.ends_with(NEW) {
            std::fs::remove_file(entry.path())?;
            deleted += 1;
        }
    }
    if std::fs::remove_dir(dir).is_err() {
        warn!("{} holds files that are not recordings; they stay", dir.display());
    }
    info!(files = deleted, "nothing is recorded any more: the recordings are deleted");
    Ok(())
}

/// A file for this user alone.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.create(true).mode(0o600)
}

/// A whole gzip member.
pub(super) fn member(lines: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(lines)?;
    gzip.finish()
}

/// How many bytes of a file are whole gzip members.
fn whole(reader: impl BufRead) -> io::Result<u64> {
    let mut counted = Counted { reader, bytes: 0 };
    let mut whole = 0;
    while !counted.fill_buf()?.is_empty() {
        match io::copy(&mut GzDecoder::new(&mut counted), &mut io::sink()) {
            Ok(_) => whole = counted.bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                ) =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(whole)
}

/// Counts what is taken of a reader.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: BufRead> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.reader.consume(bytes);
    }
}
