//! Advertising reports in HCI events (Core specification Vol 4, Part E, 7.7.65.2 and 7.7.65.13).

use crate::advert::Address;
use crate::model::Rssi;

/// LE Meta event.
const LE_META: u8 = 0x3e;
/// LE Advertising Report.
const ADVERTISING_REPORT: u8 = 0x02;
/// LE Extended Advertising Report.
const EXTENDED_ADVERTISING_REPORT: u8 = 0x0d;
/// The address type of an anonymous advertisement.
const ANONYMOUS: u8 = 0xff;

/// The event ends before what it says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the HCI event ends before its {what}")]
pub struct HciError {
    what: &'static str,
}

/// How much of an advertisement a report holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataStatus {
    /// All of it, or its last fragment.
    Complete,
    /// A fragment; more will come.
    More,
    /// Its last fragment; the controller lost the rest.
    Truncated,
}

/// What tells the fragments of one advertisement from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set {
    /// Address type and address as they were sent.
    address: [u8; 7],
    /// Advertising SID.
    sid: u8,
    /// The kind of advertisement: the event type without the data status.
    kind: u16,
}

/// One advertising report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report<'a> {
    pub(super) set: Set,
    /// None for an anonymous advertisement.
    pub(super) address: Option<Address>,
    pub(super) status: DataStatus,
    pub(super) data: &'a [u8],
    rssi: u8,
}

impl Report<'_> {
    /// None where the controller could not tell, which it says by 127.
    pub(super) fn rssi(&self) -> Option<Rssi> {
        Rssi::new(f64::from(self.rssi.cast_signed())).ok()
    }
}

/// The reports of an event (event code, length, parameters); none where it is another event. The reports of one event
/// follow each other whole, as Linux and Wireshark read them. An error is the last item.
pub(super) fn reports(event: &[u8]) -> Reports<'_> {
    let mut bytes = Bytes(event);
    Reports::begin(&mut bytes).unwrap_or_else(|error| Reports { failed: Some(error), ..Reports::default() })
}

/// See [`reports`].
#[derive(Debug, Default)]
pub(super) struct Reports<'a> {
    extended: bool,
    left: u8,
    bytes: Bytes<'a>,
    failed: Option<HciError>,
}

impl<'a> Reports<'a> {
    fn begin(bytes: &mut Bytes<'a>) -> Result<Self, HciError> {
        let [code, length] = bytes.take("header")?;
        if code != LE_META {
            return Ok(Self::default());
        }
        let mut bytes = Bytes(bytes.slice(usize::from(length), "parameters")?);
        let [subevent] = bytes.take("subevent code")?;
        if !matches!(subevent, ADVERTISING_REPORT | EXTENDED_ADVERTISING_REPORT) {
            return Ok(Self::default());
        }
        let [left] = bytes.take("number of reports")?;
        Ok(Self { extended: subevent == EXTENDED_ADVERTISING_REPORT, left, bytes, failed: None })
    }

    fn legacy(&mut self) -> Result<Report<'a>, HciError> {
        let [kind] = self.bytes.take("event type")?;
        let address = self.bytes.take("address")?;
        let [length] = self.bytes.take("data length")?;
        let data = self.bytes.slice(usize::from(length), "data")?;
        let [rssi] = self.bytes.take("RSSI")?;
        let set = Set { address, sid: 0, kind: u16::from(kind) };
        Ok(Report { set, address: address_of(address), status: DataStatus::Complete, data, rssi })
    }

    fn extended(&mut self) -> Result<Report<'a>, HciError> {
        let kind = u16::from_le_bytes(self.bytes.take("event type")?);
        let address = self.bytes.take("address")?;
        let [_primary_phy, _secondary_phy, sid, _tx_power, rssi] = self.bytes.take("RSSI")?;
        let [_interval_low, _interval_high, _direct @ ..]: [u8; 9] = self.bytes.take("direct address")?;
        let [length] = self.bytes.take("data length")?;
        let data = self.bytes.slice(usize::from(length), "data")?;
        // Bits 5 and 6 of the event type.
        let status = match kind >> 5 & 0b11 {
            0b00 => DataStatus::Complete,
            0b01 => DataStatus::More,
            _ => DataStatus::Truncated,
        };
        let set = Set { address, sid, kind: kind & 0b1_1111 };
        Ok(Report { set, address: address_of(address), status, data, rssi })
    }
}

