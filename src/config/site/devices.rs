//! `devices.csv`: what is tracked.

use std::collections::HashMap;

use super::csv::{self, Row};
use super::labels;
use crate::config::diagnostic::FileReport;
use crate::config::text::{self, nearest, short};
use crate::model::DeviceId;
use crate::registry::{Consent, Device, DeviceKind, Labels};

/// A million devices take less.
const MAX_BYTES: u64 = 256 << 20;
/// Purposes that one device's person can agree to.
const MAX_PURPOSES: usize = 32;

const COLUMNS: [&str; 3] = ["id", "consent", "labels"];
const OPTIONAL: [&str; 1] = ["kind"];

/// What `devices.csv` holds.
#[derive(Debug, Default)]
pub(super) struct DevicesFile {
    pub(super) devices: Vec<Device>,
    /// The ids of all rows, faulty ones too; none where the file could not be read.
    pub(super) ids: Option<HashMap<String, usize>>,
}

impl DevicesFile {
    /// What no file holds: no device.
    pub(super) fn none() -> Self {
        Self { devices: Vec::new(), ids: Some(HashMap::new()) }
    }
}

pub(super) fn load(report: &FileReport) -> DevicesFile {
    let help = "a site without devices has a file with the header alone: id,consent,labels";
    let Some(text) = text::read(report, MAX_BYTES, help) else { return DevicesFile::default() };
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut devices = Vec::new();
    let mut has_ids = false;
    let readable = csv::read(report, &text, &COLUMNS, &OPTIONAL, |row| {
        has_ids |= row.has("id");
        devices.extend(device(row, &mut lines));
    });
    // A file of a header alone has ids too: none.
    let ids = (readable && (has_ids || !report.has_errors())).then_some(lines);
    DevicesFile { devices, ids }
}

pub(super) fn device(row: &Row<'_>, lines: &mut HashMap<String, usize>) -> Option<Device> {
    let first = lines.get(row.get("id")).copied();
    if first.is_none() {
        lines.insert(row.get("id").to_owned(), row.line);
    }
    if !row.is_sound || !row.has("id") {
        return None;
    }
    let text = row.get("id");
    let record = format!("device \"{}\"", short(text));
    let id = DeviceId::new(text).map_err(|error| drop(row.fault(&record, error.to_string()))).ok();
    if let (Some(first), Some(_)) = (first, &id) {
        row.fault(&record, format!("the id is taken by the device on line {first}")).help("give each device its own");
    }
    let kind = kind(row, &record);
    let consent = consent(row, &record);
    let labels = labels_of(row, &record);
    Some(Device { id: id?, kind: kind?, consent, labels })
}

fn kind(row: &Row<'_>, record: &str) -> Option<DeviceKind> {
    const KINDS: [DeviceKind; 3] = [DeviceKind::Customer, DeviceKind::Staff, DeviceKind::Asset];
    let text = row.get("kind");
    if text.is_empty() {
        return Some(DeviceKind::default());
    }
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == text);
    if kind.is_none() {
        let help = nearest(text, &KINDS.map(DeviceKind::as_str));
        row.fault(record, format!("kind \"{}\" is unknown", short(text))).help(help);
    }
    kind
}

fn consent(row: &Row<'_>, record: &str) -> Consent {
    let mut purposes = Vec::new();
    for purpose in row.get("consent").split(';').map(str::trim).filter(|purpose| !purpose.is_empty()) {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        // A purpose, or one by one channel only: marketing:push.
        let mut words = purpose.splitn(2, ':');
        if purpose.len() > 64 || !words.all(|word| !word.is_empty() && word.chars().all(good)) {
            row.fault(record, format!("consent \"{}\" is no purpose", short(purpose))).help(
                "write words of letters, digits, '.', '_' or '-', separated by ';', such as presence;marketing, or marketing:push for one \
                 channel only",
            );
        } else if purposes.len() == MAX_PURPOSES {
            row.fault(record, format!("there are more than {MAX_PURPOSES} purposes in consent"));
            break;
        } else {
            purposes.push(purpose.to_owned());
        }
    }
    purposes.sort_unstable();
    purposes.dedup();
    if let Some(slip) = purposes
        .iter()
        .find(|purpose| *purpose != Consent::PRESENCE && strsim::damerau_levenshtein(purpose, Consent::PRESENCE) <= 2)
    {
        row.warning(record, format!("consent \"{slip}\" is not \"presence\", without which a customer is not tracked"));
    }
    Consent(purposes)
}

fn labels_of(row: &Row<'_>, record: &str) -> Labels {
    labels::from_text(row.get("labels"), |fault| drop(row.fault(record, fault)))
}
