//! Who asks, and what they may do.
//!
//! Three ways in: a token with every request, a session that a browser has opened with a token or with a one-time code, and
//! the Unix socket, which only the gateway's own user can open.

mod code;
mod secret;
mod session;

pub use crate::registrar::Role;
pub use code::Codes;
pub use secret::{Digest, digest, random};
pub use session::{SESSION_LIFE, Session, Sessions};

use super::peer::Peer;
use crate::model::Timestamp;

/// The session's cookie.
pub const COOKIE: &str = "bf_session";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name; `local:UID` over the Unix socket.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// How they came in.
    pub way: Way,
    /// The token behind it, by its name and when it was made; none over the Unix socket, and for who has used a link of it.
    pub token: Option<(String, Timestamp)>,
}

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a token in the request.
    Token,
    /// By a session, whose id has that digest.
    Session(Digest),
    /// Over the Unix socket.
    Local,
}

impl Caller {
    /// Who comes over the Unix socket.
    pub fn local(uid: u32) -> Self {
        Self { name: format!("local:{uid}"), role: Role::Admin, way: Way::Local, token: None }
    }

    /// Who comes over the Unix socket; none for everybody else.
    pub fn of_peer(peer: &Peer) -> Option<Self> {
        match peer {
            Peer::Local { uid } => Some(Self::local(*uid)),
            Peer::Tcp { .. } => None,
        }
    }
}
