//! The HTTP API, in process: who may do what, what is answered, and that the `OpenAPI` document tells the truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot go on has failed.

mod access;
mod api;
mod beacon_health;
mod connections;
mod document;
mod files;
mod playback;
mod records;
mod stream;
mod triggers;
