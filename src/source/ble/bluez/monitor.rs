//! The advertisement monitor: what makes the kernel scan without the controller's duplicate filter.
//!
//! A scan alone leaves that filter on, and a strict one passes one advertisement of a beacon until the scan is started
//! again, which the kernel does every 10.5 s. While any `org.bluez.AdvertisementMonitor1` is active on an adapter, the
//! kernel switches it off (`hci_active_scan_sync` in `net/bluetooth/hci_sync.c`: else the monitor itself would not work),
//! whatever the monitor's patterns are. Ours are those of beacons, so that they would be heard even while another
//! program interrupts the scan; strangers match none of them, and `bluetoothd` has no work with them.
//!
//! `bluetoothd` offers monitors only with `-E` (experimental; seen with 5.66). Where it does not, the scan is cycled.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use zbus::message::{Header, Type};
use zbus::{Message, ObjectPath, Variant};

use super::signal::SERVICE;

const MONITOR: &str = "org.bluez.AdvertisementMonitor1";
const MANAGER: &str = "org.bluez.AdvertisementMonitorManager1";
const ROOT: &str = "/io/beaconfence/";

/// Between `RegisterMonitor` and `Activate`, which come within milliseconds.
const ACTIVATION: Duration = Duration::from_secs(3);

/// After a refusal it is tried again: at first because an adapter that has just appeared may not offer it yet, later
/// because a refusal may have passed.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(60)];

/// Start position, AD type and content, as in `org.bluez.AdvertisementMonitor1`.
const PATTERNS: [(u8, u8, &[u8]); 3] = [
    // iBeacon: manufacturer data of Apple, type and length.
    (0, 0xff, &[0x4c, 0x00, 0x02, 0x15]),
    // AltBeacon: manufacturer data of anyone, beacon code.
    (2, 0xff, &[0xbe, 0xac]),
    // Eddystone: service data of 0xfeaa.
    (0, 0x16, &[0xaa, 0xfe]),
];

/// The monitor of one adapter.
#[derive(Debug)]
pub struct Monitor {
    stage: Stage,
    refusals: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be registered, not before.
    Wanted(Instant),
    /// `RegisterMonitor` was sent.
    Asked(Instant),
    /// The kernel scans without the filter.
    Active,
}

impl Monitor {
    /// To be registered.
    pub fn new(now: Instant) -> Self {
        Self { stage: Stage::Wanted(now), refusals: 0 }
    }

    /// Whether it is to be registered now. The caller sends [`register`] and says [`Self::asked`].
    pub fn due(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Wanted(from) if now >= from)
    }

    /// `RegisterMonitor` was sent.
    pub fn asked(&mut self, now: Instant) {
        self.stage = Stage::Asked(now);
    }

    /// `RegisterMonitor` was refused.
    pub fn refused(&mut self, now: Instant) {
        let wait = RETRIES[self.refusals.min(RETRIES.len() - 1)];
        self.refusals += 1;
        self.stage = Stage::Wanted(now + wait);
    }

    /// `bluetoothd` activated it.
    pub fn activated(&mut self) {
        self.stage = Stage::Active;
        self.refusals = 0;
    }

    /// `bluetoothd` let go of it, or is gone.
    pub fn released(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Gives up on an activation that does not come.
    pub fn tick(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Asked(at) if now.duration_since(at) > ACTIVATION) {
            self.refused(now);
        }
    }

    /// Whether the kernel scans without the filter.
    pub fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }

    /// Whether it seems not to be had.
    pub fn is_refused(&self) -> bool {
        self.refusals > 1
    }
}

/// A message that registers the monitor of an adapter, or takes it away.
///
/// # Errors
/// Where the adapter's path is malformed, which `bluetoothd`'s are not.
pub fn register(adapter_path: &str, register: bool) -> zbus::Result<Message> {
    let member = if register { "RegisterMonitor" } else { "UnregisterMonitor" };
    let root = root(adapter_path);
    let root = ObjectPath::try_from(root.as_str())?;
    Message::method_call(adapter_path, member).destination(SERVICE).interface(MANAGER).build(&(root))
}

/// What a call of `bluetoothd` to one of our monitors means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// The monitor of the adapter of that name is active now.
    Activated(String),
    /// It is not any more.
    Released(String),
    /// Nothing of interest.
    Other,
}

