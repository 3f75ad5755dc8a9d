//! The MQTT side against a real Mosquitto.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../mqtt_support/mod.rs"]
mod mqtt_support;

mod beacons;
mod command;
mod faults;
mod gateway;
mod helpers;
mod inbound;
mod publishing;
mod replay;
mod stored;
mod tls;
mod triggers;
