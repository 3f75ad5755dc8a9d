//! Several files of observations as one: directories of recordings, and files given one by one, in the order of their times.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::replay::{self, Cause, Place, Replay, ReplayError};
use crate::engine::Input;
use crate::model::{ReceiverId, Timestamp};

/// How the names of the files end that a directory is read for.
pub const ENDINGS: [&str; 2] = [".jsonl", ".jsonl.gz"];

/// The observations of all files. Each file is read in its own order; which of them gives the next is decided by time, so
/// that files may follow each other or overlap. A file is open only while its time is.
#[derive(Debug)]
pub struct Recordings {
    receiver: Option<ReceiverId>,
    /// Files that are not open, by the time they begin at.
    waiting: VecDeque<Waiting>,
    open: Vec<Open>,
    /// Faults found before anything was read.
    faults: VecDeque<ReplayError>,
}

#[derive(Debug)]
struct Waiting {
    begins: Timestamp,
    path: PathBuf,
    /// What cannot be opened twice, such as a pipe, stays open.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    replay: Replay,
    head: Option<(Timestamp, Input)>,
}

/// Opens files and directories. What cannot be opened is the first thing that the iterator gives, as an error.
pub fn open(paths: &[PathBuf], receiver: Option<ReceiverId>) -> Recordings {
    let mut faults = VecDeque::new();
    let mut files = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(found) => files.extend(found),
            Err(error) => faults.push_back(error),
        }
    }
    let mut recordings = Recordings { receiver, waiting: VecDeque::new(), open: Vec::new(), faults };
    if let [only] = &files[..] {
        // Nothing to compare it with: its errors come in their places.
        match recordings.open_one(only) {
            Ok(open) => recordings.open.push(open),
            Err(error) => recordings.faults.push_back(error),
        }
        return recordings;
    }
    let mut waiting: Vec<Waiting> = files.into_iter().filter_map(|path| recordings.look_at(path)).collect();
    waiting.sort_by_key(|file| file.begins);
    recordings.waiting = waiting.into();
    recordings
}

/// The file itself, or the recordings in a directory, by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |cause| ReplayError { file: path.display().to_string(), at: Place::File, cause };
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let is_recording = entry.file_name().to_str().is_some_and(|name| ENDINGS.iter().any(|e| name.ends_with(e)));
            if is_recording && !entry.path().is_dir() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    };
    match list() {
        Ok(files) if files.is_empty() => Err(fail(Cause::NoFiles)),
        Ok(files) => Ok(files),
        Err(error) => Err(fail(Cause::Open(error))),
    }
}

impl Recordings {
    fn open_one(&self, path: &Path) -> Result<Open, ReplayError> {
        Ok(Open { replay: replay::open(path, self.receiver.clone())?, head: None })
    }

    /// Finds out when a file begins; none where it holds nothing.
    fn look_at(&mut self, path: PathBuf) -> Option<Waiting> {
        let mut open = match self.open_one(&path) {
            Ok(open) => open,
            Err(error) => {
                self.faults.push_back(error);
                return None;
            }
        };
        let may_be_opened_again = path.metadata().is_ok_and(|metadata| metadata.is_file());
        loop {
            match open.replay.next()? {
                Ok(head) => {
                    let begins = head.0;
                    open.head = Some(head);
                    let open = (!may_be_opened_again).then_some(open);
                    return Some(Waiting { begins, path, open });
                }
                // It comes again where the file is opened again.
                Err(error) if !may_be_opened_again || error.is_fatal() => self.faults.push_back(error),
                Err(_) => {}
            }
        }
    }
}

impl Iterator for Recordings {
    type Item = Result<(Timestamp, Input), ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.faults.pop_front() {
            return Some(Err(error));
        }
        loop {
            let mut at = 0;
            while let Some(open) = self.open.get_mut(at) {
                if open.head.is_none() {
                    match open.replay.next() {
                        Some(Ok(head)) => open.head = Some(head),
                        Some(Err(error)) => return Some(Err(error)),
                        None => {
                            self.open.remove(at);
                            continue;
                        }
                    }
                }
                at += 1;
            }
            let time = |open: &Open| open.head.as_ref().map_or(Timestamp::from_millis(0), |(at, _)| *at);
            let first = (0..self.open.len()).min_by_key(|at| time(&self.open[*at]));
            let next = first.map(|at| time(&self.open[at]));
            match self.waiting.front().map(|file| file.begins) {
                Some(begins) if next.is_none_or(|next| begins <= next) => {
                    let file = self.waiting.pop_front()?;
                    match file.open.map_or_else(|| self.open_one(&file.path), Ok) {
                        Ok(open) => self.open.push(open),
                        Err(error) => return Some(Err(error)),
                    }
                }
                _ => return self.open.get_mut(first?)?.head.take().map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(receiver: &str, seconds: &[u32]) -> String {
        let line = |s: &u32| {
            format!("{{\"time\":\"2026-01-01T10:00:{s:02}.000Z\",\"receiver\":\"{receiver}\",\"rssi\":-60}}\n")
        };
        seconds.iter().map(line).collect()
    }

    fn read(paths: &[PathBuf]) -> Vec<String> {
        open(paths, None)
            .map(|item| match item {
                Ok((at, Input::Advertisement(heard))) => format!("{} {}", &at.to_string()[17..19], heard.receiver),
                Ok(_) => unreachable!("only sightings are written here"),
                Err(error) => error.cause.to_string(),
            })
            .collect()
    }

    #[test]
    fn files_are_read_in_the_order_of_their_times_and_may_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let late = write("a.jsonl", &lines("late", &[30, 31]));
        let early = write("b.jsonl", &lines("early", &[1, 10, 9, 20]));
        let other = write("c.jsonl", &lines("other", &[5, 15]));
        write("notes.txt", "nothing of ours");
        let expected = ["01 early", "05 other", "10 early", "09 early", "15 other", "20 early", "30 late", "31 late"];
        assert_eq!(read(&[late.clone(), other, early]), expected);
        assert_eq!(read(&[dir.path().to_owned()]), expected);
        assert_eq!(read(&[late]), ["30 late", "31 late"]);
    }

    #[test]
    fn a_faulty_file_costs_only_itself_and_an_empty_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&[dir.path().to_owned()])[0].contains("holds no sightings file"));
        std::fs::write(dir.path().join("a.jsonl"), lines("a", &[1])).unwrap();
        std::fs::write(dir.path().join("b.jsonl"), format!("\n{}", lines("b", &[2]))).unwrap();
        std::fs::write(dir.path().join("c.jsonl.gz"), [0x1f, 0x8b, 8]).unwrap();
        let found = read(&[dir.path().to_owned(), dir.path().join("missing.jsonl")]);
        assert!(found[0].contains("gzip data ends early"), "{found:?}");
        assert!(found[1].contains("cannot be opened"), "{found:?}");
        assert_eq!(found[2], "01 a");
        assert!(found[3].contains("the line is empty"), "{found:?}");
        assert_eq!(found[4..], ["02 b"]);
    }
}