impl<'a> Iterator for Reports<'a> {
    type Item = Result<Report<'a>, HciError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        self.left = self.left.checked_sub(1)?;
        let report = if self.extended { self.extended() } else { self.legacy() };
        if report.is_err() {
            self.left = 0;
        }
        Some(report)
    }
}

/// An address type and an address, least significant byte first. Types 2 and 3 are public and random addresses that the
/// controller has resolved.
fn address_of([kind, address @ ..]: [u8; 7]) -> Option<Address> {
    let [a, b, c, d, e, f] = address;
    let random = match kind {
        ANONYMOUS => return None,
        0 | 2 => Some(false),
        1 | 3 => Some(true),
        _ => None,
    };
    Some(Address { bytes: [f, e, d, c, b, a], random })
}

/// Bytes that are taken from the front.
#[derive(Debug, Default)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], HciError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(HciError { what })?;
        self.0 = rest;
        Ok(*taken)
    }

    fn slice(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], HciError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(HciError { what })?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex.replace(' ', "")).unwrap()
    }

    #[test]
    fn several_legacy_reports_of_one_event_are_read() {
        let event = bytes(
            "3e 1d 02 02 \
             00 01 010000eeffc0 03 020106 c4 \
             04 00 060504030201 00 7f",
        );
        let event = [&event[..1], &[event.len() as u8 - 2], &event[2..]].concat();
        let found: Vec<_> = reports(&event).map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        let bytes = [0xc0, 0xff, 0xee, 0, 0, 1];
        assert_eq!(found[0].address, Some(Address { bytes, random: Some(true) }));
        assert_eq!((found[0].data, found[0].rssi()), (&[2, 1, 6][..], Some(Rssi::new(-60.0).unwrap())));
        assert_eq!(found[1].address, Some(Address { bytes: [1, 2, 3, 4, 5, 6], random: Some(false) }));
        assert_eq!((found[1].data, found[1].rssi()), (&[][..], None));
    }

    #[test]
    fn an_extended_report_is_read() {
        let event = bytes("3e 1d 0d 01 2000 ff 000000000000 01 02 05 7f c4 0000 00 000000000000 03 020106");
        let event = [&event[..1], &[event.len() as u8 - 2], &event[2..]].concat();
        let found: Vec<_> = reports(&event).map(Result::unwrap).collect();
        let [report] = found[..] else { panic!("{found:?}") };
        assert_eq!((report.address, report.status, report.data), (None, DataStatus::More, &[2, 1, 6][..]));
        assert_eq!(report.rssi(), Some(Rssi::new(-60.0).unwrap()));
    }

    #[test]
    fn other_events_hold_no_reports() {
        for hex in ["0e 04 01 03 0c 00", "3e 01 01", "3e 02 02 00"] {
            assert_eq!(reports(&bytes(hex)).count(), 0, "{hex}");
        }
    }

    #[test]
    fn an_event_cut_short_gives_what_is_whole_and_an_error() {
        let event = bytes("3e 0f 02 02 00 01 010000eeffc0 03 020106 c4 00");
        let event = [&event[..1], &[event.len() as u8 - 2], &event[2..]].concat();
        let found: Vec<_> = reports(&event).collect();
        assert!(matches!(found[..], [Ok(_), Err(HciError { what: "address" })]), "{found:?}");
        assert!(matches!(reports(&event[..9]).next(), Some(Err(HciError { what: "parameters" }))));
        assert!(matches!(reports(&[]).next(), Some(Err(HciError { what: "header" }))));
    }

    proptest! {
        #[test]
        fn no_event_breaks_the_reader(subevent in prop::sample::select(vec![2_u8, 0x0d]), tail in prop::collection::vec(any::<u8>(), 0..253)) {
            let mut event = vec![LE_META, tail.len() as u8 + 1, subevent];
            event.extend(&tail);
            let all: Vec<_> = reports(&event).collect();
            prop_assert!(all.len() <= 256);
            prop_assert!(all.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
