//! Backups of a data directory: taken while the gateway runs or not, and put back into a directory on which none runs.
//!
//! A backup is a zip file. `database.rows` holds the rows of the database as they were at one commit
//! ([`crate::store::copy`]), beside it lie the copy of the registry and, if asked for, the recordings; `manifest.json`
//! says whose it is, of when, and the SHA-256 of each. It is written under another name, read again, and only then
//! given its own.
//!
//! What is put back begins a new epoch. What the gateway has said since the backup was taken is not in it: under the
//! old epoch it would make other events with the same numbers and ids. So open visits end with the old epoch
//! (subscribers close them, as after any new database), what waited in the outbox is not sent, and what is registered
//! and what rules remember goes on.

mod archive;
mod consent;
mod look;
mod restore;
mod take;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::registrar::load::LoadError;
use crate::store::StoreError;
use crate::store::copy::CopyError;

pub use archive::check;
pub use consent::{Consents, Withdrawn};
pub use look::{Registered, registered};
pub use restore::{RestoreOrder, Restored, restore};
pub use take::{TakeOrder, Taken, take};

/// The format of backups that this version writes.
pub const FORMAT: u32 = 1;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the backup.
    pub beaconfence_backup: u32,
    /// The version that wrote it.
    pub version: String,
    /// When it was taken, by the clock of the machine.
    pub made: Timestamp,
    /// Whose data it is.
    pub site: String,
    /// Whose data directory it was.
    pub gateway: String,
    /// The format of the database.
    pub database_format: u32,
    /// The epoch that ends where it is put back.
    pub epoch: String,
    /// The `sequence` of the next event then.
    pub sequence: u64,
    /// Whether the gateway ran.
    pub running: bool,
    /// Rows of the registry, its history, floor plans, tokens.
    pub rows: u64,
    /// Devices of which something is remembered.
    pub devices: u64,
    /// Events and triggers that waited for the broker.
    pub waiting: u64,
    /// Whether recordings are in it.
    pub recordings: bool,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What it must be.
    pub sha256: String,
}

/// Why a backup cannot be taken or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something of that name.
    #[error("{} is there already; name another file, or a directory in which each backup gets a name of its own", .0.display())]
    Exists(PathBuf),
    /// Copies side by side are lost together.
    #[error("{} is in the data directory; a backup belongs elsewhere, best on another disk", .0.display())]
    Within(PathBuf),
    /// It cannot be written.
    #[error("cannot write {path}: {why}{}", advice(.why))]
    Write {
        /// What.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Read {
        /// What.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The gateway runs, and cannot be asked.
    #[error(
        "a gateway runs on {data_dir} but cannot be asked through {socket}: {why}; run this as the gateway's user or as root \
         (a path may have 107 bytes there; the gateway's log says more)"
    )]
    Unasked {
        /// Its data directory.
        data_dir: PathBuf,
        /// Its socket.
        socket: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not a whole backup.
    #[error("{path} is not a whole backup: {what}; take another one, this one puts nothing back")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A later version made it.
    #[error("{path} is of a later version of beaconfence ({what}); install that version ({version}) or a later one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is later.
        what: String,
        /// The version.
        version: String,
    },
    /// It is another's.
    #[error("{0}")]
    Another(Box<Another>),
    /// Nothing is put back under a gateway that runs.
    #[error("a gateway runs on {}; stop it first, then put the backup back, then start it", .0.display())]
    Running(PathBuf),
    /// There is something that would be lost.
    #[error(
        "{} is not empty; to set aside what is in it (nothing is deleted) and put the backup in its place, add --force", .0.display()
    )]
    NotEmpty(PathBuf),
    /// The registry in it.
    #[error("the registry cannot be used: {0}")]
    Registry(String),
}

/// Whose a backup is, and whose it should be.
#[derive(Debug, thiserror::Error)]
#[error("{path} is the backup of {what} \"{found}\", and {here} is of \"{wanted}\"; {advice}")]
pub struct Another {
    /// The file.
    pub path: PathBuf,
    /// Site or gateway.
    pub what: &'static str,
    /// Whose it is.
    pub found: String,
    /// What says otherwise.
    pub here: String,
    /// Whose it should be.
    pub wanted: String,
    /// What to do.
    pub advice: &'static str,
}

impl From<LoadError> for BackupError {
    fn from(error: LoadError) -> Self {
        Self::Registry(error.to_string())
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there, or name another place",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "; name a place that you may write to",
        io::ErrorKind::NotFound => "; make the directory first",
        _ => "",
    }
}

/// For `map_err`.
fn cannot_write(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    move |why| BackupError::Write { path: path.to_path_buf(), why }
}

/// For `map_err`.
fn cannot_read(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    move |why| BackupError::Read { path: path.to_path_buf(), why }
}

/// `20261126T231944Z`: sorted by name is sorted by time.
fn stamp(at: Timestamp) -> String {
    let time: String = at.to_string().split('.').next().unwrap_or_default().replace(['-', ':'], "");
    format!("{time}Z")
}
