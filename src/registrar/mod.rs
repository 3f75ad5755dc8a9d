//! Changes the registry while the gateway runs: checks, applies, writes down, remembers.
//!
//! One change at a time. Each is whole or not at all, takes effect at once, and is committed in one transaction with the visits
//! that it ended; the caller hears of it after that. Every change is kept, with who made it and what was there before, so
//! that it can be undone.

mod change;
pub mod copy;
mod keep;
pub mod load;
pub mod offline;
pub(crate) mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::config::{etag, from_stored, record_from_stored, to_json, unusable};
use crate::engine::{Prepared, Tables};
use crate::model::{LevelOrdinal, Timestamp};
use crate::registry::{
    Edit, FloorPlan, Key, Kind, PlanFormat, Record, Registry, RegistryError, Trigger, TriggerSettings,
};
use crate::store::Row;

pub(crate) use change::CHANGE;
pub use change::{Action, Change, ChangeItem, Counts, Verb};
pub use keep::{Keep, Memory, Then};
pub use tokens::{Role, TokenError, TokenInfo, Tokens};

/// How long a change may wait for the one before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change may take to be on disk.
const COMMIT: Duration = Duration::from_secs(10);
/// Keys of the rows of devices.
pub(crate) const DEVICE: &str = "device/";
/// Keys of the rows that make up the registry, in the order in which they are read.
const RECORDS: [(Kind, &str); 8] = [
    (Kind::Site, "site/"),
    (Kind::Level, "level/"),
    (Kind::Receiver, "receiver/"),
    (Kind::Zone, "zone/"),
    (Kind::Device, DEVICE),
    (Kind::Beacon, "beacon/"),
    (Kind::TriggerSettings, "trigger-settings/"),
    (Kind::Trigger, "trigger/"),
];
const CALIBRATION: &str = "calibration";
const REVISION: &str = "meta/revision";
const PLAN: &str = "plan/";

/// Who changes something, in words: a token's name, or a local user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author(pub String);

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must hold of a record before it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is there, with this entity tag.
    Tagged(String),
}

/// The registry at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// How many changes have led to it.
    pub revision: u64,
    /// The registry.
    pub registry: Arc<Registry>,
}

impl View {
    /// The JSON form of what has that key.
    pub fn json(&self, key: &Key) -> Option<Value> {
        Some(to_json(&self.registry.record(key)?, self.registry.frame()))
    }

    /// Its entity tag.
    pub fn etag(&self, key: &Key) -> Option<String> {
        self.json(key).map(|json| etag(&json))
    }
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The revision that it made; the present one where nothing was to be changed.
    pub revision: u64,
    /// The change; none where nothing was to be changed.
    pub change: Option<Arc<Change>>,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EditError {
    /// Somebody else changed it in the meantime.
    #[error("{key} was changed by somebody else in the meantime")]
    Changed {
        /// Which.
        key: Key,
        /// Its entity tag now; none where it is gone.
        etag: Option<String>,
    },
    /// It is there already.
    #[error("{0} is there already")]
    Exists(Key),
    /// It is not there.
    #[error("{0} is not registered")]
    NotFound(Key),
    /// Other things need what is to be removed.
    #[error("{key} is in use by {}", .by.join(", "))]
    InUse {
        /// What is to be removed.
        key: Key,
        /// What needs it; the first of them.
        by: Vec<String>,
    },
    /// The registry would contradict itself.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<RegistryError>),
    /// The site's id is in topics and ids, and stays.
    #[error(
        "the id of a site cannot be changed, for it is in every topic and id: write this gateway's site id into site.toml, or name the \
         directory as site in gateway.toml and start with a new data_dir"
    )]
    SiteId,
    /// The change to be undone is not known any more.
    #[error("revision {0} is not kept any more, or never was; history lists those that are")]
    UnknownRevision(u64),
    /// What the change to be undone had changed was changed again.
    #[error("changed again since revision {revision}: {}", .keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    ChangedSince {
        /// The revision that was to be undone.
        revision: u64,
        /// What was changed again; the first of them.
        keys: Vec<Key>,
    },
    /// Another change takes too long.
    #[error("another change is being made; try again")]
    Busy,
    /// Something was changed while it was worked out what is to be changed.
    #[error("something was changed by somebody else while this was read; try again")]
    Overtaken,
    /// It is in effect, but not yet on disk.
    #[error("the change is in effect, but the disk has not taken it yet; see the gateway's status")]
    NotDurable,
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
    /// What is stored cannot be read.
    #[error("the database cannot be read: {0}")]
    Unreadable(String),
}

