//! The web UI: files within the program.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// One file of the UI.
#[derive(Debug)]
struct File {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File { name: $name, bytes: include_bytes!(concat!("ui/", $name)) }),*]
    };
}

/// Every file below `ui/`; a test finds those that are forgotten here.
const FILES: &[File] = files![
    "api.js",
    "conflict.js",
    "dialog.js",
    "dom.js",
    "forms.js",
    "i18n.js",
    "icon.svg",
    "index.html",
    "main.js",
    "map.css",
    "map/devices.js",
    "map/draft.js",
    "map/draw.js",
    "map/geometry.js",
    "map/layers.js",
    "map/measures.js",
    "map/scale.js",
    "map/snap.js",
    "map/spot.js",
    "map/toolbar.js",
    "map/viewport.js",
    "model.js",
    "notices.js",
    "removal.js",
    "shell.js",
    "stream.js",
    "style.css",
    "texts/en.json",
    "texts/fr.json",
    "views.css",
    "views/access.js",
    "views/beacon_health.js",
    "views/beacons.js",
    "views/devices.js",
    "views/event_words.js",
    "views/events.js",
    "views/health.js",
    "views/history.js",
    "views/list.js",
    "views/map.js",
    "views/nearby.js",
    "views/panels/beacon.js",
    "views/panels/device.js",
    "views/panels/level.js",
    "views/panels/overview.js",
    "views/panels/placed.js",
    "views/panels/plan.js",
    "views/panels/receiver.js",
    "views/panels/shape_table.js",
    "views/panels/zone.js",
    "views/panels/zone_form.js",
    "views/playback.js",
    "views/receivers.js",
    "views/setup.js",
    "views/signin.js",
    "views/site_form.js",
    "views/steps.js",
    "views/transfer.js",
    "views/trigger_form.js",
    "views/trigger_settings.js",
    "views/trigger_words.js",
    "views/triggers.js",
    "views/when_fields.js",
    "views/zones.js",
];

/// Answers with `/`, or with what is below `/ui/`.
pub fn file(path: &str, headers: &HeaderMap) -> Response {
    let name = if path == "/" { "index.html" } else { path.strip_prefix("/ui/").unwrap_or("") };
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::not_found("such page").into_response();
    };
    let etag = etag(file);
    let fresh = [(ETAG, etag.as_str()), (CACHE_CONTROL, "no-cache")];
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    (fresh, [(CONTENT_TYPE, media_type(file.name))], file.bytes).into_response()
}

fn etag(file: &File) -> String {
    format!("\"{}\"", &hex::encode(Sha256::digest(file.bytes))[..16])
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/vnd.microsoft.icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn below(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_ui_is_served_and_its_kind_is_known() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/ui");
        let mut found = Vec::new();
        below(&dir, &mut found);
        let mut found: Vec<String> =
            found.iter().map(|path| path.strip_prefix(&dir).unwrap().to_string_lossy().into_owned()).collect();
        found.sort();
        let mut listed: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        listed.sort_unstable();
        assert_eq!(listed, found);
        for name in listed {
            assert_ne!(media_type(name), "application/octet-stream", "{name}");
        }
    }
}
