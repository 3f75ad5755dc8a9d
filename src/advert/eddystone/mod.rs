//! Eddystone (google/eddystone, protocol-specification.md): service data of UUID 0xFEAA, whose first byte is the type of
//! frame. The calibrated power is what is received at 0 m; at 1 m it is 41 dBm less (protocol-specification of
//! Eddystone-UID, "Tx Power").

mod eid;
mod tlm;
mod uid;
mod url;

pub use eid::EddystoneEid;
pub use tlm::EddystoneTlm;
pub use uid::EddystoneUid;
pub use url::EddystoneUrl;

use uuid::Uuid;

use super::ad::full_uuid;
use super::{Format, Frame, FrameError};

/// The service that Eddystone frames are data of.
pub(super) const SERVICE: Uuid = full_uuid(0xfeaa);

/// What a signal loses from 0 m to 1 m, in dB.
const LOSS_TO_1_M: i16 = 41;

const UID: u8 = 0x00;
const URL: u8 = 0x10;
const TLM: u8 = 0x20;
const EID: u8 = 0x30;

/// Reads service data of UUID 0xFEAA; none where the type of frame is not known.
pub(super) fn parse(data: &[u8]) -> Option<Result<Frame<'_>, FrameError>> {
    Some(match data.first() {
        None => Err(FrameError::EddystoneEmpty),
        Some(&UID) => uid::parse(data).map(Frame::EddystoneUid),
        Some(&URL) => url::parse(data).map(Frame::EddystoneUrl),
        Some(&TLM) => tlm::parse(data).map(Frame::EddystoneTlm),
        Some(&EID) => eid::parse(data).map(Frame::EddystoneEid),
        Some(_) => return None,
    })
}

/// The first `N` bytes of a frame; what may follow is ignored.
fn whole<const N: usize>(format: Format, data: &[u8]) -> Result<&[u8; N], FrameError> {
    data.first_chunk().ok_or(FrameError::Truncated { format, needed: N, found: data.len() })
}

fn measured_power(power_at_0m: i8) -> i16 {
    i16::from(power_at_0m) - LOSS_TO_1_M
}
