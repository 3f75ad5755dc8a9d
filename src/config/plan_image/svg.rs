//! SVG with nothing in it but shapes, text and their looks.
//!
//! The text is parsed and written anew (SVG 2, XML 1.0): only elements and attributes that are known to be harmless pass,
//! references lead only to what is in the picture itself, and nothing is expanded that could grow. What is left out is
//! left out silently, because drawing programs add much that a plan does not need; what would be an attack on the reader
//! itself (entities, depth, numbers without end) is an error.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use super::PlanImageError;
use super::attributes::{attribute, attributes, passing, printable};
use super::css;
use super::uses::{Drawn, Uses};

/// Elements within elements.
pub(super) const MAX_DEPTH: usize = 64;
/// Elements of a picture.
const MAX_ELEMENTS: usize = 200_000;
/// Greatest width and height in user units.
const MAX_SIDE: f64 = 1_000_000.0;

const SVG: &str = "http://www.w3.org/2000/svg";

/// Elements that pass; [`GROUPS`] become `g`.
const ELEMENTS: &[&str] = &[
    "svg",
    "g",
    "defs",
    "symbol",
    "use",
    "title",
    "desc",
    "style",
    "path",
    "rect",
    "circle",
    "ellipse",
    "line",
    "polyline",
    "polygon",
    "text",
    "tspan",
    "textPath",
    "image",
    "linearGradient",
    "radialGradient",
    "stop",
    "pattern",
    "clipPath",
    "mask",
    "marker",
];
/// Elements of which only the content matters.
const GROUPS: &[&str] = &["a", "switch"];
/// Elements that are drawn wherever something refers to them: they refer to nothing themselves.
const DRAWN_ELSEWHERE: &[&str] = &["pattern", "clipPath", "mask", "marker"];

/// A picture that is safe.
pub(super) struct Safe {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) text: String,
}

pub(super) fn error(message: impl Into<String>) -> PlanImageError {
    PlanImageError::Svg(message.into())
}

/// Reads a picture, and writes what is harmless of it.
pub(super) fn make_safe(text: &str) -> Result<Safe, PlanImageError> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = true;
    config.expand_empty_elements = false;
    let mut writer = Writer::default();
    loop {
        let event = reader.read_event().map_err(|fault| {
            let line =
                text.as_bytes().iter().take(reader.error_position() as usize).filter(|&&b| b == b'\n').count() + 1;
            error(format!("line {line}: {fault}"))
        })?;
        match event {
            Event::Start(start) => writer.open(&start, false)?,
            Event::Empty(start) => writer.open(&start, true)?,
            Event::End(_) => writer.close(),
            Event::Text(text) => writer.text(&text.xml10_content())?,
            Event::CData(text) => writer.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let character = match name.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    Ok(None) => quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned),
                    Err(fault) => return Err(error(fault.to_string())),
                };
                let character = character.ok_or_else(|| error(format!("it uses the entity \"{}\"", clip(&name))))?;
                writer.text(&character)?;
            }
            Event::DocType(doctype) => {
                // The usual one names a DTD, which is not read; an internal one could define entities.
                if doctype.contains('[') {
                    return Err(error("its DOCTYPE defines entities"));
                }
            }
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !encoding.eq_ignore_ascii_case("utf-8")
                {
                    return Err(error(format!("its encoding is {}, not UTF-8", clip(&encoding))));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    writer.finish()
}

pub(super) fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What is open.
struct Open {
    /// The name that was written; none where the element was left out with all that is in it.
    name: Option<&'static str>,
    id: Option<String>,
    /// Whether it is within one of [`DRAWN_ELSEWHERE`].
    is_elsewhere: bool,
    /// The text of a style sheet.
    sheet: Option<String>,
    /// The elements in it, itself among them, and what they use.
    drawn: Drawn,
}

impl Open {
    fn left_out() -> Self {
        Self { name: None, id: None, is_elsewhere: false, sheet: None, drawn: (0, Vec::new()) }
    }
}

#[derive(Default)]
struct Writer {
    out: String,
    stack: Vec<Open>,
    elements: usize,
    /// The prefix of the root, with its colon.
    prefix: Option<String>,
    size: Option<(u32, u32)>,
    uses: Uses,
}

