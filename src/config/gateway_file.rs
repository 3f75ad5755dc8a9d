//! Reads `gateway.toml`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;
use url::Url;

use super::broker::{broker, is_local};
use super::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use super::gateway::{
    AdapterConfig, AdapterName, GatewayConfig, LogConfig, LogFormat, MqttConfig, MqttVersion, OutboxConfig,
    RecordConfig,
};
use super::http_section::{HTTP_KEYS, HttpConfig, http};
use super::text::{self, nearest, short};
use super::toml_file::{Document, Keys};
use crate::model::{GatewayId, ReceiverId, format_duration, parse_duration};

const MAX_BYTES: u64 = 1 << 20;
/// Where systemd puts what `LoadCredential=` names (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Brokers that are tried in turn.
const MAX_BROKERS: usize = 16;

const KEYS: &[&str] = &["id", "site", "data_dir", "adapter", "mqtt", "outbox", "record", "http", "log"];
const LOG_KEYS: &[&str] = &["filter", "format"];
const ADAPTER_KEYS: &[&str] = &["name", "address", "receiver"];
const OUTBOX_KEYS: &[&str] = &["max_age", "max_megabytes", "keep", "keep_megabytes"];
const RECORD_KEYS: &[&str] = &["days", "max_megabytes"];
const MQTT_KEYS: &[&str] = &[
    "brokers",
    "version",
    "prefix",
    "client_id",
    "username",
    "password_file",
    "ca_file",
    "certificate_file",
    "key_file",
    "keep_alive",
    "status_interval",
    "publish_positions",
    "xdm",
];

/// Reads `gateway.toml`; the diagnostics beside it are warnings. Paths in it are taken from the file's own directory; a
/// `password_file` that is not there is looked for in `$CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn load_gateway(file: &Path) -> Result<(GatewayConfig, Vec<Diagnostic>), Faults> {
    load_with_credentials(file, credentials_directory().as_deref())
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from)
}

fn load_with_credentials(file: &Path, credentials: Option<&Path>) -> Result<(GatewayConfig, Vec<Diagnostic>), Faults> {
    let report = FileReport::new(file.to_owned());
    let loaded = read(&report, credentials);
    conclude(loaded.config, report.finish())
}

/// What could be read of `gateway.toml`, with what it says about other files and on which line.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// None where parts are faulty.
    pub(super) config: Option<GatewayConfig>,
    /// The site directory.
    pub(super) site: Option<(PathBuf, usize)>,
    /// The receivers of adapters.
    pub(super) receivers: Vec<(ReceiverId, usize)>,
    /// Files by their keys.
    pub(super) files: Vec<(&'static str, PathBuf, usize)>,
}

/// Reads the file as far as it goes.
pub(super) fn load(report: &FileReport) -> Loaded {
    read(report, credentials_directory().as_deref())
}

fn read(report: &FileReport, credentials: Option<&Path>) -> Loaded {
    let help = "name it with --config; docs/gateway-toml.md has an example to start from";
    let Some(text) = text::read(report, MAX_BYTES, help) else { return Loaded::default() };
    let document = Document::parse(&text, report);
    let keys = document.root(report, KEYS);
    let base = report.file().parent().unwrap_or(Path::new(""));
    let mut loaded = Loaded::default();
    loaded.config = config(&keys, &Paths { base, credentials }, &mut loaded);
    loaded
}

/// Where files are looked for.
pub(super) struct Paths<'p> {
    pub(super) base: &'p Path,
    credentials: Option<&'p Path>,
}

