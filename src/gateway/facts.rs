//! What the back end says of devices: attributes for rules, and the consent of their people.

use std::sync::Arc;

use tracing::warn;

use super::keeper::Then;
use crate::engine::{Engine, Input};
use crate::model::{DeviceId, Timestamp};
use crate::mqtt::AckToken;
use crate::mqtt::wire::DeviceFacts;
use crate::registrar::{Action, Author, Expect, Registrar};
use crate::registry::{Consent, Device, Edit, Record};

/// Who is said to have changed the consent of a device.
const AUTHOR: &str = "back end (MQTT)";

/// Takes in what the back end says.
#[derive(Debug)]
pub struct Facts {
    registrar: Registrar,
}

impl Facts {
    /// Changes of consent go to that registrar.
    pub const fn new(registrar: Registrar) -> Self {
        Self { registrar }
    }

    /// Takes in facts. Gives what is to be done when that is committed; none where another change must be first.
    pub fn hear(
        &self,
        engine: &mut Engine,
        (device, facts, is_old): (DeviceId, DeviceFacts, bool),
        token: AckToken,
        now: Timestamp,
    ) -> Option<Then> {
        let at = engine.registry().device(&device);
        engine.handle(Input::Attributes(device, facts.attributes), now);
        let acknowledge = |token: AckToken| -> Then { Box::new(move || token.acknowledge()) };
        // It never creates a device.
        let (Some(at), Some(said)) = (at, facts.consent) else { return Some(acknowledge(token)) };
        let is_new = engine.set_consent_said(at, &said);
        let known = Arc::clone(&engine.registry().devices()[at.get()]);
        // What the broker kept may be older than what was registered since.
        if known.consent.0 == said || (is_old && !is_new) {
            return Some(acknowledge(token));
        }
        let registrar = self.registrar.clone();
        tokio::spawn(async move {
            let changed = Record::Device(Arc::new(Device { consent: Consent(said), ..known.as_ref().clone() }));
            let key = changed.key();
            let edit = Edit { put: vec![changed], ..Edit::default() };
            let author = Author(AUTHOR.to_owned());
            match registrar.edit(edit, vec![(key, Expect::Present)], &author, Action::Edit).await {
                Ok(_) => token.acknowledge(),
                // Not acknowledged: it comes again.
                Err(error) => warn!(device = %known.id, "the consent that the back end says is not taken in: {error}"),
            }
        });
        None
    }
}
