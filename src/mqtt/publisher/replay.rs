//! Stored entries for whoever asks for them again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use crate::mqtt::wire::{ReplayDone, ReplayRequest};
use crate::store::{Entry, Page};

/// Requests that may wait. One is answered at a time.
pub(super) const MOST_WAITING: usize = 8;
/// Entries that are read at a time: at about 1 kB each, little memory and few reads.
pub(super) const PAGE: usize = 256;
/// Most sequences that one request is answered; whoever wants more asks again, so that nobody has the gateway for long.
const MOST_SEQUENCES: u64 = 10_000;
/// Most ranges that are said to be missing; the answer ends there, so that what it says is exact.
const MOST_MISSING: usize = 64;

/// Takes requests for stored entries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replays(pub(super) Arc<Shared>);

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefused {
    /// Too many wait.
    #[error("{MOST_WAITING} requests wait already; ask again later")]
    Busy,
    /// There is no store.
    #[error("this gateway stores nothing")]
    NothingStored,
}

impl Replays {
    /// Queues a request, to be answered when there is a connection. It is forgotten when that is lost.
    ///
    /// # Errors
    /// [`ReplayRefused`] where it is not taken.
    pub fn ask(&self, request: ReplayRequest) -> Result<(), ReplayRefused> {
        if self.0.backing.is_none() {
            return Err(ReplayRefused::NothingStored);
        }
        {
            let mut books = self.0.books();
            if books.replays.len() >= MOST_WAITING {
                return Err(ReplayRefused::Busy);
            }
            books.replays.push_back(request);
        }
        self.0.work.notify_one();
        Ok(())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: ReplayRequest,
    /// The first sequence of which it is not yet known whether it is there.
    cursor: u64,
    /// One past the last that is looked for, and one past the last that is asked for and was made.
    until: u64,
    end: u64,
    /// To be published.
    pub(super) page: VecDeque<Entry>,
    pub(super) in_flight: usize,
    /// The last word is under way.
    pub(super) ending: bool,
    done: ReplayDone,
    next_sequence: u64,
}

impl Job {
    pub(super) fn new(request: ReplayRequest, epoch: &str, next_sequence: u64) -> Self {
        let end = request.to.saturating_add(1).min(next_sequence).max(request.from);
        let mut job = Self {
            cursor: request.from,
            until: end.min(request.from.saturating_add(MOST_SEQUENCES)),
            end,
            page: VecDeque::new(),
            in_flight: 0,
            ending: false,
            done: ReplayDone::default(),
            next_sequence,
            request,
        };
        if job.request.epoch.as_deref().is_some_and(|asked| asked != epoch) {
            job.done.error = Some("other_epoch");
            (job.until, job.end) = (job.cursor, job.cursor);
        }
        job
    }

    /// The next page to read, from and to; none where all are read.
    pub(super) fn to_read(&self) -> Option<(u64, u64)> {
        (self.cursor < self.until).then(|| (self.cursor, self.until - 1))
    }

    /// Takes a page that was read, and finds out what is missing in it.
    pub(super) fn take(&mut self, page: Page) {
        let next = page.next.filter(|next| *next > self.cursor).map_or(self.until, |next| next.min(self.until));
        for entry in page.entries {
            let sequence = entry.sequence;
            if sequence < self.cursor || sequence >= next {
                continue;
            }
            if !self.missing_up_to(sequence) {
                return;
            }
            self.cursor = sequence + 1;
            self.page.push_back(entry);
        }
        if self.missing_up_to(next) {
            self.cursor = next;
        }
    }

    /// Notes that nothing is stored from the cursor up to `next`; false where there is no room to say so, which ends it.
    fn missing_up_to(&mut self, next: u64) -> bool {
        if self.cursor >= next {
            return true;
        }
        let (first, last) = (self.cursor, next - 1);
        let full = self.done.missing.len() >= MOST_MISSING;
        match self.done.missing.last_mut() {
            // A gap may go on from page to page.
            Some((_, end)) if *end + 1 == first => *end = last,
            _ if full => {
                self.until = self.cursor;
                return false;
            }
            _ => self.done.missing.push((first, last)),
        }
        true
    }

