//! Where rows are kept: the store, or memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::store::{Batch, Row, Store};

/// What is called when something is committed.
pub type Then = Box<dyn FnOnce() + Send>;

/// A row's key and bytes.
pub type KeyedRow = (String, Vec<u8>);

/// Keeps rows. Reads block for the time of a read; what was committed is read.
pub trait Keep: Send + Sync {
    /// Writes rows, and calls `then` when they are committed.
    fn write(&self, rows: Vec<Row>, then: Then);

    /// The bytes of a row.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn row(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// See [`Store::rows_before`].
    ///
    /// # Errors
    /// Why they cannot be read.
    fn rows_before(&self, prefix: &str, before: Option<&str>, most: usize) -> Result<Vec<KeyedRow>, String>;

    /// See [`Store::rows`].
    ///
    /// # Errors
    /// Why they cannot be read.
    fn rows(&self, prefixes: &[&str]) -> Result<Vec<KeyedRow>, String>;
}

impl Keep for Store {
    fn write(&self, rows: Vec<Row>, then: Then) {
        Store::write(self, Batch { rows, then: vec![then], ..Batch::default() });
    }

    fn row(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Store::row(self, key).map_err(|error| error.to_string())
    }

    fn rows_before(&self, prefix: &str, before: Option<&str>, most: usize) -> Result<Vec<KeyedRow>, String> {
        Store::rows_before(self, prefix, before, most).map_err(|error| error.to_string())
    }

    fn rows(&self, prefixes: &[&str]) -> Result<Vec<KeyedRow>, String> {
        Store::rows(self, prefixes).map_err(|error| error.to_string())
    }
}

impl<K: Keep + ?Sized> Keep for std::sync::Arc<K> {
    fn write(&self, rows: Vec<Row>, then: Then) {
        self.as_ref().write(rows, then);
    }

    fn row(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.as_ref().row(key)
    }

    fn rows_before(&self, prefix: &str, before: Option<&str>, most: usize) -> Result<Vec<KeyedRow>, String> {
        self.as_ref().rows_before(prefix, before, most)
    }

    fn rows(&self, prefixes: &[&str]) -> Result<Vec<KeyedRow>, String> {
        self.as_ref().rows(prefixes)
    }
}

/// Rows in memory, for the demo: gone when it ends.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, (u64, Vec<u8>)>>);

impl Keep for Memory {
    fn write(&self, rows: Vec<Row>, then: Then) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            match row.value {
                Some(value) => {
                    let place = kept.get(&row.key).map_or(row.place, |(place, _)| *place);
                    kept.insert(row.key, (place, value));
                }
                None => drop(kept.remove(&row.key)),
            }
        }
        drop(kept);
        then();
    }

    fn row(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.get(key).map(|(_, value)| value.clone()))
    }

    fn rows_before(&self, prefix: &str, before: Option<&str>, most: usize) -> Result<Vec<KeyedRow>, String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_before = |key: &str| before.is_none_or(|before| key < before);
        let rows = kept.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix) && is_before(key));
        let rows: Vec<KeyedRow> = rows.map(|(key, (_, value))| (key.clone(), value.clone())).collect();
        Ok(rows.into_iter().rev().take(most).collect())
    }

    fn rows(&self, prefixes: &[&str]) -> Result<Vec<KeyedRow>, String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for prefix in prefixes {
            let mut rows: Vec<_> =
                kept.range((*prefix).to_owned()..).take_while(|(key, _)| key.starts_with(prefix)).collect();
            rows.sort_by_key(|(_, (place, _))| *place);
            all.extend(rows.into_iter().map(|(key, (_, value))| (key.clone(), value.clone())));
        }
        Ok(all)
    }
}
