//! The truth beside what is heard: where tracked devices are, and when they cross the borders of zones.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::{DeviceId, LevelOrdinal, Point, Timestamp, ZoneId};
use crate::registry::{Registry, Shape, shape_bounds, shape_holds};

use super::places::Places;
use super::walker::Whereabouts;
use super::{Emitter, Step, TRUTH_TICK, What};

/// Where a device really is.
#[derive(Debug, Clone, PartialEq)]
pub struct TruePosition {
    /// Who.
    pub device: DeviceId,
    /// Where.
    pub point: Point,
    /// On which level.
    pub level: LevelOrdinal,
}

/// A device really enters or leaves a zone, to a tenth of a second. The zone `site` is not among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossing {
    /// Who.
    pub device: DeviceId,
    /// Where.
    pub zone: ZoneId,
    /// What.
    pub kind: CrossingKind,
}

/// What a crossing is. Those of one device and zone are framed by an initial one and an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossingKind {
    /// Inside at the start.
    InitialInside,
    /// Outside at the start.
    InitialOutside,
    /// Comes in.
    Entered,
    /// Goes out, or leaves the store.
    Exited,
    /// The simulation ends.
    End,
}

impl CrossingKind {
    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InitialInside => "initial-inside",
            Self::InitialOutside => "initial-outside",
            Self::Entered => "entered",
            Self::Exited => "exited",
            Self::End => "end",
        }
    }
}

#[derive(Debug)]
struct Border {
    zone: ZoneId,
    level: LevelOrdinal,
    shape: Shape,
    low: Point,
    high: Point,
}

#[derive(Debug)]
struct Watched {
    emitter: usize,
    device: DeviceId,
    /// For each border, whether the device is inside.
    inside: Vec<bool>,
}

/// Watches tracked devices.
#[derive(Debug)]
pub(super) struct Tracker {
    borders: Vec<Border>,
    watched: Vec<Watched>,
    /// Looks between two true positions.
    looks: u64,
}

impl Tracker {
    pub fn new(registry: &Registry, emitters: &[Emitter], interval: Option<Duration>) -> Self {
        let borders: Vec<Border> = registry
            .zones()
            .iter()
            .filter_map(|zone| {
                let (low, high) = shape_bounds(&zone.shape)?;
                Some(Border { zone: zone.id.clone(), level: zone.level?, shape: zone.shape.clone(), low, high })
            })
            .collect();
        // A device with two beacons is watched once.
        let mut watched: Vec<Watched> = Vec::new();
        let mut seen = BTreeSet::new();
        if interval.is_some() {
            for (at, emitter) in emitters.iter().enumerate() {
                if let Some(device) = emitter.device.clone().filter(|device| seen.insert(device.clone())) {
                    watched.push(Watched { emitter: at, device, inside: vec![false; borders.len()] });
                }
            }
        }
        let ticks = interval.map_or(1, |interval| (interval.as_millis() / TRUTH_TICK.as_millis()).max(1));
        Self { borders, watched, looks: u64::try_from(ticks).unwrap_or(1) }
    }

    /// Looks at everyone; `seconds` since the start.
    pub fn look(
        &mut self,
        count: u64,
        time: Timestamp,
        seconds: f64,
        places: &Places,
        emitters: &mut [Emitter],
        out: &mut VecDeque<Step>,
    ) {
        for Watched { emitter, device, inside } in &mut self.watched {
            let here = match emitters[*emitter].walker.at(seconds) {
                Whereabouts::Here { place, .. } => Some((place.point, places.floors[place.floor].ordinal)),
                Whereabouts::Away { .. } => None,
            };
            if let (Some((point, level)), true) = (here, count.is_multiple_of(self.looks)) {
                let what = What::Position(TruePosition { device: device.clone(), point, level });
                out.push_back(Step { time, what });
            }
            for (border, was) in self.borders.iter().zip(inside) {
                let is = here.is_some_and(|(point, level)| border.holds(point, level));
                let kind = match (count, is, *was) {
                    (0, true, _) => CrossingKind::InitialInside,
                    (0, false, _) => CrossingKind::InitialOutside,
                    (_, true, false) => CrossingKind::Entered,
                    (_, false, true) => CrossingKind::Exited,
                    _ => continue,
                };
                *was = is;
                let crossing = Crossing { device: device.clone(), zone: border.zone.clone(), kind };
                out.push_back(Step { time, what: What::Crossing(crossing) });
            }
        }
    }

    pub fn finish(&mut self, time: Timestamp, out: &mut VecDeque<Step>) {
        for Watched { device, .. } in &self.watched {
            for border in &self.borders {
                let crossing = Crossing { device: device.clone(), zone: border.zone.clone(), kind: CrossingKind::End };
                out.push_back(Step { time, what: What::Crossing(crossing) });
            }
        }
    }
}

impl Border {
    fn holds(&self, at: Point, level: LevelOrdinal) -> bool {
        self.level == level
            && (self.low.x..=self.high.x).contains(&at.x)
            && (self.low.y..=self.high.y).contains(&at.y)
            && shape_holds(&self.shape, at)
    }
}
