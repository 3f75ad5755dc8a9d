//! Device addresses and what their two top bits say (Core specification Vol 6, Part B, 1.3).

use std::fmt;
use std::str::FromStr;

/// A Bluetooth device address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// Most significant byte first, as it is printed.
    pub bytes: [u8; 6],
    /// Whether it is a random address; none where the source does not say.
    pub random: Option<bool>,
}

/// What an address is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// Assigned by the IEEE: stays.
    Public,
    /// Random, and stays at least until the device is switched off and on.
    RandomStatic,
    /// Changes every few minutes; whoever has the identity resolving key can tell whose it is.
    ResolvablePrivate,
    /// Changes every few minutes, and nobody can tell whose it is.
    NonResolvablePrivate,
    /// Random, with a pattern of top bits that the specification reserves.
    Reserved,
}

impl Address {
    /// What the address is good for; none where the source does not say whether it is random.
    pub fn kind(&self) -> Option<AddressKind> {
        Some(match (self.random?, self.bytes[0] >> 6) {
            (false, _) => AddressKind::Public,
            (true, 0b11) => AddressKind::RandomStatic,
            (true, 0b01) => AddressKind::ResolvablePrivate,
            (true, 0b00) => AddressKind::NonResolvablePrivate,
            (true, _) => AddressKind::Reserved,
        })
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an address; write six pairs of hex digits, such as aa:bb:cc:dd:ee:ff")]
pub struct AddressError {
    text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `aa:bb:cc:dd:ee:ff`, in either case; the text does not say whether the address is random.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError { text: text.chars().take(24).collect() };
        let digits = text.as_bytes();
        if digits.len() != 17 {
            return Err(error());
        }
        let mut bytes = [0; 6];
        for (byte, part) in bytes.iter_mut().zip(digits.chunks(3)) {
            match *part {
                [high, low] | [high, low, b':'] => {
                    *byte = super::text::byte(high, low).ok_or_else(error)?;
                }
                _ => return Err(error()),
            }
        }
        Ok(Self { bytes, random: None })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.bytes;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_top_bits_tell_the_kinds_of_random_addresses_apart() {
        for (top, kind) in [
            (0xc0, AddressKind::RandomStatic),
            (0xff, AddressKind::RandomStatic),
            // The Core specification's sample of a resolvable private address, 70:81:94:0D:FB:AA (Vol 3, Part H).
            (0x70, AddressKind::ResolvablePrivate),
            (0x3f, AddressKind::NonResolvablePrivate),
            (0x80, AddressKind::Reserved),
        ] {
            let bytes = [top, 0x81, 0x94, 0x0d, 0xfb, 0xaa];
            assert_eq!(Address { bytes, random: Some(true) }.kind(), Some(kind));
            assert_eq!(Address { bytes, random: Some(false) }.kind(), Some(AddressKind::Public));
            assert_eq!(Address { bytes, random: None }.kind(), None);
        }
    }

    #[test]
    fn addresses_read_back_as_written() {
        let address: Address = "C0:ff:EE:00:00:01".parse().unwrap();
        assert_eq!(address.bytes, [0xc0, 0xff, 0xee, 0, 0, 1]);
        assert_eq!(address.to_string(), "c0:ff:ee:00:00:01");
        for bad in
            ["", "c0ffee000001", "c0:ff:ee:00:00:0", "c0:ff:ee:00:00:011", "c0-ff-ee-00-00-01", "é0:ff:ee:00:00:0"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
