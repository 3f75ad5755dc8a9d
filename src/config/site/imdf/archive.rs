//! The files of an archive: bounded in number and size, whatever it says of itself.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;

use super::features::TYPES;
use crate::config::diagnostic::{Diagnostic, Faults};
use crate::config::text::short;

/// The largest archive. Maps of airports take some megabytes.
const MAX_ARCHIVE: usize = 64 << 20;
/// The most entries of an archive; a map has 17.
const MAX_ENTRIES: usize = 1_000;
/// The most bytes that one file may unpack to.
const MAX_FILE: u64 = 64 << 20;
/// The most bytes of all files.
const MAX_TOTAL: u64 = 128 << 20;
/// So many files that are no part of IMDF are named.
const MAX_NAMED: usize = 5;

const MANIFEST: &str = "manifest.json";

/// What is in an archive.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) manifest: String,
    /// By type of feature.
    pub(super) texts: BTreeMap<&'static str, String>,
    pub(super) warnings: Vec<Diagnostic>,
}

fn fault(message: impl Into<String>, help: &str) -> Faults {
    Diagnostic::error(Path::new(""), message).help(help).into()
}

pub(super) fn unpack(bytes: &[u8]) -> Result<Archive, Faults> {
    let again = "send the ZIP archive of an IMDF map";
    if bytes.len() > MAX_ARCHIVE {
        return Err(fault(format!("the archive is larger than {} MiB", MAX_ARCHIVE >> 20), again));
    }
    // What says that it has more than 65535 entries is not even listed.
    let tail = &bytes[bytes.len().saturating_sub(70_000)..];
    if memchr::memmem::find(tail, b"PK\x06\x07").is_some() {
        return Err(fault("the archive is a ZIP64, for more than 4 GiB", again));
    }
    let mut zip = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| fault(format!("this is no ZIP archive: {error}"), again))?;
    if zip.len() > MAX_ENTRIES {
        return Err(fault(format!("the archive has {} entries, more than {MAX_ENTRIES}", zip.len()), again));
    }
    let mut names: Vec<(usize, String)> = Vec::new();
    for at in 0..zip.len() {
        let entry = zip.by_index_raw(at).map_err(|error| fault(format!("an entry cannot be read: {error}"), again))?;
        if entry.is_file() {
            names.push((at, String::from_utf8_lossy(entry.name_raw()).into_owned()));
        }
    }
    // Some archivers put all into a folder; nothing is ever written, so a name can lead nowhere.
    let is_manifest = |name: &str| name == MANIFEST || name.ends_with(&format!("/{MANIFEST}"));
    let manifest = names.iter().map(|(_, name)| name.as_str()).filter(|name| is_manifest(name) && !is_noise(name));
    let Some(manifest) = manifest.min_by_key(|name| name.len()) else {
        return Err(fault("the archive has no manifest.json, so it is no IMDF map", "export the map as IMDF 1.0.0"));
    };
    let folder = manifest.strip_suffix(MANIFEST).unwrap_or_default().to_owned();
    let mut left = MAX_TOTAL;
    let mut read = |at: usize, name: &str| -> Result<String, Faults> {
        let file = Path::new(name);
        let error = |message: String| Faults::from(Diagnostic::error(file, message).help("export the map again"));
        let entry = zip.by_index(at).map_err(|fault| error(format!("it cannot be unpacked: {fault}")))?;
        let limit = MAX_FILE.min(left);
        let mut text = Vec::new();
        entry
            .take(limit + 1)
            .read_to_end(&mut text)
            .map_err(|fault| error(format!("it cannot be unpacked: {fault}")))?;
        if text.len() as u64 > limit {
            return Err(error(format!("it unpacks to more than {} MiB", limit >> 20)));
        }
        left -= text.len() as u64;
        let text = String::from_utf8(text).map_err(|_| error("it is not UTF-8".to_owned()))?;
        Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
    };
    let mut archive = Archive { manifest: String::new(), texts: BTreeMap::new(), warnings: Vec::new() };
    let mut others = Vec::new();
    let mut has_manifest = false;
    for (at, path) in &names {
        let Some(name) = path.strip_prefix(folder.as_str()) else {
            others.extend((!is_noise(path)).then(|| path.clone()));
            continue;
        };
        let kind = name.strip_suffix(".geojson").and_then(|stem| TYPES.iter().find(|kind| **kind == stem));
        let is_twice = match kind {
            Some(kind) => archive.texts.insert(kind, read(*at, name)?).is_some(),
            None if name == MANIFEST => {
                archive.manifest = read(*at, name)?;
                std::mem::replace(&mut has_manifest, true)
            }
            None => {
                others.extend((!is_noise(path)).then(|| path.clone()));
                false
            }
        };
        if is_twice {
            return Err(fault(format!("the archive has two files \"{name}\""), "export the map again"));
        }
    }
    if !others.is_empty() {
        let named: Vec<String> = others.iter().take(MAX_NAMED).map(|name| format!("\"{}\"", short(name))).collect();
        let more = if others.len() > MAX_NAMED { ", …" } else { "" };
        let message =
            format!("{} files are no part of IMDF 1.0.0, and are ignored: {}{more}", others.len(), named.join(", "));
        archive.warnings.push(Diagnostic::warning(Path::new(""), message));
    }
    Ok(archive)
}

/// What systems add of their own.
fn is_noise(name: &str) -> bool {
    name.starts_with("__MACOSX/") || name.rsplit('/').next().is_some_and(|last| last.starts_with('.'))
}
