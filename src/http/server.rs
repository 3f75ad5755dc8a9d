//! Listens, and hands each connection to the routes: TCP, with TLS where there is a certificate, and a Unix socket.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use super::patient::Patient;
use super::peer::Peer;
use crate::config::HttpConfig;

/// The Unix socket's name in the data directory.
pub const SOCKET: &str = "api.sock";
/// Connections at once. Each takes some tens of kilobytes.
const MOST: usize = 512;
/// Of these, from one client. A proxy on this machine is many clients.
const MOST_OF_ONE: usize = 64;
/// How long a client may take to agree on keys, or to send the head of a request, or to send the next one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may take to read what was sent.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// How long requests may go on when the gateway stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How often an address that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD: usize = 64 * 1024;

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file is not there, or cannot be read.
    #[error("[http]: {} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("[http]: {} holds no {what} in PEM: {detail}", path.display())]
    Pem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The certificate and its key do not go together.
    #[error("[http]: certificate_file and key_file cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// What listens, before anything is served.
pub struct Bound {
    tcp: Vec<(SocketAddr, Option<TcpListener>)>,
    unix: Option<(PathBuf, UnixListener)>,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("tcp", &self.tcp).field("unix", &self.unix).finish_non_exhaustive()
    }
}

/// Listens wherever it can: an address that is taken is tried again while it serves. `data_dir` is where the Unix socket is made.
///
/// # Errors
/// Where the certificate cannot be used.
pub async fn bind(config: &HttpConfig, data_dir: Option<&Path>) -> Result<Bound, ServeError> {
    let tls = match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
        _ => None,
    };
    let mut tcp = Vec::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address).await.inspect_err(|error| {
            warn!("cannot listen on {address}: {error}; it is tried again every {} s", TRY_AGAIN.as_secs());
        });
        tcp.push((*address, listener.ok()));
    }
    let unix = data_dir.map(|dir| dir.join(SOCKET)).and_then(|path| match unix(&path) {
        Ok(listener) => Some((path, listener)),
        Err(error) => {
            warn!("commands cannot speak to this gateway, for {} cannot be made: {error}", path.display());
            None
        }
    });
    Ok(Bound { tcp, unix, tls })
}

/// A socket in a data directory that is this process's alone.
fn unix(path: &Path) -> io::Result<UnixListener> {
    // Left by a process that was killed: the database's lock says that nobody else is here.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, ServeError> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| ServeError::File { path: path.to_owned(), source });
    let pem = |what, path: &Path, detail: String| ServeError::Pem { what, path: path.to_owned(), detail };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem("certificate", certificate, error.to_string()))?;
    let private_key =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| pem("private key", key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Bound {
    /// The addresses that it listens on, with the ports that the system has given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|(_, listener)| listener.as_ref()?.local_addr().ok()).collect()
    }

    /// Where a browser on this machine finds it; none where it listens nowhere.
    pub fn url(&self) -> Option<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let addresses = self.addresses();
        let address = addresses.iter().find(|address| address.ip().is_loopback()).or(addresses.first())?;
        Some(format!("{scheme}://{address}"))
    }

    /// Serves until `shutdown` says so, and a little longer to those that have asked before.
    pub(super) async fn serve(self, router: Router, mut shutdown: watch::Receiver<bool>) {
        let served = Served { router, tls: self.tls, connections: Connections::default(), shutdown: shutdown.clone() };
        let served = Arc::new(served);
        let mut listening = JoinSet::new();
        for (address, listener) in self.tcp {
            listening.spawn(Arc::clone(&served).listen(address, listener));
        }
        let path = self.unix.map(|(path, listener)| {
            listening.spawn(Arc::clone(&served).listen_unix(listener));
            path
        });
        let _ = shutdown.wait_for(|stop| *stop).await;
        listening.shutdown().await;
        if let Some(path) = path {
            let _ = std::fs::remove_file(path);
        }
        served.connections.all_closed(DRAIN).await;
    }
}

