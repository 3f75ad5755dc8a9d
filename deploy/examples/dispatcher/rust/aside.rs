//! A file with what nobody can act on, a line of JSON each.

use std::io::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

/// So large a file is enough; the one before is kept as FILE.1.
const MOST_BYTES: u64 = 10_000_000;

pub struct Aside {
    path: PathBuf,
}

impl Aside {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn write(&self, reason: &str, topic: &str, payload: &[u8], why: &str) -> std::io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|file| file.len() > MOST_BYTES) {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            std::fs::rename(&self.path, older)?;
        }
        let mut line = json!({
            "at": Timestamp::now().as_millisecond() as f64 / 1000.0, "reason": reason, "why": why, "topic": topic,
        });
        match std::str::from_utf8(payload) {
            Ok(text) => line["payload"] = json!(text),
            Err(_) => line["payload_hex"] = json!(hex::encode(payload)),
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}
