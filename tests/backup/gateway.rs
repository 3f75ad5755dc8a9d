//! A gateway without a broker, in a directory of its own, with sightings on its standard input.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/store");
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_beaconfence");

/// What a program printed.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(arguments: &[&str], dir: &Path) -> Ran {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(dir)
        .env_remove("BEACONFENCE_TOKEN_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files in a directory.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect()
}

/// A gateway's directory, and the gateway while it runs.
pub struct Gateway {
    dir: Arc<tempfile::TempDir>,
    pub settings: String,
    data: String,
    child: Option<Child>,
    feeding: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Gateway {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("site")).unwrap();
        for (name, bytes) in files(Path::new(STORE)) {
            std::fs::write(dir.path().join("site").join(name), bytes).unwrap();
        }
        // One rule that can be counted.
        let rules = "[[trigger]]\nid = \"hello\"\ncampaign = \"welcome\"\nwhen = { entered = \"site\" }\n\
            unless = { caps = [\"1 per 30d\"] }\nthen = { channels = [\"push\"], expires_after = \"12h\" }\n";
        std::fs::write(dir.path().join("site/triggers.toml"), rules).unwrap();
        let gateway = Self {
            dir: Arc::new(dir),
            settings: "gateway.toml".to_owned(),
            data: "data".to_owned(),
            child: None,
            feeding: None,
        };
        gateway.write_settings("");
        gateway
    }

    /// Another machine that takes its place: the same settings, another data directory.
    pub fn beside(other: &Self, name: &str) -> Self {
        let gateway = Self {
            dir: Arc::clone(&other.dir),
            settings: format!("{name}.toml"),
            data: format!("data-{name}"),
            child: None,
            feeding: None,
        };
        gateway.write_settings("");
        gateway
    }

    pub fn write_settings(&self, more: &str) {
        let settings = format!(
            "id = \"gw\"\nsite = \"site\"\ndata_dir = \"{}\"\n{more}\n[http]\nlisten = [\"127.0.0.1:0\"]\n\n\
             [mqtt]\nbrokers = [\"mqtt://127.0.0.1:1\"]\n",
            self.data
        );
        std::fs::write(self.path(&self.settings), settings).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path(&self.data)
    }

    pub fn start(&mut self) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = Command::new(PROGRAM)
            .args(["run", "--sightings", "-", "--config", &self.settings])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        until("the gateway runs", || UnixStream::connect(self.data().join("api.sock")).is_ok());
    }

    /// Three shoppers are heard five times a second, until it stops.
    pub fn feed(&mut self) {
        let mut to: ChildStdin = self.child.as_mut().unwrap().stdin.take().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let feeding = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for shopper in 1..=3 {
                    for receiver in ["ground-west", "ground-east", "ground-north"] {
                        let line = format!(
                            "{{\"time\":\"2026-01-01T10:00:00.000Z\",\"receiver\":\"{receiver}\",\"address\":\"aa:bb:cc:dd:ee:0{shopper}\",\
                             \"rssi\":-60,\"manufacturer_data\":{{\"004c\":\"02158f1c7d2e5a434b0e9d612c7be0a4f3d90001000{shopper}c5\"}}}}"
                        );
                        if writeln!(to, "{line}").is_err() {
                            return;
                        }
                    }
                }
                let _ = to.flush();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        self.feeding = Some((stop, feeding));
    }

    pub fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn sequence(&self) -> u64 {
        let report: serde_json::Value =
            serde_json::from_str(&self.out(&["outbox", "--json", "--config", &self.settings])).unwrap();
        report["next_sequence"].as_u64().unwrap()
    }

    pub fn wait_for_sequence(&self, at_least: u64) {
        until("events were made", || self.sequence() >= at_least);
    }

    fn end_feeding(&mut self) {
        if let Some((stop, feeding)) = self.feeding.take() {
            stop.store(true, Ordering::Relaxed);
            feeding.join().unwrap();
        }
    }

    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        let stopped = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(stopped.success());
        assert!(child.wait().unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(25), "it stopped after {:?}", begun.elapsed());
        self.end_feeding();
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.end_feeding();
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(arguments, self.dir.path())
    }

    /// What the command prints, where it succeeds.
    pub fn out(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.err);
        ran.out
    }

    /// What it says on stderr, where it fails.
    pub fn err(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.out);
        ran.err
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some((stop, _)) = self.feeding.take() {
            stop.store(true, Ordering::Relaxed);
        }
    }
}
