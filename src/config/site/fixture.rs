//! Registries as they come, for tests.

use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::model::{
    BeaconId, DeviceId, Frame, LatLon, LevelOrdinal, MeasuredPower, Point, Probability, ReceiverId, SiteId, TriggerId,
    ZoneId,
};
use crate::registry::{
    Absence, AttributeType, Beacon, Bound, Cap, Consent, Device, DeviceKind, FloorPlan, Hours, Identity, KindMargins,
    Level, Period, Place, Places, PlanFormat, PresenceSettings, RadioDefaults, Receiver, Record, Registry, Ring, Rules,
    Shape, SharedCap, Site, Then, Trigger, TriggerSettings, Unless, When, Zone,
};

/// All that a registry holds, in the order in which one refers to another.
pub(super) fn records(registry: &Registry) -> Vec<Record> {
    let site = registry.site();
    let mut records = vec![Record::Site(Box::new(site.clone()))];
    records.extend(site.levels.iter().cloned().map(Record::Level));
    records.extend(registry.receivers().iter().cloned().map(Record::Receiver));
    records.extend(registry.zones().iter().cloned().map(Record::Zone));
    records.extend(registry.devices().iter().cloned().map(Record::Device));
    records.extend(registry.beacons().iter().cloned().map(Record::Beacon));
    records.push(Record::TriggerSettings(registry.rules().settings.clone()));
    records.extend(registry.rules().triggers.iter().cloned().map(Record::Trigger));
    records
}

/// A text of any kind, with what files quote.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-zé ]{1,12}", "[ -~]{0,10}", ".{0,6}", Just("a;b,\"c\"\n\t\\'#".to_owned())]
}

fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map("[a-z._/-]{1,8}", text(), 0..4)
}

