//! `beaconfence zone`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::device::{label, labels};
use super::import::{self, ImportArgs};
use super::records::{self, How, Kind, ListArgs, RemoveArgs, ShowArgs, centimetres, text_of};
use super::table::{number, text};

const KIND: Kind = Kind {
    word: "zone",
    path: "/zones",
    columns: &[text("id"), text("name"), number("level"), text("shape"), text("labels")],
    row,
    is_posted: true,
    has_advice: true,
    id: |zone| zone.get("properties")?.get("id")?.as_str().map(str::to_owned),
};

/// Draws zones: named areas on a level
///
/// They are those of the gateway that runs; every change takes effect at once, and can be undone. A browser draws them on the
/// floor plan: docs/registration.md says how.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Add(Box<AddArgs>),
    /// Lists the zones, in the order of their ids
    List {
        /// Only those of this level
        #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true)]
        level: Option<i32>,
        #[command(flatten)]
        args: ListArgs,
    },
    /// Shows one zone, and where it is small for the accuracy there
    Show(ShowArgs),
    /// Removes zones; visits in them end
    Remove(RemoveArgs),
    /// Adds and changes zones from zones.geojson, or from an IMDF archive (.zip), all of them or none
    Import(ImportArgs),
}

/// Adds a zone, or changes one
///
/// In metres of the site: zone add tills --level 0 --polygon "0,0 4,0 4,3 0,3", or zone add door --level 0 --circle "5,5 2" for
/// two metres around a point. Holes, and shapes in degrees, come from a file: a GeoJSON feature as it is in zones.geojson.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id; it is part of the MQTT topic
    #[arg(value_name = "ID", required_unless_present = "file")]
    id: Option<String>,
    /// Its name for people
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    name: Option<String>,
    /// Its level
    #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true, conflicts_with = "file")]
    level: Option<i32>,
    /// Its corners in metres, as "X,Y X,Y X,Y"; may be given several times, for an area of several parts
    #[arg(long, value_name = "CORNERS", allow_hyphen_values = true, conflicts_with_all = ["file", "circle"], value_parser = corners)]
    polygon: Vec<Corners>,
    /// Its centre and radius in metres, as "X,Y RADIUS"
    #[arg(long, value_name = "CIRCLE", allow_hyphen_values = true, conflicts_with = "file", value_parser = circle)]
    circle: Option<Circle>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", conflicts_with = "file", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Free data that every event passes on: a JSON object
    #[arg(long, value_name = "JSON", conflicts_with = "file", value_parser = object)]
    metadata: Option<Value>,
    /// A device has entered when it is inside with that probability …
    #[arg(long, value_name = "P", conflicts_with = "file")]
    enter_probability: Option<f64>,
    /// … for that long, such as 3s
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    enter_after: Option<String>,
    /// It has left when the probability is below that …
    #[arg(long, value_name = "P", conflicts_with = "file")]
    exit_probability: Option<f64>,
    /// … for that long
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    exit_after: Option<String>,
    /// It is lost when nothing was heard of it for that long
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    lost_after: Option<String>,
    /// An event each after that long inside; more with commas, such as 1m,5m
    #[arg(long, value_name = "DURATION", conflicts_with = "file", value_delimiter = ',')]
    dwell: Vec<String>,
    /// How long presence is held while a receiver is down
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    max_hold: Option<String>,
    /// How far the border is moved outwards, in metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    margin_m: Option<f64>,
    #[command(flatten)]
    how: How,
}

/// A centre and a radius, in metres.
#[derive(Debug, Clone, PartialEq)]
struct Circle {
    centre: [f64; 2],
    radius: f64,
}