/// Another registry for the gateway's loop.
pub struct Reconfigure {
    /// The registry, and what follows from it.
    pub prepared: Prepared,
    /// What is to be written in the same transaction.
    pub rows: Vec<Row>,
    /// To be called when that is committed.
    pub done: Then,
}

impl fmt::Debug for Reconfigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconfigure").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// A picture of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// Its format.
    pub format: PlanFormat,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Told of every change.
pub type Told = Box<dyn Fn(&Arc<Change>) + Send + Sync>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Registrar(Arc<Inner>);

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("revision", &self.view().revision).finish_non_exhaustive()
    }
}

struct Inner {
    current: RwLock<View>,
    editing: Mutex<Editing>,
    keep: Arc<dyn Keep>,
    tokens: Tokens,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    told: Told,
}

/// What only whoever makes a change needs.
struct Editing {
    /// None where no engine runs.
    engine: Option<(Tables, mpsc::Sender<Reconfigure>)>,
    /// The place of the next record that is new.
    place: u64,
}

/// What a registrar needs.
pub struct Parts {
    /// The registry at the start.
    pub view: View,
    /// Where rows are kept.
    pub keep: Arc<dyn Keep>,
    /// What the engine's next registry is prepared from, and the way to its loop; none where no engine runs.
    pub engine: Option<(Tables, mpsc::Sender<Reconfigure>)>,
    /// The wall clock.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Told of every change.
    pub told: Told,
}

impl Registrar {
    /// A registrar that goes on from a registry.
    ///
    /// # Errors
    /// [`EditError::Unreadable`].
    pub fn new(parts: Parts) -> Result<Self, EditError> {
        let Parts { view, keep, engine, now, told } = parts;
        let tokens = Tokens::load(Arc::clone(&keep)).map_err(EditError::Unreadable)?;
        // Far above every place that was ever given: places are only compared.
        let place = view.revision << 24;
        let editing = Mutex::new(Editing { engine, place });
        Ok(Self(Arc::new(Inner { current: RwLock::new(view), editing, keep, tokens, now, told })))
    }

    /// The registry now.
    pub fn view(&self) -> View {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who may do what.
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        (self.0.now)()
    }

    /// What an edit would change, counted, and whether it can be made.
    ///
    /// # Errors
    /// As [`Registrar::edit`].
    pub fn plan(&self, edit: &Edit) -> Result<Change, EditError> {
        let view = self.view();
        let next = edited(&view.registry, edit)?;
        Ok(change::of(&view.registry, &next, edit))
    }

    /// Makes a change, where everything is as expected.
    ///
    /// # Errors
    /// [`EditError`]; nothing was changed, but for [`EditError::NotDurable`].
    pub async fn edit(
        &self,
        edit: Edit,
        expected: Vec<(Key, Expect)>,
        author: &Author,
        action: Action,
    ) -> Result<Applied, EditError> {
        let mut editing = self.begin().await?;
        self.check(&expected)?;
        self.change(&mut editing, edit, author, action, None, Vec::new()).await
    }

    /// Gives a level another floor plan, or none.
    ///
    /// # Errors
    /// As [`Registrar::edit`].
    pub async fn set_plan(
        &self,
        ordinal: LevelOrdinal,
        plan: Option<(FloorPlan, Bytes)>,
        expected: Vec<(Key, Expect)>,
        author: &Author,
    ) -> Result<Applied, EditError> {
        let mut editing = self.begin().await?;
        self.check(&expected)?;
        let key = Key::Level(ordinal);
        let Some(Record::Level(mut level)) = self.view().registry.record(&key) else {
            return Err(EditError::NotFound(key));
        };
        let (plan, bytes) = plan.map_or((None, None), |(plan, bytes)| (Some(plan), Some(bytes)));
        level.plan = plan;
        let row = plan_row(ordinal, bytes.map(|bytes| bytes.to_vec()));
        let edit = Edit { put: vec![Record::Level(level)], ..Edit::default() };
        self.change(&mut editing, edit, author, Action::Edit, None, vec![row]).await
    }