    /// An answer has arrived at the broker.
    pub(super) fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.done.answered += 1;
    }

    /// What to say, once everything is answered.
    pub(super) fn done(&self) -> Option<ReplayDone> {
        if self.to_read().is_some() || !self.page.is_empty() || self.in_flight > 0 || self.ending {
            return None;
        }
        let next = (self.cursor < self.end).then_some(self.cursor);
        Some(ReplayDone { next, next_sequence: self.next_sequence, ..self.done.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, Timestamp};
    use crate::store::Class;

    fn request(from: u64, to: u64) -> ReplayRequest {
        ReplayRequest { from, to, reply_to: "s/replays/x".to_owned(), epoch: None }
    }

    fn entry(sequence: u64) -> Entry {
        Entry {
            sequence,
            device: DeviceId::new("d").unwrap(),
            class: Class::Event,
            made: Timestamp::from_millis(0),
            topic: String::new(),
            payload: bytes::Bytes::new(),
        }
    }

    /// Answers from what is stored, in pages; the sequences published, and the last word.
    fn answer(mut job: Job, stored: impl Fn(u64) -> bool) -> (Vec<u64>, ReplayDone) {
        let mut published = Vec::new();
        loop {
            if let Some((from, to)) = job.to_read() {
                let all: Vec<u64> = (from..=to).filter(|sequence| stored(*sequence)).collect();
                let next = all.get(PAGE).copied();
                let entries = all.into_iter().take(PAGE).map(entry).collect();
                job.take(Page { entries, next });
            }
            while let Some(entry) = job.page.pop_front() {
                job.in_flight += 1;
                published.push(entry.sequence);
                job.answered();
            }
            if let Some(done) = job.done() {
                return (published, done);
            }
        }
    }

    #[test]
    fn what_is_stored_is_answered_in_order_and_the_rest_is_said_to_be_missing() {
        let (published, done) = answer(Job::new(request(5, 1_999), "e", 1_500), |at| at >= 10 && at / 300 != 2);
        let stored: Vec<u64> = (10..1_500).filter(|at| at / 300 != 2).collect();
        assert_eq!(published, stored);
        assert_eq!(done.answered, stored.len() as u64);
        assert_eq!(done.missing, [(5, 9), (600, 899)]);
        assert_eq!((done.next, done.next_sequence, done.error), (None, 1_500, None));
    }

    #[test]
    fn one_request_is_answered_ten_thousand_sequences_and_told_where_to_go_on() {
        let (published, done) = answer(Job::new(request(100, u64::MAX), "e", 50_000), |_| true);
        assert_eq!((published.len(), done.next), (10_000, Some(10_100)));
        let (published, done) = answer(Job::new(request(49_999, u64::MAX), "e", 50_000), |_| true);
        assert_eq!((published.len(), done.next), (1, None));
    }

    #[test]
    fn the_list_of_what_is_missing_is_bounded_and_exact() {
        let (published, done) = answer(Job::new(request(0, 9_999), "e", 10_000), |at| at % 2 == 1);
        assert_eq!(done.missing.len(), MOST_MISSING);
        assert_eq!(published.len(), MOST_MISSING);
        assert_eq!(done.next, Some(2 * MOST_MISSING as u64));
    }

    #[test]
    fn nothing_is_answered_of_another_epoch_or_of_what_was_not_made_yet() {
        let other = ReplayRequest { epoch: Some("f".to_owned()), ..request(0, 9) };
        let (published, done) = answer(Job::new(other, "e", 10), |_| true);
        assert_eq!((published.len(), done.error, done.next), (0, Some("other_epoch"), None));
        let (published, done) = answer(Job::new(request(10, 20), "e", 10), |_| true);
        assert_eq!((published.len(), done.missing.len(), done.next), (0, 0, None));
    }
}
