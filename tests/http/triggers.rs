//! Rules, and what all of them obey.

use serde_json::{Value, json};

use beaconfence::gateway::live::Question;

use crate::api::{Answer, Api, services};
use crate::document::validator;

const RULES: &str = "/api/v1/triggers";
const SETTINGS: &str = "/api/v1/trigger-settings";
const ANY: [(&str, &str); 1] = [("if-match", "*")];

async fn make(api: &Api, rule: &Value) -> Answer {
    api.call("POST", RULES, &api.editor, &rule.to_string()).await
}

fn faults(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let errors = body["errors"].as_array().unwrap().iter();
    errors.map(|error| format!("{}: {}", error["line"], error["message"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_rule_is_made_read_replaced_and_removed() {
    let api = Api::new().await;
    let made = make(&api, &json!({"id": "welcome", "when": {"entered": "site"}})).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, Some("/api/v1/triggers/welcome")));
    assert_eq!(make(&api, &json!({"id": "welcome", "when": {"entered": "site"}})).await.problem(), "exists");
    let path = "/api/v1/triggers/welcome";
    let read = api.call("GET", path, &api.viewer, "").await;
    assert_eq!((read.json(), read.header("etag")), (made.json(), made.header("etag")));
    let mut rule = read.json();
    rule["when"] = json!({"dwelled": "5m", "in": ["wine", "department=food"], "total": true});
    rule["then"]["data"] = json!({"text": "Hello {{device.id}}", "points": 2.5});
    let body = rule.to_string();
    assert_eq!(api.call("PUT", path, &api.editor, &body).await.status, 428);
    let tag = [("if-match", read.header("etag").unwrap())];
    let put = api.call_with("PUT", path, &api.editor, &tag, &body).await;
    assert_eq!((put.status.as_u16(), put.json()), (200, rule.clone()));
    let second = api.call_with("PUT", path, &api.editor, &tag, &body).await;
    assert_eq!((second.status.as_u16(), second.problem().as_str()), (412, "changed"));
    assert_eq!(api.call_with("PUT", path, &api.viewer, &ANY, &body).await.status, 403);
    let list = api.call("GET", &format!("{RULES}?q=WELC"), &api.viewer, "").await.json();
    assert_eq!((&list["items"], &list["total"]), (&json!([rule]), &json!(1)));
    for (schema, value) in [("TriggerList", &list), ("Trigger", &rule)] {
        let errors: Vec<String> = validator(schema).iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert_eq!(api.call_with("DELETE", path, &api.viewer, &ANY, "").await.status, 403);
    assert_eq!(api.call_with("DELETE", path, &api.editor, &ANY, "").await.status, 204);
    assert_eq!(api.call("GET", path, &api.viewer, "").await.status, 404);
    let history = api.call("GET", "/api/v1/history?limit=1", &api.viewer, "").await.json();
    assert_eq!(history["items"][0]["items"][0]["kind"], "trigger");
    let undone = api.call("POST", "/api/v1/history/4/undo", &api.editor, "{}").await;
    assert_eq!(undone.status, 200, "{}", String::from_utf8_lossy(&undone.body));
    assert_eq!(api.call("GET", path, &api.viewer, "").await.json(), rule);
}

#[tokio::test]
async fn the_back_end_says_facts_of_a_device_that_are_declared() {
    let (services, mut questions) = services();
    let api = Api::of(services).await;
    let settings = json!({"attributes": {"cart": "number", "wishes": "list"}}).to_string();
    assert_eq!(api.call_with("PUT", SETTINGS, &api.editor, &ANY, &settings).await.status, 200);
    let path = "/api/v1/devices/shopper-01/attributes";
    let kept = tokio::spawn(async move {
        let Some(Question::Attributes { device, said, done }) = questions.recv().await else {
            panic!("nothing is asked")
        };
        done.send(()).unwrap();
        (device.to_string(), Value::Object(said))
    });
    let body = json!({"cart": 62.5, "wishes": ["tea"]});
    assert_eq!(api.call("PUT", path, &api.viewer, &body.to_string()).await.status, 403);
    assert_eq!(api.call("PUT", path, &api.editor, &body.to_string()).await.status, 204);
    assert_eq!(kept.await.unwrap(), ("shopper-01".to_owned(), body));
    for (body, words) in [
        (json!({"cart": "much"}), "\"cart\" is declared as a number"),
        (json!({"card": 1}), "\"card\" is not declared"),
        (json!({"consent": ["presence"]}), "\"consent\" is no attribute"),
        (json!({"cart": {}}), "\"attributes\" must be numbers"),
        (json!([]), "not a JSON object"),
    ] {
        let answer = api.call("PUT", path, &api.editor, &body.to_string()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert!(faults(&answer)[0].contains(words), "{body}: {:?}", faults(&answer));
    }
    assert_eq!(api.call("PUT", path, &api.editor, "{").await.problem(), "malformed");
    assert_eq!(api.call("PUT", "/api/v1/devices/nobody/attributes", &api.editor, "{}").await.status, 404);
    // The loop is gone.
    assert_eq!(api.call("PUT", path, &api.editor, "{}").await.status, 503);
}

#[tokio::test]
async fn what_a_rule_says_wrong_is_told_with_its_line() {
    let api = Api::new().await;
    let body = "{\"id\": \"t\",\n\"when\": {\"entered\": \"wines\"},\n\"if\": \"visit.cont > 2\",\n\"unless\": {\"caps\": [\"often\"]}}";
    let answer = api.call("POST", RULES, &api.editor, body).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "invalid"));
    let faults = faults(&answer);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(faults[0], "2: there is no zone \"wines\"");
    assert!(faults[1].starts_with("3: the condition `visit.cont > 2`: \"visit.cont\" is not declared"), "{faults:?}");
    assert!(faults[2].starts_with("4: \"caps\": \"often\" is no cap"), "{faults:?}");
    assert_eq!(answer.json()["errors"][0]["help"], "did you mean \"wine\"?");
    assert_eq!(api.call("POST", RULES, &api.editor, "{").await.problem(), "malformed");
}

#[tokio::test]
async fn what_a_rule_names_stays() {
    let api = Api::new().await;
    let fixed = json!({"id": "shelf", "identity": "mac:AA:BB:CC:DD:EE:FF", "x": 1.0, "y": 2.0, "level": 0}).to_string();
    assert_eq!(api.call("POST", "/api/v1/beacons", &api.editor, &fixed).await.status, 201);
    assert_eq!(make(&api, &json!({"id": "wine-lovers", "when": {"entered": "wine"}})).await.status, 201);
    let near = json!({"id": "at-shelf", "when": {"approach": "near", "to_beacon": "shelf"}});
    assert_eq!(make(&api, &near).await.status, 201);
    for (path, rule) in [("/api/v1/zones/wine", "wine-lovers"), ("/api/v1/beacons/shelf", "at-shelf")] {
        let used = api.call_with("DELETE", path, &api.editor, &ANY, "").await;
        assert_eq!((used.status.as_u16(), used.problem().as_str()), (409, "in-use"), "{path}");
        let detail = used.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("is in use by trigger \"{rule}\"")), "{detail}");
        let freed = api.call_with("DELETE", &format!("{RULES}/{rule}"), &api.editor, &ANY, "").await;
        assert_eq!(freed.status, 204);
        assert_eq!(api.call_with("DELETE", path, &api.editor, &ANY, "").await.status, 204, "{path}");
    }
}

