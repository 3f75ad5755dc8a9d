//! A registry as the files of a site directory: for people to read, and for version control to compare.
//!
//! The same registry gives the same bytes, in the order of its lists. Reading them back gives an equal registry, as long as its
//! records came from readers, which take places to the decimals that are written here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use super::forms::{string, to_json};
use super::{BEACONS, CALIBRATION, DEVICES, SITE, TRIGGERS, ZONES, calibration_text, geometry, labels, triggers};
use crate::model::Point;
use crate::registry::{Beacon, Device, DeviceKind, FloorPlan, Level, Receiver, Record, Registry, Rules, Zone};

/// The texts of `site.toml`, `zones.geojson`, `beacons.csv` and `devices.csv`, of `triggers.toml` where there are rules, and of
/// `calibration.json` where there was a survey, by their names.
pub fn site_texts(registry: &Registry) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::from([
        (SITE.to_owned(), site(registry)),
        (ZONES.to_owned(), zones(registry)),
        (BEACONS.to_owned(), beacons(registry)),
        (DEVICES.to_owned(), devices(registry)),
    ]);
    if **registry.rules() != Rules::default() {
        texts.insert(TRIGGERS.to_owned(), triggers::text(registry.rules()));
    }
    if let Some(calibration) = registry.calibration() {
        texts.insert(CALIBRATION.to_owned(), calibration_text(&registry.site().id, calibration));
    }
    texts
}

/// A float of TOML: never without a point or an exponent.
fn float(number: f64) -> String {
    format!("{:?}", number + 0.0)
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    string(&mut out, text);
    out
}

fn site(registry: &Registry) -> String {
    let site = registry.site();
    let origin = site.frame.origin();
    let mut out = String::new();
    // Writing into a string cannot fail, here and below.
    let _ = write!(
        out,
        "id = {}\nname = {}\ntime_zone = {}\norigin = {{ latitude = {}, longitude = {}, bearing = {} }}\n\
         path_loss_exponent = {}\nmeasured_power = {}\n",
        quoted(site.id.as_str()),
        quoted(&site.name),
        quoted(&site.time_zone),
        float(origin.latitude),
        float(origin.longitude),
        float(site.frame.bearing()),
        float(site.radio.path_loss_exponent),
        float(site.radio.measured_power.get()),
    );
    for kind in DeviceKind::ALL {
        let margin = site.margins.of(kind);
        if margin != 0.0 {
            let _ = write!(out, "\n[kind.{}]\nmargin_m = {}\n", kind.as_str(), float(margin));
        }
    }
    site.levels.iter().for_each(|of| level(&mut out, of));
    registry.receivers().iter().for_each(|of| receiver(&mut out, of));
    out
}

fn level(out: &mut String, level: &Level) {
    let Level { ordinal, name, elevation, outline, plan } = level;
    let _ =
        write!(out, "\n[[level]]\nordinal = {ordinal}\nname = {}\nelevation = {}\n", quoted(name), float(*elevation));
    if let Some(outline) = outline {
        let corner = |point: &Point| {
            format!("[{}, {}]", float(geometry::millimetres(point.x)), float(geometry::millimetres(point.y)))
        };
        let corners: Vec<String> = outline.iter().map(corner).collect();
        // A few corners fit a line; of many each has its own, so that a change is seen.
        let _ = match corners.len() {
            0..=8 => writeln!(out, "outline = [{}]", corners.join(", ")),
            _ => writeln!(out, "outline = [\n  {},\n]", corners.join(",\n  ")),
        };
    }
    if let Some(FloorPlan { file, corner, metres_per_pixel, bearing, .. }) = plan {
        let _ = writeln!(
            out,
            "plan = {{ file = {}, x = {}, y = {}, metres_per_pixel = {}, bearing = {} }}",
            quoted(file),
            float(geometry::millimetres(corner.x)),
            float(geometry::millimetres(corner.y)),
            float(*metres_per_pixel),
            float(*bearing),
        );
    }
}

fn receiver(out: &mut String, receiver: &Receiver) {
    let Receiver { id, point, z, level, rssi_offset } = receiver;
    let _ = write!(
        out,
        "\n[[receiver]]\nid = {}\nx = {}\ny = {}\nz = {}\nlevel = {level}\n",
        quoted(id.as_str()),
        float(geometry::millimetres(point.x)),
        float(geometry::millimetres(point.y)),
        float(*z),
    );
    if *rssi_offset != 0.0 {
        let _ = writeln!(out, "rssi_offset = {}", float(*rssi_offset));
    }
}

fn zones(registry: &Registry) -> String {
    let usual = Zone::whole_site(registry.site());
    let mut out = "{\n\"type\": \"FeatureCollection\",\n\"features\": [".to_owned();
    let mut is_first = true;
    // The whole site has no feature of its own where nothing is said of it.
    for zone in registry.zones().iter().filter(|zone| ***zone != usual) {
        let form = to_json(&Record::Zone(std::sync::Arc::clone(zone)), registry.frame());
        let is_said = |value: &Value| match value {
            Value::Null => false,
            Value::Object(members) => !members.is_empty(),
            _ => true,
        };
        let properties = form["properties"].as_object().into_iter().flatten().filter(|(_, value)| is_said(value));
        let properties: serde_json::Map<String, Value> =
            properties.map(|(name, value)| (name.clone(), value.clone())).collect();
        let _ = write!(
            out,
            "{}\n{{\n  \"type\": \"Feature\",\n  \"properties\": {},\n  \"geometry\": {}\n}}",
            if is_first { "" } else { "," },
            spaced(&Value::Object(properties)),
            spaced(&form["geometry"]),
        );
        is_first = false;
    }
    out.push_str(if is_first { "]\n}\n" } else { "\n]\n}\n" });
    out
}

fn beacons(registry: &Registry) -> String {
    let mut out = "id,identity,device,x,y,level,measured_power\n".to_owned();
    for beacon in registry.beacons() {
        let Beacon { id, identity, device, fixed, measured_power } = beacon.as_ref();
        let _ = write!(out, "{id},{identity},{},", device.as_ref().map_or("", |device| device.as_str()));
        let _ = match fixed {
            Some((point, level)) => {
                write!(out, "{},{},{level},", geometry::millimetres(point.x), geometry::millimetres(point.y))
            }
            None => write!(out, ",,,"),
        };
        if let Some(power) = measured_power {
            let _ = write!(out, "{}", power.get() + 0.0);
        }
        out.push('\n');
    }
    out
}

fn devices(registry: &Registry) -> String {
    let mut out = "id,consent,labels,kind\n".to_owned();
    for device in registry.devices() {
        let Device { id, kind, consent, labels } = device.as_ref();
        let labels = field(labels::to_text(labels));
        let _ = writeln!(out, "{id},{},{labels},{}", consent.0.join(";"), kind.as_str());
    }
    out
}

/// A field of CSV (RFC 4180), in quotes where it needs them.
fn field(text: String) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The value on one line, with a space after each comma and colon.
fn spaced(value: &Value) -> String {
    let mut bytes = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced));
    match written.ok().and_then(|()| String::from_utf8(bytes).ok()) {
        Some(text) => text,
        None => value.to_string(),
    }
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests;
