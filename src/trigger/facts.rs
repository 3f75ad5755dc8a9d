//! What is known of an event, by name.

use std::ops::Index;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::condition::DECLARED;

static NOTHING: Value = Value::Null;

/// What is known of an event, by name: `zone`, `visit`, … What many events know alike is shared between them, and all of it between
/// the triggers of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts(Arc<[(&'static str, Arc<Value>)]>);

impl Default for Facts {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Facts {
    /// These, in this order.
    pub(super) fn new(facts: Vec<(&'static str, Arc<Value>)>) -> Self {
        Self(facts.into())
    }

    /// The same from JSON; what has no name of the language is left out.
    pub fn from_json(facts: &Map<String, Value>) -> Self {
        let named = facts.iter().filter_map(|(name, value)| {
            let (name, _) = DECLARED.iter().find(|(known, _)| known == name)?;
            Some((*name, Arc::new(value.clone())))
        });
        Self(named.collect())
    }

    /// What is known of that.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }
}

/// Null where nothing is known of it.
impl Index<&str> for Facts {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NOTHING)
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value.as_ref())?;
        }
        map.end()
    }
}
