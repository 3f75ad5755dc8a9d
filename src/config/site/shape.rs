//! GeoJSON geometries into shapes in the site frame.

use serde_json::value::RawValue;

use super::geometry::{self, ShapeFault};
use super::json::{self, Source};
use crate::config::diagnostic::FileReport;
use crate::model::{Frame, LatLon, Point};
use crate::registry::{Ring, Shape};

/// What a zone can be drawn as.
pub(super) const HELP: &str = "draw a Polygon, a MultiPolygon, or a Point with \"radius_m\"";

/// Corners of one zone. The borders of whole cities have fewer.
const MAX_CORNERS: usize = 10_000;
/// Rings of one zone.
const MAX_RINGS: usize = 500;
/// Corners of all zones: 80 MB of them.
const MAX_ALL_CORNERS: usize = 5_000_000;
/// Greatest radius in metres.
const MAX_RADIUS: f64 = geometry::MAX_DISTANCE;
/// So many zones that are all far away are one mistake: that of the origin.
const FEW: usize = 3;

/// The members of a shape in metres.
const METRES_KEYS: &[&str] = &["polygons", "centre", "radius"];

/// Where faults go: the value with its line, what is wrong, what to do.
type Fault<'f> = &'f mut dyn FnMut(&RawValue, String, Option<&str>);

/// Reads one geometry after the other.
#[derive(Debug)]
pub(super) struct ShapeReader {
    frame: Option<Frame>,
    corners: usize,
    /// How many were read that have a place.
    placed: usize,
    /// Those too far from the origin: line, record, what is wrong, what to do.
    far: Vec<(usize, String, String, String)>,
}

impl ShapeReader {
    pub(super) fn new(frame: Option<Frame>) -> Self {
        Self { frame, corners: 0, placed: 0, far: Vec::new() }
    }

