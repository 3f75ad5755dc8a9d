//! What is done with each message; knows nothing of MQTT.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::aside::Aside;
use super::channel::{Channels, Failure};
use super::metrics::Metrics;
use super::seen::{Claim, Seen};
use super::templates::Templates;

/// The first wait after an attempt that did not work, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub struct Dispatcher {
    pub validator: jsonschema::Validator,
    pub templates: Templates,
    pub channels: Channels,
    pub seen: Seen,
    pub aside: Aside,
    pub metrics: Arc<Metrics>,
}

/// When to stop trying: the program is to end, or the connection has.
pub struct Halt {
    stop: watch::Receiver<bool>,
    lost: watch::Receiver<bool>,
}

impl Halt {
    pub fn new(stop: watch::Receiver<bool>, lost: watch::Receiver<bool>) -> Self {
        Self { stop, lost }
    }

    /// Whether to go on.
    pub fn is_on(&self) -> bool {
        !*self.stop.borrow() && !*self.lost.borrow()
    }

    async fn sleep(&mut self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
            _ = self.lost.wait_for(|lost| *lost) => {}
        }
    }
}

/// The validator of the schema in that file.
pub fn validator(path: &Path) -> Result<jsonschema::Validator> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let schema = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(jsonschema::draft202012::options().should_validate_formats(true).build(&schema)?)
}

impl Dispatcher {
    /// Whether it is dealt with, and may be acknowledged. An error is one of our own disk.
    pub async fn handle(&mut self, topic: &str, payload: &[u8], halt: &mut Halt) -> Result<bool> {
        if topic.contains("/triggers/_") {
            // No id begins like this: a gateway's trial of its rights.
            return Ok(self.skip("trial"));
        }
        let trigger = match self.parsed(payload) {
            Ok(trigger) => trigger,
            Err(why) => return self.put_aside("invalid", topic, payload, &why),
        };
        let (id, data) = (text(&trigger["id"]), &trigger["data"]);
        let key = text(&data["deduplication_key"]);
        let wanted: Vec<&str> = data["channels"].as_array().into_iter().flatten().map(text).collect();
        let Some((name, channel)) = self.channels.choose(&wanted) else {
            let why = format!("none of its channels is here: {}", wanted.join(", "));
            return self.put_aside("unroutable", topic, payload, &why);
        };
        let message = self.message(&trigger, &name);
        let expires_at = instant(&data["expires_at"])?;
        let (mut wait, most) = BACKOFF;
        let mut claimed = false;
        while halt.is_on() {
            let left = Duration::try_from(expires_at.duration_since(Timestamp::now())).unwrap_or_default();
            if left.is_zero() {
                if claimed {
                    self.seen.release(id, key)?;
                }
                return Ok(self.skip("expired"));
            }
            if !claimed {
                match self.seen.claim(id, key)? {
                    Claim::Free => claimed = true,
                    Claim::Busy => {
                        halt.sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                    Claim::Duplicate => return Ok(self.skip("duplicate")),
                    Claim::DuplicateKey => return Ok(self.skip("duplicate_key")),
                }
            }
            match channel.deliver(&message, id).await {
                Ok(()) => {
                    // What is noted here is acknowledged afterwards. Killed in between, we get it again, and know it.
                    self.seen.done(id, key)?;
                    let labels = [("campaign", text(&data["campaign"])), ("channel", name.as_str())];
                    self.metrics.add("dispatcher_delivered_total", &labels);
                    let delay = Timestamp::now().duration_since(instant(&data["decided_at"])?).as_secs_f64().max(0.0);
                    self.metrics.add_amount("dispatcher_delay_seconds_total", &[], (delay * 1000.0).round() / 1000.0);
                    return Ok(true);
                }
                Err(Failure::Later(why)) => {
                    self.metrics.add("dispatcher_failed_attempts_total", &[("channel", name.as_str())]);
                    eprintln!("{id}: {name}: {why}; again in {:.1} s", wait.as_secs_f64());
                    self.seen.renew(id, key)?;
                    halt.sleep(wait.min(left)).await;
                    wait = (2 * wait).min(most);
                }
                Err(Failure::Never(why)) => {
                    self.seen.release(id, key)?;
                    return self.put_aside("rejected", topic, payload, &format!("{name}: {why}"));
                }
            }
        }
        Ok(false)
    }

    fn parsed(&self, payload: &[u8]) -> Result<Value, String> {
        let trigger: Value = serde_json::from_slice(payload).map_err(|error| format!("no JSON: {error}"))?;
        if let Some(error) = self.validator.iter_errors(&trigger).next() {
            let words: String = error.to_string().chars().take(300).collect();
            return Err(format!("{}: {words}", error.instance_path()));
        }
        for key in ["expires_at", "decided_at"] {
            instant(&trigger["data"][key]).map_err(|error| error.to_string())?;
        }
        Ok(trigger)
    }

    fn message(&self, trigger: &Value, channel: &str) -> Value {
        let data = &trigger["data"];
        let (title, body) = self.templates.render(trigger);
        let mut message = Map::new();
        let mut put = |key: &str, value: &Value| drop(message.insert(key.to_owned(), value.clone()));
        put("id", &trigger["id"]);
        for key in ["deduplication_key", "site", "trigger", "campaign", "priority"] {
            put(key, &data[key]);
        }
        put("channel", &json!(channel));
        if let Some(device) = data.get("device") {
            put("device", &device["id"]);
        }
        put("subject", &trigger["subject"]);
        put("title", &json!(title));
        put("body", &json!(body));
        for key in ["data", "observed_at", "expires_at"] {
            put(key, &data[key]);
        }
        Value::Object(message)
    }

    /// Always true: it will not be looked at again.
    fn skip(&self, reason: &str) -> bool {
        self.metrics.add("dispatcher_skipped_total", &[("reason", reason)]);
        true
    }

    fn put_aside(&mut self, reason: &str, topic: &str, payload: &[u8], why: &str) -> Result<bool> {
        eprintln!("put aside from {topic}: {why}");
        self.aside.write(reason, topic, payload, why)?;
        Ok(self.skip(reason))
    }
}

/// The schema has said that it is one.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn instant(value: &Value) -> Result<Timestamp> {
    Ok(text(value).parse()?)
}
