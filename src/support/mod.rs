//! What is needed to help somebody with a gateway, in one file that names nobody.
//!
//! Everything goes through one [`Redactor`], which is told first what is known: the ids and names of the registry, the
//! accounts and hosts of gateway.toml, the machine's name. What is not known is recognised by what it looks like.
//! Whoever sends the bundle looks at it first: it is a zip file of short texts.

mod redact;
mod system;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub use redact::{Redactor, SECRET};
pub use system::{journal, system};

use crate::backup::Registered;
use crate::config::GatewayConfig;
use crate::model::ZoneId;
use crate::registry::Registry;

/// The latest lines of a log that go into a bundle.
pub const LOG_LINES: usize = 2_000;
/// They are looked for in so many bytes at the end of a file.
const LOG_BYTES: u64 = 8 << 20;
/// Longer settings are no settings.
const MOST_SETTINGS: u64 = 1 << 20;

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What is in it, for people.
    pub about: String,
    /// Its text, with nothing in it that is to be taken out.
    pub text: String,
}

impl Part {
    /// A document, redacted.
    pub fn document(name: &'static str, about: &str, document: &Value, redactor: &Redactor) -> Self {
        let text = serde_json::to_string_pretty(&redactor.json(document)).unwrap_or_default();
        Self { name, about: about.to_owned(), text: text + "\n" }
    }

    /// A document in which there is nothing to take out.
    pub fn plain(name: &'static str, about: &str, document: &Value) -> Self {
        Self { name, about: about.to_owned(), text: serde_json::to_string_pretty(document).unwrap_or_default() + "\n" }
    }

    /// A text, redacted.
    pub fn text(name: &'static str, about: &str, text: &str, redactor: &Redactor) -> Self {
        Self { name, about: about.to_owned(), text: redactor.text(text) }
    }
}

/// Tells a redactor what the machine is called, and who uses it.
pub fn know_machine(redactor: &mut Redactor) {
    system::host_name().iter().for_each(|name| redactor.know("host", name));
    for variable in ["USER", "LOGNAME", "SUDO_USER"] {
        // The accounts of every machine say nothing, and `root` is in many a path and log.
        let name = std::env::var(variable).ok().filter(|name| !["root", "beaconfence"].contains(&name.as_str()));
        name.iter().for_each(|name| redactor.know("user", name));
    }
}

/// Tells a redactor what gateway.toml names.
pub fn know_config(redactor: &mut Redactor, config: &GatewayConfig) {
    redactor.know("gateway", config.id.as_str());
    for broker in &config.mqtt.brokers {
        if let Some(host) = broker.host_str() {
            redactor.know("host", host.trim_matches(['[', ']']));
        }
        redactor.know("user", broker.username());
        redactor.know_secret(broker.password().unwrap_or_default());
    }
    config.http.names.iter().for_each(|name| redactor.know("host", name));
    let mqtt = &config.mqtt;
    mqtt.username.iter().for_each(|name| redactor.know("user", name));
    mqtt.client_id.iter().for_each(|id| redactor.know("client", id));
    for adapter in &config.adapters {
        redactor.know("receiver", adapter.receiver.as_str());
    }
    if let Some(password) = mqtt.password_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()) {
        password.lines().for_each(|line| redactor.know_secret(line));
    }
}

/// Tells a redactor what is registered.
pub fn know_registry(redactor: &mut Redactor, registry: &Registry) {
    let site = registry.site();
    redactor.know("site", site.id.as_str());
    redactor.know("site", &site.name);
    for level in &site.levels {
        redactor.know("level", &level.name);
    }
    registry.receivers().iter().for_each(|receiver| redactor.know("receiver", receiver.id.as_str()));
    for zone in registry.zones().iter().filter(|zone| !zone.id.is_site()) {
        redactor.know("zone", zone.id.as_str());
        redactor.know("zone", &zone.name);
    }
    registry.devices().iter().for_each(|device| redactor.know("device", device.id.as_str()));
    // Their identities are recognised by what they look like.
    registry.beacons().iter().for_each(|beacon| redactor.know("beacon", beacon.id.as_str()));
    registry.rules().triggers.iter().for_each(|rule| redactor.know("rule", rule.id.as_str()));
}

