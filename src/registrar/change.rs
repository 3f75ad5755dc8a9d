//! What was changed, when and by whom.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keep::Keep;
use super::{record_key, records};
use crate::config::to_json;
use crate::model::Timestamp;
use crate::registry::{Edit, Key, Kind, Registry};
use crate::store::Row;

pub(crate) const CHANGE: &str = "change/";
const VALUES: &str = "values/";
/// Changes that are kept.
const MOST_CHANGES: u64 = 1_000;
/// Bytes of what was there before and after that are kept, compressed: beyond, the oldest cannot be undone any more.
const MOST_BYTES: u64 = 64 << 20;
/// Most items that a change is listed with.
const MOST_LISTED: usize = 20;
/// No change is larger than this when it is unpacked: a million records.
const MOST_UNPACKED: u64 = 1 << 30;

/// By what a change came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The first start.
    Start,
    /// Somebody changed a record.
    #[default]
    Edit,
    /// A file was imported.
    Import,
    /// A site directory was applied.
    Apply,
    /// An earlier change was undone.
    Undo,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is new.
    Added,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// A record that was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeItem {
    /// What kind of thing.
    #[serde(with = "kind_word")]
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What became of it.
    pub action: Verb,
    /// Its JSON form before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// And after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// How many records were changed how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// New ones.
    pub added: u64,
    /// Others than before.
    pub changed: u64,
    /// Gone.
    pub removed: u64,
}

/// A change of the registry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Change {
    /// The revision that it made.
    pub revision: u64,
    /// When; none of one that was only planned.
    pub at: Option<Timestamp>,
    /// By whom.
    pub by: String,
    /// By what.
    pub action: Action,
    /// How many records.
    pub counts: Counts,
    /// Which; without values only the first of them.
    pub items: Vec<ChangeItem>,
    /// The revision that it undid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// Bytes of what is kept of its values.
    #[serde(default)]
    pub bytes: u64,
}

impl Change {
    /// The same, as it is listed.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        self.items.truncate(MOST_LISTED);
        self.items.iter_mut().for_each(|item| (item.before, item.after) = (None, None));
        self
    }
}

mod kind_word {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Kind;

    // The form that serde calls.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(kind: &Kind, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.as_str())
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Kind, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(from)?;
        let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| serde::de::Error::custom("an unknown kind"))
    }
}

/// What an edit changes between two registries, in the order of the edit, which is that in which new things are listed. What it names
/// without changing is left out.
pub(super) fn of(before: &Registry, after: &Registry, edit: &Edit) -> Change {
    let mut keys: Vec<Key> = edit.put.iter().map(crate::registry::Record::key).collect();
    keys.extend(edit.remove.iter().cloned());
    if before.frame() != after.frame() {
        keys.extend(records(after).map(|record| record.key()));
    }
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    let mut change = Change::default();
    for key in keys {
        let json = |registry: &Registry| Some(to_json(&registry.record(&key)?, registry.frame()));
        let (old, new) = (json(before), json(after));
        let action = match (&old, &new) {
            (None, None) => continue,
            (Some(old), Some(new)) if old == new => continue,
            (None, Some(_)) => Verb::Added,
            (Some(_), Some(_)) => Verb::Changed,
            (Some(_), None) => Verb::Removed,
        };
        match action {
            Verb::Added => change.counts.added += 1,
            Verb::Changed => change.counts.changed += 1,
            Verb::Removed => change.counts.removed += 1,
        }
        change.items.push(ChangeItem { kind: key.kind(), id: key.id(), action, before: old, after: new });
    }
    change
}

/// The rows of the records that a change changes. New ones come after what is there, in this order, from `place` on.
pub(super) fn record_rows(change: &Change, place: u64) -> Vec<Row> {
    let row = |(at, item): (usize, &ChangeItem)| Row {
        key: record_key(item.kind, &item.id),
        value: item.after.as_ref().map(|value| value.to_string().into_bytes()),
        place: place + at as u64,
    };
    change.items.iter().enumerate().map(row).collect()
}

/// The rows that keep a change, and those that are no longer kept.
pub(super) fn history_rows(change: &Change, keep: &dyn Keep) -> Vec<Row> {
    let mut rows = Vec::new();
    let values = packed(&change.items);
    let bytes = values.as_ref().map_or(0, |values| values.len() as u64);
    let listed = Change { bytes, ..change.clone().without_values() };
    let row = |key: String, value: Option<Vec<u8>>| Row { key, value, place: 0 };
    rows.push(row(key(CHANGE, change.revision), serde_json::to_vec(&listed).ok()));
    rows.push(row(key(VALUES, change.revision), values));
    if let Some(old) = change.revision.checked_sub(MOST_CHANGES) {
        rows.push(row(key(CHANGE, old), None));
        rows.push(row(key(VALUES, old), None));
    }
    let mut sum = bytes;
    for earlier in history(keep, None, MOST_CHANGES as usize).unwrap_or_default() {
        sum += earlier.bytes;
        if sum > MOST_BYTES && earlier.bytes > 0 {
            rows.push(row(key(VALUES, earlier.revision), None));
        }
    }
    rows
}

fn key(prefix: &str, revision: u64) -> String {
    format!("{prefix}{revision:020}")
}

fn packed(items: &[ChangeItem]) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&serde_json::to_vec(items).ok()?).ok()?;
    gzip.finish().ok()
}

/// Changes before a revision, newest first, without values.
pub(super) fn history(keep: &dyn Keep, before: Option<u64>, most: usize) -> Result<Vec<Change>, String> {
    let before = before.map(|revision| key(CHANGE, revision));
    let rows = keep.rows_before(CHANGE, before.as_deref(), most)?;
    Ok(rows.iter().filter_map(|(_, row)| serde_json::from_slice(row).ok()).collect())
}

/// A change with its values; none where it is not kept.
pub(super) fn whole(keep: &dyn Keep, revision: u64) -> Result<Option<Change>, String> {
    let (listed, values) = (keep.row(&key(CHANGE, revision))?, keep.row(&key(VALUES, revision))?);
    let (Some(listed), Some(values)) = (listed, values) else { return Ok(None) };
    let mut text = Vec::new();
    let read = GzDecoder::new(values.as_slice()).take(MOST_UNPACKED).read_to_end(&mut text);
    read.map_err(|error| format!("revision {revision}: {error}"))?;
    let parsed = |error: serde_json::Error| format!("revision {revision}: {error}");
    let change: Change = serde_json::from_slice(&listed).map_err(parsed)?;
    Ok(Some(Change { items: serde_json::from_slice(&text).map_err(parsed)?, ..change }))
}

/// The rows that keep the first change: that there was a registry to begin with.
pub(super) fn first(registry: &Registry, revision: u64, by: &str, at: Timestamp) -> Vec<Row> {
    let items: Vec<ChangeItem> = records(registry)
        .take(MOST_LISTED)
        .map(|record| {
            let key = record.key();
            ChangeItem { kind: key.kind(), id: key.id(), action: Verb::Added, before: None, after: None }
        })
        .collect();
    let counts = Counts { added: records(registry).count() as u64, ..Counts::default() };
    let by = by.to_owned();
    let change = Change { revision, at: Some(at), by, action: Action::Start, counts, items, ..Change::default() };
    vec![Row { key: key(CHANGE, revision), value: serde_json::to_vec(&change).ok(), place: 0 }]
}
