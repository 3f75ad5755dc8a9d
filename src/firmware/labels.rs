//! Labels to be stuck on beacons: A4 sheets of 3 × 7, as label sheets of 63.5 × 38.1 mm have them (Avery L7160 and
//! alike).
//!
//! The QR code holds the identity as the registry has it, so that whoever stands before a beacon knows which one it is.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

use super::template::{Template, template};
use super::{FirmwareError, Rendered, Settings, Subject, escape};
use crate::registry::Identity;

const PAGE: Template = template!("labels/page.svg");
const LABEL: Template = template!("labels/label.svg");

/// The sheet, in mm: where the first label lies, how large one is, and how far apart they are.
const LEFT: f64 = 7.25;
const TOP: f64 = 15.15;
const WIDTH: f64 = 63.5;
const HEIGHT: f64 = 38.1;
const ACROSS: f64 = 66.0;
const COLUMNS: usize = 3;
const ROWS: usize = 7;
const A_PAGE: usize = COLUMNS * ROWS;
/// The width of the code with its quiet zone, in mm. A module of an iBeacon's code is 0.78 mm then.
const CODE: f64 = 32.0;
/// Modules of white around a code (ISO/IEC 18004, 6.3.8).
const QUIET: i32 = 4;
/// Where the texts begin, and how wide and high they may be, in mm.
const TEXT_LEFT: f64 = 33.5;
const TEXT_WIDTH: f64 = WIDTH - TEXT_LEFT - 1.5;
const TEXT_TOP: f64 = 5.0;
const TEXT_BOTTOM: f64 = HEIGHT - 2.0;
/// Sizes of letters in mm, and their widths as shares of it: of one whose letters are all as wide, and on average of
/// one whose letters are not, rather too much.
const ID_SIZE: f64 = 3.2;
const CODE_SIZE: f64 = 2.0;
const PLACE_SIZE: f64 = 2.2;
const MONO: f64 = 0.602;
const PROPORTIONAL: f64 = 0.62;
/// Distance of lines, as a multiple of the size.
const LEADING: f64 = 1.3;
/// So many lines an id, or a place, takes at most.
const MOST_ID_LINES: usize = 5;
const MOST_PLACE_LINES: usize = 3;

pub(super) fn render(subjects: &[Subject<'_>], settings: &Settings) -> Result<Vec<Rendered>, FirmwareError> {
    let pages = subjects.len().div_ceil(A_PAGE);
    subjects
        .chunks(A_PAGE)
        .enumerate()
        .map(|(page, subjects)| {
            let labels = subjects.iter().enumerate().map(|(at, subject)| label(at, subject, settings));
            let labels = labels.collect::<Result<Vec<String>, _>>()?;
            let site = subjects[0].registry.site();
            let text = PAGE.fill(&[
                ("TITLE", &escape::xml(&format!("{}: beacons, sheet {} of {pages}", site.name, page + 1))),
                ("ID_SIZE", &ID_SIZE.to_string()),
                ("CODE_SIZE", &CODE_SIZE.to_string()),
                ("PLACE_SIZE", &PLACE_SIZE.to_string()),
                ("LABELS", labels.concat().trim_end()),
            ])?;
            Ok(Rendered::new(format!("labels-{}.svg", page + 1), text))
        })
        .collect()
}

fn label(at: usize, subject: &Subject<'_>, settings: &Settings) -> Result<String, FirmwareError> {
    let (column, row) = (at % COLUMNS, at / COLUMNS);
    let (place, code) = code(&subject.beacon.identity.to_string())?;
    LABEL.fill(&[
        ("X", &mm(LEFT + column as f64 * ACROSS)),
        ("Y", &mm(TOP + row as f64 * HEIGHT)),
        ("WIDTH", &mm(WIDTH)),
        ("HEIGHT", &mm(HEIGHT)),
        ("INNER_WIDTH", &mm(WIDTH - 0.1)),
        ("INNER_HEIGHT", &mm(HEIGHT - 0.1)),
        ("CODE_PLACE", &place),
        ("CODE", &code),
        ("TEXTS", texts(subject, settings).trim_end()),
    ])
}

/// Where a code lies, and its dark modules as one path, in units of modules.
fn code(text: &str) -> Result<(String, String), FirmwareError> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|_| FirmwareError::Code(text.to_owned()))?;
    let scale = CODE / f64::from(code.size() + 2 * QUIET);
    let inset = f64::from(QUIET) * scale;
    let place = format!("translate({} {}) scale({scale:.6})", mm(inset), mm((HEIGHT - CODE) / 2.0 + inset));
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|&x| code.get_module(x, y)).count();
            if run > 0 {
                // Writing into a string cannot fail.
                let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
            }
            x += run as i32 + 1;
        }
    }
    Ok((place, path))
}

