//! A gateway's API that says what a test wants, on a socket in a data directory; and the program that asks it.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `GET /beacons/b1`, without the API's own prefix.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path.strip_prefix("/api/v1").unwrap_or(&self.path))
    }
}

/// An answer: status, headers, body.
pub type Said = (u16, Vec<(&'static str, String)>, Vec<u8>);

pub fn json(status: u16, body: &Value) -> Said {
    (status, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
}

pub fn tagged(status: u16, tag: &str, body: &Value) -> Said {
    with(json(status, body), "etag", tag)
}

pub fn with((status, mut headers, body): Said, name: &'static str, value: &str) -> Said {
    headers.push((name, value.to_owned()));
    (status, headers, body)
}

pub fn problem(status: u16, name: &str, detail: &str, errors: Value) -> Said {
    let body = serde_json::json!({
        "type": format!("urn:beaconfence:problem:{name}"), "title": name, "status": status, "detail": detail, "errors": errors
    });
    (status, vec![("content-type", "application/problem+json".to_owned())], body.to_string().into_bytes())
}

/// The API, and what it was asked.
pub struct Fake {
    pub dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

/// What the program did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Fake {
    pub fn start(say: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (say, heard, socket) = (Arc::new(say), Arc::clone(&asked), dir.path().join("api.sock"));
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(socket) }).unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (say, heard) = (Arc::clone(&say), Arc::clone(&heard));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (say, heard) = (Arc::clone(&say), Arc::clone(&heard));
                        async move {
                            let asked = read(request).await;
                            heard.lock().unwrap().push(asked.clone());
                            let (status, headers, body) = say(&asked);
                            let mut response = Response::builder().status(status);
                            for (name, value) in headers {
                                response = response.header(name, value);
                            }
                            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                        }
                    });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Self { dir, asked, _runtime: runtime }
    }

    /// Runs the program against it.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut with_dir = arguments.to_vec();
        let dir = self.dir.path().to_str().unwrap();
        with_dir.extend(["--data-dir", dir]);
        run(&with_dir, self.dir.path(), b"")
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

async fn read(request: Request<Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

/// Runs the program in a directory.
pub fn run(arguments: &[&str], dir: &Path, input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("BEACONFENCE_TOKEN_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever fails at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
