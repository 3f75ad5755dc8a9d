//! What is allowed but unwise in a site.

use std::path::Path;

use super::diagnostic::Diagnostic;
use super::site::geometry;
use crate::geofence::vanishes;
use crate::model::{LevelOrdinal, Metres, Point};
use crate::registry::{DeviceKind, Level, Receiver, Registry, Ring, Shape, Zone, edges};

/// Standard deviation of a position along each axis, as a share of the receivers' spacing. Between what two public
/// measurements gave without a survey: 0.27 (12 receivers, 364 m²) and 0.37 (6 receivers, 64 m²).
const ACCURACY_PER_SPACING: f64 = 0.3;
/// However many receivers there are, fading and bodies leave this much, in metres.
const BEST_ACCURACY: Metres = 1.2;
/// Fewer receivers than this on a level give no position, only nearness.
const FEWEST_RECEIVERS: usize = 3;
/// Receivers hang on walls, whose thickness no outline shows, in metres.
const OUTLINE_TOLERANCE: Metres = 1.0;
/// Most zones that are listed with the same advice.
const MOST_LISTED: usize = 20;

/// Warnings about a site that is without fault.
pub(crate) fn advise(registry: &Registry, dir: &Path) -> Vec<Diagnostic> {
    let mut advice = Vec::new();
    let site_file = dir.join("site.toml");
    if registry.receivers().is_empty() {
        advice.push(
            Diagnostic::warning(&site_file, "the site has no receiver")
                .help("write [[receiver]], unless positions come from elsewhere"),
        );
    }
    receivers(registry, &site_file, &mut advice);
    zones(registry, dir, &mut advice);
    vanishing(registry, &dir.join("zones.geojson"), &mut advice);
    let silent = registry.devices().iter().filter(|device| !device.may_be_tracked()).count();
    if silent > 0 {
        let (are, devices) = if silent == 1 { ("is", "device") } else { ("are", "devices") };
        advice.push(
            Diagnostic::warning(
                &dir.join("devices.csv"),
                format!("{silent} customer {devices} {are} not tracked, because the consent \"presence\" is not given"),
            )
            .help("write presence into the column consent once it is given"),
        );
    }
    advice
}

fn receivers(registry: &Registry, file: &Path, advice: &mut Vec<Diagnostic>) {
    for level in &registry.site().levels {
        let Some(outline) = &level.outline else { continue };
        for receiver in on_level(registry, level.ordinal) {
            if geometry::distance_outside(outline, receiver.point) > OUTLINE_TOLERANCE {
                advice.push(
                    Diagnostic::warning(file, format!("it lies outside the outline of level {}", level.ordinal))
                        .of(format!("receiver \"{}\"", receiver.id))
                        .help("check its x and y, and the outline"),
                );
            }
        }
    }
}

fn zones(registry: &Registry, dir: &Path, advice: &mut Vec<Diagnostic>) {
    let file = dir.join("zones.geojson");
    for level in &registry.site().levels {
        let count = on_level(registry, level.ordinal).count();
        let zones: Vec<&Zone> =
            registry.zones().iter().map(AsRef::as_ref).filter(|zone| zone.level == Some(level.ordinal)).collect();
        if zones.is_empty() || count == 0 {
            continue;
        }
        if count < FEWEST_RECEIVERS {
            advice.push(
                Diagnostic::warning(
                    &dir.join("site.toml"),
                    format!("level {} has zones but only {count} receivers", level.ordinal),
                )
                .help("a position needs at least 3 receivers on the level"),
            );
            continue;
        }
        let accuracy = expected_accuracy(registry, level, &zones, count);
        let small: Vec<&&Zone> = zones
            .iter()
            .filter(|zone| best_membership(zone, accuracy) < zone.presence.enter_probability.get())
            .collect();
        for zone in small.iter().take(MOST_LISTED) {
            advice.push(
                Diagnostic::warning(
                    &file,
                    format!(
                        "it is too small to be entered surely: about {:.0} m², where positions are good to about {accuracy:.1} m",
                        area(zone)
                    ),
                )
                .of(format!("zone \"{}\"", zone.id))
                .help("enlarge it, add receivers around it, or lower its enter_probability"),
            );
        }
        if small.len() > MOST_LISTED {
            let more = small.len() - MOST_LISTED;
            advice.push(Diagnostic::warning(
                &file,
                format!("{more} more zones of level {} are too small", level.ordinal),
            ));
        }
    }
}