/// Tells a redactor what is kept in a data directory. What was removed long ago may stand in a log still.
pub fn know_registered(redactor: &mut Redactor, registered: &Registered) {
    registered.view.iter().for_each(|view| know_registry(redactor, &view.registry));
    registered.tokens.iter().for_each(|token| redactor.know("token", token));
    registered.remembered.iter().for_each(|device| redactor.know("device", device));
    registered.changed.iter().filter(|id| *id != ZoneId::SITE).for_each(|id| redactor.know("record", id));
}

/// The shape of a registry: how much of everything there is, and no name.
pub fn shape(registered: &Registered) -> Value {
    let Some(view) = &registered.view else { return json!({}) };
    let registry = &view.registry;
    let with_consent = registry.devices().iter().filter(|device| device.may_be_tracked()).count();
    let circles =
        |zone: &&std::sync::Arc<crate::registry::Zone>| matches!(zone.shape, crate::registry::Shape::Circle { .. });
    json!({
        "revision": view.revision,
        "time_zone": registry.site().time_zone,
        "levels": registry.site().levels.len(),
        "levels_with_plan": registry.site().levels.iter().filter(|level| level.plan.is_some()).count(),
        "receivers": registry.receivers().len(),
        "zones": registry.zones().iter().filter(|zone| !zone.id.is_site()).count(),
        "zones_round": registry.zones().iter().filter(circles).count(),
        "devices": registry.devices().len(),
        "devices_tracked": with_consent,
        "beacons": registry.beacons().len(),
        "rules": registry.rules().triggers.len(),
        "calibrated": registry.calibration().is_some(),
        "tokens": registered.tokens.len(),
        "devices_remembered": registered.remembered.len(),
    })
}

/// The settings as they are written, whole or faulty, without comments: nobody knows what is in those.
///
/// # Errors
/// Where the file cannot be read.
pub fn settings(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MOST_SETTINGS).read_to_string(&mut text)?;
    Ok(text.lines().map(without_comment).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n") + "\n")
}

/// A line up to a `#` that is in no quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        match (c, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', Some('"')) => is_escaped = true,
            ('#', None) => return line[..at].trim_end(),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    line
}

/// The files of a data directory: names, sizes and rights.
pub fn listing(dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(within) = dirs.pop() {
        let entries = match std::fs::read_dir(dir.join(&within)) {
            Ok(entries) => entries,
            Err(error) => {
                lines.push(format!("{}: {error}", within.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = within.join(entry.file_name());
            let Ok(found) = entry.metadata() else { continue };
            lines.push(format!("{:06o} {:>12} {}", found.mode(), found.len(), path.display()));
            if found.is_dir() && within.as_os_str().is_empty() {
                dirs.push(path);
            }
        }
    }
    lines.sort();
    lines.join("\n") + "\n"
}

/// The last lines of a log.
///
/// # Errors
/// Where the file cannot be read.
pub fn log_lines(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    // A pipe has no length, and is read from its beginning.
    if length > LOG_BYTES {
        file.seek(SeekFrom::Start(length - LOG_BYTES))?;
    }
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(last_lines(&String::from_utf8_lossy(&bytes)))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n") + "\n"
}

/// Writes a bundle, which must not be there yet.
///
/// # Errors
/// Where it cannot be written; then nothing is left of it.
pub fn write(path: &Path, parts: &[Part]) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = (|| {
        let mut zip = ZipWriter::new(file);
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(0o600);
        for part in parts {
            zip.start_file(part.name, options)?;
            zip.write_all(part.text.as_bytes())?;
        }
        let file = zip.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_settings_are_left_out_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        let text = "# Anna's gateway\nid = \"gw#1\" # in the attic\n\nprefix = 'a#b'\nname = \"say \\\"#\\\"\" # x\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(settings(&file).unwrap(), "id = \"gw#1\"\nprefix = 'a#b'\nname = \"say \\\"#\\\"\"\n");
    }

    #[test]
    fn the_end_of_a_log_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let text: String = (0..3_000).fold(String::new(), |text, at| text + &format!("line {at}\n"));
        std::fs::write(&file, text).unwrap();
        let lines = log_lines(&file).unwrap();
        assert_eq!((lines.lines().count(), lines.lines().next()), (LOG_LINES, Some("line 1000")));
    }
}
