//! A copy of all that is in the database: a stream of rows, and a database made from one.
//!
//! A read transaction sees the database as it was at one commit, however long it lasts, and keeps no commit waiting. So
//! the rows of a running gateway are written out one after the other, in the memory of one of them. What is deleted
//! meanwhile takes its room on disk until the copy is done. Where the gateway closes its database, the copy ends with
//! an error.
//!
//! ```text
//! "beaconfence rows 1\n" | table, length of key, of value, key, value | … | 0, 8, 8, "the rows", how many rows
//! ```
//!
//! Integers are little endian, one byte for the table and four for a length. Numbers as keys are big endian.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use redb::{Builder, Key, ReadTransaction, ReadableDatabase, ReadableTable as _};
use redb::{TableDefinition, TableError, Value};

use super::books::{self, DEVICES, DICTIONARY, EVENTS, META, PARKED, PENDING, TAIL};
use super::files::{CACHE_BYTES, DATABASE, Directory, Trouble, guarded};
use super::rows::{PLACE, ROWS};
use super::{Inner, Store, StoreError, Unreadable, with_database};

mod restore;
mod summary;

pub use restore::{Held, hold, restore};
pub use summary::Summary;

const BEGINNING: &[u8] = b"beaconfence rows 1\n";
const END: u8 = 0;
/// The value says why the rest is missing.
const FAILED: u8 = 0xff;
const END_KEY: &[u8] = b"the rows";
/// More than any key has, and any value; keeps a damaged length from taking the memory.
const MOST_KEY: usize = 64 << 10;
const MOST_VALUE: usize = 256 << 20;
/// Rows that are handed to the system together.
const CHUNK: usize = 64 << 10;

/// Which table a row is of. In a stream they come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Format, site, head, counters.
    Meta,
    /// What entries are compressed against.
    Dictionary,
    /// Rows kept for others: the registry, its history, floor plans, tokens.
    Rows,
    /// Records of devices.
    Devices,
    /// Entries.
    Events,
    /// Which of them wait.
    Pending,
    /// Which of them were acknowledged.
    Tail,
    /// Which of them are parked.
    Parked,
}

impl Table {
    const ALL: [Self; 8] = [
        Self::Meta,
        Self::Dictionary,
        Self::Rows,
        Self::Devices,
        Self::Events,
        Self::Pending,
        Self::Tail,
        Self::Parked,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.byte() == byte)
    }

    fn byte(self) -> u8 {
        self as u8 + 1
    }
}

