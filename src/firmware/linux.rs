//! A computer with Linux and BlueZ: a script around `btmgmt`, and a service that runs it.

use super::template::{Template, template};
use super::{FirmwareError, Rendered, Settings, Subject, escape, payload};

const SCRIPT: Template = template!("linux/beaconfence-beacon");
const SERVICE: Template = template!("linux/beaconfence-beacon.service");

pub(super) fn render(subject: &Subject<'_>, settings: &Settings) -> Result<Vec<Rendered>, FirmwareError> {
    let id = subject.beacon.id.as_str();
    let data = payload::bytes(&payload::parts(&subject.beacon.identity, subject.measured_power()));
    let script = SCRIPT.fill(&[
        ("ID", id),
        ("IDENTITY", &subject.beacon.identity.to_string()),
        ("PLACE", &escape::line(&subject.place())),
        ("SUMMARY", &settings.summary(subject)),
        ("LENGTH", &data.len().to_string()),
        ("DATA", &hex::encode(&data)),
        ("INTERVAL", &settings.interval.ms().to_string()),
        ("INTERVAL_UNITS", &settings.interval.units().to_string()),
        ("TX_POWER", &settings.tx_power.to_string()),
    ])?;
    // Ids hold nothing that a unit would read.
    let service = SERVICE.fill(&[("ID", id)])?;
    let script = Rendered { is_program: true, ..Rendered::new(format!("{id}/beaconfence-beacon"), script) };
    Ok(vec![script, Rendered::new(format!("{id}/beaconfence-beacon.service"), service)])
}
