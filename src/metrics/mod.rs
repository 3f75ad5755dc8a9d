//! Figures for those who watch over gateways, in the `OpenMetrics` format.
//!
//! Names and units are by the convention of Prometheus. No label has more values than the site has receivers, or than a list
//! in the code: nothing that devices do makes more series.

mod process;

use std::collections::BTreeMap;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::model::{BeaconId, ReceiverId, Timestamp};
use crate::mqtt::wire::{ReceiverStatus, Status};

/// The media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the loop knows.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The status as it is published.
    pub status: Status,
    /// Devices that are somewhere.
    pub present: u64,
    /// Presence events since the start, by kind.
    pub events: [(&'static str, u64); 3],
    /// When each receiver last heard anything.
    pub last_heard: BTreeMap<ReceiverId, Timestamp>,
    /// Beacons that have been heard or should be, by how they fare.
    pub beacons: BTreeMap<&'static str, u64>,
    /// Beacons whose battery is low, a thousand at most.
    pub low: Vec<BeaconId>,
    /// Zones, beacons and devices that are registered.
    pub registered: [(&'static str, u64); 3],
}

/// What waits for the broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outbox {
    /// Events that wait.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Age of the oldest, in seconds.
    pub oldest_s: f64,
    /// Events that a broker has taken, in this epoch.
    pub acknowledged: u64,
    /// Of these, those that nobody subscribed to.
    pub unheard: u64,
    /// Events set aside because brokers refused them.
    pub parked: u64,
    /// Events given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Whether a broker has let the gateway in.
    pub connected: bool,
    /// Whether the disk takes nothing.
    pub failing: bool,
    /// Bytes of the database on disk.
    pub disk_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// A family of series.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// The value of the label, where there is one.
    series: Vec<(Option<String>, f64)>,
    label: &'static str,
}

impl Family {
    fn one(kind: Kind, name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind, series: vec![(None, value)], label: "" }
    }

    fn by<K: ToString>(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        series: impl IntoIterator<Item = (K, f64)>,
    ) -> Self {
        let series = series.into_iter().map(|(value, figure)| (Some(value.to_string()), figure)).collect();
        Self { name, help, kind, series, label }
    }
}

#[derive(Debug)]
struct Figures {
    version: &'static str,
    families: Vec<Family>,
}

/// Counters of the status that have a name of their own here.
const COUNTERS: [(&str, &str, &str); 10] = [
    ("sightings_shed", "beaconfence_sightings_shed", "Advertisements dropped because the gateway was behind."),
    ("strangers", "beaconfence_strangers", "Advertisements of beacons that are not registered."),
    ("fixed_beacons", "beaconfence_fixed_beacon_sightings", "Advertisements of registered fixed beacons."),
    ("position_reports", "beaconfence_position_reports", "Position reports taken in."),
    ("commits", "beaconfence_database_commits", "Transactions that the disk has taken."),
    ("connects", "beaconfence_broker_connects", "How often a broker let the gateway in."),
    ("replays_answered", "beaconfence_replays_answered", "Requests to send events again that were answered."),
    ("triggers_expired", "beaconfence_triggers_expired", "Triggers given up because they came to be worth nothing."),
    ("clock_jumps", "beaconfence_clock_jumps", "How often the clock was set by more than a little."),
    ("recorded", "beaconfence_recorded_sightings", "Sightings and reports written to recordings."),
];

/// Counters of the status that say why something was not taken in, and the reason.
const REFUSED: [(&str, &str); 11] = [
    ("without_consent", "no_consent"),
    ("refused_ahead", "ahead"),
    ("refused_behind", "behind"),
    ("reports_outside", "outside"),
    ("unknown_levels", "unknown_level"),
    ("stale_reports", "stale"),
    ("unknown_devices", "unknown_device"),
    ("unknown_receivers", "unknown_receiver"),
    ("unplaced_beacons", "unplaced_beacon"),
    ("reports_shed", "shed"),
    ("reports_refused", "unreadable"),
];

/// The text. Without a reading it has what does not hang on the loop.
pub fn text(reading: Option<&Reading>, outbox: &Outbox) -> String {
    let mut families = of_outbox(outbox);
    families.extend(process::families());
    if let Some(reading) = reading {
        families.extend(of_receivers(reading));
        families.extend(of_site(reading));
    }
    families.sort_by_key(|family| family.name);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures { version: env!("CARGO_PKG_VERSION"), families }));
    let mut text = String::new();
    // Writing to a text cannot fail; what is written until then is of no use to anybody.
    match encode(&mut text, &registry) {
        Ok(()) => text,
        Err(_) => "# EOF\n".to_owned(),
    }
}

