//! Records: what is registered.

use serde_json::Value;
use utoipa::ToSchema;

use crate::registry::DeviceKind;

/// An id: safe in topics and paths.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "tills")]
pub struct Id(String);

/// A place in the site frame: x and y in metres.
#[derive(ToSchema)]
#[schema(example = json!([12.5, 3.0]), max_items = 2, min_items = 2)]
pub struct Point(Vec<f64>);

/// Where the site is.
#[derive(ToSchema)]
pub struct Origin {
    /// Degrees, WGS84.
    #[schema(minimum = -90, maximum = 90)]
    latitude: f64,
    /// Degrees, WGS84.
    #[schema(minimum = -180, maximum = 180)]
    longitude: f64,
    /// By how many degrees the y axis is turned clockwise from north.
    bearing: Option<f64>,
}

/// How far the borders of zones are moved outwards for a kind of device.
#[derive(ToSchema)]
pub struct Margin {
    /// Metres; negative moves them inwards.
    margin_m: f64,
}

/// What differs by the kind of device.
#[derive(ToSchema)]
pub struct Margins {
    /// For customers.
    customer: Option<Margin>,
    /// For staff.
    staff: Option<Margin>,
    /// For things.
    asset: Option<Margin>,
}

/// The site.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "store-7", "name": "Store 7", "time_zone": "Europe/Paris",
    "origin": {"latitude": 48.8566, "longitude": 2.3522, "bearing": 0.0},
    "path_loss_exponent": 2.5, "measured_power": -59.0,
    "kind": {"customer": {"margin_m": 0.0}, "staff": {"margin_m": 0.0}, "asset": {"margin_m": 0.0}},
}))]
pub struct Site {
    /// Its id; it cannot be changed.
    #[schema(value_type = Id)]
    id: String,
    /// Its name for people.
    name: Option<String>,
    /// IANA time zone.
    time_zone: String,
    /// Where it is.
    origin: Origin,
    /// Exponent of the log-distance law; 2 in free space.
    path_loss_exponent: Option<f64>,
    /// RSSI at 1 m in dBm.
    measured_power: Option<f64>,
    /// What differs by the kind of device.
    kind: Option<Margins>,
}

/// Where a floor plan lies.
#[derive(ToSchema)]
pub struct PlanPlacement {
    /// Where its top-left corner lies, in the site frame, in metres.
    x: f64,
    /// Where its top-left corner lies, in the site frame, in metres.
    y: f64,
    /// Metres to a pixel, along both sides.
    #[schema(exclusive_minimum = 0)]
    metres_per_pixel: f64,
    /// By how many degrees its upward direction is turned clockwise from the y axis.
    bearing: Option<f64>,
}

/// A floor plan.
#[derive(ToSchema)]
pub struct Plan {
    /// The name of its file in a site directory.
    #[schema(example = "floor-0.png")]
    file: Option<String>,
    /// What kind of picture it is.
    #[schema(example = "image/png")]
    media_type: String,
    /// Its width in pixels.
    width: u32,
    /// Its height in pixels.
    height: u32,
    /// Where its top-left corner lies, in the site frame, in metres.
    x: f64,
    /// Where its top-left corner lies, in the site frame, in metres.
    y: f64,
    /// Metres to a pixel, along both sides.
    metres_per_pixel: f64,
    /// By how many degrees its upward direction is turned clockwise from the y axis.
    bearing: f64,
}

/// A level.
#[derive(ToSchema)]
#[schema(example = json!({
    "ordinal": 0, "name": "Ground floor", "elevation": 0.0, "outline": [[0.0, 0.0], [40.0, 0.0], [40.0, 25.0], [0.0, 25.0]], "plan": null,
}))]
pub struct Level {
    /// Its ordinal; 0 is ground.
    ordinal: i32,
    /// Its name for people.
    name: Option<String>,
    /// Height of its floor in metres.
    elevation: Option<f64>,
    /// Its outline in the site frame.
    outline: Option<Vec<Point>>,
    /// Its floor plan. It is put by itself; what is said of it here must be what is there.
    plan: Option<Plan>,
}

/// A receiver.
#[derive(ToSchema)]
#[schema(example = json!({"id": "door", "x": 20.0, "y": 0.5, "z": 2.5, "level": 0, "rssi_offset": 0.0}))]
pub struct Receiver {
    /// Its id.
    #[schema(value_type = Id)]
    id: String,
    /// Metres, site frame.
    x: f64,
    /// Metres, site frame.
    y: f64,
    /// Height above the floor in metres.
    z: Option<f64>,
    /// Its level.
    level: i32,
    /// What to subtract from its readings, in dB.
    rssi_offset: Option<f64>,
}

/// A beacon: carried by a device, or fixed.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "b1", "identity": "ibeacon:f7826da6-4fa2-4e98-8024-bc5b71e0893e/1/2", "device": "d1",
    "x": null, "y": null, "level": null, "measured_power": null,
}))]
pub struct Beacon {
    /// Its id.
    #[schema(value_type = Id)]
    id: String,
    /// How it is recognised on the air: `ibeacon:UUID/major/minor`, `eddystone-uid:NAMESPACE/INSTANCE`, `altbeacon:ID`, `mac:ADDRESS`.
    identity: String,
    /// The device that carries it; none for a fixed one.
    device: Option<String>,
    /// Where a fixed one is.
    x: Option<f64>,
    /// Where a fixed one is.
    y: Option<f64>,
    /// The level of a fixed one.
    level: Option<i32>,
    /// RSSI at 1 m in dBm.
    measured_power: Option<f64>,
}

