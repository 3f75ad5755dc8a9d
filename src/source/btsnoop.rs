//! btsnoop captures of HCI traffic, as btmon and Android write them: a header of 16 bytes, then records of a header of 24
//! bytes and a packet, all big-endian (BlueZ, `src/shared/btsnoop.c`; the frame of the file is that of RFC 1761).
//!
//! Only a reader of whole files in memory was found among kept crates, and a capture may be larger than memory.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};

use super::hci::{self, DataStatus, HciError, Report, Set};
use super::replay::{Cause, Counts};
use crate::advert::{Advertisement, AdvertisingData, MAX_LENGTH};
use crate::engine::Input;
use crate::model::{ReceiverId, Timestamp};

/// How a capture begins.
pub(super) const MAGIC: [u8; 8] = *b"btsnoop\0";

/// The only version there is.
const VERSION: u32 = 1;
/// No packet of HCI is longer: an ACL packet has at most 65,535 bytes and a header.
const MAX_PACKET: u32 = 66_000;
/// Microseconds from the year 0, which records count from, to 1970 (BlueZ gives those to 2000, 0x00e03ab44a676000).
const TO_1970_US: i64 = 0x00e0_3ab4_4a67_6000 - 946_684_800_000_000;
/// Fragments of one advertisement follow each other within milliseconds; what is older will not be completed.
const FRAGMENT_MS: i64 = 1_000;
/// More advertisements in fragments at once than a controller keeps.
const MAX_FRAGMENTED: usize = 16;

/// Why a capture or one of its records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The capture ends inside its header or a record.
    #[error("the capture ends in the middle of it; it was not copied or written to its end")]
    Truncated,
    /// The version of the file is not known.
    #[error("btsnoop version {0} is not known; only version 1 is")]
    Version(u32),
    /// The capture is not of HCI in a form that is read.
    #[error("captures of link type {0} are not read; capture HCI with btmon -w")]
    LinkType(u32),
    /// A record claims more bytes than any packet has, so where the next one begins is not known.
    #[error("the record claims {0} bytes, more than any packet has; the capture is damaged")]
    Damaged(u32),
    /// A record is from before 1970.
    #[error("the record's time lies before 1970; the clock of the capturing machine was wrong")]
    Time,
    /// An event is cut short.
    #[error("{0}; capture whole packets")]
    Event(#[from] HciError),
}

impl CaptureError {
    /// Whether nothing can be read behind it.
    pub(super) fn is_fatal(&self) -> bool {
        !matches!(self, Self::Time | Self::Event(_))
    }
}

/// How packets stand in records.
#[derive(Debug, Clone, Copy)]
enum Link {
    /// 1001: the packet alone; the flags say what it is.
    Plain,
    /// 1002: behind a byte that says what it is.
    Uart,
    /// 2001: the packet alone; an opcode in the flags says what it is.
    Monitor,
}

impl Link {
    /// The event in a record; none where it holds something else.
    fn event(self, flags: u32, packet: &[u8]) -> Option<&[u8]> {
        match self {
            // Bit 0: received by the host, bit 1: a command or event.
            Self::Plain => (flags & 0b11 == 0b11).then_some(packet),
            // HCI packet indicator (Core specification Vol 4, Part A, 2).
            Self::Uart => packet.strip_prefix(&[0x04]),
            // The low half is the opcode (BlueZ, `btsnoop.h`), the high half the adapter.
            Self::Monitor => (flags & 0xffff == 3).then_some(packet),
        }
    }
}

/// Reads a capture.
#[derive(Debug)]
pub(super) struct Btsnoop<R> {
    reader: BufReader<R>,
    receiver: ReceiverId,
    link: Option<Link>,
    record: u64,
    packet: Vec<u8>,
    fragments: Fragments,
    /// What the last record gave: at most as much as one event holds.
    ready: VecDeque<Result<(Timestamp, Input), CaptureError>>,
    counts: Counts,
}

