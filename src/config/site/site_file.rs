//! `site.toml`: the site, its levels and its receivers.

use std::collections::HashMap;

use toml::de::DeValue;

use super::floor_plan::{self, PlanEntry};
use super::geometry;
use super::presence::{self, MOST_MARGIN};
use crate::config::diagnostic::FileReport;
use crate::config::text;
use crate::config::toml_file::{Document, Keys, number};
use crate::model::{Frame, LatLon, LevelOrdinal, MeasuredPower, Metres, OriginError, Point, ReceiverId, SiteId};
use crate::registry::{DeviceKind, KindMargins, Level, RadioDefaults, Receiver, Registry, Ring, Site};

/// A site has tens of levels and hundreds of receivers: 4 MiB is far beyond.
const MAX_BYTES: u64 = 4 << 20;
/// Where most receivers hang, in metres above the floor, unless `z` says otherwise.
const USUAL_RECEIVER_HEIGHT: Metres = 2.5;
/// Corners of an outline.
const MAX_OUTLINE: usize = 10_000;

/// The keys of the site itself.
pub(super) const SITE_KEYS: &[&str] =
    &["id", "name", "time_zone", "origin", "path_loss_exponent", "measured_power", "kind"];
const KEYS: &[&str] =
    &["id", "name", "time_zone", "origin", "path_loss_exponent", "measured_power", "kind", "level", "receiver"];
const ORIGIN_KEYS: &[&str] = &["latitude", "longitude", "bearing"];
const KIND_KEYS: &[&str] = &["customer", "staff", "asset"];
const KIND_SETTINGS: &[&str] = &[presence::MARGIN];
pub(super) const LEVEL_KEYS: &[&str] = &["ordinal", "name", "elevation", "outline", "plan"];
pub(super) const RECEIVER_KEYS: &[&str] = &["id", "x", "y", "z", "latitude", "longitude", "level", "rssi_offset"];

/// What the other files need of the site.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// None where the origin is faulty.
    pub(super) frame: Option<Frame>,
    /// None where they are not all known.
    pub(super) levels: Option<Vec<LevelOrdinal>>,
    /// Whether the levels are those of a registry, not those of a file.
    pub(super) is_registered: bool,
}

impl Plan {
    /// What is registered.
    pub(super) fn of(registry: &Registry) -> Self {
        let levels = registry.site().levels.iter().map(|level| level.ordinal).collect();
        Self { frame: Some(*registry.frame()), levels: Some(levels), is_registered: true }
    }

    /// The only level there is.
    pub(super) fn only_level(&self) -> Option<LevelOrdinal> {
        match self.levels.as_deref() {
            Some(&[level]) => Some(level),
            _ => None,
        }
    }

    /// Why that level cannot be; none where it is there, or where that is not known.
    pub(super) fn unknown_level(&self, level: LevelOrdinal) -> Option<(String, String)> {
        let levels = self.levels.as_deref().filter(|levels| !levels.contains(&level))?;
        let known: Vec<String> = levels.iter().map(ToString::to_string).collect();
        if self.is_registered {
            return Some((
                format!("the site has no level {level}"),
                format!("its levels are {}; add the level first, or correct the number", known.join(", ")),
            ));
        }
        Some((
            format!("level {level} is not in site.toml"),
            format!("its levels are {}; add a [[level]] there or correct the number", known.join(", ")),
        ))
    }
}

/// What `site.toml` holds.
#[derive(Debug, Default)]
pub(super) struct SiteFile {
    pub(super) site: Option<Site>,
    pub(super) receivers: Vec<Receiver>,
    /// The ids of faulty receivers too; none where not all are known.
    pub(super) receiver_ids: Option<Vec<ReceiverId>>,
    pub(super) plan: Plan,
    /// The floor plans that are named; their pictures are not yet looked at.
    pub(super) floor_plans: Vec<(LevelOrdinal, PlanEntry)>,
}

pub(super) fn load(report: &FileReport) -> SiteFile {
    let help = "every site directory needs it; docs/site-directory.md has an example to start from";
    let Some(text) = text::read(report, MAX_BYTES, help) else { return SiteFile::default() };
    let document = Document::parse(&text, report);
    let keys = document.root(report, KEYS);

    let head = head(&keys);
    let LevelTables { levels, floor_plans, complete } = levels(&keys);
    let mut ordinals: Vec<LevelOrdinal> = levels.iter().map(|level| level.ordinal).collect();
    ordinals.sort_unstable();
    let levels_known = complete && !document.is_scattered();
    let plan = Plan { frame: head.frame, levels: levels_known.then_some(ordinals), is_registered: false };
    let (receivers, receiver_ids) = receivers(&keys, &plan);
    let receiver_ids = receiver_ids.filter(|_| !document.is_scattered());
    SiteFile { site: head.with(levels), receivers, receiver_ids, plan, floor_plans }
}

