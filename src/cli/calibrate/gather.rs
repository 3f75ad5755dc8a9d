//! From a recording to known places: each sighting goes to the point where its device was at that time.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::progress::Progress;
use crate::config::WalkPoint;
use crate::engine::Input;
use crate::model::{LevelOrdinal, Point, Timestamp};
use crate::position::Sample;
use crate::position::survey::Place;
use crate::registry::{BeaconIndex, DeviceIndex, ReceiverIndex, Recording, Registry};
use crate::source::replay;

/// So far from a point's instant a sighting still belongs to it, in milliseconds.
const INSTANT_MS: i64 = 200;
/// Sightings of a place that are kept one by one; the others count in the means.
const MOST_SAMPLES: usize = 4_000;
/// So many faulty lines are shown one by one; the rest is counted.
const MOST_SHOWN: u64 = 20;

/// What a recording gives.
pub(super) struct Gathered {
    pub(super) places: Vec<Place>,
    pub(super) recording: Recording,
    /// Points of the walk.
    pub(super) points: usize,
    /// Lines of points from which nothing was heard.
    pub(super) silent: Vec<usize>,
    /// Fixed beacons that were heard.
    pub(super) fixed: usize,
    /// Sightings of registered devices at no point.
    pub(super) outside: u64,
    /// Advertisements of what is not registered, or by receivers that are not.
    pub(super) strangers: u64,
    pub(super) unknown_receivers: u64,
    /// Lines that could not be read.
    pub(super) faulty: u64,
}

/// Reads a recording; faulty lines are told and passed over.
pub(super) fn gather(file: &Path, registry: &Registry, points: &[WalkPoint]) -> anyhow::Result<Gathered> {
    let mut walk = Walk::new(points);
    let mut gathered = Gathered {
        places: Vec::new(),
        recording: Recording {
            from: Timestamp::from_millis(i64::MAX),
            to: Timestamp::from_millis(0),
            sightings: 0,
            points: 0,
        },
        points: points.len(),
        silent: Vec::new(),
        fixed: 0,
        outside: 0,
        strangers: 0,
        unknown_receivers: 0,
        faulty: 0,
    };
    let mut progress = Progress::new("sightings");
    // Its words name the cause already.
    for observation in replay::open(file, None).map_err(|error| anyhow::anyhow!("{error}"))? {
        let heard = match observation {
            Ok((at, Input::Advertisement(heard))) => {
                progress.pass(at);
                heard
            }
            Ok(_) => continue,
            // What lacks its end may lack more than that.
            Err(error) if error.is_fatal() => return Err(anyhow::anyhow!("{error}")),
            Err(error) => {
                gathered.faulty += 1;
                if gathered.faulty <= MOST_SHOWN {
                    tell!("warning: {error}");
                }
                continue;
            }
        };
        let Some(receiver) = registry.receiver(&heard.receiver) else {
            gathered.unknown_receivers += 1;
            continue;
        };
        let Some(beacon) = registry.resolve(&heard) else {
            gathered.strangers += 1;
            continue;
        };
        let at = match registry.device_of(beacon) {
            Some(device) => {
                walk.at(device, heard.time).map(|at| (Known::Point(at), points[at].point, points[at].level))
            }
            None => registry.beacons()[beacon.get()].fixed.map(|(point, level)| (Known::Fixed, point, level)),
        };
        let Some((known, point, level)) = at else {
            gathered.outside += 1;
            continue;
        };
        let sample = Sample { time: heard.time, anchor: receiver.into(), rssi: heard.rssi.get() };
        walk.put((known, beacon), point, level, receiver, sample);
        let recording = &mut gathered.recording;
        recording.from = recording.from.min(heard.time);
        recording.to = recording.to.max(heard.time);
        recording.sightings += 1;
    }
    gathered.finish(walk, points);
    Ok(gathered)
}

/// Whether a place is a point of the walk, and which, or that of a fixed beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Point(usize),
    Fixed,
}

