//! `beaconfence firmware plan`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Choice, Source, target_parser};
use crate::cli::table::{self, number, print, text};
use crate::firmware::air::Air;
use crate::firmware::plan::{self, CERTAINTY, Row, SIGHTINGS, Step, seconds};
use crate::firmware::power::days_text;
use crate::firmware::{Interval, Settings, Subject, Target};
use crate::registry::RadioDefaults;

/// A legacy advertisement holds so many bytes; every kind of beacon nearly fills it.
const MOST_BYTES: usize = 31;

/// Compares advertising intervals and powers: how long the battery lasts, and how soon the beacon is heard
///
/// Of a beacon of the registry, or, where none is named, of any. The figures behind it are in docs/firmware.md.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The beacon
    #[arg(value_name = "BEACON")]
    beacon: Option<String>,
    /// Whose radio
    #[arg(long, value_parser = target_parser(Target::SENDERS), default_value = "zephyr")]
    target: Target,
    #[command(flatten)]
    choice: Choice,
    /// Choose the longest interval with which a zone is entered within this time
    #[arg(long, value_name = "SECONDS", conflicts_with = "interval")]
    within: Option<f64>,
    /// How long the receiver listens in each scan interval, in ms [default: all the time]
    #[arg(long, value_name = "MS", requires = "scan_interval")]
    scan_window: Option<f64>,
    /// How often it begins to listen, in ms
    #[arg(long, value_name = "MS", requires = "scan_window")]
    scan_interval: Option<f64>,
    /// The share of packets that get lost, from 0 to 0.95 [default: 0.3]
    #[arg(long, value_name = "SHARE")]
    loss: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut settings = args.choice.settings(args.target)?;
    let usual = Air::default();
    let air = Air::new(
        args.scan_window.unwrap_or(usual.window_ms()),
        args.scan_interval.unwrap_or(usual.interval_ms()),
        args.loss.unwrap_or(usual.loss()),
    )?;
    let presence = settings.presence();
    if let Some(within) = args.within {
        let found = plan::longest(&settings, &air, &presence, within * 1_000.0);
        settings.interval = found.ok_or_else(|| {
            let least = Interval::new(Interval::LEAST).map_or(0.0, |interval| {
                Row::new(&Settings { interval, ..settings }, MOST_BYTES, &air, &presence).entered_ms
            });
            anyhow::anyhow!("no interval does it within {within} s; the shortest takes {}", seconds(least))
        })?;
    }
    let registry = match &args.beacon {
        Some(_) => Some(args.source.registry()?),
        None => None,
    };
    let subject = match (&args.beacon, &registry) {
        (Some(id), Some(registry)) => Some(Subject::find(registry, id)?),
        _ => None,
    };
    if let Some(subject) = &subject {
        subject.check(args.target)?;
    }
    let bytes = subject.as_ref().map_or(MOST_BYTES, |subject| settings.bytes(subject));
    let radio = registry.as_ref().map_or(RadioDefaults::default(), |registry| registry.site().radio);
    let exponent = radio.path_loss_exponent;
    let told = Told {
        rows: plan::intervals(&settings, bytes, &air, &presence)?,
        steps: plan::steps(args.target, &settings, bytes, exponent),
        subject,
        settings,
        bytes,
        air,
        exponent,
    };
    print(&if args.json { format!("{}\n", told.json(args.target)) } else { told.text() })?;
    Ok(ExitCode::SUCCESS)
}

struct Told<'a> {
    rows: Vec<Row>,
    steps: Vec<Step>,
    subject: Option<Subject<'a>>,
    settings: Settings,
    bytes: usize,
    air: Air,
    exponent: f64,
}

