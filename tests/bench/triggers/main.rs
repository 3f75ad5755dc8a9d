//! What rules cost an event: the same shoppers walk through the same store of 100 zones, once with 1,000 rules, once with
//! none, in turns. Every zone has ten rules of its own: of each of its events some have conditions over attributes and
//! labels, texts to fill in, caps, and hours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use beaconfence::config::read_site_texts;
use beaconfence::engine::{Engine, Input, Output};
use beaconfence::model::{DeviceId, LevelOrdinal, Point, Timestamp};
use beaconfence::position::PositionReport;
use beaconfence::registry::Registry;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ZONES: usize = 100;
const RULES_OF_A_ZONE: usize = 10;
const DEVICES: usize = 200;
/// Seconds that each walk takes.
const SECONDS: i64 = 600;
/// Of each, in turns.
const ROUNDS: usize = 5;
/// The goal, in microseconds an event.
const GOAL_US: f64 = 50.0;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("triggers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let plain = Arc::new(site(false)?);
    let ruled = Arc::new(site(true)?);
    if ruled.rules().triggers.len() != ZONES * RULES_OF_A_ZONE || !plain.rules().triggers.is_empty() {
        return Err("the sites do not have the rules that they should have".into());
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut events, mut fired, mut decided) = (0, 0, 0);
    for round in 0..ROUNDS {
        // Neither is always the first.
        for ruled_now in [round % 2 == 0, round % 2 != 0] {
            let walked = walk(if ruled_now { &ruled } else { &plain })?;
            let each = walked.took.as_secs_f64() * 1e6 / walked.events as f64;
            if ruled_now {
                with.push(each);
                (events, fired, decided) = (walked.events, walked.fired, walked.decided);
            } else {
                without.push(each);
            }
        }
    }
    let (without, with) = (median(without), median(with));
    println!("triggers: {events} events, {decided} decisions of rules, {fired} fired");
    if fired == 0 || decided <= fired {
        return Err("the rules did not do what they are measured for".into());
    }
    println!("triggers: {without:.1} us an event without rules, {with:.1} us with {}", ZONES * RULES_OF_A_ZONE);
    let more = with - without;
    let verdict = if more < GOAL_US { "met" } else { "missed" };
    println!("triggers/us-an-event-of-1000-rules measured={more:.1} goal={GOAL_US:.0} {verdict}");
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Walked {
    took: Duration,
    events: u64,
    fired: u64,
    decided: u64,
}

/// Every device goes from zone to zone, four seconds each, with a new order every time.
fn walk(registry: &Arc<Registry>) -> Result<Walked> {
    let mut engine = Engine::new(Arc::clone(registry), "bench");
    let start: Timestamp = "2026-03-02T10:00:00Z".parse()?;
    let mut inputs = Vec::new();
    for second in 0..SECONDS {
        let time = start.shifted(second * 1_000);
        for device in 0..DEVICES {
            let zone = (device * 37 + (second as usize / 4) * 61 + (second as usize / 4) * device) % ZONES;
            let point = Point { x: (zone % 10) as f64 * 10.0 + 4.0, y: (zone / 10) as f64 * 10.0 + 4.0 };
            inputs.push(PositionReport {
                time,
                device: DeviceId::new(&format!("d{device}"))?,
                at: registry.frame().to_geodetic(point),
                accuracy: 0.8,
                level: Some(LevelOrdinal(0)),
            });
        }
    }
    let serde_json::Value::Object(attributes) = serde_json::json!({"cart": 62.5, "tier": "gold"}) else {
        unreachable!()
    };
    for device in 0..DEVICES {
        engine.handle(Input::Attributes(DeviceId::new(&format!("d{device}"))?, attributes.clone()), start);
    }
    let (mut events, mut fired) = (0, 0);
    let began = Instant::now();
    for report in inputs {
        let now = report.time;
        engine.handle(Input::PositionReport(report), now);
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Event(_) => events += 1,
                Output::Trigger(_) => fired += 1,
                _ => {}
            }
        }
    }
    let took = began.elapsed();
    let decided = engine.trigger_counts().values().flat_map(BTreeMap::values).sum();
    Ok(Walked { took, events, fired, decided })
}

