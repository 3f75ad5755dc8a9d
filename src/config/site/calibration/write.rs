//! Writes `calibration.json`: the same calibration gives the same bytes, one survey point a line.

use std::fmt::Write as _;

use crate::model::SiteId;
use crate::registry::Calibration;

/// The text of a site's `calibration.json`.
pub fn calibration_text(site: &SiteId, calibration: &Calibration) -> String {
    let Calibration { recording, path_loss_exponent, measured_power, beacons, receivers } = calibration;
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write!(
        text,
        "{{\n\"schema_version\": 1,\n\"site\": \"{site}\",\n\"recording\": {{\"from\": \"{}\", \"to\": \"{}\", \
         \"sightings\": {}, \"points\": {}}},\n\"path_loss_exponent\": {},\n\"measured_power\": {},\n\"beacons\": [",
        recording.from,
        recording.to,
        recording.sightings,
        recording.points,
        short(*path_loss_exponent, 3),
        short(measured_power.get(), 2),
    );
    for (at, beacon) in beacons.iter().enumerate() {
        let _ = write!(
            text,
            "{}\n{{\"id\": \"{}\", \"measured_power\": {}, \"sightings\": {}}}",
            comma(at),
            beacon.id,
            short(beacon.measured_power.get(), 2),
            beacon.sightings,
        );
    }
    text.push_str("\n],\n\"receivers\": [");
    for (at, receiver) in receivers.iter().enumerate() {
        let _ = write!(
            text,
            "{}\n{{\"id\": \"{}\", \"x\": {}, \"y\": {}, \"z\": {}, \"level\": {}, \"power\": {}, \"exponent\": {}, \
             \"rssi_offset\": {}, \"sd\": {}, \"points\": [",
            comma(at),
            receiver.id,
            short(receiver.point.x, 3),
            short(receiver.point.y, 3),
            short(receiver.z, 3),
            receiver.level,
            short(receiver.power, 2),
            short(receiver.exponent, 3),
            short(receiver.rssi_offset, 2),
            short(receiver.sd, 2),
        );
        for (at, point) in receiver.points.iter().enumerate() {
            let _ = write!(
                text,
                "{}\n[{}, {}, {}, {}, {}]",
                comma(at),
                short(point.point.x, 2),
                short(point.point.y, 2),
                point.level,
                short(point.rssi, 2),
                point.count,
            );
        }
        text.push_str("\n]}");
    }
    text.push_str("\n]\n}\n");
    text
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}

/// The number to so many decimals, without zeros behind it and without a negative zero.
fn short(number: f64, decimals: i32) -> f64 {
    let scale = 10.0_f64.powi(decimals);
    (number * scale).round() / scale + 0.0
}
