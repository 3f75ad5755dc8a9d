//! What every request is served with.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::auth::Sessions;
use super::limits::Limits;
use super::openapi::Permissions;
use super::page::Orders;
use super::services::Services;
use crate::config::Diagnostic;

/// Streams at once: each keeps a connection.
const STREAMS: usize = 64;
/// Bodies of many megabytes that are worked on at once.
const IMPORTS: usize = 2;

/// What every request is served with. Clones are the same.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// What is shared.
#[derive(Debug)]
pub struct Inner {
    /// What the API stands on.
    pub services: Services,
    /// Browsers that have signed in.
    pub sessions: Sessions,
    /// What clients have used of their share.
    pub limits: Limits,
    /// The names that the gateway is reached by.
    pub names: Vec<String>,
    /// Where a browser on this machine finds it; none where it listens nowhere.
    pub base: Option<String>,
    /// Who may call what.
    pub permissions: Permissions,
    /// The `OpenAPI` document.
    pub document: Bytes,
    /// Places for streams.
    pub streams: Arc<Semaphore>,
    /// Places for imports.
    pub imports: Arc<Semaphore>,
    /// The orders of lists.
    pub orders: Orders,
    /// What is unwise, and in which revision.
    pub advice: Mutex<Option<(u64, Arc<Vec<Diagnostic>>)>>,
    /// When it stops.
    pub shutdown: watch::Receiver<bool>,
}

impl App {
    /// What requests are served with, of these.
    pub fn new(
        services: Services,
        names: Vec<String>,
        base: Option<String>,
        permissions: Permissions,
        document: Bytes,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self(Arc::new(Inner {
            services,
            sessions: Sessions::default(),
            limits: Limits::default(),
            names,
            base,
            permissions,
            document,
            streams: Arc::new(Semaphore::new(STREAMS)),
            imports: Arc::new(Semaphore::new(IMPORTS)),
            orders: Orders::default(),
            advice: Mutex::new(None),
            shutdown,
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
