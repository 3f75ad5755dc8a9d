//! Which receivers hear a zone, and which of them are down.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Point, Timestamp};
use crate::registry::{Moved, ReceiverIndex, Registry, Zone, ZoneIndex, shape_bounds};

/// A receiver covers the zones that begin within so many metres of it, on its own level. Beyond about this distance
/// indoors the loss of one receiver leaves others that hear as well.
const REACH: f64 = 10.0;

/// What is known of the receivers.
#[derive(Debug)]
pub(super) struct Coverage {
    /// For each zone; empty for the whole site, whose cover depends on the device.
    covering: Vec<Vec<ReceiverIndex>>,
    receivers: Vec<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    down_since: Option<Timestamp>,
    /// When it last came back.
    up_since: Option<Timestamp>,
}

impl Coverage {
    pub(super) fn new(registry: &Registry) -> Self {
        let covering = registry.zones().iter().map(|zone| covering(registry, zone)).collect();
        Self { covering, receivers: vec![State::default(); registry.receivers().len()] }
    }

    /// Goes on with an edited registry; `zones` and `receivers` say where those of the one before are there.
    pub(super) fn reconfigure(
        &mut self,
        before: &Registry,
        next: &Registry,
        (zones, receivers): (&Moved<ZoneIndex>, &Moved<ReceiverIndex>),
    ) {
        let empty = State::default;
        self.receivers = receivers.carry(std::mem::take(&mut self.receivers), next.receivers().len(), empty);
        let is_covered_alike = zones.is_kept() && before.receivers() == next.receivers();
        if is_covered_alike && before.shares_zones_with(next) {
            return;
        }
        let mut known = std::mem::take(&mut self.covering).into_iter();
        let covering = next.zones().iter().enumerate().map(|(at, zone)| {
            let known = known.next().filter(|_| is_covered_alike && Arc::ptr_eq(&before.zones()[at], zone));
            known.unwrap_or_else(|| covering(next, zone))
        });
        self.covering = covering.collect();
    }

    /// Notes that a receiver went up or down; whether that is news.
    pub(super) fn set(&mut self, receiver: ReceiverIndex, up: bool, now: Timestamp) -> bool {
        let state = &mut self.receivers[receiver.get()];
        if up == state.down_since.is_none() {
            return false;
        }
        *state = if up {
            State { down_since: None, up_since: Some(now) }
        } else {
            State { down_since: Some(now), ..*state }
        };
        true
    }

    /// The receivers that cover a zone.
    pub(super) fn of_zone(&self, zone: ZoneIndex) -> &[ReceiverIndex] {
        &self.covering[zone.get()]
    }

    /// Those of these receivers that are down.
    pub(super) fn down_of(&self, receivers: &[ReceiverIndex]) -> Vec<ReceiverIndex> {
        receivers.iter().copied().filter(|r| self.receivers[r.get()].down_since.is_some()).collect()
    }

    /// Whether any receiver is down.
    pub(super) fn is_any_down(&self) -> bool {
        self.receivers.iter().any(|receiver| receiver.down_since.is_some())
    }

    /// Until when the silence of any of these receivers holds presence; none where all are up.
    pub(super) fn held_until(&self, receivers: &[ReceiverIndex], max_hold: Duration) -> Option<Timestamp> {
        receivers.iter().filter_map(|r| self.receivers[r.get()].down_since).max().map(|since| since + max_hold)
    }

    /// When the last of these receivers came back; none where none was ever away.
    pub(super) fn back_since(&self, receivers: &[ReceiverIndex]) -> Option<Timestamp> {
        receivers.iter().filter_map(|r| self.receivers[r.get()].up_since).max()
    }
}

fn covering(registry: &Registry, zone: &Zone) -> Vec<ReceiverIndex> {
    let Some((low, high)) = shape_bounds(&zone.shape) else { return Vec::new() };
    let distance =
        |at: Point| (low.x - at.x).max(at.x - high.x).max(0.0).hypot((low.y - at.y).max(at.y - high.y).max(0.0));
    let on_level: Vec<(f64, ReceiverIndex)> = registry
        .receivers()
        .iter()
        .enumerate()
        .filter(|(_, receiver)| Some(receiver.level) == zone.level)
        .map(|(at, receiver)| (distance(receiver.point), ReceiverIndex(at as u32)))
        .collect();
    let nearest = on_level.iter().map(|(d, _)| *d).fold(f64::INFINITY, f64::min);
    on_level.into_iter().filter(|(d, _)| *d <= REACH.max(nearest)).map(|(_, receiver)| receiver).collect()
}