/// The site itself while it is read.
pub(super) struct Head {
    id: Option<SiteId>,
    name: Option<String>,
    time_zone: Option<String>,
    pub(super) frame: Option<Frame>,
    radio: RadioDefaults,
    margins: KindMargins,
}

impl Head {
    pub(super) fn with(self, levels: Vec<Level>) -> Option<Site> {
        let (id, time_zone, frame) = (self.id?, self.time_zone?, self.frame?);
        let name = self.name.unwrap_or_else(|| id.to_string());
        Some(Site { id, name, time_zone, frame, levels, radio: self.radio, margins: self.margins })
    }
}

pub(super) fn head(keys: &Keys<'_, '_>) -> Head {
    Head {
        id: keys.required("id", "write id = \"store-1\"", SiteId::new),
        name: keys.text("name").map(str::to_owned),
        time_zone: keys.required("time_zone", "write an IANA time zone, such as \"Europe/Paris\"", time_zone),
        frame: origin(keys),
        radio: radio(keys),
        margins: margins(keys),
    }
}

fn time_zone(name: &str) -> Result<String, String> {
    // The name decides which machine-independent rules apply; "/etc/localtime" and the like are no names.
    match jiff::tz::TimeZone::get(name) {
        Ok(zone) if zone.iana_name().is_some() => Ok(zone.iana_name().unwrap_or(name).to_owned()),
        _ => Err(format!(
            "\"{}\" is no IANA time zone; write one such as \"Europe/Paris\" or \"UTC\"",
            text::short(name)
        )),
    }
}

fn origin(keys: &Keys<'_, '_>) -> Option<Frame> {
    let help = "write origin = { latitude = 48.8566, longitude = 2.3522, bearing = 0.0 }";
    if !keys.has("origin") {
        keys.missing("origin", help);
        return None;
    }
    let origin = keys.table("origin", ORIGIN_KEYS)?;
    for key in ["latitude", "longitude"] {
        if !origin.has(key) {
            origin.missing(key, help);
        }
    }
    let latitude = origin.number("latitude");
    let longitude = origin.number("longitude");
    let bearing = if origin.has("bearing") { origin.number("bearing") } else { Some(0.0) };
    // Each number is judged by itself, so that two wrong ones are two faults.
    let good = LatLon { latitude: 0.0, longitude: 0.0 };
    let checks = [
        ("latitude", latitude.map(|latitude| Frame::new(LatLon { latitude, ..good }, 0.0))),
        ("longitude", longitude.map(|longitude| Frame::new(LatLon { longitude, ..good }, 0.0))),
        ("bearing", bearing.map(|bearing| Frame::new(good, bearing))),
    ];
    for (key, check) in checks {
        if let Some(Err(error)) = check {
            let help = matches!(error, OriginError::Latitude(_)).then_some("are latitude and longitude swapped?");
            origin.fault_at(key, error.to_string(), help);
        }
    }
    Frame::new(LatLon { latitude: latitude?, longitude: longitude? }, bearing?).ok()
}

fn radio(keys: &Keys<'_, '_>) -> RadioDefaults {
    let mut radio = RadioDefaults::default();
    // 2 is free space; below 1 and above 6 no building was ever measured.
    if let Some(exponent) = keys.number_in("path_loss_exponent", 1.0, 6.0, "") {
        radio.path_loss_exponent = exponent;
    }
    if let Some(power) = keys.number("measured_power") {
        match MeasuredPower::new(power) {
            Ok(power) => radio.measured_power = power,
            Err(error) => keys.fault_at("measured_power", error.to_string(), None),
        }
    }
    radio
}

/// `[kind.asset]` and so on.
fn margins(keys: &Keys<'_, '_>) -> KindMargins {
    let Some(kinds) = keys.table("kind", KIND_KEYS) else { return KindMargins::default() };
    let margin = |kind: DeviceKind| {
        let mut settings = kinds.table(kind.as_str(), KIND_SETTINGS)?;
        settings.name_record(format!("[kind.{}]", kind.as_str()));
        settings.number_in(presence::MARGIN, -MOST_MARGIN, MOST_MARGIN, " m")
    };
    let [customer, staff, asset] = DeviceKind::ALL.map(|kind| margin(kind).unwrap_or_default());
    KindMargins { customer, staff, asset }
}

