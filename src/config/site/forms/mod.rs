//! The JSON form of records: what the HTTP API gives and takes, what the database keeps, and what entity tags are made of.
//!
//! | kind | form |
//! | --- | --- |
//! | site | `{"id", "name", "time_zone", "origin": {"latitude", "longitude", "bearing"}, "path_loss_exponent", "measured_power", "kind": {"customer": {"margin_m"}, …}}` |
//! | level | `{"ordinal", "name", "elevation", "outline": [[x, y], …], "plan": {"file", "media_type", "width", "height", "x", "y", "metres_per_pixel", "bearing"}}` |
//! | receiver | `{"id", "x", "y", "z", "level", "rssi_offset"}` |
//! | zone | a GeoJSON feature as in `zones.geojson` |
//! | device | `{"id", "kind", "consent": ["presence"], "labels": {"k": "v"}}` |
//! | trigger settings, trigger | the keys of `triggers.toml` |
//! | beacon | `{"id", "identity", "device", "x", "y", "level", "measured_power"}` |
//!
//! Every key is given out, with null for what is not there; of a zone's presence settings only those that are not the
//! defaults. What is missing or null on the way in has its default. Places on Earth have 8 decimals, places in the site
//! frame 3, and readers take them so: what [`to_json`] writes of a record that was read is read back as the same
//! record, to the last bit.
//!
//! [`from_json`] judges a record by the very readers of the files of a site directory. [`from_stored`] takes what was
//! judged before, and is fast.

mod read;
mod rows;
mod stored;
#[cfg(test)]
mod tests;
mod write;

use sha2::{Digest, Sha256};

pub use read::from_json;
pub(super) use rows::{key, literal, string};
pub use stored::{from_stored, record_from_stored};
pub use write::{to_json, zone_json_with_shape};

use crate::registry::Kind;

/// The strong entity tag (RFC 9110, 8.8.3) of a record in its JSON form: half of the first digits of a SHA-256, in quotes.
pub fn etag(value: &serde_json::Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    format!("\"{}\"", hex::encode(&digest[..8]))
}

/// What a record is called while its id is not known.
fn unnamed(kind: Kind) -> &'static str {
    kind.as_str()
}
