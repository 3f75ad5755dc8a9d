//! What the gateway tells the service manager, and what it does when that tells it something.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SETTINGS: &str =
    "id = \"gw\"\n\n[http]\nlisten = [\"127.0.0.1:0\"]\n\n[mqtt]\nbrokers = [\"mqtt://127.0.0.1:1\"]\n";

/// A gateway that is watched over.
struct Watched {
    dir: tempfile::TempDir,
    told: UnixDatagram,
    child: Child,
}

impl Watched {
    fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gateway.toml"), settings).unwrap();
        let socket = dir.path().join("notify");
        let told = UnixDatagram::bind(&socket).unwrap();
        told.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
            .arg("run")
            .current_dir(dir.path())
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "5000000")
            .env_remove("BEACONFENCE_LOG")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { dir, told, child }
    }

    /// Waits until it has said that.
    fn wait(&self, words: &str) {
        let (began, mut said) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(60) {
            let mut message = [0; 512];
            let length =
                self.told.recv(&mut message).unwrap_or_else(|e| panic!("{words} was not said, but {said:?}: {e}"));
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if text.lines().any(|line| line == words) {
                return;
            }
            said.push(text);
        }
        panic!("{words} was not said, but {said:?}; {}", self.log());
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_is_told_of_the_start_of_life_and_of_the_stop() {
    let mut gateway = Watched::start(SETTINGS);
    gateway.wait("READY=1");
    gateway.wait("WATCHDOG=1");
    gateway.wait("WATCHDOG=1");
    gateway.signal("-TERM");
    gateway.wait("STOPPING=1");
    assert!(gateway.child.wait().unwrap().success());
}

#[test]
fn a_reload_changes_the_log_and_names_what_waits_for_a_restart() {
    let gateway = Watched::start(SETTINGS);
    gateway.wait("READY=1");
    let reload = |settings: &str| {
        std::fs::write(gateway.path("gateway.toml"), settings).unwrap();
        gateway.signal("-HUP");
        gateway.wait("RELOADING=1");
        gateway.wait("READY=1");
    };
    reload(SETTINGS);
    assert!(gateway.log().contains("gateway.toml was read again: nothing has changed"), "{}", gateway.log());
    reload(&format!("{SETTINGS}username = \"u\"\n\n[log]\nfilter = \"warn\"\n"));
    let log = gateway.log();
    assert!(log.contains("the log has changed filter=\"warn\""), "{log}");
    assert!(
        log.contains("gateway.toml: mqtt.username changed, which takes effect when the gateway is restarted"),
        "{log}"
    );
    // At this level nothing is said of a file in which nothing is new, but for what still waits.
    reload(&format!("{SETTINGS}\n[log]\nfilter = \"warn\"\n"));
    assert_eq!(gateway.log().matches("was read again").count(), 1);
    // With faults it changes nothing.
    reload(&format!("{SETTINGS}\n[log]\nfilter = \"beaconfence=loud\"\n"));
    let log = gateway.log();
    assert!(log.contains("gateway.toml:10: error: [log]: \"filter\""), "{log}");
    assert!(log.contains("gateway.toml has faults: the gateway goes on with what it had"), "{log}");
}

#[test]
fn the_log_can_be_read_by_programs() {
    let gateway = Watched::start(&format!("{SETTINGS}\n[log]\nformat = \"json\"\n"));
    gateway.wait("READY=1");
    // What the settings are warned of is said before there is a log.
    let log = gateway.log();
    let lines = log.lines().filter(|line| !line.starts_with("gateway.toml: warning: "));
    let lines: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let running = lines.iter().find(|line| line["message"] == "running").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((running["level"].as_str(), running["gateway"].as_str()), (Some("INFO"), Some("gw")));
}
