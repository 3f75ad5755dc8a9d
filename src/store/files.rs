//! The files of the data directory, and what a database is opened on.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

use super::error::StoreError;
use crate::model::Timestamp;

/// The database.
pub(super) const DATABASE: &str = "beaconfence.redb";
/// Held locked by whoever uses the directory, so that renaming is as safe as writing.
const LOCK: &str = "lock";
/// Room that is given back when the disk is full.
const BALLAST: &str = "ballast";
/// There where a running gateway found the database damaged.
const MARKER: &str = "beaconfence.redb.is-damaged";
/// Enough for a batch and for the repair at the next opening.
const BALLAST_BYTES: usize = 4 << 20;
/// Pages that are kept in memory: the hot ones are few.
pub(super) const CACHE_BYTES: usize = 8 << 20;
/// Damaged databases that are kept.
const MOST_SET_ASIDE: usize = 3;

/// Why a database cannot be opened or used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is open elsewhere.
    InUse,
    /// Its bytes are wrong.
    Damaged(String),
    /// The disk.
    Io(io::Error),
    /// Neither.
    Other(String),
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        use redb::Error;
        match error {
            Error::DatabaseAlreadyOpen => Self::InUse,
            Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            Error::Io(error) => Self::Io(error),
            Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_) => Self::Other(error.to_string()),
            // Anything else is about what the file says: its version, its checksums, its tables.
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse => f.write_str("it is open elsewhere"),
            Self::Damaged(what) | Self::Other(what) => f.write_str(what),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl Trouble {
    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if is_full(error))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Runs what may panic within the database on damaged bytes.
pub(super) fn guarded<T, E: Into<Trouble>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(Trouble::Damaged(format!("the database gave up: {text}")))
        }
    }
}

/// Where a database lies: its directory, or what a test makes of one.
pub(super) trait Medium: Debug + Send + Sync {
    /// Opens the database that is there; with `check`, all of its pages are read first.
    fn open(&self, check: bool) -> Result<Database, Trouble>;
    /// Gives back the room that was kept for a full disk; whether there was some.
    fn free_reserve(&self) -> bool;
    /// Keeps room for when the disk is full.
    fn keep_reserve(&self) -> io::Result<()>;
    /// Has the next opening set the database aside.
    fn mark_damaged(&self, what: &str);
    /// Bytes of the database.
    fn disk_bytes(&self) -> u64;
    /// Its name in messages.
    fn name(&self) -> String;
}

/// A data directory that is locked for us.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Dropping it gives it up.
    _lock: File,
}

impl Directory {
    /// Makes and locks a directory.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::Directory { path: path.to_path_buf(), source };
        make_private(path).map_err(error)?;
        let lock = private().create(true).truncate(false).open(path.join(LOCK)).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// The database's path.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Why a running gateway found the database damaged, if it did.
    pub(super) fn marked(&self) -> Option<String> {
        std::fs::read(self.path.join(MARKER)).ok().map(|what| String::from_utf8_lossy(&what).into_owned())
    }

    /// Opens any database file, which must exist.
    pub(super) fn open_file(path: &Path, check: bool) -> Result<Database, Trouble> {
        let file = private().open(path).map_err(Trouble::Io)?;
        if file.metadata().map_err(Trouble::Io)?.len() == 0 {
            return Err(Trouble::Damaged("the file is empty".to_owned()));
        }
        guarded(|| {
            Builder::new()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(check)
                .create_with_backend(FileBackend::new(file)?)
        })
    }

    /// Makes a database under another name, lets it be filled, and gives it its name: a crash leaves no half of one.
    pub(super) fn create(&self, fill: impl FnOnce(&Database) -> Result<(), redb::Error>) -> Result<(), Trouble> {
        let making = self.path.join(format!("{DATABASE}.new"));
        let made = (|| {
            let file = private().create(true).truncate(true).open(&making).map_err(Trouble::Io)?;
            guarded(|| -> Result<(), redb::Error> {
                let mut builder = Builder::new();
                let db = builder.set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
                fill(&db)?;
                db.close()?;
                Ok(())
            })?;
            std::fs::rename(&making, self.database()).map_err(Trouble::Io)?;
            self.sync().map_err(Trouble::Io)
        })();
        if made.is_err() {
            let _ = std::fs::remove_file(&making);
        }
        made
    }

    /// Copies the database before it is changed to another format.
    pub(super) fn copy_of_format(&self, format: u32) -> io::Result<PathBuf> {
        let (making, copy) = (
            self.path.join(format!("{DATABASE}.format-{format}.new")),
            self.path.join(format!("{DATABASE}.format-{format}")),
        );
        let copied = (|| {
            std::fs::copy(self.database(), &making)?;
            File::open(&making)?.sync_all()?;
            std::fs::rename(&making, &copy)?;
            self.sync()
        })();
        if copied.is_err() {
            let _ = std::fs::remove_file(&making);
        }
        copied.map(|()| copy)
    }

    /// Renames a damaged database, and deletes the oldest of those that were.
    pub(super) fn set_aside(&self, now: Timestamp) -> io::Result<PathBuf> {
        let prefix = format!("{DATABASE}.damaged-");
        let time: String = now.to_string().split('.').next().unwrap_or_default().replace(['-', ':'], "");
        let mut aside = self.path.join(format!("{prefix}{time}Z"));
        let mut again = 1;
        while aside.exists() {
            again += 1;
            aside = self.path.join(format!("{prefix}{time}Z-{again}"));
        }
        std::fs::rename(self.database(), &aside)?;
        let _ = std::fs::remove_file(self.path.join(MARKER));
        self.sync()?;
        let mut kept: Vec<PathBuf> = std::fs::read_dir(&self.path)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .filter(|path| *path != aside)
            .collect();
        kept.sort();
        for old in &kept[..(kept.len() + 1).saturating_sub(MOST_SET_ASIDE)] {
            std::fs::remove_file(old)?;
        }
        Ok(aside)
    }

    /// Forgets a mark without a database.
    pub(super) fn unmark(&self) {
        let _ = std::fs::remove_file(self.path.join(MARKER));
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Medium for Directory {
    fn open(&self, check: bool) -> Result<Database, Trouble> {
        Self::open_file(&self.database(), check)
    }

    fn free_reserve(&self) -> bool {
        std::fs::remove_file(self.path.join(BALLAST)).is_ok() && self.sync().is_ok()
    }

    fn keep_reserve(&self) -> io::Result<()> {
        let path = self.path.join(BALLAST);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES as u64) {
            return Ok(());
        }
        let made = (|| {
            let mut file = private().create(true).truncate(true).open(&path)?;
            // As much again must be free, so that the ballast is not what fills the disk.
            let zeros = vec![0; BALLAST_BYTES];
            file.write_all(&zeros)?;
            file.write_all(&zeros)?;
            file.sync_all()?;
            file.set_len(BALLAST_BYTES as u64)?;
            file.sync_all()
        })();
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn mark_damaged(&self, what: &str) {
        let marked = private()
            .create(true)
            .truncate(true)
            .open(self.path.join(MARKER))
            .and_then(|mut file| file.write_all(what.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| self.sync());
        if let Err(error) = marked {
            tracing::warn!("cannot mark {} as damaged: {error}", self.name());
        }
    }

    fn disk_bytes(&self) -> u64 {
        std::fs::metadata(self.database()).map_or(0, |found| found.len())
    }

    fn name(&self) -> String {
        self.database().display().to_string()
    }
}

/// Files that only the gateway's user reads: they say who is where.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