impl Told<'_> {
    fn text(&self) -> String {
        let (settings, air) = (&self.settings, &self.air);
        let beacon = self.subject.map_or("any beacon".to_owned(), |subject| {
            format!("beacon {} ({})", subject.beacon.id, subject.beacon.identity)
        });
        let mark = |is_chosen: bool| if is_chosen { "*" } else { "" }.to_owned();
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let rows = self.rows.iter().map(|row| {
            vec![
                mark(row.interval == settings.interval),
                format!("{} ms", row.interval.ms()),
                known(row.average_ua.map(microamperes)),
                known(row.days.map(days_text)),
                seconds(row.heard_ms),
                seconds(row.entered_ms),
                if row.is_too_rare() { format!("{:.1e}", row.lost) } else { "-".to_owned() },
            ]
        });
        let rows = table::lines(
            &[
                text(""),
                number("interval"),
                number("average"),
                number("battery"),
                number("heard"),
                number("in a zone"),
                number("lost by chance"),
            ],
            rows.collect(),
        );
        let steps = self.steps.iter().map(|step| {
            vec![
                mark(step.dbm == settings.tx_power),
                format!("{} dBm", step.dbm),
                known(step.sending_ma.map(|ma| format!("{ma:.1} mA"))),
                known(step.days.map(days_text)),
                format!("{:.2}", step.reach),
            ]
        });
        let steps = table::lines(
            &[text(""), number("power"), number("sending"), number("battery"), number("reach")],
            steps.collect(),
        );
        format!(
            "{beacon}: {bytes} bytes by {radio}, fed by {battery}\n\
             heard by a receiver that listens {window} of {interval} ms and loses {loss:.0} % of the packets; \
             times hold for 95 of 100\n\n\
             {rows}\n\
             at {chosen} ms; the reach is a multiple of that at {power} dBm, \
             with the path loss exponent {exponent}:\n\n\
             {steps}\n\
             in a zone: {SIGHTINGS} sightings, and the hold of a zone that has its settings by default. lost by chance:\n\
             how probable a silence of lost_after (60 s) is, where it is worth thinking of. * is what is chosen.\n",
            bytes = self.bytes,
            radio = settings.radio.name,
            battery = settings.battery.as_str(),
            window = air.window_ms(),
            interval = air.interval_ms(),
            loss = air.loss() * 100.0,
            chosen = settings.interval.ms(),
            power = settings.tx_power,
            exponent = self.exponent,
        )
    }

    fn json(&self, target: Target) -> Value {
        let (settings, air) = (&self.settings, &self.air);
        let rounded = |value: f64, places: i32| (value * 10_f64.powi(places)).round() / 10_f64.powi(places);
        let rows = self.rows.iter().map(|row| {
            json!({
                "interval_ms": row.interval.ms(),
                "chosen": row.interval == settings.interval,
                "average_ua": row.average_ua.map(|average| rounded(average, 3)),
                "battery_days": row.days.map(|days| rounded(days, 1)),
                "heard_within_s": rounded(row.heard_ms / 1_000.0, 3),
                "entered_within_s": rounded(row.entered_ms / 1_000.0, 3),
                "lost_by_chance": row.lost,
            })
        });
        let steps = self.steps.iter().map(|step| {
            json!({
                "tx_power_dbm": step.dbm,
                "chosen": step.dbm == settings.tx_power,
                "sending_ma": step.sending_ma,
                "battery_days": step.days.map(|days| rounded(days, 1)),
                "reach": rounded(step.reach, 4),
            })
        });
        json!({
            "beacon": self.subject.map(|subject| subject.beacon.id.to_string()),
            "identity": self.subject.map(|subject| subject.beacon.identity.to_string()),
            "target": target.as_str(),
            "radio": settings.radio.name,
            "battery": settings.battery.as_str(),
            "bytes": self.bytes,
            "scan_window_ms": air.window_ms(),
            "scan_interval_ms": air.interval_ms(),
            "loss": air.loss(),
            "certainty": CERTAINTY,
            "sightings": SIGHTINGS,
            "path_loss_exponent": self.exponent,
            "intervals": rows.collect::<Vec<_>>(),
            "powers": steps.collect::<Vec<_>>(),
        })
    }
}

fn microamperes(current: f64) -> String {
    if current < 1_000.0 { format!("{current:.1} µA") } else { format!("{:.1} mA", current / 1_000.0) }
}
