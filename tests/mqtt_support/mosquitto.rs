//! A real Mosquitto on a free loopback port, and its clients. A machine without it fails the tests.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use beaconfence::config::{MqttConfig, MqttVersion};

/// Far beyond what anything here takes; never a measure of speed.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn program(name: &str, package: &str) -> Command {
    let sbin = format!("/usr/sbin/{name}");
    let path = if Path::new(&sbin).exists() { sbin } else { name.to_owned() };
    let found = Command::new(&path).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "{name} is missing: install the package {package}");
    Command::new(path)
}

/// Runs a program to its end.
pub fn call(name: &str, package: &str, args: &[&str]) {
    let output = program(name, package).args(args).output().unwrap();
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Mosquitto {
    pub dir: tempfile::TempDir,
    pub host: &'static str,
    pub port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// A broker that lets everybody in.
    pub fn open() -> Self {
        Self::with("127.0.0.1", "allow_anonymous true\n")
    }

    /// `{dir}` in the settings stands for the broker's directory.
    pub fn with(host: &'static str, settings: &str) -> Self {
        Self::prepared(host, tempfile::tempdir().unwrap(), settings)
    }

    /// The same in a directory that holds files already.
    pub fn prepared(host: &'static str, dir: tempfile::TempDir, settings: &str) -> Self {
        let port = free_port();
        let text = dir.path().display().to_string();
        // Started by root it would become another user, who cannot read the directory.
        let config =
            format!("user root\nlistener {port} {host}\nmax_queued_messages 0\n{}", settings.replace("{dir}", &text));
        std::fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { dir, host, port, child: None };
        broker.start();
        broker
    }

    pub fn start(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = program("mosquitto", "mosquitto")
            .args(["-v", "-c"])
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let (host, port) = (self.host, self.port);
        eventually("Mosquitto listens", || TcpStream::connect((host, port)).ok());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// An orderly stop, which saves what it keeps.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            call("kill", "procps", &["-TERM", &child.id().to_string()]);
            child.wait().unwrap();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub fn config(&self, version: MqttVersion) -> MqttConfig {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        config(&format!("mqtt://{host}:{}", self.port), version)
    }

    /// Publishes every line of a file.
    pub fn publish_lines(&self, topic: &str, lines: &Path) {
        let mut command = program("mosquitto_pub", "mosquitto-clients");
        command.args(["-h", self.host, "-p", &self.port.to_string(), "-q", "1", "-t", topic, "-l"]);
        assert!(command.stdin(std::fs::File::open(lines).unwrap()).status().unwrap().success());
    }

    /// Publishes with `mosquitto_pub`.
    pub fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let port = self.port.to_string();
        let mut args = vec!["-h", self.host, "-p", &port, "-q", "1", "-t", topic, "-m", payload];
        args.extend_from_slice(more);
        call("mosquitto_pub", "mosquitto-clients", &args);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of Mosquitto's log\n{}", tail(&self.log()));
        }
        self.kill();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

pub fn config(url: &str, version: MqttVersion) -> MqttConfig {
    MqttConfig { version, ..MqttConfig::new(vec![url.parse().unwrap()]) }
}

/// A message as `mosquitto_sub` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub topic: String,
    pub retained: bool,
    pub content_type: String,
    pub user_properties: String,
    /// Seconds until the broker forgets it; empty where it does not.
    pub expiry: String,
    pub payload: String,
}

/// A running `mosquitto_sub`.
pub struct Subscriber {
    child: Child,
    lines: Receiver<Line>,
}

/// Retained by the tests, so that a subscriber that sees it is known to be subscribed.
const READY: &str = "test/ready";

impl Subscriber {
    /// Subscribes to `filter`, and returns when that stands.
    pub fn start(host: &str, port: u16, filter: &str, more: &[&str]) -> Self {
        let text = port.to_string();
        let open: Vec<&str> = more.iter().copied().filter(|arg| *arg != "-c").collect();
        let mut ready = vec!["-h", host, "-p", &text, "-r", "-q", "1", "-t", READY, "-m", "ready"];
        ready.extend(open.iter().skip_while(|arg| !arg.starts_with("--")));
        call("mosquitto_pub", "mosquitto-clients", &ready);
        let mut child = program("mosquitto_sub", "mosquitto-clients")
            .args(["-h", host, "-p", &text, "-q", "1", "-t", READY, "-t", filter])
            .args(["-F", "%t\t%r\t%C\t%P\t%E\t%p"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut parts = line.splitn(6, '\t').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let read = Line {
                    topic: part(),
                    retained: part() == "1",
                    content_type: part(),
                    user_properties: part(),
                    expiry: part(),
                    payload: part(),
                };
                if send.send(read).is_err() {
                    return;
                }
            }
        });
        let subscriber = Self { child, lines };
        while subscriber.lines.recv_timeout(LIMIT).expect("mosquitto_sub says nothing").topic != READY {}
        subscriber
    }

    pub fn next(&self) -> Line {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("no message came");
            if line.topic != READY {
                return line;
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
