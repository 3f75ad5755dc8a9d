//! Putting a backup back.
//!
//! Everything is made in `restore.new` within the data directory, which is held all the while. Then what was there is
//! moved to `before-restore-TIME`, the database last: it is linked there, and the new one takes its name in one step.
//! So wherever this is cut off, the directory has one whole database, the old or the new.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::archive::{self, Opened};
use super::consent::{Consents, Since, Withdrawn};
use super::look::registered;
use super::{Another, BackupError, Manifest, cannot_read, cannot_write, stamp};
use crate::clock::Clock;
use crate::config::{GatewayConfig, load_site_with_plans};
use crate::engine::DeviceRecord;
use crate::gateway::keeper::SITE_HISTORY;
use crate::model::Timestamp;
use crate::record;
use crate::registrar::load;
use crate::store::copy::{self as rows, CopiedRow, Reader, Table};
use crate::store::{self, Head, Row, StoreError};
use crate::trigger::SiteHistory;

/// Where it is made.
const MAKING: &str = "restore.new";
/// How the names of what is set aside begin.
const ASIDE: &str = "before-restore-";
/// What is no data: it stays where it is.
const STAYS: [&str; 5] = ["lock", "ballast", "gateway.sock", "backup.sock", "api.sock"];

/// What is to be done.
#[derive(Debug)]
pub struct RestoreOrder<'a> {
    /// The backup.
    pub file: &'a Path,
    /// Whose data directory.
    pub config: &'a GatewayConfig,
    /// Whether what is there is set aside.
    pub force: bool,
    /// Whether recordings are put back.
    pub recordings: bool,
    /// Whose consent holds then.
    pub consents: Consents,
    /// The wall clock.
    pub now: Timestamp,
}

/// A backup that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup said of itself.
    pub manifest: Manifest,
    /// The epoch that begins.
    pub epoch: String,
    /// Where what was there is now, if anything was.
    pub aside: Option<PathBuf>,
    /// Visits that were open.
    pub visits: u64,
    /// Recordings that were put back.
    pub recordings: usize,
    /// What was withdrawn after the backup, as far as that is known.
    pub withdrawn: Withdrawn,
    /// Whether it is known what was withdrawn.
    pub is_known: bool,
}

/// Puts a backup back.
///
/// # Errors
/// [`BackupError`]; then the directory is as it was.
pub fn restore(order: &RestoreOrder) -> Result<Restored, BackupError> {
    let mut backup = Opened::open(order.file)?;
    check_owner(order, &backup.manifest)?;
    let mut registry = Vec::new();
    let mut site = SiteHistory::default();
    let summary = backup.check(|row| {
        if let Some((key, value)) = row.kept() {
            if key == SITE_HISTORY {
                site = serde_json::from_slice(value).unwrap_or_default();
            } else if load::is_read(key) {
                registry.push(Row { key: key.to_owned(), value: Some(value.to_vec()), place: row.place() });
            }
        }
        Ok(())
    })?;
    let then = load::of_rows(registry)?;
    let data_dir = &order.config.data_dir;
    // What is there is looked at before it is held: looking holds it, too.
    match store::peek(data_dir) {
        Ok(peek) if peek.site != backup.manifest.site => {
            return Err(BackupError::Another(Box::new(Another {
                path: order.file.to_path_buf(),
                what: "site",
                found: backup.manifest.site.clone(),
                here: data_dir.display().to_string(),
                wanted: peek.site,
                advice: "move the directory away, or name another one as data_dir",
            })));
        }
        Err(StoreError::InUse { path }) => return Err(BackupError::Running(path)),
        _ => {}
    }
    let now = registered(data_dir).ok().filter(|now| now.view.is_some());
    let since = then.map_or_else(Since::default, |then| Since::of(&then.registry, now.as_ref()));
    let _held = rows::hold(data_dir)?;
    let there = entries(data_dir)?;
    if !there.is_empty() && !order.force {
        return Err(BackupError::NotEmpty(data_dir.clone()));
    }
    let making = data_dir.join(MAKING);
    let made = make(order, &mut backup, &making, (&site, summary.head.as_ref()), &since);
    let made = made.and_then(|(restored, recordings)| {
        take_its_place(order, &making, &there, &recordings).map(|aside| Restored { aside, ..restored })
    });
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&making);
    }
    made
}

/// Whether the backup is this gateway's.
fn check_owner(order: &RestoreOrder, manifest: &Manifest) -> Result<(), BackupError> {
    let another = |what, found: &str, here: String, wanted: &str, advice| {
        let (found, wanted) = (found.to_owned(), wanted.to_owned());
        BackupError::Another(Box::new(Another { path: order.file.to_path_buf(), what, found, here, wanted, advice }))
    };
    let config = order.config;
    if manifest.gateway != config.id.as_str() {
        let advice = "where this machine takes the place of that gateway, give it that id in gateway.toml";
        return Err(another("gateway", &manifest.gateway, "gateway.toml".to_owned(), config.id.as_str(), advice));
    }
    if let Some(dir) = &config.site
        && let Ok((registry, ..)) = load_site_with_plans(dir)
        && registry.site().id.as_str() != manifest.site
    {
        let advice = "name the site directory of that site in gateway.toml, or none";
        return Err(another("site", &manifest.site, dir.display().to_string(), registry.site().id.as_str(), advice));
    }
    Ok(())
}