fn texts(subject: &Subject<'_>, settings: &Settings) -> String {
    let letters = |size: f64, width: f64| (TEXT_WIDTH / (size * width)) as usize;
    let mut lines: Vec<(&str, f64, String)> = Vec::new();
    let id = wrapped(subject.beacon.id.as_str(), letters(ID_SIZE, MONO), MOST_ID_LINES);
    lines.extend(id.into_iter().map(|line| ("id", ID_SIZE, line)));
    let place = wrapped(&escape::line(&subject.place()), letters(PLACE_SIZE, PROPORTIONAL), MOST_PLACE_LINES);
    lines.extend(place.into_iter().map(|line| ("place", PLACE_SIZE, line)));
    let power = format!("{} ms, {} dBm", settings.interval.ms(), settings.tx_power);
    lines.extend(identity(&subject.beacon.identity).into_iter().chain([power]).map(|line| ("code", CODE_SIZE, line)));
    let mut out = String::new();
    let mut y = TEXT_TOP;
    for (at, (class, size, line)) in lines.iter().enumerate() {
        if at > 0 {
            // A little more between a text and the next of another kind.
            let gap = if lines[at - 1].0 == *class { 0.0 } else { 0.6 };
            y += size * LEADING + gap;
        }
        if y > TEXT_BOTTOM {
            break;
        }
        let _ =
            writeln!(out, r#"<text class="{class}" x="{}" y="{}">{}</text>"#, mm(TEXT_LEFT), mm(y), escape::xml(line));
    }
    out
}

/// What tells beacons of a store apart, short enough to be read on a label.
fn identity(identity: &Identity) -> Vec<String> {
    let ends = |hex: &str| format!("{}…{}", &hex[..4], &hex[hex.len() - 4..]);
    match identity {
        Identity::IBeacon { uuid, major, minor } => {
            vec![format!("ibeacon {}", ends(&hex::encode(uuid))), format!("major {major} minor {minor}")]
        }
        Identity::EddystoneUid { namespace, instance } => {
            vec![format!("eddystone {}", ends(&hex::encode(namespace))), format!("inst. {}", hex::encode(instance))]
        }
        Identity::AltBeacon(id) => {
            vec![format!("altbeacon {}", ends(&hex::encode(id))), format!("…{}", hex::encode(&id[12..]))]
        }
        Identity::Mac(_) => vec![identity.to_string()],
    }
}

/// A text in lines of at most so many letters, broken where words end if possible; the last one says so where something
/// is left out.
fn wrapped(text: &str, letters: usize, most_lines: usize) -> Vec<String> {
    // Of letters as wide as they are high there go half as many on a line.
    let width = |c: char| if u32::from(c) >= 0x1100 { 2 } else { 1 };
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if used + width(c) > letters {
            let begun = match line.rfind([' ', '-', '.', '_']) {
                // What comes before must be worth a line.
                Some(at) if at >= line.len() / 2 => line.split_off(at + 1),
                _ => String::new(),
            };
            lines.push(std::mem::replace(&mut line, begun).trim_end().to_owned());
            used = line.chars().map(width).sum();
            if lines.len() == most_lines {
                if let Some(last) = lines.last_mut() {
                    last.pop();
                    last.push('…');
                }
                return lines;
            }
            continue;
        }
        line.push(c);
        used += width(c);
        chars.next();
    }
    if !line.trim().is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn mm(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_where_words_end() {
        assert_eq!(wrapped("fruit-and-vegetables-north", 12, 4), ["fruit-and-", "vegetables-", "north"]);
        assert_eq!(wrapped(&"x".repeat(30), 12, 4), ["x".repeat(12), "x".repeat(12), "x".repeat(6)]);
        assert_eq!(wrapped(&"x".repeat(64), 12, 2), ["x".repeat(12), format!("{}…", "x".repeat(11))]);
        assert_eq!(wrapped("蔬果区蔬果区", 6, 3), ["蔬果区", "蔬果区"]);
        assert_eq!(wrapped("", 6, 3), Vec::<String>::new());
        assert_eq!(wrapped("蔬", 1, 1), ["…"]);
    }

    #[test]
    fn a_code_has_its_quiet_zone_and_its_finder() {
        let (place, path) = code("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/65535").unwrap();
        // 33 modules and 8 of white in 32 mm.
        assert_eq!(place, "translate(3.122 6.172) scale(0.780488)");
        assert!(path.starts_with("M0 0h7v1h-7z"), "{path}");
    }

    #[test]
    fn labels_fit_on_the_sheet() {
        assert!(LEFT + (COLUMNS - 1) as f64 * ACROSS + WIDTH < 210.0);
        assert!(TOP + ROWS as f64 * HEIGHT < 297.0);
    }
}
