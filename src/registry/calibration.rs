//! What a survey of the site has taught of its radio: how strong each receiver hears a beacon from where.

use serde::{Deserialize, Serialize};

use crate::model::{BeaconId, LevelOrdinal, MeasuredPower, Metres, Point, ReceiverId, Timestamp};

use super::Receiver;

/// A receiver that was moved by more than this since the survey is no longer the one that was surveyed, in metres.
pub const MOST_MOVED: Metres = 0.5;

/// What a survey has taught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What it was learned from.
    pub recording: Recording,
    /// Exponent n of the log-distance law over all receivers; for those without a survey of their own.
    pub path_loss_exponent: f64,
    /// The RSSI at 1 m that the survey points are relative to: that of the surveyed beacon, the mean where there were
    /// several.
    pub measured_power: MeasuredPower,
    /// The surveyed beacons.
    pub beacons: Vec<BeaconCalibration>,
    /// The surveyed receivers.
    pub receivers: Vec<ReceiverCalibration>,
}

/// What a calibration was learned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The first sighting.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// Sightings at known places.
    pub sightings: u64,
    /// Known places: points of the walk, and fixed beacons.
    pub points: u64,
}

/// A beacon that was surveyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeaconCalibration {
    /// Which.
    pub id: BeaconId,
    /// Its RSSI at 1 m, as the receivers of this site hear it on the mean.
    pub measured_power: MeasuredPower,
    /// Its sightings at known places.
    pub sightings: u64,
}

/// What a receiver heard in the survey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiverCalibration {
    /// Which.
    pub id: ReceiverId,
    /// Where it was.
    pub point: Point,
    /// Height above its level's floor, in metres.
    pub z: Metres,
    /// Its level.
    pub level: LevelOrdinal,
    /// The level at 1 m of the log-distance law fitted to its points, in dBm.
    pub power: f64,
    /// That law's exponent.
    pub exponent: f64,
    /// What it reads more than the mean of the receivers, in dB. For people: the points have it in them.
    pub rssi_offset: f64,
    /// How far its points lie from that law, in dB (root mean square).
    pub sd: f64,
    /// What it heard from where.
    pub points: Vec<SurveyPoint>,
}

/// What a receiver heard from one place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurveyPoint {
    /// The place.
    pub point: Point,
    /// Its level.
    pub level: LevelOrdinal,
    /// Mean of the readings in dBm, as the receiver gave them, of a beacon of [`Calibration::measured_power`].
    pub rssi: f64,
    /// How many readings.
    pub count: u32,
}

impl Calibration {
    /// What was learned of a receiver; none where it was not surveyed, or has been moved since.
    pub fn of(&self, receiver: &Receiver) -> Option<&ReceiverCalibration> {
        self.receivers.iter().find(|of| of.id == receiver.id).filter(|of| of.moved_by(receiver) <= MOST_MOVED)
    }
}

impl ReceiverCalibration {
    /// How far the receiver has been moved since, in metres; infinitely far where it is on another level.
    pub fn moved_by(&self, receiver: &Receiver) -> Metres {
        if self.level == receiver.level {
            self.point.distance(receiver.point).hypot(self.z - receiver.z)
        } else {
            Metres::INFINITY
        }
    }
}
