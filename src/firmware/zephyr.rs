//! An application for Zephyr: configuration, overlay, header and a main that sends what the header says.

use std::fmt::Write as _;

use super::template::{Template, template};
use super::{FirmwareError, Rendered, Settings, Subject, escape, payload};

const CONFIGURATION: Template = template!("zephyr/prj.conf");
const HEADER: Template = template!("zephyr/src/beacon.h");
const FIXED: [Template; 3] =
    [template!("zephyr/CMakeLists.txt"), template!("zephyr/app.overlay"), template!("zephyr/src/main.c")];
const BYTES_A_LINE: usize = 16;

pub(super) fn render(subject: &Subject<'_>, settings: &Settings) -> Result<Vec<Rendered>, FirmwareError> {
    let id = subject.beacon.id.as_str();
    let identity = subject.beacon.identity.to_string();
    let parts = payload::parts(&subject.beacon.identity, subject.measured_power());
    let configuration = CONFIGURATION.fill(&[
        ("ID", id),
        ("IDENTITY", &identity),
        ("SUMMARY", &settings.summary(subject)),
        ("TX_POWER", &settings.tx_power.to_string()),
        ("TX_POWER_NAME", &power_name(settings.tx_power)),
    ])?;
    let elements: Vec<String> = parts
        .iter()
        .map(|part| format!("\tBT_DATA(0x{:02x}, beacon_{name}, sizeof(beacon_{name}))", part.kind, name = part.name))
        .collect();
    let arrays: Vec<String> = parts.iter().map(array).collect();
    let header = HEADER.fill(&[
        ("ID", id),
        ("IDENTITY", &escape::c_comment(&identity)),
        ("PLACE", &escape::c_comment(&subject.place())),
        ("SUMMARY", &escape::c_comment(&settings.summary(subject))),
        ("INTERVAL", &settings.interval.ms().to_string()),
        ("INTERVAL_UNITS", &settings.interval.units().to_string()),
        ("ARRAYS", &arrays.join("\n")),
        ("LENGTH", &payload::bytes(&parts).len().to_string()),
        ("ELEMENTS", &elements.join(", \\\n")),
    ])?;
    let mut files = vec![
        Rendered::new(format!("{id}/prj.conf"), configuration),
        Rendered::new(format!("{id}/src/beacon.h"), header),
    ];
    for template in FIXED {
        let name = template.file.trim_start_matches("firmware-config/zephyr/");
        files.push(Rendered::new(format!("{id}/{name}"), template.fill(&[])?));
    }
    Ok(files)
}

/// As Zephyr's Kconfig calls the steps: `PLUS_4`, `0`, `MINUS_8`.
fn power_name(dbm: i8) -> String {
    match dbm {
        0 => "0".to_owned(),
        1.. => format!("PLUS_{dbm}"),
        _ => format!("MINUS_{}", dbm.unsigned_abs()),
    }
}

fn array(part: &payload::Part) -> String {
    let mut out = format!("static const uint8_t beacon_{}[] = {{\n", part.name);
    for line in part.data.chunks(BYTES_A_LINE) {
        let bytes: Vec<String> = line.iter().map(|byte| format!("0x{byte:02x}")).collect();
        // Writing into a string cannot fail.
        let _ = writeln!(out, "\t{},", bytes.join(", "));
    }
    out.push_str("};");
    out
}
