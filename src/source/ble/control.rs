//! Finding adapters, and starting and stopping their scan, with btleplug.
//!
//! On Linux its event stream is not used: it asks `bluetoothd` for all properties of a device at each event, one after the
//! other, on a queue without bound, and from about 1,000 advertisements a second it falls behind; the messages of
//! `bluetoothd` themselves (`super::bluez`) hold everything that it asks for, and tell one packet from the next.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use btleplug::api::{Central, Manager as _, ScanFilter};
use btleplug::platform::{Adapter, Manager};
use futures::FutureExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::source::ble::watchdog::Action;

/// Time for one call. A healthy one takes milliseconds, powering on up to some seconds; where the bus was restarted a
/// call never ends.
const CALL: Duration = Duration::from_secs(5);

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The service did not answer in time.
    #[error("{0} took longer than 5 s")]
    TimedOut(&'static str),
    /// The service refused.
    #[error("{call}: {}", words(source))]
    Refused {
        /// What was asked for.
        call: &'static str,
        /// Its answer.
        source: btleplug::Error,
    },
    /// It does not know the adapter.
    #[error("there is no adapter {0}")]
    NoAdapter(String),
    /// btleplug panicked, as it may where the bus is lost under it. The next attempt begins anew.
    #[error("btleplug panicked; the message above comes from there")]
    Panicked,
}

/// The connection to the system's Bluetooth through btleplug.
#[derive(Debug, Default)]
pub struct Control {
    manager: Mutex<Option<Manager>>,
    adapters: Mutex<HashMap<String, Adapter>>,
}

impl Control {
    /// Does what the watchdog asks for to the adapter of that name (`hci0`).
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn perform(&self, action: Action, name: &str) -> Result<(), ControlError> {
        let climbing = AssertUnwindSafe(self.climb(action, name)).catch_unwind();
        climbing.await.unwrap_or(Err(ControlError::Panicked))
    }

    async fn climb(&self, action: Action, name: &str) -> Result<(), ControlError> {
        if action != Action::Start {
            self.stop(name).await;
        }
        match action {
            Action::Cycle | Action::Start | Action::Restart => {}
            Action::Reopen => {
                self.adapters.lock().await.remove(name);
            }
            // The old connection is never closed, but its scan was stopped above.
            Action::Renew => self.forget().await,
        }
        self.start(name).await
    }

    /// Stops the scan, where that is possible: where it is not, there is none.
    pub async fn stop(&self, name: &str) {
        let adapter = self.adapters.lock().await.get(name).cloned();
        if let Some(adapter) = adapter
            && let Err(error) = call("StopDiscovery", adapter.stop_scan()).await
        {
            tracing::debug!(adapter = name, %error, "the scan was not stopped");
        }
    }

    /// Connects anew the next time: after a restart of the bus the old connection hangs.
    pub async fn forget(&self) {
        self.adapters.lock().await.clear();
        *self.manager.lock().await = None;
    }

    async fn start(&self, name: &str) -> Result<(), ControlError> {
        let adapter = self.adapter(name).await?;
        call("StartDiscovery", adapter.start_scan(ScanFilter::default())).await
    }

    /// The adapter of that name.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn adapter(&self, name: &str) -> Result<Adapter, ControlError> {
        if let Some(adapter) = self.adapters.lock().await.get(name) {
            return Ok(adapter.clone());
        }
        let manager = self.manager().await?;
        for adapter in call("listing the adapters", manager.adapters()).await? {
            if self::name(&adapter).await? == name {
                self.adapters.lock().await.insert(name.to_owned(), adapter.clone());
                return Ok(adapter);
            }
        }
        Err(ControlError::NoAdapter(name.to_owned()))
    }

    /// The names and addresses of all adapters.
    ///
    /// # Errors
    /// [`ControlError`]
    #[cfg(not(target_os = "linux"))]
    pub async fn names(&self) -> Result<Vec<(String, Option<[u8; 6]>)>, ControlError> {
        let manager = self.manager().await?;
        let mut names = Vec::new();
        for adapter in call("listing the adapters", manager.adapters()).await? {
            let address = call("asking for an adapter's address", adapter.adapter_address()).await.ok().flatten();
            names.push((name(&adapter).await?, address.map(btleplug::api::BDAddr::into_inner)));
        }
        Ok(names)
    }

    async fn manager(&self) -> Result<Manager, ControlError> {
        let mut manager = self.manager.lock().await;
        if let Some(manager) = &*manager {
            return Ok(manager.clone());
        }
        // It connects with blocking calls, which must not hold up the loop.
        let runtime = tokio::runtime::Handle::current();
        let connecting = tokio::task::spawn_blocking(move || runtime.block_on(Manager::new()));
        let connected = timeout(CALL, connecting).await.map_err(|_| ControlError::TimedOut("connecting to D-Bus"))?;
        let connected = connected
            .map_err(|_| ControlError::Panicked)?
            .map_err(|source| ControlError::Refused { call: "connecting to D-Bus", source })?;
        *manager = Some(connected.clone());
        Ok(connected)
    }
}

/// Some refusals of `bluetoothd` have a name, but no words.
fn words(error: &btleplug::Error) -> String {
    let words = error.to_string();
    if words.is_empty() { format!("{error:?}") } else { words }
}

/// `hci0` of `hci0 (usb:v1D6Bp0246d0542)`.
async fn name(adapter: &Adapter) -> Result<String, ControlError> {
    let info = call("asking for an adapter's name", adapter.adapter_info()).await?;
    Ok(info.split(' ').next().unwrap_or_default().to_owned())
}

async fn call<T>(call: &'static str, result: impl Future<Output = btleplug::Result<T>>) -> Result<T, ControlError> {
    match timeout(CALL, result).await {
        Ok(result) => result.map_err(|source| ControlError::Refused { call, source }),
        Err(_) => Err(ControlError::TimedOut(call)),
    }
}
