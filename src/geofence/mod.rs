//! The R-tree of zones: position -> zones with a probability.