    /// Reads a geometry; `record` names its feature.
    pub(super) fn read(
        &mut self,
        record: &str,
        source: &Source<'_>,
        geometry: &RawValue,
        radius: Option<&RawValue>,
        fault: Fault<'_>,
    ) -> Option<Shape> {
        let members = json::members(geometry, 20)
            .map_err(|error| fault(geometry, format!("\"geometry\" {error}"), Some(HELP)))
            .ok()?;
        let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|&(_, value)| value);
        let kind = get("type").and_then(|value| json::text(value).ok()).unwrap_or_default();
        if !matches!(kind.as_str(), "Polygon" | "MultiPolygon" | "Point") {
            let at = get("type").unwrap_or(geometry);
            fault(
                at,
                format!("a geometry of type \"{}\" cannot be a zone", crate::config::text::short(&kind)),
                Some(HELP),
            );
            return None;
        }
        let Some(coordinates) = get("coordinates") else {
            fault(geometry, "\"coordinates\" is missing".to_owned(), None);
            return None;
        };
        if let (Some(radius), true) = (radius, kind != "Point") {
            fault(radius, format!("radius_m makes a circle of a Point, not of a {kind}"), Some("remove it"));
        }
        let mut corners = self.corners(Unit::Degrees);
        let before = corners.left;
        let shape = match kind.as_str() {
            "Point" => {
                if radius.is_none() {
                    let message = "a Point needs the property \"radius_m\"".to_owned();
                    fault(geometry, message, Some("write its radius in metres"));
                }
                let centre = position(coordinates, "the centre", Unit::Degrees, fault);
                let radius = radius.and_then(|value| self::radius(value, "radius_m", fault));
                self.circle(record, source, coordinates, centre?, radius)
            }
            "Polygon" => {
                let part = corners.polygon(coordinates, fault);
                self.polygons(record, source, &[part?], geometry, Unit::Degrees, fault)
            }
            _ => {
                let parts = corners.polygons(coordinates, "coordinates", "the MultiPolygon", fault)?;
                self.polygons(record, source, &parts, geometry, Unit::Degrees, fault)
            }
        };
        self.corners += before - corners.left;
        shape
    }

    /// Reads a shape in metres of the site frame: `{"polygons": [[[[x, y], …], …]]}`, each ring closed or open, or
    /// `{"centre": [x, y], "radius": r}`. It becomes what the same shape in degrees would.
    pub(super) fn read_metres(
        &mut self,
        record: &str,
        source: &Source<'_>,
        shape: &RawValue,
        fault: Fault<'_>,
    ) -> Option<Shape> {
        let help = "write {\"polygons\": [[[[x, y], …]]]} or {\"centre\": [x, y], \"radius\": r}, in metres";
        let members =
            json::members(shape, 20).map_err(|error| fault(shape, format!("\"shape_m\" {error}"), Some(help))).ok()?;
        let get = |key: &str| {
            members.iter().find(|(name, value)| name == key && !json::is_null(value)).map(|&(_, value)| value)
        };
        if let Some((name, value)) = members.iter().find(|(name, _)| !METRES_KEYS.contains(&name.as_str())) {
            let message = format!("unknown key \"{}\" in \"shape_m\"", crate::config::text::short(name));
            fault(value, message, Some(&crate::config::text::nearest(name, METRES_KEYS)));
            return None;
        }
        // Without an origin metres are nowhere; that fault is reported already.
        let unit = Unit::Metres(self.frame?);
        match (get("polygons"), get("centre"), get("radius")) {
            (Some(parts), None, None) => {
                let mut corners = self.corners(unit);
                let before = corners.left;
                let parts = corners.polygons(parts, "\"polygons\"", "\"shape_m\"", fault)?;
                self.corners += before - corners.left;
                self.polygons(record, source, &parts, shape, unit, fault)
            }
            (None, Some(centre), Some(radius)) => {
                let at = position(centre, "the centre", unit, fault);
                let radius = self::radius(radius, "radius", fault);
                self.circle(record, source, centre, at?, radius)
            }
            _ => {
                fault(shape, "\"shape_m\" is neither polygons nor a circle".to_owned(), Some(help));
                None
            }
        }
    }

    fn corners(&self, unit: Unit) -> Corners {
        Corners { left: MAX_CORNERS.min(MAX_ALL_CORNERS.saturating_sub(self.corners)), unit }
    }

    /// Reports the shapes that are too far from the origin; where all of them are, once.
    pub(super) fn report_far(&self, report: &FileReport) {
        if self.far.len() > FEW && self.far.len() == self.placed {
            let (line, record, message, _) = &self.far[0];
            let first = format!("{record}: {message}, and so are all {} zones", self.placed);
            report
                .error(first)
                .at(*line)
                .help("check the site's origin; are latitude and longitude swapped? GeoJSON has longitude first");
            return;
        }
        for (line, record, message, help) in &self.far {
            report.error(message.as_str()).at(*line).of(record.as_str()).help(help.as_str());
        }
    }

    fn circle(
        &mut self,
        record: &str,
        source: &Source<'_>,
        value: &RawValue,
        centre: LatLon,
        radius: Option<f64>,
    ) -> Option<Shape> {
        self.placed += 1;
        let frame = self.frame?;
        match geometry::project(&frame, centre) {
            Some(centre) => Some(Shape::Circle { centre, radius: radius? }),
            None => self.note_far(record, source, value, centre),
        }
    }

    fn polygons(
        &mut self,
        record: &str,
        source: &Source<'_>,
        parts: &[RawPolygon<'_>],
        geometry: &RawValue,
        unit: Unit,
        fault: Fault<'_>,
    ) -> Option<Shape> {
        self.placed += 1;
        // Without an origin the shape can still be judged, in a frame of its own.
        let first = parts.first().and_then(|rings| rings.first()).and_then(|ring| ring.first())?.1;
        let frame = self.frame.or_else(|| Frame::new(first, 0.0).ok())?;
        let mut checked: Vec<(Ring, Vec<Ring>)> = Vec::with_capacity(parts.len());
        let mut failed = false;
        for (part, rings) in parts.iter().enumerate() {
            let mut polygon: Vec<Ring> = Vec::with_capacity(rings.len());
            for (index, ring) in rings.iter().enumerate() {
                let mut points = Vec::with_capacity(ring.len());
                for &(value, at) in ring {
                    match geometry::project(&frame, at) {
                        Some(point) => points.push(point),
                        None if self.frame.is_some() => return self.note_far(record, source, value, at),
                        None => return None,
                    }
                }
                match geometry::ring(&points) {
                    Ok(ring) => polygon.push(ring),
                    Err(error) => {
                        failed = true;
                        let at = error.corner().and_then(|corner| ring.get(corner)).map_or(geometry, |c| c.0);
                        let words = error.describe(|point| match unit {
                            Unit::Degrees => place(frame.to_geodetic(point)),
                            Unit::Metres(_) => format!("[{:.2}, {:.2}]", point.x, point.y),
                        });
                        fault(at, format!("{} {words}", ring_name(part, parts.len(), index)), Some(error.help()));
                    }
                }
            }
            let mut polygon = polygon.into_iter();
            if let Some(outer) = polygon.next() {
                checked.push((outer, polygon.collect()));
            }
        }
        if failed {
            return None;
        }
        if let Some(error) = geometry::check_parts(&checked) {
            let name = |part, index| ring_name(part, parts.len(), index);
            let (message, help) = match error {
                ShapeFault::HoleOutside { part, hole } => (
                    format!("{} reaches out of its outer ring", name(part, hole + 1)),
                    "draw holes inside; the first ring of a polygon is its outer one",
                ),
                ShapeFault::HolesOverlap { part, hole } => {
                    (format!("{} overlaps another hole", name(part, hole + 1)), "join the holes into one")
                }
                ShapeFault::PartsOverlap { part } => {
                    (format!("polygon {} overlaps another one", part + 1), "join the polygons into one")
                }
            };
            fault(geometry, message, Some(help));
            return None;
        }
        self.frame.map(|_| Shape::Polygons(checked))
    }

    fn note_far(&mut self, record: &str, source: &Source<'_>, value: &RawValue, at: LatLon) -> Option<Shape> {
        let swapped = LatLon { latitude: at.longitude, longitude: at.latitude };
        let is_swapped =
            swapped.is_valid() && self.frame.is_some_and(|frame| geometry::project(&frame, swapped).is_some());
        let help = if is_swapped {
            "latitude and longitude are swapped; GeoJSON has longitude first"
        } else {
            "are latitude and longitude swapped? GeoJSON has longitude first; or is the site's origin wrong?"
        };
        let message = format!("{} is more than {} km from the site's origin", place(at), geometry::MAX_KM);
        self.far.push((source.line(value), record.to_owned(), message, help.to_owned()));
        None
    }
}