fn site(is_ruled: bool) -> Result<Registry> {
    let mut texts = BTreeMap::from([(
        "site.toml".to_owned(),
        "id = \"bench\"\ntime_zone = \"Europe/Paris\"\norigin = { latitude = 48.8566, longitude = 2.3522 }\n\
         [[level]]\nordinal = 0\noutline = [[0, 0], [110, 0], [110, 110], [0, 110]]\n"
            .to_owned(),
    )]);
    let frame =
        beaconfence::model::Frame::new(beaconfence::model::LatLon { latitude: 48.8566, longitude: 2.3522 }, 0.0)?;
    let mut features = Vec::new();
    for zone in 0..ZONES {
        let (x, y) = ((zone % 10) as f64 * 10.0, (zone / 10) as f64 * 10.0);
        let corner = |x: f64, y: f64| {
            let at = frame.to_geodetic(Point { x, y });
            [at.longitude, at.latitude]
        };
        let ring = [corner(x, y), corner(x + 8.0, y), corner(x + 8.0, y + 8.0), corner(x, y + 8.0), corner(x, y)];
        features.push(serde_json::json!({
            "type": "Feature",
            "properties": {"id": format!("z{zone}"), "level": 0, "labels": {"kind": if zone % 2 == 0 { "shelf" } else { "till" }},
                "metadata": {"link": format!("app://zone/{zone}")}, "enter_after": "1s", "exit_after": "2s"},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }));
    }
    texts.insert(
        "zones.geojson".to_owned(),
        serde_json::json!({"type": "FeatureCollection", "features": features}).to_string(),
    );
    let mut devices = "id,consent,labels\n".to_owned();
    for device in 0..DEVICES {
        let _ = writeln!(devices, "d{device},presence;marketing,member={}", if device % 3 == 0 { "no" } else { "yes" });
    }
    texts.insert("devices.csv".to_owned(), devices);
    if is_ruled {
        texts.insert("triggers.toml".to_owned(), rules());
    }
    let (registry, _, _) = read_site_texts(texts, BTreeMap::new()).map_err(|faults| faults.to_string())?;
    Ok(registry)
}

/// Ten rules for each zone.
fn rules() -> String {
    let mut text = "quiet_hours = [\"22:00-08:00\"]\nstore_hours = [\"09:00-20:00\"]\ncaps = [\"2000 per day\"]\n\
         [attributes]\ncart = \"number\"\ntier = \"string\"\n"
        .to_owned();
    for zone in 0..ZONES {
        let (here, next) = (format!("z{zone}"), format!("z{}", (zone + 1) % ZONES));
        let whens = [
            format!(
                "when = {{ entered = \"{here}\" }}\nif = 'attributes.cart > 50 && device.labels.member == \"yes\"'\nthen = {{ channels = [\"push\", \"sms\"], data = {{ link = \"{{{{ zone.metadata.link }}}}?n={{{{ visit.count }}}}\" }} }}"
            ),
            format!("when = {{ entered = \"{here}\" }}\nunless = {{ caps = [\"1 per day\"] }}"),
            format!("when = {{ entered = \"{here}\" }}\nif = 'attributes.tier == \"silver\"'"),
            format!("when = {{ exited = \"{here}\" }}\nif = 'visit.duration_s > 2'\nunless = {{ cool_down = \"5m\" }}"),
            format!("when = {{ exited = \"{here}\" }}\nif = 'local.weekday in [\"saturday\", \"sunday\"]'"),
            format!("when = {{ dwelled = \"3s\", in = \"{here}\" }}\nunless = {{ store_hours = true }}"),
            format!("when = {{ first_visit = \"{here}\" }}"),
            format!("when = {{ sequence = [\"{here}\", \"{next}\"], within = \"10m\" }}"),
            format!("when = {{ missed = \"{next}\", was_in = \"{here}\" }}"),
            format!("when = {{ occupancy = \"{here}\", above = 5, until = 2 }}"),
        ];
        for (number, when) in whens.iter().enumerate() {
            let _ = write!(text, "\n[[trigger]]\nid = \"{here}-{number}\"\ncampaign = \"c{number}\"\n{when}\n");
        }
    }
    text
}
