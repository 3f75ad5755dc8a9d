//! One line of JSON with advertising data in, one line of JSON with its frames out: what `beaconfence decode` does.
//!
//! In: `{"manufacturer_data":{"004c":"0215…"},"service_data":{"feaa":"00…"}}` or `{"adv":"0201061aff4c00…"}`, the whole
//! of the AD structures in hex. Other members are ignored, so that a sightings file can be decoded as it is; `null` is as
//! good as no member.
//!
//! Out: `{"frames":[{"format":"ibeacon",…}],"errors":[{"code":"frame-truncated","message":"…"}]}`, both in the order of
//! the input. The codes are stable, the messages are for people. A line that is not JSON gives no frames and one error.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::{Frame, MAX_LENGTH, frames_in, manufacturer_frame, service_frame, text};

/// The greatest length of a line in bytes. Far more than any advertisement needs: 1650 bytes are 3300 digits.
pub const MAX_LINE: usize = 64 * 1024;

/// Decodes lines; keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub struct LineDecoder {
    errors: Vec<u8>,
    bytes: Vec<u8>,
}

impl LineDecoder {
    /// Decodes a line, with or without its end, and appends exactly one line to `out`, with its end. The line may be
    /// anything.
    pub fn decode(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if line.len() > MAX_LINE {
            return self.too_long(out);
        }
        let start = begin(out);
        self.errors.clear();
        match str::from_utf8(line) {
            Err(_) => self.error("not-utf-8", &"the line is not UTF-8 text; write one JSON object a line"),
            Ok(text) if text.trim_ascii().is_empty() => {
                self.error("empty-line", &"the line is empty; write one JSON object a line");
            }
            Ok(text) => {
                let mut json = serde_json::Deserializer::from_str(text);
                let at = At { place: Place::Line, bytes: &mut self.bytes, errors: &mut self.errors, out: &mut *out };
                if let Err(error) = at.deserialize(&mut json).and_then(|()| json.end()) {
                    // Frames of a line that turns out to be broken are not to be trusted.
                    out.truncate(start);
                    self.errors.clear();
                    self.error("not-json", &format_args!("the line is not JSON: {error}"));
                }
            }
        }
        self.end(out);
    }

    /// Appends what is said of a line that is longer than [`MAX_LINE`], and need not have been read to its end.
    pub fn too_long(&mut self, out: &mut Vec<u8>) {
        begin(out);
        self.errors.clear();
        self.error("line-too-long", &format_args!("the line is longer than {MAX_LINE} bytes"));
        self.end(out);
    }

    fn error(&mut self, code: &str, message: &dyn Display) {
        push_error(&mut self.errors, code, message);
    }

    fn end(&self, out: &mut Vec<u8>) {
        if out.last() == Some(&b',') {
            out.pop();
        }
        out.extend_from_slice(b"],\"errors\":[");
        out.extend_from_slice(self.errors.strip_suffix(b",").unwrap_or(&self.errors));
        out.extend_from_slice(b"]}\n");
    }
}

/// Begins a line; where its frames begin.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"{\"frames\":[");
    out.len()
}

/// Where in the input a value stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Line,
    ManufacturerData,
    ManufacturerValue(u16),
    ServiceData,
    ServiceValue(Uuid),
    Adv,
}

/// Reads a value of any type and appends what it says to the frames and errors; fails only where the text is no JSON.
struct At<'s> {
    place: Place,
    bytes: &'s mut Vec<u8>,
    errors: &'s mut Vec<u8>,
    out: &'s mut Vec<u8>,
}

