//! The site frame: metres on the local tangent plane of the WGS84 ellipsoid at the site's origin.
//!
//! A geodetic point on the ellipsoid (height 0) is taken to Earth-centred coordinates and from there to east and north at
//! the origin (NIMA TR8350.2, the usual ECEF to ENU rotation); then the y axis is turned clockwise by `bearing`. The way
//! back solves for the point of the ellipsoid that projects onto (x, y), by fixed-point iteration: the frame is only used
//! within a few kilometres of its origin, where it converges to below a micrometre in a handful of steps.

use serde::{Deserialize, Serialize};

/// Semi-major axis of WGS84 in metres.
const SEMI_MAJOR: f64 = 6_378_137.0;
/// Flattening of WGS84.
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// First eccentricity squared.
const E2: f64 = FLATTENING * (2.0 - FLATTENING);

/// A point in the site frame, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// East (where the bearing is 0).
    pub x: f64,
    /// North (where the bearing is 0).
    pub y: f64,
}

impl Point {
    /// Distance in the plane, in metres.
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// A point on the ellipsoid, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LatLon {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

impl LatLon {
    /// Whether both numbers are in range.
    pub fn is_valid(self) -> bool {
        (-90.0..=90.0).contains(&self.latitude) && (-180.0..=180.0).contains(&self.longitude)
    }
}

/// Why an origin cannot carry a frame.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OriginError {
    /// Latitude out of range; beyond 89 degrees east and north lose their meaning.
    #[error("latitude {0} must lie between -89 and 89 degrees")]
    Latitude(f64),
    /// Longitude out of range.
    #[error("longitude {0} must lie between -180 and 180 degrees")]
    Longitude(f64),
    /// Bearing out of range.
    #[error("bearing {0} must lie between -360 and 360 degrees")]
    Bearing(f64),
}

/// The site frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    origin: LatLon,
    bearing: f64,
    sin_lat: f64,
    cos_lat: f64,
    sin_bearing: f64,
    cos_bearing: f64,
    ecef: [f64; 3],
}

/// On the equator at Greenwich: the frame of a site of which it is not known where it is.
impl Default for Frame {
    fn default() -> Self {
        Self::at(LatLon { latitude: 0.0, longitude: 0.0 }, 0.0)
    }
}

impl Frame {
    /// A frame at `origin`, its y axis turned clockwise from north by `bearing` degrees.
    ///
    /// # Errors
    /// [`OriginError`] where a number is out of range.
    pub fn new(origin: LatLon, bearing: f64) -> Result<Self, OriginError> {
        if !(-89.0..=89.0).contains(&origin.latitude) {
            return Err(OriginError::Latitude(origin.latitude));
        }
        if !(-180.0..=180.0).contains(&origin.longitude) {
            return Err(OriginError::Longitude(origin.longitude));
        }
        if !(-360.0..=360.0).contains(&bearing) {
            return Err(OriginError::Bearing(bearing));
        }
        Ok(Self::at(origin, bearing))
    }

    /// See [`Frame::new`]; everything is in range.
    fn at(origin: LatLon, bearing: f64) -> Self {
        let (sin_lat, cos_lat) = origin.latitude.to_radians().sin_cos();
        let (sin_bearing, cos_bearing) = bearing.to_radians().sin_cos();
        let ecef = ecef(origin.latitude.to_radians(), 0.0);
        Self { origin, bearing, sin_lat, cos_lat, sin_bearing, cos_bearing, ecef }
    }

    /// The origin.
    pub fn origin(&self) -> LatLon {
        self.origin
    }

    /// Degrees that the y axis is turned clockwise from north.
    pub fn bearing(&self) -> f64 {
        self.bearing
    }

    /// From the ellipsoid to the site frame.
    pub fn to_site(&self, at: LatLon) -> Point {
        let (east, north) =
            self.east_north(at.latitude.to_radians(), (at.longitude - self.origin.longitude).to_radians());
        // The y axis points to `bearing`: x = e·cos b − n·sin b, y = e·sin b + n·cos b.
        Point {
            x: east * self.cos_bearing - north * self.sin_bearing,
            y: east * self.sin_bearing + north * self.cos_bearing,
        }
    }