/// Zones whose border is moved inwards until nothing is left, for kinds of which there are devices.
fn vanishing(registry: &Registry, file: &Path, advice: &mut Vec<Diagnostic>) {
    let kinds: Vec<DeviceKind> = DeviceKind::ALL
        .into_iter()
        .filter(|kind| registry.devices().iter().any(|device| device.kind == *kind))
        .collect();
    let mut count = 0;
    for zone in registry.zones() {
        let margin = |kind: DeviceKind| zone.presence.margin + registry.site().margins.of(kind);
        let lost: Vec<DeviceKind> = kinds.iter().copied().filter(|kind| vanishes(&zone.shape, margin(*kind))).collect();
        let Some(first) = lost.first() else { continue };
        count += 1;
        if count <= MOST_LISTED {
            let words: Vec<&str> = lost.iter().map(|kind| kind.as_str()).collect();
            let message = format!(
                "nothing is left of it for devices of kind {} when its border is moved inwards by {} m",
                words.join(", "),
                -margin(*first)
            );
            advice.push(
                Diagnostic::warning(file, message)
                    .of(format!("zone \"{}\"", zone.id))
                    .help("nobody can enter it: raise its margin_m, or that of the kind in site.toml"),
            );
        }
    }
    if count > MOST_LISTED {
        advice.push(Diagnostic::warning(file, format!("of {} more zones nothing is left either", count - MOST_LISTED)));
    }
}

/// Standard deviation to be expected on that level, in metres, without a survey.
fn expected_accuracy(registry: &Registry, level: &Level, zones: &[&Zone], receivers: usize) -> Metres {
    let floor = level.outline.as_deref().map_or_else(
        || {
            let mut corners: Vec<Point> = on_level(registry, level.ordinal).map(|receiver| receiver.point).collect();
            corners.extend(zones.iter().flat_map(|zone| corners_of(zone)));
            bounding_area(&corners)
        },
        geometry::area,
    );
    (ACCURACY_PER_SPACING * (floor / receivers as f64).sqrt()).max(BEST_ACCURACY)
}

/// The probability of being in the zone at its best place: that of a circle of the same area around the middle of a
/// round Gaussian, `1 - exp(-r²/2σ²)`. Long zones are worse.
fn best_membership(zone: &Zone, accuracy: Metres) -> f64 {
    1.0 - (-area(zone) / (std::f64::consts::TAU * accuracy * accuracy)).exp()
}

/// The area with the zone's own margin: exact for convex zones that grow (Steiner's formula), near it for others.
fn area(zone: &Zone) -> f64 {
    let margin = zone.presence.margin;
    let (area, border) = match &zone.shape {
        Shape::Site => return f64::INFINITY,
        Shape::Circle { radius, .. } => {
            return std::f64::consts::PI * (radius + margin).max(0.0).powi(2);
        }
        Shape::Polygons(parts) => parts
            .iter()
            .flat_map(|(outer, holes)| std::iter::once((outer, 1.0)).chain(holes.iter().map(|hole| (hole, -1.0))))
            .map(|(ring, sign)| (sign * geometry::area(ring), edges(ring).map(|(a, b)| a.distance(b)).sum::<f64>()))
            .fold((0.0, 0.0), |(area, border), (a, b)| (area + a, border + b)),
    };
    (area + border * margin + std::f64::consts::PI * margin.max(0.0).powi(2)).max(0.0)
}

fn corners_of(zone: &Zone) -> Ring {
    match &zone.shape {
        Shape::Site => Ring::new(),
        Shape::Circle { centre, radius } => {
            [-radius, *radius].into_iter().map(|step| Point { x: centre.x + step, y: centre.y + step }).collect()
        }
        Shape::Polygons(parts) => parts.iter().flat_map(|(outer, _)| outer.iter().copied()).collect(),
    }
}

fn bounding_area(points: &[Point]) -> f64 {
    let extent = |of: fn(&Point) -> f64| {
        let (least, most) = points.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        (most - least).max(0.0)
    };
    extent(|p| p.x) * extent(|p| p.y)
}

fn on_level(registry: &Registry, level: LevelOrdinal) -> impl Iterator<Item = &Receiver> {
    registry.receivers().iter().map(AsRef::as_ref).filter(move |receiver| receiver.level == level)
}