impl<R: Read> Btsnoop<R> {
    /// Reads what `receiver` heard, from before the magic.
    pub(super) fn new(reader: R, receiver: ReceiverId) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            receiver,
            link: None,
            record: 0,
            packet: Vec::new(),
            fragments: Fragments::default(),
            ready: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The record that the last item was in, counted from 1; 0 for the header.
    pub(super) fn record(&self) -> u64 {
        self.record
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn next(&mut self) -> Option<Result<(Timestamp, Input), Cause>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item.map_err(Cause::Capture));
            }
            match self.read_record() {
                Ok(true) => {}
                Ok(false) => {
                    self.counts.incomplete += self.fragments.0.drain(..).count() as u64;
                    return None;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads one record into `ready`; whether there was one.
    fn read_record(&mut self) -> Result<bool, Cause> {
        let link = match self.link {
            Some(link) => link,
            None => *self.link.insert(read_header(&mut self.reader)?),
        };
        let mut header = [0; 24];
        let read = read_up_to(&mut self.reader, &mut header).map_err(Cause::Read)?;
        if read == 0 {
            return Ok(false);
        }
        self.record += 1;
        if read < header.len() {
            return Err(CaptureError::Truncated.into());
        }
        let [_original, included, flags, _drops, high, low] =
            std::array::from_fn(|at| u32::from_be_bytes(std::array::from_fn(|byte| header[4 * at + byte])));
        if included > MAX_PACKET {
            return Err(CaptureError::Damaged(included).into());
        }
        self.packet.resize(included as usize, 0);
        if read_up_to(&mut self.reader, &mut self.packet).map_err(Cause::Read)? < self.packet.len() {
            return Err(CaptureError::Truncated.into());
        }
        if let Some(event) = link.event(flags, &self.packet) {
            let ms = (i64::from(high) << 32 | i64::from(low)).saturating_sub(TO_1970_US).div_euclid(1_000);
            if ms < 0 {
                return Err(CaptureError::Time.into());
            }
            let time = Timestamp::from_millis(ms);
            for report in hci::reports(event) {
                match report {
                    Ok(report) => {
                        let heard = self.fragments.join(&report, time, &mut self.counts, |data, counts| {
                            advertisement(&report, data, time, &self.receiver, counts)
                        });
                        self.ready.extend(heard.map(|heard| Ok((time, Input::Advertisement(heard)))));
                    }
                    Err(error) => self.ready.push_back(Err(CaptureError::Event(error))),
                }
            }
        }
        Ok(true)
    }
}

fn read_header(reader: &mut impl Read) -> Result<Link, Cause> {
    let mut header = [0; 16];
    if read_up_to(reader, &mut header).map_err(Cause::Read)? < header.len() {
        return Err(CaptureError::Truncated.into());
    }
    let [_, _, version, link] =
        std::array::from_fn(|at| u32::from_be_bytes(std::array::from_fn(|byte| header[4 * at + byte])));
    match (version, link) {
        (VERSION, 1001) => Ok(Link::Plain),
        (VERSION, 1002) => Ok(Link::Uart),
        (VERSION, 2001) => Ok(Link::Monitor),
        (VERSION, link) => Err(CaptureError::LinkType(link).into()),
        (version, _) => Err(CaptureError::Version(version).into()),
    }
}

/// Fills the buffer as far as the reader goes.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match reader.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn advertisement(
    report: &Report<'_>,
    data: &[u8],
    time: Timestamp,
    receiver: &ReceiverId,
    counts: &mut Counts,
) -> Option<Advertisement> {
    let Some(rssi) = report.rssi() else {
        counts.without_rssi += 1;
        return None;
    };
    let data = AdvertisingData::from_ad(data, |_| counts.faulty_structures += 1);
    Some(Advertisement { time, receiver: receiver.clone(), address: report.address, rssi, data })
}

/// Advertisements of which fragments are still to come, oldest first.
#[derive(Debug, Default)]
struct Fragments(VecDeque<(Set, Timestamp, Vec<u8>)>);

impl Fragments {
    /// Takes a report; gives its data, joined to that of the fragments before it, to `whole` where nothing more is to
    /// come. What can no longer be completed is dropped and counted.
    fn join<T>(
        &mut self,
        report: &Report<'_>,
        time: Timestamp,
        counts: &mut Counts,
        whole: impl FnOnce(&[u8], &mut Counts) -> Option<T>,
    ) -> Option<T> {
        let before = self.0.len();
        self.0.retain(|(_, begun, _)| (time.as_millis() - begun.as_millis()).abs() <= FRAGMENT_MS);
        counts.incomplete += (before - self.0.len()) as u64;

        let begun = self.0.iter().position(|(set, ..)| *set == report.set).and_then(|at| self.0.remove(at));
        if begun.is_none() && report.status == DataStatus::Complete {
            return whole(report.data, counts);
        }
        let (_, begun, mut data) = begun.unwrap_or_else(|| (report.set, time, Vec::new()));
        if data.len() + report.data.len() > MAX_LENGTH {
            counts.incomplete += 1;
            return None;
        }
        data.extend_from_slice(report.data);
        match report.status {
            DataStatus::More => {
                if self.0.len() >= MAX_FRAGMENTED && self.0.pop_front().is_some() {
                    counts.incomplete += 1;
                }
                self.0.push_back((report.set, begun, data));
                None
            }
            DataStatus::Complete => whole(&data, counts),
            DataStatus::Truncated => {
                counts.incomplete += 1;
                whole(&data, counts)
            }
        }
    }
}
