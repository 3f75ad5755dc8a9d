//! What the API stands on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;

use super::auth::Codes;
use crate::gateway::live::Live;
use crate::metrics;
use crate::model::Timestamp;
use crate::registrar::{Registrar, Role, TokenInfo};

/// How long the link that a command prints may be used.
const LINK_LIFE: Duration = Duration::from_secs(3_600);
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 128;

/// How the delivery of events fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// Whether a broker has let the gateway in.
    pub connected: bool,
    /// Which; the last one where none has.
    pub broker: Option<String>,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that brokers have refused again and again.
    pub parked: u64,
    /// When the oldest that waits was made.
    pub oldest: Option<Timestamp>,
    /// Why nothing is delivered, or kept.
    pub failing: Option<String>,
}

/// What was recorded, and whose turn it is to look back on it.
#[derive(Debug, Clone)]
pub(super) struct Recordings {
    pub(super) dir: PathBuf,
    pub(super) turn: Arc<Semaphore>,
}

/// What the API stands on. Clones are the same.
#[derive(Clone)]
pub struct Services {
    /// Changes what is registered.
    pub registrar: Registrar,
    /// What happens now.
    pub live: Live,
    delivery: Arc<dyn Fn() -> Delivery + Send + Sync>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    recordings: Option<Recordings>,
    /// Codes that sign in whoever uses them first.
    pub(super) codes: Codes,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("registrar", &self.registrar).finish_non_exhaustive()
    }
}

impl Services {
    /// The API on these; `delivery` says how the delivery of events fares.
    pub fn new(registrar: Registrar, live: Live, delivery: impl Fn() -> Delivery + Send + Sync + 'static) -> Self {
        Self {
            registrar,
            live,
            delivery: Arc::new(delivery),
            metrics: Arc::new(|| metrics::text(None, &metrics::Outbox::default())),
            recordings: None,
            codes: Codes::default(),
        }
    }

    /// The same, with what is recorded in that directory to look back on.
    #[must_use]
    pub fn recorded(self, dir: PathBuf) -> Self {
        Self { recordings: Some(Recordings { dir, turn: Arc::new(Semaphore::new(1)) }), ..self }
    }

    /// The same, with metrics.
    #[must_use]
    pub fn measured(self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { metrics: Arc::new(metrics), ..self }
    }

    /// The metrics, in the `OpenMetrics` format.
    pub(super) fn metrics(&self) -> String {
        (self.metrics)()
    }

    /// What there is to look back on.
    pub(super) fn recordings(&self) -> Option<&Recordings> {
        self.recordings.as_ref()
    }

    /// How the delivery of events fares.
    pub(super) fn delivery(&self) -> Delivery {
        (self.delivery)()
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
