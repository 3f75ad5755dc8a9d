//! Ids: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, so that each is safe in an MQTT topic, a URL and a file name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The greatest length of an id in bytes.
const MAX_LENGTH: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The text is longer than 64 bytes.
    #[error("\"{0}…\" is longer than 64 characters")]
    TooLong(String),
    /// The text starts with something other than a letter or digit.
    #[error("\"{0}\" must start with a letter A-Z, a-z or a digit")]
    BadStart(String),
    /// The text holds a character that ids may not hold.
    #[error("\"{id}\" holds {character:?}; ids use only letters A-Z, a-z, digits, '.', '_' and '-'")]
    BadCharacter {
        /// The text given.
        id: String,
        /// The first character that is not allowed.
        character: char,
    },
}

fn validate(text: &str) -> Result<(), IdError> {
    let first = text.chars().next().ok_or(IdError::Empty)?;
    if text.len() > MAX_LENGTH {
        return Err(IdError::TooLong(text.chars().take(24).collect()));
    }
    if let Some(character) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(IdError::BadCharacter { id: text.to_owned(), character });
    }
    if !first.is_ascii_alphanumeric() {
        return Err(IdError::BadStart(text.to_owned()));
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// [`IdError`] where the text is not `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                validate(text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// The id of a site: one store.
    SiteId
}
id! {
    /// The id of a gateway: one running beaconfence.
    GatewayId
}
id! {
    /// The id of a receiver: a radio at a known place.
    ReceiverId
}
id! {
    /// The id of a beacon: a registered transmitter.
    BeaconId
}
id! {
    /// The id of a device: an opaque alias issued by the back end.
    DeviceId
}
id! {
    /// The id of a zone. `site` is reserved: the whole store.
    ZoneId
}

id! {
    /// The id of a trigger: a rule.
    TriggerId
}

impl ZoneId {
    /// The reserved id of the whole store.
    pub const SITE: &'static str = "site";

    /// The reserved id of the whole store.
    pub fn site() -> Self {
        Self(Self::SITE.into())
    }

    /// Whether this is the reserved id of the whole store.
    pub fn is_site(&self) -> bool {
        &*self.0 == Self::SITE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_topics() {
        for good in ["a", "0", "A.b_c-d", &"x".repeat(64)] {
            assert_eq!(ZoneId::new(good).unwrap().as_str(), good);
        }
        assert_eq!(ZoneId::new(""), Err(IdError::Empty));
        assert!(matches!(ZoneId::new(&"x".repeat(65)), Err(IdError::TooLong(_))));
        assert!(matches!(ZoneId::new("-a"), Err(IdError::BadStart(_))));
        for bad in ["a/b", "a+b", "#", "a b", "é", "a\0"] {
            assert!(matches!(ZoneId::new(bad), Err(IdError::BadCharacter { .. })), "{bad:?}");
        }
    }
}
