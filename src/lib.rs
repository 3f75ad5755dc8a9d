//! beaconfence: hears Bluetooth LE beacons, works out where each registered device is, matches the position against the
//! store's zones, and publishes presence events over MQTT.
//!
//! The pipeline is the layout:
//!
//! ```text
//! source -> advert -> registry -> position -> geofence -> presence -> trigger -> store -> mqtt
//!  (shell)  ------------------ pure engine, event time only ------------------  (shell)
//! ```
//!
//! Beside it, and as pure, [`health`] watches the registered beacons themselves: batteries, and whether they are there.
//!
//! The pure stages read no clock, no file and no network: the engine is told what was observed and when
//! ([`engine::Input`]), and is asked what follows and when it wants to be asked again. Live operation, replay, simulation
//! and tests run the same code, and the same input gives the same output, byte for byte.
//!
//! Units: metres in the site frame, dBm, UTC milliseconds ([`model::Timestamp`]).
//!
//! The dependency rule: a pure stage imports [`model`] and the output types of earlier stages, never a later one. Only
//! [`source`] names btleplug, only [`geofence`] names rstar, only [`store`] names the database, only [`mqtt`] names the MQTT
//! client.
//!
//! What must not be lost: an event is published only after [`store`] has committed it together with the presence that it
//! changed, and leaves the outbox only when a broker has acknowledged it. [`gateway`] keeps that order.
//!
//! What may be lost, and by default is not even kept: [`record`] writes down what was heard of registered devices, so that
//! an event can be explained afterwards ([`engine::explain`], [`engine::history`]).

pub mod model;

pub mod advert;
pub mod engine;
pub mod geofence;
pub mod health;
pub mod position;
pub mod presence;
pub mod registry;
pub mod trigger;

pub mod clock;
pub mod config;
pub mod firmware;
pub mod metrics;
pub mod mqtt;
pub mod record;
pub mod registrar;
pub mod source;
pub mod store;
mod throttle;

pub mod backup;
pub mod gateway;
pub mod http;
pub mod support;

pub mod doctor;

pub mod cli;
