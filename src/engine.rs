//! Composes the stages; the one place that knows them all.

use std::sync::Arc;

use crate::advert::Advertisement;
use crate::model::{Position, ReceiverId, Timestamp, ZoneId};
use crate::position::PositionReport;
use crate::presence::Event;
use crate::registry::Device;

/// Whether a receiver hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverState {
    /// It is scanning.
    Up,
    /// It is known not to hear: unplugged, powered off, or silent past explanation.
    Down,
}

/// What the engine is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// A radio heard something.
    Advertisement(Advertisement),
    /// A device says where it is.
    PositionReport(PositionReport),
    /// A receiver went up or down.
    Receiver(ReceiverId, ReceiverState),
}

/// What follows from the inputs, in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// A change of presence. Durable: must reach the broker.
    Event(Event),
    /// A new estimate of where a device is.
    Position(Arc<Device>, Position),
    /// The zones that a device is in have changed. Latest value wins.
    Presence(DevicePresence),
    /// How many devices are inside a zone has changed. Latest value wins.
    Occupancy(ZoneId, u32),
}

/// Where a device is now.
#[derive(Debug, Clone)]
pub struct DevicePresence {
    /// Who.
    pub device: Arc<Device>,
    /// The zones that it is in, by id; empty where it is nowhere.
    pub zones: Vec<ZonePresence>,
    /// When this became so.
    pub since: Timestamp,
}

/// One zone that a device is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePresence {
    /// The zone.
    pub zone: ZoneId,
    /// When it entered.
    pub since: Timestamp,
    /// The visit.
    pub visit_id: uuid::Uuid,
}