fn config(keys: &Keys<'_, '_>, paths: &Paths<'_>, loaded: &mut Loaded) -> Option<GatewayConfig> {
    let id = keys.required("id", "write id = \"gateway-1\"", GatewayId::new);
    // Without one, a gateway begins with an empty store, which is set up in the browser or by `apply`.
    let site = if keys.has("site") { keys.parsed("site", path).map(Some) } else { Some(None) };
    let site = site.map(|site| site.map(|site| paths.base.join(site)));
    loaded.site = site.clone().flatten().map(|site| (site, keys.line_of("site")));
    let data_dir = if keys.has("data_dir") { keys.parsed("data_dir", path) } else { Some(PathBuf::from("data")) };
    let data_dir = data_dir.map(|data_dir| paths.base.join(data_dir));
    loaded.files.extend(data_dir.clone().map(|data_dir| ("data_dir", data_dir, keys.line_of("data_dir"))));
    let adapters = adapters(keys, &mut loaded.receivers);
    let record = if keys.has("record") {
        keys.table("record", RECORD_KEYS).and_then(|table| record(&table))
    } else {
        Some(RecordConfig::default())
    };
    let http = if keys.has("http") {
        keys.table("http", HTTP_KEYS).and_then(|table| http(&table, paths, &mut loaded.files))
    } else {
        Some(HttpConfig::default())
    };
    let mqtt = if keys.has("mqtt") {
        keys.table("mqtt", MQTT_KEYS).and_then(|mqtt| self::mqtt(&mqtt, paths, &mut loaded.files))
    } else {
        keys.missing("mqtt", "write [mqtt] with brokers = [\"mqtt://HOST:1883\"]");
        None
    };
    let outbox = if keys.has("outbox") {
        keys.table("outbox", OUTBOX_KEYS).and_then(|table| outbox(&table))
    } else {
        Some(OutboxConfig::default())
    };
    let log = if keys.has("log") {
        keys.table("log", LOG_KEYS).and_then(|table| log(&table))
    } else {
        Some(LogConfig::default())
    };
    Some(GatewayConfig {
        id: id?,
        site: site?,
        data_dir: data_dir?,
        adapters,
        mqtt: mqtt?,
        outbox: outbox?,
        record: record?,
        http: http?,
        log: log?,
    })
}

/// A queue of less than this is lost in the first short outage; one of more than this no disk of a gateway holds.
const MEGABYTES: (i64, i64) = (1, 1_000_000);
/// Longest time that events are kept.
const LONGEST_KEPT: Duration = Duration::from_secs(90 * 86_400);

fn outbox(keys: &Keys<'_, '_>) -> Option<OutboxConfig> {
    let default = OutboxConfig::default();
    let max_age = interval(keys, "max_age", default.max_age, LONGEST_KEPT);
    let max_bytes = megabytes(keys, "max_megabytes", default.max_bytes);
    let keep = interval(keys, "keep", default.keep, LONGEST_KEPT);
    let keep_bytes = megabytes(keys, "keep_megabytes", default.keep_bytes);
    Some(OutboxConfig { max_age: max_age?, max_bytes: max_bytes?, keep: keep?, keep_bytes: keep_bytes? })
}

fn log(keys: &Keys<'_, '_>) -> Option<LogConfig> {
    let default = LogConfig::default();
    let filter = if keys.has("filter") {
        keys.parsed("filter", |text| match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) if text.trim().is_empty() => Err("it is empty; \"off\" logs nothing".to_owned()),
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("{error}; write a level such as \"info\", or \"warn,beaconfence::mqtt=debug\"")),
        })
    } else {
        Some(default.filter)
    };
    let format = if keys.has("format") {
        keys.parsed("format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            "journald" => Ok(LogFormat::Journald),
            _ => Err("write \"text\", \"json\" or \"journald\""),
        })
    } else {
        Some(default.format)
    };
    Some(LogConfig { filter: filter?, format: format? })
}

/// Nobody needs sightings of longer ago, and the law asks for a reason long before that.
const MOST_DAYS: i64 = 366;
/// From here on it is asked whether that many are meant.
const MANY_DAYS: u32 = 30;

fn record(keys: &Keys<'_, '_>) -> Option<RecordConfig> {
    let default = RecordConfig::default();
    let days = if keys.has("days") {
        match keys.integer("days") {
            Some(days @ 0..=MOST_DAYS) => Some(days as u32),
            Some(days) => {
                let message = format!("\"days\" is {days}, but must lie between 0 (nothing is kept) and {MOST_DAYS}");
                keys.fault_at("days", message, None);
                None
            }
            None => None,
        }
    } else {
        Some(default.days)
    };
    if let Some(days) = days.filter(|days| *days > MANY_DAYS) {
        let message = format!("the sightings of customers are kept for {days} days");
        let help = format!("{MANY_DAYS} days or fewer serve to find faults; see docs/recording.md");
        keys.warn_at("days", message, Some(&help));
    }
    let max_bytes = megabytes(keys, "max_megabytes", default.max_bytes);
    Some(RecordConfig { days: days?, max_bytes: max_bytes? })
}

