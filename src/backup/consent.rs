//! What was withdrawn after the backup: consent, and the tokens of those who may no longer come in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Registered;
use crate::gateway::facts::CONSENT_SAID;
use crate::registrar::DEVICE;
use crate::registrar::tokens::TOKEN;
use crate::registry::Registry;
use crate::store::copy::CopiedRow;

/// Whose consent holds after a backup is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consents {
    /// What is in the backup, less what was withdrawn since, as far as the directory that is set aside says. So with
    /// tokens.
    #[default]
    Stricter,
    /// What is in the backup.
    Backup,
    /// None, until it is said anew. Tokens as with `Stricter`.
    None,
}

/// What is known of the time of the backup, and after it.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// The consent of each device in the backup.
    then: BTreeMap<String, BTreeSet<String>>,
    /// The consent of each device now.
    devices: Option<BTreeMap<String, BTreeSet<String>>>,
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

/// The consent of each device.
fn consents(registry: &Registry) -> BTreeMap<String, BTreeSet<String>> {
    let devices = registry.devices().iter();
    devices.map(|device| (device.id.to_string(), device.consent.0.iter().cloned().collect())).collect()
}

impl Since {
    /// What the registry of the backup says, and what is registered in the directory that is set aside, where that can
    /// be read.
    pub(super) fn of(then: &Registry, now: Option<&Registered>) -> Self {
        Self {
            then: consents(then),
            devices: now.and_then(|now| now.view.as_ref()).map(|view| consents(&view.registry)),
            tokens: now.map(|now| now.tokens.clone()).unwrap_or_default(),
        }
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
        if let (Some(device), Consents::None) = (key.strip_prefix(CONSENT_SAID), consents) {
            // Forgotten, so that it counts when it is said again; but not where it was withdrawn by other means before
            // the backup.
            let said: Vec<String> = serde_json::from_slice(bytes).unwrap_or_default();
            let held = self.then.get(device).is_some_and(|then| said.iter().all(|purpose| then.contains(purpose)));
            return Ok((!held).then_some(row));
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
            let known = devices.get(&device);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture;
    use crate::store::copy::Table;

    fn said(device: &str, words: &str) -> CopiedRow {
        let value = [&[0; 8], words.as_bytes()].concat();
        CopiedRow { table: Table::Rows, key: format!("{CONSENT_SAID}{device}").into_bytes(), value }
    }

    #[test]
    fn what_was_said_counts_anew_only_where_it_held() {
        let registry = fixture::registry(&fixture::settings());
        assert_eq!(registry.devices()[0].consent.0, ["presence"]);
        let device = registry.devices()[0].id.to_string();
        let since = Since::of(&registry, None);
        let kept = |words: &str, consents: Consents| {
            since.change(said(&device, words), consents, &mut Withdrawn::default()).unwrap().is_some()
        };
        assert!(!kept(r#"["presence"]"#, Consents::None), "it counts when it is said again");
        assert!(kept(r#"["presence","marketing"]"#, Consents::None), "marketing was withdrawn in the store since");
        assert!(kept(r#"["presence"]"#, Consents::Stricter));
        assert!(kept(r#"["presence"]"#, Consents::Backup));
    }
}
