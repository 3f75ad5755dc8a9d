//! A database made from a copy.

use std::io::Read;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, Durability};

use super::{CopiedRow, CopyError, Reader, Table, damaged};
use crate::model::Timestamp;
use crate::store::books::{self, Counters, DEVICES, DICTIONARY, META};
use crate::store::files::{CACHE_BYTES, DATABASE, Directory, Trouble, private};
use crate::store::rows::ROWS;
use crate::store::{Head, StoreError, open};

/// Rows of a new database that are committed together.
const COMMIT_BYTES: usize = 4 << 20;

/// A data directory on which no gateway can run while this lives.
#[derive(Debug)]
pub struct Held {
    _directory: Directory,
}

/// Makes a data directory where it is missing, and holds it.
///
/// # Errors
/// [`StoreError`], also where a gateway runs on it.
pub fn hold(dir: &Path) -> Result<Held, StoreError> {
    Ok(Held { _directory: Directory::lock(dir)? })
}

/// Makes a database in `dir` from a copy, in a new epoch: with nothing of the outbox, nothing counted, and rows and the
/// records of devices as `change` gives them (none: without). `earlier` is the copy's head, and `now` the steady time.
///
/// # Errors
/// [`CopyError`].
pub fn restore(
    mut reader: Reader<impl Read>,
    dir: &Path,
    (earlier, now): (&Head, Timestamp),
    mut change: impl FnMut(CopiedRow) -> Result<Option<CopiedRow>, String>,
) -> Result<Head, CopyError> {
    let target = |error: redb::Error| CopyError::Target(Trouble::from(error).to_string());
    let head = Head { began: now, sequence: 0, ..earlier.clone() };
    let head = Head { epoch: open::new_head(now).epoch, ..head };
    let file = private().create_new(true).open(dir.join(DATABASE))?;
    let made = FileBackend::new(file)
        .map_err(redb::Error::from)
        .and_then(|file| Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file)?));
    let db = made.map_err(target)?;
    books::create_tables(&db).map_err(target)?;
    let mut batch: Vec<CopiedRow> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = reader.next_row()? {
        let row = match row.table {
            Table::Events | Table::Pending | Table::Tail | Table::Parked => continue,
            Table::Dictionary => row,
            Table::Meta if row.key == books::HEAD_KEY.as_bytes() => CopiedRow { value: json(&head)?, ..row },
            Table::Meta if row.key == books::COUNTERS_KEY.as_bytes() => {
                CopiedRow { value: json(&Counters::default())?, ..row }
            }
            Table::Meta => row,
            Table::Rows | Table::Devices => match change(row).map_err(damaged)? {
                Some(row) => row,
                None => continue,
            },
        };
        bytes += row.key.len() + row.value.len();
        batch.push(row);
        if bytes >= COMMIT_BYTES {
            insert(&db, &batch).map_err(target)?;
            batch.clear();
            bytes = 0;
        }
    }
    insert(&db, &batch).map_err(target)?;
    db.close().map_err(|error| target(error.into()))?;
    Ok(head)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, CopyError> {
    serde_json::to_vec(value).map_err(|error| CopyError::Target(error.to_string()))
}

fn insert(db: &Database, batch: &[CopiedRow]) -> Result<(), redb::Error> {
    let mut tx = db.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    for rows in batch.chunk_by(|a, b| a.table == b.table) {
        let definition = match rows[0].table {
            Table::Meta => META,
            Table::Dictionary => DICTIONARY,
            Table::Rows => ROWS,
            Table::Devices => DEVICES,
            Table::Events | Table::Pending | Table::Tail | Table::Parked => continue,
        };
        let mut table = tx.open_table(definition)?;
        for row in rows {
            // They were texts in the database that was copied.
            let Ok(key) = std::str::from_utf8(&row.key) else { continue };
            table.insert(key, row.value.as_slice())?;
        }
    }
    tx.commit()?;
    Ok(())
}