fn megabytes(keys: &Keys<'_, '_>, key: &str, default: u64) -> Option<u64> {
    if !keys.has(key) {
        return Some(default);
    }
    let value = keys.integer(key)?;
    if (MEGABYTES.0..=MEGABYTES.1).contains(&value) {
        return Some(value.unsigned_abs() * 1_000_000);
    }
    let message = format!("\"{key}\" must be a number of megabytes from {} to {}", MEGABYTES.0, MEGABYTES.1);
    keys.fault_at(key, message, None);
    None
}

pub(super) fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        Err("the path is empty")
    } else if text.contains('\0') {
        Err("the path holds a NUL character")
    } else {
        Ok(PathBuf::from(text))
    }
}

fn adapters(keys: &Keys<'_, '_>, found: &mut Vec<(ReceiverId, usize)>) -> Vec<AdapterConfig> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut receivers: HashMap<ReceiverId, usize> = HashMap::new();
    let mut adapters = Vec::new();
    for adapter in keys.tables("adapter", ADAPTER_KEYS) {
        let receiver = adapter.required("receiver", "write receiver = \"r1\", an id in site.toml", ReceiverId::new);
        if let Some(receiver) = &receiver {
            let line = adapter.line_of("receiver");
            found.push((receiver.clone(), line));
            if let Some(first) = receivers.get(receiver) {
                let message = format!("receiver \"{receiver}\" is taken by the adapter on line {first}");
                adapter.fault_at("receiver", message, Some("give each adapter a receiver of its own"));
            } else {
                receivers.insert(receiver.clone(), line);
            }
        }
        let name = match (adapter.has("name"), adapter.has("address")) {
            (true, true) => {
                let help = "keep the one that holds: the address survives a change of USB port";
                adapter.fault_at("address", "the adapter has both a name and an address", Some(help));
                None
            }
            (true, false) => adapter.parsed("name", adapter_name),
            (false, true) => adapter.parsed("address", adapter_address),
            (false, false) => Some(AdapterName::Any),
        };
        let key = match &name {
            Some(AdapterName::Name(name)) => Some(format!("the adapter \"{name}\" is")),
            Some(AdapterName::Address(address)) => Some(format!("the address {} is", hex::encode(address))),
            Some(AdapterName::Any) => Some("\"any adapter\" (neither name nor address) is".to_owned()),
            None => None,
        };
        if let Some(key) = key {
            let line = adapter.line_of(if adapter.has("name") { "name" } else { "address" });
            if let Some(first) = names.get(&key) {
                adapter.fault(
                    line,
                    format!("{key} taken by the entry on line {first}"),
                    Some("name each adapter once".to_owned()),
                );
            } else {
                names.insert(key, line);
            }
        }
        if let (Some(name), Some(receiver)) = (name, receiver) {
            adapters.push(AdapterConfig { name, receiver });
        }
    }
    adapters
}

fn adapter_name(text: &str) -> Result<AdapterName, String> {
    let good = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if good {
        Ok(AdapterName::Name(text.to_owned()))
    } else {
        Err(format!("\"{}\" is no adapter; write the system's name, such as \"hci0\"", short(text)))
    }
}

fn adapter_address(text: &str) -> Result<AdapterName, String> {
    let error = || format!("\"{}\" is no address; write one such as \"AA:BB:CC:DD:EE:FF\"", short(text));
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() != 6 || parts.iter().any(|part| part.len() != 2) {
        return Err(error());
    }
    let mut address = [0; 6];
    hex::decode_to_slice(parts.concat(), &mut address).map_err(|_| error())?;
    Ok(AdapterName::Address(address))
}

