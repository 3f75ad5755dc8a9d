//! `beaconfence events`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::stop::stop_signal;
use crate::config::{MqttConfig, MqttVersion, load_gateway};
use crate::model::SiteId;
use crate::mqtt::{Keep, Notice, Settings, Subscription};

/// Silence after which the command ends without `--follow`.
const SILENCE: Duration = Duration::from_secs(2);

/// Prints the events that a broker delivers
///
/// Brokers do not keep events: only those that are published while the command runs are seen. Without --follow it ends
/// after 2 seconds in which none came; with it, it goes on until it is stopped, and connects again where it must.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Go on until stopped (Ctrl-C), also when the broker is away for a while
    #[arg(short, long)]
    follow: bool,
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "config",
        help = "The broker, as mqtt://HOST[:PORT] or, with TLS, mqtts://HOST[:PORT]"
    )]
    broker: Option<url::Url>,
    /// Triggers in place of events of presence
    #[arg(long)]
    triggers: bool,
    /// Take broker, prefix and credentials from this gateway.toml
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "broker", "prefix", "username", "password_file", "ca_file", "certificate_file", "key_file", "mqtt_version",
    ])]
    config: Option<PathBuf>,
    /// Only the events of this site
    #[arg(long, value_name = "ID")]
    site: Option<SiteId>,
    /// The topic prefix of the gateways
    #[arg(long, value_name = "PREFIX", default_value = "beaconfence/v1")]
    prefix: String,
    #[arg(long, help = "Print the very CloudEvents, one a line")]
    json: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// User name at the broker
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File that holds the password
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// Certificate authorities to trust in place of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// Version of MQTT: 5 or 3.1.1
    #[arg(long, value_name = "VERSION", default_value = "5", value_parser = ["5", "3.1.1"])]
    mqtt_version: String,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        tokio::select! {
            ended = print(args) => ended,
            () = stop => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn print(args: Args) -> anyhow::Result<ExitCode> {
    let site = args.site.as_ref().map_or("+", SiteId::as_str);
    let filter = format!("{site}/{}/#", if args.triggers { "triggers" } else { "events" });
    let (_subscription, mut notices) = Subscription::start(settings(&args)?, &[&filter], Keep::Nothing);
    let mut left = args.count.unwrap_or(u64::MAX);
    let (mut subscribed, mut seen, mut last_failure) = (false, 0_u64, None);
    while left > 0 {
        let silence = async {
            // Before the subscription stands, silence says nothing; the connection has its own limits of time.
            if args.follow || !subscribed { std::future::pending().await } else { tokio::time::sleep(SILENCE).await }
        };
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            () = silence => None,
        };
        match notice {
            None => break,
            Some(Notice::Subscribed(_)) => {
                subscribed = true;
                last_failure = None;
            }
            Some(Notice::Lost(broker, failure)) if args.follow => {
                if last_failure.as_ref() != Some(&failure) {
                    tell!("no connection to {broker}: {failure}; trying again");
                    last_failure = Some(failure);
                }
            }
            Some(Notice::Lost(broker, failure)) => return Err(failure).context(format!("no connection to {broker}")),
            Some(Notice::Message(message)) => {
                message.token.acknowledge();
                let Some(line) = line(&message.payload, args.json) else {
                    tell!("what came on {} is no event", printable(&message.topic));
                    continue;
                };
                if let Err(error) = write_line(&line) {
                    // Whoever read the output has had enough.
                    return if error.kind() == io::ErrorKind::BrokenPipe {
                        Ok(ExitCode::SUCCESS)
                    } else {
                        Err(error).context("cannot write the events")
                    };
                }
                seen += 1;
                left -= 1;
            }
        }
    }
    if seen == 0 && !args.follow {
        tell!("no event came within {} s; --follow waits for them", SILENCE.as_secs());
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    let config = match &args.config {
        Some(file) => load_gateway(file)?.0.mqtt,
        None => from_arguments(args),
    };
    // 23 characters are what every broker accepts; many of these may run at once.
    let random = uuid::Uuid::new_v4().simple().to_string();
    let own_id = MqttConfig { client_id: None, ..config };
    Ok(Settings::new(&own_id, format!("bf-events-{}", &random[..12]))?)
}

fn from_arguments(args: &Args) -> MqttConfig {
    MqttConfig {
        version: if args.mqtt_version == "5" { MqttVersion::V5 } else { MqttVersion::V3 },
        prefix: args.prefix.clone(),
        username: args.username.clone(),
        password_file: args.password_file.clone(),
        ca_file: args.ca_file.clone(),
        certificate_file: args.certificate_file.clone(),
        key_file: args.key_file.clone(),
        ..MqttConfig::new(args.broker.iter().cloned().collect())
    }
}

fn write_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// An event as one line; none for what is no event.
fn line(payload: &[u8], json: bool) -> Option<String> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let kind = event.get("type")?.as_str()?;
    if json {
        // Ours are one line each already; others' may not be.
        let text = std::str::from_utf8(payload).ok()?;
        return Some(if text.contains(['\n', '\r']) { event.to_string() } else { text.to_owned() });
    }
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).map(printable);
    if kind == "io.beaconfence.trigger.fired" {
        let channels = event.pointer("/data/channels").and_then(Value::as_array);
        let channels: Vec<&str> = channels.into_iter().flatten().filter_map(Value::as_str).collect();
        let parts = [
            text("/time").unwrap_or_else(|| "-".to_owned()),
            format!("fired    {}", text("/data/trigger")?),
            text("/subject")?,
            text("/data/campaign")?,
            printable(&channels.join(", ")),
        ];
        return Some(parts.join("  ").trim_end().to_owned());
    }
    let mut parts = vec![
        text("/time").unwrap_or_else(|| "-".to_owned()),
        format!("{:<7}", printable(kind.rsplit('.').next().unwrap_or(kind))),
        format!("{} ({})", text("/data/zone/name")?, text("/data/zone/id")?),
        text("/subject")?,
    ];
    parts.extend(text("/data/reason"));
    let seconds = event.pointer("/data/duration_s").and_then(Value::as_f64);
    parts.extend(seconds.map(|seconds| format!("after {seconds} s")));
    for flag in ["initial", "held"] {
        if event.pointer(&format!("/data/{flag}")).and_then(Value::as_bool) == Some(true) {
            parts.push(flag.to_owned());
        }
    }
    Some(parts.join("  "))
}

