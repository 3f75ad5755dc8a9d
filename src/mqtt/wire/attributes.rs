//! Facts of a device, from the back end.

use serde_json::{Map, Value};

use super::ReportError;

/// The most that is read of one device.
const MAX_BYTES: usize = 16 * 1024;
/// Facts of one device.
const MAX_FACTS: usize = 64;
/// Bytes of a text in it.
const MAX_TEXT: usize = 1_024;
/// Purposes of one device.
const MAX_PURPOSES: usize = 64;
/// The member that is no attribute.
const CONSENT: &str = "consent";

/// What the back end says of a device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceFacts {
    /// Its attributes, declared or not.
    pub attributes: Map<String, Value>,
    /// The purposes that its person has agreed to, in alphabetical order; none where nothing is said of that.
    pub consent: Option<Vec<String>>,
}

/// Reads what the back end says of a device: an object of numbers, texts, flags and lists of texts, and `consent`, a list of
/// purposes. Null is not there. An empty payload says nothing any more.
///
/// # Errors
/// [`ReportError`].
pub fn device_facts(payload: &[u8]) -> Result<DeviceFacts, ReportError> {
    if payload.len() > MAX_BYTES {
        return Err(ReportError::TooLarge(payload.len()));
    }
    if payload.trim_ascii().is_empty() {
        return Ok(DeviceFacts::default());
    }
    let value: Value = serde_json::from_slice(payload).map_err(|error| ReportError::NotJson(error.to_string()))?;
    let Value::Object(mut members) = value else { return Err(ReportError::NotAnObject) };
    members.retain(|_, value| !value.is_null());
    let consent = members.remove(CONSENT).map(|value| purposes(&value)).transpose()?;
    let is_text = |value: &Value| value.as_str().is_some_and(|text| text.len() <= MAX_TEXT);
    let is_fact = |value: &Value| match value {
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(_) => is_text(value),
        Value::Array(list) => list.len() <= MAX_FACTS && list.iter().all(is_text),
        Value::Null | Value::Object(_) => false,
    };
    if members.len() > MAX_FACTS {
        return Err(ReportError::Invalid { field: "attributes", expected: "at most 64 facts" });
    }
    if !members.values().all(is_fact) {
        let expected = "numbers, texts of at most 1024 bytes, true or false, and lists of at most 64 such texts";
        return Err(ReportError::Invalid { field: "attributes", expected });
    }
    Ok(DeviceFacts { attributes: members, consent })
}

fn purposes(value: &Value) -> Result<Vec<String>, ReportError> {
    let is_purpose = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    let error = || ReportError::Invalid { field: CONSENT, expected: "a list of purposes such as \"marketing:push\"" };
    let list = value.as_array().filter(|list| list.len() <= MAX_PURPOSES).ok_or_else(error)?;
    let purpose = |value: &Value| value.as_str().filter(|text| is_purpose(text)).map(str::to_owned);
    let mut purposes = list.iter().map(purpose).collect::<Option<Vec<String>>>().ok_or_else(error)?;
    purposes.sort_unstable();
    purposes.dedup();
    Ok(purposes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_and_consent_are_told_apart() {
        let facts = device_facts(
            br#"{"cart":62.5,"tier":"gold","wishes":["a"],"new":true,"gone":null,
            "consent":["presence","marketing:push","presence"]}"#,
        )
        .unwrap();
        assert_eq!(facts.attributes.len(), 4);
        assert_eq!(facts.consent.unwrap(), ["marketing:push", "presence"]);
        assert_eq!(device_facts(b"").unwrap(), DeviceFacts::default());
        assert_eq!(device_facts(b"{}").unwrap().consent, None);
    }

    #[test]
    fn what_is_no_fact_is_refused() {
        for (payload, kind) in [
            ("[]", "not_an_object"),
            ("{", "not_json"),
            (r#"{"a":{"b":1}}"#, "invalid_field"),
            (r#"{"a":[1]}"#, "invalid_field"),
            (r#"{"consent":"presence"}"#, "invalid_field"),
            (r#"{"consent":["a b"]}"#, "invalid_field"),
            (&format!("{{\"a\":\"{}\"}}", "x".repeat(1_025)), "invalid_field"),
            (&" ".repeat(17_000), "too_large"),
        ] {
            assert_eq!(device_facts(payload.as_bytes()).unwrap_err().kind(), kind, "{payload}");
        }
    }
}
