//! The embedded broker of the demo: MQTT 3.1.1 and 5 on one port, everything in memory. The only module that names the
//! crate behind it.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;

/// Bounds: a demo has a handful of clients, a small store some dozens. What does not fit is refused, not awaited.
const MAX_CLIENTS: usize = 256;
const MAX_PACKET: usize = 256 * 1024;
const MAX_RETAINED: usize = 65_536;
const MAX_QUEUED: usize = 10_000;
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
const SESSION_EXPIRY: Duration = Duration::from_secs(3_600);
/// How long clients may take to go when it stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be had.
    #[error("the embedded broker cannot listen on {address}: {detail}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        detail: String,
    },
    /// It stopped before it was ready.
    #[error("the embedded broker did not start: {0}")]
    Start(String),
}

/// A running broker. Dropped without [`EmbeddedBroker::stop`], it ends at once.
pub struct EmbeddedBroker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<Result<(), String>>,
}

impl EmbeddedBroker {
    /// Listens on `address`; port 0 takes a free one, which [`Self::address`] tells. Anybody who reaches the address may
    /// connect, publish and subscribe: keep it on loopback, or on a network that you trust.
    ///
    /// # Errors
    /// [`BrokerError`] where it cannot listen or start.
    pub async fn start(address: SocketAddr) -> Result<Self, BrokerError> {
        let storage = StorageConfig {
            backend: StorageBackend::Memory,
            max_queued_messages_per_client: MAX_QUEUED,
            max_queued_bytes_per_client: MAX_QUEUED_BYTES,
            ..StorageConfig::default()
        };
        let config = BrokerConfig::new()
            .with_bind_address(address)
            .with_max_clients(MAX_CLIENTS)
            .with_max_packet_size(MAX_PACKET)
            .with_max_retained_messages(MAX_RETAINED)
            .with_client_channel_capacity(MAX_QUEUED)
            .with_session_expiry(SESSION_EXPIRY)
            .with_sys_topics_enabled(false)
            .with_storage(storage);
        let listen = |detail: String| BrokerError::Listen { address, detail };
        let mut broker = MqttBroker::with_config(config).await.map_err(|error| listen(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| listen("it has no address".to_owned()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let mut task = tokio::spawn(async move { broker.run().await.map_err(|error| error.to_string()) });
        tokio::select! {
            ended = &mut task => {
                let detail = match ended {
                    Ok(Ok(())) => "it stopped at once".to_owned(),
                    Ok(Err(detail)) => detail,
                    Err(error) => error.to_string(),
                };
                Err(BrokerError::Start(detail))
            }
            Ok(_) = ready.wait_for(|ready| *ready) => Ok(Self { address, shutdown, task }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as `brokers` in `[mqtt]` take it.
    ///
    /// # Errors
    /// None in practice: a socket address is a valid host and port.
    pub fn url(&self) -> Result<url::Url, url::ParseError> {
        format!("mqtt://{}", self.address).parse()
    }

    /// Sends its clients away and stops; gives up waiting for them after a few seconds.
    pub async fn stop(mut self) {
        self.shutdown.shutdown();
        // Either it has ended, or the drop below ends it.
        let _ = tokio::time::timeout(STOP_WITHIN, &mut self.task).await;
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
        self.task.abort();
    }
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker").field("address", &self.address).finish_non_exhaustive()
    }
}
