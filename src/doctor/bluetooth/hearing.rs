//! What is heard, and how often: listened for with the gateway's own way to the radio, or asked of the gateway that
//! runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::super::finding::{Check, Finding, Remedy, counted};
use super::probe::Adapter;
use crate::clock::Clock;
use crate::config::{AdapterConfig, AdapterName};
use crate::engine::{Input, ReceiverState};
use crate::model::{ReceiverId, Timestamp, format_duration};
use crate::source::{Observation, Sink, ble};

/// Observations that may wait: they are only counted.
const QUEUE: usize = 4_096;
/// How long the radio may take to stop.
const STOP: Duration = Duration::from_secs(3);

/// What one receiver heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which.
    pub receiver: String,
    /// Advertisements.
    pub advertisements: u64,
    /// From so many addresses, where they were counted.
    pub devices: Option<usize>,
    /// Within that time.
    pub time: Duration,
    /// Why it does not hear, where it is down.
    pub down: Option<String>,
    /// Whether a gateway that runs has told this.
    pub is_told: bool,
}

/// Listens for a while on adapters that are there and powered, as the gateway does; other programs may listen, too.
pub async fn listen(receivers: &[(ReceiverId, &Adapter)], time: Duration) -> Vec<Facts> {
    #[derive(Default)]
    struct Heard {
        advertisements: u64,
        addresses: BTreeSet<[u8; 6]>,
        up: Option<Instant>,
        down: Option<String>,
    }
    let ids: Vec<ReceiverId> = receivers.iter().map(|(id, _)| id.clone()).collect();
    let entries = receivers.iter().map(|(receiver, adapter)| AdapterConfig {
        name: AdapterName::Name(adapter.name.clone()),
        receiver: receiver.clone(),
    });
    let (sink, mut observations) = Sink::new(&ids, QUEUE, Clock::new());
    let (stop, stopped) = watch::channel(false);
    let radio = tokio::spawn(ble::run(entries.collect(), sink, stopped));
    let mut heard: BTreeMap<ReceiverId, Heard> = ids.iter().map(|id| (id.clone(), Heard::default())).collect();
    let end = tokio::time::Instant::now() + time;
    while let Ok(Some(observation)) = tokio::time::timeout_at(end, observations.recv()).await {
        match observation {
            Observation::Input(_, Input::Advertisement(advertisement)) => {
                if let Some(heard) = heard.get_mut(&advertisement.receiver) {
                    heard.advertisements += 1;
                    heard.addresses.extend(advertisement.address.map(|address| address.bytes));
                }
            }
            Observation::Receiver { receiver, state, detail, .. } => {
                if let Some(heard) = heard.get_mut(&receiver) {
                    heard.down = (state == ReceiverState::Down).then(|| detail.unwrap_or_default());
                    if state == ReceiverState::Up {
                        heard.up.get_or_insert_with(Instant::now);
                    }
                }
            }
            Observation::Input(..) => {}
        }
    }
    let _ = stop.send(true);
    let _ = tokio::time::timeout(STOP, radio).await;
    let never = || "its scan did not begin".to_owned();
    heard
        .into_iter()
        .map(|(receiver, heard)| Facts {
            receiver: receiver.to_string(),
            advertisements: heard.advertisements,
            devices: Some(heard.addresses.len()),
            time: heard.up.map_or(time, |up| up.elapsed().min(time)),
            down: heard.down.or_else(|| (heard.up.is_none() && heard.advertisements == 0).then(never)),
            is_told: false,
        })
        .collect()
}

/// What two documents of a gateway's status, of before and after, say of its receivers. Where it has said nothing new
/// meanwhile, it is since it began.
pub fn told(before: &Value, after: &Value) -> Vec<Facts> {
    let instant = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(receivers) = after["receivers"].as_object() else { return Vec::new() };
    let between = instant(&after["at"]).zip(instant(&before["at"])).map(|(after, before)| after.since(before));
    let lifetime = instant(&after["at"]).zip(instant(&after["since"])).map(|(at, since)| at.since(since));
    let facts = |(receiver, now): (&String, &Value)| {
        let count = |status: &Value| status["receivers"][receiver]["advertisements"].as_u64();
        let fresh = between.filter(|time| *time >= Duration::from_secs(1)).zip(count(before));
        let (advertisements, time) = match (fresh, count(after)) {
            (Some((time, before)), Some(after)) => (after.saturating_sub(before), time),
            (None, Some(after)) => (after, lifetime.unwrap_or_default()),
            (_, None) => (0, Duration::ZERO),
        };
        let down = (now["state"] != "up").then(|| now["reason"].as_str().unwrap_or("it is down").to_owned());
        Facts { receiver: receiver.clone(), advertisements, devices: None, time, down, is_told: true }
    };
    receivers.iter().map(facts).collect()
}

