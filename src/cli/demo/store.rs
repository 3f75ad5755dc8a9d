//! The example store, within the program.

use crate::config::BundledSite;

/// The files of `deploy/examples/store`.
pub const STORE: BundledSite = BundledSite {
    site: include_str!("../../../deploy/examples/store/site.toml"),
    zones: include_str!("../../../deploy/examples/store/zones.geojson"),
    beacons: include_str!("../../../deploy/examples/store/beacons.csv"),
    triggers: include_str!("../../../deploy/examples/store/triggers.toml"),
    devices: include_str!("../../../deploy/examples/store/devices.csv"),
    plans: &[
        ("floor-0.svg", include_bytes!("../../../deploy/examples/store/floor-0.svg")),
        ("floor-1.svg", include_bytes!("../../../deploy/examples/store/floor-1.svg")),
    ],
};
