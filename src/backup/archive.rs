//! The zip file: how it is written, and how it is found whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{BackupError, FORMAT, FileEntry, Manifest, cannot_read};
use crate::record;
use crate::registrar::copy;
use crate::store::copy::{CopiedRow, CopyError, Reader, Summary, known_format};

/// The rows of the database.
pub(super) const ROWS: &str = "database.rows";
/// What the backup says of itself; written last.
pub(super) const MANIFEST: &str = "manifest.json";
/// A manifest is never longer: an hour of recordings takes some 150 bytes of it.
const MOST_MANIFEST: u64 = 64 << 20;

/// Hashes and counts what goes through.
pub(super) struct Hashed<T> {
    through: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    fn new(through: T) -> Self {
        Self { through, hash: Sha256::new(), bytes: 0 }
    }

    fn entry(self, name: &str) -> FileEntry {
        FileEntry { name: name.to_owned(), bytes: self.bytes, sha256: hex::encode(self.hash.finalize()) }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.through.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through.flush()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.through.read(bytes)?;
        self.hash.update(&bytes[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// A file that takes everything and nothing once a write has failed: the zip writer tries to end what it has begun, and
/// would say on stderr that it cannot.
pub(super) struct Failing {
    file: File,
    at: u64,
    has_failed: bool,
}

impl Failing {
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.has_failed = done.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        done
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.has_failed {
            bytes.len()
        } else {
            let written = self.file.write(bytes);
            self.note(written)?
        };
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Ok(());
        }
        let flushed = self.file.flush();
        self.note(flushed)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            _ if !self.has_failed => {
                let at = self.file.seek(to);
                self.note(at)?
            }
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(_) => self.at,
        };
        Ok(self.at)
    }
}

type Zip = ZipWriter<BufWriter<Failing>>;

/// A backup that is being written.
pub(super) struct Archive {
    zip: Zip,
    files: Vec<FileEntry>,
}

impl Archive {
    pub(super) fn new(file: File) -> Self {
        let file = Failing { file, at: 0, has_failed: false };
        Self { zip: ZipWriter::new(BufWriter::with_capacity(1 << 17, file)), files: Vec::new() }
    }

    /// Adds a file.
    pub(super) fn add<E: From<io::Error>>(
        &mut self,
        name: &str,
        method: CompressionMethod,
        fill: impl FnOnce(&mut Hashed<&mut Zip>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.zip.start_file(name, options(method)).map_err(io::Error::from)?;
        let mut hashed = Hashed::new(&mut self.zip);
        fill(&mut hashed)?;
        let entry = hashed.entry(name);
        self.files.push(entry);
        Ok(())
    }

    /// Ends it with its manifest; everything is on disk then.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> io::Result<Manifest> {
        manifest.files = self.files;
        self.zip.start_file(MANIFEST, options(CompressionMethod::Deflated))?;
        self.zip.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
        let file = self.zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.file.sync_all()?;
        Ok(manifest)
    }
}

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(method).large_file(true).unix_permissions(0o600)
}

/// A backup that is open to be read.
pub(super) struct Opened {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
    pub(super) manifest: Manifest,
}

