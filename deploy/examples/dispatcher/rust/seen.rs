//! What was acted on already: ids and deduplication keys, in a file of lines that several dispatchers of one machine may share.
//!
//! A trigger is claimed before it is delivered, and done afterwards. A claim keeps two dispatchers from delivering the same at
//! once. The owner is the client id, of which the broker lets only one live: so a claim of one's own is of an earlier life that was
//! cut short, and is taken up again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A claim of another dispatcher that is older than this belongs to one that is gone.
const LEASE_MS: i64 = 30_000;
/// The file is written anew when it has twice the lines that it had then, and this many more.
const SPARE_LINES: usize = 20_000;

/// Whether a trigger is ours to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is.
    Free,
    /// Another has it in hand; ask again.
    Busy,
    /// It was delivered.
    Duplicate,
    /// Another of the same key was.
    DuplicateKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Claimed,
    Done,
    Released,
}

/// A line of the file; the last one of a key counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    id: String,
    key: String,
    owner: String,
    state: State,
    at: i64,
}

pub struct Seen {
    path: PathBuf,
    owner: String,
    remember_ms: i64,
    file: File,
    /// How far the file was read.
    read: u64,
    lines: usize,
    /// How many lines it had when it was last written anew.
    kept: usize,
    /// By id and by key; the two have names that cannot meet.
    known: HashMap<String, Line>,
}

impl Seen {
    pub fn open(path: &Path, owner: &str, remember: Duration) -> Result<Self> {
        let file = create(path)?;
        let mut seen = Self {
            path: path.to_owned(),
            owner: owner.to_owned(),
            remember_ms: i64::try_from(remember.as_millis())?,
            file,
            read: 0,
            lines: 0,
            kept: 0,
            known: HashMap::new(),
        };
        seen.locked(Self::compact)?;
        Ok(seen)
    }

    pub fn claim(&mut self, id: &str, key: &str) -> Result<Claim> {
        self.locked(|seen| {
            let now = now();
            let found: Vec<&Line> = names(id, key)
                .iter()
                .filter_map(|name| seen.known.get(name))
                .filter(|line| now - line.at < seen.remember_ms)
                .collect();
            let done: Vec<&&Line> = found.iter().filter(|line| line.state == State::Done).collect();
            if !done.is_empty() {
                let same = done.iter().any(|line| line.id == id);
                return Ok(if same { Claim::Duplicate } else { Claim::DuplicateKey });
            }
            let others =
                |line: &&Line| line.state == State::Claimed && line.owner != seen.owner && now - line.at < LEASE_MS;
            if found.iter().any(others) {
                return Ok(Claim::Busy);
            }
            seen.append(id, key, State::Claimed, false)?;
            Ok(Claim::Free)
        })
    }

    /// Still at it.
    pub fn renew(&mut self, id: &str, key: &str) -> Result<()> {
        self.locked(|seen| seen.append(id, key, State::Claimed, false))
    }

    /// Delivered: never again. It is on disk afterwards.
    pub fn done(&mut self, id: &str, key: &str) -> Result<()> {
        self.locked(|seen| {
            seen.append(id, key, State::Done, true)?;
            if seen.lines > 2 * seen.kept + SPARE_LINES { seen.compact() } else { Ok(()) }
        })
    }

    /// Not delivered, and not by us any more.
    pub fn release(&mut self, id: &str, key: &str) -> Result<()> {
        self.locked(|seen| seen.append(id, key, State::Released, false))
    }

