//! The machine: what it runs, as far as that is cheap to know.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LOG_LINES, last_lines};

/// A program that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Versions and sizes; what cannot be read is null.
pub fn system() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let release = read("/etc/os-release").unwrap_or_default();
    let os = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).map(|name| name.trim_matches('"'));
    let memory = read("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    json!({
        "beaconfence": env!("CARGO_PKG_VERSION"),
        "os": os,
        "kernel": read("/proc/sys/kernel/osrelease"),
        "architecture": std::env::consts::ARCH,
        "model": read("/proc/device-tree/model").map(|model| model.trim_end_matches('\0').to_owned()),
        "processors": thread::available_parallelism().ok().map(std::num::NonZero::get),
        "memory_kib": memory.and_then(|kib| kib.trim().parse::<u64>().ok()),
        "load": read("/proc/loadavg").map(|load| load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
        "uptime_s": read("/proc/uptime").and_then(|up| up.split('.').next().and_then(|up| up.parse::<u64>().ok())),
        "bluez": run("bluetoothctl", &["--version"]).map(|said| said.trim().trim_start_matches("bluetoothctl: ").to_owned()),
        "adapters": std::fs::read_dir("/sys/class/bluetooth").ok().map(|entries| {
            let mut names: Vec<String> =
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            names
        }),
        "systemd": run("systemctl", &["--version"]).and_then(|said| said.lines().next().map(str::to_owned)),
    })
}

/// The machine's name.
pub(crate) fn host_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}

/// The gateway's lines in the journal; none where there is no journal, or nothing in it.
pub fn journal() -> Option<String> {
    let lines = LOG_LINES.to_string();
    let arguments = ["-u", "beaconfence", "-n", &lines, "--no-pager", "-q", "-o", "short-iso-precise"];
    let said = run("journalctl", &arguments)?;
    (!said.trim().is_empty()).then(|| last_lines(&said))
}

/// What a program prints; none where it is not there, fails, or takes too long.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut out = child.stdout.take()?;
    let reading = thread::spawn(move || {
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut said).ok().map(|_| said)
    });
    let begun = Instant::now();
    while !reading.is_finished() {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let is_good = child.wait().is_ok_and(|status| status.success());
    let said = reading.join().ok().flatten()?;
    is_good.then(|| String::from_utf8_lossy(&said).into_owned())
}