fn of_outbox(outbox: &Outbox) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let flag = |is: bool| f64::from(u8::from(is));
    vec![
        Family::one(Gauge, "beaconfence_outbox_messages", "Events that wait for a broker.", outbox.messages as f64),
        Family::one(Gauge, "beaconfence_outbox_bytes", "Bytes of the events that wait.", outbox.bytes as f64),
        Family::one(Gauge, "beaconfence_outbox_oldest_seconds", "Age of the oldest event that waits.", outbox.oldest_s),
        Family::one(
            Counter,
            "beaconfence_outbox_acknowledged",
            "Events that a broker has taken, in this epoch.",
            outbox.acknowledged as f64,
        ),
        Family::one(
            Counter,
            "beaconfence_outbox_unheard",
            "Events that a broker has taken and nobody subscribed to, in this epoch.",
            outbox.unheard as f64,
        ),
        Family::one(
            Counter,
            "beaconfence_outbox_parked",
            "Events set aside because brokers refused them again and again, in this epoch.",
            outbox.parked as f64,
        ),
        Family::by(
            Counter,
            "beaconfence_outbox_dropped",
            "Events given up, in this epoch.",
            "reason",
            outbox.dropped.iter().map(|(reason, count)| (reason, *count as f64)),
        ),
        Family::one(
            Gauge,
            "beaconfence_broker_connected",
            "Whether a broker has let the gateway in.",
            flag(outbox.connected),
        ),
        Family::one(Gauge, "beaconfence_store_failing", "Whether the disk takes nothing.", flag(outbox.failing)),
        Family::one(Gauge, "beaconfence_database_bytes", "Bytes of the database on disk.", outbox.disk_bytes as f64),
    ]
}

/// What is heard, and by whom.
fn of_receivers(reading: &Reading) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let status = &reading.status;
    let counted = |name: &str| status.counters.get(name).map(|count| *count as f64);
    let receivers =
        |figure: fn(&ReceiverStatus) -> f64| status.receivers.iter().map(move |(id, now)| (id, figure(now)));
    vec![
        Family::by(
            Counter,
            "beaconfence_advertisements",
            "Advertisements heard, strangers included.",
            "receiver",
            receivers(|now| now.advertisements as f64),
        ),
        Family::by(
            Counter,
            "beaconfence_sightings",
            "Advertisements of registered devices taken in.",
            "receiver",
            receivers(|now| now.sightings as f64),
        ),
        Family::by(
            Counter,
            "beaconfence_receiver_recoveries",
            "How often the watchdog of a receiver had to step in.",
            "receiver",
            receivers(|now| now.recoveries as f64),
        ),
        Family::by(
            Gauge,
            "beaconfence_receiver_up",
            "Whether a receiver works and hears what it should.",
            "receiver",
            receivers(|now| f64::from(u8::from(now.state == "up"))),
        ),
        Family::by(
            Gauge,
            "beaconfence_receiver_last_sighting_timestamp_seconds",
            "When a receiver last heard anything.",
            "receiver",
            reading.last_heard.iter().map(|(id, at)| (id, at.as_millis() as f64 / 1_000.0)),
        ),
        Family::by(
            Counter,
            "beaconfence_observations_refused",
            "Sightings and reports that were not taken in.",
            "reason",
            REFUSED.iter().filter_map(|(name, reason)| Some((reason, counted(name)?))),
        ),
    ]
}

/// What comes of it.
fn of_site(reading: &Reading) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let status = &reading.status;
    let counted = |name: &str| status.counters.get(name).map(|count| *count as f64);
    // Those that have not come about are there as well: what begins with 1 has no rate.
    let triggers = crate::trigger::Outcome::ALL.iter().map(|outcome| {
        let outcome = outcome.as_str();
        (outcome, counted(&format!("triggers_{outcome}")).unwrap_or(0.0))
    });
    let mut families = vec![
        Family::one(
            Gauge,
            "beaconfence_devices_present",
            "Devices that are in a zone or in the site.",
            reading.present as f64,
        ),
        Family::by(
            Gauge,
            "beaconfence_registered",
            "What is registered.",
            "what",
            reading.registered.iter().map(|(what, count)| (what, *count as f64)),
        ),
        Family::by(
            Gauge,
            "beaconfence_beacons",
            "Registered beacons by how they fare.",
            "state",
            reading.beacons.iter().map(|(state, count)| (state, *count as f64)),
        ),
        Family::by(
            Gauge,
            "beaconfence_beacon_battery_low",
            "Beacons that need a battery, a thousand at most.",
            "beacon",
            reading.low.iter().map(|beacon| (beacon, 1.0)),
        ),
        Family::by(
            Counter,
            "beaconfence_presence_events",
            "Presence events made.",
            "kind",
            reading.events.iter().map(|(kind, count)| (kind, *count as f64)),
        ),
        Family::by(
            Counter,
            "beaconfence_triggers",
            "What came of trigger rules: fired, or what held them back.",
            "outcome",
            triggers,
        ),
        Family::one(
            Gauge,
            "beaconfence_clock_synchronised",
            "Whether the clock is known to be right.",
            f64::from(u8::from(!status.clock_suspect)),
        ),
    ];
    families.extend(
        COUNTERS.iter().filter_map(|(name, metric, help)| Some(Family::one(Counter, metric, help, counted(name)?))),
    );
    families
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        encoder
            .encode_descriptor("beaconfence_build", "What runs.", None, MetricType::Info)?
            .encode_info(&[("version", self.version)])?;
        for family in &self.families {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (label, value) in &family.series {
                match label {
                    Some(label) => {
                        put(&mut metric.encode_family(&[(family.label, label.as_str())])?, family.kind, *value)?;
                    }
                    None => put(&mut metric, family.kind, *value)?,
                }
            }
        }
        Ok(())
    }
}

