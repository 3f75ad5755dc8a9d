//! The wire payloads, and the way to the broker. The only folder that names the MQTT client.
//!
//! ```text
//! engine outputs -> wire (payloads) -> Publisher (outbox, retained states) -> client (one connection) -> broker
//! broker -> client -> Subscription -> wire -> engine inputs
//! ```
//!
//! A client lives for one connection and is then thrown away: what is not acknowledged is in the [`outbox`], which
//! is the only truth (with the store that stands behind it). So fail-over between brokers, protocol versions and clean sessions
//! need no code of their own.

mod backoff;
pub mod broker;
mod client;
mod clock;
mod connect;
mod failure;
mod inbound;
pub mod outbox;
pub mod probe;
mod publisher;
mod session;
mod states;
mod subscription;
pub mod wire;

pub use clock::{Clock, Moment};
pub use connect::{Endpoint, Settings, SettingsError, client_id};
pub use failure::Failure;
pub use inbound::{Inbound, InboundStatus, Report, Said};
pub use outbox::Limits;
pub use publisher::{Backing, Intake, Publisher, PublisherStatus, ReplayRefused, Replays, Stored};
pub use subscription::{AckToken, Delivered, Keep, Notice, Subscription};
