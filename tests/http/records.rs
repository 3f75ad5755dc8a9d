//! Records: made, read, replaced, removed; lists and history.

use serde_json::{Value, json};

use crate::api::Api;
use crate::document::validator;

#[tokio::test]
async fn every_record_is_what_the_document_says() {
    let api = Api::new().await;
    for (path, schema) in
        [("beacons", "BeaconList"), ("devices", "DeviceList"), ("receivers", "ReceiverList"), ("zones", "ZoneList")]
    {
        let list = api.call("GET", &format!("/api/v1/{path}?limit=1000"), &api.viewer, "").await.json();
        let errors: Vec<String> = validator(schema).iter_errors(&list).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
        let items = list.get("items").or(list.get("features")).unwrap().as_array().unwrap();
        assert_eq!(items.len() as u64, list["total"].as_u64().unwrap());
        let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert!(ids.is_sorted(), "{path}: {ids:?}");
        for id in ids {
            let one = api.call("GET", &format!("/api/v1/{path}/{id}"), &api.viewer, "").await;
            assert!(one.header("etag").is_some_and(|tag| tag.len() == 18), "{path}/{id}");
            assert!(items.contains(&one.json()));
        }
    }
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other() {
    let api = Api::new().await;
    let path = "/api/v1/receivers/ground-west";
    let read = api.call("GET", path, &api.editor, "").await;
    let tag = read.header("etag").unwrap().to_owned();
    let mut receiver = read.json();
    receiver["z"] = json!(2.75);
    let body = receiver.to_string();

    let blind = api.call("PUT", path, &api.editor, &body).await;
    assert_eq!((blind.status.as_u16(), blind.problem().as_str()), (428, "precondition-required"));
    let first = api.call_with("PUT", path, &api.editor, &[("if-match", &tag)], &body).await;
    assert_eq!((first.status.as_u16(), first.json()["z"].as_f64()), (200, Some(2.75)));
    assert_eq!(first.header("beaconfence-revision"), Some("2"));
    let second = api.call_with("PUT", path, &api.editor, &[("if-match", &tag)], &body).await;
    assert_eq!((second.status.as_u16(), second.problem().as_str()), (412, "changed"));
    assert_eq!(second.json()["etag"].as_str(), first.header("etag"));
    assert_eq!(api.call_with("DELETE", path, &api.editor, &[("if-match", &tag)], "").await.status, 412);
    assert_eq!(api.call("DELETE", path, &api.editor, "").await.status, 428);
    assert_eq!(api.call_with("DELETE", path, &api.editor, &[("if-match", "*")], "").await.status, 204);
    assert_eq!(api.call_with("DELETE", path, &api.editor, &[("if-match", "*")], "").await.status, 404);
    assert_eq!(api.call_with("PUT", path, &api.editor, &[("if-match", "*")], &body).await.status, 412);
}

#[tokio::test]
async fn a_put_makes_what_is_not_there_and_only_that_when_told_so() {
    let api = Api::new().await;
    let body = json!({"id": "new", "kind": "asset"}).to_string();
    let (path, none) = ("/api/v1/devices/new", [("if-none-match", "*")]);
    assert_eq!(api.call_with("PUT", path, &api.editor, &none, &body).await.status, 201);
    let again = api.call_with("PUT", path, &api.editor, &none, &body).await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (412, "changed"));
    let post = api.call("POST", "/api/v1/devices", &api.editor, &body).await;
    assert_eq!((post.status.as_u16(), post.problem().as_str()), (409, "exists"));
    let other = api.call("PUT", "/api/v1/devices/other", &api.editor, &body).await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (422, "invalid"));
}

#[tokio::test]
async fn what_is_made_says_where_it_is() {
    let api = Api::new().await;
    let body = json!({"id": "b-new", "identity": "mac:AA:BB:CC:DD:EE:FF", "x": 1.0, "y": 2.0, "level": 0}).to_string();
    let made = api.call("POST", "/api/v1/beacons", &api.editor, &body).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let location = made.header("location").unwrap();
    assert_eq!(location, "/api/v1/beacons/b-new");
    let read = api.call("GET", location, &api.viewer, "").await;
    assert_eq!((read.json(), read.header("etag")), (made.json(), made.header("etag")));
    // Another with the same identity cannot be.
    let body = json!({"id": "b-same", "identity": "mac:AA:BB:CC:DD:EE:FF"}).to_string();
    let same = api.call("POST", "/api/v1/beacons", &api.editor, &body).await;
    assert_eq!(same.problem(), "invalid");
    assert!(same.json()["errors"][0]["message"].as_str().unwrap().contains("b-new"));
}

