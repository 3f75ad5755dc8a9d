//! ESPHome's `esp32_ble_beacon`, which sends iBeacons.

use sha2::{Digest as _, Sha256};

use super::template::{Template, template};
use super::{FirmwareError, Rendered, Settings, Subject, Target, escape};
use crate::registry::Identity;

const YAML: Template = template!("esphome/beacon.yaml");
/// Longest name of a node (ESPHome, *Core configuration*, `name`).
const MOST_NAME: usize = 31;

pub(super) fn render(subject: &Subject<'_>, settings: &Settings) -> Result<Rendered, FirmwareError> {
    let id = subject.beacon.id.as_str();
    let Identity::IBeacon { uuid, major, minor } = subject.beacon.identity else {
        return Err(subject.cannot_be_sent_by(Target::Esphome));
    };
    let measured = subject.measured_power();
    if measured > 0 {
        return Err(FirmwareError::MeasuredPower { beacon: id.to_owned(), target: Target::Esphome.as_str(), measured });
    }
    let file = format!("{id}.yaml");
    let text = YAML.fill(&[
        ("ID", id),
        ("IDENTITY", &subject.beacon.identity.to_string()),
        ("PLACE", &escape::line(&subject.place())),
        ("SUMMARY", &settings.summary(subject)),
        ("FILE", &file),
        ("HOSTNAME", &host_name(id)),
        ("UUID", &uuid::Uuid::from_bytes(uuid).to_string()),
        ("MAJOR", &major.to_string()),
        ("MINOR", &minor.to_string()),
        ("INTERVAL", &settings.interval.ms().to_string()),
        ("MEASURED_POWER", &measured.to_string()),
        ("TX_POWER", &settings.tx_power.to_string()),
    ])?;
    Ok(Rendered::new(file, text))
}

/// A name that ESPHome takes: small letters, digits and hyphens, at most 31. Where the id is another text, a part of
/// its hash keeps names apart.
fn host_name(id: &str) -> String {
    const HASH_DIGITS: usize = 6;
    let plain: String = id.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    if plain == id && plain.len() <= MOST_NAME && !plain.ends_with('-') {
        return plain;
    }
    let hash = hex::encode(Sha256::digest(id));
    let most = MOST_NAME - HASH_DIGITS - 1;
    // Ids are ASCII.
    let begin = plain[..plain.len().min(most)].trim_matches('-');
    format!("{begin}-{}", &hash[..HASH_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_esphome_takes_and_different() {
        assert_eq!(host_name("shelf-a"), "shelf-a");
        let ids = ["Shelf.A", "shelf_a", "shelf-a-", "a", &"x".repeat(64), &format!("{}y", "x".repeat(63)), "9.."];
        let names: std::collections::BTreeSet<String> = ids.iter().map(|id| host_name(id)).collect();
        assert_eq!(names.len(), ids.len());
        for name in &names {
            assert!(name.len() <= MOST_NAME && !name.starts_with('-') && !name.ends_with('-'), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        }
    }
}
