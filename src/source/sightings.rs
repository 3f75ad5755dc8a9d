//! Sightings files: JSON Lines, one sighting or position report a line.
//!
//! A sighting has `time`, `receiver` and `rssi`, and may have `address`, `address_type` (`public` or `random`),
//! `manufacturer_data` and `service_data` (each from an identifier in hex to bytes in hex). With `device` in place of
//! `receiver` it is what that device heard of a fixed beacon. A position report has `time`, `device`, `latitude`,
//! `longitude` and `accuracy`, and may have `level`. Other members are ignored; `null` is as good as no member.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::lines::{Line, Lines};
use super::replay::Cause;
use crate::advert::line::{MAX_LINE, Text};
use crate::advert::text::{self, TextError};
use crate::advert::{Address, AddressError, Advertisement, AdvertisingData, DeviceSighting};
use crate::clock::Clock;
use crate::engine::Input;
use crate::model::{DeviceId, IdError, LatLon, LevelOrdinal, ReceiverId, Rssi, Timestamp, TimestampError, UnitError};
use crate::position::PositionReport;

/// The vaguest position report that is taken, in metres.
const MOST_VAGUE: f64 = 100_000.0;
/// Why a line is neither a sighting nor a position report.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SightingError {
    /// It is longer than any such line need be.
    #[error("the line is longer than {MAX_LINE} bytes; write one JSON object a line")]
    TooLong,
    /// It is empty.
    #[error("the line is empty; remove it, or write one JSON object a line")]
    Empty,
    /// It is not JSON, or a member is of the wrong type.
    #[error("{what} (column {column}); write one sighting or position report as a JSON object a line")]
    Json {
        /// What is wrong.
        what: String,
        /// Where in the line, counted from 1.
        column: usize,
    },
    /// It is neither a sighting nor a position report.
    #[error(
        "the line has neither \"receiver\" (a sighting) nor \"device\" (a position report, or a sighting by that device)"
    )]
    Neither,
    /// It names two who heard it.
    #[error(
        "the line has both \"receiver\" and \"device\"; give \"receiver\" alone for what a receiver heard, \
         \"device\" alone for what a device heard or where it is"
    )]
    Both,
    /// It is a sighting by a device and a position report in one.
    #[error(
        "the line has both \"rssi\" (a sighting by the device) and \"{0}\" (a position report); write each on a line of its own"
    )]
    Mixed(&'static str),
    /// A member that must be there is not.
    #[error("the {what} lacks \"{member}\"")]
    Missing {
        /// `sighting`, `sighting by a device` or `position report`.
        what: &'static str,
        /// The member.
        member: &'static str,
    },
    /// `time` is no instant.
    #[error("\"time\": {0}")]
    Time(#[from] TimestampError),
    /// `receiver` or `device` is no id.
    #[error("\"{member}\": {error}")]
    Id {
        /// The member.
        member: &'static str,
        /// Why.
        error: IdError,
    },
    /// `address` is none.
    #[error("\"address\": {0}")]
    Address(#[from] AddressError),
    /// `address_type` is neither `public` nor `random`.
    #[error("\"address_type\" is \"{0}\", but must be \"public\" or \"random\"")]
    AddressType(String),
    /// `rssi` is out of range.
    #[error("\"rssi\": {0}")]
    Rssi(#[from] UnitError),
    /// Advertising data is not written as it must be.
    #[error("\"{member}\": {error}")]
    Data {
        /// The member.
        member: &'static str,
        /// Why.
        error: TextError,
    },
    /// The point is not on the ellipsoid.
    #[error("latitude {latitude} must lie between -90 and 90 degrees, longitude {longitude} between -180 and 180")]
    Point {
        /// The latitude given.
        latitude: f64,
        /// The longitude given.
        longitude: f64,
    },
    /// The accuracy is none.
    #[error("\"accuracy\" is {0}, but must be a positive number of metres, at most 100000")]
    Accuracy(f64),
}

/// Reads a sightings file.
pub(super) struct Sightings<R> {
    lines: Lines<R>,
    line: u64,
    receivers: Receivers,
    /// Where sightings come as they are heard: what stamps them, whatever their lines say.
    clock: Option<Clock>,
}

impl<R: Read> Sightings<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader, MAX_LINE), line: 0, receivers: Receivers::default(), clock: None }
    }

    /// Sightings that come as they are heard.
    pub(super) fn live(reader: R, clock: Clock) -> Self {
        Self { clock: Some(clock), ..Self::new(reader) }
    }

    /// The line that the last item was in, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn next(&mut self) -> Option<Result<(Timestamp, Input), Cause>> {
        self.line += 1;
        Some(match self.lines.next_line() {
            Ok(None) => return None,
            Ok(Some(Line::Whole(line))) => {
                let heard_at = self.clock.as_ref().map(Clock::now);
                parse(line, &mut self.receivers, heard_at).map_err(Cause::Sighting)
            }
            Ok(Some(Line::TooLong)) => Err(Cause::Sighting(SightingError::TooLong)),
            Err(error) => Err(Cause::Read(error)),
        })
    }
}

