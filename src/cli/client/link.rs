//! The way to a gateway.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// The API's socket in a data directory; for the gateway's own user alone.
const SOCKET: &str = "api.sock";
/// A token is shorter than this.
const MOST_TOKEN_BYTES: u64 = 4 << 10;
/// A file of certificate authorities is smaller than this.
const MOST_PEM_BYTES: u64 = 4 << 20;

/// What is read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why there is no way to a gateway.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum LinkError {
    /// Nobody listens there.
    #[error(
        "no gateway runs on {}; start it with \"beaconfence run\" (with the gateway stopped, only apply and export work)",
        data_dir.display()
    )]
    NotRunning {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A gateway runs, and its API does not.
    #[error(
        "a gateway runs on {} but its API cannot be reached through {SOCKET} there; its log says why (a path may have 107 bytes)",
        .0.display()
    )]
    NoApi(PathBuf),
    /// It belongs to somebody else.
    #[error(
        "{} belongs to the gateway's user: run this as that user (sudo -u USER …), or use --url with a token",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// The system says no.
    #[error("{} cannot be reached: {source}", socket.display())]
    Socket {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No such address.
    #[error(
        "\"{0}\" is no address of a gateway; write https://HOST[:PORT], or http://127.0.0.1:PORT on the same computer"
    )]
    Address(String),
    /// A token must not be readable on the way.
    #[error("the token would go to {0} in the clear; use https://")]
    InTheClear(String),
    /// Nobody answers.
    #[error("{host} cannot be reached: {source}")]
    Network {
        /// Who.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The certificate is not trusted, or it speaks no TLS.
    #[error("{host} is not trusted: {source}; name the authority of its certificate with --ca-file")]
    Trust {
        /// Who.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be used.
    #[error("{}: {reason}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The way to a gateway. Displays as the place, in messages.
pub(super) enum Link {
    /// The socket in a data directory.
    Socket {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A host on the network.
    Network {
        /// Its name or address.
        host: Host,
        /// Its port.
        port: u16,
        /// What its paths begin with, without a slash at the end.
        base: String,
        /// Who is asking.
        token: String,
        /// None on the same computer.
        tls: Option<Arc<rustls::ClientConfig>>,
    },
}

impl Link {
    /// To the gateway that runs on a data directory.
    pub(super) fn socket(data_dir: &Path) -> Self {
        Self::Socket { data_dir: data_dir.to_owned() }
    }

    /// To a gateway on the network.
    pub(super) fn network(url: &Url, token_file: &Path, ca_file: Option<&Path>) -> Result<Self, LinkError> {
        let address = || LinkError::Address(url.to_string());
        let with_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(address()),
        };
        let host = url.host().ok_or_else(address)?.to_owned();
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            // Not repeated: it may hold a secret.
            return Err(LinkError::Address(format!("{}://…", url.scheme())));
        }
        let is_here = match &host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        if !with_tls && !is_here {
            return Err(LinkError::InTheClear(host.to_string()));
        }
        let port = url.port_or_known_default().ok_or_else(address)?;
        let base = url.path().trim_end_matches('/').to_owned();
        let tls = with_tls.then(|| tls(ca_file)).transpose()?.map(Arc::new);
        Ok(Self::Network { host, port, base, token: token(token_file)?, tls })
    }

    /// What the paths begin with.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Socket { .. } => "",
            Self::Network { base, .. } => base,
        }
    }

    /// The name to ask for.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Socket { .. } => "localhost".to_owned(),
            Self::Network { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// Who is asking; none where the socket says it.
    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Self::Socket { .. } => None,
            Self::Network { token, .. } => Some(token),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, LinkError> {
        match self {
            Self::Socket { data_dir } => {
                let socket = data_dir.join(SOCKET);
                match UnixStream::connect(&socket).await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(source) => Err(match source.kind() {
                        // Without a listener the socket is what a killed gateway left.
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                            let other = UnixStream::connect(data_dir.join(crate::gateway::control::SOCKET)).await;
                            let data_dir = data_dir.clone();
                            if other.is_ok() { LinkError::NoApi(data_dir) } else { LinkError::NotRunning { data_dir } }
                        }
                        io::ErrorKind::PermissionDenied => LinkError::NotAllowed(socket),
                        _ => LinkError::Socket { socket, source },
                    }),
                }
            }
            Self::Network { host, port, tls, .. } => {
                let name = match host {
                    Host::Ipv6(address) => address.to_string(),
                    other => other.to_string(),
                };
                let failed = |source| LinkError::Network { host: self.host(), source };
                let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                let Some(tls) = tls else { return Ok(Box::new(stream)) };
                let server = ServerName::try_from(name.clone()).map_err(|_| LinkError::Address(name))?;
                let connector = TlsConnector::from(Arc::clone(tls));
                match connector.connect(server, stream).await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(source) => Err(LinkError::Trust { host: self.host(), source }),
                }
            }
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { data_dir } => write!(f, "the gateway on {}", data_dir.display()),
            Self::Network { .. } => write!(f, "the gateway at {}", self.host()),
        }
    }
}

fn token(file: &Path) -> Result<String, LinkError> {
    let fault = |reason: String| LinkError::File { file: file.to_owned(), reason };
    let text = read(file, MOST_TOKEN_BYTES).map_err(|error| fault(format!("the token cannot be read: {error}")))?;
    let token = String::from_utf8(text).unwrap_or_default().trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("this holds no token; it begins with bf_ and stands alone in its file".to_owned()));
    }
    Ok(token)
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, LinkError> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = ca_file {
        let fault = |reason: String| LinkError::File { file: file.to_owned(), reason };
        let text = read(file, MOST_PEM_BYTES).map_err(|error| fault(format!("cannot be read: {error}")))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            roots.add(certificate.map_err(|error| fault(format!("this is no certificate in PEM: {error}")))?)?;
        }
        if roots.is_empty() {
            return Err(fault("this holds no certificate in PEM".to_owned()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn read(file: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(most_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}
