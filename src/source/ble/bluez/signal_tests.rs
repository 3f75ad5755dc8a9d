use super::*;

const DAEMON: &str = ":1.7";
const PATH: &str = "/org/bluez/hci0/dev_C0_00_00_00_00_0A";

fn ibeacon() -> Variant<'static> {
    Variant::from(HashMap::from([(0x004c_u16, Variant::from(vec![2_u8, 21, 0xe2]))]))
}

fn eddystone() -> Variant<'static> {
    Variant::from(HashMap::from([("0000feaa-0000-1000-8000-00805f9b34fb", Variant::from(vec![0_u8, 0xee]))]))
}

fn changed(path: &str, interface: &str, properties: Properties<'_>) -> Message {
    Message::signal(path, PROPERTIES, "PropertiesChanged")
        .sender(DAEMON)
        .build(&(interface, properties, Vec::<&str>::new()))
        .unwrap()
}

fn device(message: &Message) -> DeviceProperties {
    match signal(message, Some(DAEMON)) {
        Some(Told::Device(device)) => device,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_packet_is_one_message_with_everything_it_said() {
    let properties = HashMap::from([
        ("RSSI", Variant::from(-60_i16)),
        ("ManufacturerData", ibeacon()),
        ("ServiceData", eddystone()),
    ]);
    let heard = device(&changed(PATH, DEVICE, properties));
    assert_eq!(heard.adapter, "/org/bluez/hci0");
    assert_eq!(heard.address, [0xc0, 0, 0, 0, 0, 0x0a]);
    assert_eq!((heard.rssi, heard.random), (Some(-60), None));
    assert_eq!(heard.data.manufacturer_data, [(0x004c, vec![2, 21, 0xe2])]);
    let uuid = Uuid::parse_str("0000feaa-0000-1000-8000-00805f9b34fb").unwrap();
    assert_eq!(heard.data.service_data, [(uuid, vec![0, 0xee])]);
}

#[test]
fn a_device_that_is_new_is_told_with_its_first_packet_and_its_kind_of_address() {
    let properties = HashMap::from([
        ("RSSI", Variant::from(-61_i16)),
        ("AddressType", Variant::from("random")),
        ("ManufacturerData", ibeacon()),
    ]);
    let interfaces: Interfaces =
        HashMap::from([("org.freedesktop.DBus.Introspectable", HashMap::new()), (DEVICE, properties)]);
    let message = Message::signal("/", OBJECT_MANAGER, "InterfacesAdded")
        .sender(DAEMON)
        .build(&(ObjectPath::try_from(PATH).unwrap(), interfaces))
        .unwrap();
    let heard = device(&message);
    assert_eq!((heard.rssi, heard.random), (Some(-61), Some(true)));
    assert_eq!(heard.data.manufacturer_data.len(), 1);
}

#[test]
fn a_packet_may_have_an_rssi_alone() {
    let heard = device(&changed(PATH, DEVICE, HashMap::from([("RSSI", Variant::from(-60_i16))])));
    assert_eq!((heard.rssi, heard.data), (Some(-60), AdvertisingData::default()));
}

#[test]
fn an_adapters_power_and_its_going_are_told() {
    let message = changed("/org/bluez/hci1", ADAPTER, HashMap::from([("Powered", Variant::from(false))]));
    let off = AdapterProperties { powered: Some(false), ..AdapterProperties::default() };
    assert_eq!(signal(&message, Some(DAEMON)), Some(Told::Adapter("/org/bluez/hci1".into(), off)));
    let gone = Message::signal("/", OBJECT_MANAGER, "InterfacesRemoved")
        .sender(DAEMON)
        .build(&(ObjectPath::try_from("/org/bluez/hci1").unwrap(), vec![ADAPTER]))
        .unwrap();
    assert_eq!(signal(&gone, Some(DAEMON)), Some(Told::AdapterGone("/org/bluez/hci1".into())));
}

#[test]
fn the_coming_and_going_of_bluetoothd_is_told_by_the_bus_alone() {
    let owner = |sender: &'static str, new: &'static str| {
        let message = Message::signal("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged")
            .sender(sender)
            .build(&(SERVICE, DAEMON, new))
            .unwrap();
        signal(&message, Some(DAEMON))
    };
    assert_eq!(owner("org.freedesktop.DBus", ""), Some(Told::Owner(None)));
    assert_eq!(owner("org.freedesktop.DBus", ":1.9"), Some(Told::Owner(Some(":1.9".into()))));
    assert_eq!(owner(":1.66", ""), None);
}

#[test]
fn nobody_but_bluetoothd_is_believed() {
    let message = changed(PATH, DEVICE, HashMap::from([("RSSI", Variant::from(-60_i16))]));
    assert_eq!(signal(&message, Some(":1.66")), None);
    assert_eq!(signal(&message, None), None);
}

#[test]
fn what_is_malformed_is_left_out() {
    let rssi = || ("RSSI", Variant::from(-60_i16));
    for path in ["/org/bluez/hci0/dev_C0", "/org/bluez/hci0/dev_C0_00_00_00_00_0A_0B", "/org/bluez/hci0"] {
        assert_eq!(signal(&changed(path, DEVICE, HashMap::from([rssi()])), Some(DAEMON)), None, "{path}");
    }
    let odd = HashMap::from([rssi(), ("ManufacturerData", Variant::from("text")), ("ServiceData", ibeacon())]);
    assert_eq!(device(&changed(PATH, DEVICE, odd)).data, AdvertisingData::default());
    let text = Message::signal(PATH, PROPERTIES, "PropertiesChanged").sender(DAEMON).build(&"text").unwrap();
    assert_eq!(signal(&text, Some(DAEMON)), None);
}
