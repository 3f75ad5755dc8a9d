//! gateway.toml.

use std::path::PathBuf;
use std::time::Duration;

use super::http_section::HttpConfig;
use crate::model::{GatewayId, ReceiverId};

/// This gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Its id.
    pub id: GatewayId,
    /// The site directory to start from, relative to the file; none where it starts with an empty store.
    pub site: Option<PathBuf>,
    /// Where it keeps what must survive.
    pub data_dir: PathBuf,
    /// Its radios, `[[adapter]]`. Empty where it has none.
    pub adapters: Vec<AdapterConfig>,
    /// The broker.
    pub mqtt: MqttConfig,
    /// How much is kept for it.
    pub outbox: OutboxConfig,
    /// What is kept of what was heard.
    pub record: RecordConfig,
    /// The API and the web UI.
    pub http: HttpConfig,
    /// What it writes of its work.
    pub log: LogConfig,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// What is in it: a level, or levels of parts, such as `warn,beaconfence::mqtt=debug`.
    pub filter: String,
    /// In what form.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::default() }
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people, on stderr.
    #[default]
    Text,
    /// JSON Lines, on stderr.
    Json,
    /// systemd's journal, with its fields.
    Journald,
}

/// `[record]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordConfig {
    /// Sightings are kept for so many days; 0 keeps none.
    pub days: u32,
    /// And no more bytes of them on disk.
    pub max_bytes: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { days: 0, max_bytes: 2_000_000_000 }
    }
}

/// `[outbox]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Events that no broker takes are dropped after this time.
    pub max_age: Duration,
    /// And beyond so many bytes of topics and payloads.
    pub max_bytes: u64,
    /// What a broker has taken is kept for so long, to be asked for again.
    pub keep: Duration,
    /// And no more bytes of it.
    pub keep_bytes: u64,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 86_400),
            // About 550 MB on disk: eight hours at 20 events a second take half of it.
            max_bytes: 1_000_000_000,
            keep: Duration::from_secs(86_400),
            keep_bytes: 100_000_000,
        }
    }
}

/// One Bluetooth adapter, and which receiver of the site it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterConfig {
    /// Which adapter.
    pub name: AdapterName,
    /// Which receiver.
    pub receiver: ReceiverId,
}

/// How an adapter is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterName {
    /// By the system's name, such as `hci0`.
    Name(String),
    /// By its own address, most significant byte first: survives a change of USB port.
    Address([u8; 6]),
    /// Any adapter that no other entry names.
    Any,
}

/// `[mqtt]`.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// Broker addresses `mqtt://HOST[:PORT]` or `mqtts://…`, tried in order; at least one.
    pub brokers: Vec<url::Url>,
    /// 5 by default.
    pub version: MqttVersion,
    /// Topic prefix, `beaconfence/v1` by default; no wildcard, no slash at either end.
    pub prefix: String,
    /// `beaconfence-{site}-{gateway}` where not given.
    pub client_id: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Own certificate authorities (PEM) in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub certificate_file: Option<PathBuf>,
    /// Client key (PEM).
    pub key_file: Option<PathBuf>,
    /// Keep-alive, 30 s by default.
    pub keep_alive: Duration,
    /// How often the status is published when nothing changes, 30 s by default.
    pub status_interval: Duration,
    /// Whether positions are published in `presence/{device}`; off by default.
    pub publish_positions: bool,
    /// Whether events are also said in the words of Adobe's Experience Data Model.
    pub xdm: bool,
}

impl MqttConfig {
    /// The defaults, with those brokers.
    pub fn new(brokers: Vec<url::Url>) -> Self {
        Self {
            brokers,
            version: MqttVersion::default(),
            prefix: "beaconfence/v1".to_owned(),
            client_id: None,
            username: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            keep_alive: Duration::from_secs(30),
            status_interval: Duration::from_secs(30),
            publish_positions: false,
            xdm: false,
        }
    }
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    #[default]
    V5,
}
