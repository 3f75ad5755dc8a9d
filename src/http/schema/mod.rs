//! What bodies look like, for the `OpenAPI` document. The records themselves are read and written by [`crate::config`]; a test holds the
//! two against each other.

// Shapes that only the document sees, named as they are on the wire.
#![allow(dead_code, clippy::struct_field_names)]

mod health;
mod live;
mod records;
mod results;
mod triggers;

pub use health::*;
pub use live::*;
pub use records::*;
pub use results::*;
pub use triggers::*;