/// Rings of positions with their values, the last position dropped, which repeats the first.
type RawPolygon<'t> = Vec<Vec<(&'t RawValue, LatLon)>>;

/// What positions are given in.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// `[longitude, latitude]`.
    Degrees,
    /// `[x, y]` of that frame.
    Metres(Frame),
}

/// How many corners may still come.
struct Corners {
    left: usize,
    unit: Unit,
}

impl Corners {
    fn polygons<'t>(
        &mut self,
        value: &'t RawValue,
        what: &str,
        whole: &str,
        fault: Fault<'_>,
    ) -> Option<Vec<RawPolygon<'t>>> {
        let parts = list(value, what, fault)?;
        if parts.is_empty() {
            fault(value, format!("{whole} has no polygon"), Some(HELP));
            return None;
        }
        let parts: Vec<_> = parts.into_iter().map(|part| self.polygon(part, fault)).collect();
        parts.into_iter().collect()
    }

    fn polygon<'t>(&mut self, value: &'t RawValue, fault: Fault<'_>) -> Option<RawPolygon<'t>> {
        let rings = list(value, "a polygon", fault)?;
        if rings.is_empty() {
            fault(value, "the polygon has no ring".to_owned(), Some(HELP));
            return None;
        }
        // Every ring is looked at, so that each fault is reported.
        let rings: Vec<_> = rings
            .into_iter()
            .enumerate()
            .map(|(index, ring)| self.ring(ring, &ring_name(0, 1, index), fault))
            .collect();
        rings.into_iter().collect()
    }

    fn ring<'t>(&mut self, value: &'t RawValue, name: &str, fault: Fault<'_>) -> Option<Vec<(&'t RawValue, LatLon)>> {
        let positions = match json::elements(value, self.left) {
            Ok(positions) => positions,
            Err(error) => {
                fault(value, format!("{name} {error}"), Some(&format!("a zone has at most {MAX_CORNERS} positions")));
                return None;
            }
        };
        self.left -= positions.len();
        let mut ring = Vec::with_capacity(positions.len());
        for (at, value) in positions.into_iter().enumerate() {
            ring.push((value, position(value, &format!("position {} of {name}", at + 1), self.unit, fault)?));
        }
        if let (Unit::Metres(_), Some(&(value, first))) = (self.unit, ring.first())
            && ring.len() > 1
            && ring.last().is_some_and(|&(_, last)| last != first)
        {
            ring.push((value, first));
        }
        let (Some((_, first)), Some((last_value, last))) = (ring.first(), ring.last()) else {
            fault(value, format!("{name} has no position"), Some(HELP));
            return None;
        };
        if first != last {
            let help = format!("repeat the first position {} at the end", place(*first));
            fault(last_value, format!("{name} is not closed"), Some(&help));
            return None;
        }
        if ring.len() < 4 {
            let message = format!("{name} has {} positions; a closed ring has at least 4", ring.len());
            fault(value, message, Some("draw the border around the area"));
            return None;
        }
        ring.pop();
        Some(ring)
    }
}

