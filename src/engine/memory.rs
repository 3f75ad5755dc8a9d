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
}