fn mqtt(keys: &Keys<'_, '_>, paths: &Paths<'_>, files: &mut Vec<(&'static str, PathBuf, usize)>) -> Option<MqttConfig> {
    let brokers = brokers(keys);
    let version = if keys.has("version") { keys.parsed("version", version) } else { Some(MqttVersion::default()) };
    let prefix = if keys.has("prefix") { keys.parsed("prefix", prefix) } else { Some("beaconfence/v1".to_owned()) };
    let client_id = keys.parsed("client_id", |text| field("client_id", text, 128));
    let username = keys.parsed("username", |text| field("username", text, 1_024));
    let file = |key: &str| keys.parsed(key, path).map(|path| paths.base.join(path));
    let password_file = keys.parsed("password_file", path).map(|path| secret(&path, paths));
    if keys.has("password_file") && !keys.has("username") {
        keys.fault_at("password_file", "a password needs a username", Some("write username = \"…\""));
    }
    let (ca_file, certificate_file, key_file) = (file("ca_file"), file("certificate_file"), file("key_file"));
    for (key, file) in [
        ("password_file", &password_file),
        ("ca_file", &ca_file),
        ("certificate_file", &certificate_file),
        ("key_file", &key_file),
    ] {
        files.extend(file.clone().map(|file| (key, file, keys.line_of(key))));
    }
    for (one, other) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        if keys.has(one) && !keys.has(other) {
            keys.fault_at(one, format!("\"{one}\" needs \"{other}\" beside it"), Some("write both, or neither"));
        }
    }
    if let Some(brokers) = &brokers {
        let plain = brokers.iter().find(|broker| broker.scheme() == "mqtt");
        if brokers.iter().all(|broker| broker.scheme() == "mqtt")
            && let Some(key) = ["ca_file", "certificate_file"].into_iter().find(|key| keys.has(key))
        {
            keys.warn_at(key, "no broker uses TLS, so this is not used", Some("write mqtts:// where TLS is meant"));
        }
        if let Some(broker) = plain.filter(|broker| keys.has("password_file") && !is_local(broker)) {
            let message = format!("the password goes to {broker} in the clear");
            keys.warn_at("password_file", message, Some("use mqtts://"));
        }
    }
    // MQTT counts the keep-alive in whole seconds, in 16 bits.
    let keep_alive = interval(keys, "keep_alive", Duration::from_secs(30), Duration::from_secs(65_535));
    let status_interval = interval(keys, "status_interval", Duration::from_secs(30), Duration::from_secs(86_400));
    let publish_positions = keys.boolean("publish_positions").unwrap_or(false);
    let xdm = keys.boolean("xdm").unwrap_or(false);
    Some(MqttConfig {
        brokers: brokers?,
        version: version?,
        prefix: prefix?,
        client_id,
        username,
        password_file,
        ca_file,
        certificate_file,
        key_file,
        keep_alive: keep_alive?,
        status_interval: status_interval?,
        publish_positions,
        xdm,
    })
}

/// Beside the file, or where systemd has put it.
pub(super) fn secret(path: &Path, paths: &Paths<'_>) -> PathBuf {
    let beside = paths.base.join(path);
    match paths.credentials.map(|directory| directory.join(path)) {
        Some(credential) if path.is_relative() && !beside.exists() && credential.exists() => credential,
        _ => beside,
    }
}

fn interval(keys: &Keys<'_, '_>, key: &str, default: Duration, most: Duration) -> Option<Duration> {
    if !keys.has(key) {
        return Some(default);
    }
    let duration = keys.parsed(key, parse_duration)?;
    if duration >= Duration::from_secs(1) && duration <= most && duration.subsec_millis() == 0 {
        return Some(duration);
    }
    let message = format!("\"{key}\" must be whole seconds from 1s to {}", format_duration(most));
    keys.fault_at(key, message, None);
    None
}

