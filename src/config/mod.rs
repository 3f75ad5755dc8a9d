//! gateway.toml and the site directory, parsed into types that cannot be invalid.

mod gateway;

pub use gateway::{AdapterConfig, AdapterName, GatewayConfig, MqttConfig, MqttVersion};