fn list<'t>(value: &'t RawValue, name: &str, fault: Fault<'_>) -> Option<Vec<&'t RawValue>> {
    json::elements(value, MAX_RINGS).map_err(|error| fault(value, format!("{name} {error}"), None)).ok()
}

fn position(value: &RawValue, name: &str, unit: Unit, fault: Fault<'_>) -> Option<LatLon> {
    let (form, most) = match unit {
        // A third number is the altitude, which zones don't have.
        Unit::Degrees => ("write [longitude, latitude]", 3),
        Unit::Metres(_) => ("write [x, y]", 2),
    };
    let numbers = json::elements(value, 4).and_then(|list| list.into_iter().map(json::number).collect());
    let numbers: Vec<f64> = match numbers {
        Ok(numbers) => numbers,
        Err(error) => {
            fault(value, format!("{name} cannot be read: it {error}"), Some(form));
            return None;
        }
    };
    let (&[first, second] | &[first, second, _]) = numbers.as_slice() else {
        fault(value, format!("{name} has {} numbers", numbers.len()), Some(form));
        return None;
    };
    if numbers.len() > most {
        fault(value, format!("{name} has {} numbers", numbers.len()), Some(form));
        return None;
    }
    match unit {
        Unit::Degrees => degrees(value, name, first, second, fault),
        Unit::Metres(frame) => {
            let point = Point { x: first, y: second };
            if geometry::is_near(point) {
                return Some(geometry::to_degrees(&frame, point));
            }
            let message = format!("{name} [{first}, {second}] is more than {} km from the origin", geometry::MAX_KM);
            fault(value, message, Some("x and y are metres in the site frame"));
            None
        }
    }
}

fn degrees(value: &RawValue, name: &str, longitude: f64, latitude: f64, fault: Fault<'_>) -> Option<LatLon> {
    let at = LatLon { latitude, longitude };
    if at.is_valid() {
        return Some(geometry::rounded(at));
    }
    let what = if (-90.0..=90.0).contains(&latitude) {
        format!("longitude {longitude}, which must lie between -180 and 180")
    } else {
        format!("latitude {latitude}, which must lie between -90 and 90")
    };
    let help = "are latitude and longitude swapped? GeoJSON has longitude first";
    fault(value, format!("{name} has {what}"), Some(help));
    None
}

/// A radius to the millimetre.
fn radius(value: &RawValue, name: &str, fault: Fault<'_>) -> Option<f64> {
    match json::number(value).map(|number| (number, geometry::millimetres(number))) {
        Ok((_, radius)) if radius > 0.0 && radius <= MAX_RADIUS => Some(radius),
        Ok((number, _)) => {
            let message = format!("{name} is {number}; it must lie above 0 and at most at {MAX_RADIUS} m");
            fault(value, message, None);
            None
        }
        Err(error) => {
            fault(value, format!("{name} {error}"), None);
            None
        }
    }
}

fn ring_name(part: usize, parts: usize, index: usize) -> String {
    let ring = if index == 0 { "the outer ring".to_owned() } else { format!("hole {index}") };
    if parts > 1 { format!("{ring} of polygon {}", part + 1) } else { ring }
}

/// As GeoJSON writes it, to a centimetre.
fn place(at: LatLon) -> String {
    format!("[{:.7}, {:.7}]", at.longitude, at.latitude)
}
