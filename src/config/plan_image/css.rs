//! Style sheets and style attributes with nothing in them but looks.

/// The properties that only say how a shape or a text looks (SVG 2, 6.6, without those that name other resources).
pub(super) const PROPERTIES: &[&str] = &[
    "alignment-baseline",
    "baseline-shift",
    "clip-path",
    "clip-rule",
    "color",
    "color-interpolation",
    "direction",
    "display",
    "dominant-baseline",
    "fill",
    "fill-opacity",
    "fill-rule",
    "font",
    "font-family",
    "font-size",
    "font-size-adjust",
    "font-stretch",
    "font-style",
    "font-variant",
    "font-weight",
    "letter-spacing",
    "marker-end",
    "marker-mid",
    "marker-start",
    "mask",
    "mix-blend-mode",
    "opacity",
    "overflow",
    "paint-order",
    "shape-rendering",
    "stop-color",
    "stop-opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "text-decoration",
    "text-rendering",
    "transform",
    "transform-origin",
    "unicode-bidi",
    "vector-effect",
    "visibility",
    "word-spacing",
    "writing-mode",
];

/// Functions that a value may hold; all that fetch something are missing.
const FUNCTIONS: &[&str] = &[
    "rgb",
    "rgba",
    "hsl",
    "hsla",
    "matrix",
    "translate",
    "translatex",
    "translatey",
    "scale",
    "scalex",
    "scaley",
    "rotate",
    "skewx",
    "skewy",
    "calc",
];

/// Rules of a style sheet.
const MAX_RULES: usize = 2_000;

/// Whether a value only names colours, lengths, words, and, where `references` is set, things within the picture.
pub(super) fn is_plain(value: &str, references: bool) -> bool {
    // An escape could spell what is looked for below, a comment could split it.
    if value.contains(['\\', '<', '>', '{', '}', ';', '@', '&', '`']) || value.contains("/*") {
        return false;
    }
    if value.chars().any(char::is_control) {
        return false;
    }
    let lower = value.to_ascii_lowercase();
    if ["javascript:", "data:", "vbscript:", "http:", "https:", "//"].iter().any(|word| lower.contains(word)) {
        return false;
    }
    let mut rest = lower.as_str();
    while let Some(open) = rest.find('(') {
        let name_start = rest[..open]
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        let name = &rest[name_start..open];
        let after = &rest[open + 1..];
        if name == "url" {
            let Some((target, _)) = after.split_once(')') else { return false };
            let target = target.trim().trim_matches(['"', '\'']);
            if !references || !target.starts_with('#') || !is_name(&target[1..]) {
                return false;
            }
        } else if !name.is_empty() && !FUNCTIONS.contains(&name) {
            return false;
        }
        rest = after;
    }
    true
}

/// A name within the picture.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

/// The declarations that only say how something looks.
pub(super) fn declarations(text: &str, references: bool) -> String {
    let mut kept = Vec::new();
    for declaration in without_comments(text).split(';') {
        let Some((property, value)) = declaration.split_once(':') else { continue };
        let (property, value) =
            (property.trim().to_ascii_lowercase(), value.split_whitespace().collect::<Vec<_>>().join(" "));
        if PROPERTIES.contains(&property.as_str()) && is_plain(&value, references) {
            kept.push(format!("{property}: {value}"));
        }
    }
    kept.join("; ")
}

/// The rules of a style sheet without those that begin with `@`, and without references: what a sheet refers to could
/// refer to itself.
pub(super) fn sheet(text: &str) -> String {
    let text = without_comments(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    for _ in 0..MAX_RULES {
        let Some(end) = rest.find(['{', ';', '}']) else { break };
        let selector = rest[..end].trim();
        if !rest[end..].starts_with('{') {
            // A rule without a block, such as an import, or a bracket too many.
            rest = &rest[end + 1..];
            continue;
        }
        let block = &rest[end + 1..];
        let close = block_end(block);
        if is_selector(selector) && !block[..close].contains('{') {
            let kept = declarations(&block[..close], false);
            if !kept.is_empty() {
                out.push_str(selector);
                out.push_str(" { ");
                out.push_str(&kept);
                out.push_str(" }\n");
            }
        }
        rest = block.get(close + 1..).unwrap_or_default();
    }
    out
}

/// Where a block ends, blocks within it passed over.
fn block_end(block: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in block.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    block.len()
}

fn is_selector(text: &str) -> bool {
    let good = |c: char| {
        c.is_alphanumeric()
            || matches!(c, ' ' | '\n' | '\t' | '\r' | '.' | '#' | ',' | '*' | '_' | '-' | '>' | '+' | '~' | ':')
    };
    !text.is_empty() && text.len() <= 1_000 && text.chars().all(good)
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        // A space, so that what was apart stays apart.
        out.push(' ');
        rest = rest[start + 2..].split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}
