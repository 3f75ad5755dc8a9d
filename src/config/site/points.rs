//! The points of a survey: where a device was, and when.

use std::collections::BTreeMap;
use std::path::Path;

use super::csv::{self, Row};
use super::geometry;
use super::site_file::Plan;
use crate::config::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use crate::config::text::{self, nearest, short};
use crate::model::{DeviceId, LevelOrdinal, Point, Timestamp};
use crate::registry::{DeviceIndex, Registry, ring_holds};

/// A million points take less.
const MAX_BYTES: u64 = 64 << 20;
/// Up to so many devices the nearest id is looked for.
const MAX_PROPOSED: usize = 1_000;

const COLUMNS: [&str; 6] = ["from", "to", "device", "x", "y", "level"];

/// Where a device was for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct WalkPoint {
    /// Its line in the file.
    pub line: usize,
    /// From when.
    pub from: Timestamp,
    /// Until when; not before `from`, and the same for an instant.
    pub to: Timestamp,
    /// Who.
    pub device: DeviceIndex,
    /// Where.
    pub point: Point,
    /// On which level.
    pub level: LevelOrdinal,
}

/// Reads the points of a survey, in the order of their times; the diagnostics beside them are warnings.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn load_points(file: &Path, registry: &Registry) -> Result<(Vec<WalkPoint>, Vec<Diagnostic>), Faults> {
    let report = FileReport::new(file.to_owned());
    let points = read(&report, registry);
    conclude(Some(points), report.finish())
}

fn read(report: &FileReport, registry: &Registry) -> Vec<WalkPoint> {
    let help = "each row says where the device was and when: from,to,device,x,y,level";
    let Some(text) = text::read(report, MAX_BYTES, help) else { return Vec::new() };
    let plan = Plan { is_registered: false, ..Plan::of(registry) };
    let mut points = Vec::new();
    let is_read = csv::read(report, &text, &COLUMNS, &[], |row| {
        if row.is_sound {
            points.extend(point(row, registry, &plan));
        }
    });
    if is_read && points.is_empty() && !report.has_errors() {
        report.error("the file has no points").help(help);
    }
    points.sort_by_key(|point| (point.from, point.to, point.line));
    overlaps(report, registry, &points);
    points
}

fn point(row: &Row<'_>, registry: &Registry, plan: &Plan) -> Option<WalkPoint> {
    let instant = |column: &str| -> Option<Timestamp> {
        let parsed = row.get(column).parse();
        parsed.map_err(|error| drop(row.fault("", format!("{column}: {error}")))).ok()
    };
    let (from, to) = (instant("from"), instant("to"));
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        row.fault("", format!("to ({to}) is before from ({from})")).help("swap them, or correct one");
    }
    let device = device(row, registry);
    let number = |column: &str| match row.number("", column) {
        Ok(None) => {
            row.fault("", format!("{column} is missing")).help("write x and y in metres from the origin");
            None
        }
        found => found.ok().flatten(),
    };
    let (x, y) = (number("x"), number("y"));
    let level = level(row, plan);
    let (point, level) = (Point { x: x?, y: y? }, level?);
    if !geometry::is_near(point) {
        row.fault(
            "",
            format!("the point ({}, {}) is more than {} km from the site's origin", point.x, point.y, geometry::MAX_KM),
        )
        .help("x and y are metres in the site frame");
        return None;
    }
    let outline = registry.site().levels.iter().find(|known| known.ordinal == level).and_then(|of| of.outline.as_ref());
    if outline.is_some_and(|outline| !ring_holds(outline, point)) {
        row.warning("", format!("the point ({}, {}) lies outside the outline of level {level}", point.x, point.y))
            .help("check x and y, and the outline in site.toml");
    }
    let (from, to) = (from?, to?);
    Some(WalkPoint { line: row.line, from, to, device: device?, point, level }).filter(|_| from <= to)
}

fn device(row: &Row<'_>, registry: &Registry) -> Option<DeviceIndex> {
    let text = row.get("device");
    let id = DeviceId::new(text).map_err(|error| drop(row.fault("", format!("device: {error}")))).ok()?;
    let devices = registry.devices();
    let Some(found) = registry.device(&id) else {
        let ids: Vec<&str> = devices.iter().take(MAX_PROPOSED).map(|device| device.id.as_str()).collect();
        let near = Some(nearest(text, &ids)).filter(|help| help.starts_with("did you mean"));
        row.fault("", format!("device \"{id}\" is not in devices.csv"))
            .help(near.unwrap_or_else(|| "add a row for it there, or correct the id".to_owned()));
        return None;
    };
    if !devices[found.get()].may_be_tracked() {
        row.fault("", format!("device \"{id}\" is a customer's without consent for presence, and is not tracked"))
            .help("walk with a device of kind staff or asset");
        return None;
    }
    Some(found)
}

fn level(row: &Row<'_>, plan: &Plan) -> Option<LevelOrdinal> {
    let text = row.get("level");
    if text.is_empty() {
        if plan.only_level().is_none() {
            row.fault("", "level is missing").help("a site with several levels needs it for each point");
        }
        return plan.only_level();
    }
    let Ok(ordinal) = text.parse::<i16>() else {
        row.fault("", format!("level \"{}\" is not a whole number", short(text))).help("write 0 for the ground floor");
        return None;
    };
    if let Some((message, help)) = plan.unknown_level(LevelOrdinal(ordinal)) {
        row.fault("", message).help(help);
        return None;
    }
    Some(LevelOrdinal(ordinal))
}

/// A device is at one place at a time. `points` in the order of their times.
fn overlaps(report: &FileReport, registry: &Registry, points: &[WalkPoint]) {
    let mut latest: BTreeMap<DeviceIndex, &WalkPoint> = BTreeMap::new();
    for point in points {
        let before = latest.get(&point.device);
        if let Some(before) = before
            // Where one ends the next may begin.
            && (point.from < before.to || point.from == before.from)
        {
            let (early, late) = (before.line.min(point.line), before.line.max(point.line));
            report
                .error(format!("its time overlaps that of line {early}"))
                .at(late)
                .of(format!("device \"{}\"", registry.devices()[point.device.get()].id))
                .help("a device is at one place at a time; correct from or to");
        }
        if before.is_none_or(|before| point.to >= before.to) {
            latest.insert(point.device, point);
        }
    }
}