/// One row, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedRow {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl CopiedRow {
    /// The key and the bytes of a row that is kept for others.
    pub fn kept(&self) -> Option<(&str, &[u8])> {
        let key = (self.table == Table::Rows).then(|| std::str::from_utf8(&self.key).ok()).flatten()?;
        Some((key, self.value.get(PLACE..)?))
    }

    /// The place in a list of a row that is kept for others.
    pub fn place(&self) -> u64 {
        self.value.first_chunk::<PLACE>().map_or(0, |place| u64::from_be_bytes(*place))
    }

    /// The same row with other bytes that are kept.
    #[must_use]
    pub fn keeping(mut self, bytes: &[u8]) -> Self {
        self.value.truncate(PLACE);
        self.value.extend_from_slice(bytes);
        self
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What the copy is read from or written to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The database that is copied.
    #[error("the database cannot be read: {0}")]
    Source(String),
    /// The stream says that it was broken off.
    #[error("the gateway broke off: {0}")]
    BrokenOff(String),
    /// The stream is no copy, or not a whole one.
    #[error("{0}")]
    Damaged(String),
    /// The database that is to be made.
    #[error("the new database cannot be written: {0}")]
    Target(String),
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn damaged(what: impl Into<String>) -> CopyError {
    CopyError::Damaged(what.into())
}

/// A running store as it was at one commit. While there is one, the file is not compacted.
pub struct Snapshot {
    tx: ReadTransaction,
    _copying: Copying,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Counts those that copy.
struct Copying(std::sync::Arc<Inner>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store {
    /// All that is committed now, to be written out.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn snapshot(&self) -> Result<Snapshot, Unreadable> {
        let inner = self.inner();
        let begun = with_database(inner, |db| {
            // Within the lock under which the file would be compacted.
            inner.copies.fetch_add(1, Ordering::SeqCst);
            let copying = Copying(std::sync::Arc::clone(inner));
            Ok(Snapshot { tx: begin(db)?, _copying: copying })
        });
        begun.map_err(|trouble| Unreadable(trouble.to_string()))
    }
}

impl Snapshot {
    /// Writes it out. What is written says itself where it was broken off, as far as anything can be written.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn write_to(&self, out: impl Write) -> Result<(), CopyError> {
        write_to(&self.tx, out)
    }
}

/// Writes out the database of a gateway that does not run. After a kill, it is repaired first.
///
/// # Errors
/// [`CopyError`], also where a gateway uses it.
pub fn write_closed(dir: &Path, out: impl Write) -> Result<(), CopyError> {
    let path = dir.join(DATABASE);
    if !path.try_exists().map_err(|source| StoreError::Directory { path: dir.to_path_buf(), source })? {
        return Err(StoreError::Missing { path: dir.to_path_buf() }.into());
    }
    let directory = Directory::lock(dir)?;
    if let Some(what) = directory.marked() {
        return Err(StoreError::Damaged { path, what }.into());
    }
    let source = |trouble: Trouble| CopyError::Source(trouble.to_string());
    let opened = guarded(|| {
        Ok::<_, Trouble>(Builder::new().set_cache_size(CACHE_BYTES).open_read_only(&path).map_err(redb::Error::from))
    });
    if let Ok(Ok(db)) = opened {
        return write_to(&begin(&db).map_err(source)?, out);
    }
    let db = Directory::open_file(&path, true).map_err(source)?;
    write_to(&begin(&db).map_err(source)?, out)
}

fn begin(db: &impl ReadableDatabase) -> Result<ReadTransaction, Trouble> {
    guarded(|| db.begin_read().map_err(redb::Error::from))
}

fn write_to(tx: &ReadTransaction, out: impl Write) -> Result<(), CopyError> {
    let mut out = Out { out: BufWriter::with_capacity(CHUNK, out), rows: 0 };
    out.out.write_all(BEGINNING)?;
    let copied = guarded(|| Ok::<_, Trouble>(all(tx, &mut out)));
    let copied = copied.unwrap_or_else(|trouble| Err(CopyError::Source(trouble.to_string())));
    match &copied {
        Ok(()) => {
            let count = out.rows.to_le_bytes();
            out.put(END, END_KEY, &count)?;
        }
        Err(CopyError::Io(_)) => return copied,
        Err(error) => out.put(FAILED, b"", error.to_string().as_bytes())?,
    }
    out.out.flush()?;
    copied
}

struct Out<W: Write> {
    out: BufWriter<W>,
    rows: u64,
}

impl<W: Write> Out<W> {
    fn put(&mut self, table: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge);
        self.out.write_all(&[table])?;
        self.out.write_all(&length(key)?.to_le_bytes())?;
        self.out.write_all(&length(value)?.to_le_bytes())?;
        self.out.write_all(key)?;
        self.out.write_all(value)?;
        self.rows += 1;
        Ok(())
    }
}

fn all(tx: &ReadTransaction, out: &mut Out<impl Write>) -> Result<(), CopyError> {
    let text = |key: &str| key.as_bytes().to_vec();
    let number = |key: u64| key.to_be_bytes().to_vec();
    let bytes = |value: &[u8]| value.to_vec();
    table(tx, out, Table::Meta, META, text, bytes)?;
    table(tx, out, Table::Dictionary, DICTIONARY, text, bytes)?;
    table(tx, out, Table::Rows, ROWS, text, bytes)?;
    table(tx, out, Table::Devices, DEVICES, text, bytes)?;
    table(tx, out, Table::Events, EVENTS, number, bytes)?;
    table(tx, out, Table::Pending, PENDING, number, bytes)?;
    table(tx, out, Table::Tail, TAIL, number, |(made, size, unheard)| {
        [made.to_le_bytes().as_slice(), &size.to_le_bytes(), &[u8::from(unheard)]].concat()
    })?;
    table(tx, out, Table::Parked, PARKED, number, |(row, reason)| {
        [(row.len() as u32).to_le_bytes().as_slice(), row, reason.as_bytes()].concat()
    })
}

