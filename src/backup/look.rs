//! What is registered in a data directory, asked of the gateway that runs on it, or read from its database.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::BackupError;
use super::take::{Source, source};
use crate::registrar::tokens::TOKEN;
use crate::registrar::{CHANGE, View, copy, load};
use crate::store::Row;
use crate::store::copy::{Reader, Table};

/// What is registered.
#[derive(Debug, Default)]
pub struct Registered {
    /// The registry; none where nothing is registered.
    pub view: Option<View>,
    /// Names of tokens.
    pub tokens: BTreeSet<String>,
    /// Devices of which something is remembered, registered or not.
    pub remembered: BTreeSet<String>,
    /// Ids of whatever was changed, as far back as changes are kept.
    pub changed: BTreeSet<String>,
}

/// Of a change, what is looked for.
#[derive(Deserialize)]
struct Changed {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    kind: String,
    id: String,
}

/// Looks into a data directory. Where its database cannot be read, the copy of the registry beside it is.
///
/// # Errors
/// [`BackupError`] where neither can be read.
pub fn registered(data_dir: &Path) -> Result<Registered, BackupError> {
    let failed = match by_database(data_dir) {
        Ok(found) => return Ok(found),
        Err(failed) => failed,
    };
    let Ok(Some((view, rows))) = copy::read(data_dir) else { return Err(failed) };
    let tokens = rows.iter().filter_map(|row| row.key.strip_prefix(TOKEN)).map(str::to_owned).collect();
    Ok(Registered { view: Some(view), tokens, ..Registered::default() })
}

fn by_database(data_dir: &Path) -> Result<Registered, BackupError> {
    let Source { stream, closed, .. } = source(data_dir)?;
    let mut reader = Reader::new(io::BufReader::new(stream));
    let (mut found, mut rows) = (Registered::default(), Vec::new());
    let mut read = || {
        while let Some(row) = reader.next_row()? {
            if row.table == Table::Devices {
                found.remembered.insert(String::from_utf8_lossy(&row.key).into_owned());
            }
            let Some((key, value)) = row.kept() else { continue };
            if load::is_read(key) {
                rows.push(Row { key: key.to_owned(), value: Some(value.to_vec()), place: row.place() });
            } else if let Some(token) = key.strip_prefix(TOKEN) {
                found.tokens.insert(token.to_owned());
            } else if key.starts_with(CHANGE)
                && let Ok(change) = serde_json::from_slice::<Changed>(value)
            {
                // Levels are numbers, which stand everywhere.
                let items = change.items.into_iter().filter(|item| item.kind != "level");
                found.changed.extend(items.map(|item| item.id));
            }
        }
        Ok(())
    };
    let read = read();
    // It holds the directory until it is done.
    drop(reader);
    let told = closed.map_or(Ok(Ok(())), std::thread::JoinHandle::join);
    match (read, told) {
        (Err(_), Ok(Err(error))) | (Err(error), _) => return Err(error.into()),
        (Ok(()), _) => {}
    }
    found.view = load::of_rows(rows)?;
    Ok(found)
}