/// Without what a terminal would take for a command.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXITED: &str = include_str!("../../tests/golden/mqtt/exited.json");
    const ENTERED: &str = include_str!("../../tests/golden/mqtt/entered.json");

    #[test]
    fn a_line_says_when_what_where_who_and_why() {
        assert_eq!(
            line(EXITED.as_bytes(), false).unwrap(),
            "2026-01-01T10:00:00.000Z  exited   Front door (door)  d1  lost  after 75 s  held"
        );
        assert_eq!(
            line(ENTERED.as_bytes(), false).unwrap(),
            "2026-01-01T10:00:00.000Z  entered  Front door (door)  d1  initial"
        );
    }

    #[test]
    fn json_is_the_very_event_on_one_line() {
        assert_eq!(line(EXITED.as_bytes(), true).unwrap(), EXITED);
        let pretty = EXITED.replacen(',', ",\n", 1);
        assert_eq!(line(pretty.as_bytes(), true).unwrap(), EXITED);
    }

    #[test]
    fn what_is_no_event_gives_no_line_and_names_cannot_command_the_terminal() {
        assert_eq!(line(b"nonsense", false), None);
        assert_eq!(line(b"{}", true), None);
        let evil = EXITED.replace("Front door", "\\u001b[2JFront");
        assert!(!line(evil.as_bytes(), false).unwrap().contains('\u{1b}'));
    }
}
