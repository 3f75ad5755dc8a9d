//! Quantities that cannot be invalid once made.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Point, Timestamp};

/// Why a number is not such a quantity.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is not {quantity}; it must lie between {least} and {most} {unit}")]
pub struct UnitError {
    value: f64,
    quantity: &'static str,
    least: f64,
    most: f64,
    unit: &'static str,
}

/// A length in metres.
pub type Metres = f64;

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident, $quantity:literal, $unit:literal, $least:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Checks the number.
            ///
            /// # Errors
            /// [`UnitError`] where it is not finite or out of range.
            pub fn new(value: f64) -> Result<Self, UnitError> {
                if ($least..=$most).contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(UnitError { value, quantity: $quantity, least: $least, most: $most, unit: $unit })
                }
            }

            /// The bare number.
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = UnitError;

            fn try_from(value: f64) -> Result<Self, UnitError> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ranged! {
    /// Received signal strength in dBm. The Core specification (Vol 4, Part E, 7.7.65.2) gives -127 to +20; 127 means
    /// "not available" and is no RSSI. Averages may have a fraction.
    Rssi, "an RSSI", "dBm", -127.0, 20.0
}
ranged! {
    /// The RSSI that a transmitter gives at 1 m, in dBm.
    MeasuredPower, "a measured power", "dBm", -127.0, 20.0
}
ranged! {
    /// A probability.
    Probability, "a probability", "", 0.0, 1.0
}

impl MeasuredPower {
    /// What an iBeacon is usually calibrated to: -59 dBm.
    pub const USUAL: Self = Self(-59.0);
}

impl Probability {
    /// The probability nearest to `value`; 0 for what is not a number.
    pub fn saturating(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }
}

/// A floor: 0 is ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LevelOrdinal(pub i16);

impl fmt::Display for LevelOrdinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An estimate of where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The point in the site frame.
    pub point: Point,
    /// The level.
    pub level: LevelOrdinal,
    /// Standard deviation along each axis, in metres.
    pub accuracy: Metres,
    /// When it was so.
    pub time: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_out_of_range_are_refused() {
        assert!(Rssi::new(-127.0).is_ok() && Rssi::new(20.0).is_ok() && Rssi::new(-72.6).is_ok());
        for bad in [f64::NAN, f64::INFINITY, -128.0, 127.0] {
            assert!(Rssi::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Rssi::new(127.0).unwrap_err().to_string(),
            "127 is not an RSSI; it must lie between -127 and 20 dBm"
        );
        assert!(Probability::new(1.01).is_err());
        assert!(Probability::saturating(f64::NAN).get().abs() < f64::EPSILON);
    }
}