/// Ids of receivers seen so far, so that each is made once and not once a line.
#[derive(Debug, Default)]
pub(super) struct Receivers(HashSet<ReceiverId>);

impl Receivers {
    fn get(&mut self, id: &str) -> Result<ReceiverId, IdError> {
        /// More receivers than a site has: a file with more is odd, and must not take memory for it.
        const MANY: usize = 4096;
        if let Some(known) = self.0.get(id) {
            return Ok(known.clone());
        }
        let new = ReceiverId::new(id)?;
        if self.0.len() >= MANY {
            self.0.clear();
        }
        self.0.insert(new.clone());
        Ok(new)
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    receiver: Option<Text<'a>>,
    #[serde(borrow)]
    address: Option<Text<'a>>,
    #[serde(borrow)]
    address_type: Option<Text<'a>>,
    rssi: Option<f64>,
    #[serde(borrow)]
    manufacturer_data: Option<HexMap<'a>>,
    #[serde(borrow)]
    service_data: Option<HexMap<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    accuracy: Option<f64>,
    level: Option<i16>,
    attributes: Option<serde_json::Map<String, serde_json::Value>>,
}

fn parse(
    line: &[u8],
    receivers: &mut Receivers,
    heard_at: Option<Timestamp>,
) -> Result<(Timestamp, Input), SightingError> {
    if line.trim_ascii().is_empty() {
        return Err(SightingError::Empty);
    }
    let wire: Wire<'_> = serde_json::from_slice(line).map_err(|error| json_error(&error))?;
    match (&wire.receiver, &wire.device) {
        (None, Some(_)) if wire.attributes.is_some() => attributes(wire, heard_at),
        (Some(_), None) => sighting(wire, receivers, heard_at),
        (None, Some(_)) => by_device(wire, heard_at),
        (Some(_), Some(_)) => Err(SightingError::Both),
        (None, None) => Err(SightingError::Neither),
    }
}

/// What the back end says of a device.
fn attributes(wire: Wire<'_>, heard_at: Option<Timestamp>) -> Result<(Timestamp, Input), SightingError> {
    let missing = |member| SightingError::Missing { what: "line of attributes", member };
    let time = match heard_at {
        Some(heard_at) => heard_at,
        None => wire.time.ok_or_else(|| missing("time"))?.0.parse()?,
    };
    let device = DeviceId::new(wire.device.as_ref().map(|text| &*text.0).unwrap_or_default())
        .map_err(|error| SightingError::Id { member: "device", error })?;
    Ok((time, Input::Attributes(device, wire.attributes.unwrap_or_default())))
}

/// A position report, or what a device heard.
fn by_device(wire: Wire<'_>, heard_at: Option<Timestamp>) -> Result<(Timestamp, Input), SightingError> {
    let place = [
        ("latitude", wire.latitude.is_some()),
        ("longitude", wire.longitude.is_some()),
        ("accuracy", wire.accuracy.is_some()),
    ];
    let of_place = place.iter().find(|(_, given)| *given).map(|(member, _)| *member);
    let of_packet = wire.address.is_some() || wire.manufacturer_data.is_some() || wire.service_data.is_some();
    match (wire.rssi, of_place) {
        (Some(_), Some(member)) => Err(SightingError::Mixed(member)),
        (None, Some(_)) => position_report(&wire),
        (None, None) if !of_packet => position_report(&wire),
        (_, None) => {
            let device = DeviceId::new(wire.device.as_ref().map(|text| &*text.0).unwrap_or_default())
                .map_err(|error| SightingError::Id { member: "device", error })?;
            let Packet { time, address, rssi, data } = packet(wire, "sighting by a device", heard_at)?;
            Ok((time, Input::Heard(DeviceSighting { time, device, address, rssi, data })))
        }
    }
}

fn sighting(
    wire: Wire<'_>,
    receivers: &mut Receivers,
    heard_at: Option<Timestamp>,
) -> Result<(Timestamp, Input), SightingError> {
    let receiver = receivers
        .get(wire.receiver.as_ref().map(|text| &*text.0).unwrap_or_default())
        .map_err(|error| SightingError::Id { member: "receiver", error })?;
    let Packet { time, address, rssi, data } = packet(wire, "sighting", heard_at)?;
    Ok((time, Input::Advertisement(Advertisement { time, receiver, address, rssi, data })))
}

/// What is the same whoever heard it.
struct Packet {
    time: Timestamp,
    address: Option<Address>,
    rssi: Rssi,
    data: AdvertisingData,
}

fn packet(wire: Wire<'_>, what: &'static str, heard_at: Option<Timestamp>) -> Result<Packet, SightingError> {
    let missing = |member| SightingError::Missing { what, member };
    let time = match heard_at {
        Some(heard_at) => heard_at,
        None => wire.time.ok_or_else(|| missing("time"))?.0.parse()?,
    };
    let random = match wire.address_type.as_ref().map(|text| &*text.0) {
        None => None,
        Some("random") => Some(true),
        Some("public") => Some(false),
        Some(other) => return Err(SightingError::AddressType(other.chars().take(40).collect())),
    };
    let address = match wire.address {
        None => None,
        Some(text) => Some(Address { random, ..text.0.parse()? }),
    };
    let rssi = Rssi::new(wire.rssi.ok_or_else(|| missing("rssi"))?)?;
    let data = AdvertisingData {
        manufacturer_data: pairs("manufacturer_data", wire.manufacturer_data, text::company)?,
        service_data: pairs("service_data", wire.service_data, text::service)?,
    };
    Ok(Packet { time, address, rssi, data })
}

fn position_report(wire: &Wire<'_>) -> Result<(Timestamp, Input), SightingError> {
    let missing = |member| SightingError::Missing { what: "position report", member };
    let time: Timestamp = wire.time.as_ref().ok_or_else(|| missing("time"))?.0.parse()?;
    let device = DeviceId::new(&wire.device.as_ref().ok_or_else(|| missing("device"))?.0)
        .map_err(|error| SightingError::Id { member: "device", error })?;
    let latitude = wire.latitude.ok_or_else(|| missing("latitude"))?;
    let longitude = wire.longitude.ok_or_else(|| missing("longitude"))?;
    let at = LatLon { latitude, longitude };
    if !at.is_valid() {
        return Err(SightingError::Point { latitude, longitude });
    }
    let accuracy = wire.accuracy.ok_or_else(|| missing("accuracy"))?;
    if !(accuracy > 0.0 && accuracy <= MOST_VAGUE) {
        return Err(SightingError::Accuracy(accuracy));
    }
    let level = wire.level.map(LevelOrdinal);
    Ok((time, Input::PositionReport(PositionReport { time, device, at, accuracy, level })))
}

fn pairs<K>(
    member: &'static str,
    map: Option<HexMap<'_>>,
    key: impl Fn(&str) -> Result<K, TextError>,
) -> Result<Vec<(K, Vec<u8>)>, SightingError> {
    let fail = |error| SightingError::Data { member, error };
    let entries = map.map(|map| map.0).unwrap_or_default();
    entries
        .into_iter()
        .map(|(name, value)| {
            let mut bytes = Vec::new();
            text::hex_bytes(&value, &mut bytes).map_err(fail)?;
            Ok((key(&name).map_err(fail)?, bytes))
        })
        .collect()
}

/// An object whose values are strings, in order.
struct HexMap<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for HexMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexMapVisitor;

