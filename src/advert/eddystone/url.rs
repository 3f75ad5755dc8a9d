//! Eddystone-URL (google/eddystone, eddystone-url/README.md).
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | 0x10 |
//! | 1 | calibrated power at 0 m in dBm |
//! | 2 | scheme prefix |
//! | 3.. | encoded URL |

use std::fmt;

use super::{Format, FrameError, measured_power, whole};

/// "URL Scheme Prefix".
const SCHEMES: [&str; 4] = ["http://www.", "https://www.", "http://", "https://"];

/// "Eddystone-URL HTTP URL encoding".
const EXPANSIONS: [&str; 14] = [
    ".com/", ".org/", ".edu/", ".net/", ".info/", ".biz/", ".gov/", ".com", ".org", ".edu", ".net", ".info", ".biz",
    ".gov",
];

/// An Eddystone-URL frame. [`fmt::Display`] gives the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EddystoneUrl<'a> {
    /// Calibrated power at 0 m in dBm.
    pub power_at_0m: i8,
    /// How the URL begins.
    scheme: &'static str,
    /// The rest of it: graphic ASCII characters and indices into [`EXPANSIONS`], nothing else.
    encoded: &'a [u8],
}

impl<'a> EddystoneUrl<'a> {
    /// RSSI at 1 m in dBm.
    pub fn measured_power(&self) -> i16 {
        measured_power(self.power_at_0m)
    }

    /// The URL in pieces, which are ASCII and hold no space or control character.
    pub fn pieces(&self) -> impl Iterator<Item = &'a str> {
        let encoded = self.encoded;
        std::iter::once(self.scheme).chain(encoded.chunk_by(|&a, &b| is_graphic(a) && is_graphic(b)).map(|piece| {
            match piece {
                [code] if usize::from(*code) < EXPANSIONS.len() => EXPANSIONS[usize::from(*code)],
                // `parse` let nothing else through than ASCII.
                text => str::from_utf8(text).unwrap_or_default(),
            }
        }))
    }
}

impl fmt::Display for EddystoneUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(piece))
    }
}

pub(super) fn parse(data: &[u8]) -> Result<EddystoneUrl<'_>, FrameError> {
    let &[_, power, scheme] = whole::<3>(Format::EddystoneUrl, data)?;
    let encoded = &data[3..];
    let scheme = SCHEMES.get(usize::from(scheme)).ok_or(FrameError::UrlScheme { code: scheme })?;
    match encoded.iter().position(|&code| !is_graphic(code) && usize::from(code) >= EXPANSIONS.len()) {
        Some(at) => Err(FrameError::UrlCharacter { at, code: encoded[at] }),
        None => Ok(EddystoneUrl { power_at_0m: power.cast_signed(), scheme, encoded }),
    }
}

/// "Graphic printable characters of US-ASCII"; 14 to 32 and 127 to 255 are reserved.
fn is_graphic(code: u8) -> bool {
    (0x21..=0x7e).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(hex: &str) -> Result<(String, i16), FrameError> {
        let bytes = hex::decode(hex).unwrap();
        parse(&bytes).map(|frame| (frame.to_string(), frame.measured_power()))
    }

    #[test]
    fn urls_are_expanded() {
        // advlib-ble-services, INPUT_DATA_EDDYSTONE_URL (MIT).
        assert_eq!(url("10000367657470617265746f07"), Ok(("https://getpareto.com".to_owned(), -41)));
        // android-beacon-library, testParseGattIdentifierThatRunsOverPduLength (Apache-2.0).
        assert_eq!(url("10e702676f6f676c6500"), Ok(("http://google.com/".to_owned(), -66)));
        // beacontools, test_eddystone_url (MIT): two pieces of text around an expansion.
        assert_eq!(url("10f8036769746875620063697472757a"), Ok(("https://github.com/citruz".to_owned(), -49)));
        assert_eq!(url("1000000d0d"), Ok(("http://www..gov.gov".to_owned(), -41)));
        assert_eq!(url("100001"), Ok(("https://www.".to_owned(), -41)));
    }

    #[test]
    fn every_code_is_in_the_table_of_the_specification() {
        for (code, text) in [(0, ".com/"), (5, ".biz/"), (6, ".gov/"), (7, ".com"), (11, ".info"), (13, ".gov")] {
            assert_eq!(url(&format!("100002{code:02x}")).unwrap().0, format!("http://{text}"));
        }
    }

    #[test]
    fn reserved_codes_are_errors() {
        assert_eq!(url("10000461"), Err(FrameError::UrlScheme { code: 4 }));
        for code in [0x0e, 0x20, 0x7f, 0x80, 0xff] {
            assert_eq!(url(&format!("10000261{code:02x}")), Err(FrameError::UrlCharacter { at: 1, code }));
        }
    }

    #[test]
    fn a_frame_without_a_scheme_is_an_error() {
        for (hex, found) in [("10", 1), ("10f8", 2)] {
            assert_eq!(url(hex), Err(FrameError::Truncated { format: Format::EddystoneUrl, needed: 3, found }));
        }
    }
}