struct LevelTables {
    /// Lowest first.
    levels: Vec<Level>,
    floor_plans: Vec<(LevelOrdinal, PlanEntry)>,
    /// Whether all are known.
    complete: bool,
}

fn levels(keys: &Keys<'_, '_>) -> LevelTables {
    let mut found = LevelTables { levels: Vec::new(), floor_plans: Vec::new(), complete: true };
    let tables = keys.tables("level", LEVEL_KEYS);
    if tables.is_empty() {
        if !keys.has("level") {
            keys.missing("level", "a site has at least one level: write [[level]] with ordinal = 0");
        }
        return LevelTables { complete: false, ..found };
    }
    let several = tables.len() > 1;
    let mut lines: HashMap<LevelOrdinal, usize> = HashMap::new();
    for mut table in tables {
        let Some(ordinal) = level_ordinal(&mut table) else {
            found.complete = false;
            continue;
        };
        if let Some(first) = lines.insert(ordinal, table.line_of("ordinal")) {
            let message = format!("the ordinal {ordinal} is taken by the level on line {first}");
            table.fault_at("ordinal", message, Some("give each level its own"));
            continue;
        }
        if several && !table.has("elevation") {
            table.missing("elevation", "with several levels each needs the height of its floor in metres");
        }
        found.levels.push(level(&table, ordinal));
        found.floor_plans.extend(floor_plan::entry(&table, floor_plan::KEYS).map(|plan| (ordinal, plan)));
    }
    found.levels.sort_by_key(|level| level.ordinal);
    found
}

/// The ordinal of a level, which names it in messages from then on.
pub(super) fn level_ordinal(level: &mut Keys<'_, '_>) -> Option<LevelOrdinal> {
    let ordinal = required_ordinal(level, "ordinal", "write ordinal = 0 for the ground floor")?;
    level.name_record(format!("level {ordinal}"));
    Some(ordinal)
}

/// The level without its floor plan.
pub(super) fn level(keys: &Keys<'_, '_>, ordinal: LevelOrdinal) -> Level {
    let elevation = keys.number_in("elevation", -1_000.0, 1_000.0, " m").unwrap_or(0.0);
    let name = keys.text("name").map_or_else(|| format!("Level {ordinal}"), str::to_owned);
    Level { ordinal, name, elevation, outline: outline(keys), plan: None }
}

fn required_ordinal(keys: &Keys<'_, '_>, key: &str, help: &str) -> Option<LevelOrdinal> {
    if !keys.has(key) {
        keys.missing(key, help);
        return None;
    }
    let integer = keys.integer(key)?;
    let ordinal = i16::try_from(integer).ok().filter(|n| (-200..=200).contains(n));
    if ordinal.is_none() {
        keys.fault_at(key, format!("level {integer} must lie between -200 and 200"), None);
    }
    ordinal.map(LevelOrdinal)
}

fn outline(level: &Keys<'_, '_>) -> Option<Ring> {
    let corners = level.array("outline", "an array of corners [[x, y], …]");
    if !level.has("outline") || (corners.is_empty() && level.array("outline", "").is_empty()) {
        return None;
    }
    if corners.len() > MAX_OUTLINE {
        level.fault_at("outline", format!("the outline has more than {MAX_OUTLINE} corners"), None);
        return None;
    }
    let mut ring = Vec::with_capacity(corners.len());
    let mut lines = Vec::with_capacity(corners.len());
    let mut failed = false;
    for (at, (value, line)) in corners.iter().enumerate() {
        let point = match value {
            DeValue::Array(pair) => match level.elements(pair).as_slice() {
                [(x, _), (y, _)] => number(x).zip(number(y)),
                _ => None,
            },
            _ => None,
        };
        match point {
            Some((x, y)) if geometry::is_near(Point { x, y }) => {
                ring.push(Point { x: geometry::millimetres(x), y: geometry::millimetres(y) });
                lines.push(*line);
            }
            Some((x, y)) => {
                failed = true;
                let help = format!("x and y are metres from the origin, at most {}", geometry::MAX_DISTANCE);
                level.fault(*line, format!("corner {} of the outline [{x}, {y}] is out of range", at + 1), Some(help));
            }
            None => {
                failed = true;
                level.fault(*line, format!("corner {} of the outline must be two numbers [x, y]", at + 1), None);
            }
        }
    }
    if failed {
        return None;
    }
    match geometry::ring(&ring) {
        Ok(ring) => Some(ring),
        Err(fault) => {
            let line = fault.corner().and_then(|at| lines.get(at).copied());
            level.fault(
                line.unwrap_or_else(|| level.line_of("outline")),
                format!("the outline {}", fault.describe(|p| format!("[{:.2}, {:.2}]", p.x, p.y))),
                Some(fault.help().to_owned()),
            );
            None
        }
    }
}

