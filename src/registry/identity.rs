//! How a beacon is recognised on the air, as text in files: `ibeacon:UUID/major/minor` and so on.

use std::fmt;
use std::str::FromStr;

/// An identity: what a beacon sends that nothing else sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// `ibeacon:UUID/major/minor`.
    IBeacon {
        /// Proximity UUID, most significant byte first.
        uuid: [u8; 16],
        /// Major.
        major: u16,
        /// Minor.
        minor: u16,
    },
    /// `eddystone-uid:NAMESPACE/INSTANCE` in hex.
    EddystoneUid {
        /// Namespace.
        namespace: [u8; 10],
        /// Instance.
        instance: [u8; 6],
    },
    /// `altbeacon:ID` in hex, 20 bytes.
    AltBeacon([u8; 20]),
    /// `mac:AA:BB:CC:DD:EE:FF`, most significant byte first.
    Mac([u8; 6]),
}

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The part before the colon is no known kind.
    #[error(
        "\"{0}\" is no identity; write ibeacon:UUID/major/minor, eddystone-uid:NAMESPACE/INSTANCE, altbeacon:ID or mac:AA:BB:CC:DD:EE:FF"
    )]
    UnknownKind(String),
    /// The kind is known, but not yet supported.
    #[error("identities of kind \"{0}\" are not supported by this version")]
    Unsupported(String),
    /// The UUID is none.
    #[error("\"{0}\" is not a UUID; write 32 hex digits, such as e2c56db5-dffb-48d2-b060-d0f5a71096e0")]
    Uuid(String),
    /// Major or minor is none.
    #[error("\"{text}\" is no {field}; it must be a whole number from 0 to 65535")]
    Number {
        /// `major` or `minor`.
        field: &'static str,
        /// The text given.
        text: String,
    },
    /// Parts are missing or too many.
    #[error("\"{text}\" must have the form {form}")]
    Form {
        /// The text given.
        text: String,
        /// The form wanted.
        form: &'static str,
    },
    /// Hex digits are missing, too many, or no hex.
    #[error("{field} \"{text}\" must be {digits} hex digits")]
    Hex {
        /// What it is.
        field: &'static str,
        /// The text given.
        text: String,
        /// How many digits are wanted.
        digits: usize,
    },
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (kind, value) = text.split_once(':').ok_or_else(|| IdentityError::UnknownKind(short(text)))?;
        match kind {
            "ibeacon" => {
                let form = || IdentityError::Form { text: short(text), form: "ibeacon:UUID/major/minor" };
                let mut parts = value.split('/');
                let (Some(uuid), Some(major), Some(minor), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(form());
                };
                let parsed = uuid::Uuid::try_parse(uuid).map_err(|_| IdentityError::Uuid(short(uuid)))?;
                Ok(Self::IBeacon {
                    uuid: parsed.into_bytes(),
                    major: number("major", major)?,
                    minor: number("minor", minor)?,
                })
            }
            "eddystone-uid" => {
                let (namespace, instance) = value.split_once('/').ok_or_else(|| IdentityError::Form {
                    text: short(text),
                    form: "eddystone-uid:NAMESPACE/INSTANCE",
                })?;
                Ok(Self::EddystoneUid {
                    namespace: bytes("namespace", namespace)?,
                    instance: bytes("instance", instance)?,
                })
            }
            "altbeacon" => Ok(Self::AltBeacon(bytes("AltBeacon id", &value.replace('-', ""))?)),
            "mac" => {
                let plain: Vec<&str> = value.split(':').collect();
                if plain.len() != 6 || plain.iter().any(|part| part.len() != 2) {
                    return Err(IdentityError::Form { text: short(text), form: "mac:AA:BB:CC:DD:EE:FF" });
                }
                Ok(Self::Mac(bytes("address", &plain.concat())?))
            }
            "irk" | "owntracks" | "eddystone-eid" => Err(IdentityError::Unsupported(kind.to_owned())),
            _ => Err(IdentityError::UnknownKind(short(text))),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IBeacon { uuid, major, minor } => {
                write!(f, "ibeacon:{}/{major}/{minor}", uuid::Uuid::from_bytes(*uuid))
            }
            Self::EddystoneUid { namespace, instance } => {
                write!(f, "eddystone-uid:{}/{}", hex::encode(namespace), hex::encode(instance))
            }
            Self::AltBeacon(id) => write!(f, "altbeacon:{}", hex::encode(id)),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "mac:{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}"),
        }
    }
}

fn number(field: &'static str, text: &str) -> Result<u16, IdentityError> {
    text.parse().map_err(|_| IdentityError::Number { field, text: short(text) })
}

fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], IdentityError> {
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).map_err(|_| IdentityError::Hex { field, text: short(text), digits: 2 * N })?;
    Ok(out)
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_as_written() {
        for text in [
            "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/65535",
            "eddystone-uid:00010203040506070809/010203040506",
            "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002",
            "mac:C0:FF:EE:00:00:01",
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn identities_that_are_none_say_why() {
        for (text, part) in [
            ("", "is no identity"),
            ("foo:1", "is no identity"),
            ("ibeacon:xyz/1/2", "is not a UUID"),
            ("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1", "must have the form"),
            ("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/70000/1", "is no major"),
            ("eddystone-uid:00/010203040506", "must be 20 hex digits"),
            ("mac:C0:FF:EE:00:00", "must have the form"),
            ("mac:C0:FF:EE:00:00:0G", "must be 12 hex digits"),
            ("irk:00", "not supported"),
        ] {
            let message = text.parse::<Identity>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