    /// From the site frame to the ellipsoid.
    pub fn to_geodetic(&self, at: Point) -> LatLon {
        let east = at.x * self.cos_bearing + at.y * self.sin_bearing;
        let north = -at.x * self.sin_bearing + at.y * self.cos_bearing;
        let lat0 = self.origin.latitude.to_radians();
        let w = (1.0 - E2 * self.sin_lat * self.sin_lat).sqrt();
        let per_lat = SEMI_MAJOR * (1.0 - E2) / (w * w * w);
        let per_lon = SEMI_MAJOR / w * self.cos_lat;
        let (mut lat, mut dlon) = (lat0 + north / per_lat, east / per_lon);
        for _ in 0..8 {
            let (e, n) = self.east_north(lat, dlon);
            lat += (north - n) / per_lat;
            dlon += (east - e) / per_lon;
        }
        let mut longitude = self.origin.longitude + dlon.to_degrees();
        if longitude > 180.0 {
            longitude -= 360.0;
        } else if longitude < -180.0 {
            longitude += 360.0;
        }
        LatLon { latitude: lat.to_degrees(), longitude }
    }

    fn east_north(&self, lat: f64, dlon: f64) -> (f64, f64) {
        let p = ecef(lat, dlon);
        let (dx, dy, dz) = (p[0] - self.ecef[0], p[1] - self.ecef[1], p[2] - self.ecef[2]);
        (dy, -self.sin_lat * dx + self.cos_lat * dz)
    }
}

/// Earth-centred coordinates of a point on the ellipsoid; longitude counted from the origin's meridian.
fn ecef(lat: f64, dlon: f64) -> [f64; 3] {
    let (sin_lat, cos_lat) = lat.sin_cos();
    let (sin_lon, cos_lon) = dlon.sin_cos();
    let n = SEMI_MAJOR / (1.0 - E2 * sin_lat * sin_lat).sqrt();
    [n * cos_lat * cos_lon, n * cos_lat * sin_lon, n * (1.0 - E2) * sin_lat]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bearing: f64) -> Frame {
        Frame::new(LatLon { latitude: 48.8566, longitude: 2.3522 }, bearing).unwrap()
    }

    #[test]
    fn there_and_back_is_the_same_point() {
        for bearing in [0.0, 30.0, -90.0, 200.0] {
            for (x, y) in [(0.0, 0.0), (20.66, 17.64), (-300.0, 1_000.0), (2_000.0, -2_000.0)] {
                let back = frame(bearing).to_site(frame(bearing).to_geodetic(Point { x, y }));
                assert!((back.x - x).abs() < 1e-6 && (back.y - y).abs() < 1e-6, "{bearing} {x} {y} {back:?}");
            }
        }
    }

    #[test]
    fn a_short_way_agrees_with_the_radii_of_curvature() {
        // Metres a degree at 48.8566 N by the series of the National Geospatial-Intelligence Agency.
        let f = 48.8566_f64.to_radians();
        let north = 111_132.954 - 559.822 * (2.0 * f).cos() + 1.175 * (4.0 * f).cos();
        let east = 111_412.84 * f.cos() - 93.5 * (3.0 * f).cos() + 0.118 * (5.0 * f).cos();
        let p = frame(0.0).to_site(LatLon { latitude: 48.8567, longitude: 2.3523 });
        assert!((p.y - north * 1e-4).abs() < 1e-4, "{p:?}");
        assert!((p.x - east * 1e-4).abs() < 1e-4, "{p:?}");
    }

    #[test]
    fn the_y_axis_turns_clockwise_with_the_bearing() {
        // With a bearing of 90 degrees the y axis points east.
        let p = frame(90.0).to_site(LatLon { latitude: 48.8566, longitude: 2.3523 });
        assert!(p.y > 7.0 && p.x.abs() < 1e-3, "{p:?}");
    }

    #[test]
    fn the_date_line_does_not_break_the_frame() {
        let f = Frame::new(LatLon { latitude: -17.0, longitude: 179.999_9 }, 0.0).unwrap();
        let p = f.to_site(LatLon { latitude: -17.0, longitude: -179.999_9 });
        assert!((p.x - 21.29).abs() < 0.05, "{p:?}");
        assert!(f.to_geodetic(p).longitude < -179.99);
    }

    #[test]
    fn impossible_origins_are_refused() {
        assert!(Frame::new(LatLon { latitude: 91.0, longitude: 0.0 }, 0.0).is_err());
        assert!(Frame::new(LatLon { latitude: f64::NAN, longitude: 0.0 }, 0.0).is_err());
        assert!(Frame::new(LatLon { latitude: 0.0, longitude: 181.0 }, 0.0).is_err());
    }
}
