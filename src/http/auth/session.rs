//! Sessions of browsers. Kept in memory only: a restart signs everybody out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::secret::{Digest, digest, random};
use crate::model::Timestamp;
use crate::registrar::Role;

/// A session ends when it is not used for so long.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Sessions that are open at once.
const MOST: usize = 1_000;

/// One browser that has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who has signed in.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The token that it hangs on, by its name and when it was made: without it the session ends.
    pub token: Option<(String, Timestamp)>,
    used: Instant,
}

/// Those that are open.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Digest, Session>>);

impl Sessions {
    /// Opens one; its id is for the cookie. Where there are too many, the one that was not used for longest makes room.
    pub fn open(&self, name: String, role: Role, token: Option<(String, Timestamp)>) -> String {
        let now = Instant::now();
        let id = random();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.is_alive(now));
        if sessions.len() >= MOST
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(digest, _)| *digest)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(digest(&id), Session { name, role, token, used: now });
        id
    }

    /// The session with that id, which lives on from now; with the digest of its id.
    pub fn find(&self, id: &str) -> Option<(Digest, Session)> {
        let (now, digest) = (Instant::now(), digest(id));
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&digest).filter(|session| session.is_alive(now))?;
        session.used = now;
        Some((digest, session.clone()))
    }

    /// Whether a session is still open; unlike [`Sessions::find`] it does not live on by being asked about.
    pub fn is_open(&self, digest: &Digest) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(digest).is_some_and(|session| session.is_alive(Instant::now()))
    }

    /// Closes one.
    pub fn close(&self, digest: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// Closes those that hang on a token.
    pub fn close_all_of(&self, token: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.token.as_ref().is_none_or(|(name, _)| name != token));
    }
}

impl Session {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < SESSION_LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_token() {
        let sessions = Sessions::default();
        let (a, b) = (
            sessions.open("a".into(), Role::Viewer, Some(("a".into(), Timestamp::from_millis(1)))),
            sessions.open("b".into(), Role::Admin, Some(("b".into(), Timestamp::from_millis(1)))),
        );
        let (digest, session) = sessions.find(&a).unwrap();
        assert_eq!((session.name.as_str(), session.role), ("a", Role::Viewer));
        sessions.close_all_of("a");
        assert!(sessions.find(&a).is_none() && !sessions.is_open(&digest));
        assert!(sessions.find(&b).is_some());
        assert!(sessions.find("guess").is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_in_use_stays() {
        let sessions = Sessions::default();
        let first = sessions.open("first".into(), Role::Viewer, None);
        let second = sessions.open("second".into(), Role::Viewer, None);
        for _ in 2..MOST {
            sessions.open("other".into(), Role::Viewer, None);
        }
        assert!(sessions.find(&first).is_some());
        sessions.open("one too many".into(), Role::Viewer, None);
        assert!(sessions.find(&first).is_some());
        assert!(sessions.find(&second).is_none());
    }
}