/// A device.
#[derive(ToSchema)]
#[schema(example = json!({"id": "d1", "kind": "customer", "consent": ["presence"], "labels": {"tier": "gold"}}))]
pub struct Device {
    /// Its id: an opaque alias.
    #[schema(value_type = Id)]
    id: String,
    /// What it is.
    #[schema(value_type = Option<Kind>)]
    kind: Option<DeviceKind>,
    /// What its person has agreed to.
    consent: Option<Vec<String>>,
    /// Labels.
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// What kind of thing a device is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = DeviceKind)]
pub enum Kind {
    /// A person who shops here.
    Customer,
    /// A person who works here.
    Staff,
    /// A thing.
    Asset,
}

/// The word `Feature`.
#[derive(ToSchema)]
pub enum FeatureWord {
    /// The word.
    Feature,
}

/// A geometry of `GeoJSON` in WGS84: Polygon, `MultiPolygon`, or Point with `radius_m` in the properties.
#[derive(ToSchema)]
pub struct Geometry {
    /// Which.
    #[schema(rename = "type")]
    r#type: String,
    /// Longitude and latitude, nested as RFC 7946 says.
    coordinates: Vec<Value>,
}

/// The shape of a zone in metres of the site frame: `polygons` (each an outer ring and its holes), or `centre` and `radius`.
#[derive(ToSchema)]
pub struct ShapeM {
    /// Polygons, each an outer ring and its holes.
    polygons: Option<Vec<Vec<Vec<Point>>>>,
    /// The centre of a circle.
    centre: Option<Point>,
    /// Its radius in metres.
    radius: Option<f64>,
}

/// What a zone is beside its shape.
#[derive(ToSchema)]
pub struct ZoneProperties {
    /// Its id.
    #[schema(value_type = Id)]
    id: String,
    /// Its name for people.
    name: Option<String>,
    /// Its level; none for the whole site.
    level: Option<i32>,
    /// The radius of a Point, in metres.
    radius_m: Option<f64>,
    /// Labels.
    labels: Option<std::collections::BTreeMap<String, String>>,
    /// Free data for the back end.
    metadata: Option<std::collections::BTreeMap<String, Value>>,
    /// Probability from which a device may be inside.
    #[schema(minimum = 0, maximum = 1)]
    enter_probability: Option<f64>,
    /// How long that must hold.
    #[schema(example = "1s")]
    enter_after: Option<String>,
    /// Probability below which a device may be outside.
    #[schema(minimum = 0, maximum = 1)]
    exit_probability: Option<f64>,
    /// How long that must hold.
    #[schema(example = "5s")]
    exit_after: Option<String>,
    /// Silence after which a device is lost.
    #[schema(example = "60s")]
    lost_after: Option<String>,
    /// Stays after which `dwelled` fires.
    #[schema(example = json!(["2m"]))]
    dwell: Option<Vec<String>>,
    /// How long presence is held while a receiver is down.
    #[schema(example = "30m")]
    max_hold: Option<String>,
    /// How far the border is moved outwards for presence, in metres.
    margin_m: Option<f64>,
}

/// A zone, as a Feature of RFC 7946. On input, the shape is said by either `geometry` or `shape_m`.
#[derive(ToSchema)]
#[schema(example = json!({
    "type": "Feature",
    "properties": {"id": "tills", "name": "Tills", "level": 0},
    "shape_m": {"polygons": [[[[2.0, 2.0], [8.0, 2.0], [8.0, 6.0], [2.0, 6.0]]]]},
}))]
pub struct Zone {
    /// `Feature`.
    #[schema(rename = "type", value_type = FeatureWord)]
    r#type: String,
    /// Its id, as in its properties.
    id: Option<String>,
    /// Its shape in WGS84; none for the reserved zone `site`.
    geometry: Option<Geometry>,
    /// What it is beside its shape.
    properties: ZoneProperties,
    /// Its shape in metres of the site frame.
    shape_m: Option<ShapeM>,
}

/// The word `remove`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum RemoveWord {
    /// The word.
    Remove,
}

/// The bytes of a picture.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Picture(String);

/// Any JSON object.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub struct AnyJson(Value);

/// A point of a picture, and where it lies.
#[derive(ToSchema)]
pub struct Pin {
    /// Pixels from the left and from the top.
    px: Point,
    /// Where that lies, in metres of the site frame.
    m: Point,
}

/// Where a floor plan is to lie: `x`, `y`, `metres_per_pixel` and `bearing`, or two `points`.
#[derive(ToSchema)]
#[schema(example = json!({"points": [{"px": [0, 0], "m": [0.0, 25.0]}, {"px": [800, 500], "m": [40.0, 0.0]}]}))]
pub struct PlanPlacing {
    /// Where its top-left corner lies, in metres of the site frame.
    x: Option<f64>,
    /// Where its top-left corner lies, in metres of the site frame.
    y: Option<f64>,
    /// Metres to a pixel, along both sides.
    metres_per_pixel: Option<f64>,
    /// By how many degrees its upward direction is turned clockwise from the y axis.
    bearing: Option<f64>,
    /// Two points of it.
    #[schema(min_items = 2, max_items = 2)]
    points: Option<Vec<Pin>>,
}

/// A file of a site directory.
#[derive(ToSchema)]
pub enum FileName {
    /// The site, its levels and receivers.
    #[schema(rename = "site.toml")]
    Site,
    /// The zones.
    #[schema(rename = "zones.geojson")]
    Zones,
    /// The beacons.
    #[schema(rename = "beacons.csv")]
    Beacons,
    /// The devices.
    #[schema(rename = "devices.csv")]
    Devices,
    /// The rules.
    #[schema(rename = "triggers.toml")]
    Triggers,
}