#[tokio::test]
async fn settings_are_changed_and_attributes_in_use_stay_declared() {
    let api = Api::new().await;
    let read = api.call("GET", SETTINGS, &api.viewer, "").await;
    let settings = read.json();
    assert_eq!((&settings["attributes"], &settings["retention"]), (&json!({}), &json!("400d")));
    let mut more = settings.clone();
    more["attributes"] = json!({"points": "number"});
    more["quiet_hours"] = json!({"daily": ["21:00-08:00"], "closed": ["2026-12-25"]});
    assert_eq!(api.call("PUT", SETTINGS, &api.editor, &more.to_string()).await.status, 428);
    assert_eq!(api.call_with("PUT", SETTINGS, &api.viewer, &ANY, &more.to_string()).await.status, 403);
    let tag = [("if-match", read.header("etag").unwrap())];
    let put = api.call_with("PUT", SETTINGS, &api.editor, &tag, &more.to_string()).await;
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    assert_eq!(put.json()["quiet_hours"]["sunday"], json!(["21:00-08:00"]));
    assert_eq!(api.call_with("PUT", SETTINGS, &api.editor, &tag, &more.to_string()).await.status, 412);
    let errors: Vec<String> =
        validator("TriggerSettings").iter_errors(&put.json()).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let rule = json!({"id": "rich", "when": {"entered": "site"}, "if": "attributes.points > 10.0"});
    assert_eq!(make(&api, &rule).await.status, 201);
    let refused = api.call_with("PUT", SETTINGS, &api.editor, &ANY, &settings.to_string()).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (422, "invalid"));
    let body = String::from_utf8(refused.body).unwrap();
    assert!(body.contains("trigger \\\"rich\\\" cannot be used: its condition: "), "{body}");
    let wrong = api.call_with("PUT", SETTINGS, &api.editor, &ANY, "{\"caps\": [\"daily\"]}").await;
    assert_eq!(wrong.problem(), "invalid");
}

