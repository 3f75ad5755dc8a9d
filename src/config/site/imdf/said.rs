//! What features say of others: who is in a unit, what is at hand in it, at what address.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::Reader;
use super::features::Feature;

/// Bytes of a text in metadata or of a label.
const MAX_TEXT: usize = 200;

/// What other features say of those that become zones, by the IMDF id of these.
#[derive(Default)]
pub(super) struct Said {
    /// Occupants: id, name and metadata.
    pub(super) occupants: HashMap<String, Vec<(String, Option<String>, Value)>>,
    pub(super) amenities: HashMap<String, Vec<(String, String)>>,
    pub(super) anchors: HashMap<String, Vec<String>>,
    /// By the anchor's id: its address.
    pub(super) addresses: HashMap<String, (String, String)>,
    pub(super) buildings: HashMap<String, String>,
}

impl Said {
    pub(super) fn new(reader: &Reader<'_>) -> Self {
        let mut said = Self::default();
        let all = |kind: &str| reader.collections.get(kind).into_iter().flat_map(|collection| &collection.features);
        let name = |feature: &Feature<'_>| reader.language.pick(feature.properties.get("name"));
        let mut unit_of: HashMap<&str, &str> = HashMap::new();
        for anchor in all("anchor") {
            if let Some(unit) = anchor.text("unit_id") {
                unit_of.insert(&anchor.id, unit);
                said.anchors.entry(unit.to_owned()).or_default().push(anchor.id.clone());
            }
            let address = anchor.text("address_id");
            if let Some(address) = address.and_then(|id| reader.collections.get("address")?.get(id)) {
                let parts = ["address", "unit", "locality", "postal_code", "country"];
                let parts: Vec<&str> = parts.into_iter().filter_map(|key| address.text(key)).collect();
                said.addresses.insert(anchor.id.clone(), (address.id.clone(), clip(&parts.join(", "))));
            }
        }
        for occupant in all("occupant") {
            let Some(unit) = occupant.text("anchor_id").and_then(|anchor| unit_of.get(anchor)) else { continue };
            let mut about = Map::new();
            about.insert("imdf_id".to_owned(), json!(occupant.id));
            let name = name(occupant);
            about.extend(name.as_deref().map(|name| ("name".to_owned(), json!(clip(name)))));
            for key in ["category", "hours", "phone", "website", "correlation_id"] {
                about.extend(occupant.text(key).map(|text| (key.to_owned(), json!(clip(text)))));
            }
            let entry = said.occupants.entry((*unit).to_owned()).or_default();
            entry.push((occupant.id.clone(), name, Value::Object(about)));
        }
        for amenity in all("amenity") {
            let category = amenity.text("category").unwrap_or("amenity");
            let text = name(amenity).map_or_else(|| category.to_owned(), |name| format!("{category}: {name}"));
            for unit in amenity.texts("unit_ids") {
                said.amenities.entry(unit.to_owned()).or_default().push((amenity.id.clone(), clip(&text)));
            }
        }
        for building in all("building") {
            said.buildings.extend(name(building).map(|name| (building.id.clone(), clip(&name))));
        }
        said
    }
}

/// Which of the features that become no zones were of use.
#[derive(Default)]
pub(super) struct Used(BTreeMap<&'static str, BTreeSet<String>>);

impl Used {
    pub(super) fn note(&mut self, kind: &'static str, id: &str) {
        self.0.entry(kind).or_default().insert(id.to_owned());
    }

    pub(super) fn account(&self, reader: &mut Reader<'_>) {
        for (kind, why) in [
            ("occupant", "it is anchored in no unit that became a zone"),
            ("anchor", "it is in no unit that became a zone"),
            ("amenity", "it is a point, and in no unit that became a zone"),
            ("address", "no zone is at it"),
            ("building", "it has no name, or no zone is in it"),
            ("detail", "it is a line of the drawing, not an area"),
            ("footprint", "it shows a building from outside; levels have outlines of their own"),
            ("relationship", "zones do not relate to each other"),
        ] {
            let used = self.0.get(kind);
            let collection = reader.collections.get(kind);
            let ids: Vec<String> = collection
                .into_iter()
                .flat_map(|collection| &collection.features)
                .map(|feature| feature.id.clone())
                .collect();
            for id in ids {
                if used.is_some_and(|used| used.contains(&id)) {
                    reader.account(kind).used += 1;
                } else {
                    reader.skip(kind, &id, why);
                }
            }
        }
    }
}

/// No text of a map may fill an event.
pub(super) fn clip(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