impl Opened {
    /// Opens a backup, and reads what it says of itself.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(cannot_read(path))?;
        if file.metadata().map_err(cannot_read(path))?.is_dir() {
            let why = io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name one backup in it");
            return Err(BackupError::Read { path: path.to_path_buf(), why });
        }
        let damaged = |what: String| BackupError::Damaged { path: path.to_path_buf(), what };
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|_| {
            damaged(
                "it is no zip file, or its end is missing, as where the backup was stopped or copied in part"
                    .to_owned(),
            )
        })?;
        let mut text = Vec::new();
        zip.by_name(MANIFEST)
            .map_err(|_| damaged(format!("it has no {MANIFEST}")))?
            .take(MOST_MANIFEST)
            .read_to_end(&mut text)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        let manifest = manifest(path, &text)?;
        Ok(Self { path: path.to_path_buf(), zip, manifest })
    }

    fn damaged(&self, what: impl std::fmt::Display) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), what: what.to_string() }
    }

    /// Reads all of it: the files are those that the manifest names, and each is as it was.
    pub(super) fn check(
        &mut self,
        mut row: impl FnMut(&CopiedRow) -> Result<(), CopyError>,
    ) -> Result<Summary, BackupError> {
        let files = self.manifest.files.clone();
        if self.zip.len() != files.len() + 1 {
            return Err(self.damaged("it has other files than its manifest says"));
        }
        let mut summary = Summary::default();
        for entry in &files {
            if !is_known(&entry.name) {
                return Err(self.damaged(format!("it holds {:?}, which belongs to no backup", entry.name)));
            }
            let (path, name) = (self.path.clone(), &entry.name);
            let damaged = |what: String| BackupError::Damaged { path: path.clone(), what: format!("{name}: {what}") };
            let mut hashed = Hashed::new(self.file(name)?);
            let read = if name == ROWS { rows(&mut hashed, &mut summary, &mut row) } else { Ok(()) };
            // What comes first is what is said: a damaged byte is one thing, a row that makes no sense another.
            let rest = io::copy(&mut hashed, &mut io::sink());
            rest.map_err(|error| damaged(error.to_string()))?;
            if hashed.entry(name) != *entry {
                return Err(damaged("its SHA-256 is not what the manifest says".to_owned()));
            }
            read.map_err(|error| damaged(error.to_string()))?;
        }
        if !files.iter().any(|entry| entry.name == ROWS) {
            return Err(self.damaged(format!("it has no {ROWS}")));
        }
        let manifest = &self.manifest;
        let head = summary.head.as_ref().map(|head| (head.epoch.as_str(), head.sequence));
        if summary.site.as_deref() != Some(&manifest.site)
            || summary.format != Some(manifest.database_format)
            || head != Some((&manifest.epoch, manifest.sequence))
        {
            return Err(self.damaged("its manifest is another one's"));
        }
        Ok(summary)
    }

    /// One of its files.
    pub(super) fn file(&mut self, name: &str) -> Result<ZipFile<'_, BufReader<File>>, BackupError> {
        let path = self.path.clone();
        self.zip.by_name(name).map_err(|error| BackupError::Damaged { path, what: format!("{name}: {error}") })
    }
}

fn rows(
    input: &mut impl Read,
    summary: &mut Summary,
    row: &mut impl FnMut(&CopiedRow) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 16, input));
    while let Some(next) = reader.next_row()? {
        summary.note(&next)?;
        row(&next)?;
    }
    Ok(())
}

fn manifest(path: &Path, text: &[u8]) -> Result<Manifest, BackupError> {
    let damaged = |error: serde_json::Error| BackupError::Damaged {
        path: path.to_path_buf(),
        what: format!("{MANIFEST} is unreadable: {error}"),
    };
    let raw: serde_json::Value = serde_json::from_slice(text).map_err(damaged)?;
    let number = |name: &str| raw.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let later = [("beaconfence_backup", "backup", FORMAT), ("database_format", "database", known_format())];
    for (name, what, known) in later {
        let found = number(name);
        if found > u64::from(known) {
            return Err(BackupError::Newer {
                path: path.to_path_buf(),
                what: format!("its {what} is in format {found}, and this version knows formats up to {known}"),
                version: raw.get("version").and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned(),
            });
        }
    }
    serde_json::from_value(raw).map_err(damaged)
}

/// Whether a file belongs into a backup. Names become paths.
fn is_known(name: &str) -> bool {
    name == ROWS || name == copy::FILE || recording(name).is_some()
}

/// The name within the directory of recordings.
pub(super) fn recording(name: &str) -> Option<&str> {
    let name = name.strip_prefix(record::DIRECTORY)?.strip_prefix('/')?;
    record::is_file_name(name).then_some(name)
}

/// Reads all of a backup, and finds it whole.
///
/// # Errors
/// [`BackupError`] says what is wrong.
pub fn check(path: &Path) -> Result<Manifest, BackupError> {
    let mut opened = Opened::open(path)?;
    opened.check(|_| Ok(()))?;
    Ok(opened.manifest)
}