        impl<'de> Visitor<'de> for HexMapVisitor {
            type Value = HexMap<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from identifiers to hex digits")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HexMap<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(HexMap(entries))
            }
        }

        deserializer.deserialize_map(HexMapVisitor)
    }
}

/// serde's words, without its line, which is always 1.
fn json_error(error: &serde_json::Error) -> SightingError {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what).to_owned();
    SightingError::Json { what, column: error.column() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::full_uuid;

    fn read(line: &str) -> Result<(Timestamp, Input), SightingError> {
        parse(line.as_bytes(), &mut Receivers::default(), None)
    }

    #[test]
    fn the_sighting_of_the_documentation_is_read() {
        let line = r#"{"time":"2026-01-01T10:00:00.000Z","receiver":"r1","address":"aa:bb:cc:dd:ee:ff","address_type":"random","rssi":-67,"manufacturer_data":{"004c":"0215"},"service_data":{"feaa":"00"}}"#;
        let (time, Input::Advertisement(heard)) = read(line).unwrap() else { panic!() };
        assert_eq!((time, heard.time), ("2026-01-01T10:00:00Z".parse().unwrap(), time));
        assert_eq!(heard.receiver.as_str(), "r1");
        let bytes = [0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(heard.address, Some(Address { bytes, random: Some(true) }));
        assert_eq!(heard.rssi, Rssi::new(-67.0).unwrap());
        assert_eq!(heard.data.manufacturer_data, [(0x4c, vec![2, 0x15])]);
        assert_eq!(heard.data.service_data, [(full_uuid(0xfeaa), vec![0])]);
    }

    #[test]
    fn a_sighting_needs_no_address_type_and_no_data_and_may_have_a_fraction() {
        let line = r#"{"time":"2026-01-01T10:00:00.000Z","receiver":"r1","address":"AA:BB:CC:DD:EE:FF","rssi":-67.25,"new":[1],"service_data":null}"#;
        let (_, Input::Advertisement(heard)) = read(line).unwrap() else { panic!() };
        assert_eq!((heard.address.unwrap().random, heard.rssi), (None, Rssi::new(-67.25).unwrap()));
    }

    #[test]
    fn a_position_report_is_read() {
        let line = r#"{"time":"2026-01-01T10:00:00.000Z","device":"d1","latitude":48.5,"longitude":2.5,"accuracy":5.0,"level":-1}"#;
        let (_, Input::PositionReport(report)) = read(line).unwrap() else { panic!() };
        assert_eq!(report.device.as_str(), "d1");
        assert_eq!(report.at, LatLon { latitude: 48.5, longitude: 2.5 });
        assert!((report.accuracy - 5.0).abs() < 1e-9);
        assert_eq!(report.level, Some(LevelOrdinal(-1)));
        let without_level = line.replace(",\"level\":-1", "");
        let (_, Input::PositionReport(report)) = read(&without_level).unwrap() else { panic!() };
        assert_eq!(report.level, None);
    }

    #[test]
    fn what_a_device_heard_is_read_as_what_a_receiver_heard() {
        let line = r#"{"time":"2026-01-01T10:00:00.250Z","receiver":"r1","address":"aa:bb:cc:dd:ee:ff","address_type":"public","rssi":-67.5,"manufacturer_data":{"004c":"0215"},"service_data":{"feaa":"00"}}"#;
        let (_, Input::Advertisement(by_receiver)) = read(line).unwrap() else { panic!() };
        let (time, Input::Heard(heard)) = read(&line.replace("receiver", "device")).unwrap() else { panic!() };
        assert_eq!((time, heard.time, heard.device.as_str()), (by_receiver.time, by_receiver.time, "r1"));
        assert_eq!((heard.address, heard.rssi, heard.data), (by_receiver.address, by_receiver.rssi, by_receiver.data));
    }

    #[test]
    fn a_line_that_is_wrong_says_what_to_do() {
        let sighting = |rest: &str| format!(r#"{{"time":"2026-01-01T10:00:00Z","receiver":"r1",{rest}}}"#);
        let report = |rest: &str| format!(r#"{{"time":"2026-01-01T10:00:00Z","device":"d1",{rest}}}"#);
        for (line, part) in [
            (String::new(), "the line is empty"),
            ("{".to_owned(), "(column 1); write one sighting"),
            ("[]".to_owned(), "write one sighting"),
            ("{}".to_owned(), "neither \"receiver\""),
            (r#"{"receiver":"r1","rssi":-60}"#.to_owned(), "the sighting lacks \"time\""),
            (sighting("\"x\":1"), "the sighting lacks \"rssi\""),
            (sighting("\"rssi\":127"), "\"rssi\": 127 is not an RSSI; it must lie between -127 and 20 dBm"),
            (sighting("\"rssi\":\"-60\""), "invalid type: string \"-60\", expected f64"),
            (sighting("\"rssi\":-60,\"address\":\"x\""), "\"address\": \"x\" is not an address"),
            (sighting("\"rssi\":-60,\"address_type\":\"static\""), "must be \"public\" or \"random\""),
            (
                sighting("\"rssi\":-60,\"manufacturer_data\":{\"004c\":\"0\"}"),
                "\"manufacturer_data\": \"0\" is not hex",
            ),
            (sighting("\"rssi\":-60,\"service_data\":{\"x\":\"00\"}"), "\"service_data\": \"x\" is not a service UUID"),
            (sighting("\"rssi\":-60,\"service_data\":[]"), "expected an object from identifiers to hex digits"),
            (sighting("\"rssi\":-60").replace("2026-01-01T10", "yesterday"), "is not an RFC 3339 instant"),
            (sighting("\"rssi\":-60").replace("r1", "r 1"), "\"receiver\": \"r 1\" holds ' '"),
            (report("\"receiver\":\"r1\",\"rssi\":-60"), "both \"receiver\" and \"device\""),
            (report("\"rssi\":-60,\"latitude\":48.5"), "both \"rssi\" (a sighting by the device) and \"latitude\""),
            (report("\"address\":\"aa:bb:cc:dd:ee:ff\""), "the sighting by a device lacks \"rssi\""),
            (report("\"rssi\":-160"), "\"rssi\": -160 is not an RSSI"),
            (report("\"rssi\":-60,\"address\":\"x\""), "\"address\": \"x\" is not an address"),
            (report("\"rssi\":-60").replace("d1", "d 1"), "\"device\": \"d 1\" holds ' '"),
            (report("\"rssi\":-60").replace("2026-01-01T10", "yesterday"), "is not an RFC 3339 instant"),
            (r#"{"device":"d1","rssi":-60}"#.to_owned(), "the sighting by a device lacks \"time\""),
            (report("\"level\":0"), "the position report lacks \"latitude\""),
            (report("\"latitude\":48.5,\"accuracy\":5"), "the position report lacks \"longitude\""),
            (report("\"latitude\":98.5,\"longitude\":2,\"accuracy\":5"), "latitude 98.5 must lie between"),
            (report("\"latitude\":48.5,\"longitude\":2,\"accuracy\":0"), "must be a positive number of metres"),
            (report("\"latitude\":48.5,\"longitude\":2,\"accuracy\":1,\"level\":0.5"), "expected i16"),
        ] {
            let message = read(&line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn many_receivers_take_bounded_memory() {
        let mut receivers = Receivers::default();
        for at in 0..10_000 {
            assert_eq!(receivers.get(&format!("r{at}")).unwrap().as_str(), format!("r{at}"));
        }
        assert!(receivers.0.len() <= 4096);
    }
}