/// The receivers without fault, and the ids of all.
fn receivers(keys: &Keys<'_, '_>, plan: &Plan) -> (Vec<Receiver>, Option<Vec<ReceiverId>>) {
    let mut complete = true;
    let mut lines: HashMap<ReceiverId, usize> = HashMap::new();
    let mut receivers = Vec::new();
    for mut receiver in keys.tables("receiver", RECEIVER_KEYS) {
        let id = receiver_id(&mut receiver);
        complete &= id.is_some();
        if let Some(id) = &id {
            if let Some(first) = lines.get(id) {
                let message = format!("the id \"{id}\" is taken by the receiver on line {first}");
                receiver.fault_at("id", message, Some("give each receiver its own"));
            } else {
                lines.insert(id.clone(), receiver.line_of("id"));
            }
        }
        receivers.extend(self::receiver(&receiver, id, plan));
    }
    (receivers, complete.then(|| lines.into_keys().collect()))
}

/// The id of a receiver, which names it in messages from then on.
pub(super) fn receiver_id(receiver: &mut Keys<'_, '_>) -> Option<ReceiverId> {
    let id = receiver.required("id", "write id = \"r1\"", ReceiverId::new)?;
    receiver.name_record(format!("receiver \"{id}\""));
    Some(id)
}

pub(super) fn receiver(receiver: &Keys<'_, '_>, id: Option<ReceiverId>, plan: &Plan) -> Option<Receiver> {
    let point = receiver_point(receiver, plan);
    let z = if receiver.has("z") {
        receiver.number_in("z", -100.0, 100.0, " m above the floor")
    } else {
        Some(USUAL_RECEIVER_HEIGHT)
    };
    let level = receiver_level(receiver, plan);
    let rssi_offset =
        if receiver.has("rssi_offset") { receiver.number_in("rssi_offset", -60.0, 60.0, " dB") } else { Some(0.0) };
    let Point { x, y } = point?;
    let point = Point { x: geometry::millimetres(x), y: geometry::millimetres(y) };
    Some(Receiver { id: id?, point, z: z?, level: level?, rssi_offset: rssi_offset? })
}

fn receiver_point(receiver: &Keys<'_, '_>, plan: &Plan) -> Option<Point> {
    let [has_x, has_y, has_latitude, has_longitude] = ["x", "y", "latitude", "longitude"].map(|key| receiver.has(key));
    if (has_x || has_y) && (has_latitude || has_longitude) {
        let key = if has_latitude { "latitude" } else { "longitude" };
        receiver.fault_at(key, "the place is given twice", Some("write either x and y or latitude and longitude"));
        return None;
    }
    if !(has_x || has_y || has_latitude || has_longitude) {
        receiver.missing("x", "write x and y in metres from the origin, or latitude and longitude");
        return None;
    }
    if has_x || has_y {
        for key in ["x", "y"] {
            if !receiver.has(key) {
                receiver.missing(key, "write x and y in metres from the origin");
            }
        }
        let most = geometry::MAX_DISTANCE;
        let (x, y) = (receiver.number_in("x", -most, most, " m"), receiver.number_in("y", -most, most, " m"));
        return Some(Point { x: x?, y: y? });
    }
    for key in ["latitude", "longitude"] {
        if !receiver.has(key) {
            receiver.missing(key, "write latitude and longitude in degrees");
        }
    }
    let latitude = receiver.number_in("latitude", -90.0, 90.0, " degrees");
    let longitude = receiver.number_in("longitude", -180.0, 180.0, " degrees");
    let at = LatLon { latitude: latitude?, longitude: longitude? };
    let Some(frame) = plan.frame else { return Some(Point::default()) };
    if let Some(point) = geometry::project(&frame, at) {
        return Some(point);
    }
    receiver.fault_at(
        "latitude",
        format!("[{}, {}] is more than {} km from the site's origin", at.latitude, at.longitude, geometry::MAX_KM),
        Some("are latitude and longitude swapped?"),
    );
    None
}

fn receiver_level(receiver: &Keys<'_, '_>, plan: &Plan) -> Option<LevelOrdinal> {
    if !receiver.has("level") {
        if let (None, Some(_)) = (plan.only_level(), &plan.levels) {
            receiver.missing("level", "a site with several levels needs it: write level = 0");
        }
        return plan.only_level();
    }
    let level = required_ordinal(receiver, "level", "")?;
    if let Some((message, help)) = plan.unknown_level(level) {
        receiver.fault_at("level", message, Some(&help));
        return None;
    }
    Some(level)
}
