//! The example store, within the program.

use crate::cli::site_files::SiteFiles;

/// The files of `deploy/examples/store`.
pub const STORE: SiteFiles<'static> = SiteFiles {
    site: ("site.toml", include_str!("../../../deploy/examples/store/site.toml")),
    zones: ("zones.geojson", include_str!("../../../deploy/examples/store/zones.geojson")),
    beacons: ("beacons.csv", include_str!("../../../deploy/examples/store/beacons.csv")),
    devices: ("devices.csv", include_str!("../../../deploy/examples/store/devices.csv")),
};