fn put(series: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> std::fmt::Result {
    match kind {
        Kind::Counter => series.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>),
        Kind::Gauge => series.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut status = Status::online(since);
        let receiver = ReceiverId::new("till").unwrap();
        status.receivers.insert(
            receiver.clone(),
            ReceiverStatus {
                state: "up",
                reason: None,
                advertisements: 12,
                sightings: 7,
                shed: 0,
                lag_ms: 0,
                recoveries: 0,
                unfiltered: true,
            },
        );
        status.counters.extend(
            [("strangers", 5), ("without_consent", 2), ("triggers_fired", 3), ("triggers_expired", 1)]
                .map(|(name, count)| (name.to_owned(), count)),
        );
        Reading {
            status,
            present: 4,
            events: [("entered", 9), ("dwelled", 8), ("exited", 7)],
            last_heard: BTreeMap::from([(receiver, since)]),
            beacons: BTreeMap::from([("ok", 5), ("moved", 1)]),
            low: vec![BeaconId::new("shelf").unwrap()],
            registered: [("zones", 3), ("beacons", 2), ("devices", 1)],
        }
    }

    #[test]
    fn every_figure_has_its_name_its_kind_and_its_label() {
        let outbox = Outbox { messages: 3, dropped: BTreeMap::from([("full".to_owned(), 2)]), ..Outbox::default() };
        let text = text(Some(&reading()), &outbox);
        for line in [
            concat!("beaconfence_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE beaconfence_sightings counter",
            "beaconfence_sightings_total{receiver=\"till\"} 7.0",
            "beaconfence_advertisements_total{receiver=\"till\"} 12.0",
            "beaconfence_receiver_up{receiver=\"till\"} 1.0",
            "beaconfence_receiver_last_sighting_timestamp_seconds{receiver=\"till\"} 1767323045.0",
            "beaconfence_observations_refused_total{reason=\"no_consent\"} 2.0",
            "beaconfence_presence_events_total{kind=\"entered\"} 9.0",
            "beaconfence_triggers_total{outcome=\"fired\"} 3.0",
            "beaconfence_triggers_total{outcome=\"cap\"} 0.0",
            "beaconfence_triggers_expired_total 1.0",
            "beaconfence_strangers_total 5.0",
            "beaconfence_outbox_messages 3.0",
            "beaconfence_outbox_dropped_total{reason=\"full\"} 2.0",
            "beaconfence_broker_connected 0.0",
            "beaconfence_beacons{state=\"moved\"} 1.0",
            "beaconfence_beacon_battery_low{beacon=\"shelf\"} 1.0",
            "beaconfence_devices_present 4.0",
            "beaconfence_clock_synchronised 1.0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("outcome=\"expired\""), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn no_family_is_there_twice() {
        let text = text(Some(&reading()), &Outbox::default());
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let before = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before, "{text}");
        assert!(before > 25, "{before}");
    }

    #[test]
    fn the_page_about_monitoring_has_every_figure() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md")).unwrap();
        let mut all = reading();
        all.status.counters.extend(COUNTERS.iter().map(|(name, ..)| ((*name).to_owned(), 1)));
        for line in text(Some(&all), &Outbox::default()).lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            let is_there = [format!("| `{name}` |"), format!("| `{name}{{")].iter().any(|row| page.contains(row));
            assert!(is_there, "docs/monitoring.md has no row of {name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_measured() {
        let text = text(None, &Outbox::default());
        let figure = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
        };
        assert!(figure("process_resident_memory_bytes") > 1_000_000.0);
        assert!(figure("process_open_fds") >= 3.0);
        assert!(figure("process_start_time_seconds") > 1_600_000_000.0);
        assert!(figure("process_cpu_seconds_total") >= 0.0);
    }
}