/// What is in the data directory and would be lost.
fn entries(data_dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data_dir).map_err(cannot_read(data_dir))? {
        let entry = entry.map_err(cannot_read(data_dir))?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if !STAYS.contains(&name) && !name.starts_with(ASIDE) && name != MAKING {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Makes everything anew beside what is there.
fn make(
    order: &RestoreOrder,
    backup: &mut Opened,
    making: &Path,
    (site, head): (&SiteHistory, Option<&Head>),
    since: &Since,
) -> Result<(Restored, Vec<String>), BackupError> {
    match std::fs::remove_dir_all(making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_write(making)(error)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(making).map_err(cannot_write(making))?;
    let head = head.ok_or_else(|| BackupError::Damaged {
        path: order.file.to_path_buf(),
        what: "the database does not say what its epoch is".to_owned(),
    })?;
    let clock = Clock::new();
    clock.resume(head.jumped_ms, head.jumps, head.alive_at);
    let (mut withdrawn, mut visits) = (Withdrawn::default(), 0);
    let reader = Reader::new(io::BufReader::new(backup.file(archive::ROWS)?));
    let begun = rows::restore(reader, making, (head, clock.now()), |row| {
        if row.table == Table::Rows {
            return since.change(row, order.consents, &mut withdrawn);
        }
        device(row, site, head.alive_at, &mut visits)
    })?;
    // The copy of the registry is not put back: the gateway writes it again, without what is withdrawn.
    let mut recordings = Vec::new();
    for entry in backup.manifest.files.clone() {
        let Some(name) = archive::recording(&entry.name).filter(|_| order.recordings) else { continue };
        recordings.push(name.to_owned());
        let path = making.join(&entry.name);
        if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
            DirBuilder::new().mode(0o700).create(dir).map_err(cannot_write(dir))?;
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot_write(&path))?;
        io::copy(&mut backup.file(&entry.name)?, &mut file).map_err(cannot_write(&path))?;
        file.sync_all().map_err(cannot_write(&path))?;
    }
    // As the gateway will open it.
    store::peek(making)?;
    let _ = std::fs::remove_file(making.join("lock"));
    let restored = Restored {
        manifest: backup.manifest.clone(),
        epoch: begun.epoch,
        aside: None,
        visits,
        recordings: recordings.iter().filter(|name| !record::is_about_others(name)).count(),
        withdrawn,
        is_known: since.is_known(),
    };
    Ok((restored, recordings))
}

/// What goes on of the record of a device. One that cannot be read is forgotten, as the gateway forgets it.
fn device(row: CopiedRow, site: &SiteHistory, at: Timestamp, visits: &mut u64) -> Result<Option<CopiedRow>, String> {
    let Ok(record) = serde_json::from_slice::<DeviceRecord>(&row.value) else { return Ok(None) };
    *visits += record.presence.visits.len() as u64;
    let Some(record) = record.begin_epoch(site, at) else { return Ok(None) };
    let value = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
    Ok(Some(CopiedRow { value, ..row }))
}

/// Sets aside what is there, and puts what was made in its place. Where that is now.
fn take_its_place(
    order: &RestoreOrder,
    making: &Path,
    there: &[PathBuf],
    recordings: &[String],
) -> Result<Option<PathBuf>, BackupError> {
    let data_dir = &order.config.data_dir;
    own_alike(making, data_dir)?;
    sync(making)?;
    let database = data_dir.join(rows::database_name());
    let mut aside = None;
    if !there.is_empty() {
        let dir = data_dir.join(format!("{ASIDE}{}", stamp(order.now)));
        DirBuilder::new().mode(0o700).create(&dir).map_err(cannot_write(&dir))?;
        let moved = set_aside(there, &dir, &database);
        let owned = moved.and_then(|()| own_one(&dir, data_dir));
        owned?;
        aside = Some(dir);
    }
    if !recordings.is_empty() {
        let (from, to) = (making.join(record::DIRECTORY), data_dir.join(record::DIRECTORY));
        std::fs::rename(from, &to).map_err(cannot_write(&to))?;
    }
    std::fs::rename(making.join(rows::database_name()), &database).map_err(cannot_write(&database))?;
    sync(data_dir)?;
    let _ = std::fs::remove_dir(making);
    Ok(aside)
}

/// Moves everything but the database, which is linked; where the file system has no links, it is moved, too.
fn set_aside(there: &[PathBuf], dir: &Path, database: &Path) -> Result<(), BackupError> {
    let name = |path: &Path| dir.join(path.file_name().unwrap_or(OsStr::new("unnamed")));
    for path in there.iter().filter(|path| *path != database) {
        std::fs::rename(path, name(path)).map_err(cannot_write(path))?;
    }
    if there.iter().any(|path| path == database) && std::fs::hard_link(database, name(database)).is_err() {
        std::fs::rename(database, name(database)).map_err(cannot_write(database))?;
    }
    sync(dir)
}

fn sync(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot_write(dir))
}

/// What root makes is the gateway's.
fn own_alike(path: &Path, like: &Path) -> Result<(), BackupError> {
    own_one(path, like)?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(cannot_read(path))? {
            own_alike(&entry.map_err(cannot_read(path))?.path(), like)?;
        }
    }
    Ok(())
}

fn own_one(path: &Path, like: &Path) -> Result<(), BackupError> {
    let (is, wanted) = (std::fs::metadata(path), std::fs::metadata(like));
    let (is, wanted) = (is.map_err(cannot_read(path))?, wanted.map_err(cannot_read(like))?);
    if (is.uid(), is.gid()) == (wanted.uid(), wanted.gid()) {
        return Ok(());
    }
    chown(path, Some(wanted.uid()), Some(wanted.gid())).map_err(cannot_write(path))
}