impl Writer {
    fn open(&mut self, start: &BytesStart<'_>, is_empty: bool) -> Result<(), PlanImageError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(error(format!("it has more than {MAX_ELEMENTS} elements")));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(error(format!("it has more than {MAX_DEPTH} elements within each other")));
        }
        let name = start.name();
        let name: &str = name.as_ref();
        let attributes = attributes(start)?;
        if self.stack.is_empty() {
            self.root(name, &attributes)?;
            return if is_empty { Err(error("it has nothing in it")) } else { Ok(()) };
        }
        let is_left_out = self.stack.last().is_some_and(|open| open.name.is_none());
        let known = name.strip_prefix(self.prefix.as_deref().unwrap_or_default()).and_then(element);
        let is_in_sheet = self.stack.last().is_some_and(|open| open.sheet.is_some());
        let was_elsewhere = self.stack.last().is_some_and(|open| open.is_elsewhere);
        let known = known.filter(|&name| !(is_left_out || is_in_sheet || was_elsewhere && name == "use"));
        let Some(name) = known else {
            if !is_empty {
                self.stack.push(Open::left_out());
            }
            return Ok(());
        };
        let is_elsewhere = was_elsewhere || DRAWN_ELSEWHERE.contains(&name);
        let from = self.out.len();
        self.out.push('<');
        self.out.push_str(name);
        let mut id = None;
        let mut target = None;
        for (key, value) in &attributes {
            let Some(value) = passing(name, key, value, !is_elsewhere) else { continue };
            if key == "id" {
                id = Some(value.clone());
            }
            if key == "href" || key == "xlink:href" {
                target = value.strip_prefix('#').map(str::to_owned);
            }
            attribute(&mut self.out, key, &value);
        }
        // What is drawn from nowhere is not drawn.
        if name == "image" && !self.out[from..].contains("href=") {
            self.out.truncate(from);
            if !is_empty {
                self.stack.push(Open::left_out());
            }
            return Ok(());
        }
        let targets = self.uses.target(target.as_deref().filter(|_| name == "use"))?;
        let drawn = (1, targets);
        if is_empty {
            self.out.push_str("/>");
            self.drawn(id, drawn);
            return Ok(());
        }
        self.out.push('>');
        let sheet = (name == "style").then(String::new);
        self.stack.push(Open { name: Some(name), id, is_elsewhere, sheet, drawn });
        Ok(())
    }

    fn root(&mut self, name: &str, attributes: &[(String, String)]) -> Result<(), PlanImageError> {
        if !self.out.is_empty() {
            return Err(error("it has two root elements"));
        }
        let (prefix, local) = name.split_once(':').map_or(("", name), |(prefix, local)| (prefix, local));
        let namespace = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
        let get = |wanted: &str| attributes.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
        if local != "svg" || get(&namespace) != Some(SVG) {
            return Err(error(format!("its root is <{}>, not <svg xmlns=\"{SVG}\">", clip(name))));
        }
        self.prefix = (!prefix.is_empty()).then(|| format!("{prefix}:"));
        let [x, y, width, height] = view_box(get("viewBox"), get("width"), get("height"))?;
        // A pixel is a unit of the view box; its right and lower borders move out to whole ones.
        let (width, height) = (width.ceil() as u32, height.ceil() as u32);
        self.size = Some((width, height));
        self.out = format!(
            "<svg xmlns=\"{SVG}\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"{x} {y} {width} {height}\""
        );
        for (key, value) in attributes {
            if !["width", "height", "viewBox", "x", "y", "preserveAspectRatio"].contains(&key.as_str())
                && let Some(value) = passing("svg", key, value, true)
            {
                attribute(&mut self.out, key, &value);
            }
        }
        self.out.push('>');
        self.stack.push(Open { name: Some("svg"), drawn: (1, Vec::new()), ..Open::left_out() });
        Ok(())
    }

    fn close(&mut self) {
        let Some(open) = self.stack.pop() else { return };
        let Some(name) = open.name else { return };
        if let Some(sheet) = open.sheet {
            self.out.push_str(&escape(css::sheet(&sheet)));
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        self.drawn(open.id, open.drawn);
        if self.stack.is_empty() {
            self.out.push('\n');
        }
    }

    /// An element is done.
    fn drawn(&mut self, id: Option<String>, drawn: Drawn) {
        self.uses.close(id, drawn, self.stack.last_mut().map(|around| &mut around.drawn));
    }

    fn text(&mut self, text: &str) -> Result<(), PlanImageError> {
        match self.stack.last_mut() {
            None if text.trim().is_empty() => {}
            None => return Err(error("there is text around its root element")),
            Some(Open { name: None, .. }) => {}
            Some(Open { sheet: Some(sheet), .. }) => sheet.push_str(text),
            Some(_) => self.out.push_str(&escape(printable(text))),
        }
        Ok(())
    }

    fn finish(self) -> Result<Safe, PlanImageError> {
        let Some((width, height)) = self.size else { return Err(error("it has no root element")) };
        if !self.stack.is_empty() {
            return Err(error("it ends before its root element does"));
        }
        self.uses.check()?;
        Ok(Safe { width, height, text: self.out })
    }
}

fn element(name: &str) -> Option<&'static str> {
    if GROUPS.contains(&name) {
        return Some("g");
    }
    ELEMENTS.iter().find(|known| **known == name).copied()
}

/// The picture's place and size in user units.
fn view_box(view_box: Option<&str>, width: Option<&str>, height: Option<&str>) -> Result<[f64; 4], PlanImageError> {
    let help = "write its size, such as viewBox=\"0 0 1200 800\"";
    let sides = match view_box {
        Some(text) => {
            let numbers: Result<Vec<f64>, _> =
                text.split([' ', ',', '\t', '\n', '\r']).filter(|part| !part.is_empty()).map(str::parse).collect();
            match numbers.as_deref() {
                Ok(&[x, y, width, height]) => [x, y, width, height],
                _ => return Err(error(format!("its viewBox \"{}\" is not four numbers; {help}", clip(text)))),
            }
        }
        None => match (width.and_then(pixels), height.and_then(pixels)) {
            (Some(width), Some(height)) => [0.0, 0.0, width, height],
            _ => return Err(error(format!("it has neither a viewBox nor a width and a height; {help}"))),
        },
    };
    let [x, y, width, height] = sides;
    let is_size = |side: f64| side > 0.0 && side <= MAX_SIDE;
    if is_size(width) && is_size(height) && x.abs() <= MAX_SIDE && y.abs() <= MAX_SIDE {
        return Ok(sides);
    }
    Err(error(format!("its size is {width} x {height} units; each side must be above 0 and at most {MAX_SIDE}")))
}

/// A length in pixels of 1/96 inch (CSS Values, 6.2).
fn pixels(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(text.len());
    let number: f64 = text[..unit_at].trim().parse().ok()?;
    let factor = match &text[unit_at..] {
        "" | "px" => 1.0,
        "mm" => 96.0 / 25.4,
        "cm" => 96.0 / 2.54,
        "in" => 96.0,
        "pt" => 96.0 / 72.0,
        "pc" => 16.0,
        _ => return None,
    };
    Some(number * factor)
}
