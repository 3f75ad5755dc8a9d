//! A whole registry out of the JSON forms in which it was stored.
//!
//! What is stored was judged before it was stored; here it only has to fit its types, so that a hundred thousand records
//! are there in a second. What does not fit is refused, never guessed.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::site::geometry;
use crate::model::{
    BeaconId, DeviceId, Frame, LatLon, LevelOrdinal, MeasuredPower, Metres, Point, Probability, ReceiverId, SiteId,
    ZoneId, parse_duration,
};
use crate::registry::{
    Beacon, Consent, Device, DeviceKind, FloorPlan, Kind, KindMargins, Labels, Level, PlanFormat, PresenceSettings,
    RadioDefaults, Receiver, Record, Registry, Ring, Rules, Shape, Site, Zone,
};

/// Most faults that are listed.
const MAX_LISTED: usize = 100;

/// The registry of these records, each in its JSON form. The site comes before its zones.
///
/// # Errors
/// What is wrong with the first hundred records that cannot be.
pub fn from_stored(records: impl Iterator<Item = (Kind, Vec<u8>)>) -> Result<Registry, Vec<String>> {
    let mut parts = Parts::default();
    let mut faults = Vec::new();
    for (number, (kind, bytes)) in records.enumerate() {
        if let Err(fault) = parts.add(kind, &bytes) {
            faults.push(format!("stored record {number}, a {kind}: {fault}"));
            if faults.len() == MAX_LISTED {
                return Err(faults);
            }
        }
    }
    let Parts { site, mut levels, receivers, zones, devices, beacons, rules } = parts;
    let Some(site) = site else {
        faults.push("no site is stored".to_owned());
        return Err(faults);
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    levels.sort_by_key(|level| level.ordinal);
    if let Some(pair) = levels.windows(2).find(|pair| pair[0].ordinal == pair[1].ordinal) {
        return Err(vec![format!("level {} is stored twice", pair[0].ordinal)]);
    }
    Registry::new(Site { levels, ..site }, receivers, zones, beacons, devices)
        .and_then(|registry| registry.with_rules(Arc::new(rules)))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// One record out of the JSON form in which it was stored. `frame` is that of the site.
///
/// # Errors
/// What is wrong with it.
pub fn record_from_stored(kind: Kind, bytes: &[u8], frame: &Frame) -> Result<Record, String> {
    Ok(match kind {
        Kind::Site => Record::Site(Box::new(parsed::<SiteForm>(bytes)?.site()?)),
        Kind::Level => Record::Level(parsed::<LevelForm>(bytes)?.level()?),
        Kind::Receiver => Record::Receiver(Arc::new(parsed::<ReceiverForm>(bytes)?.receiver()?)),
        Kind::Zone => Record::Zone(Arc::new(parsed::<ZoneForm>(bytes)?.zone(frame)?)),
        Kind::Device => Record::Device(Arc::new(parsed::<DeviceForm>(bytes)?.device())),
        Kind::Beacon => Record::Beacon(Arc::new(parsed::<BeaconForm>(bytes)?.beacon()?)),
        Kind::TriggerSettings => Record::TriggerSettings(Arc::new(parsed(bytes)?)),
        Kind::Trigger => Record::Trigger(Arc::new(parsed(bytes)?)),
    })
}

#[derive(Default)]
struct Parts {
    site: Option<Site>,
    levels: Vec<Level>,
    receivers: Vec<Receiver>,
    zones: Vec<Zone>,
    devices: Vec<Device>,
    beacons: Vec<Beacon>,
    rules: Rules,
}

impl Parts {
    fn add(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), String> {
        match kind {
            Kind::Site if self.site.is_some() => return Err("there are two".to_owned()),
            Kind::Site => self.site = Some(parsed::<SiteForm>(bytes)?.site()?),
            Kind::Level => self.levels.push(parsed::<LevelForm>(bytes)?.level()?),
            Kind::Receiver => self.receivers.push(parsed::<ReceiverForm>(bytes)?.receiver()?),
            Kind::Zone => {
                let frame = self.site.as_ref().map(|site| site.frame).ok_or("the site comes later")?;
                self.zones.push(parsed::<ZoneForm>(bytes)?.zone(&frame)?);
            }
            Kind::Device => self.devices.push(parsed::<DeviceForm>(bytes)?.device()),
            Kind::Beacon => self.beacons.push(parsed::<BeaconForm>(bytes)?.beacon()?),
            Kind::TriggerSettings => self.rules.settings = Arc::new(parsed(bytes)?),
            Kind::Trigger => self.rules.triggers.push(Arc::new(parsed(bytes)?)),
        }
        Ok(())
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn near(x: f64, y: f64) -> Result<Point, String> {
    let point = Point { x, y };
    if geometry::is_near(point) { Ok(point) } else { Err(format!("[{x}, {y}] is out of range")) }
}

fn ring(corners: impl Iterator<Item = Result<Point, String>>) -> Result<Ring, String> {
    let ring = corners.collect::<Result<Ring, String>>()?;
    if ring.len() < 3 { Err(format!("a ring has {} corners", ring.len())) } else { Ok(ring) }
}

#[derive(Deserialize)]
struct SiteForm {
    id: SiteId,
    name: String,
    time_zone: String,
    origin: Origin,
    path_loss_exponent: f64,
    measured_power: MeasuredPower,
    kind: Kinds,
}

#[derive(Deserialize)]
struct Origin {
    latitude: f64,
    longitude: f64,
    bearing: f64,
}

#[derive(Deserialize)]
struct Kinds {
    customer: Margin,
    staff: Margin,
    asset: Margin,
}

#[derive(Deserialize)]
struct Margin {
    margin_m: Metres,
}

impl SiteForm {
    fn site(self) -> Result<Site, String> {
        let Self { id, name, time_zone, origin, path_loss_exponent, measured_power, kind } = self;
        let at = LatLon { latitude: origin.latitude, longitude: origin.longitude };
        let frame = Frame::new(at, origin.bearing).map_err(|error| error.to_string())?;
        let radio = RadioDefaults { path_loss_exponent, measured_power };
        let margins =
            KindMargins { customer: kind.customer.margin_m, staff: kind.staff.margin_m, asset: kind.asset.margin_m };
        Ok(Site { id, name, time_zone, frame, levels: Vec::new(), radio, margins })
    }
}

#[derive(Deserialize)]
struct LevelForm {
    ordinal: LevelOrdinal,
    name: String,
    elevation: Metres,
    outline: Option<Vec<[f64; 2]>>,
    plan: Option<PlanForm>,
}

#[derive(Deserialize)]
struct PlanForm {
    file: String,
    media_type: String,
    width: u32,
    height: u32,
    x: f64,
    y: f64,
    metres_per_pixel: f64,
    bearing: f64,
}

impl LevelForm {
    fn level(self) -> Result<Level, String> {
        let Self { ordinal, name, elevation, outline, plan } = self;
        let outline = outline.map(|corners| ring(corners.into_iter().map(|[x, y]| near(x, y)))).transpose()?;
        Ok(Level { ordinal, name, elevation, outline, plan: plan.map(PlanForm::plan).transpose()? })
    }
}

impl PlanForm {
    fn plan(self) -> Result<FloorPlan, String> {
        let Self { file, media_type, width, height, x, y, metres_per_pixel, bearing } = self;
        let media_type = PlanFormat::ALL
            .into_iter()
            .find(|format| format.media_type() == media_type)
            .ok_or_else(|| format!("\"{media_type}\" is no picture"))?;
        let file = super::super::floor_plan::file_name(&file)?;
        Ok(FloorPlan { file, media_type, width, height, corner: near(x, y)?, metres_per_pixel, bearing })
    }
}

#[derive(Deserialize)]
struct ReceiverForm {
    id: ReceiverId,
    x: f64,
    y: f64,
    z: Metres,
    level: LevelOrdinal,
    rssi_offset: f64,
}

impl ReceiverForm {
    fn receiver(self) -> Result<Receiver, String> {
        let Self { id, x, y, z, level, rssi_offset } = self;
        Ok(Receiver { id, point: near(x, y)?, z, level, rssi_offset })
    }
}

#[derive(Deserialize)]
struct DeviceForm {
    id: DeviceId,
    kind: DeviceKind,
    consent: Vec<String>,
    labels: Labels,
}

impl DeviceForm {
    fn device(self) -> Device {
        let Self { id, kind, consent, labels } = self;
        Device { id, kind, consent: Consent(consent), labels }
    }
}

#[derive(Deserialize)]
struct BeaconForm {
    id: BeaconId,
    identity: String,
    device: Option<DeviceId>,
    x: Option<f64>,
    y: Option<f64>,
    level: Option<LevelOrdinal>,
    measured_power: Option<MeasuredPower>,
}

impl BeaconForm {
    fn beacon(self) -> Result<Beacon, String> {
        let Self { id, identity, device, x, y, level, measured_power } = self;
        let identity = identity.parse().map_err(|error: crate::registry::IdentityError| error.to_string())?;
        let fixed = match (x, y, level) {
            (Some(x), Some(y), Some(level)) => Some((near(x, y)?, level)),
            (None, None, None) => None,
            _ => return Err("x, y and level are not all there".to_owned()),
        };
        Ok(Beacon { id, identity, device, fixed, measured_power })
    }
}

#[derive(Deserialize)]
struct ZoneForm {
    properties: Properties,
    geometry: Option<GeometryForm>,
}

#[derive(Deserialize)]
struct Properties {
    id: ZoneId,
    name: String,
    level: Option<LevelOrdinal>,
    radius_m: Option<Metres>,
    labels: Labels,
    metadata: serde_json::Map<String, serde_json::Value>,
    enter_probability: Option<Probability>,
    enter_after: Option<String>,
    exit_probability: Option<Probability>,
    exit_after: Option<String>,
    lost_after: Option<String>,
    dwell: Option<Vec<String>>,
    max_hold: Option<String>,
    margin_m: Option<Metres>,
}

type Rings = Vec<Vec<[f64; 2]>>;

#[derive(Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum GeometryForm {
    Point([f64; 2]),
    Polygon(Rings),
    MultiPolygon(Vec<Rings>),
}

impl ZoneForm {
    fn zone(self, frame: &Frame) -> Result<Zone, String> {
        let Self { properties, geometry } = self;
        let project = |[longitude, latitude]: [f64; 2]| {
            let at = geometry::rounded(LatLon { latitude, longitude });
            geometry::project(frame, at).ok_or_else(|| format!("[{longitude}, {latitude}] is out of range"))
        };
        let polygon = |rings: Rings| -> Result<(Ring, Vec<Ring>), String> {
            let mut rings = rings.into_iter().map(|mut corners| {
                corners.pop();
                ring(corners.into_iter().map(project))
            });
            let outer = rings.next().ok_or("a polygon has no ring")??;
            Ok((outer, rings.collect::<Result<_, String>>()?))
        };
        let shape = match (geometry, properties.radius_m) {
            (None, None) if properties.id.is_site() => Shape::Site,
            (Some(GeometryForm::Point(at)), Some(radius)) if radius > 0.0 => {
                Shape::Circle { centre: project(at)?, radius }
            }
            (Some(GeometryForm::Polygon(rings)), None) => Shape::Polygons(vec![polygon(rings)?]),
            (Some(GeometryForm::MultiPolygon(parts)), None) if !parts.is_empty() => {
                Shape::Polygons(parts.into_iter().map(polygon).collect::<Result<_, String>>()?)
            }
            _ => return Err("its geometry is none".to_owned()),
        };
        if matches!(shape, Shape::Site) != properties.level.is_none()
            || properties.id.is_site() != (shape == Shape::Site)
        {
            return Err("its level does not go with its geometry".to_owned());
        }
        properties.zone(shape)
    }
}

impl Properties {
    fn zone(self, shape: Shape) -> Result<Zone, String> {
        let usual = PresenceSettings::default();
        let duration = |text: Option<String>, usual| match text {
            Some(text) => parse_duration(&text).map_err(|error| error.to_string()),
            None => Ok(usual),
        };
        let mut dwell = Vec::new();
        for threshold in self.dwell.unwrap_or_default() {
            dwell.push(parse_duration(&threshold).map_err(|error| error.to_string())?);
        }
        if !dwell.is_sorted_by(|a, b| a < b) {
            return Err("its thresholds of dwell do not ascend".to_owned());
        }
        let presence = PresenceSettings {
            enter_probability: self.enter_probability.unwrap_or(usual.enter_probability),
            enter_after: duration(self.enter_after, usual.enter_after)?,
            exit_probability: self.exit_probability.unwrap_or(usual.exit_probability),
            exit_after: duration(self.exit_after, usual.exit_after)?,
            lost_after: duration(self.lost_after, usual.lost_after)?,
            dwell,
            max_hold: duration(self.max_hold, usual.max_hold)?,
            margin: self.margin_m.unwrap_or(usual.margin),
        };
        if presence.exit_probability > presence.enter_probability {
            return Err("exit_probability is above enter_probability".to_owned());
        }
        let Self { id, name, level, labels, metadata, .. } = self;
        Ok(Zone { id, name, level, shape, labels, metadata, presence })
    }
}
