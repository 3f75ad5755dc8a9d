//! AD structures: a length, a type and that many bytes less one, one after the other (Core specification Vol 3, Part C,
//! section 11; the types are in the Core Specification Supplement, Part A).

use uuid::Uuid;

/// The greatest length of the advertising data of one packet, in bytes: 31 for legacy advertising, 1650 for extended
/// advertising (Core specification Vol 4, Part E, 7.8.54).
pub const MAX_LENGTH: usize = 1650;

/// AD type of service data with a 16-bit UUID.
const SERVICE_DATA_16: u8 = 0x16;
/// AD type of service data with a 32-bit UUID.
const SERVICE_DATA_32: u8 = 0x20;
/// AD type of service data with a 128-bit UUID.
const SERVICE_DATA_128: u8 = 0x21;
/// AD type of manufacturer specific data.
const MANUFACTURER_DATA: u8 = 0xff;

/// The Bluetooth base UUID, 00000000-0000-1000-8000-00805f9b34fb, on which 16- and 32-bit UUIDs stand (Core
/// specification Vol 3, Part B, 2.5.1).
const BASE_UUID: u128 = 0x0000_0000_0000_1000_8000_0080_5f9b_34fb;

/// The full form of a 16- or 32-bit UUID.
pub const fn full_uuid(short: u32) -> Uuid {
    Uuid::from_u128(BASE_UUID | (short as u128) << 96)
}

/// Why bytes are not AD structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdError {
    /// A structure claims more bytes than are left. What came before it is whole.
    #[error("the AD structure at byte {offset} claims {claimed} bytes, but only {available} are left")]
    Truncated {
        /// Where its length byte is.
        offset: usize,
        /// How many bytes it claims behind its length byte.
        claimed: u8,
        /// How many there are.
        available: usize,
    },
    /// A structure is whole, but too short for the identifier that its type begins with.
    #[error("the AD structure of type 0x{kind:02x} holds {found} bytes, but its identifier alone needs {needed}")]
    TooShort {
        /// Its AD type.
        kind: u8,
        /// The bytes of its identifier.
        needed: usize,
        /// The bytes it holds.
        found: usize,
    },
}

impl AdError {
    /// The stable name of this cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "ad-truncated",
            Self::TooShort { .. } => "ad-too-short",
        }
    }
}

/// One AD structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdStructure<'a> {
    /// Its AD type.
    pub kind: u8,
    /// What follows the type.
    pub data: &'a [u8],
}

/// The structures that can hold a beacon's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdContent<'a> {
    /// Manufacturer specific data.
    Manufacturer {
        /// Company identifier.
        company: u16,
        /// What follows it.
        data: &'a [u8],
    },
    /// Service data.
    Service {
        /// The service, in full form.
        uuid: Uuid,
        /// What follows it.
        data: &'a [u8],
    },
    /// Anything else.
    Other,
}

impl<'a> AdStructure<'a> {
    /// What the structure holds, so far as beacons go.
    ///
    /// # Errors
    /// [`AdError::TooShort`] where the company identifier or UUID is cut short.
    pub fn content(&self) -> Result<AdContent<'a>, AdError> {
        // All identifiers are little-endian on the air.
        match self.kind {
            MANUFACTURER_DATA => {
                let (company, data) = self.split::<2>()?;
                Ok(AdContent::Manufacturer { company: u16::from_le_bytes(*company), data })
            }
            SERVICE_DATA_16 => {
                let (uuid, data) = self.split::<2>()?;
                Ok(AdContent::Service { uuid: full_uuid(u32::from(u16::from_le_bytes(*uuid))), data })
            }
            SERVICE_DATA_32 => {
                let (uuid, data) = self.split::<4>()?;
                Ok(AdContent::Service { uuid: full_uuid(u32::from_le_bytes(*uuid)), data })
            }
            SERVICE_DATA_128 => {
                let (uuid, data) = self.split::<16>()?;
                Ok(AdContent::Service { uuid: Uuid::from_u128(u128::from_le_bytes(*uuid)), data })
            }
            _ => Ok(AdContent::Other),
        }
    }

    fn split<const N: usize>(&self) -> Result<(&'a [u8; N], &'a [u8]), AdError> {
        self.data.split_first_chunk().ok_or(AdError::TooShort { kind: self.kind, needed: N, found: self.data.len() })
    }
}

/// The AD structures in advertising data, in order.
///
/// A structure of length zero ends the data early, whatever follows it (Core specification Vol 3, Part C, 11). A
/// truncated structure is the last item, as an error; all whole ones come before it.
pub fn structures(bytes: &[u8]) -> Structures<'_> {
    Structures { bytes, offset: 0 }
}

