//! gateway.toml and the site directory, parsed into types that cannot be invalid.
//!
//! [`load_site`] and [`load_gateway`] read everything there is to read and report all faults at once: a [`Faults`] is an
//! error that displays as one line each, `FILE:LINE: error: MESSAGE; HELP`. [`check()`] looks further: at the files that
//! are named, at what one says about the other, and at what is allowed but unwise.

mod advice;
mod broker;
mod check;
mod diagnostic;
mod gateway;
mod gateway_file;
mod http_section;
mod plan_image;
mod site;
mod text;
mod toml_file;

pub(crate) use advice::advise;
pub use check::{Checked, check, check_to_run};
pub use diagnostic::{Diagnostic, Faults, Severity};
pub use gateway::{
    AdapterConfig, AdapterName, GatewayConfig, LogConfig, LogFormat, MqttConfig, MqttVersion, OutboxConfig,
    RecordConfig,
};
pub use gateway_file::load_gateway;
pub use http_section::HttpConfig;
pub use plan_image::{MAX_PLAN_BYTES, PlanImage, PlanImageError};
pub use site::{
    Account, Accounting, BundledSite, CALIBRATION, Imdf, Plans, Skipped, TRIGGERS, WalkPoint, WriteSiteError,
    calibration_text, etag, from_json, from_stored, load_bundled_site, load_bundled_site_with_plans, load_points,
    load_site, load_site_uncalibrated, load_site_with_plans, read_beacons_text, read_devices_text, read_imdf,
    read_site_texts, read_triggers_text, read_zones_text, record_from_stored, site_texts, to_json, unusable,
    write_site, zone_json_with_shape,
};
pub(crate) use text::nearest;
