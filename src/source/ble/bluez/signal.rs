//! Messages of `bluetoothd`, parsed.
//!
//! One advertisement is one message: `InterfacesAdded` of a device that is new to `bluetoothd`, else `PropertiesChanged`
//! with its RSSI and whatever data the packet had (seen with 5.66: with the filter `DuplicateData`, which btleplug
//! sets, also where neither has changed). A message without an RSSI is none.

use std::collections::HashMap;

use uuid::Uuid;
use zbus::message::Type;
use zbus::{Message, ObjectPath, Variant};

use crate::advert::AdvertisingData;

/// The name of the service on the bus.
pub const SERVICE: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// What we ask the bus to pass on.
pub const MATCHES: [&str; 5] = [
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',\
     path_namespace='/org/bluez',arg0='org.bluez.Device1'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',\
     path_namespace='/org/bluez',arg0='org.bluez.Adapter1'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.ObjectManager',member='InterfacesAdded'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.ObjectManager',member='InterfacesRemoved'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.bluez'",
];

type Properties<'a> = HashMap<&'a str, Variant<'a>>;
type Interfaces<'a> = HashMap<&'a str, Properties<'a>>;

/// What a message tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Who `bluetoothd` is on the bus; none where it is gone.
    Owner(Option<String>),
    /// An adapter appeared, or some of its properties changed.
    Adapter(String, AdapterProperties),
    /// An adapter is gone.
    AdapterGone(String),
    /// A device was heard, or became known.
    Device(DeviceProperties),
}

/// Properties of an adapter, as far as they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterProperties {
    /// Its own address.
    pub address: Option<[u8; 6]>,
    /// Whether it is powered.
    pub powered: Option<bool>,
    /// Whether it is discovering, for whomever.
    pub discovering: Option<bool>,
}

/// Properties of a device, as far as they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProperties {
    /// The path of the adapter.
    pub adapter: String,
    /// Its address.
    pub address: [u8; 6],
    /// Whether that is a random one.
    pub random: Option<bool>,
    /// Its RSSI in dBm.
    pub rssi: Option<i16>,
    /// What it said.
    pub data: AdvertisingData,
}

/// Parses a signal; none where it is of no interest or malformed. `owner` is who `bluetoothd` is: nobody else is believed.
pub fn signal(message: &Message, owner: Option<&str>) -> Option<Told> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let sender = header.sender()?.as_str();
    let body = message.body();
    match (header.interface()?.as_str(), header.member()?.as_str()) {
        ("org.freedesktop.DBus", "NameOwnerChanged") if sender == "org.freedesktop.DBus" => {
            let (name, _old, new): (&str, &str, &str) = body.deserialize().ok()?;
            (name == SERVICE).then(|| Told::Owner((!new.is_empty()).then(|| new.to_owned())))
        }
        (PROPERTIES, "PropertiesChanged") if Some(sender) == owner => {
            let (interface, changed, _invalidated): (&str, Properties, Vec<&str>) = body.deserialize().ok()?;
            told(header.path()?, interface, &changed)
        }
        (OBJECT_MANAGER, "InterfacesAdded") if Some(sender) == owner => {
            let (path, interfaces): (ObjectPath, Interfaces) = body.deserialize().ok()?;
            interfaces.iter().find_map(|(interface, properties)| told(&path, interface, properties))
        }
        (OBJECT_MANAGER, "InterfacesRemoved") if Some(sender) == owner => {
            let (path, interfaces): (ObjectPath, Vec<&str>) = body.deserialize().ok()?;
            interfaces.contains(&ADAPTER).then(|| Told::AdapterGone(path.as_str().to_owned()))
        }
        _ => None,
    }
}

/// Parses the answer of `GetManagedObjects`: every adapter and device there is. None where it is malformed.
pub fn objects(message: &Message) -> Option<Vec<Told>> {
    let body = message.body();
    let objects: HashMap<ObjectPath, Interfaces> = body.deserialize().ok()?;
    let parse = |(path, interfaces): (&ObjectPath, &Interfaces)| {
        interfaces.iter().find_map(|(interface, properties)| told(path, interface, properties))
    };
    Some(objects.iter().filter_map(parse).collect())
}

/// The system's name of the adapter at a path: `hci0` of `/org/bluez/hci0`.
pub fn adapter_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn told(path: &ObjectPath<'_>, interface: &str, properties: &Properties<'_>) -> Option<Told> {
    match interface {
        ADAPTER => {
            let adapter = AdapterProperties {
                address: text(properties, "Address").and_then(|text| address(text, ':')),
                powered: boolean(properties, "Powered"),
                discovering: boolean(properties, "Discovering"),
            };
            Some(Told::Adapter(path.as_str().to_owned(), adapter))
        }
        DEVICE => {
            let (adapter, device) = path.as_str().split_once("/dev_")?;
            Some(Told::Device(DeviceProperties {
                adapter: adapter.to_owned(),
                address: address(device, '_')?,
                random: text(properties, "AddressType").map(|kind| kind == "random"),
                rssi: match properties.get("RSSI") {
                    Some(Variant::I16(rssi)) => Some(*rssi),
                    _ => None,
                },
                data: AdvertisingData {
                    manufacturer_data: entries(properties, "ManufacturerData", |key| match key {
                        Variant::U16(company) => Some(*company),
                        _ => None,
                    }),
                    service_data: entries(properties, "ServiceData", |key| match key {
                        Variant::Str(uuid) => Uuid::parse_str(uuid).ok(),
                        _ => None,
                    }),
                },
            }))
        }
        _ => None,
    }
}

/// A dictionary of byte strings in the order of its keys, since its own order is arbitrary.
fn entries<K: Ord>(
    properties: &Properties<'_>,
    name: &str,
    key: impl Fn(&Variant<'_>) -> Option<K>,
) -> Vec<(K, Vec<u8>)> {
    let Some(Variant::Dict(dictionary)) = properties.get(name) else { return Vec::new() };
    let mut entries: Vec<(K, Vec<u8>)> = dictionary.iter().filter_map(|(k, v)| Some((key(k)?, bytes(v)?))).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

fn bytes(value: &Variant<'_>) -> Option<Vec<u8>> {
    match value {
        Variant::Variant(inner) => bytes(inner),
        Variant::Array(array) => {
            let byte = |element: &Variant<'_>| match element {
                Variant::U8(byte) => Some(*byte),
                _ => None,
            };
            array.iter().map(byte).collect()
        }
        _ => None,
    }
}

fn boolean(properties: &Properties<'_>, name: &str) -> Option<bool> {
    match properties.get(name) {
        Some(Variant::Bool(value)) => Some(*value),
        _ => None,
    }
}

fn text<'a>(properties: &'a Properties<'_>, name: &str) -> Option<&'a str> {
    match properties.get(name) {
        Some(Variant::Str(value)) => Some(value.as_str()),
        _ => None,
    }
}

fn address(text: &str, separator: char) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(separator);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