/// Answers a call to us: what it means, and the answer. None where the message is no call.
pub fn answer(message: &Message) -> Option<(Called, zbus::Result<Message>)> {
    if message.message_type() != Type::MethodCall {
        return None;
    }
    let header = message.header();
    let path = header.path().map_or("", |path| path.as_str());
    let interface = header.interface().map_or("", |interface| interface.as_str());
    let member = header.member().map_or("", |member| member.as_str());
    let Some(place) = path.strip_prefix(ROOT) else { return Some((Called::Other, unknown(&header))) };
    let (name, is_monitor) = match place.split_once('/') {
        Some((name, "monitor")) => (name, true),
        None => (place, false),
        Some(_) => return Some((Called::Other, unknown(&header))),
    };
    let done = || Message::method_return(&header).build(&());
    Some(match (is_monitor, interface, member) {
        (false, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") => (Called::Other, objects(&header, name)),
        (true, "org.freedesktop.DBus.Properties", "GetAll") => {
            (Called::Other, Message::method_return(&header).build(&properties()))
        }
        (true, MONITOR, "Activate") => (Called::Activated(name.to_owned()), done()),
        (true, MONITOR, "Release") => (Called::Released(name.to_owned()), done()),
        (true, MONITOR, "DeviceFound" | "DeviceLost") => (Called::Other, done()),
        _ => (Called::Other, unknown(&header)),
    })
}

fn root(adapter_path: &str) -> String {
    format!("{ROOT}{}", super::signal::adapter_name(adapter_path))
}

fn objects(header: &Header<'_>, name: &str) -> zbus::Result<Message> {
    let monitor = format!("{ROOT}{name}/monitor");
    let monitor = ObjectPath::try_from(monitor.as_str())?;
    let objects = HashMap::from([(monitor, HashMap::from([(MONITOR, properties())]))]);
    Message::method_return(header).build(&objects)
}

fn properties() -> HashMap<&'static str, Variant<'static>> {
    let patterns: Vec<(u8, u8, Vec<u8>)> =
        PATTERNS.iter().map(|(start, kind, content)| (*start, *kind, content.to_vec())).collect();
    HashMap::from([
        ("Type", Variant::from("or_patterns")),
        // Zero: every advertisement counts.
        ("RSSISamplingPeriod", Variant::from(0_u16)),
        ("Patterns", Variant::from(patterns)),
    ])
}

fn unknown(header: &Header<'_>) -> zbus::Result<Message> {
    Message::error(header, "org.freedesktop.DBus.Error.UnknownMethod").build(&("no such method here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, interface: &str, member: &str) -> (Called, Message) {
        let call = Message::method_call(path, member).interface(interface).sender(":1.7").build(&()).unwrap();
        let (called, answer) = answer(&call).unwrap();
        (called, answer.unwrap())
    }

    #[test]
    fn bluetoothd_finds_one_monitor_for_each_adapter() {
        let (_, answer) = call("/io/beaconfence/hci1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
        let body = answer.body();
        let objects: HashMap<ObjectPath<'_>, HashMap<&str, HashMap<&str, Variant<'_>>>> = body.deserialize().unwrap();
        let monitor = &objects[&ObjectPath::try_from("/io/beaconfence/hci1/monitor").unwrap()][MONITOR];
        assert_eq!(monitor["Type"], Variant::from("or_patterns"));
        assert_eq!(monitor["Patterns"].value_signature().to_string(), "a(yyay)");
    }

    #[test]
    fn the_monitor_of_each_adapter_is_told_apart() {
        let (called, _) = call("/io/beaconfence/hci1/monitor", MONITOR, "Activate");
        assert_eq!(called, Called::Activated("hci1".into()));
        let (called, _) = call("/io/beaconfence/hci0/monitor", MONITOR, "Release");
        assert_eq!(called, Called::Released("hci0".into()));
    }

    #[test]
    fn what_we_do_not_offer_is_refused() {
        for path in ["/", "/io/beaconfence/hci0/monitor/x", "/io/beaconfence/hci0"] {
            let (called, answer) = call(path, MONITOR, "Activate");
            assert_eq!((called, answer.message_type()), (Called::Other, Type::Error), "{path}");
        }
    }

    #[test]
    fn a_refusal_counts_once_it_is_repeated_and_is_tried_again_later() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut monitor = Monitor::new(start);
        assert!(monitor.due(start));
        monitor.asked(start);
        assert!(!monitor.due(at(1)));
        monitor.refused(start);
        assert!(!monitor.is_refused(), "an adapter that has just appeared may not offer it yet");
        assert!(monitor.due(at(1)));
        monitor.asked(at(1));
        monitor.tick(at(5));
        assert!(monitor.is_refused(), "registered, and not activated within 3 s");
        assert!(!monitor.due(at(7)) && monitor.due(at(8)));
        monitor.asked(at(8));
        monitor.activated();
        assert!(monitor.is_active() && !monitor.is_refused());
        monitor.released(at(9));
        assert!(!monitor.is_active() && monitor.due(at(9)));
    }
}
