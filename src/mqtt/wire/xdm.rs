//! An event in the words of Adobe's Experience Data Model, so that it can be ingested as it is.
//!
//! A `place context` of an `ExperienceEvent`: `eventType` is `location.entry` or `location.exit`, and the zone is the point of
//! interest. A zone's label `category` is its category; its metadata that are texts go along.

use serde_json::{Map, Value, json};

use super::{Context, rounded};
use crate::presence::{Event, EventKind};

/// The event; none where it is neither an entry nor an exit.
pub(super) fn event(context: &Context, event: &Event) -> Option<Value> {
    let (kind, count) = match event.kind {
        EventKind::Entered => ("location.entry", "poiEntries"),
        EventKind::Exited => ("location.exit", "poiExits"),
        EventKind::Dwelled => return None,
    };
    let zone = &event.zone;
    let metadata: Vec<Value> = zone
        .metadata
        .iter()
        .filter_map(|(key, value)| value.as_str().map(|value| json!({"key": key, "value": value})))
        .collect();
    let mut detail = Map::new();
    detail.insert("poiID".to_owned(), json!(format!("{}/{}", context.site, zone.id)));
    detail.insert("name".to_owned(), json!(zone.name));
    detail.insert("locatingType".to_owned(), json!("beacon"));
    detail.extend(zone.labels.get("category").map(|category| ("category".to_owned(), json!(category))));
    if !metadata.is_empty() {
        detail.insert("metadata".to_owned(), json!({ "list": metadata }));
    }
    let mut place = Map::new();
    place.insert(
        "POIinteraction".to_owned(),
        json!({"poiDetail": detail, count: {"id": event.visit_id.to_string(), "value": 1}}),
    );
    if let Some(position) = &event.position {
        let at = context.frame.to_geodetic(position.point);
        let geo = json!({"latitude": rounded(at.latitude, 8), "longitude": rounded(at.longitude, 8)});
        place.insert("geo".to_owned(), json!({ "_schema": geo }));
    }
    Some(json!({
        "_id": event.id.to_string(),
        "timestamp": event.observed_at,
        "eventType": kind,
        "identityMap": {"beaconfence": [{"id": event.device.id, "primary": true}]},
        "placeContext": place,
    }))
}
