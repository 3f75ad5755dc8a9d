//! The client's half of a session that outlives the process.

use std::error::Error;
use std::pin::Pin;

use rumqttc_v5 as v5;
use v5::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreKey};

/// The crate has a name for it that it does not give away.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// A subscriber that has nothing under way itself: all that its session holds is with the broker. Without this half, the
/// client goes on with a session but can ask for nothing more in it, not even for a subscription.
#[derive(Debug)]
pub(super) struct NothingUnderWay {
    pub(super) session_expiry: u32,
    pub(super) window: u16,
    pub(super) manual_ack: bool,
}

impl SessionStore for NothingUnderWay {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.session_expiry),
            outgoing_inflight_upper_limit: Some(self.window),
            ack_mode: if self.manual_ack { PersistedAckMode::Manual } else { PersistedAckMode::Automatic },
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
