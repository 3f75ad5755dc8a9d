//! Real connections.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use beaconfence::config::HttpConfig;
use beaconfence::http::{Bound, bind, serve_on};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::services;

struct Server {
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(bound: Bound, config: &HttpConfig) -> Self {
        let (shutdown, stop) = watch::channel(false);
        let config = config.clone();
        let task = tokio::spawn(async move { serve_on(bound, services().0, &config, stop).await });
        Self { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("it does not stop").unwrap();
    }
}

fn anywhere() -> HttpConfig {
    HttpConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..HttpConfig::default() }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn it_answers_over_tcp_and_over_its_socket_which_only_its_user_opens() {
    let dir = tempfile::tempdir().unwrap();
    let bound = bind(&anywhere(), Some(dir.path())).await.unwrap();
    let address = bound.addresses()[0];
    assert_eq!(bound.url(), Some(format!("http://{address}")));
    let server = Server::start(bound, &anywhere());
    assert!(ask(connect(address).await, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
    assert!(ask(connect(address).await, "/api/v1/site").await.starts_with("HTTP/1.1 401"));
    let socket = dir.path().join("api.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let local = ask(UnixStream::connect(&socket).await.unwrap(), "/api/v1/tokens").await;
    assert!(local.starts_with("HTTP/1.1 200 OK"), "{local}");
    server.stop().await;
    assert!(!socket.exists());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn it_stops_though_somebody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(bind(&anywhere(), Some(dir.path())).await.unwrap(), &anywhere());
    let mut stream = UnixStream::connect(dir.path().join("api.sock")).await.unwrap();
    stream.write_all(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 64];
    stream.read_exact(&mut first).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_does_not_stop_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = HttpConfig { listen: vec![taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap()], ..anywhere() };
    let bound = bind(&config, None).await.unwrap();
    let addresses = bound.addresses();
    assert_eq!(addresses.len(), 1);
    let server = Server::start(bound, &config);
    assert!(ask(connect(addresses[0]).await, "/healthz").await.contains("200 OK"));
    server.stop().await;
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(dir.path());
    let config = HttpConfig { certificate_file: Some(certificate.clone()), key_file: Some(key), ..anywhere() };
    let bound = bind(&config, None).await.unwrap();
    let address = bound.addresses()[0];
    assert_eq!(bound.url(), Some(format!("https://{address}")));
    let server = Server::start(bound, &config);
    let answer = ask(tls(&certificate, connect(address).await).await, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let mut plain = connect(address).await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    server.stop().await;
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(dir.path());
    let with = async |certificate: &Path, key: &Path| {
        let config =
            HttpConfig { certificate_file: Some(certificate.to_owned()), key_file: Some(key.to_owned()), ..anywhere() };
        bind(&config, None).await.unwrap_err().to_string()
    };
    assert!(with(&dir.path().join("none"), &key).await.contains("none cannot be read"));
    let error = with(&certificate, &certificate).await;
    assert!(error.contains("holds no private key"), "{error}");
}

/// A self-signed certificate of `localhost`, made by openssl.
fn certificate(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is missing");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

async fn tls(certificate: &Path, stream: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}