fn table<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    out: &mut Out<impl Write>,
    name: Table,
    definition: TableDefinition<K, V>,
    key_bytes: impl Fn(K::SelfType<'_>) -> Vec<u8>,
    value_bytes: impl Fn(V::SelfType<'_>) -> Vec<u8>,
) -> Result<(), CopyError> {
    let source = |error: redb::Error| CopyError::Source(error.to_string());
    let table = match tx.open_table(definition) {
        // An older format.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        opened => opened.map_err(|error| source(error.into()))?,
    };
    for row in table.iter().map_err(|error| source(error.into()))? {
        let (key, value) = row.map_err(|error| source(error.into()))?;
        out.put(name.byte(), &key_bytes(key.value()), &value_bytes(value.value()))?;
    }
    Ok(())
}

/// Reads a stream of rows.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    rows: u64,
    is_begun: bool,
    is_done: bool,
}

impl<R: Read> Reader<R> {
    /// Nothing is read yet.
    pub const fn new(input: R) -> Self {
        Self { input, rows: 0, is_begun: false, is_done: false }
    }

    /// The next row; none after the last one.
    ///
    /// # Errors
    /// [`CopyError::Damaged`] where it is not whole.
    pub fn next_row(&mut self) -> Result<Option<CopiedRow>, CopyError> {
        if self.is_done {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            let mut beginning = [0; BEGINNING.len()];
            self.fill(&mut beginning)?;
            if beginning != *BEGINNING {
                return Err(damaged("it is no copy of a database that this version knows"));
            }
        }
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let [table, lengths @ ..] = head;
        let length =
            |at: usize| u32::from_le_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]) as usize;
        let (key_length, value_length) = (length(0), length(4));
        if key_length > MOST_KEY || value_length > MOST_VALUE {
            return Err(damaged("a row is longer than any can be"));
        }
        let (mut key, mut value) = (vec![0; key_length], vec![0; value_length]);
        self.fill(&mut key)?;
        self.fill(&mut value)?;
        match (table, Table::of(table)) {
            (END, _) if key == END_KEY && value == self.rows.to_le_bytes() => {
                self.is_done = true;
                Ok(None)
            }
            (END, _) => Err(damaged("rows are missing")),
            (FAILED, _) => Err(CopyError::BrokenOff(String::from_utf8_lossy(&value).into_owned())),
            (_, Some(table)) => {
                self.rows += 1;
                Ok(Some(CopiedRow { table, key, value }))
            }
            (other, None) => Err(damaged(format!("it has a table {other}, which this version does not know"))),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CopyError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends in the middle"),
            _ => error.into(),
        })
    }
}

/// Writes rows that were read, the same bytes again.
#[derive(Debug)]
pub struct Rewriter<W: Write>(Out<W>);

impl<W: Write> std::fmt::Debug for Out<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<W: Write> Rewriter<W> {
    /// Begins.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(out: W) -> io::Result<Self> {
        let mut out = Out { out: BufWriter::with_capacity(CHUNK, out), rows: 0 };
        out.out.write_all(BEGINNING)?;
        Ok(Self(out))
    }

    /// Writes a row.
    ///
    /// # Errors
    /// What `out` says.
    pub fn put(&mut self, row: &CopiedRow) -> io::Result<()> {
        self.0.put(row.table.byte(), &row.key, &row.value)
    }

    /// Ends.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(mut self) -> io::Result<()> {
        let count = self.0.rows.to_le_bytes();
        self.0.put(END, END_KEY, &count)?;
        self.0.out.flush()
    }
}

/// The latest format of a database that this version knows.
pub const fn known_format() -> u32 {
    books::FORMAT
}

/// The name of the database in a data directory.
pub const fn database_name() -> &'static str {
    DATABASE
}

/// Says in the form of a stream why there is none.
///
/// # Errors
/// What `out` says.
pub fn refuse(out: impl Write, why: &str) -> io::Result<()> {
    let mut out = Out { out: BufWriter::new(out), rows: 0 };
    out.out.write_all(BEGINNING)?;
    out.put(FAILED, b"", why.as_bytes())?;
    out.out.flush()
}

#[cfg(test)]
mod tests;