#[tokio::test]
async fn a_zone_is_drawn_in_metres_and_read_back_so() {
    let api = Api::new().await;
    let shape = json!({"polygons": [[[[2.0, 2.0], [8.0, 2.0], [8.0, 6.0], [2.0, 6.0]]]]});
    let zone = json!({"type": "Feature", "properties": {"id": "drawn", "level": 0}, "shape_m": shape});
    let made = api.call("POST", "/api/v1/zones", &api.editor, &zone.to_string()).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let made = made.json();
    assert_eq!((&made["id"], &made["geometry"]["type"]), (&json!("drawn"), &json!("Polygon")));
    // Kept on Earth to 8 decimals, which is a millimetre.
    for (read, drawn) in corners(&made["shape_m"]).iter().zip(corners(&shape)) {
        assert!((read - drawn).abs() < 0.001, "{read} {drawn}");
    }
}

fn corners(shape: &Value) -> Vec<f64> {
    let ring = shape["polygons"][0][0].as_array().unwrap();
    assert_eq!(ring.len(), 4);
    ring.iter().flat_map(|corner| [corner[0].as_f64().unwrap(), corner[1].as_f64().unwrap()]).collect()
}

#[tokio::test]
async fn a_device_with_beacons_stays_unless_they_go_too() {
    let api = Api::new().await;
    let (path, any) = ("/api/v1/devices/shopper-01", [("if-match", "*")]);
    let used = api.call_with("DELETE", path, &api.editor, &any, "").await;
    assert_eq!((used.status.as_u16(), used.problem().as_str()), (409, "in-use"));
    assert!(used.json()["detail"].as_str().unwrap().contains("phone-01"));
    let with = format!("{path}?beacons=remove");
    assert_eq!(api.call_with("DELETE", &with, &api.editor, &any, "").await.status, 204);
    assert_eq!(api.call("GET", "/api/v1/beacons/phone-01", &api.viewer, "").await.status, 404);
    let wrong = api.call_with("DELETE", &format!("{path}?beacons=maybe"), &api.editor, &any, "").await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().as_str()), (400, "malformed"));
}

#[tokio::test]
async fn a_level_that_things_are_on_stays() {
    let api = Api::new().await;
    let used = api.call_with("DELETE", "/api/v1/levels/1", &api.editor, &[("if-match", "*")], "").await;
    assert_eq!((used.status.as_u16(), used.problem().as_str()), (409, "in-use"));
    let level = json!({"ordinal": 7, "name": "Roof", "elevation": 20.0}).to_string();
    assert_eq!(api.call("PUT", "/api/v1/levels/7", &api.editor, &level).await.status, 201);
    let levels = api.call("GET", "/api/v1/levels", &api.viewer, "").await.json();
    assert_eq!(levels["items"].as_array().unwrap().last().unwrap()["name"], "Roof");
    assert_eq!(api.call_with("DELETE", "/api/v1/levels/7", &api.editor, &[("if-match", "*")], "").await.status, 204);
}