    /// As [`Registrar::edit`], with the pictures of levels beside it: each replaces the level's. `base` is the revision that the edit
    /// was worked out from, where it must not be made from a later one.
    ///
    /// # Errors
    /// As [`Registrar::edit`].
    pub async fn apply(
        &self,
        edit: Edit,
        plans: Vec<(LevelOrdinal, Bytes)>,
        base: Option<u64>,
        author: &Author,
        action: Action,
    ) -> Result<Applied, EditError> {
        let mut editing = self.begin().await?;
        if base.is_some_and(|base| base != self.view().revision) {
            return Err(EditError::Overtaken);
        }
        let row = |(ordinal, bytes): (LevelOrdinal, Bytes)| {
            let row = plan_row(ordinal, Some(bytes.to_vec()));
            let is_new = self.0.keep.row(&row.key).ok().flatten() != row.value;
            is_new.then_some(row)
        };
        let rows = plans.into_iter().filter_map(row).collect();
        self.change(&mut editing, edit, author, action, None, rows).await
    }

    /// The picture of a level. Blocks for the time of a read.
    pub fn floor_plan(&self, ordinal: LevelOrdinal) -> Option<StoredPlan> {
        let Some(Record::Level(level)) = self.view().registry.record(&Key::Level(ordinal)) else { return None };
        let bytes = self.0.keep.row(&format!("{PLAN}{ordinal}")).ok().flatten()?;
        Some(StoredPlan { format: level.plan?.media_type, bytes: Bytes::from(bytes) })
    }

    /// Changes before revision `before` (from the newest where none), newest first, at most `most`; without values. Blocks for
    /// the time of a read.
    ///
    /// # Errors
    /// [`EditError::Unreadable`].
    pub fn history(&self, before: Option<u64>, most: usize) -> Result<Vec<Change>, EditError> {
        change::history(&*self.0.keep, before, most).map_err(EditError::Unreadable)
    }

    /// A change, with what was there before and after. Blocks for the time of a read.
    ///
    /// # Errors
    /// [`EditError::UnknownRevision`] where it is not kept.
    pub fn change_of(&self, revision: u64) -> Result<Change, EditError> {
        change::whole(&*self.0.keep, revision)
            .map_err(EditError::Unreadable)?
            .ok_or(EditError::UnknownRevision(revision))
    }

    /// Undoes a change, where nothing of it was changed again.
    ///
    /// # Errors
    /// As [`Registrar::edit`].
    pub async fn undo(&self, revision: u64, author: &Author) -> Result<Applied, EditError> {
        let mut editing = self.begin().await?;
        let change = self.change_of(revision)?;
        let view = self.view();
        let mut edit = Edit::default();
        let mut changed = Vec::new();
        let mut back = Vec::new();
        for item in change.items {
            let Some(key) = Key::parse(item.kind, &item.id) else { continue };
            if view.json(&key) != item.after {
                changed.push(key);
                continue;
            }
            match item.before {
                Some(before) => back.push((item.kind, before)),
                None => edit.remove.push(key),
            }
        }
        if !changed.is_empty() {
            changed.truncate(20);
            return Err(EditError::ChangedSince { revision, keys: changed });
        }
        back.sort_by_key(|(kind, _)| *kind);
        let mut frame = *view.registry.frame();
        for (kind, before) in back {
            let record = record_from_stored(kind, before.to_string().as_bytes(), &frame);
            let record = record.map_err(EditError::Unreadable)?;
            if let Record::Site(site) = &record {
                // It comes first: what follows is on its ground.
                frame = site.frame;
            }
            edit.put.push(record);
        }
        self.change(&mut editing, edit, author, Action::Undo, Some(revision), Vec::new()).await
    }

