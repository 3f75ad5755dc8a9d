//! Where the brokers are and how to be let in: [`MqttConfig`] made ready, its secrets read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::failure::Failure;
use crate::config::{MqttConfig, MqttVersion};

/// One address of a host that does not answer must not use up the whole time to connect when there are others.
const ONE_ADDRESS: Duration = Duration::from_secs(3);

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No broker is named.
    #[error("no broker is named; set `brokers` in [mqtt]")]
    NoBroker,
    /// The scheme is another.
    #[error("{0}: a broker is named as mqtt://HOST[:PORT] or, with TLS, mqtts://HOST[:PORT]")]
    Scheme(Url),
    /// There is no host.
    #[error("{0}: the host is missing")]
    NoHost(Url),
    /// User name or password in the address.
    #[error("the address of broker {host} holds a user name or password; use `username` and `password_file`")]
    Secret {
        /// Its host.
        host: String,
    },
    /// More than host and port.
    #[error("{0}: the address of a broker has no path")]
    Path(Url),
    /// A file cannot be read.
    #[error("{what} {path} cannot be read: {source}", path = path.display())]
    File {
        /// What it is for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PEM file holds no such thing.
    #[error("{path} holds no {what} in PEM form: {detail}", path = path.display())]
    Pem {
        /// What it should hold.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Certificate without key, or key without certificate.
    #[error("`certificate_file` and `key_file` go together: set both or none")]
    HalfIdentity,
    /// The system has no certificate authorities.
    #[error("this system has no certificate authorities (package ca-certificates); name your own in `ca_file`")]
    NoRoots,
    /// Password without user name.
    #[error("`password_file` needs `username`")]
    NoUsername,
    /// The certificate and the key do not fit, or TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
}

impl Endpoint {
    /// Reads `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
    ///
    /// # Errors
    /// [`SettingsError`] where it is no such address.
    pub fn new(url: &Url) -> Result<Self, SettingsError> {
        let (tls, port) = match url.scheme() {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return Err(SettingsError::Scheme(url.clone())),
        };
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            _ => return Err(SettingsError::NoHost(url.clone())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SettingsError::Secret { host });
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(SettingsError::Path(url.clone()));
        }
        Ok(Self { host, port: url.port().unwrap_or(port), tls })
    }

    /// Opens a TCP connection. The error holds a [`Failure`].
    pub(super) async fn connect(self) -> io::Result<TcpStream> {
        let dns = |detail: String| io::Error::other(Failure::Dns { host: self.host.clone(), detail });
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map_err(|error| dns(error.to_string()))?.collect();
        let mut last = None;
        for address in addresses {
            match tokio::time::timeout(ONE_ADDRESS, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
            }
        }
        let address = self.to_string();
        Err(io::Error::other(match last {
            None => return Err(dns("it has no address".to_owned())),
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => Failure::Refused { address },
            Some(error) => Failure::Unreachable { address, detail: error.to_string() },
        }))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// All that is needed to connect.
#[derive(Clone)]
pub struct Settings {
    /// The brokers, in the order to try them; never empty.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) version: MqttVersion,
    pub(super) client_id: String,
    pub(super) prefix: String,
    pub(super) username: Option<String>,
    pub(super) password: Vec<u8>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    /// Seconds; 0 would switch it off and is never used.
    pub(super) keep_alive: u16,
}

impl Settings {
    /// Makes a configuration ready: reads its files, sets up TLS where a broker wants it. `client_id` is used where the
    /// configuration has none; give [`client_id`] of site and gateway.
    ///
    /// # Errors
    /// [`SettingsError`] says what is wrong and what to do.
    pub fn new(config: &MqttConfig, client_id: String) -> Result<Self, SettingsError> {
        let endpoints = config.brokers.iter().map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(SettingsError::NoBroker);
        }
        if config.password_file.is_some() && config.username.is_none() {
            return Err(SettingsError::NoUsername);
        }
        let password = match &config.password_file {
            Some(path) => read_password(path)?,
            None => Vec::new(),
        };
        let tls = if endpoints.iter().any(|endpoint| endpoint.tls) { Some(Arc::new(tls(config)?)) } else { None };
        Ok(Self {
            endpoints,
            version: config.version,
            client_id: config.client_id.clone().unwrap_or(client_id),
            prefix: config.prefix.clone(),
            username: config.username.clone(),
            password,
            tls,
            keep_alive: u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1),
        })
    }

    /// The same under another client id: two connections with one client id throw each other out.
    #[must_use]
    pub fn with_suffix(mut self, suffix: &str) -> Self {
        self.client_id.push_str(suffix);
        self
    }

    /// The full topic of one under the prefix.
    pub(super) fn topic(&self, under: &str) -> String {
        format!("{}/{under}", self.prefix)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the password.
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The client id of a gateway where its configuration gives none.
pub fn client_id(site: &crate::model::SiteId, gateway: &crate::model::GatewayId) -> String {
    format!("beaconfence-{site}-{gateway}")
}

fn read_password(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let mut bytes = std::fs::read(path).map_err(|source| SettingsError::File {
        what: "the password file",
        path: path.to_owned(),
        source,
    })?;
    // Editors end the last line; no password ends in a newline.
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

fn tls(config: &MqttConfig) -> Result<rustls::ClientConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.ca_file {
        for certificate in certificates(path, "certificate authority")? {
            roots.add(certificate)?;
        }
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            return Err(SettingsError::NoRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key_file)) => {
            let chain = certificates(certificate, "certificate")?;
            let key = read(key_file, "the key file")?;
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| SettingsError::Pem {
                what: "private key",
                path: key_file.clone(),
                detail: error.to_string(),
            })?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(SettingsError::HalfIdentity),
    }
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let text = read(path, "the certificate file")?;
    let error = |detail: String| SettingsError::Pem { what, path: path.to_owned(), detail };
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| error(source.to_string()))?;
    if found.is_empty() { Err(error("it holds none".to_owned())) } else { Ok(found) }
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::File { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, String> {
        Endpoint::new(&Url::parse(url).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_read_with_their_default_ports() {
        for (url, host, port, tls, shown) in [
            ("mqtt://broker", "broker", 1883, false, "broker:1883"),
            ("mqtts://broker.example", "broker.example", 8883, true, "broker.example:8883"),
            ("mqtt://127.0.0.1:1884/", "127.0.0.1", 1884, false, "127.0.0.1:1884"),
            ("mqtt://[::1]:1883", "::1", 1883, false, "[::1]:1883"),
        ] {
            let read = endpoint(url).unwrap();
            assert_eq!(read, Endpoint { host: host.to_owned(), port, tls });
            assert_eq!(read.to_string(), shown);
        }
    }

    #[test]
    fn addresses_that_cannot_work_say_why() {
        for (url, words) in [
            ("http://broker", "mqtt://HOST"),
            ("mqtt://", "the host is missing"),
            ("mqtt://broker/path", "has no path"),
            ("mqtt://joe:secret@broker", "`password_file`"),
        ] {
            let error = endpoint(url).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
