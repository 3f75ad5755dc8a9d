//! Reads the site that is within the program. Directories are read by [`crate::config::load_site`], which explains faults;
//! here there are none: a test compares the two.

use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::model::{
    Frame, LatLon, LevelOrdinal, MeasuredPower, Point, Probability, ReceiverId, ZoneId, parse_duration,
};
use crate::registry::{
    Beacon, Consent, Device, DeviceKind, Labels, Level, PresenceSettings, RadioDefaults, Receiver, Registry, Ring,
    Shape, Site, Zone,
};

/// The texts of a site directory, each with the name that errors give it.
#[derive(Debug, Clone, Copy)]
pub struct SiteFiles<'a> {
    /// `site.toml`.
    pub site: (&'a str, &'a str),
    /// `zones.geojson`.
    pub zones: (&'a str, &'a str),
    /// `beacons.csv`.
    pub beacons: (&'a str, &'a str),
    /// `devices.csv`.
    pub devices: (&'a str, &'a str),
}

/// Reads a site from its texts.
///
/// # Errors
/// Where a text cannot be understood; the message names it.
pub fn load(files: &SiteFiles<'_>) -> anyhow::Result<Registry> {
    let (site, receivers) = read_site(files.site.1).context(files.site.0.to_owned())?;
    let zones = read_zones(files.zones.1, &site.frame).context(files.zones.0.to_owned())?;
    let beacons = read_beacons(files.beacons.1).context(files.beacons.0.to_owned())?;
    let devices = read_devices(files.devices.1).context(files.devices.0.to_owned())?;
    Registry::new(site, receivers, zones, beacons, devices)
        .map_err(|errors| anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

#[derive(serde::Deserialize)]
struct SiteToml {
    id: String,
    name: String,
    time_zone: String,
    origin: OriginToml,
    path_loss_exponent: Option<f64>,
    measured_power: Option<f64>,
    level: Vec<LevelToml>,
    #[serde(default)]
    receiver: Vec<ReceiverToml>,
}

#[derive(serde::Deserialize)]
struct OriginToml {
    latitude: f64,
    longitude: f64,
    #[serde(default)]
    bearing: f64,
}

#[derive(serde::Deserialize)]
struct LevelToml {
    ordinal: i16,
    name: String,
    elevation: f64,
    outline: Option<Vec<[f64; 2]>>,
}

#[derive(serde::Deserialize)]
struct ReceiverToml {
    id: ReceiverId,
    x: f64,
    y: f64,
    #[serde(default)]
    z: f64,
    #[serde(default)]
    level: i16,
    #[serde(default)]
    rssi_offset: f64,
}

fn read_site(text: &str) -> anyhow::Result<(Site, Vec<Receiver>)> {
    let file: SiteToml = toml::from_str(text)?;
    let origin = LatLon { latitude: file.origin.latitude, longitude: file.origin.longitude };
    let usual = RadioDefaults::default();
    let levels = file.level.into_iter().map(|level| Level {
        ordinal: LevelOrdinal(level.ordinal),
        name: level.name,
        elevation: level.elevation,
        outline: level.outline.map(|ring| ring.into_iter().map(|[x, y]| Point { x, y }).collect()),
    });
    let receivers = file.receiver.into_iter().map(|receiver| Receiver {
        id: receiver.id,
        point: Point { x: receiver.x, y: receiver.y },
        z: receiver.z,
        level: LevelOrdinal(receiver.level),
        rssi_offset: receiver.rssi_offset,
    });
    let site = Site {
        id: file.id.parse()?,
        name: file.name,
        time_zone: file.time_zone,
        frame: Frame::new(origin, file.origin.bearing)?,
        levels: levels.collect(),
        radio: RadioDefaults {
            path_loss_exponent: file.path_loss_exponent.unwrap_or(usual.path_loss_exponent),
            measured_power: file.measured_power.map_or(Ok(usual.measured_power), MeasuredPower::new)?,
        },
    };
    Ok((site, receivers.collect()))
}

fn read_zones(text: &str, frame: &Frame) -> anyhow::Result<Vec<Zone>> {
    let file: serde_json::Value = serde_json::from_str(text)?;
    let features = file["features"].as_array().context("has no features")?;
    features
        .iter()
        .enumerate()
        .map(|(at, zone)| read_zone(zone, frame).with_context(|| format!("feature {at}")))
        .collect()
}

fn read_zone(feature: &serde_json::Value, frame: &Frame) -> anyhow::Result<Zone> {
    let (properties, geometry) = (&feature["properties"], &feature["geometry"]);
    let point = |value: &serde_json::Value| -> anyhow::Result<Point> {
        let [longitude, latitude] = [0, 1].map(|at| value[at].as_f64()).map(|n| n.context("a coordinate is no number"));
        Ok(frame.to_site(LatLon { latitude: latitude?, longitude: longitude? }))
    };
    let ring = |value: &serde_json::Value| -> anyhow::Result<Ring> {
        let mut ring = value.as_array().context("a ring is no list")?.iter().map(point).collect::<Result<Ring, _>>()?;
        ring.pop();
        Ok(ring)
    };
    let polygon = |value: &serde_json::Value| -> anyhow::Result<(Ring, Vec<Ring>)> {
        let rings = value.as_array().context("a polygon is no list")?;
        let outer = ring(rings.first().context("a polygon has no ring")?)?;
        Ok((outer, rings[1..].iter().map(ring).collect::<Result<_, _>>()?))
    };
    let coordinates = &geometry["coordinates"];
    let shape = match geometry["type"].as_str() {
        Some("Polygon") => Shape::Polygons(vec![polygon(coordinates)?]),
        Some("MultiPolygon") => Shape::Polygons(
            coordinates.as_array().context("no polygons")?.iter().map(polygon).collect::<Result<_, _>>()?,
        ),
        Some("Point") => Shape::Circle {
            centre: point(coordinates)?,
            radius: properties["radius_m"].as_f64().context("a Point needs radius_m")?,
        },
        other => return Err(anyhow!("geometry {other:?} is no zone")),
    };
    let id = ZoneId::new(properties["id"].as_str().context("no id")?)?;
    let duration = |name: &str, usual: Duration| {
        properties[name].as_str().map_or(Ok(usual), parse_duration).with_context(|| name.to_owned())
    };
    let probability = |name: &str, usual: Probability| {
        properties[name].as_f64().map_or(Ok(usual), Probability::new).with_context(|| name.to_owned())
    };
    let usual = PresenceSettings::default();
    let dwell = properties["dwell"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    let labels = properties["labels"].as_object().into_iter().flatten();
    Ok(Zone {
        name: properties["name"].as_str().unwrap_or(id.as_str()).to_owned(),
        id,
        level: Some(LevelOrdinal(properties["level"].as_i64().unwrap_or(0).try_into()?)),
        shape,
        labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        metadata: properties["metadata"].as_object().cloned().unwrap_or_default(),
        presence: PresenceSettings {
            enter_after: duration("enter_after", usual.enter_after)?,
            exit_after: duration("exit_after", usual.exit_after)?,
            lost_after: duration("lost_after", usual.lost_after)?,
            max_hold: duration("max_hold", usual.max_hold)?,
            enter_probability: probability("enter_probability", usual.enter_probability)?,
            exit_probability: probability("exit_probability", usual.exit_probability)?,
            dwell: dwell.map(parse_duration).collect::<Result<_, _>>()?,
        },
    })
}

fn read_beacons(text: &str) -> anyhow::Result<Vec<Beacon>> {
    #[derive(serde::Deserialize)]
    struct Row {
        id: String,
        identity: String,
        device: Option<String>,
        x: Option<f64>,
        y: Option<f64>,
        level: Option<i16>,
        measured_power: Option<f64>,
    }
    rows(text, |row: Row| {
        Ok(Beacon {
            id: row.id.parse()?,
            identity: row.identity.parse()?,
            device: row.device.map(|id| id.parse()).transpose()?,
            fixed: row.x.zip(row.y).map(|(x, y)| (Point { x, y }, LevelOrdinal(row.level.unwrap_or(0)))),
            measured_power: row.measured_power.map(MeasuredPower::new).transpose()?,
        })
    })
}

fn read_devices(text: &str) -> anyhow::Result<Vec<Device>> {
    #[derive(serde::Deserialize)]
    struct Row {
        id: String,
        #[serde(default)]
        consent: String,
        #[serde(default)]
        labels: String,
        kind: Option<String>,
    }
    let list = |text: &str| -> Vec<String> { text.split(';').filter(|s| !s.is_empty()).map(str::to_owned).collect() };
    rows(text, |row: Row| {
        let mut consent = list(&row.consent);
        consent.sort();
        consent.dedup();
        let labels: Labels =
            list(&row.labels).iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        let kind = match row.kind.as_deref() {
            None | Some("customer") => DeviceKind::Customer,
            Some("staff") => DeviceKind::Staff,
            Some("asset") => DeviceKind::Asset,
            Some(other) => return Err(anyhow!("kind \"{other}\" is none of customer, staff, asset")),
        };
        Ok(Device { id: row.id.parse()?, kind, consent: Consent(consent), labels })
    })
}

fn rows<R: serde::de::DeserializeOwned, T>(
    text: &str,
    make: impl Fn(R) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .enumerate()
        .map(|(at, row)| make(row?).with_context(|| format!("row {}", at + 2)))
        .collect()
}