#[tokio::test]
async fn the_site_keeps_its_id() {
    let api = Api::new().await;
    let read = api.call("GET", "/api/v1/site", &api.viewer, "").await;
    let tag = [("if-match", read.header("etag").unwrap())];
    let mut site = read.json();
    site["name"] = json!("Renamed");
    let renamed = api.call_with("PUT", "/api/v1/site", &api.editor, &tag, &site.to_string()).await;
    assert_eq!((renamed.status.as_u16(), &renamed.json()["name"]), (200, &json!("Renamed")));
    site["id"] = json!("other");
    let other = api.call_with("PUT", "/api/v1/site", &api.editor, &[("if-match", "*")], &site.to_string()).await;
    assert_eq!(other.problem(), "invalid");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_line() {
    let api = Api::new().await;
    let broken = api.call("POST", "/api/v1/devices", &api.editor, "{\"id\": ").await;
    assert_eq!((broken.status.as_u16(), broken.problem().as_str()), (400, "malformed"));
    let slip = api.call("POST", "/api/v1/devices", &api.editor, "{\n\"id\": \"a\",\n\"lables\": {}\n}").await;
    assert_eq!((slip.status.as_u16(), slip.problem().as_str()), (422, "invalid"));
    let fault = slip.json()["errors"][0].clone();
    assert_eq!(fault["line"], 3);
    assert!(format!("{fault}").contains("labels"), "{fault}");
    let kind = [("content-type", "text/plain")];
    let text = api.call_with("POST", "/api/v1/devices", &api.editor, &kind, "{}").await;
    assert_eq!((text.status.as_u16(), text.problem().as_str()), (415, "unsupported-media-type"));
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(api.call_with("POST", "/api/v1/devices", &api.editor, &packed, "{}").await.status, 415);
    let huge = format!("{{\"id\": \"{}\"}}", "a".repeat(2 << 20));
    let huge = api.call("POST", "/api/v1/devices", &api.editor, &huge).await;
    assert_eq!((huge.status.as_u16(), huge.problem().as_str()), (413, "too-large"));
    for query in ["limit=0", "limit=x", "limt=5", "limit=1&limit=2", "cursor=zz", "level=x"] {
        let answer = api.call("GET", &format!("/api/v1/zones?{query}"), &api.viewer, "").await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (400, "malformed"), "{query}");
    }
    let slip = api.call("GET", "/api/v1/zones?limt=5", &api.viewer, "").await.json();
    assert!(slip["detail"].as_str().unwrap().contains("did you mean \"limit\"?"));
}

#[tokio::test]
async fn lists_are_read_a_page_at_a_time_and_searched() {
    let api = Api::new().await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/beacons?limit=3".to_owned();
    loop {
        let page = api.call("GET", &path, &api.viewer, "").await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else {
            assert_eq!(page["total"].as_u64(), Some(seen.len() as u64));
            break;
        };
        path = format!("/api/v1/beacons?limit=3&cursor={next}");
    }
    assert!(seen.is_sorted() && seen.len() > 3);
    let found = api.call("GET", "/api/v1/beacons?q=SHOPPER-02", &api.viewer, "").await.json();
    assert_eq!((found["total"].as_u64(), &found["items"][0]["id"]), (Some(1), &json!("phone-02")));
    let upper = api.call("GET", "/api/v1/receivers?level=1", &api.viewer, "").await.json();
    assert!(upper["items"].as_array().unwrap().iter().all(|receiver| receiver["level"] == 1));
    assert!(upper["total"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn changes_are_remembered_and_taken_back() {
    let api = Api::new().await;
    let body = json!({"id": "oops", "kind": "asset"}).to_string();
    let made = api.call("POST", "/api/v1/devices", &api.editor, &body).await;
    assert_eq!(made.header("beaconfence-revision"), Some("2"));
    let history = api.call("GET", "/api/v1/history?limit=1", &api.viewer, "").await.json();
    let change = &history["items"][0];
    assert_eq!((&change["revision"], &change["by"], &change["action"]), (&json!(2), &json!("editor"), &json!("edit")));
    let whole = api.call("GET", "/api/v1/history/2", &api.viewer, "").await.json();
    assert_eq!(whole["items"][0]["after"]["id"], "oops");
    let undone = api.call("POST", "/api/v1/history/2/undo", &api.editor, "").await;
    assert_eq!((undone.status.as_u16(), &undone.json()["undoes"]), (200, &json!(2)));
    assert_eq!(api.call("GET", "/api/v1/devices/oops", &api.viewer, "").await.status, 404);
    // It was changed again since: by taking it back.
    let again = api.call("POST", "/api/v1/history/2/undo", &api.editor, "").await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (409, "changed-since"));
    assert_eq!(api.call("POST", "/api/v1/history/99/undo", &api.editor, "").await.status, 404);
    assert_eq!(api.call("GET", "/api/v1/history/x", &api.viewer, "").await.status, 404);
}
