//! What bodies look like, for the OpenAPI document. The records themselves are read and written by [`crate::config`]; a test holds the
//! two against each other.

#![allow(dead_code)] // Shapes that only the document sees.

mod live;
mod records;
mod results;

pub use live::*;
pub use records::*;
pub use results::*;
