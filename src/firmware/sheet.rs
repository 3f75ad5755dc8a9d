//! The list for whoever puts the beacons up.

use super::air::Air;
use super::plan::Row;
use super::{Rendered, Settings, Subject, Target, escape};

const COLUMNS: [&str; 16] = [
    "id",
    "identity",
    "kind",
    "device",
    "x",
    "y",
    "level",
    "level_name",
    "zones",
    "interval_ms",
    "tx_power_dbm",
    "measured_power_dbm",
    "battery",
    "battery_days",
    "entered_within_s",
    "firmware",
];

pub(super) fn render(subjects: &[Subject<'_>], settings: &Settings) -> Rendered {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for subject in subjects {
        text.push_str(&row(subject, settings).join(","));
        text.push('\n');
    }
    Rendered::new("beacons-sheet.csv", text)
}

fn row(subject: &Subject<'_>, settings: &Settings) -> [String; COLUMNS.len()] {
    let beacon = subject.beacon;
    let plan = Row::new(settings, settings.bytes(subject), &Air::default(), &settings.presence());
    let metres = |axis: fn(crate::model::Point) -> f64| {
        beacon.fixed.map_or(String::new(), |(point, _)| format!("{:.3}", axis(point)))
    };
    let zones: Vec<&str> = subject.zones().iter().map(|zone| zone.name.as_str()).collect();
    let sends = Target::SENDERS.iter().filter(|target| target.sends(&beacon.identity));
    let sends: Vec<&str> = sends.map(|target| target.as_str()).collect();
    // What can be a formula is text; numbers are written as numbers.
    [
        escape::csv(beacon.id.as_str()),
        escape::csv(&beacon.identity.to_string()),
        subject.kind().to_owned(),
        escape::csv(beacon.device.as_ref().map_or("", |device| device.as_str())),
        metres(|point| point.x),
        metres(|point| point.y),
        beacon.fixed.map_or(String::new(), |(_, level)| level.0.to_string()),
        escape::csv(subject.level_name()),
        escape::csv(&zones.join("; ")),
        settings.interval.ms().to_string(),
        settings.tx_power.to_string(),
        subject.measured_power().to_string(),
        settings.battery.as_str().to_owned(),
        plan.days.map_or(String::new(), |days| format!("{days:.0}")),
        format!("{:.1}", plan.entered_ms / 1_000.0),
        sends.join(" "),
    ]
}