#[tokio::test]
async fn a_file_of_rules_is_imported_whole_and_carried_out_and_in() {
    let api = Api::new().await;
    let toml = [("content-type", "application/toml")];
    let path = "/api/v1/import/triggers";
    let file = "retention = \"90d\"\n\n[[trigger]]\nid = \"a\"\nwhen = { entered = \"wine\" }\n\n[[trigger]]\nid = \"b\"\nwhen = { exited = \"site\" }\n";
    let faulty = api.call_with("POST", path, &api.editor, &toml, &file.replace("wine", "wines")).await;
    assert_eq!(faults(&faulty), ["5: there is no zone \"wines\""]);
    assert_eq!(faulty.json()["errors"][0]["file"], "triggers.toml");
    let done = api.call_with("POST", path, &api.editor, &toml, file).await.json();
    assert_eq!(done["counts"], json!({"added": 2, "changed": 1, "removed": 0, "unchanged": 0}));
    assert_eq!(done["changed"], json!([{"kind": "trigger-settings", "id": "trigger-settings"}]));
    // A file without settings leaves them; one that takes the place of all does not.
    let fewer = "[[trigger]]\nid = \"a\"\nwhen = { entered = \"wine\" }\n";
    let same = api.call_with("POST", path, &api.editor, &toml, fewer).await.json();
    assert_eq!(same["counts"], json!({"added": 0, "changed": 0, "removed": 0, "unchanged": 1}));
    let exported = api.call("GET", "/api/v1/export", &api.viewer, "").await.json();
    let text = exported["files"]["triggers.toml"].as_str().unwrap();
    assert!(text.starts_with("retention = \"90d\"\n\n[[trigger]]\nid = \"a\"\n"), "{text}");
    let alone = api.call("GET", "/api/v1/export/triggers.toml", &api.viewer, "").await;
    assert_eq!(alone.header("content-type"), Some("application/toml"));
    assert_eq!(String::from_utf8(alone.body).unwrap(), text);
    let replaced = api.call_with("POST", &format!("{path}?replace=true"), &api.editor, &toml, fewer).await.json();
    assert_eq!(replaced["removed"], json!([{"kind": "trigger", "id": "b"}]));
    assert_eq!(api.call("GET", SETTINGS, &api.viewer, "").await.json()["retention"], "400d");
    // The pictures of the levels are not there.
    let site = exported["files"]["site.toml"].as_str().unwrap();
    let bare: Vec<&str> = site.lines().filter(|line| !line.starts_with("plan = ")).collect();
    let mut exported = exported.clone();
    exported["files"]["site.toml"] = json!(bare.join("\n"));
    let applied = api.call("POST", "/api/v1/apply", &api.editor, &exported.to_string()).await;
    assert_eq!(applied.status, 200, "{}", String::from_utf8_lossy(&applied.body));
    let again = api.call("GET", "/api/v1/export", &api.viewer, "").await.json();
    assert_eq!(again["files"]["triggers.toml"], exported["files"]["triggers.toml"]);
}