/// A ring.
pub(super) type Corners = std::sync::Arc<[[f64; 2]]>;

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List { level, args } => records::list(&KIND, &args, level),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove(args) => records::remove(&KIND, &args, "", ""),
        Action::Import(args) => import::run(&import::ZONES, &args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut properties = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
    put("id", text(&args.id));
    put("name", text(&args.name));
    put("level", args.level.map(|level| json!(level)));
    put("labels", labels(&args.labels));
    put("metadata", args.metadata.clone());
    put("enter_probability", args.enter_probability.map(|value| json!(value)));
    put("enter_after", text(&args.enter_after));
    put("exit_probability", args.exit_probability.map(|value| json!(value)));
    put("exit_after", text(&args.exit_after));
    put("lost_after", text(&args.lost_after));
    put("dwell", (!args.dwell.is_empty()).then(|| json!(args.dwell)));
    put("max_hold", text(&args.max_hold));
    put("margin_m", args.margin_m.map(|value| json!(value)));
    let mut given =
        Map::from_iter([("type".to_owned(), json!("Feature")), ("properties".to_owned(), Value::Object(properties))]);
    if let Some(shape) = shape(args) {
        given.insert("shape_m".to_owned(), shape);
    }
    let written = records::read_record(&KIND, args.id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

fn shape(args: &AddArgs) -> Option<Value> {
    match &args.circle {
        Some(Circle { centre, radius }) => Some(json!({ "centre": centre, "radius": radius })),
        None if args.polygon.is_empty() => None,
        _ => {
            let parts: Vec<Value> = args.polygon.iter().map(|corners| json!([corners.as_ref()])).collect();
            Some(json!({ "polygons": parts }))
        }
    }
}

/// `x,y`.
pub(super) fn point(text: &str) -> Result<[f64; 2], String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    match text.split_once(',').map(|(x, y)| (number(x), number(y))) {
        Some((Some(x), Some(y))) => Ok([x, y]),
        _ => Err(format!("\"{text}\" is no point; write X,Y in metres with a point for the decimals, such as 4.5,3")),
    }
}

/// `x,y x,y x,y`.
pub(super) fn corners(text: &str) -> Result<Corners, String> {
    let corners = text.split_whitespace().map(point).collect::<Result<Vec<_>, _>>()?;
    if corners.len() < 3 {
        return Err("an area has 3 corners or more: \"X,Y X,Y X,Y\"".to_owned());
    }
    Ok(corners.into())
}

/// `x,y radius`.
fn circle(text: &str) -> Result<Circle, String> {
    let mut parts = text.split_whitespace();
    let (Some(centre), Some(radius), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err("write \"X,Y RADIUS\" in metres, such as \"5,5 2\"".to_owned());
    };
    let metres = radius.parse::<f64>().ok().filter(|radius| radius.is_finite() && *radius > 0.0);
    let metres = metres.ok_or_else(|| format!("\"{radius}\" is no radius; write metres, such as 2.5"))?;
    Ok(Circle { centre: point(centre)?, radius: metres })
}

pub(super) fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("write a JSON object, such as {\"deep_link\":\"app://tills\"}".to_owned()),
        Err(error) => Err(format!("this is no JSON: {error}")),
    }
}

fn row(zone: &Value) -> Vec<String> {
    let properties = &zone["properties"];
    vec![
        text_of(&properties["id"]),
        text_of(&properties["name"]),
        text_of(&properties["level"]),
        shape_in_short(zone),
        text_of(&properties["labels"]),
    ]
}

/// What is drawn, and how large it is.
fn shape_in_short(zone: &Value) -> String {
    let shape = &zone["shape_m"];
    if let Some(radius) = shape["radius"].as_f64() {
        return format!("circle of {} m", centimetres(radius));
    }
    let parts = shape["polygons"].as_array().map_or(&[][..], Vec::as_slice);
    if parts.is_empty() {
        return if zone["geometry"].is_null() { "the whole site" } else { "-" }.to_owned();
    }
    let area: f64 = parts.iter().map(area).sum();
    let parts = if parts.len() == 1 { String::new() } else { format!("{} parts, ", parts.len()) };
    format!("{parts}{area:.1} m²")
}

/// The area of a part, without its holes, in square metres (Gauss's formula).
fn area(rings: &Value) -> f64 {
    let ring_area = |ring: &Value| {
        let at = |corner: &Value| Some((corner[0].as_f64()?, corner[1].as_f64()?));
        let corners: Vec<(f64, f64)> = ring.as_array().into_iter().flatten().filter_map(at).collect();
        let next = corners.iter().cycle().skip(1);
        corners.iter().zip(next).map(|((x, y), (next_x, next_y))| x * next_y - next_x * y).sum::<f64>().abs() / 2.0
    };
    let rings = rings.as_array().map_or(&[][..], Vec::as_slice);
    rings.first().map_or(0.0, ring_area) - rings.iter().skip(1).map(ring_area).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_people_write_them() {
        assert_eq!(corners("0,0 4,0  4,3").unwrap().as_ref(), [[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]]);
        assert_eq!(corners("-1.5,0 4,-2 4,3").unwrap().as_ref(), [[-1.5, 0.0], [4.0, -2.0], [4.0, 3.0]]);
        assert_eq!(circle("5,5 2").unwrap(), Circle { centre: [5.0, 5.0], radius: 2.0 });
        for (text, words) in
            [("0,0 4,0", "3 corners"), ("0;0 4,0 4,3", "is no point"), ("inf,0 4,0 4,3", "is no point")]
        {
            assert!(corners(text).unwrap_err().contains(words), "{text}");
        }
        for text in ["5,5", "5,5 0", "5,5 -2", "5,5 2 3", "5 5 2", "5,5 NaN"] {
            assert!(circle(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_row_says_how_large_a_zone_is() {
        let with_hole = json!({"polygons": [[[[0, 0], [4, 0], [4, 3], [0, 3]], [[1, 1], [2, 1], [2, 2], [1, 2]]]]});
        assert_eq!(shape_in_short(&json!({"shape_m": with_hole, "geometry": {}})), "11.0 m²");
        assert_eq!(shape_in_short(&json!({"shape_m": {"centre": [0, 0], "radius": 2.5}})), "circle of 2.5 m");
        assert_eq!(shape_in_short(&json!({"geometry": null})), "the whole site");
    }
}
