//! `beacons.csv`: the registered transmitters.

use std::collections::HashMap;

use super::csv::{self, Reported, Row};
use super::geometry;
use super::site_file::Plan;
use crate::config::diagnostic::FileReport;
use crate::config::text::{self, nearest, short};
use crate::model::{BeaconId, DeviceId, LevelOrdinal, MeasuredPower, Point};
use crate::registry::{Beacon, Identity, Registry};

/// A million beacons take less.
const MAX_BYTES: u64 = 256 << 20;
/// Up to so many devices the nearest id is looked for.
const MAX_PROPOSED: usize = 1_000;

const COLUMNS: [&str; 7] = ["id", "identity", "device", "x", "y", "level", "measured_power"];

/// The devices that beacons may belong to.
#[derive(Debug, Clone, Copy)]
pub(super) enum KnownDevices<'a> {
    /// Not known: any id will do.
    Any,
    /// Those of `devices.csv`, with their lines.
    File(&'a HashMap<String, usize>),
    /// Those that are registered.
    Registry(&'a Registry),
}

impl<'a> KnownDevices<'a> {
    fn holds(self, id: &DeviceId) -> bool {
        match self {
            Self::Any => true,
            Self::File(lines) => lines.contains_key(id.as_str()),
            Self::Registry(registry) => registry.device(id).is_some(),
        }
    }

    /// All ids, where they are few; sorted, so that of two equally near ids the same is proposed every time.
    fn few(self) -> Vec<&'a str> {
        let mut ids: Vec<&str> = match self {
            Self::File(lines) if lines.len() <= MAX_PROPOSED => lines.keys().map(String::as_str).collect(),
            Self::Registry(registry) if registry.devices().len() <= MAX_PROPOSED => {
                registry.devices().iter().map(|device| device.id.as_str()).collect()
            }
            _ => Vec::new(),
        };
        ids.sort_unstable();
        ids
    }
}

pub(super) fn load(report: &FileReport, plan: &Plan, devices: KnownDevices<'_>) -> Vec<Beacon> {
    load_with_lines(report, plan, devices).0
}

/// The beacons, and the line of each.
pub(super) fn load_with_lines(
    report: &FileReport,
    plan: &Plan,
    devices: KnownDevices<'_>,
) -> (Vec<Beacon>, Vec<usize>) {
    let help = "a site without beacons has a file with the header alone: id,identity,device,x,y,level,measured_power";
    let (mut beacons, mut lines) = (Vec::new(), Vec::new());
    let Some(text) = text::read(report, MAX_BYTES, help) else { return (beacons, lines) };
    let mut seen = Seen::default();
    csv::read(report, &text, &COLUMNS, &[], |row| {
        if row.is_sound
            && let Some(beacon) = beacon(row, plan, devices, &mut seen)
        {
            beacons.push(beacon);
            lines.push(row.line);
        }
    });
    (beacons, lines)
}

/// The lines of what must not be there twice.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashMap<BeaconId, usize>,
    identities: HashMap<Identity, usize>,
}

pub(super) fn beacon(row: &Row<'_>, plan: &Plan, devices: KnownDevices<'_>, seen: &mut Seen) -> Option<Beacon> {
    let text = row.get("id");
    let record = format!("beacon \"{}\"", short(text));
    let id = row.has("id").then(|| BeaconId::new(text));
    if let Some(Err(error)) = &id {
        row.fault(&record, error.to_string());
    }
    let id = id.and_then(Result::ok);
    if let Some(id) = &id {
        if let Some(first) = seen.ids.get(id) {
            row.fault(&record, format!("the id is taken by the beacon on line {first}"))
                .help("give each beacon its own");
        } else {
            seen.ids.insert(id.clone(), row.line);
        }
    }
    let identity = identity(row, &record, &mut seen.identities);
    let device = device(row, &record, devices);
    let fixed = place(row, &record, plan);
    if let (Ok(Some(device)), Ok(Some(_))) = (&device, &fixed) {
        row.fault(&record, format!("it is carried by device \"{device}\" and has a fixed place as well"))
            .help("empty x, y and level, or empty device");
    }
    if let (Ok(None), Ok(None), true) = (&device, &fixed, row.has("device")) {
        row.warning(&record, "it has neither a device nor a place, and is of no use")
            .help("write its device, or x and y");
    }
    let measured_power = measured_power(row, &record);
    Some(Beacon {
        id: id?,
        identity: identity?,
        device: device.ok()?,
        fixed: fixed.ok()?,
        measured_power: measured_power.ok()?,
    })
}