/// See [`structures`].
#[derive(Debug, Clone)]
pub struct Structures<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Structures<'a> {
    type Item = Result<AdStructure<'a>, AdError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let (&length, rest) = self.bytes.get(offset..)?.split_first()?;
        if length == 0 {
            self.offset = self.bytes.len();
            return None;
        }
        if let Some((&[kind, ref data @ ..], _)) = rest.split_at_checked(usize::from(length)) {
            self.offset = offset + 1 + usize::from(length);
            return Some(Ok(AdStructure { kind, data }));
        }
        self.offset = self.bytes.len();
        Some(Err(AdError::Truncated { offset, claimed: length, available: rest.len() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<Result<AdStructure<'_>, AdError>> {
        structures(bytes).collect()
    }

    fn encode(parts: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, data) in parts {
            bytes.push(data.len() as u8 + 1);
            bytes.push(*kind);
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn structures_follow_each_other() {
        let bytes = [2, 0x01, 0x06, 3, 0x03, 0xaa, 0xfe];
        let found = all(&bytes);
        assert_eq!(found[0], Ok(AdStructure { kind: 1, data: &[6] }));
        assert_eq!(found[1], Ok(AdStructure { kind: 3, data: &[0xaa, 0xfe] }));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_zero_length_ends_the_data_early() {
        assert_eq!(all(&[2, 0x01, 0x06, 0, 0, 0xff, 0xff]).len(), 1);
        assert!(all(&[0, 2, 1, 6]).is_empty());
    }

    #[test]
    fn a_truncated_structure_is_an_error_after_the_whole_ones() {
        let found = all(&[2, 0x01, 0x06, 0x1a, 0xff, 0x4c]);
        assert!(found[0].is_ok());
        assert_eq!(found[1], Err(AdError::Truncated { offset: 3, claimed: 0x1a, available: 2 }));
        assert_eq!(found.len(), 2);
        // advlib-ble's INPUT_DATA_INVALID_LENGTH.
        assert_eq!(all(&[0xff, 0, 0]), [Err(AdError::Truncated { offset: 0, claimed: 0xff, available: 2 })]);
        assert_eq!(all(&[1]), [Err(AdError::Truncated { offset: 0, claimed: 1, available: 0 })]);
    }

    #[test]
    fn service_uuids_of_all_three_widths_are_read() {
        // advlib-ble's INPUT_DATA_16BIT_SERVICE, _32BIT_SERVICE and _128BIT_SERVICE.
        for (hex, uuid, data) in [
            ("1216aafe109f027265656c7961637469766507", full_uuid(0xfeaa), "109f027265656c7961637469766507"),
            ("092067452301aabbccdd", full_uuid(0x0123_4567), "aabbccdd"),
            (
                "1221ffeeddccbbaa9988776655443322110069",
                Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
                "69",
            ),
        ] {
            let bytes = hex::decode(hex).unwrap();
            let content = structures(&bytes).next().unwrap().unwrap().content().unwrap();
            assert_eq!(content, AdContent::Service { uuid, data: &hex::decode(data).unwrap() });
        }
    }

    #[test]
    fn an_identifier_cut_short_is_an_error() {
        for (kind, needed) in [(0xff, 2), (0x16, 2), (0x20, 4), (0x21, 16)] {
            let data = vec![0; needed - 1];
            let error = AdStructure { kind, data: &data }.content().unwrap_err();
            assert_eq!(error, AdError::TooShort { kind, needed, found: needed - 1 });
        }
    }

    fn parts() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..=254)), 0..8)
    }

    proptest! {
        #[test]
        fn structures_read_back_as_written(parts in parts()) {
            let bytes = encode(&parts);
            let found: Vec<_> = structures(&bytes).map(|s| s.map(|s| (s.kind, s.data.to_vec()))).collect();
            prop_assert_eq!(found, parts.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn every_whole_structure_before_a_cut_is_still_there(parts in parts(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&parts);
            let cut = cut.index(bytes.len() + 1);
            let mut end = 0;
            let whole = parts.iter().take_while(|(_, data)| { end += data.len() + 2; end <= cut }).count();
            let found: Vec<_> = structures(&bytes[..cut]).collect();
            prop_assert_eq!(found.iter().filter(|s| s.is_ok()).count(), whole);
            for (found, (kind, data)) in found.iter().zip(&parts[..whole]) {
                prop_assert_eq!(found, &Ok(AdStructure { kind: *kind, data }));
            }
            let at_border = encode(&parts[..whole]).len() == cut;
            prop_assert_eq!(found.len(), whole + usize::from(!at_border));
        }
    }
}
