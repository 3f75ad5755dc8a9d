//! Opening: which database is there, whether it is sound and ours, and what is done where it is not.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, WriteTransaction};

use super::books::{self, Books, Content, FORMAT, FORMAT_KEY, META, ReadError};
use super::error::StoreError;
use super::files::{DATABASE, Directory, Medium as _, Trouble, guarded};
use super::rows;
use super::writer::Worker;
use super::{Head, Opened, Options, Parked, Peek, PeekWaiting, Store, StoreStatus};
use crate::model::Timestamp;

/// Brings a database from one format to the next, within the transaction that says so.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The step from each older format.
const STEPS: &[(u32, Step)] = &[(1, rows::create)];

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            ReadError::Nonsense(what) => Self::Damaged(what),
        }
    }
}

/// See [`Store::open`].
pub(super) fn open(options: &Options) -> Result<Opened, StoreError> {
    open_as(options, FORMAT, STEPS)
}

/// Opens with another format than the present one, as a later version will.
pub(super) fn open_as(options: &Options, format: u32, steps: &[(u32, Step)]) -> Result<Opened, StoreError> {
    let directory = Directory::lock(&options.dir)?;
    let path = directory.database();
    let mut set_aside = None;
    let is_there = path.try_exists().map_err(|source| StoreError::Io { path: path.clone(), source })?;
    if is_there {
        let tried = match directory.marked() {
            Some(what) => Err(Failure::Trouble(Trouble::Damaged(what))),
            None => with_reserve(&directory, || open_existing(&directory, options, format, steps)),
        };
        match tried {
            Ok((db, content)) => return Ok(assemble(directory, db, content, options, false, None)),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Trouble(Trouble::Damaged(what))) => {
                let aside = directory.set_aside(options.now).map_err(|source| StoreError::SetAside {
                    path: path.clone(),
                    what: what.clone(),
                    source,
                })?;
                tracing::warn!("{} is damaged ({what}); it is kept as {}", path.display(), aside.display());
                set_aside = Some((aside, what));
            }
            Err(Failure::Trouble(trouble)) => return Err(refusal(&options.dir, &path, trouble)),
        }
    }
    directory.unmark();
    let made = with_reserve(&directory, || {
        let head = new_head(options.now);
        directory.create(|db| Books::initialise(db, &options.site, &head, &options.dictionary))?;
        let db = directory.open(false)?;
        let content = guarded(|| books::read(&db))?;
        Ok((db, content))
    });
    match made {
        Ok((db, content)) => Ok(assemble(directory, db, content, options, true, set_aside)),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Trouble(trouble)) => Err(refusal(&options.dir, &path, trouble)),
    }
}

/// See [`Store::peek`](super::peek).
pub(super) fn peek(dir: &Path) -> Result<Peek, StoreError> {
    let path = dir.join(DATABASE);
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Missing { path: dir.to_path_buf() }),
        Err(source) => return Err(StoreError::Directory { path: dir.to_path_buf(), source }),
    }
    let directory = Directory::lock(dir)?;
    let read = match directory.marked() {
        Some(what) => Err(Trouble::Damaged(what)),
        None => look(&path),
    };
    let (content, parked) = read
        .map_err(|trouble| refusal(dir, &path, trouble))?
        .map_err(|found| StoreError::Newer { path: path.clone(), found, known: FORMAT })?;
    let mut status = StoreStatus { tail: content.tail, disk_bytes: directory.disk_bytes(), ..StoreStatus::default() };
    content.counters.report(&mut status);
    Ok(Peek {
        status,
        site: content.site,
        head: content.head,
        waiting: PeekWaiting {
            count: content.waiting.len() as u64,
            bytes: content.waiting.iter().map(|waiting| u64::from(waiting.bytes)).sum(),
            oldest: content.waiting.iter().map(|waiting| waiting.made).min(),
        },
        parked,
    })
}

