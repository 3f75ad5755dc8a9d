//! Floor plans, import, apply and export.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::api::{Api, elsewhere};

/// A PNG of that size, as far as its header goes.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend_from_slice(&width.to_be_bytes());
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&[8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

async fn put_plan(api: &Api, level: &str, media_type: &str, bytes: Vec<u8>) -> crate::api::Answer {
    let request = Request::put(format!("/api/v1/levels/{level}/plan"))
        .header("host", "gateway.example")
        .header("authorization", format!("Bearer {}", api.editor))
        .header("content-type", media_type)
        .body(Body::from(bytes))
        .unwrap();
    api.send(elsewhere(), request).await
}

#[tokio::test]
async fn a_plan_covers_the_outline_and_stays_where_it_was_put() {
    let api = Api::new().await;
    let level = json!({"ordinal": 5, "outline": [[0.0, 0.0], [40.0, 0.0], [40.0, 25.0], [0.0, 25.0]]}).to_string();
    assert_eq!(api.call("PUT", "/api/v1/levels/5", &api.editor, &level).await.status, 201);
    let put = put_plan(&api, "5", "image/png", png(800, 500)).await;
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    let plan = put.json()["plan"].clone();
    assert_eq!((plan["x"].as_f64(), plan["y"].as_f64()), (Some(0.0), Some(25.0)));
    assert_eq!((plan["metres_per_pixel"].as_f64(), plan["width"].as_u64()), (Some(0.05), Some(800)));

    let path = "/api/v1/levels/5/plan/placement";
    let points =
        json!({"points": [{"px": [0, 0], "m": [1.0, 24.0]}, {"px": [800, 500], "m": [41.0, -1.0]}]}).to_string();
    assert_eq!(api.call("PUT", path, &api.editor, &points).await.status, 428);
    let tag = [("if-match", put.header("etag").unwrap())];
    let placed = api.call_with("PUT", path, &api.editor, &tag, &points).await;
    assert_eq!(placed.status, 200, "{}", String::from_utf8_lossy(&placed.body));
    let plan = placed.json()["plan"].clone();
    assert!((plan["x"].as_f64().unwrap() - 1.0).abs() < 0.002 && (plan["y"].as_f64().unwrap() - 24.0).abs() < 0.002);

    // Another picture of as many pixels lies where the one before lay.
    let again = put_plan(&api, "5", "image/png", [png(800, 500), vec![0]].concat()).await.json();
    assert_eq!((&again["plan"]["x"], &again["plan"]["bearing"]), (&plan["x"], &plan["bearing"]));

    let picture = api.call("GET", "/api/v1/levels/5/plan", &api.viewer, "").await;
    assert_eq!((picture.status.as_u16(), picture.header("content-type")), (200, Some("image/png")));
    assert!(picture.header("content-security-policy").unwrap().starts_with("sandbox;"));
    let same = [("if-none-match", picture.header("etag").unwrap())];
    assert_eq!(api.call_with("GET", "/api/v1/levels/5/plan", &api.viewer, &same, "").await.status, 304);
    assert_eq!(api.call("DELETE", "/api/v1/levels/5/plan", &api.editor, "").await.status, 204);
    assert_eq!(api.call("GET", "/api/v1/levels/5/plan", &api.viewer, "").await.status, 404);
    assert_eq!(api.call("DELETE", "/api/v1/levels/5/plan", &api.editor, "").await.status, 404);
}

#[tokio::test]
async fn a_plan_without_an_outline_is_twenty_metres_wide() {
    let api = Api::new().await;
    assert_eq!(api.call("PUT", "/api/v1/levels/5", &api.editor, r#"{"ordinal": 5}"#).await.status, 201);
    let plan = put_plan(&api, "5", "image/png", png(1_000, 500)).await.json()["plan"].clone();
    assert_eq!((plan["metres_per_pixel"].as_f64(), plan["y"].as_f64()), (Some(0.02), Some(10.0)));
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let api = Api::new().await;
    for (media_type, bytes, status) in [
        ("image/png", b"GIF89a".to_vec(), 422),
        ("image/png", png(20_000, 20_000), 422),
        ("image/gif", png(1, 1), 415),
        ("image/png", vec![0; 11 << 20], 413),
    ] {
        assert_eq!(put_plan(&api, "0", media_type, bytes).await.status, status, "{media_type}");
    }
    assert_eq!(put_plan(&api, "77", "image/png", png(10, 10)).await.status, 404);
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 25"><script>alert(1)</script><rect width="1" height="1"/></svg>"#;
    assert_eq!(put_plan(&api, "0", "image/svg+xml", svg.to_vec()).await.status, 200);
    let picture = api.call("GET", "/api/v1/levels/0/plan", &api.viewer, "").await;
    let text = String::from_utf8(picture.body).unwrap();
    assert!(text.contains("rect") && !text.contains("script"), "{text}");
}

#[tokio::test]
async fn a_file_is_planned_then_imported_whole() {
    let api = Api::new().await;
    let csv = [("content-type", "text/csv")];
    let text = "id,consent,labels,kind\nshopper-01,presence,,customer\nnew-1,,,asset\nnew-2,,,staff\n";
    let path = "/api/v1/import/devices";
    let plan = api.call_with("POST", &format!("{path}?dry_run=true"), &api.editor, &csv, text).await.json();
    assert_eq!((&plan["applied"], &plan["revision"]), (&json!(false), &json!(1)));
    assert_eq!(plan["counts"], json!({"added": 2, "changed": 1, "removed": 0, "unchanged": 0}));
    assert_eq!(plan["added"], json!([{"kind": "device", "id": "new-1"}, {"kind": "device", "id": "new-2"}]));
    assert_eq!(api.call("GET", "/api/v1/devices/new-1", &api.viewer, "").await.status, 404);
    let done = api.call_with("POST", path, &api.editor, &csv, text).await;
    assert_eq!((&done.json()["applied"], done.header("beaconfence-revision")), (&json!(true), Some("2")));
    assert_eq!(api.call("GET", "/api/v1/devices/new-1", &api.viewer, "").await.status, 200);
    let again = api.call_with("POST", path, &api.editor, &csv, text).await.json();
    assert_eq!((&again["counts"]["unchanged"], &again["revision"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn one_faulty_line_stops_an_import_and_every_fault_has_its_line() {
    let api = Api::new().await;
    let csv = [("content-type", "text/csv")];
    let lines: Vec<String> = (0..10_000).map(|n| format!("bulk-{n},,,asset\n")).collect();
    let text = format!("id,consent,labels,kind\n{}", lines.concat());
    let faulty = text.replace("bulk-41,,,asset", "bulk-41,,,ghost").replace("bulk-9999,,", "bulk 9999,,");
    let answer = api.call_with("POST", "/api/v1/import/devices", &api.editor, &csv, &faulty).await;
    assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "invalid"));
    let places: Vec<(Value, Value)> =
        answer.json()["errors"].as_array().unwrap().iter().map(|e| (e["file"].clone(), e["line"].clone())).collect();
    assert_eq!(places, [(json!("devices.csv"), json!(43)), (json!("devices.csv"), json!(10_001))]);
    assert_eq!(api.call("GET", "/api/v1/devices/bulk-1", &api.viewer, "").await.status, 404);
    let good = api.call_with("POST", "/api/v1/import/devices", &api.editor, &csv, &text).await.json();
    assert_eq!((&good["counts"]["added"], good["added"].as_array().unwrap().len()), (&json!(10_000), 1_000));
}

#[tokio::test]
async fn replacing_removes_what_the_file_does_not_name() {
    let api = Api::new().await;
    let before = api.call("GET", "/api/v1/zones", &api.viewer, "").await.json();
    let all = before["features"].as_array().unwrap();
    let kept: Vec<&Value> = all.iter().filter(|zone| zone["id"] != "site").take(1).collect();
    let text = json!({"type": "FeatureCollection", "features": kept}).to_string();
    let kind = [("content-type", "application/geo+json")];
    let path = "/api/v1/import/zones?replace=true";
    let done = api.call_with("POST", path, &api.editor, &kind, &text).await;
    assert_eq!(done.status, 200, "{}", String::from_utf8_lossy(&done.body));
    let after = api.call("GET", "/api/v1/zones", &api.viewer, "").await.json();
    let ids: Vec<&str> = after["features"].as_array().unwrap().iter().filter_map(|z| z["id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids.contains(&"site"));
}

#[tokio::test]
async fn what_is_exported_and_applied_is_the_same() {
    let api = Api::new().await;
    for level in ["0", "1"] {
        assert_eq!(put_plan(&api, level, "image/png", png(800, 500)).await.status, 200);
    }
    let exported = api.call("GET", "/api/v1/export", &api.viewer, "").await.json();
    let same = api.call("POST", "/api/v1/apply", &api.editor, &exported.to_string()).await;
    assert_eq!(same.status, 200, "{}", String::from_utf8_lossy(&same.body));
    let counts = same.json()["counts"].clone();
    assert_eq!(
        (&counts["added"], &counts["changed"], &counts["removed"]),
        (&json!(0), &json!(0), &json!(0)),
        "{counts}"
    );
    // Without its devices and beacons it is another.
    let mut fewer = exported.clone();
    fewer["files"].as_object_mut().unwrap().retain(|name, _| name != "devices.csv" && name != "beacons.csv");
    let plan = api.call("POST", "/api/v1/apply?dry_run=true", &api.editor, &fewer.to_string()).await.json();
    assert!(plan["counts"]["removed"].as_u64().unwrap() > 4);
    let done = api.call("POST", "/api/v1/apply", &api.editor, &fewer.to_string()).await;
    assert_eq!(done.json()["removed"], plan["removed"]);
    assert_eq!(api.call("POST", "/api/v1/apply", &api.editor, &exported.to_string()).await.status, 200);
    let again = api.call("GET", "/api/v1/export", &api.viewer, "").await.json();
    let sorted = |value: &Value, file: &str| {
        let mut lines: Vec<String> = value["files"][file].as_str().unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for file in ["beacons.csv", "devices.csv"] {
        assert_eq!(sorted(&again, file), sorted(&exported, file));
    }
    assert_eq!(again["plans"], exported["plans"]);
    let file = api.call("GET", "/api/v1/export/beacons.csv", &api.viewer, "").await;
    assert_eq!(String::from_utf8(file.body).unwrap(), again["files"]["beacons.csv"].as_str().unwrap());
    assert_eq!(api.call("GET", "/api/v1/export/secrets", &api.viewer, "").await.status, 404);
}

#[tokio::test]
async fn a_faulty_site_is_told_file_by_file() {
    let api = Api::new().await;
    let body = json!({"files": {"site.toml": "id = \"x\"\n", "zones.json": "{}"}}).to_string();
    let answer = api.call("POST", "/api/v1/apply", &api.editor, &body).await;
    assert_eq!(answer.problem(), "invalid");
    assert!(answer.json()["errors"].as_array().unwrap().iter().any(|error| error["file"] == "zones.json"));
    let body = json!({"files": {}, "plans": {"a.png": "???"}}).to_string();
    assert_eq!(api.call("POST", "/api/v1/apply", &api.editor, &body).await.problem(), "invalid");
}

#[tokio::test]
async fn a_zone_that_is_too_small_is_advised_on() {
    let api = Api::new().await;
    let shape = json!({"centre": [10.0, 10.0], "radius": 0.3});
    let zone = json!({"type": "Feature", "properties": {"id": "tiny", "level": 0}, "shape_m": shape}).to_string();
    assert_eq!(api.call("POST", "/api/v1/zones", &api.editor, &zone).await.status, 201);
    let advice = api.call("GET", "/api/v1/zones/tiny/advice", &api.viewer, "").await.json();
    assert_eq!(advice["items"][0]["record"], "zone \"tiny\"", "{advice}");
    assert_eq!(api.call("GET", "/api/v1/zones/none/advice", &api.viewer, "").await.status, 404);
}
