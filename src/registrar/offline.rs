//! Changes to the registry of a gateway that does not run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::load::{self, LoadError};
use super::{EditError, Parts, Registrar};
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::model::{SiteId, Timestamp};
use crate::registry::Registry;
use crate::store::{self, Opened, Store, StoreError};

/// How long the disk may take.
const COMMIT: Duration = Duration::from_secs(60);

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry in it cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its tokens cannot be read.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Nothing is registered in it yet.
    #[error("nothing is registered in {} yet; start its gateway, or apply a site directory", .0.display())]
    NoRegistry(PathBuf),
    /// The disk takes nothing.
    #[error("the disk has not taken the change; look for its free space")]
    NotDurable,
}

/// A data directory whose gateway does not run.
#[derive(Debug)]
pub struct Offline {
    store: Store,
    registrar: Registrar,
    /// Nothing was registered in it before.
    is_new: bool,
}

impl Offline {
    /// Opens the data directory of a gateway, and makes it where it is missing. `first` is the registry to begin with where there
    /// is none, and whose site it must be.
    ///
    /// # Errors
    /// [`OfflineError`], also where a gateway runs on it.
    pub async fn open(config: &GatewayConfig, first: Option<&Registry>, by: &str) -> Result<Self, OfflineError> {
        let now = Clock::new().now();
        let known;
        let whose = if let Some(first) = first {
            first
        } else {
            known = stand_in(config)?;
            &known
        };
        let options = crate::gateway::store_options(config, whose, now);
        let Opened { store, .. } = Store::open(options)?;
        store.start(|_| ());
        let keep: Arc<Store> = Arc::new(store.clone());
        let (view, is_new) = if let Some(view) = load::load(&*keep)? {
            (view, false)
        } else {
            let first = first.ok_or_else(|| OfflineError::NoRegistry(config.data_dir.clone()))?;
            (begin(&store, first, by, now).await?, true)
        };
        let parts = Parts { view, keep, engine: None, now: Box::new(|| Clock::new().now()), told: Box::new(|_| ()) };
        Ok(Self { registrar: Registrar::new(parts)?, store, is_new })
    }

    /// Changes the registry in it.
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// Whether nothing was registered in it before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`OfflineError::NotDurable`].
    pub fn close(self) -> Result<(), OfflineError> {
        drop(self.registrar);
        if self.store.close(COMMIT) > 0 { Err(OfflineError::NotDurable) } else { Ok(()) }
    }
}

/// An empty registry of the site that a data directory is of.
///
/// # Errors
/// [`OfflineError::NoRegistry`] where there is no database.
pub fn stand_in(config: &GatewayConfig) -> Result<Registry, OfflineError> {
    let none = || OfflineError::NoRegistry(config.data_dir.clone());
    match store::peek(&config.data_dir) {
        Ok(peek) => Ok(Registry::empty(SiteId::new(&peek.site).map_err(|_| none())?, "UTC")),
        Err(StoreError::Missing { .. }) => Err(none()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the first registry of a database.
///
/// # Errors
/// [`OfflineError`].
pub async fn begin(store: &Store, first: &Registry, by: &str, now: Timestamp) -> Result<super::View, OfflineError> {
    let (view, rows) = load::first(first, by, now)?;
    let (done, committed) = tokio::sync::oneshot::channel();
    let then = Box::new(move || {
        // Who asked may be gone.
        let _ = done.send(());
    });
    super::Keep::write(store, rows, then);
    match tokio::time::timeout(COMMIT, committed).await {
        Ok(Ok(())) => Ok(view),
        _ => Err(OfflineError::NotDurable),
    }
}
