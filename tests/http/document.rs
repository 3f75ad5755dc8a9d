//! The `OpenAPI` document.

use std::path::Path;

use serde_json::Value;

use crate::api::Api;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

/// Every operation: method, path, and itself.
pub fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            found.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    assert!(found.len() > 40, "only {} operations were found", found.len());
    found
}

#[test]
fn the_document_is_what_it_was() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/http/openapi.json");
    let now = serde_json::to_string_pretty(&beaconfence::http::document()).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    if golden == now {
        return;
    }
    let (before, after): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), now.lines().collect());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str], sign: &str| -> String {
        let shown: Vec<String> = lines.iter().skip(same).take(20).map(|line| format!("{sign} {line}")).collect();
        shown.join("\n")
    };
    panic!(
        "the OpenAPI document has changed from line {} on; where that is meant, run this test with BLESS=1\n{}\n{}",
        same + 1,
        show(&before, "-"),
        show(&after, "+")
    );
}

#[test]
fn every_operation_says_what_it_does_and_every_answer_has_a_shape() {
    let document = beaconfence::http::document();
    let mut ids = std::collections::BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name} shares its operationId");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
            assert_eq!(response.get("content").is_none(), status == "204" || status == "304", "{name} {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let found = document.pointer(reference.strip_prefix('#').unwrap());
                    assert!(found.is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|value| follow(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| follow(value, document)),
            _ => {}
        }
    }
    let document = beaconfence::http::document();
    follow(&document, &document);
}

/// A validator of one component's schema.
pub fn validator(name: &str) -> jsonschema::Validator {
    let document = beaconfence::http::document();
    let schema = serde_json::json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    jsonschema::draft202012::new(&schema).unwrap()
}

#[tokio::test]
async fn what_is_answered_is_what_the_document_says() {
    let recordings = tempfile::tempdir().unwrap();
    let api = crate::playback::looking_back(Api::new().await, recordings.path());
    let document = beaconfence::http::document();
    let mut seen = 0;
    for (method, path, operation) in operations(&document) {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if method != "GET" || path.contains('{') || schema.is_null() {
            continue;
        }
        let query = match path.as_str() {
            "/api/v1/playback" => "?from=2026-01-01T10:00:00Z&to=2026-01-01T10:01:00Z",
            "/api/v1/heatmap" => "?from=2026-01-01T10:00:00Z&to=2026-01-01T10:01:00Z&level=0",
            _ => "",
        };
        let answer = api.call(&method, &format!("{path}{query}"), &api.admin, "").await;
        assert_eq!(answer.status, 200, "{path}");
        let whole = serde_json::json!({"allOf": [schema], "components": document["components"]});
        let validator = jsonschema::draft202012::new(&whole).unwrap();
        let errors: Vec<String> = validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
        seen += 1;
    }
    assert!(seen >= 12, "only {seen}");
}

#[tokio::test]
async fn the_document_is_served_to_those_who_may_look() {
    let api = Api::new().await;
    let answer = api.call("GET", "/api/v1/openapi.json", &api.viewer, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), beaconfence::http::document());
    assert_eq!(answer.json()["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}
