//! Reads `[http]` of gateway.toml.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use toml::de::DeValue;

use super::gateway_file::{Paths, path, secret};
use super::text::short;
use super::toml_file::Keys;

pub(super) const HTTP_KEYS: &[&str] = &["listen", "names", "certificate_file", "key_file"];
/// Addresses that are listened on at once.
const MAX_ADDRESSES: usize = 16;
/// Names that the gateway is reached by.
const MAX_NAMES: usize = 64;

/// `[http]`: the API and the web UI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens; nowhere where this is empty.
    pub listen: Vec<SocketAddr>,
    /// DNS names that it is reached by, in lower case, beside its addresses and `localhost`.
    pub names: Vec<String>,
    /// Certificate chain (PEM). With it, every address speaks TLS.
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

impl HttpConfig {
    /// The port, where none is given.
    pub const PORT: u16 = 8_090;
}

impl Default for HttpConfig {
    fn default() -> Self {
        let listen = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::PORT)];
        Self { listen, names: Vec::new(), certificate_file: None, key_file: None }
    }
}

pub(super) fn http(
    keys: &Keys<'_, '_>,
    paths: &Paths<'_>,
    files: &mut Vec<(&'static str, PathBuf, usize)>,
) -> Option<HttpConfig> {
    let default = HttpConfig::default();
    let listen = if keys.has("listen") { addresses(keys) } else { Some(default.listen) };
    let names = names(keys);
    let certificate_file = keys.parsed("certificate_file", path).map(|path| paths.base.join(path));
    let key_file = keys.parsed("key_file", path).map(|path| secret(&path, paths));
    for (key, label, file) in
        [("certificate_file", "http.certificate_file", &certificate_file), ("key_file", "http.key_file", &key_file)]
    {
        files.extend(file.clone().map(|file| (label, file, keys.line_of(key))));
    }
    for (one, other) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        if keys.has(one) && !keys.has(other) {
            keys.fault_at(one, format!("\"{one}\" needs \"{other}\" beside it"), Some("write both, or neither"));
        }
    }
    let (listen, names) = (listen?, names?);
    let open = listen.iter().find(|address| !address.ip().is_loopback());
    if let Some(address) = open.filter(|_| !keys.has("certificate_file")) {
        let message = format!("{address} can be reached from other machines, which needs TLS");
        let help = "write certificate_file and key_file, or listen on 127.0.0.1 only";
        keys.fault_at("listen", message, Some(help));
        return None;
    }
    if keys.has("certificate_file") != keys.has("key_file") {
        return None;
    }
    Some(HttpConfig { listen, names, certificate_file, key_file })
}

fn addresses(keys: &Keys<'_, '_>) -> Option<Vec<SocketAddr>> {
    let help = "write \"127.0.0.1:8090\", or \"[::1]:8090\"";
    let values = keys.array("listen", "an array of addresses [\"127.0.0.1:8090\"]");
    if !matches!(keys.value("listen"), Some(DeValue::Array(_))) {
        return None;
    }
    let mut failed = values.len() > MAX_ADDRESSES;
    if failed {
        keys.fault_at("listen", format!("there are more than {MAX_ADDRESSES} addresses"), None);
    }
    let mut found = BTreeSet::new();
    let mut addresses = Vec::new();
    for (value, line) in values.iter().take(MAX_ADDRESSES) {
        let fault = match value.as_str().map(|text| (text, text.parse::<SocketAddr>())) {
            Some((text, Ok(address))) => {
                addresses.push(address);
                let is_new = address.port() == 0 || found.insert(address);
                (!is_new).then(|| format!("\"{text}\" is listed twice"))
            }
            Some((text, Err(_))) => Some(format!("\"{}\" is no IP address with a port", short(text))),
            None => Some("an address must be text in quotes".to_owned()),
        };
        if let Some(message) = fault {
            failed = true;
            keys.fault(*line, message, Some(help.to_owned()));
        }
    }
    (!failed).then_some(addresses)
}

fn names(keys: &Keys<'_, '_>) -> Option<Vec<String>> {
    if !keys.has("names") {
        return Some(Vec::new());
    }
    let help = "write a DNS name such as \"gateway.example\", without scheme, port and path";
    let values = keys.array("names", "an array of names [\"gateway.example\"]");
    if !matches!(keys.value("names"), Some(DeValue::Array(_))) {
        return None;
    }
    let mut failed = values.len() > MAX_NAMES;
    if failed {
        keys.fault_at("names", format!("there are more than {MAX_NAMES} names"), None);
    }
    let mut names = Vec::new();
    for (value, line) in values.iter().take(MAX_NAMES) {
        let message = match value.as_str() {
            Some(text) if is_dns_name(text) => {
                names.push(text.to_ascii_lowercase());
                continue;
            }
            Some(text) => format!("\"{}\" is no DNS name", short(text)),
            None => "a name must be text in quotes".to_owned(),
        };
        failed = true;
        keys.fault(*line, message, Some(help.to_owned()));
    }
    (!failed).then_some(names)
}

/// Whether it is a host name (RFC 1123, section 2.1).
fn is_dns_name(text: &str) -> bool {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(good) && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::super::load_gateway;
    use super::*;

    /// The section, or the faults, each with its line within the section.
    fn read(section: &str) -> Result<HttpConfig, Vec<(Option<usize>, String)>> {
        const LEAST: &str = "id = \"g\"\nsite = \"site\"\n[mqtt]\nbrokers = [\"mqtt://localhost\"]\n[http]\n";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, format!("{LEAST}{section}")).unwrap();
        let above = LEAST.lines().count();
        let said = |d: &super::super::Diagnostic| (d.line.map(|line| line - above), d.message.clone());
        load_gateway(&file)
            .map(|(config, _)| config.http)
            .map_err(|faults| faults.diagnostics().iter().map(said).collect())
    }

    #[test]
    fn it_listens_on_loopback_unless_told_otherwise() {
        assert_eq!(read("").unwrap().listen, ["127.0.0.1:8090".parse().unwrap()]);
        assert_eq!(read("listen = []\n").unwrap().listen, []);
        let both = read("listen = [\"127.0.0.1:1\", \"[::1]:2\"]\nnames = [\"Gateway.example\"]\n").unwrap();
        assert_eq!(both.listen.len(), 2);
        assert_eq!(both.names, ["gateway.example"]);
    }

    #[test]
    fn an_address_that_others_reach_needs_a_certificate() {
        let faults = read("\nlisten = [\"0.0.0.0:8090\"]\n").unwrap_err();
        let message = "0.0.0.0:8090 can be reached from other machines, which needs TLS".to_owned();
        assert_eq!(faults, [(Some(2), message)]);
        let open = "listen = [\"0.0.0.0:8090\"]\ncertificate_file = \"c\"\nkey_file = \"k\"\n";
        assert!(read(open).unwrap().key_file.unwrap().ends_with("k"));
        let faults = read("certificate_file = \"c\"\n").unwrap_err();
        assert_eq!(faults, [(Some(1), "\"certificate_file\" needs \"key_file\" beside it".to_owned())]);
    }

    #[test]
    fn what_is_no_address_and_no_name_is_told_with_its_line() {
        let faults =
            read("listen = [\n  \"localhost:80\",\n  8090,\n]\nnames = [\"http://a\", \"10.0.0.1\"]\n").unwrap_err();
        let lines: Vec<Option<usize>> = faults.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(5), Some(5)], "{faults:?}");
        assert_eq!(faults[0].1, "\"localhost:80\" is no IP address with a port");
        assert_eq!(faults[2].1, "\"http://a\" is no DNS name");
    }
}
