//! From what is on the air to the beacon that sent it.

use crate::advert::Advertisement;

use super::{BeaconIndex, Identity, Registry};

impl Registry {
    /// The registered beacon that sent this.
    pub fn resolve(&self, heard: &Advertisement) -> Option<BeaconIndex> {
        heard.address.and_then(|address| self.beacon_of(&Identity::Mac(address.bytes)))
    }
}
