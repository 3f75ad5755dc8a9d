//! What the back end says of devices: attributes for rules, and the consent of their people.
//!
//! A broker keeps the last word on consent, and says it again on every connection. It may be older than what was registered since: who
//! withdrew consent at the till must not be tracked again because a gateway restarts. So what was said last is kept, and the same words
//! of the broker's memory change nothing; a word that is said anew always counts.

use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::warn;

use super::keeper::Then;
use super::live::Live;
use crate::config::{etag, to_json};
use crate::engine::{Engine, Input};
use crate::model::{DeviceId, Timestamp};
use crate::mqtt::AckToken;
use crate::mqtt::wire::DeviceFacts;
use crate::registrar::{Action, Author, EditError, Expect, Registrar};
use crate::registry::{Consent, Device, Edit, Key, Record};
use crate::store::{Row, Store};

/// Who is said to have changed the consent of a device.
const AUTHOR: &str = "back end (MQTT)";
/// Keys of the rows that keep what was said of consent.
pub(crate) const CONSENT_SAID: &str = "consent-said/";
/// How often a change is tried that others get in the way of.
const TRIES: usize = 5;

/// Takes in what the back end says.
#[derive(Debug)]
pub struct Facts {
    registrar: Registrar,
    live: Live,
    store: Store,
}

/// What is to be done with facts that were taken in.
#[derive(Default)]
pub struct Heard {
    /// When it is committed; none where another change must be first.
    pub then: Option<Then>,
    /// Rows of the same transaction.
    pub rows: Vec<Row>,
}

/// The row of what was said of the consent of that device.
fn row_key(device: &DeviceId) -> String {
    format!("{CONSENT_SAID}{device}")
}

/// The row that forgets what was said of a device that is not registered any more.
pub fn forgotten(device: &DeviceId) -> Row {
    Row { key: row_key(device), value: None, place: 0 }
}

impl Facts {
    /// Changes of consent go to that registrar; `live` is the way back to the loop, and `store` keeps what was said.
    pub const fn new(registrar: Registrar, live: Live, store: Store) -> Self {
        Self { registrar, live, store }
    }

    /// Takes in facts. `is_old` is what the broker kept.
    pub fn hear(
        &self,
        engine: &mut Engine,
        (device, facts, is_old): (DeviceId, DeviceFacts, bool),
        token: AckToken,
        now: Timestamp,
    ) -> Heard {
        let at = engine.registry().device(&device);
        let DeviceFacts { attributes, consent } = facts;
        engine.handle(Input::Attributes(device.clone(), attributes.clone()), now);
        // It never creates a device.
        let (Some(at), Some(said)) = (at, consent) else { return acknowledged(token, Vec::new()) };
        let is_new = self.is_new(&device, &said);
        let rows = match serde_json::to_vec(&said) {
            Ok(value) if is_new => vec![Row { key: row_key(&device), value: Some(value), place: 0 }],
            _ => Vec::new(),
        };
        let known = Arc::clone(&engine.registry().devices()[at.get()]);
        if known.consent.0 == said || (is_old && !is_new) {
            return acknowledged(token, rows);
        }
        let (registrar, live) = (self.registrar.clone(), self.live.clone());
        // What was said of who was not to be tracked was not kept: it is said again.
        let again = (!known.may_be_tracked()).then_some(attributes);
        tokio::spawn(async move {
            match consents(&registrar, &live, &device, said, again).await {
                Ok(()) => token.acknowledge(),
                // Not acknowledged: it comes again.
                Err(error) => warn!(%device, "the consent that the back end says is not taken in: {error}"),
            }
        });
        Heard { then: None, rows }
    }

    /// Whether something else was said of that device last. What cannot be read was not said.
    fn is_new(&self, device: &DeviceId, said: &[String]) -> bool {
        let known = self.store.row(&row_key(device)).ok().flatten();
        known.and_then(|row| serde_json::from_slice::<Vec<String>>(&row).ok()).as_deref() != Some(said)
    }
}

fn acknowledged(token: AckToken, rows: Vec<Row>) -> Heard {
    Heard { then: Some(Box::new(move || token.acknowledge())), rows }
}

/// Changes the consent of a device, whatever else is changed of it meanwhile.
async fn consents(
    registrar: &Registrar,
    live: &Live,
    device: &DeviceId,
    said: Vec<String>,
    attributes: Option<Map<String, Value>>,
) -> Result<(), EditError> {
    let author = Author(AUTHOR.to_owned());
    let key = Key::Device(device.clone());
    let mut tries = 0;
    loop {
        let view = registrar.view();
        let Some(at) = view.registry.device(device) else { return Ok(()) };
        let known = &view.registry.devices()[at.get()];
        let tag = etag(&to_json(&Record::Device(Arc::clone(known)), view.registry.frame()));
        let changed = Device { consent: Consent(said.clone()), ..known.as_ref().clone() };
        let edit = Edit { put: vec![Record::Device(Arc::new(changed))], ..Edit::default() };
        tries += 1;
        match registrar.edit(edit, vec![(key.clone(), Expect::Tagged(tag))], &author, Action::Edit).await {
            Ok(_) => break,
            Err(EditError::Changed { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(attributes) = attributes
        && let Err(error) = live.set_attributes(device, attributes).await
    {
        warn!(%device, "what the back end says of the device is not kept: {error}");
    }
    Ok(())
}