/// What that means.
pub fn judge(facts: &Facts) -> Finding {
    const CHECK: Check = Check::Hearing;
    let who = if facts.is_told { " (the gateway that runs says so)" } else { "" };
    let seconds = facts.time.as_secs_f64();
    let time = format_duration(Duration::from_secs(seconds.round() as u64));
    let rate = if seconds > 0.0 { facts.advertisements as f64 / seconds } else { 0.0 };
    let finding = if let Some(why) = &facts.down {
        let words = "Start bluetoothd anew; if that does not help, unplug the adapter and plug it in again";
        let remedy = Remedy::new(words).command("sudo systemctl restart bluetooth");
        Finding::failed(CHECK, "not-scanning", format!("the radio does not hear: {why}{who}"), remedy)
    } else if facts.advertisements == 0 {
        let words = "Bring a beacon near and look again; if it is not heard either, look at the antenna, and try \
                     another adapter or port";
        Finding::warning(
            CHECK,
            "nothing-heard",
            format!("it scans, and heard nothing in {time}{who}"),
            Remedy::new(words),
        )
    } else {
        let from = facts.devices.map_or_else(String::new, |devices| format!(" from {}", counted(devices, "device")));
        Finding::ok(CHECK, format!("{rate:.1} advertisements a second{from}, in {time}{who}"))
    };
    let finding = finding
        .of(facts.receiver.as_str())
        .fact("advertisements", facts.advertisements)
        .fact("seconds", (seconds * 10.0).round() / 10.0)
        .fact("per_second", (rate * 10.0).round() / 10.0);
    match facts.devices {
        Some(devices) => finding.fact("devices", devices),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::finding::Outcome;

    fn status(at: &str, state: &str, advertisements: u64) -> Value {
        json!({"since": "2026-01-01T10:00:00.000Z", "at": at,
            "receivers": {"r1": {"state": state, "reason": "unplugged", "advertisements": advertisements}}})
    }

    #[test]
    fn the_rate_is_that_between_two_reports_of_the_gateway() {
        let facts =
            told(&status("2026-01-01T10:10:00.000Z", "up", 100), &status("2026-01-01T10:10:10.000Z", "up", 350));
        assert_eq!(facts.len(), 1);
        assert_eq!((facts[0].advertisements, facts[0].time), (250, Duration::from_secs(10)));
        assert!(judge(&facts[0]).message.starts_with("25.0 advertisements a second"), "{}", judge(&facts[0]).message);
    }

    #[test]
    fn a_gateway_that_has_said_nothing_new_is_judged_by_its_whole_life() {
        let same = status("2026-01-01T10:01:40.000Z", "up", 200);
        let facts = told(&same, &same);
        assert_eq!((facts[0].advertisements, facts[0].time), (200, Duration::from_secs(100)));
    }

    #[test]
    fn silence_is_warned_of_and_a_radio_that_is_down_fails() {
        let quiet = told(&status("2026-01-01T10:10:00.000Z", "up", 9), &status("2026-01-01T10:10:10.000Z", "up", 9));
        assert_eq!((judge(&quiet[0]).outcome, judge(&quiet[0]).cause), (Outcome::Warning, Some("nothing-heard")));
        let down = told(&status("2026-01-01T10:10:00.000Z", "up", 9), &status("2026-01-01T10:10:10.000Z", "down", 9));
        assert_eq!((judge(&down[0]).outcome, judge(&down[0]).cause), (Outcome::Failed, Some("not-scanning")));
        assert!(judge(&down[0]).message.contains("unplugged"));
    }
}
