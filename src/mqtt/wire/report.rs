//! Position reports from apps: our own JSON, and `OwnTracks` location messages.

use serde_json::{Map, Value};

use super::MAX_PAYLOAD;
use crate::model::{DeviceId, LatLon, LevelOrdinal, Metres, Timestamp};
use crate::position::PositionReport;

/// Accuracies beyond this (metres) say nothing about a store; refused rather than computed with.
const MAX_ACCURACY: Metres = 100_000.0;

/// `OwnTracks` passes on what phones call accuracy: the radius that holds the device with 68 % probability (Android,
/// `Location.getAccuracy`). A normal distribution in the plane with standard deviation s along each axis has its 68 %
/// radius at s·√(−2 ln 0.32) = 1.51 s.
const RADIUS_68_PERCENT: f64 = 1.509_592;

/// Why a message is no position report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The payload exceeds [`MAX_PAYLOAD`].
    #[error("the payload has {0} bytes, more than the {MAX_PAYLOAD} that are allowed")]
    TooLarge(usize),
    /// The payload is not JSON.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
    /// The payload is JSON, but no object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A field that must be there is not.
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
    /// A field holds what it cannot.
    #[error("\"{field}\" must be {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An `OwnTracks` message that is no location.
    #[error("OwnTracks messages of type \"{0}\" are no position reports")]
    OtherType(String),
}

impl ReportError {
    /// The kind, for counters.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::NotJson(_) => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::Missing(_) => "missing_field",
            Self::Invalid { .. } => "invalid_field",
            Self::OtherType(_) => "other_type",
        }
    }
}

/// Reads a position report of `device`: `{"time","latitude","longitude","accuracy","level"?}` with the accuracy as
/// one standard deviation in metres, or an `OwnTracks` `{"_type":"location","tst","lat","lon","acc"}`. Unknown fields are
/// ignored.
///
/// # Errors
/// [`ReportError`] says what is wrong with it.
pub fn position_report(device: &DeviceId, payload: &[u8]) -> Result<PositionReport, ReportError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(ReportError::TooLarge(payload.len()));
    }
    let value: Value = serde_json::from_slice(payload).map_err(|error| ReportError::NotJson(error.to_string()))?;
    let Value::Object(object) = value else {
        return Err(ReportError::NotAnObject);
    };
    if object.contains_key("_type") { owntracks(device, &object) } else { own(device, &object) }
}

fn own(device: &DeviceId, object: &Map<String, Value>) -> Result<PositionReport, ReportError> {
    let time = field(object, "time")?
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or(ReportError::Invalid { field: "time", expected: "an RFC 3339 instant" })?;
    let level = match object.get("level") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let ordinal = value.as_i64().and_then(|level| i16::try_from(level).ok());
            Some(LevelOrdinal(ordinal.ok_or(ReportError::Invalid { field: "level", expected: "a small integer" })?))
        }
    };
    Ok(PositionReport {
        time,
        device: device.clone(),
        at: place(object, "latitude", "longitude")?,
        accuracy: accuracy(object, "accuracy")?,
        level,
    })
}

fn owntracks(device: &DeviceId, object: &Map<String, Value>) -> Result<PositionReport, ReportError> {
    let kind = object.get("_type").and_then(Value::as_str).unwrap_or_default();
    if kind != "location" {
        return Err(ReportError::OtherType(kind.chars().take(24).collect()));
    }
    let seconds = number(object, "tst", "seconds since 1970")?;
    if !(0.0..=253_402_300_799.0).contains(&seconds) {
        return Err(ReportError::Invalid { field: "tst", expected: "seconds since 1970" });
    }
    // Apps write whole metres and may say 0, which no phone can mean.
    let radius = number(object, "acc", "metres")?.max(1.0);
    if !(0.0..=MAX_ACCURACY).contains(&radius) {
        return Err(ReportError::Invalid { field: "acc", expected: "metres, at most 100000" });
    }
    Ok(PositionReport {
        time: Timestamp::from_millis((seconds * 1_000.0).round() as i64),
        device: device.clone(),
        at: place(object, "lat", "lon")?,
        accuracy: radius / RADIUS_68_PERCENT,
        level: None,
    })
}

fn field<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a Value, ReportError> {
    object.get(name).filter(|value| !value.is_null()).ok_or(ReportError::Missing(name))
}

fn number(object: &Map<String, Value>, name: &'static str, expected: &'static str) -> Result<f64, ReportError> {
    field(object, name)?.as_f64().ok_or(ReportError::Invalid { field: name, expected })
}

