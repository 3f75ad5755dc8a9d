//! What was withdrawn after the backup: consent, and the tokens of those who may no longer come in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::gateway::facts::CONSENT_SAID;
use crate::model::DeviceId;
use crate::registrar::DEVICE;
use crate::registrar::tokens::TOKEN;
use crate::registry::Registry;
use crate::store::Row;
use crate::store::copy::CopiedRow;

/// Whose consent holds after a backup is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consents {
    /// What is in the backup, less what was withdrawn since, as far as the directory that is set aside says. So with tokens.
    #[default]
    Stricter,
    /// What is in the backup.
    Backup,
    /// None, until it is said anew. Tokens as with `Stricter`.
    None,
}

/// What is known of the time after the backup.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// The consent of each device now.
    devices: Option<BTreeMap<DeviceId, BTreeSet<String>>>,
    tokens: BTreeSet<String>,
}

/// What was withdrawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Devices that had agreed to more in the backup than they had lately.
    pub consents: Vec<String>,
    /// Devices of the backup that were registered no more.
    pub removed: Vec<String>,
    /// Tokens of the backup that were revoked.
    pub tokens: Vec<String>,
}

impl Since {
    /// What the copy of a registry says.
    pub(super) fn of(registry: &Registry, rows: &[Row]) -> Self {
        let devices = registry.devices().iter();
        let devices = devices.map(|device| (device.id.clone(), device.consent.0.iter().cloned().collect()));
        let tokens = rows.iter().filter_map(|row| row.key.strip_prefix(TOKEN)).map(str::to_owned);
        Self { devices: Some(devices.collect()), tokens: tokens.collect() }
    }

    /// Whether anything is known.
    pub(super) const fn is_known(&self) -> bool {
        self.devices.is_some()
    }

    /// A row as it is put back; none where it is not.
    pub(super) fn change(
        &self,
        row: CopiedRow,
        consents: Consents,
        withdrawn: &mut Withdrawn,
    ) -> Result<Option<CopiedRow>, String> {
        let Some((key, bytes)) = row.kept() else { return Ok(Some(row)) };
        if key.starts_with(CONSENT_SAID) && consents == Consents::None {
            return Ok(None);
        }
        if let (Some(token), Some(_)) = (key.strip_prefix(TOKEN), &self.devices) {
            if self.tokens.contains(token) {
                return Ok(Some(row));
            }
            withdrawn.tokens.push(token.to_owned());
            return Ok((consents == Consents::Backup).then_some(row));
        }
        let Some(device) = key.strip_prefix(DEVICE) else { return Ok(Some(row)) };
        let device = device.to_owned();
        let unreadable = |error: serde_json::Error| format!("device {device}: {error}");
        let mut form: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        let Some(Value::Array(agreed)) = form.get_mut("consent") else { return Ok(Some(row)) };
        let before = agreed.len();
        if let Some(devices) = &self.devices {
            let known = DeviceId::new(&device).ok().and_then(|id| devices.get(&id));
            if known.is_none() {
                withdrawn.removed.push(device.clone());
            }
            let holds = |purpose: &Value| {
                known.is_some_and(|known| purpose.as_str().is_some_and(|purpose| known.contains(purpose)))
            };
            if known.is_some() && !agreed.iter().all(holds) {
                withdrawn.consents.push(device.clone());
            }
            if consents == Consents::Stricter {
                agreed.retain(holds);
            }
        }
        if consents == Consents::None {
            agreed.clear();
        }
        if agreed.len() == before {
            return Ok(Some(row));
        }
        let bytes = serde_json::to_vec(&form).map_err(unreadable)?;
        Ok(Some(row.keeping(&bytes)))
    }
}
