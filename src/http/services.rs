//! What the API stands on.

use std::time::Duration;

use super::auth::{Codes, Role};

/// How long the link that a command prints may be used.
const LINK_LIFE: Duration = Duration::from_secs(3_600);

/// What the API stands on. Clones are the same.
#[derive(Debug, Clone)]
pub struct Services {
    /// Codes that sign in whoever uses them first.
    pub(super) codes: Codes,
}

impl Services {
    /// Who holds a token, and what they may do; none where there is no such token.
    pub(super) fn holder(&self, _token: &str) -> Option<(String, Role)> {
        None
    }

    /// Whether a session that hangs on a token may go on.
    pub(super) fn still_holds(&self, token: Option<&str>, _role: Role) -> bool {
        token.is_none()
    }

    /// A code that signs in whoever uses it first, for the link `URL/#code=…`.
    pub fn one_time_code(&self, role: Role) -> String {
        self.codes.make("local", role, LINK_LIFE)
    }
}