    async fn begin(&self) -> Result<tokio::sync::MutexGuard<'_, Editing>, EditError> {
        tokio::time::timeout(PATIENCE, self.0.editing.lock()).await.map_err(|_| EditError::Busy)
    }

    fn check(&self, expected: &[(Key, Expect)]) -> Result<(), EditError> {
        let view = self.view();
        for (key, expect) in expected {
            let is_there = view.registry.record(key).is_some();
            match expect {
                Expect::Absent if is_there => return Err(EditError::Exists(key.clone())),
                Expect::Present if !is_there => return Err(EditError::NotFound(key.clone())),
                Expect::Absent | Expect::Present => {}
                Expect::Tagged(wanted) => {
                    let found = view.etag(key);
                    if found.as_ref() != Some(wanted) {
                        return Err(EditError::Changed { key: key.clone(), etag: found });
                    }
                }
            }
        }
        Ok(())
    }

    async fn change(
        &self,
        editing: &mut Editing,
        edit: Edit,
        author: &Author,
        action: Action,
        undoes: Option<u64>,
        more: Vec<Row>,
    ) -> Result<Applied, EditError> {
        let view = self.view();
        let place = editing.place;
        let tables = editing.engine.as_ref().map(|(tables, _)| tables.clone());
        let (by, at, keep) = (author.to_string(), self.now(), Arc::clone(&self.0.keep));
        // Large sites take their time: the loop that serves others must not.
        let worked = tokio::task::spawn_blocking(move || {
            let next = edited(&view.registry, &edit)?;
            let mut change = change::of(&view.registry, &next, &edit);
            if change.items.is_empty() && edit.calibration.is_none() && more.is_empty() {
                return Ok(None);
            }
            (change.revision, change.at, change.by) = (view.revision + 1, Some(at), by);
            (change.action, change.undoes) = (action, undoes);
            let next = Arc::new(next);
            let mut rows = change::record_rows(&change, place);
            rows.extend(more);
            if edit.calibration.is_some() {
                rows.push(calibration_row(&next));
            }
            rows.push(revision_row(change.revision));
            rows.extend(change::history_rows(&change, &*keep));
            let prepared = tables.map(|tables| tables.prepare(Arc::clone(&next)));
            Ok(Some((next, change, rows, prepared)))
        });
        let Some((next, change, rows, prepared)) = worked.await.map_err(|_| EditError::Stopping)?? else {
            return Ok(Applied { revision: self.view().revision, change: None });
        };
        editing.place += change.items.len() as u64;
        let (done, committed) = oneshot::channel();
        let done: Then = Box::new(move || {
            // Who asked may be gone.
            let _ = done.send(());
        });
        match (&mut editing.engine, prepared) {
            (Some((tables, way)), Some(prepared)) => {
                let next_tables = prepared.tables().clone();
                let sent = way.send(Reconfigure { prepared, rows, done }).await;
                sent.map_err(|_| EditError::Stopping)?;
                *tables = next_tables;
            }
            _ => self.0.keep.write(rows, done),
        }
        let change = Arc::new(change.without_values());
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) =
            View { revision: change.revision, registry: next };
        (self.0.told)(&change);
        match tokio::time::timeout(COMMIT, committed).await {
            Ok(Ok(())) => Ok(Applied { revision: change.revision, change: Some(change) }),
            Ok(Err(_)) => Err(EditError::Stopping),
            Err(_) => Err(EditError::NotDurable),
        }
    }
}

/// The registry with an edit; with the cause in words where it cannot be.
fn edited(registry: &Registry, edit: &Edit) -> Result<Registry, EditError> {
    let site = edit.put.iter().find_map(|record| match record {
        Record::Site(site) => Some(site),
        _ => None,
    });
    if site.is_some_and(|site| site.id != registry.site().id) {
        return Err(EditError::SiteId);
    }
    let next = registry.edited(edit).map_err(|errors| cause(registry, edit, errors))?;
    let errors = unusable_rules(registry, &next, edit);
    if !errors.is_empty() {
        return Err(EditError::Invalid(errors));
    }
    if next.frame() == registry.frame() {
        return Ok(next);
    }
    // Everything moves with the origin. What is kept of zones is their place on Earth: it is what is read back that counts.
    let calibration = next.calibration().cloned();
    let records =
        records(&next).map(|record| (record.key().kind(), to_json(&record, next.frame()).to_string().into_bytes()));
    let again = from_stored(records.collect::<Vec<_>>().into_iter())
        .map_err(|faults| EditError::Unreadable(faults.join("; ")))?;
    Ok(again.with_calibration(calibration))
}

