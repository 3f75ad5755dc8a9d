//! What is wrong in files, told on stderr.

use std::path::Path;

use crate::config;
use crate::registry::Registry;

/// Loads a site directory; tells what is wrong with it, and gives none where that is more than warnings.
pub(super) fn site_or_faults(dir: &Path) -> Option<Registry> {
    match config::load_site(dir) {
        Ok((registry, warnings)) => {
            warnings.iter().for_each(|warning| tell!("{warning}"));
            Some(registry)
        }
        Err(faults) => {
            tell!("{faults}");
            None
        }
    }
}
