//! What a copy is of.

use super::{CopiedRow, CopyError, Table, damaged};
use crate::model::DeviceId;
use crate::store::{Head, books};

/// What a copy is of, found out by looking at its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The format of the database.
    pub format: Option<u32>,
    /// Whose it is.
    pub site: Option<String>,
    /// Its head.
    pub head: Option<Head>,
    /// Rows kept for others.
    pub rows: u64,
    /// Records of devices.
    pub devices: u64,
    /// Entries that wait.
    pub waiting: u64,
    /// Entries that were acknowledged.
    pub acknowledged: u64,
    /// Entries that are parked.
    pub parked: u64,
}

impl Summary {
    /// Looks at a row.
    ///
    /// # Errors
    /// [`CopyError::Damaged`] where it makes no sense.
    pub fn note(&mut self, row: &CopiedRow) -> Result<(), CopyError> {
        match row.table {
            Table::Meta => self.note_meta(row)?,
            Table::Rows if row.kept().is_none() => return Err(damaged("a row is unreadable")),
            Table::Rows => self.rows += 1,
            Table::Devices => {
                let id = std::str::from_utf8(&row.key).ok().and_then(|id| DeviceId::new(id).ok());
                id.ok_or_else(|| damaged("the id of a device is unreadable"))?;
                self.devices += 1;
            }
            Table::Pending => self.waiting += 1,
            Table::Tail => self.acknowledged += 1,
            Table::Parked => self.parked += 1,
            Table::Dictionary | Table::Events => {}
        }
        Ok(())
    }

    fn note_meta(&mut self, row: &CopiedRow) -> Result<(), CopyError> {
        let unreadable = |what: &str| damaged(format!("its {what} is unreadable"));
        match row.key.as_slice() {
            key if key == books::FORMAT_KEY.as_bytes() => {
                let bytes = <[u8; 4]>::try_from(row.value.as_slice()).map_err(|_| unreadable("format"))?;
                self.format = Some(u32::from_le_bytes(bytes));
            }
            key if key == books::SITE_KEY.as_bytes() => {
                self.site = Some(String::from_utf8(row.value.clone()).map_err(|_| unreadable("site"))?);
            }
            key if key == books::HEAD_KEY.as_bytes() => {
                self.head = Some(serde_json::from_slice(&row.value).map_err(|_| unreadable("head"))?);
            }
            _ => {}
        }
        Ok(())
    }
}