/// Reads without writing, where the database was closed; the format where it is a later one.
fn look(path: &Path) -> Result<Result<(Content, Vec<Parked>), u32>, Trouble> {
    fn content(db: &impl redb::ReadableDatabase) -> Result<Result<(Content, Vec<Parked>), u32>, Trouble> {
        guarded(|| {
            let (format, _) = books::label(db)?;
            if format > FORMAT {
                return Ok::<_, ReadError>(Err(format));
            }
            let content = books::read(db)?;
            let parked = books::parked(db, &content.dictionary)?;
            Ok(Ok((content, parked)))
        })
    }
    let opened: Result<Result<ReadOnlyDatabase, DatabaseError>, Trouble> =
        guarded(|| Ok::<_, Trouble>(Builder::new().set_cache_size(1 << 20).open_read_only(path)));
    match opened {
        Ok(Ok(db)) => content(&db),
        // After a kill it must be repaired first, which needs writing.
        Ok(Err(_)) | Err(_) => content(&Directory::open_file(path, true)?),
    }
}

/// Why there is no database yet.
#[derive(Debug)]
enum Failure {
    Refused(StoreError),
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Tries again without the ballast where the disk is full.
fn with_reserve<T>(directory: &Directory, run: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    match run() {
        Err(Failure::Trouble(trouble)) if trouble.is_full() && directory.free_reserve() => run(),
        result => result,
    }
}

fn open_existing(
    directory: &Directory,
    options: &Options,
    format: u32,
    steps: &[(u32, Step)],
) -> Result<(Database, Content), Failure> {
    let path = directory.database();
    let mut db = directory.open(true)?;
    let (found, site) = guarded(|| books::label(&db))?;
    if found > format {
        return Err(Failure::Refused(StoreError::Newer { path, found, known: format }));
    }
    if site != options.site.as_str() {
        let wanted = options.site.to_string();
        return Err(Failure::Refused(StoreError::OtherSite { path, found: site, wanted }));
    }
    if found < format {
        // Copied while it is closed: only then are all of its bytes in the file.
        guarded(|| db.close())?;
        let failed = |what: String| {
            Failure::Refused(StoreError::Migration { path: path.clone(), from: found, to: format, what })
        };
        let copy = directory.copy_of_format(found).map_err(|error| failed(format!("it cannot be copied: {error}")))?;
        db = directory.open(false)?;
        guarded(|| migrate(&db, found, format, steps)).map_err(|trouble| failed(trouble.to_string()))?;
        tracing::info!("brought {} from format {found} to {format}; {} is how it was", path.display(), copy.display());
    }
    let content = guarded(|| books::read(&db))?;
    Ok((db, content))
}

fn migrate(db: &Database, from: u32, to: u32, steps: &[(u32, Step)]) -> Result<(), Trouble> {
    let tx = db.begin_write().map_err(redb::Error::from)?;
    for format in from..to {
        let Some((_, step)) = steps.iter().find(|(older, _)| *older == format) else {
            return Err(Trouble::Other(format!("nothing is known of format {format}")));
        };
        step(&tx)?;
    }
    {
        let mut meta = tx.open_table(META).map_err(redb::Error::from)?;
        meta.insert(FORMAT_KEY, to.to_le_bytes().as_slice()).map_err(redb::Error::from)?;
    }
    tx.commit().map_err(redb::Error::from)?;
    Ok(())
}

fn refusal(dir: &Path, path: &Path, trouble: Trouble) -> StoreError {
    let full = trouble.is_full();
    let path = path.to_path_buf();
    match trouble {
        Trouble::InUse => StoreError::InUse { path: dir.to_path_buf() },
        Trouble::Damaged(what) => StoreError::Damaged { path, what },
        Trouble::Other(what) => StoreError::Unusable { path, what },
        Trouble::Io(source) if full => StoreError::DiskFull { path, source },
        Trouble::Io(source) if source.kind() == io::ErrorKind::NotADirectory => {
            StoreError::Directory { path: dir.to_path_buf(), source }
        }
        Trouble::Io(source) => StoreError::Io { path, source },
    }
}

fn assemble(
    directory: Directory,
    db: Database,
    content: Content,
    options: &Options,
    is_new: bool,
    set_aside: Option<(PathBuf, String)>,
) -> Opened {
    let worker = Worker::new(Box::new(directory), Books::of(&content), options.limits);
    let Content { head, devices, waiting, .. } = content;
    Opened { store: Store::of(worker, db), head, devices, waiting, is_new, set_aside }
}

pub(super) fn new_head(now: Timestamp) -> Head {
    let mut epoch = uuid::Uuid::new_v4().simple().to_string();
    epoch.truncate(12);
    Head { epoch, began: now, sequence: 0, alive_at: now, jumped_ms: 0, jumps: 0 }
}