/// Rules that cannot be judged any more: of those that are put, and of all where attributes are declared otherwise.
fn unusable_rules(before: &Registry, next: &Registry, edit: &Edit) -> Vec<RegistryError> {
    let (settings, rules) = (&next.rules().settings, &next.rules().triggers);
    let all = before.rules().settings.attributes != settings.attributes;
    let put = edit.put.iter().filter_map(|record| match record {
        Record::Trigger(rule) if !all => Some(rule),
        _ => None,
    });
    let judged = rules.iter().filter(|_| all).chain(put);
    let error = |rule: &Arc<Trigger>| {
        let reason = unusable(rule, settings)?;
        Some(RegistryError::Unusable { trigger: rule.id.clone(), reason })
    };
    judged.filter_map(error).collect()
}

/// Everything in a registry, the site and its levels first. The settings of triggers are among it where they are not the defaults.
pub fn records(registry: &Registry) -> impl Iterator<Item = Record> + '_ {
    let settings = Some(&registry.rules().settings).filter(|settings| ***settings != TriggerSettings::default());
    std::iter::once(Record::Site(Box::new(registry.site().clone())))
        .chain(registry.site().levels.iter().cloned().map(Record::Level))
        .chain(registry.receivers().iter().cloned().map(Record::Receiver))
        .chain(registry.zones().iter().cloned().map(Record::Zone))
        .chain(registry.devices().iter().cloned().map(Record::Device))
        .chain(registry.beacons().iter().cloned().map(Record::Beacon))
        .chain(settings.map(|settings| Record::TriggerSettings(Arc::clone(settings))))
        .chain(registry.rules().triggers.iter().cloned().map(Record::Trigger))
}

fn cause(registry: &Registry, edit: &Edit, errors: Vec<RegistryError>) -> EditError {
    let gone: BTreeSet<&Key> = edit.remove.iter().collect();
    let users = |key: &Key| -> Vec<String> {
        let users = errors.iter().filter_map(|error| match error {
            RegistryError::UnknownDevice { beacon, device } if Key::Device(device.clone()) == *key => {
                Some(Key::Beacon(beacon.clone()).to_string())
            }
            RegistryError::UnknownPlace { trigger, kind: "zone", id } if *key == Key::parse(Kind::Zone, id)? => {
                Some(Key::Trigger(trigger.clone()).to_string())
            }
            RegistryError::UnknownPlace { trigger, kind: "beacon", id } if *key == Key::parse(Kind::Beacon, id)? => {
                Some(Key::Trigger(trigger.clone()).to_string())
            }
            RegistryError::UnknownLevel { kind, id, level } if Key::Level(*level) == *key => {
                Some(format!("{kind} \"{id}\""))
            }
            _ => None,
        });
        users.take(20).collect()
    };
    let used =
        gone.iter().map(|key| (*key, users(key))).find(|(key, by)| !by.is_empty() && registry.record(key).is_some());
    match used {
        Some((key, by)) => EditError::InUse { key: key.clone(), by },
        None => EditError::Invalid(errors),
    }
}

fn calibration_row(registry: &Registry) -> Row {
    // Numbers, ids and times have a JSON form.
    let value = registry.calibration().and_then(|calibration| serde_json::to_vec(calibration).ok());
    Row { key: CALIBRATION.to_owned(), value, place: 0 }
}

/// The row that keeps the picture of a level.
pub fn plan_row(level: LevelOrdinal, bytes: Option<Vec<u8>>) -> Row {
    Row { key: format!("{PLAN}{level}"), value: bytes, place: 0 }
}

fn revision_row(revision: u64) -> Row {
    Row { key: REVISION.to_owned(), value: Some(revision.to_string().into_bytes()), place: 0 }
}

fn record_key(kind: Kind, id: &str) -> String {
    let prefix = RECORDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, prefix)| prefix);
    format!("{prefix}{id}")
}
