//! How messages reach people.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a message was not delivered.
pub enum Failure {
    /// It did not work now; it may later.
    Later(String),
    /// It is refused for good.
    Never(String),
}

#[derive(Clone)]
pub enum Channel {
    /// A line of JSON for each message.
    Console,
    /// POSTs each message as JSON. `Idempotency-Key` is the id of the trigger: a dispatcher that is killed after the POST and before
    /// it has noted that will POST it again.
    Webhook(Url, Arc<rustls::ClientConfig>),
}

impl Channel {
    /// `console`, or `webhook:URL`.
    fn new(text: &str, tls: &Arc<rustls::ClientConfig>) -> Result<Self> {
        if text == "console" {
            return Ok(Self::Console);
        }
        let url = text.strip_prefix("webhook:").and_then(|url| url.parse::<Url>().ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| anyhow!("{text} is no channel; write NAME=console or NAME=webhook:http://…"))?;
        Ok(Self::Webhook(url, Arc::clone(tls)))
    }

    pub async fn deliver(&self, message: &Value, id: &str) -> Result<(), Failure> {
        match self {
            Self::Console => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{message}").and_then(|()| out.flush()).map_err(|error| Failure::Later(error.to_string()))
            }
            Self::Webhook(url, tls) => {
                let posted = tokio::time::timeout(TIMEOUT, post(url, tls, message, id)).await;
                let status = match posted {
                    Ok(Ok(status)) => status,
                    Ok(Err(error)) => return Err(Failure::Later(format!("{error:#}"))),
                    Err(_) => return Err(Failure::Later(format!("no answer in {} s", TIMEOUT.as_secs()))),
                };
                match status {
                    200..300 => Ok(()),
                    408 | 409 | 425 | 429 | 500.. => Err(Failure::Later(format!("status {status}"))),
                    _ => Err(Failure::Never(format!("status {status}"))),
                }
            }
        }
    }
}

async fn post(url: &Url, tls: &Arc<rustls::ClientConfig>, message: &Value, id: &str) -> Result<u16> {
    let host = url.host_str().context("it has no host")?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().context("it has no port")?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if url.scheme() == "https" {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(tls));
        send(connector.connect(ServerName::try_from(host)?, stream).await?, url, message, id).await
    } else {
        send(stream, url, message, id).await
    }
}

async fn send<S>(stream: S, url: &Url, message: &Value, id: &str) -> Result<u16>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", id)
        .body(Full::new(Bytes::from(message.to_string())))?;
    Ok(sender.send_request(request).await?.status().as_u16())
}

/// Channels by name, in the order in which they were given.
pub struct Channels(Vec<(String, Channel)>);

impl Channels {
    pub fn new(texts: &[String], tls: &Arc<rustls::ClientConfig>) -> Result<Self> {
        let channel = |text: &String| match text.split_once('=') {
            Some((name, kind)) if !name.is_empty() => Ok((name.to_owned(), Channel::new(kind, tls)?)),
            _ => bail!("{text} is no channel; write NAME=console or NAME=webhook:http://…"),
        };
        texts.iter().map(channel).collect::<Result<_>>().map(Self)
    }

    /// For a trigger that names `wanted`, best first; `*` takes what has no channel of its own.
    pub fn choose(&self, wanted: &[&str]) -> Option<(String, Channel)> {
        let named = |name: &str| self.0.iter().find(|(of, _)| of == name);
        if let Some((name, channel)) = wanted.iter().find_map(|name| named(name)) {
            return Some((name.clone(), channel.clone()));
        }
        let Some(first) = wanted.first() else {
            let (name, channel) = self.0.first()?;
            return Some((if name == "*" { "default".to_owned() } else { name.clone() }, channel.clone()));
        };
        named("*").map(|(_, channel)| ((*first).to_owned(), channel.clone()))
    }
}

/// Trusts the certificates of that file, or the system's.
pub fn tls(ca: Option<&Path>) -> Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())? {
                roots.add(certificate.with_context(|| path.display().to_string())?)?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