fn metadata() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    let value = prop_oneof![
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        text().prop_map(serde_json::Value::from),
        Just(serde_json::json!({"b": [1, null, {"a": true}], "a": {}})),
    ];
    vec((text(), value), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

/// A ring around a point: corners in the order of their angles never cross.
fn ring(least: f64, most: f64) -> impl Strategy<Value = Ring> {
    (vec(least..most, 3..9), 0.0..1.0_f64).prop_map(|(radii, turn)| {
        let count = radii.len() as f64;
        let at = |(number, radius): (usize, f64)| {
            let angle = (number as f64 + turn) / count * std::f64::consts::TAU;
            Point { x: radius * angle.cos(), y: radius * angle.sin() }
        };
        radii.into_iter().enumerate().map(at).collect()
    })
}

fn moved(ring: &Ring, by: Point) -> Ring {
    ring.iter().map(|point| Point { x: point.x + by.x, y: point.y + by.y }).collect()
}

fn point() -> impl Strategy<Value = Point> {
    (-900.0..900.0_f64, -900.0..900.0_f64).prop_map(|(x, y)| Point { x, y })
}

fn shape() -> impl Strategy<Value = Shape> {
    let holed = || {
        (ring(5.0, 9.0), option::of(ring(0.5, 1.2)))
            .prop_map(|(outer, hole)| (outer, hole.into_iter().collect::<Vec<Ring>>()))
    };
    prop_oneof![
        (point(), 0.01..500.0_f64).prop_map(|(centre, radius)| Shape::Circle { centre, radius }),
        (holed(), point()).prop_map(|((outer, holes), at)| {
            Shape::Polygons(vec![(moved(&outer, at), holes.iter().map(|hole| moved(hole, at)).collect())])
        }),
        (vec(holed(), 2..4), point()).prop_map(|(parts, at)| {
            let apart = |(number, (outer, holes)): (usize, (Ring, Vec<Ring>))| {
                let at = Point { x: at.x + 20.0 * number as f64, y: at.y };
                (moved(&outer, at), holes.iter().map(|hole| moved(hole, at)).collect())
            };
            Shape::Polygons(parts.into_iter().enumerate().map(apart).collect())
        }),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![(1_u64..10_000_000).prop_map(Duration::from_millis), (1_u64..100).prop_map(Duration::from_secs)]
}

fn presence() -> impl Strategy<Value = PresenceSettings> {
    let probabilities = (0.01..=1.0_f64, 0.0..=1.0_f64);
    let given =
        (probabilities, [duration(), duration(), duration(), duration()], btree_set(duration(), 0..4), -50.0..50.0_f64);
    let given = given.prop_map(|((enter, share), [enter_after, exit_after, lost_after, max_hold], dwell, margin)| {
        PresenceSettings {
            enter_probability: Probability::saturating(enter),
            enter_after,
            exit_probability: Probability::saturating(enter * share),
            exit_after,
            lost_after,
            dwell: dwell.into_iter().collect(),
            max_hold,
            margin,
        }
    });
    prop_oneof![Just(PresenceSettings::default()), given]
}

fn level(ordinal: i16) -> impl Strategy<Value = Level> {
    let plan = (
        prop::sample::select(&PlanFormat::ALL[..]),
        1_u32..9_999,
        1_u32..9_999,
        point(),
        0.001..9.0_f64,
        -360.0..360.0_f64,
    )
        .prop_map(move |(media_type, width, height, corner, metres_per_pixel, bearing)| FloorPlan {
            file: format!("floor{ordinal}.{}", media_type.extension()),
            media_type,
            width,
            height,
            corner,
            metres_per_pixel,
            bearing,
        });
    (text(), -50.0..50.0_f64, option::of(ring(20.0, 90.0)), option::of(plan)).prop_map(
        move |(name, elevation, outline, plan)| Level {
            ordinal: LevelOrdinal(ordinal),
            name,
            elevation,
            outline,
            plan,
        },
    )
}

fn site() -> impl Strategy<Value = Site> {
    let levels = prop_oneof![
        level(0).prop_map(|level| vec![level]),
        (level(-1), level(0), level(2)).prop_map(|(a, b, c)| vec![a, b, c]),
    ];
    let origin =
        (-80.0..80.0_f64, prop_oneof![-180.0..=180.0_f64, Just(179.999_9), Just(-179.999_95)], -360.0..=360.0_f64);
    (text(), origin, levels, 1.0..6.0_f64, -100.0..0.0_f64, [-50.0..50.0_f64, -50.0..50.0_f64, -50.0..50.0_f64])
        .prop_map(
            |(name, (latitude, longitude, bearing), levels, path_loss_exponent, power, [customer, staff, asset])| {
                Site {
                    id: SiteId::new("site-1").unwrap(),
                    name,
                    time_zone: "Europe/Paris".to_owned(),
                    frame: Frame::new(LatLon { latitude, longitude }, bearing).unwrap(),
                    levels,
                    radio: RadioDefaults { path_loss_exponent, measured_power: MeasuredPower::new(power).unwrap() },
                    margins: KindMargins { customer, staff, asset },
                }
            },
        )
}

fn identity(number: u8) -> impl Strategy<Value = Identity> {
    prop_oneof![
        Just(Identity::Mac([0xc0, 0, 0, 0, 0, number])),
        any::<[u8; 16]>().prop_map(move |uuid| Identity::IBeacon { uuid, major: 7, minor: number.into() }),
        any::<[u8; 10]>().prop_map(move |namespace| Identity::EddystoneUid { namespace, instance: [number; 6] }),
        Just(Identity::AltBeacon([number; 20])),
    ]
}

/// What a beacon is beside its id: identity, device, place, measured power.
type BeaconParts = (Identity, Option<usize>, Option<Point>, Option<f64>);

fn beacons() -> impl Strategy<Value = Vec<BeaconParts>> {
    (0_u8..6).prop_flat_map(|count| {
        let beacon =
            |number| (identity(number), option::of(0_usize..4), option::of(point()), option::of(-99.0..0.0_f64));
        (0..count).map(beacon).collect::<Vec<_>>()
    })
}

fn word() -> impl Strategy<Value = String> {
    "[A-Za-zé\"'#][ -~é]{0,10}"
}

fn places() -> impl Strategy<Value = Places> {
    let place = prop_oneof![
        Just(Place::Any),
        Just(Place::Zone(ZoneId::site())),
        ("[a-z]{1,6}", "[A-Za-zé\"][a-z=]{0,6}").prop_map(|(key, value)| Place::Label(key, value)),
    ];
    vec(place, 1..4).prop_map(Places)
}

fn when() -> impl Strategy<Value = When> {
    let absence = prop_oneof![
        duration().prop_map(Absence::For),
        (1.1..100.0_f64, 3_u16..=16).prop_map(|(factor, min_visits)| Absence::Usual { factor, min_visits }),
    ];
    prop_oneof![
        places().prop_map(When::Entered),
        places().prop_map(When::Exited),
        (duration(), places(), any::<bool>()).prop_map(|(after, places, total)| When::Dwelled { after, places, total }),
        places().prop_map(When::FirstVisit),
        (places(), duration()).prop_map(|(places, after)| When::Returned { places, after }),
        (places(), absence).prop_map(|(places, absence)| When::Absent { places, absence }),
        (vec(places(), 2..4), duration()).prop_map(|(steps, within)| When::Sequence { steps, within }),
        (places(), places()).prop_map(|(places, was_in)| When::Missed { places, was_in }),
        (0_u32..1_000, 0_u32..1_000, any::<bool>()).prop_map(|(one, other, above)| {
            let (least, most) = (one.min(other), one.max(other));
            let (bound, until) = if above { (Bound::Above(most), least) } else { (Bound::Below(least), most) };
            When::Occupancy { zone: ZoneId::site(), bound, until }
        }),
    ]
}

fn cap() -> impl Strategy<Value = Cap> {
    let last = duration().prop_map(Period::Last);
    let per = prop_oneof![
        Just(Period::Day),
        Just(Period::Week),
        Just(Period::Month),
        Just(Period::Visit),
        Just(Period::Ever),
        last
    ];
    (1_u16..=10_000, per).prop_map(|(most, per)| Cap { most, per })
}

fn hours() -> impl Strategy<Value = Hours> {
    let spans = || vec((0_u16..1_440, 1_u16..1_440), 0..3);
    let days = [spans(), spans(), spans(), spans(), spans(), spans(), spans()];
    (days, btree_set(1_i8..28, 0..3)).prop_map(|(days, closed)| {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let span =
            |(from, length): (u16, u16)| format!("{}-{}", clock(from), clock((from + length) % 1_440)).parse().unwrap();
        Hours {
            days: days.map(|spans| spans.into_iter().map(span).collect()),
            closed: closed.into_iter().map(|day| jiff::civil::date(2_026, 12, day)).collect(),
        }
    })
}

/// Rules, and what they obey; about no zone and no beacon by name.
pub(super) fn any_rules() -> impl Strategy<Value = Rules> {
    let attributes = btree_map("[a-z_][A-Za-z0-9_]{0,6}", prop::sample::select(&AttributeType::ALL[..]), 0..4);
    let shared = (cap(), option::of(word())).prop_map(|(cap, campaign)| SharedCap { cap, campaign });
    let days = (1_u64..=1_830).prop_map(|days| Duration::from_secs(days * 86_400));
    let settings = (attributes, option::of(hours()), option::of(hours()), vec(shared, 0..3), days).prop_map(
        |(attributes, store_hours, quiet_hours, caps, retention)| TriggerSettings {
            attributes,
            store_hours,
            quiet_hours,
            caps,
            retention,
        },
    );
    let unless =
        (vec(cap(), 0..3), vec(cap(), 0..3), option::of(duration()), any::<[bool; 2]>(), "[a-z]{0,9}", 0.0..99.0_f64)
            .prop_map(|(caps, site_caps, cool_down, [quiet_hours, store_hours], consent, holdout)| Unless {
                caps,
                site_caps,
                cool_down,
                quiet_hours,
                store_hours,
                consent,
                holdout,
            });
    let key = option::of(Just("{{device.id}}: {{trigger.id}}".to_owned()));
    // Braces are for expressions, of which there is one above.
    let is_plain = |value: &serde_json::Value| !value.is_object() && !value.to_string().contains("{{");
    let data = metadata().prop_map(move |data| data.into_iter().filter(|(_, value)| is_plain(value)).collect());
    let then = (0_u8..=9, duration(), btree_set("[a-z]{1,9}", 0..3), key, any::<bool>(), data).prop_map(
        |(priority, expires_after, channels, deduplication_key, card, data)| Then {
            priority,
            expires_after,
            channels: channels.into_iter().collect(),
            deduplication_key,
            card,
            data,
        },
    );
    let condition = option::of(Just("device.labels.tier == \"gold\" && visit.count > 2".to_owned()));
    let rule = (word(), word(), any::<bool>(), when(), condition, unless, then);
    (settings, vec(rule, 0..4)).prop_map(|(settings, rules)| {
        let rule = |(at, (name, campaign, enabled, when, condition, unless, then))| {
            let id = TriggerId::new(&format!("t{at}")).unwrap();
            std::sync::Arc::new(Trigger { id, name, campaign, enabled, when, condition, unless, then })
        };
        Rules { settings: settings.into(), triggers: rules.into_iter().enumerate().map(rule).collect() }
    })
}

/// A registry of a few of everything, not rounded to what files say.
pub(super) fn any_registry() -> impl Strategy<Value = Registry> {
    let zone = (text(), shape(), labels(), metadata(), presence());
    let device = (prop::sample::select(&DeviceKind::ALL[..]), btree_set("[a-z]{1,9}", 0..3), labels());
    let receiver = (point(), -5.0..5.0_f64, -60.0..60.0_f64);
    let whole = option::of((text(), labels(), metadata(), presence()));
    (site(), whole, vec(zone, 0..5), vec(device, 4), beacons(), vec(receiver, 0..4), any_rules()).prop_map(
        |(site, whole, zones, devices, beacons, receivers, rules)| {
            let level = |number: usize| site.levels[number % site.levels.len()].ordinal;
            let mut all_zones: Vec<Zone> = zones
                .into_iter()
                .enumerate()
                .map(|(at, (name, shape, labels, metadata, presence))| Zone {
                    id: ZoneId::new(&format!("z{at}")).unwrap(),
                    name,
                    level: Some(level(at)),
                    shape,
                    labels,
                    metadata,
                    presence,
                })
                .collect();
            all_zones.extend(whole.map(|(name, labels, metadata, presence)| Zone {
                name,
                labels,
                metadata,
                presence: PresenceSettings { margin: 0.0, ..presence },
                ..Zone::whole_site(&site)
            }));
            let device_id = |at: usize| DeviceId::new(&format!("d{at}")).unwrap();
            let all_devices = devices.into_iter().enumerate().map(|(at, (kind, consent, labels))| Device {
                id: device_id(at),
                kind,
                consent: Consent(consent.into_iter().collect()),
                labels,
            });
            let all_beacons = beacons.into_iter().enumerate().map(|(at, (identity, device, place, power))| Beacon {
                id: BeaconId::new(&format!("b{at}")).unwrap(),
                identity,
                fixed: place.filter(|_| device.is_none()).map(|point| (point, level(at))),
                device: device.map(device_id),
                measured_power: power.map(|power| MeasuredPower::new(power).unwrap()),
            });
            let all_receivers = receivers.into_iter().enumerate().map(|(at, (point, z, rssi_offset))| Receiver {
                id: ReceiverId::new(&format!("r{at}")).unwrap(),
                point,
                z,
                level: level(at),
                rssi_offset,
            });
            let (receivers, beacons, devices) = (all_receivers.collect(), all_beacons.collect(), all_devices.collect());
            let registry = Registry::new(site.clone(), receivers, all_zones, beacons, devices).unwrap();
            registry.with_rules(rules.into()).unwrap()
        },
    )
}

/// The registry as its files say it: each record to their decimals.
pub(super) fn rounded(registry: &Registry) -> Registry {
    let forms = records(registry).into_iter().map(|record| {
        let form = super::forms::to_json(&record, registry.frame()).to_string();
        let record = super::forms::from_json(record.key().kind(), &form, registry).unwrap().0;
        (record.key().kind(), super::forms::to_json(&record, registry.frame()).to_string().into_bytes())
    });
    super::forms::from_stored(forms).unwrap()
}
