//! The registry out of the rows that keep it, and into them.

use super::keep::{Keep, KeyedRow, Memory};
use super::{CALIBRATION, RECORDS, REVISION, View, calibration_row, change, record_key, records, revision_row};
use crate::config::{from_stored, to_json};
use crate::model::Timestamp;
use crate::registry::{Calibration, Kind, Registry};
use crate::store::Row;

use std::sync::Arc;

/// Why the registry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The database cannot be read.
    #[error("the registry cannot be read from the database: {0}")]
    Unreadable(String),
    /// What is stored is no registry.
    #[error("the registry in the database is damaged: {}; restore a backup, or move the data directory away and apply an exported site directory", .0.join("; "))]
    Damaged(Vec<String>),
}

/// Reads the registry; none where none was ever written.
///
/// # Errors
/// [`LoadError`].
pub fn load(keep: &dyn Keep) -> Result<Option<View>, LoadError> {
    let Some(revision) = keep.row(REVISION).map_err(LoadError::Unreadable)? else { return Ok(None) };
    let revision = std::str::from_utf8(&revision).ok().and_then(|text| text.parse().ok());
    let revision = revision.ok_or_else(|| LoadError::Damaged(vec!["its revision is unreadable".to_owned()]))?;
    let prefixes = RECORDS.map(|(_, prefix)| prefix);
    let rows = keep.rows(&prefixes).map_err(LoadError::Unreadable)?;
    let kind = |(key, value): KeyedRow| {
        let (kind, _) = RECORDS.into_iter().find(|(_, prefix)| key.starts_with(prefix))?;
        Some((kind, value))
    };
    let registry = from_stored(rows.into_iter().filter_map(kind)).map_err(LoadError::Damaged)?;
    let calibration = match keep.row(CALIBRATION).map_err(LoadError::Unreadable)? {
        None => None,
        Some(bytes) => Some(
            serde_json::from_slice::<Calibration>(&bytes)
                .map_err(|error| LoadError::Damaged(vec![format!("calibration: {error}")]))?,
        ),
    };
    Ok(Some(View { revision, registry: Arc::new(registry.with_calibration(calibration)) }))
}

/// The registry of rows that are not kept anywhere yet; none where there is none among them.
///
/// # Errors
/// [`LoadError`].
pub fn of_rows(rows: Vec<Row>) -> Result<Option<View>, LoadError> {
    let memory = Memory::default();
    memory.write(rows, Box::new(|| ()));
    load(&memory)
}

/// Whether a row is part of what [`of_rows`] reads.
pub fn is_read(key: &str) -> bool {
    [CALIBRATION, REVISION].contains(&key) || RECORDS.iter().any(|(_, prefix)| key.starts_with(prefix))
}

/// What is to be written for a registry that is the first one, and what it is from then on.
///
/// # Errors
/// [`LoadError::Damaged`] where it does not come back as it was written.
pub fn first(registry: &Registry, by: &str, at: Timestamp) -> Result<(View, Vec<Row>), LoadError> {
    let revision = 1;
    let json = |record: &crate::registry::Record| to_json(record, registry.frame()).to_string().into_bytes();
    let mut rows = Vec::new();
    let mut stored: Vec<(Kind, Vec<u8>)> = Vec::new();
    for (place, record) in records(registry).enumerate() {
        let (key, value) = (record.key(), json(&record));
        stored.push((key.kind(), value.clone()));
        rows.push(Row { key: record_key(key.kind(), &key.id()), value: Some(value), place: place as u64 });
    }
    let again = from_stored(stored.into_iter()).map_err(LoadError::Damaged)?;
    let again = again.with_calibration(registry.calibration().cloned());
    rows.push(calibration_row(registry));
    rows.push(revision_row(revision));
    rows.extend(change::first(&again, revision, by, at));
    Ok((View { revision, registry: Arc::new(again) }, rows))
}
