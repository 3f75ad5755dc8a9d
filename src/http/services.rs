//! What the API stands on.

use std::time::Duration;

use super::auth::Codes;
use crate::model::Timestamp;
use crate::registrar::{Registrar, Role, TokenInfo};

/// How long the link that a command prints may be used.
const LINK_LIFE: Duration = Duration::from_secs(3_600);
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 128;

/// What the API stands on. Clones are the same.
#[derive(Debug, Clone)]
pub struct Services {
    /// Changes what is registered.
    pub registrar: Registrar,
    /// Codes that sign in whoever uses them first.
    pub(super) codes: Codes,
}

impl Services {
    /// The API on that.
    pub fn new(registrar: Registrar) -> Self {
        Self { registrar, codes: Codes::default() }
    }

    /// A code that signs in whoever uses it first, for the link `URL/#code=…`.
    pub fn one_time_code(&self, role: Role) -> String {
        self.codes.make("local", role, None, LINK_LIFE)
    }

    /// Whose token it is; none where there is no such token.
    pub(super) fn holder(&self, token: &str) -> Option<TokenInfo> {
        if token.len() > LONGEST_TOKEN { None } else { self.registrar.tokens().verify(token) }
    }

    /// What somebody may do whose session hangs on a token; none where it was revoked.
    pub(super) fn role_now(&self, token: Option<&(String, Timestamp)>, role: Role) -> Option<Role> {
        match token {
            None => Some(role),
            Some((name, created_at)) => self.registrar.tokens().role_of(name, *created_at).map(|held| held.min(role)),
        }
    }
}
