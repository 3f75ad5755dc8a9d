//! Every command against a gateway that runs.
