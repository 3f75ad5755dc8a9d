//! Which zones have ground in common.

use std::collections::BTreeSet;

use crate::registry::ZoneIndex;

/// The pairs of zones that overlap, as far as the points that cells are divided into show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlaps(BTreeSet<(ZoneIndex, ZoneIndex)>);

impl Overlaps {
    /// Notes the zones that hold one point.
    pub(super) fn add(&mut self, zones: &[ZoneIndex]) {
        for (at, one) in zones.iter().enumerate() {
            for other in &zones[at + 1..] {
                if one != other {
                    self.0.insert((*one.min(other), *one.max(other)));
                }
            }
        }
    }

    /// The same without what is known of these zones.
    pub(super) fn without(&self, zones: &BTreeSet<ZoneIndex>) -> Self {
        let kept = self.0.iter().filter(|(one, other)| !zones.contains(one) && !zones.contains(other));
        Self(kept.copied().collect())
    }

    /// Whether two zones overlap. Each overlaps itself.
    pub fn overlap(&self, one: ZoneIndex, other: ZoneIndex) -> bool {
        one == other || self.0.contains(&(one.min(other), one.max(other)))
    }
}