struct Walk<'p> {
    points: &'p [WalkPoint],
    /// For each device its points in the order of their times.
    of_device: BTreeMap<DeviceIndex, Vec<usize>>,
    places: BTreeMap<(Known, BeaconIndex), Place>,
}

impl<'p> Walk<'p> {
    fn new(points: &'p [WalkPoint]) -> Self {
        let mut of_device: BTreeMap<DeviceIndex, Vec<usize>> = BTreeMap::new();
        for (at, point) in points.iter().enumerate() {
            of_device.entry(point.device).or_default().push(at);
        }
        Self { points, of_device, places: BTreeMap::new() }
    }

    /// The point where a device was at a time.
    fn at(&self, device: DeviceIndex, time: Timestamp) -> Option<usize> {
        let own = self.of_device.get(&device)?;
        let next = own.partition_point(|at| self.points[*at].from <= time);
        let before = next.checked_sub(1).map(|at| own[at]);
        if let Some(at) = before.filter(|at| time <= self.points[*at].to) {
            return Some(at);
        }
        let is_instant = |at: &usize| self.points[*at].from == self.points[*at].to;
        let apart = |at: usize| (self.points[at].from.as_millis() - time.as_millis()).abs();
        [before, own.get(next).copied()]
            .into_iter()
            .flatten()
            .filter(|at| is_instant(at) && apart(*at) <= INSTANT_MS)
            .min_by_key(|at| apart(*at))
    }

    fn put(
        &mut self,
        key: (Known, BeaconIndex),
        point: Point,
        level: LevelOrdinal,
        receiver: ReceiverIndex,
        sample: Sample,
    ) {
        let place = self.places.entry(key).or_insert_with(|| Place {
            point,
            level,
            beacon: key.1,
            heard: BTreeMap::new(),
            samples: Vec::new(),
        });
        place.heard.entry(receiver).or_default().add(sample.rssi);
        if place.samples.len() < MOST_SAMPLES {
            place.samples.push(sample);
        }
    }
}

impl Gathered {
    fn finish(&mut self, walk: Walk<'_>, points: &[WalkPoint]) {
        let mut is_heard = vec![false; points.len()];
        for (known, _) in walk.places.keys() {
            match known {
                Known::Point(at) => is_heard[*at] = true,
                Known::Fixed => self.fixed += 1,
            }
        }
        self.silent = points.iter().zip(&is_heard).filter(|(_, heard)| !**heard).map(|(point, _)| point.line).collect();
        self.silent.sort_unstable();
        self.recording.points = (points.len() - self.silent.len() + self.fixed) as u64;
        self.recording.from = self.recording.from.min(self.recording.to);
        self.places = walk.places.into_values().collect();
        for place in &mut self.places {
            place.samples.sort_by_key(|sample| sample.time);
        }
    }

    /// On stderr: what of the recording led to nothing, and why.
    pub(super) fn tell(&self, points: Option<&Path>) {
        if self.faulty > MOST_SHOWN {
            tell!("warning: and {} more faulty lines", self.faulty - MOST_SHOWN);
        }
        if let (Some(file), false) = (points, self.silent.is_empty()) {
            let lines: Vec<String> = self.silent.iter().take(10).map(ToString::to_string).collect();
            let more = if self.silent.len() > lines.len() { ", …" } else { "" };
            tell!(
                "{}: warning: {} of {} points have no sighting (lines {}{more}); look whether the clocks agree",
                file.display(),
                self.silent.len(),
                self.points,
                lines.join(", ")
            );
        }
        for (count, what) in [
            (self.outside, "sightings of registered beacons at no point"),
            (self.strangers, "advertisements of beacons that are not registered"),
            (self.unknown_receivers, "advertisements heard by receivers that the site does not have"),
        ] {
            if count > 0 {
                tell!("note: passed over {count} {what}");
            }
        }
    }
}
