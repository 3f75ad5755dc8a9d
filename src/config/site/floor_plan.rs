//! The `plan` of a level: a picture, and where it lies.

use std::collections::BTreeMap;

use super::site_file::SiteFile;
use super::{Plans, geometry};
use crate::config::diagnostic::FileReport;
use crate::config::plan_image::PlanImage;
use crate::config::text::{ReadError, short};
use crate::config::toml_file::Keys;
use crate::model::{LevelOrdinal, Point};
use crate::registry::{FloorPlan, PlanFormat};

/// The keys in `site.toml`.
pub(super) const KEYS: &[&str] = &["file", "x", "y", "metres_per_pixel", "bearing"];
/// The keys in JSON, where the picture is not at hand.
pub(super) const KEYS_WITH_FACTS: &[&str] =
    &["file", "media_type", "width", "height", "x", "y", "metres_per_pixel", "bearing"];

/// The format of a picture, its width and its height.
pub(super) type Facts = (PlanFormat, u32, u32);

/// Longest name of a file.
const MAX_NAME: usize = 100;
/// Bounds of the scale: from a microscope to a picture of which one pixel is a town.
const SCALES: (f64, f64) = (0.000_01, 1_000.0);
/// Most pixels along one side.
const MAX_SIDE: i64 = 1_000_000;

/// A floor plan as a file names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlanEntry {
    pub(super) file: Option<String>,
    /// Where they are given: all or none.
    pub(super) facts: Option<Facts>,
    corner: Point,
    metres_per_pixel: f64,
    bearing: f64,
    /// Where the file is named.
    pub(super) line: usize,
}

impl PlanEntry {
    pub(super) fn with(self, file: String, (media_type, width, height): Facts) -> FloorPlan {
        let Self { corner, metres_per_pixel, bearing, .. } = self;
        FloorPlan { file, media_type, width, height, corner, metres_per_pixel, bearing }
    }
}

/// Reads the pictures that the levels name, and gives the levels their plans; what is wrong is reported where they are named.
pub(super) fn read_pictures(
    report: &FileReport,
    site: &mut SiteFile,
    read: impl Fn(&str) -> Result<Vec<u8>, ReadError>,
) -> Plans {
    let mut plans = Plans::new();
    let mut taken: BTreeMap<String, LevelOrdinal> = BTreeMap::new();
    for (ordinal, entry) in std::mem::take(&mut site.floor_plans) {
        let Some(file) = entry.file.clone() else { continue };
        let fault = |message: String| report.error(message).at(entry.line).of(format!("level {ordinal}, plan"));
        if let Some(other) = taken.insert(file.clone(), ordinal) {
            fault(format!("the file \"{file}\" is the plan of level {other}")).help("give each plan a file of its own");
            continue;
        }
        let image = match read(&file) {
            Ok(bytes) => PlanImage::read(bytes).map_err(|error| drop(fault(format!("\"{file}\": {error}")))),
            Err(ReadError::Missing) => {
                fault(format!("the file \"{file}\" is missing"))
                    .help("put the picture beside site.toml, or remove the plan");
                continue;
            }
            Err(error) => {
                fault(format!("\"{file}\": {error}"));
                continue;
            }
        };
        let Ok(image) = image else { continue };
        let facts = (image.format, image.width, image.height);
        let levels = site.site.iter_mut().flat_map(|site| &mut site.levels);
        if let Some(level) = levels.into_iter().find(|level| level.ordinal == ordinal) {
            level.plan = Some(entry.with(file, facts));
            plans.insert(ordinal, image);
        }
    }
    plans
}

/// The plan of a level, where it has one without fault.
pub(super) fn entry(level: &Keys<'_, '_>, known: &'static [&'static str]) -> Option<PlanEntry> {
    let plan = level.table_named("plan", format!("{}, plan", level.record().unwrap_or("level")), known)?;
    let with_facts = known.contains(&"media_type");
    if !with_facts && !plan.has("file") {
        plan.missing("file", "write plan = { file = \"floor-0.svg\", x = 0.0, y = 25.0, metres_per_pixel = 0.05 }");
    }
    let file = if plan.has("file") { Some(plan.parsed("file", file_name)?) } else { None };
    for (key, help) in [
        ("x", "write where the top-left corner of the picture lies, in metres"),
        ("y", "write where the top-left corner of the picture lies, in metres"),
        ("metres_per_pixel", "write how many metres a pixel of the picture is"),
    ] {
        if !plan.has(key) {
            plan.missing(key, help);
        }
    }
    let most = geometry::MAX_DISTANCE;
    let (x, y) = (plan.number_in("x", -most, most, " m"), plan.number_in("y", -most, most, " m"));
    let metres_per_pixel = plan.number_in("metres_per_pixel", SCALES.0, SCALES.1, " m");
    let bearing = if plan.has("bearing") { plan.number_in("bearing", -360.0, 360.0, " degrees") } else { Some(0.0) };
    let facts = if with_facts { facts(&plan)? } else { None };
    let corner = Point { x: geometry::millimetres(x?), y: geometry::millimetres(y?) };
    Some(PlanEntry {
        file,
        facts,
        corner,
        metres_per_pixel: metres_per_pixel?,
        bearing: bearing?,
        line: plan.line_of("file"),
    })
}

/// What the picture is, where that is given; none where it is faulty.
#[allow(clippy::option_option, reason = "a picture that is not described is no fault")]
fn facts(plan: &Keys<'_, '_>) -> Option<Option<Facts>> {
    let keys = ["media_type", "width", "height"];
    if !keys.iter().any(|key| plan.has(key)) {
        return Some(None);
    }
    for key in keys {
        if !plan.has(key) {
            plan.missing(key, "say media_type, width and height of the picture, or none of them");
        }
    }
    let side = |key: &str| {
        let pixels = plan.integer(key)?;
        if (1..=MAX_SIDE).contains(&pixels) {
            return u32::try_from(pixels).ok();
        }
        plan.fault_at(key, format!("\"{key}\" is {pixels}; it must lie between 1 and {MAX_SIDE} pixels"), None);
        None
    };
    let format = plan.parsed("media_type", |text| {
        PlanFormat::ALL
            .into_iter()
            .find(|format| format.media_type() == text)
            .ok_or_else(|| format!("\"{}\" is no picture; known are image/png, image/jpeg, image/svg+xml", short(text)))
    });
    let (width, height) = (side("width"), side("height"));
    Some(Some((format?, width?, height?)))
}

/// A name that is no path: letters, digits, `.`, `_` and `-`, not one of the site's own files.
pub(super) fn file_name(name: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_plain =
        name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good);
    if !is_plain {
        return Err(format!(
            "\"{}\" is no name of a file in the site directory; write letters A-Z, a-z, digits, '.', '_' and '-', such as floor-0.svg",
            short(name)
        ));
    }
    let lower = name.to_ascii_lowercase();
    if [".png", ".jpg", ".jpeg", ".svg"].iter().any(|ending| lower.ends_with(ending)) {
        return Ok(name.to_owned());
    }
    Err(format!("\"{name}\" is no picture by its name; its end must be .png, .jpg, .jpeg or .svg"))
}
