//! The R-tree of zones: position -> zones with a probability.
//!
//! A position is not a point: it is a belief over the cells of the grid, or a Gaussian around a reported point. The
//! probability of a zone is the share of it that lies in the zone and within the level's outline. A margin, of the zone
//! and of the kind of device, moves the border outwards or inwards beforehand.

mod border;
mod index;
mod overlaps;
mod shares;

pub use border::vanishes;
pub use index::ZoneTree;
pub use overlaps::Overlaps;
pub use shares::{CellShares, Membership, Redrawn, gaussian_membership};

#[cfg(test)]
mod tests;