fn identity(row: &Row<'_>, record: &str, seen: &mut HashMap<Identity, usize>) -> Option<Identity> {
    if !row.has("identity") {
        return None;
    }
    let identity: Identity =
        row.get("identity").parse().map_err(|error| drop(row.fault(record, format!("identity: {error}")))).ok()?;
    if let Some(first) = seen.get(&identity) {
        row.fault(record, format!("the identity {identity} is taken by the beacon on line {first}"))
            .help("give each beacon its own, or remove one row");
    } else {
        seen.insert(identity, row.line);
    }
    Some(identity)
}

fn device(row: &Row<'_>, record: &str, devices: KnownDevices<'_>) -> Result<Option<DeviceId>, Reported> {
    let text = row.get("device");
    if text.is_empty() {
        return Ok(None);
    }
    let id = DeviceId::new(text).map_err(|error| {
        row.fault(record, format!("device: {error}"));
        Reported
    })?;
    if devices.holds(&id) {
        return Ok(Some(id));
    }
    let near = Some(nearest(text, &devices.few())).filter(|help| help.starts_with("did you mean"));
    let (message, otherwise) = match devices {
        KnownDevices::Registry(_) => ("is not registered", "register the device first, or correct the id"),
        _ => ("is not in devices.csv", "add a row for it there, or correct the id"),
    };
    row.fault(record, format!("device \"{text}\" {message}")).help(near.unwrap_or_else(|| otherwise.to_owned()));
    Err(Reported)
}

fn place(row: &Row<'_>, record: &str, plan: &Plan) -> Result<Option<(Point, LevelOrdinal)>, Reported> {
    let (x, y, level) = (row.number(record, "x"), row.number(record, "y"), level(row, record, plan));
    let (x, y, level) = (x?, y?, level?);
    let (x, y) = match (x, y) {
        (Some(x), Some(y)) => (x, y),
        (None, None) => {
            if level.is_some() && row.get("device").is_empty() {
                row.fault(record, "it has a level but no place").help("write x and y in metres from the origin");
                return Err(Reported);
            }
            return Ok(None);
        }
        (x, _) => {
            let missing = if x.is_none() { "x" } else { "y" };
            row.fault(record, format!("{missing} is missing")).help("write both x and y, or neither");
            return Err(Reported);
        }
    };
    let point = Point { x, y };
    if !geometry::is_near(point) {
        row.fault(record, format!("the place ({x}, {y}) is more than {} km from the site's origin", geometry::MAX_KM))
            .help("x and y are metres in the site frame");
        return Err(Reported);
    }
    if let Some(level) = level.or(plan.only_level()) {
        let point = Point { x: geometry::millimetres(x), y: geometry::millimetres(y) };
        return Ok(Some((point, level)));
    }
    if plan.levels.is_some() {
        row.fault(record, "level is missing").help("a site with several levels needs it for each fixed beacon");
    }
    Err(Reported)
}

fn level(row: &Row<'_>, record: &str, plan: &Plan) -> Result<Option<LevelOrdinal>, Reported> {
    let text = row.get("level");
    if text.is_empty() {
        return Ok(None);
    }
    let Ok(ordinal) = text.parse::<i16>() else {
        row.fault(record, format!("level \"{}\" is not a whole number", short(text)))
            .help("write 0 for the ground floor");
        return Err(Reported);
    };
    if let Some((message, help)) = plan.unknown_level(LevelOrdinal(ordinal)) {
        row.fault(record, message).help(help);
        return Err(Reported);
    }
    Ok(Some(LevelOrdinal(ordinal)))
}

fn measured_power(row: &Row<'_>, record: &str) -> Result<Option<MeasuredPower>, Reported> {
    let Some(number) = row.number(record, "measured_power")? else { return Ok(None) };
    MeasuredPower::new(number).map(Some).map_err(|error| {
        row.fault(record, format!("measured_power: {error}"));
        Reported
    })
}