fn accuracy(object: &Map<String, Value>, name: &'static str) -> Result<Metres, ReportError> {
    let expected = "metres, more than 0 and at most 100000";
    let value = number(object, name, expected)?;
    if value > 0.0 && value <= MAX_ACCURACY { Ok(value) } else { Err(ReportError::Invalid { field: name, expected }) }
}

fn place(object: &Map<String, Value>, latitude: &'static str, longitude: &'static str) -> Result<LatLon, ReportError> {
    let (north, east) = ("degrees between -90 and 90", "degrees between -180 and 180");
    let at = LatLon { latitude: number(object, latitude, north)?, longitude: number(object, longitude, east)? };
    if !(-90.0..=90.0).contains(&at.latitude) {
        return Err(ReportError::Invalid { field: latitude, expected: north });
    }
    if !(-180.0..=180.0).contains(&at.longitude) {
        return Err(ReportError::Invalid { field: longitude, expected: east });
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(payload: &str) -> Result<PositionReport, ReportError> {
        position_report(&DeviceId::new("d1").unwrap(), payload.as_bytes())
    }

    #[test]
    fn own_reports_are_read() {
        let read = report(
            r#"{"time":"2026-01-01T10:00:00.000Z","latitude":48.5,"longitude":2,"accuracy":5.5,"level":-1,"extra":1}"#,
        )
        .unwrap();
        assert_eq!(read.time.to_string(), "2026-01-01T10:00:00.000Z");
        assert_eq!(read.at, LatLon { latitude: 48.5, longitude: 2.0 });
        assert_eq!((read.accuracy, read.level), (5.5, Some(LevelOrdinal(-1))));
        assert_eq!(read.device.as_str(), "d1");
    }

    #[test]
    fn owntracks_locations_are_read_with_their_radius_as_a_deviation() {
        let read =
            report(r#"{"_type":"location","tid":"ab","tst":1767261600,"lat":48.5,"lon":2.25,"acc":15}"#).unwrap();
        assert_eq!(read.time.to_string(), "2026-01-01T10:00:00.000Z");
        assert!((read.accuracy - 9.9365).abs() < 1e-3, "{}", read.accuracy);
        assert_eq!(read.level, None);
    }

    #[test]
    fn other_messages_are_refused_and_say_why() {
        let whole = r#"{"time":"2026-01-01T10:00:00Z","latitude":1,"longitude":2,"accuracy":3}"#;
        assert!(report(whole).is_ok());
        for (from, to, kind, words) in [
            (r#""time":"2026-01-01T10:00:00Z","#, "", "missing_field", "\"time\" is missing"),
            ("2026-01-01T10:00:00Z", "yesterday", "invalid_field", "\"time\" must be an RFC 3339 instant"),
            (
                r#""latitude":1"#,
                r#""latitude":90.1"#,
                "invalid_field",
                "\"latitude\" must be degrees between -90 and 90",
            ),
            (
                r#""longitude":2"#,
                r#""longitude":"2""#,
                "invalid_field",
                "\"longitude\" must be degrees between -180 and 180",
            ),
            (
                r#""accuracy":3"#,
                r#""accuracy":0"#,
                "invalid_field",
                "\"accuracy\" must be metres, more than 0 and at most 100000",
            ),
            (
                r#""accuracy":3"#,
                r#""accuracy":1e99"#,
                "invalid_field",
                "\"accuracy\" must be metres, more than 0 and at most 100000",
            ),
            (r#""accuracy":3"#, r#""accuracy":3,"level":40000"#, "invalid_field", "\"level\" must be a small integer"),
            (
                r#"{"time""#,
                r#"{"_type":"lwt","time""#,
                "other_type",
                "OwnTracks messages of type \"lwt\" are no position reports",
            ),
        ] {
            let error = report(&whole.replace(from, to)).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
        }
        assert_eq!(report("[]"), Err(ReportError::NotAnObject));
        assert_eq!(report("").unwrap_err().kind(), "not_json");
        assert_eq!(report(&"[".repeat(10_000)).unwrap_err().kind(), "not_json");
        assert_eq!(report(&" ".repeat(MAX_PAYLOAD + 1)).unwrap_err().kind(), "too_large");
    }

    proptest::proptest! {
        #[test]
        fn no_payload_makes_it_panic(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = position_report(&DeviceId::new("d1").unwrap(), &payload);
        }
    }
}