fn brokers(keys: &Keys<'_, '_>) -> Option<Vec<Url>> {
    if !keys.has("brokers") {
        keys.missing("brokers", "write brokers = [\"mqtt://HOST:1883\"]");
        return None;
    }
    let values = keys.array("brokers", "an array of addresses [\"mqtt://HOST:1883\"]");
    let mut brokers = Vec::new();
    let mut failed = values.len() > MAX_BROKERS;
    if failed {
        keys.fault_at("brokers", format!("there are more than {MAX_BROKERS} brokers"), None);
    }
    for (value, line) in values.iter().take(MAX_BROKERS) {
        let parsed = match value {
            DeValue::String(text) => broker(text),
            _ => Err(("a broker must be text in quotes".to_owned(), "write \"mqtt://HOST:1883\"".to_owned())),
        };
        match parsed {
            Ok(url) => brokers.push(url),
            Err((message, help)) => {
                failed = true;
                keys.fault(*line, message, Some(help));
            }
        }
    }
    if brokers.is_empty() && !failed {
        // Not an array is already reported.
        if matches!(keys.value("brokers"), Some(DeValue::Array(_))) {
            keys.fault_at("brokers", "there is no broker", Some("write brokers = [\"mqtt://HOST:1883\"]"));
        }
        return None;
    }
    (!failed).then_some(brokers)
}

fn version(text: &str) -> Result<MqttVersion, String> {
    match text {
        "5" => Ok(MqttVersion::V5),
        "3.1.1" => Ok(MqttVersion::V3),
        _ => Err(format!("\"{}\" is not supported; {}", short(text), nearest(text, &["5", "3.1.1"]))),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text.len() <= 256
        && !text.starts_with('$')
        && text.split('/').all(|level| !level.is_empty())
        && !text.contains(['+', '#'])
        && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "\"{}\" is no topic prefix; write words between single slashes, without +, # and a leading $",
            short(text)
        ))
    }
}

fn field(name: &str, text: &str, most: usize) -> Result<String, String> {
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        Err(format!("{name} must have 1 to {most} bytes, none of them control characters"))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<(GatewayConfig, Vec<Diagnostic>), Faults> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        load_with_credentials(&file, None)
    }

    const LEAST: &str = "id = \"g\"\nsite = \"site\"\n[mqtt]\nbrokers = [\"mqtt://localhost\"]\n";

    #[test]
    fn what_is_not_given_has_its_default() {
        let (config, warnings) = load(LEAST).unwrap();
        assert!(warnings.is_empty());
        assert!(config.data_dir.ends_with("data") && config.data_dir.is_absolute());
        assert!(config.adapters.is_empty());
        assert_eq!((config.mqtt.version, config.mqtt.prefix.as_str()), (MqttVersion::V5, "beaconfence/v1"));
        assert_eq!(config.mqtt.keep_alive, Duration::from_secs(30));
        assert!(!config.mqtt.publish_positions);
    }

    #[test]
    fn recording_is_off_until_days_are_given_and_many_of_them_are_warned_of() {
        let record = |text: &str| {
            let (config, warnings) = load(&format!("{LEAST}{text}")).unwrap();
            let warnings: Vec<String> = warnings.iter().map(|warning| warning.message.clone()).collect();
            (config.record, warnings)
        };
        assert_eq!(record(""), (RecordConfig { days: 0, max_bytes: 2_000_000_000 }, vec![]));
        let some = RecordConfig { days: 30, max_bytes: 500_000_000 };
        assert_eq!(record("[record]\ndays = 30\nmax_megabytes = 500\n"), (some, vec![]));
        let (config, warnings) = record("[record]\ndays = 31\n");
        assert_eq!((config.days, warnings.len()), (31, 1));
        assert!(warnings[0].contains("are kept for 31 days"), "{warnings:?}");
    }

    #[test]
    fn a_password_file_is_found_among_systemds_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, format!("{LEAST}username = \"u\"\npassword_file = \"pw\"\n")).unwrap();
        std::fs::write(credentials.path().join("pw"), "x").unwrap();
        let load = || load_with_credentials(&file, Some(credentials.path())).unwrap().0.mqtt.password_file.unwrap();
        assert_eq!(load(), credentials.path().join("pw"));
        std::fs::write(dir.path().join("pw"), "x").unwrap();
        assert_eq!(load(), dir.path().join("pw"));
    }
}
