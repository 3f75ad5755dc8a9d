//! Durations and caps in JSON: as the texts that people write.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::{Cap, CapError};
use crate::model::{format_duration, parse_duration};

/// Things that are written as text.
pub(super) trait Text: Sized {
    fn to_text(&self) -> String;
    fn of_text(text: &str) -> Result<Self, String>;
}

impl Text for Duration {
    fn to_text(&self) -> String {
        format_duration(*self)
    }

    fn of_text(text: &str) -> Result<Self, String> {
        parse_duration(text).map_err(|error| error.to_string())
    }
}

impl Text for Cap {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: CapError| error.to_string())
    }
}

pub(super) mod text {
    use super::{Deserialize, Deserializer, Serializer, Text};

    pub(in crate::registry) fn serialize<T: Text, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_text())
    }

    pub(in crate::registry) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::of_text(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

pub(super) mod optional_text {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Text};

    #[allow(clippy::ref_option)] // The form that serde asks for.
    pub(in crate::registry) fn serialize<T: Text, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Text::to_text).serialize(serializer)
    }

    pub(in crate::registry) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| T::of_text(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

pub(super) mod texts {
    use super::{Deserialize, Deserializer, Serializer, Text};

    pub(in crate::registry) fn serialize<T: Text, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Text::to_text))
    }

    pub(in crate::registry) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| T::of_text(text)).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}
