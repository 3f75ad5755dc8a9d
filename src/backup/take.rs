//! Taking a backup.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use zip::CompressionMethod;

use super::archive::{self, Archive};
use super::{BackupError, FORMAT, Manifest, cannot_read, cannot_write, stamp};
use crate::config::GatewayConfig;
use crate::gateway::control::COPIES;
use crate::model::Timestamp;
use crate::record;
use crate::registrar::copy;
use crate::store::StoreError;
use crate::store::copy::{self as rows, CopyError, Reader, Rewriter, Summary};

/// A gateway that gives nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names begin so. No id holds a `+`, so the parts of a name cannot be mistaken for one another.
const PREFIX: &str = "beaconfence-backup+";
const ENDING: &str = ".zip";
/// What is being written.
const NEW: &str = ".new";
/// What is left of a backup that was killed goes after this time.
const LEFT_OVER: Duration = Duration::from_secs(3_600);

/// What is to be done.
#[derive(Debug)]
pub struct TakeOrder<'a> {
    /// Whose data directory.
    pub config: &'a GatewayConfig,
    /// A file that is to be made, or a directory to make one in.
    pub output: &'a Path,
    /// So many of this gateway's backups stay in that directory.
    pub keep: Option<usize>,
    /// Whether recordings go into it.
    pub recordings: bool,
    /// The wall clock.
    pub now: Timestamp,
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where it is.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Older ones that were deleted.
    pub deleted: Vec<PathBuf>,
}

/// Takes a backup.
///
/// # Errors
/// [`BackupError`]; then nothing is left of it.
pub fn take(order: &TakeOrder) -> Result<Taken, BackupError> {
    let is_dir = order.output.is_dir();
    let dir = if is_dir { order.output } else { parent(order.output) };
    if !is_dir && order.output.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(order.output.to_path_buf()));
    }
    let real = dir.canonicalize().map_err(cannot_write(dir))?;
    if order.config.data_dir.canonicalize().is_ok_and(|data_dir| real.starts_with(data_dir)) {
        return Err(BackupError::Within(order.output.to_path_buf()));
    }
    sweep(dir);
    let making = Making(dir.join(format!("{PREFIX}{}+{}{NEW}", stamp(order.now), std::process::id())));
    let file = create(&making.0).map_err(cannot_write(dir))?;
    let written = write(order, file, &making.0)?;
    // As somebody would who puts it back.
    let manifest = archive::check(&making.0)?;
    debug_assert_eq!(manifest, written);
    let path = if is_dir {
        let name = format!("{}{}{ENDING}", prefix(&manifest.site, &manifest.gateway), stamp(order.now));
        dir.join(name)
    } else {
        order.output.to_path_buf()
    };
    if path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path));
    }
    std::fs::rename(&making.0, &path).map_err(cannot_write(&path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot_write(dir))?;
    let bytes = std::fs::metadata(&path).map_err(cannot_read(&path))?.len();
    let deleted = order.keep.map_or(Ok(Vec::new()), |keep| prune(dir, &manifest, &path, keep))?;
    Ok(Taken { path, bytes, manifest, deleted })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Goes away again, unless it was given its name.
struct Making(PathBuf);

impl Drop for Making {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn write(order: &TakeOrder, file: File, path: &Path) -> Result<Manifest, BackupError> {
    let TakeOrder { config, recordings, now, .. } = order;
    let Source { stream, running, closed } = source(&config.data_dir)?;
    let mut archive = Archive::new(file);
    let mut summary = Summary::default();
    let copied = archive.add(archive::ROWS, CompressionMethod::Deflated, |out| {
        let mut reader = Reader::new(io::BufReader::with_capacity(1 << 16, stream));
        let mut writer = Rewriter::new(out).map_err(Failure::Write)?;
        while let Some(row) = reader.next_row().map_err(Failure::Copy)? {
            summary.note(&row).map_err(Failure::Copy)?;
            writer.put(&row).map_err(Failure::Write)?;
        }
        writer.finish().map_err(Failure::Write)
    });
    // What the other end knows of it says more than that the stream ended.
    let told = closed.map_or(Ok(Ok(())), JoinHandle::join);
    match (copied, told) {
        (Err(Failure::Write(source)), _) => return Err(cannot_write(path)(source)),
        (Err(Failure::Copy(_)), Ok(Err(CopyError::Store(StoreError::InUse { path })))) => {
            let socket = path.join(COPIES);
            let why = io::Error::new(io::ErrorKind::NotFound, "nothing listens there");
            return Err(BackupError::Unasked { data_dir: path, socket, why });
        }
        (Err(Failure::Copy(_)), Ok(Err(CopyError::Store(error)))) => return Err(error.into()),
        (Err(Failure::Copy(_)), Ok(Err(error))) => return Err(error.into()),
        (Err(Failure::Copy(CopyError::Io(error))), _) if is_timeout(&error) => {
            let socket = config.data_dir.join(COPIES);
            return Err(BackupError::Unasked { data_dir: config.data_dir.clone(), socket, why: error });
        }
        (Err(Failure::Copy(error)), _) => return Err(error.into()),
        (Ok(()), _) => {}
    }
    others(&mut archive, &config.data_dir, *recordings, path)?;
    let nameless = || CopyError::Damaged("the database does not say whose it is".to_owned());
    let head = summary.head.as_ref().ok_or_else(nameless)?;
    let manifest = Manifest {
        beaconfence_backup: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: *now,
        site: summary.site.clone().ok_or_else(nameless)?,
        gateway: config.id.to_string(),
        database_format: summary.format.ok_or_else(nameless)?,
        epoch: head.epoch.clone(),
        sequence: head.sequence,
        running,
        rows: summary.rows,
        devices: summary.devices,
        waiting: summary.waiting,
        recordings: *recordings,
        files: Vec::new(),
    };
    archive.finish(manifest).map_err(cannot_write(path))
}

/// Which side failed.
enum Failure {
    Copy(CopyError),
    Write(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Where the rows come from.
pub(super) struct Source {
    pub(super) stream: UnixStream,
    running: bool,
    /// Reads the database of a gateway that does not run.
    pub(super) closed: Option<JoinHandle<Result<(), CopyError>>>,
}

/// The gateway that runs, or else its database.
pub(super) fn source(data_dir: &Path) -> Result<Source, BackupError> {
    let socket = data_dir.join(COPIES);
    match UnixStream::connect(&socket) {
        Ok(stream) => {
            stream.set_read_timeout(Some(PATIENCE)).map_err(cannot_read(&socket))?;
            Ok(Source { stream, running: true, closed: None })
        }
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            Err(BackupError::Unasked { data_dir: data_dir.to_path_buf(), socket, why })
        }
        // Nobody listens, or its path is too long for a socket: the lock says whether a gateway runs.
        Err(_) => {
            let (stream, end) = UnixStream::pair().map_err(cannot_read(data_dir))?;
            let dir = data_dir.to_path_buf();
            let run = move || rows::write_closed(&dir, end);
            let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(run);
            Ok(Source { stream, running: false, closed: Some(thread.map_err(cannot_read(data_dir))?) })
        }
    }
}

/// Adds what lies beside the database.
fn others(archive: &mut Archive, data_dir: &Path, recordings: bool, path: &Path) -> Result<(), BackupError> {
    add(archive, copy::FILE, &data_dir.join(copy::FILE), path)?;
    let dir = data_dir.join(record::DIRECTORY);
    if !recordings || !dir.is_dir() {
        return Ok(());
    }
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .map_err(cannot_read(&dir))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| record::is_file_name(name))
        .collect();
    // What says whose the others are comes last: it knows everybody who is in them.
    names.sort_by_key(|name| (record::is_about_others(name), name.clone()));
    for name in names {
        add(archive, &format!("{}/{name}", record::DIRECTORY), &dir.join(&name), path)?;
    }
    Ok(())
}

/// Adds a file as long as it is now; it is compressed already. One that is gone by now is left out.
fn add(archive: &mut Archive, name: &str, from: &Path, path: &Path) -> Result<(), BackupError> {
    let file = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(cannot_read(from))?,
    };
    let length = file.metadata().map_err(cannot_read(from))?.len();
    archive
        .add(name, CompressionMethod::Stored, |out| io::copy(&mut file.take(length), out).map(drop))
        .map_err(cannot_write(path))
}

/// How the names of one gateway's backups begin.
fn prefix(site: &str, gateway: &str) -> String {
    format!("{PREFIX}{site}+{gateway}+")
}

/// The time in the name of a backup; none where the name is not exactly one that was given here.
fn time_of<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let time = name.strip_prefix(prefix)?.strip_suffix(ENDING)?;
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    (shape == "00000000T000000Z").then_some(time)
}