impl At<'_> {
    fn at(&mut self, place: Place) -> At<'_> {
        At { place, bytes: self.bytes, errors: self.errors, out: self.out }
    }

    fn error(&mut self, code: &str, message: &dyn Display) {
        push_error(self.errors, code, message);
    }

    fn wrong_type(&mut self, found: &str) {
        let (code, what, wanted) = match self.place {
            Place::Line => ("not-an-object", "the line", "an object"),
            Place::ManufacturerData => ("wrong-type", "\"manufacturer_data\"", "an object"),
            Place::ManufacturerValue(_) => ("wrong-type", "the data of a company", "a string of hex digits"),
            Place::ServiceData => ("wrong-type", "\"service_data\"", "an object"),
            Place::ServiceValue(_) => ("wrong-type", "the data of a service", "a string of hex digits"),
            Place::Adv => ("wrong-type", "\"adv\"", "a string of hex digits"),
        };
        self.error(code, &format_args!("{what} is {found}, but must be {wanted}"));
    }

    fn hex(&mut self, digits: &str) {
        if let Err(error) = text::hex_bytes(digits, self.bytes) {
            return self.error(error.code(), &error);
        }
        match self.place {
            Place::ManufacturerValue(company) => match manufacturer_frame(company, self.bytes) {
                Some(Ok(frame)) => push_frame(self.out, &frame),
                Some(Err(error)) => push_error(self.errors, error.code(), &error),
                None => {}
            },
            Place::ServiceValue(uuid) => match service_frame(uuid, self.bytes) {
                Some(Ok(frame)) => push_frame(self.out, &frame),
                Some(Err(error)) => push_error(self.errors, error.code(), &error),
                None => {}
            },
            Place::Adv if self.bytes.len() > MAX_LENGTH => {
                let message = format_args!("\"adv\" holds {} bytes, but at most {MAX_LENGTH} can be", self.bytes.len());
                push_error(self.errors, "adv-too-long", &message);
            }
            Place::Adv => {
                for frame in frames_in(self.bytes) {
                    match frame {
                        Ok(frame) => push_frame(self.out, &frame),
                        Err(error) => push_error(self.errors, error.code(), &error),
                    }
                }
            }
            Place::Line | Place::ManufacturerData | Place::ServiceData => self.wrong_type("a string"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let place = match self.place {
                Place::Line => match &*key {
                    "manufacturer_data" => Ok(Place::ManufacturerData),
                    "service_data" => Ok(Place::ServiceData),
                    "adv" => Ok(Place::Adv),
                    _ => Err(None),
                },
                Place::ManufacturerData => text::company(&key).map(Place::ManufacturerValue).map_err(Some),
                Place::ServiceData => text::service(&key).map(Place::ServiceValue).map_err(Some),
                Place::ManufacturerValue(_) | Place::ServiceValue(_) | Place::Adv => Err(None),
            };
            match place {
                Ok(place) => map.next_value_seed(self.at(place))?,
                Err(error) => {
                    map.next_value::<IgnoredAny>()?;
                    if let Some(error) = error {
                        self.error(error.code(), &error);
                    }
                }
            }
        }
        if matches!(self.place, Place::ManufacturerValue(_) | Place::ServiceValue(_) | Place::Adv) {
            self.wrong_type("an object");
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.wrong_type("an array");
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.hex(value);
        Ok(())
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        if matches!(self.place, Place::Line) {
            self.wrong_type("null");
        }
        Ok(())
    }

    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        self.wrong_type("a truth value");
        Ok(())
    }

    fn visit_i64<E>(mut self, _: i64) -> Result<(), E> {
        self.wrong_type("a number");
        Ok(())
    }

    fn visit_u64<E>(mut self, _: u64) -> Result<(), E> {
        self.wrong_type("a number");
        Ok(())
    }

    fn visit_f64<E>(mut self, _: f64) -> Result<(), E> {
        self.wrong_type("a number");
        Ok(())
    }
}

/// A string that is borrowed from the input where it holds no escapes; serde's own `Cow` never borrows.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

fn push_error(errors: &mut Vec<u8>, code: &str, message: &dyn Display) {
    push(errors, format_args!("{{\"code\":\"{code}\",\"message\":"));
    // Writing to memory does not fail, and a string is always JSON.
    let _ = serde_json::to_writer(&mut *errors, &message.to_string());
    errors.extend_from_slice(b"},");
}

fn push_frame(out: &mut Vec<u8>, frame: &Frame<'_>) {
    out.extend_from_slice(b"{\"format\":\"");
    out.extend_from_slice(frame.format().as_str().as_bytes());
    out.push(b'"');
    match frame {
        Frame::IBeacon(frame) => {
            out.extend_from_slice(b",\"uuid\":\"");
            let mut uuid = Uuid::encode_buffer();
            out.extend_from_slice(Uuid::from_bytes_ref(frame.uuid).as_hyphenated().encode_lower(&mut uuid).as_bytes());
            out.extend_from_slice(b"\",\"major\":");
            push_number(out, frame.major.into());
            out.extend_from_slice(b",\"minor\":");
            push_number(out, frame.minor.into());
        }
        Frame::AltBeacon(frame) => {
            push_hex_member(out, "id", frame.id);
            push_hex_member(out, "company", &frame.company.to_be_bytes());
            if let Some(reserved) = frame.manufacturer_reserved {
                out.extend_from_slice(b",\"manufacturer_reserved\":");
                push_number(out, reserved.into());
            }
        }
        Frame::EddystoneUid(frame) => {
            push_hex_member(out, "namespace", frame.namespace);
            push_hex_member(out, "instance", frame.instance);
        }
        Frame::EddystoneUrl(frame) => {
            out.extend_from_slice(b",\"url\":\"");
            for byte in frame.pieces().flat_map(str::bytes) {
                // Graphic ASCII: these two are all that JSON wants escaped.
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
        Frame::EddystoneTlm(frame) => {
            let [battery, temperature] = [frame.battery_mv.map(f64::from), frame.temperature()];
            for (name, value) in [("battery_mv", battery), ("temperature", temperature)] {
                match value {
                    Some(value) => push(out, format_args!(",\"{name}\":{value}")),
                    None => push(out, format_args!(",\"{name}\":null")),
                }
            }
            push(out, format_args!(",\"advertisements\":{},\"uptime\":{}", frame.advertisements, frame.uptime()));
        }
        Frame::EddystoneEid(frame) => push_hex_member(out, "eid", &frame.eid),
    }
    if let Some(power) = frame.measured_power() {
        out.extend_from_slice(b",\"measured_power\":");
        push_number(out, power.into());
    }
    out.extend_from_slice(b"},");
}

fn push_hex_member(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
    out.push(b'"');
}

/// Writes a whole number; several times as fast as `format_args`, which took most of a line's time.
fn push_number(out: &mut Vec<u8>, number: i32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Out<'a>(&'a mut Vec<u8>);

    impl Write for Out<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }

    // Writing to memory does not fail.
    let _ = Out(out).write_fmt(text);
}

#[cfg(test)]
mod tests;
