//! Rows that the store keeps for others, by key: eight bytes for the place in a list, then what they wrote.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use super::Row;

pub(super) const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("rows");
pub(super) const PLACE: usize = size_of::<u64>();

/// Makes the table where it is missing.
pub(super) fn create(tx: &WriteTransaction) -> Result<(), redb::Error> {
    tx.open_table(ROWS)?;
    Ok(())
}

/// Makes changes. One that is made twice is as good as once.
pub(super) fn change<'r>(tx: &WriteTransaction, rows: impl Iterator<Item = &'r Row>) -> Result<(), redb::Error> {
    let mut table = tx.open_table(ROWS)?;
    for row in rows {
        let Some(value) = &row.value else {
            table.remove(row.key.as_str())?;
            continue;
        };
        let known = table.get(row.key.as_str())?.and_then(|known| known.value().first_chunk::<PLACE>().copied());
        let mut bytes = Vec::with_capacity(PLACE + value.len());
        bytes.extend_from_slice(&known.unwrap_or(row.place.to_be_bytes()));
        bytes.extend_from_slice(value);
        table.insert(row.key.as_str(), bytes.as_slice())?;
    }
    Ok(())
}

/// The bytes of a row.
pub(super) fn get(db: &Database, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = db.begin_read()?.open_table(ROWS)?;
    let row = table.get(key)?;
    Ok(row.and_then(|row| row.value().get(PLACE..).map(<[u8]>::to_vec)))
}

/// Rows of a prefix, backwards by key.
pub(super) fn before(
    db: &Database,
    prefix: &str,
    before: Option<&str>,
    most: usize,
) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let table = db.begin_read()?.open_table(ROWS)?;
    let end = before.map_or_else(|| format!("{prefix}\u{10ffff}"), str::to_owned);
    let mut found = Vec::new();
    if end.as_str() <= prefix {
        return Ok(found);
    }
    for row in table.range(prefix..end.as_str())?.rev().take(most) {
        let (key, value) = row?;
        found.push((key.value().to_owned(), value.value().get(PLACE..).unwrap_or_default().to_vec()));
    }
    Ok(found)
}

/// Rows of a prefix, by their places.
pub(super) fn all(db: &Database, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let table = db.begin_read()?.open_table(ROWS)?;
    let end = format!("{prefix}\u{10ffff}");
    let mut found = Vec::new();
    for row in table.range(prefix..end.as_str())? {
        let (key, value) = row?;
        let place = value.value().first_chunk::<PLACE>().map_or(0, |place| u64::from_be_bytes(*place));
        found.push((place, key.value().to_owned(), value.value().get(PLACE..).unwrap_or_default().to_vec()));
    }
    found.sort_by_key(|(place, ..)| *place);
    Ok(found.into_iter().map(|(_, key, value)| (key, value)).collect())
}

#[cfg(test)]
mod tests {
    use redb::Builder;

    use super::*;

    fn put(key: &str, value: &str, place: u64) -> Row {
        Row { key: key.to_owned(), value: Some(value.as_bytes().to_vec()), place }
    }

    fn text(rows: Vec<(String, Vec<u8>)>) -> Vec<String> {
        rows.into_iter().map(|(key, value)| format!("{key}={}", String::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn rows_keep_their_places_when_they_change_and_are_read_by_prefix() {
        let db = Builder::new().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
        let write = |rows: &[Row]| {
            let tx = db.begin_write().unwrap();
            create(&tx).unwrap();
            change(&tx, rows.iter()).unwrap();
            tx.commit().unwrap();
        };
        write(&[put("zone/b", "1", 1), put("zone/a", "2", 2), put("zone", "x", 0), put("zonf/a", "y", 0)]);
        write(&[put("zone/b", "3", 9), put("zone/c", "4", 10)]);
        assert_eq!(text(all(&db, "zone/").unwrap()), ["zone/b=3", "zone/a=2", "zone/c=4"]);
        assert_eq!(text(before(&db, "zone/", None, 2).unwrap()), ["zone/c=4", "zone/b=3"]);
        assert_eq!(text(before(&db, "zone/", Some("zone/b"), 2).unwrap()), ["zone/a=2"]);
        assert_eq!(text(before(&db, "zone/", Some("a"), 2).unwrap()), [""; 0]);
        write(&[Row { value: None, ..put("zone/b", "", 0) }]);
        assert_eq!(get(&db, "zone/b").unwrap(), None);
        assert_eq!(get(&db, "zone/a").unwrap(), Some(b"2".to_vec()));
    }
}