/// What every connection is served with.
struct Served {
    router: Router,
    tls: Option<TlsAcceptor>,
    connections: Connections,
    shutdown: watch::Receiver<bool>,
}

impl Served {
    async fn listen(self: Arc<Self>, address: SocketAddr, listener: Option<TcpListener>) {
        let listener = match listener {
            Some(listener) => listener,
            None => loop {
                tokio::time::sleep(TRY_AGAIN).await;
                if let Ok(listener) = TcpListener::bind(address).await {
                    info!("listening on {address}");
                    break listener;
                }
            },
        };
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let Some(place) = self.connections.take(Some(remote.ip())) else { continue };
                    let Ok(local) = stream.local_addr() else { continue };
                    let _ = stream.set_nodelay(true);
                    let served = Arc::clone(&self);
                    tokio::spawn(async move {
                        served.connection(Patient::new(stream, READS_WITHIN), remote, local).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    async fn listen_unix(self: Arc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Some(place) = self.connections.take(None) else { continue };
                    let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { continue };
                    let served = Arc::clone(&self);
                    tokio::spawn(async move {
                        served.http(Patient::new(stream, READS_WITHIN), Peer::Local { uid }).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    async fn connection(&self, stream: Patient<tokio::net::TcpStream>, remote: SocketAddr, local: SocketAddr) {
        let Some(acceptor) = &self.tls else {
            return self.http(stream, Peer::Tcp { remote, local, tls: false }).await;
        };
        match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream, Peer::Tcp { remote, local, tls: true }).await,
            Ok(Err(error)) => debug!(%remote, "no TLS: {error}"),
            Err(_) => debug!(%remote, "no TLS in time"),
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            self.router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut shutdown = self.shutdown.clone();
        let stop = async {
            // What it gives back holds a lock.
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(DRAIN, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            debug!(?peer, "the connection broke: {error}");
        }
    }
}

/// After a failure to accept: mostly too many open files, which passes.
async fn pause(error: &io::Error) {
    debug!("a connection could not be taken: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Connections that are open.
struct Connections {
    all: Arc<Semaphore>,
    by_client: ByClient,
}

/// How many connections each client has open.
type ByClient = Arc<Mutex<HashMap<IpAddr, usize>>>;

impl Default for Connections {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST)), by_client: Arc::default() }
    }
}

impl Connections {
    /// A place for one more; none where there are too many. Commands of this machine always have one.
    fn take(&self, client: Option<IpAddr>) -> Option<Place> {
        let Some(client) = client else { return Some(Place { _all: None, counted: None }) };
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_client.entry(client).or_default();
        if *open >= MOST_OF_ONE && !client.is_loopback() {
            return None;
        }
        *open += 1;
        Some(Place { _all: Some(all), counted: Some((client, Arc::clone(&self.by_client))) })
    }

    /// Waits until they are closed, but no longer than that.
    async fn all_closed(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.all.acquire_many(MOST as u32)).await;
    }
}

/// One connection's place among those that are open.
struct Place {
    _all: Option<OwnedSemaphorePermit>,
    counted: Option<(IpAddr, ByClient)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((client, by_client)) = &self.counted else { return };
        let mut by_client = by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_client.get_mut(client) {
            *open -= 1;
            if *open == 0 {
                by_client.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_every_place() {
        let connections = Connections::default();
        let (greedy, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut places: Vec<Place> = (0..100).filter_map(|_| connections.take(Some(greedy))).collect();
        assert_eq!(places.len(), MOST_OF_ONE);
        assert!(connections.take(Some(other)).is_some());
        places.pop();
        assert!(connections.take(Some(greedy)).is_some());
        drop(places);
        assert!(connections.by_client.lock().unwrap().is_empty());
        assert_eq!(connections.all.available_permits(), MOST);
    }
}
