//! The lines of a sightings file, as this program writes them and [`super::replay`] reads them.
//!
//! Everything in them is made of letters, digits and signs that JSON need not escape.

use std::fmt::Write as _;

use crate::advert::{Address, Advertisement, AdvertisingData, DeviceSighting};
use crate::model::{Rssi, Timestamp};
use crate::position::PositionReport;

/// A sighting, without a line feed.
pub fn sighting_line(heard: &Advertisement) -> String {
    line(heard.time, ("receiver", heard.receiver.as_str()), heard.address, heard.rssi, &heard.data)
}

/// A sighting by a device, without a line feed.
pub fn device_sighting_line(heard: &DeviceSighting) -> String {
    line(heard.time, ("device", heard.device.as_str()), heard.address, heard.rssi, &heard.data)
}

fn line(
    time: Timestamp,
    (member, by): (&str, &str),
    address: Option<Address>,
    rssi: Rssi,
    data: &AdvertisingData,
) -> String {
    let mut line = format!("{{\"time\":\"{time}\",\"{member}\":\"{by}\"");
    if let Some(address) = address {
        let _ = write!(line, ",\"address\":\"{address}\"");
        if let Some(random) = address.random {
            line += if random { ",\"address_type\":\"random\"" } else { ",\"address_type\":\"public\"" };
        }
    }
    let _ = write!(line, ",\"rssi\":{rssi}");
    let object = |name: &str, entries: Vec<String>| {
        if entries.is_empty() { String::new() } else { format!(",\"{name}\":{{{}}}", entries.join(",")) }
    };
    let manufacturer =
        data.manufacturer_data.iter().map(|(company, bytes)| format!("\"{company:04x}\":\"{}\"", hex::encode(bytes)));
    line += &object("manufacturer_data", manufacturer.collect());
    let service =
        data.service_data.iter().map(|(service, bytes)| format!("\"{}\":\"{}\"", short(service), hex::encode(bytes)));
    line += &object("service_data", service.collect());
    line.push('}');
    line
}

/// A position report, without a line feed.
pub fn report_line(report: &PositionReport) -> String {
    let mut line = format!(
        "{{\"time\":\"{}\",\"device\":\"{}\",\"latitude\":{},\"longitude\":{},\"accuracy\":{}",
        report.time, report.device, report.at.latitude, report.at.longitude, report.accuracy
    );
    if let Some(level) = report.level {
        let _ = write!(line, ",\"level\":{level}");
    }
    line.push('}');
    line
}

/// A service UUID as sightings files write it: four digits where it stands on the Bluetooth base UUID.
fn short(service: &uuid::Uuid) -> String {
    let text = service.to_string();
    match text.strip_prefix("0000").and_then(|rest| rest.strip_suffix("-0000-1000-8000-00805f9b34fb")) {
        Some(short) => short.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Input;
    use crate::source::replay;

    #[test]
    fn what_is_written_is_read_back() {
        let lines = [
            r#"{"time":"2026-01-01T10:00:00.000Z","receiver":"r1","address":"aa:bb:cc:dd:ee:ff","address_type":"random","rssi":-67.25,"manufacturer_data":{"004c":"0215"},"service_data":{"feaa":"00ee","12345678-1234-1234-1234-123456789012":"01"}}"#,
            r#"{"time":"2026-01-01T10:00:00.001Z","receiver":"r1","rssi":-67}"#,
            r#"{"time":"2026-01-01T10:00:00.002Z","device":"d1","latitude":48.85661234,"longitude":-2.5,"accuracy":4.5,"level":-1}"#,
            r#"{"time":"2026-01-01T10:00:00.002Z","device":"d1","address":"aa:bb:cc:dd:ee:ff","rssi":-70}"#,
            r#"{"time":"2026-01-01T10:00:00.003Z","device":"d1","latitude":48,"longitude":2,"accuracy":1}"#,
        ];
        let read = replay::read("f", std::io::Cursor::new(lines.join("\n")), None).unwrap();
        let written: Vec<String> = read
            .map(|item| match item.unwrap().1 {
                Input::Advertisement(heard) => sighting_line(&heard),
                Input::Heard(heard) => device_sighting_line(&heard),
                Input::PositionReport(report) => report_line(&report),
                Input::Attributes(..) | Input::Receiver(..) => unreachable!("there is none of it above"),
            })
            .collect();
        assert_eq!(written, lines);
    }
}
