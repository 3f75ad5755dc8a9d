//! Advertising data as it is written in text: hex bytes, company identifiers, service UUIDs.

use uuid::Uuid;

use super::ad::full_uuid;

/// The value of each hex digit; [`NONE`] for what is none.
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};
const NONE: u8 = 0xff;

/// Why a text is not advertising data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not hex bytes.
    #[error("\"{text}\" is not hex; write two hex digits a byte")]
    Hex {
        /// The text given, cut to what a person needs.
        text: String,
    },
    /// Not a company identifier.
    #[error("\"{text}\" is not a company identifier; write up to four hex digits, such as 004c")]
    Company {
        /// The text given, cut to what a person needs.
        text: String,
    },
    /// Not a service UUID.
    #[error("\"{text}\" is not a service UUID; write 4, 8 or 32 hex digits, such as feaa")]
    Service {
        /// The text given, cut to what a person needs.
        text: String,
    },
}

impl TextError {
    /// The stable name of this cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Hex { .. } => "hex",
            Self::Company { .. } => "company",
            Self::Service { .. } => "service-uuid",
        }
    }
}

/// Reads hex digits, in either case, into `bytes`, which is emptied first. At most half as many bytes as the text has.
///
/// # Errors
/// [`TextError::Hex`] where a character is no hex digit or their number is odd; `bytes` is then of no meaning.
pub fn hex_bytes(text: &str, bytes: &mut Vec<u8>) -> Result<(), TextError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    bytes.clear();
    // A digit that is none has its high bits set, and so has everything it is joined with.
    let mut seen = 0;
    bytes.extend(pairs.iter().map(|&[high, low]| {
        let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
        seen |= high | low;
        high << 4 | low & 0xf
    }));
    if seen > 0xf || !rest.is_empty() { Err(TextError::Hex { text: short(text) }) } else { Ok(()) }
}

/// Reads a company identifier: up to four hex digits, in either case, with or without `0x`.
///
/// # Errors
/// [`TextError::Company`] where it is none.
pub fn company(text: &str) -> Result<u16, TextError> {
    match short_hex(text) {
        Some((value, 1..=4)) => Ok(value as u16),
        _ => Err(TextError::Company { text: short(text) }),
    }
}

/// Reads a service UUID: 4 or 8 hex digits, with or without `0x`, or a whole UUID, with or without dashes; in either
/// case.
///
/// # Errors
/// [`TextError::Service`] where it is none.
pub fn service(text: &str) -> Result<Uuid, TextError> {
    match short_hex(text) {
        Some((value, 4 | 8)) => Ok(full_uuid(value)),
        _ if matches!(text.len(), 32 | 36) => {
            Uuid::try_parse(text).map_err(|_| TextError::Service { text: short(text) })
        }
        _ => Err(TextError::Service { text: short(text) }),
    }
}

/// The byte that two hex digits make.
pub(super) fn byte(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
    (high | low != NONE).then_some(high << 4 | low)
}

/// Up to eight hex digits, and how many.
fn short_hex(text: &str) -> Option<(u32, usize)> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text).as_bytes();
    if digits.len() > 8 {
        return None;
    }
    let mut value = 0;
    for &digit in digits {
        let digit = DIGITS[usize::from(digit)];
        if digit == NONE {
            return None;
        }
        value = value << 4 | u32::from(digit);
    }
    Some((value, digits.len()))
}

/// As much of a text as a message needs.
pub(super) fn short(text: &str) -> String {
    const ENOUGH: usize = 40;
    let mut start: String = text.chars().take(ENOUGH).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case() {
        let mut bytes = vec![1, 2, 3];
        hex_bytes("00fFAb", &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0xff, 0xab]);
        hex_bytes("", &mut bytes).unwrap();
        assert!(bytes.is_empty());
        for bad in ["0", "0g", "g0", "0x00", "00 0", "é"] {
            assert!(hex_bytes(bad, &mut bytes).is_err(), "{bad}");
        }
    }

    #[test]
    fn company_identifiers_are_read_as_people_write_them() {
        for text in ["004c", "004C", "0x004c", "0X4c", "4C"] {
            assert_eq!(company(text), Ok(0x004c), "{text}");
        }
        for bad in ["", "0x", "0004c", "apple", "-1", "+04c"] {
            assert!(company(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn service_uuids_are_read_as_people_write_them() {
        for text in [
            "feaa",
            "FEAA",
            "0xFEAA",
            "0000feaa",
            "0000FEAA-0000-1000-8000-00805F9B34FB",
            "0000feaa00001000800000805f9b34fb",
        ] {
            assert_eq!(service(text), Ok(full_uuid(0xfeaa)), "{text}");
        }
        for bad in ["", "fea", "feaag", "0000feaa-0000-1000-8000-00805f9b34f", "{0000feaa00001000800000805f9b34f}"] {
            assert!(service(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_stay_short_however_long_the_text() {
        assert!(company(&"x".repeat(100_000)).unwrap_err().to_string().len() < 200);
    }
}