/// Deletes the oldest backups of this gateway, but never the one that was just made.
fn prune(dir: &Path, manifest: &Manifest, made: &Path, keep: usize) -> Result<Vec<PathBuf>, BackupError> {
    let prefix = prefix(&manifest.site, &manifest.gateway);
    let mut known: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(cannot_read(dir))?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| time_of(name, &prefix).is_some()))
        .map(|entry| entry.path())
        .filter(|path| path.file_name() != made.file_name())
        .collect();
    known.sort();
    known.truncate((known.len() + 1).saturating_sub(keep.max(1)));
    for old in &known {
        std::fs::remove_file(old).map_err(cannot_write(old))?;
    }
    Ok(known)
}

/// Removes what is left of backups that were killed long ago.
fn sweep(dir: &Path) {
    let is_left = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| {
            let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(NEW));
            let parts = rest.and_then(|rest| rest.split_once('+'));
            parts.is_some_and(|(time, process)| {
                time_of(&format!("{time}{ENDING}"), "").is_some() && process.bytes().all(|c| c.is_ascii_digit())
            })
        });
        let modified = entry.metadata().and_then(|found| found.modified()).ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        is_ours && age.is_some_and(|age| age > LEFT_OVER)
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(is_left) {
        let _ = std::fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_were_given_here_are_taken_for_backups() {
        let prefix = prefix("store-1", "gw-1");
        let name = format!("{prefix}20261126T231944Z.zip");
        assert_eq!(time_of(&name, &prefix), Some("20261126T231944Z"));
        for other in [
            "beaconfence-backup+store-1+gw-1+20261126T231944Z.zip.new",
            "beaconfence-backup+store-1+gw-1+20261126T231944Z (1).zip",
            "beaconfence-backup+store-1+gw-1+latest.zip",
            "beaconfence-backup+store-1+gw-10+20261126T231944Z.zip",
            "beaconfence-backup+store-2+gw-1+20261126T231944Z.zip",
            "keep-beaconfence-backup+store-1+gw-1+20261126T231944Z.zip",
            "beaconfence-backup+store-1+gw-1+2026112ÄT231944Z.zip",
        ] {
            assert_eq!(time_of(other, &prefix), None, "{other}");
        }
    }
}
