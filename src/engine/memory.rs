//! What outlives a restart: what presence remembers, and what rules do.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::presence::DeviceMemory;
use crate::trigger::{DeviceHistory, SiteHistory};

/// All that an engine is restored from.
#[derive(Debug, Clone)]
pub struct Memory {
    /// When the epoch began.
    pub began: Timestamp,
    /// The `sequence` of the next event.
    pub sequence: u64,
    /// When it was last known to work; what happened since is not known.
    pub alive_at: Timestamp,
    /// The devices.
    pub devices: Vec<DeviceRecord>,
    /// What rules remember of the site.
    pub site: SiteHistory,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// What presence remembers.
    #[serde(flatten)]
    pub presence: DeviceMemory,
    /// What rules remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<DeviceHistory>,
}

impl DeviceRecord {
    /// Whether it is to be kept though the device is nowhere.
    pub fn is_lasting(&self) -> bool {
        !self.presence.visits.is_empty() || self.rules.is_some()
    }

    /// What goes on in a new epoch, of a record that was written at `at`: what rules remember. Presence begins anew,
    /// for the ids of a visit that went on could be those of other events by now. None where nothing is left.
    #[must_use]
    pub fn begin_epoch(mut self, site: &SiteHistory, at: Timestamp) -> Option<Self> {
        let mut rules = self.rules.take()?;
        rules.begin_epoch(site, at);
        let DeviceMemory { id, kind, labels, .. } = self.presence;
        let never = Timestamp::from_millis(0);
        let presence = DeviceMemory {
            id,
            kind,
            labels,
            last_seen: never,
            not_before: never,
            last_report: None,
            position: None,
            heard: Vec::new(),
            visits: Vec::new(),
        };
        (!rules.is_empty()).then_some(Self { presence, rules: Some(rules) })
    }
}