    /// Does it alone, with all read that others have written.
    fn locked<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        loop {
            self.file.lock().with_context(|| self.path.display().to_string())?;
            // Another may have written the file anew meanwhile.
            let ours = self.file.metadata()?;
            if std::fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                break;
            }
            self.file = create(&self.path)?;
            self.read = 0;
            self.lines = 0;
            self.kept = 0;
            self.known.clear();
        }
        let answer = self.catch_up().and_then(|()| act(self));
        self.file.unlock()?;
        answer
    }

    fn catch_up(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut new = Vec::new();
        self.file.read_to_end(&mut new)?;
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < new.len() {
            // Whoever wrote that was killed within the line.
            self.file.set_len(self.read + whole as u64)?;
        }
        for line in new[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.lines += 1;
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => self.note(line),
                Err(error) => eprintln!("{}: a line is damaged: {error}", self.path.display()),
            }
        }
        self.read += whole as u64;
        Ok(())
    }

    fn note(&mut self, line: Line) {
        for name in names(&line.id, &line.key) {
            self.known.insert(name, line.clone());
        }
    }

    fn append(&mut self, id: &str, key: &str, state: State, sync: bool) -> Result<()> {
        let line = Line { id: id.to_owned(), key: key.to_owned(), owner: self.owner.clone(), state, at: now() };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.seek(SeekFrom::Start(self.read))?;
        self.file.write_all(&text)?;
        if sync {
            self.file.sync_data()?;
        }
        self.read += text.len() as u64;
        self.lines += 1;
        self.note(line);
        Ok(())
    }

    /// Writes the file anew, without what is too old to come again.
    fn compact(&mut self) -> Result<()> {
        let now = now();
        let remember_ms = self.remember_ms;
        self.known.retain(|_, line| line.state != State::Released && now - line.at < remember_ms);
        // A line stands for its id and its key. Of two with one key the later one counts, so they keep their order.
        let ids = self.known.iter().filter(|(name, _)| name.starts_with("id:"));
        let mut lines: Vec<&Line> = ids.map(|(_, line)| line).collect();
        lines.sort_by_key(|line| line.at);
        self.kept = lines.len();
        if self.kept == self.lines {
            return Ok(());
        }
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let mut other = self.path.clone().into_os_string();
        other.push(".new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&other)?;
        file.lock()?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&other, &self.path)?;
        // The older file is let go, and with it its lock; whoever waited for that sees that it is another.
        self.file = file;
        self.read = text.len() as u64;
        self.lines = self.kept;
        Ok(())
    }
}

fn names(id: &str, key: &str) -> [String; 2] {
    [format!("id:{id}"), format!("key:{key}")]
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seen");
        (directory, path)
    }

    #[test]
    fn what_is_done_is_known_to_all_and_after_a_restart() {
        let (_directory, path) = file();
        let (mut one, mut two) = (Seen::open(&path, "one", DAY).unwrap(), Seen::open(&path, "two", DAY).unwrap());
        assert_eq!(one.claim("a", "k").unwrap(), Claim::Free);
        assert_eq!(two.claim("a", "k").unwrap(), Claim::Busy);
        assert_eq!(two.claim("b", "k").unwrap(), Claim::Busy);
        assert_eq!(one.claim("a", "k").unwrap(), Claim::Free, "its own is of an earlier life");
        one.done("a", "k").unwrap();
        let mut again = Seen::open(&path, "one", DAY).unwrap();
        for seen in [&mut one, &mut two, &mut again] {
            assert_eq!(seen.claim("a", "k").unwrap(), Claim::Duplicate);
            assert_eq!(seen.claim("b", "k").unwrap(), Claim::DuplicateKey);
            assert_eq!(seen.claim("b", "l").unwrap(), Claim::Free);
            seen.release("b", "l").unwrap();
        }
    }

    #[test]
    fn a_line_that_was_cut_short_is_cut_off() {
        let (_directory, path) = file();
        let mut one = Seen::open(&path, "one", DAY).unwrap();
        one.claim("a", "k").unwrap();
        one.done("a", "k").unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"id\":\"b\",\"ke"].concat()).unwrap();
        let mut two = Seen::open(&path, "two", DAY).unwrap();
        assert_eq!(two.claim("a", "k").unwrap(), Claim::Duplicate);
        assert_eq!(two.claim("b", "l").unwrap(), Claim::Free);
        assert_eq!(one.claim("b", "l").unwrap(), Claim::Busy);
    }

    #[test]
    fn the_file_is_written_anew_under_those_who_share_it() {
        let (_directory, path) = file();
        let (mut one, mut two) = (Seen::open(&path, "one", DAY).unwrap(), Seen::open(&path, "two", DAY).unwrap());
        for at in 0..500 {
            let (id, key) = (format!("i{at}"), format!("k{at}"));
            assert_eq!(one.claim(&id, &key).unwrap(), Claim::Free);
            if at % 2 == 0 { one.done(&id, &key).unwrap() } else { one.release(&id, &key).unwrap() }
        }
        let before = std::fs::metadata(&path).unwrap().len();
        one.locked(Seen::compact).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < before / 3);
        assert_eq!(two.claim("i0", "k0").unwrap(), Claim::Duplicate);
        assert_eq!(two.claim("i1", "k1").unwrap(), Claim::Free);
        assert_eq!(one.claim("i1", "k1").unwrap(), Claim::Busy);
        assert_eq!(one.claim("new", "k498").unwrap(), Claim::DuplicateKey);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let (_directory, path) = file();
        let mut one = Seen::open(&path, "one", Duration::ZERO).unwrap();
        one.claim("a", "k").unwrap();
        one.done("a", "k").unwrap();
        assert_eq!(one.claim("a", "k").unwrap(), Claim::Free);
        one.locked(Seen::compact).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
