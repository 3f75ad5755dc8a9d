//! How receivers fare, in the words of the API.

use serde_json::{Value, json};

use super::services::Services;

/// How each receiver fares, in the order of the registry.
pub fn receivers(services: &Services) -> Vec<Value> {
    let status = services.live.latest_status().unwrap_or_default();
    let view = services.registrar.view();
    let of = |id: &str| {
        let silent_since = &status["silent_receivers"][id];
        let known = status["receivers"].get(id);
        let (state, reason) = match known {
            Some(known) => (known["state"].clone(), known["reason"].clone()),
            None if silent_since.is_string() => (json!("down"), json!("hears nothing of what it should")),
            None => (json!("unknown"), Value::Null),
        };
        json!({
            "id": id,
            "state": state,
            "reason": reason,
            "last_heard": silent_since,
            "advertisements": known.and_then(|known| known["advertisements"].as_u64()).unwrap_or(0),
        })
    };
    view.registry.receivers().iter().map(|receiver| of(receiver.id.as_str())).collect()
}

/// What the stream tells of the status.
pub fn told(services: &Services) -> Value {
    json!({"receivers": receivers(services), "delivery": services.delivery()})
}
