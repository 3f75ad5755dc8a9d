//! Records into JSON.

use serde_json::{Map, Value, json};

use crate::config::site::geometry;
use crate::model::{Frame, Point, format_duration};
use crate::registry::{
    Beacon, Device, DeviceKind, FloorPlan, Level, PresenceSettings, Receiver, Record, Ring, Shape, Site, Zone,
};

/// Decimals of [`zone_json_with_shape`]: a tenth of a millimetre is nearer to one place of 8 decimals than to any other,
/// so that a shape that is sent back unchanged is unchanged.
const SHAPE_SCALE: f64 = 1e4;

/// The record in its JSON form; the same record gives the same bytes.
pub fn to_json(record: &Record, frame: &Frame) -> Value {
    match record {
        Record::Site(site) => self::site(site),
        Record::Level(level) => self::level(level),
        Record::Receiver(receiver) => self::receiver(receiver),
        Record::Zone(zone) => self::zone(zone, frame),
        Record::Device(device) => self::device(device),
        Record::Beacon(beacon) => self::beacon(beacon),
        // Texts, numbers and maps with texts for keys have a JSON form.
        Record::TriggerSettings(settings) => json!(settings),
        Record::Trigger(rule) => json!(rule),
    }
}

/// The zone for who draws: beside its JSON form its `id`, and `shape_m`, its shape in metres of the site frame:
/// `{"polygons": [[[[x, y], …], …]]}`, rings not closed, or `{"centre": [x, y], "radius": r}`; null for the whole site.
pub fn zone_json_with_shape(zone: &Zone, frame: &Frame) -> Value {
    let place = |point: Point| json!([point.x, point.y].map(|metres| geometry::decimals(metres, SHAPE_SCALE)));
    let ring = |ring: &Ring| ring.iter().copied().map(place).collect::<Vec<Value>>();
    let shape = match &zone.shape {
        Shape::Site => Value::Null,
        Shape::Circle { centre, radius } => {
            json!({"centre": place(*centre), "radius": geometry::millimetres(*radius)})
        }
        Shape::Polygons(parts) => {
            let rings = |(outer, holes): &(Ring, Vec<Ring>)| {
                std::iter::once(outer).chain(holes).map(ring).collect::<Vec<Vec<Value>>>()
            };
            json!({"polygons": parts.iter().map(rings).collect::<Vec<_>>()})
        }
    };
    let Value::Object(form) = self::zone(zone, frame) else { return Value::Null };
    let mut whole = Map::new();
    for (key, value) in form {
        whole.insert(key.clone(), value);
        if key == "type" {
            whole.insert("id".to_owned(), json!(zone.id));
        }
    }
    whole.insert("shape_m".to_owned(), shape);
    Value::Object(whole)
}

fn site(site: &Site) -> Value {
    let Site { id, name, time_zone, frame, levels: _, radio, margins } = site;
    let origin = frame.origin();
    let [customer, staff, asset] = DeviceKind::ALL.map(|kind| json!({"margin_m": margins.of(kind) + 0.0}));
    json!({
        "id": id,
        "name": name,
        "time_zone": time_zone,
        // To the last digit: all places of the site follow from it.
        "origin": {
            "latitude": origin.latitude + 0.0,
            "longitude": origin.longitude + 0.0,
            "bearing": frame.bearing() + 0.0,
        },
        "path_loss_exponent": radio.path_loss_exponent,
        "measured_power": radio.measured_power.get() + 0.0,
        "kind": {"customer": customer, "staff": staff, "asset": asset},
    })
}

fn level(level: &Level) -> Value {
    let Level { ordinal, name, elevation, outline, plan } = level;
    let corner = |point: &Point| [geometry::millimetres(point.x), geometry::millimetres(point.y)];
    let outline = outline.as_ref().map(|outline| distinct(outline.iter().map(corner)));
    json!({
        "ordinal": ordinal,
        "name": name,
        "elevation": elevation + 0.0,
        "outline": outline,
        "plan": plan.as_ref().map(floor_plan),
    })
}

fn floor_plan(plan: &FloorPlan) -> Value {
    let FloorPlan { file, media_type, width, height, corner, metres_per_pixel, bearing } = plan;
    json!({
        "file": file,
        "media_type": media_type.media_type(),
        "width": width,
        "height": height,
        "x": geometry::millimetres(corner.x),
        "y": geometry::millimetres(corner.y),
        "metres_per_pixel": metres_per_pixel,
        "bearing": bearing + 0.0,
    })
}

