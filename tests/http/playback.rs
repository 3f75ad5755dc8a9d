//! Looking back on what was recorded.

use std::io::Write as _;
use std::path::Path;

use beaconfence::http::{Services, router};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::watch;

use crate::api::Api;

const MINUTE: &str = "from=2026-01-01T10:00:00Z&to=2026-01-01T10:01:00Z";

/// An API that looks back on a recording: `shopper-01` stands in the bakery for half a minute, then is silent.
async fn recorded(dir: &Path) -> Api {
    let api = Api::new().await;
    let registry = api.services.registrar.view().registry;
    let at = registry.frame().to_geodetic(beaconfence::model::Point { x: 5.2, y: 6.3 });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for second in 0..30 {
        let (latitude, longitude) = (at.latitude, at.longitude);
        writeln!(
            gzip,
            r#"{{"time":"2026-01-01T10:00:{second:02}.000Z","device":"shopper-01","latitude":{latitude},"longitude":{longitude},"accuracy":0.5,"level":0}}"#
        )
        .unwrap();
    }
    std::fs::write(dir.join("2026-01-01T10.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    looking_back(api, dir)
}

/// The same API, with recordings to look back on.
pub fn looking_back(api: Api, dir: &Path) -> Api {
    let services: Services = api.services.clone().recorded(dir.to_owned());
    let (shutdown, stop) = watch::channel(false);
    let router = router(services.clone(), vec!["gateway.example".to_owned()], None, stop);
    Api { router, services, shutdown, ..api }
}

#[tokio::test]
async fn a_device_is_shown_where_it_was_second_by_second() {
    let dir = tempfile::tempdir().unwrap();
    let api = recorded(dir.path()).await;
    let answer = api.call("GET", &format!("/api/v1/playback?{MINUTE}"), &api.viewer, "").await.json();
    let frames = answer["frames"].as_array().unwrap();
    assert!(frames.len() >= 30, "{answer}");
    let (id, x) = (&frames[5]["devices"][0][0], frames[5]["devices"][0][2].as_f64().unwrap());
    assert!(id == "shopper-01" && (x - 5.2).abs() < 0.01, "{}", frames[5]);
    let nobody = api.call("GET", &format!("/api/v1/playback?{MINUTE}&device=shopper-02"), &api.viewer, "").await.json();
    assert_eq!(nobody["frames"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_heat_map_has_the_seconds_of_a_stay_in_its_cell() {
    let dir = tempfile::tempdir().unwrap();
    let api = recorded(dir.path()).await;
    let answer = api.call("GET", &format!("/api/v1/heatmap?{MINUTE}&level=0&cell=2"), &api.viewer, "").await.json();
    let number = |name: &str| answer[name].as_f64().unwrap();
    let seconds: Vec<f64> = answer["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    let cell = |x: f64, from: &str| ((x - number(from)) / number("cell")) as usize;
    let at = cell(6.3, "y0") * number("columns") as usize + cell(5.2, "x0");
    assert!((29.0..=35.0).contains(&seconds[at]), "{} in cell {at}", seconds[at]);
    assert!((seconds.iter().sum::<f64>() - seconds[at]).abs() < 1e-9);
    let upstairs = api.call("GET", &format!("/api/v1/heatmap?{MINUTE}&level=1"), &api.viewer, "").await.json();
    assert!(upstairs["seconds"].as_array().unwrap().iter().all(|s| s.as_f64() == Some(0.0)));
}

#[tokio::test]
async fn what_cannot_be_looked_back_on_says_why() {
    let plain = Api::new().await;
    let answer = plain.call("GET", &format!("/api/v1/playback?{MINUTE}"), &plain.viewer, "").await;
    assert_eq!(answer.problem(), "not-recording");
    let dir = tempfile::tempdir().unwrap();
    let api = recorded(dir.path()).await;
    for (query, words) in [
        ("from=2026-01-01T10:00:00Z&to=2026-01-01T10:00:00Z", "at most 24 hours"),
        ("from=2026-01-01T10:00:00Z&to=2026-01-03T10:00:00Z", "at most 24 hours"),
        ("from=yesterday&to=2026-01-01T10:00:00Z", "from is no instant"),
    ] {
        let answer = api.call("GET", &format!("/api/v1/playback?{query}"), &api.viewer, "").await;
        assert_eq!(answer.problem(), "invalid", "{query}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{query}: {}", answer.json());
    }
    let answer = api.call("GET", &format!("/api/v1/heatmap?{MINUTE}&level=0&cell=0"), &api.viewer, "").await;
    assert_eq!(answer.problem(), "invalid");
}
