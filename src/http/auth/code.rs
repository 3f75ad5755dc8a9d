//! One-time codes: a link that signs in whoever opens it first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::secret::{Digest, digest, random};
use crate::model::Timestamp;
use crate::registrar::Role;

/// Codes that wait to be used; more would mean that somebody makes them and nobody uses them.
const MOST: usize = 100;

/// The codes that wait to be used. Kept in memory only.
#[derive(Debug, Clone, Default)]
pub struct Codes(Arc<Mutex<HashMap<Digest, Code>>>);

/// What a code is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Who made it.
    pub name: String,
    /// The role that it gives.
    pub role: Role,
    /// The token of who made it: without it the session ends.
    pub token: Option<(String, Timestamp)>,
    until: Instant,
}

impl Codes {
    /// A new code. Where there are too many, the one that ends first makes room.
    pub fn make(&self, name: &str, role: Role, token: Option<(String, Timestamp)>, life: Duration) -> String {
        let now = Instant::now();
        let code = random();
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.until > now);
        if codes.len() >= MOST
            && let Some(first) = codes.iter().min_by_key(|(_, code)| code.until).map(|(digest, _)| *digest)
        {
            codes.remove(&first);
        }
        codes.insert(digest(&code), Code { name: name.to_owned(), role, token, until: now + life });
        code
    }

    /// Uses a code; none where there is no such code, or not any more.
    pub fn take(&self, code: &str) -> Option<Code> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(&digest(code)).filter(|code| code.until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_not_after_its_time() {
        let codes = Codes::default();
        let code = codes.make("demo", Role::Admin, None, Duration::from_secs(60));
        assert_eq!(codes.take(&code).map(|code| code.role), Some(Role::Admin));
        assert_eq!(codes.take(&code), None);
        let late = codes.make("demo", Role::Admin, None, Duration::ZERO);
        assert_eq!(codes.take(&late), None);
        assert_eq!(codes.take("guess"), None);
    }

    #[test]
    fn codes_are_bounded_and_the_newest_ones_stay() {
        let codes = Codes::default();
        let made: Vec<String> =
            (0..=MOST).map(|n| codes.make("a", Role::Viewer, None, Duration::from_secs(60 + n as u64))).collect();
        assert_eq!(codes.take(&made[0]), None);
        assert!(codes.take(&made[MOST]).is_some());
    }
}
