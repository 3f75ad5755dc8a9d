//! Attributes of SVG: which pass, and with what values.

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::BytesStart;

use super::css::{self, is_name, is_plain};
use super::svg::{clip, error};
use super::{PlanImage, PlanImageError};
use crate::registry::PlanFormat;

/// Attributes of an element.
const MAX_ATTRIBUTES: usize = 200;
/// Attributes that pass beside the properties of [`css::PROPERTIES`], if their value is plain.
const ATTRIBUTES: &[&str] = &[
    "aria-label",
    "aria-labelledby",
    "class",
    "clipPathUnits",
    "cx",
    "cy",
    "d",
    "dx",
    "dy",
    "fx",
    "fy",
    "gradientTransform",
    "gradientUnits",
    "height",
    "id",
    "lengthAdjust",
    "markerHeight",
    "markerUnits",
    "markerWidth",
    "maskContentUnits",
    "maskUnits",
    "offset",
    "orient",
    "pathLength",
    "patternContentUnits",
    "patternTransform",
    "patternUnits",
    "points",
    "preserveAspectRatio",
    "r",
    "refX",
    "refY",
    "role",
    "rotate",
    "rx",
    "ry",
    "spreadMethod",
    "startOffset",
    "textLength",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// The attributes with their values; no name twice.
pub(super) fn attributes(start: &BytesStart<'_>) -> Result<Vec<(String, String)>, PlanImageError> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut attributes = start.attributes();
    // The check compares each with each before there is a limit; that is done here.
    for attribute in attributes.with_checks(false) {
        let attribute = attribute.map_err(|fault| error(fault.to_string()))?;
        if found.len() == MAX_ATTRIBUTES {
            return Err(error(format!("an element has more than {MAX_ATTRIBUTES} attributes")));
        }
        let key: &str = attribute.key.as_ref();
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|fault| error(fault.to_string()))?;
        if found.iter().any(|(known, _)| known == key) {
            return Err(error(format!("the attribute \"{}\" is there twice", clip(key))));
        }
        found.push((key.to_owned(), value.into_owned()));
    }
    Ok(found)
}

/// The value as it may pass; none where the attribute is left out.
pub(super) fn passing(element: &str, key: &str, value: &str, references: bool) -> Option<String> {
    match key {
        "id" => is_name(value).then(|| value.to_owned()),
        "href" | "xlink:href" => reference(element, value),
        "style" => Some(css::declarations(value, references)).filter(|kept| !kept.is_empty()),
        "xml:space" => matches!(value, "preserve" | "default").then(|| value.to_owned()),
        // Words for people may hold anything.
        "aria-label" => Some(value.to_owned()),
        _ if ATTRIBUTES.contains(&key) || css::PROPERTIES.contains(&key) => {
            is_plain(value, references).then(|| value.to_owned())
        }
        _ => None,
    }
}

/// Where a reference may lead: within the picture, or to a picture that it carries.
fn reference(element: &str, value: &str) -> Option<String> {
    let value = value.trim();
    match element {
        "use" | "linearGradient" | "radialGradient" | "textPath" => {
            value.strip_prefix('#').filter(|name| is_name(name)).map(|_| value.to_owned())
        }
        "image" => {
            let data = ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/jpg;base64,"]
                .iter()
                .find_map(|start| value.strip_prefix(start))?;
            // A picture in the picture is looked at as one that stands alone.
            let picture = PlanImage::read(base64(data)?).ok()?;
            (picture.format != PlanFormat::Svg).then(|| value.to_owned())
        }
        _ => None,
    }
}

/// Base64 with or without spaces and padding (RFC 4648, 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !matches!(byte, b' ' | b'=')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

pub(super) fn attribute(out: &mut String, key: &str, value: &str) {
    out.push(' ');
    out.push_str(key);
    out.push_str("=\"");
    out.push_str(&escape(printable(value)));
    out.push('"');
}

/// Without the characters that XML cannot hold (XML 1.0, 2.2).
pub(super) fn printable(text: &str) -> String {
    let good = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().filter(|c| good(c) && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}
