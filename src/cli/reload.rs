//! SIGHUP: gateway.toml is read again. What can be changed while the gateway runs is, and what cannot is named.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::log;
use crate::config::{self, LogConfig, Severity};
use crate::gateway::service;

/// What takes effect at once, by its place in the file.
const AT_ONCE: [&str; 1] = ["log.filter"];

/// What the file said when the gateway began, or was last told to read it again.
#[derive(Debug)]
struct Known {
    file: PathBuf,
    settings: toml::Table,
    log: LogConfig,
}

/// Reads the file again whenever the program is told SIGHUP.
///
/// # Errors
/// Where the system does not let signals be watched.
#[cfg(unix)]
pub(super) fn on_hangup(file: PathBuf, log: LogConfig) -> std::io::Result<()> {
    let mut hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let mut known = Known { settings: settings(&file).unwrap_or_default(), file, log };
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            service::reloading();
            // Files are read, and a registry with them.
            let read = tokio::task::spawn_blocking(move || {
                known.again();
                known
            });
            match read.await {
                Ok(read) => known = read,
                Err(error) => {
                    warn!("gateway.toml cannot be read again until the gateway is restarted: {error}");
                    service::ready();
                    return;
                }
            }
            service::ready();
        }
    });
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn on_hangup(_: PathBuf, _: LogConfig) -> std::io::Result<()> {
    Ok(())
}

fn settings(file: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(file).ok()?.parse().ok()
}

impl Known {
    fn again(&mut self) {
        let name = self.file.display().to_string();
        let checked = config::check_to_run(&self.file);
        for diagnostic in checked.diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            warn!("{diagnostic}");
        }
        let faults = checked.count(Severity::Error);
        let (Some(gateway), Some(settings), 0) = (checked.gateway, settings(&self.file), faults) else {
            warn!("{name} has faults: the gateway goes on with what it had");
            return;
        };
        let changed = differences(&self.settings, &settings);
        if gateway.log.filter != self.log.filter {
            match log::set_filter(&gateway.log.filter) {
                // At whatever level is logged now, this is to be seen.
                Ok(()) => warn!(filter = gateway.log.filter, "the log has changed"),
                Err(error) => warn!("log.filter has not changed: {error}"),
            }
            self.log.filter = gateway.log.filter;
        }
        let waits: Vec<&str> = changed.iter().map(String::as_str).filter(|key| !AT_ONCE.contains(key)).collect();
        if changed.is_empty() {
            info!("{name} was read again: nothing has changed");
        }
        // What needs a restart is named again next time: it is compared with what the gateway began with.
        for key in AT_ONCE {
            carry(&mut self.settings, &settings, key);
        }
        if !waits.is_empty() {
            let restart = "systemctl restart beaconfence";
            warn!("{name}: {} changed, which takes effect when the gateway is restarted: {restart}", waits.join(", "));
        }
    }
}

/// The keys, such as `mqtt.username`, whose values differ.
fn differences(before: &toml::Table, after: &toml::Table) -> Vec<String> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys {
        let empty = toml::Table::new();
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            continue;
        }
        let tables = match (old, new) {
            (Some(toml::Value::Table(old)), Some(toml::Value::Table(new))) => Some((old, new)),
            (Some(toml::Value::Table(old)), None) => Some((old, &empty)),
            (None, Some(toml::Value::Table(new))) => Some((&empty, new)),
            _ => None,
        };
        match tables {
            Some((old, new)) => found.extend(differences(old, new).iter().map(|inner| format!("{key}.{inner}"))),
            None => found.push(key.clone()),
        }
    }
    found
}

/// Takes one key over.
fn carry(to: &mut toml::Table, from: &toml::Table, key: &str) {
    let Some((table, key)) = key.split_once('.') else { return };
    let value = from.get(table).and_then(|table| table.get(key)).cloned();
    let table = to.entry(table).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(table) = table.as_table_mut() {
        match value {
            Some(value) => table.insert(key.to_owned(), value),
            None => table.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn what_differs_is_named_by_its_place() {
        let before = table("id = \"g\"\n[mqtt]\nbrokers = [\"a\"]\nusername = \"u\"\n[log]\nfilter = \"info\"\n");
        let after = table("id = \"g\"\n[mqtt]\nbrokers = [\"b\"]\n[log]\nfilter = \"debug\"\n[record]\ndays = 1\n");
        assert_eq!(differences(&before, &after), ["log.filter", "mqtt.brokers", "mqtt.username", "record.days"]);
        assert!(differences(&before, &before).is_empty());
        let adapters = table("[[adapter]]\nreceiver = \"r1\"\n");
        assert_eq!(differences(&table(""), &adapters), ["adapter"]);
    }

    #[test]
    fn what_has_taken_effect_is_not_named_again() {
        let (mut known, new) =
            (table("[mqtt]\nxdm = true\n"), table("[log]\nfilter = \"debug\"\n[mqtt]\nxdm = false\n"));
        carry(&mut known, &new, "log.filter");
        assert_eq!(differences(&known, &new), ["mqtt.xdm"]);
        carry(&mut known, &table(""), "log.filter");
        assert_eq!(differences(&known, &table("[mqtt]\nxdm = true\n")), Vec::<String>::new());
    }
}