fn receiver(receiver: &Receiver) -> Value {
    let Receiver { id, point, z, level, rssi_offset } = receiver;
    json!({
        "id": id,
        "x": geometry::millimetres(point.x),
        "y": geometry::millimetres(point.y),
        "z": z + 0.0,
        "level": level,
        "rssi_offset": rssi_offset + 0.0,
    })
}

fn device(device: &Device) -> Value {
    let Device { id, kind, consent, labels } = device;
    json!({"id": id, "kind": kind, "consent": consent.0, "labels": labels})
}

fn beacon(beacon: &Beacon) -> Value {
    let Beacon { id, identity, device, fixed, measured_power } = beacon;
    json!({
        "id": id,
        "identity": identity.to_string(),
        "device": device,
        "x": fixed.map(|(point, _)| geometry::millimetres(point.x)),
        "y": fixed.map(|(point, _)| geometry::millimetres(point.y)),
        "level": fixed.map(|(_, level)| level),
        "measured_power": measured_power.map(|power| power.get() + 0.0),
    })
}

fn zone(zone: &Zone, frame: &Frame) -> Value {
    let Zone { id, name, level, shape, labels, metadata, presence } = zone;
    let mut properties = Map::new();
    properties.insert("id".to_owned(), json!(id));
    properties.insert("name".to_owned(), json!(name));
    properties.insert("level".to_owned(), json!(level));
    if let Shape::Circle { radius, .. } = shape {
        properties.insert("radius_m".to_owned(), json!(geometry::millimetres(*radius)));
    }
    properties.insert("labels".to_owned(), json!(labels));
    properties.insert("metadata".to_owned(), Value::Object(metadata.clone()));
    properties.extend(self::presence(presence));
    json!({"type": "Feature", "properties": properties, "geometry": geometry_of(shape, frame)})
}

/// The settings that are not the defaults, as properties.
fn presence(settings: &PresenceSettings) -> Map<String, Value> {
    let PresenceSettings {
        enter_probability,
        enter_after,
        exit_probability,
        exit_after,
        lost_after,
        dwell,
        max_hold,
        margin,
    } = settings;
    let default = PresenceSettings::default();
    let mut given = Map::new();
    let mut give = |key: &str, value: Value, usual: bool| {
        if !usual {
            given.insert(key.to_owned(), value);
        }
    };
    let text = |duration| json!(format_duration(duration));
    give("enter_probability", json!(enter_probability), *enter_probability == default.enter_probability);
    give("enter_after", text(*enter_after), *enter_after == default.enter_after);
    give("exit_probability", json!(exit_probability), *exit_probability == default.exit_probability);
    give("exit_after", text(*exit_after), *exit_after == default.exit_after);
    give("lost_after", text(*lost_after), *lost_after == default.lost_after);
    give("dwell", dwell.iter().copied().map(text).collect(), *dwell == default.dwell);
    give("max_hold", text(*max_hold), *max_hold == default.max_hold);
    give("margin_m", json!(margin + 0.0), Some(margin) == Some(&default.margin));
    given
}

fn geometry_of(shape: &Shape, frame: &Frame) -> Value {
    let place = |point: &Point| {
        let at = geometry::to_degrees(frame, *point);
        [at.longitude, at.latitude]
    };
    let ring = |ring: &Ring| {
        let mut ring = distinct(ring.iter().map(place));
        ring.extend(ring.first().copied());
        ring
    };
    let rings = |(outer, holes): &(Ring, Vec<Ring>)| {
        std::iter::once(outer).chain(holes).map(ring).collect::<Vec<Vec<[f64; 2]>>>()
    };
    match shape {
        Shape::Site => Value::Null,
        Shape::Circle { centre, .. } => json!({"type": "Point", "coordinates": place(centre)}),
        Shape::Polygons(parts) => match parts.as_slice() {
            [part] => json!({"type": "Polygon", "coordinates": rings(part)}),
            parts => {
                json!({"type": "MultiPolygon", "coordinates": parts.iter().map(rings).collect::<Vec<_>>()})
            }
        },
    }
}

/// The corners of a ring without those that are the one before, once rounded.
fn distinct(corners: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let mut ring: Vec<[f64; 2]> = corners.collect();
    ring.dedup();
    while ring.len() > 1 && ring.first() == ring.last() {
        ring.pop();
    }
    ring
}
