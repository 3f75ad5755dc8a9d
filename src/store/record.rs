//! Entries as bytes: compressed against the dictionary, and with a checksum over what they say.
//!
//! ```text
//! crc32 | flags | made | [expires] | length of device | of topic | of payload | device, topic and payload
//! ```
//!
//! Integers are little endian. The checksum is over the sequence and everything uncompressed, so it also finds a record under
//! the wrong key, and a wrong dictionary.

use bytes::Bytes;
use flate2::Crc;

use super::{Class, Entry, Waiting};
use crate::model::{DeviceId, Timestamp};

/// There is a time of expiry.
const TRIGGER: u8 = 1;
/// The text is compressed.
const PACKED: u8 = 2;
/// More than any message has; keeps a damaged length from taking the memory.
const MOST_TEXT: usize = 16 << 20;

/// The bytes of an entry.
pub(super) fn encode(entry: &Entry, dictionary: &[u8]) -> Vec<u8> {
    let device = entry.device.as_str();
    let mut text = Vec::with_capacity(device.len() + entry.size());
    text.extend_from_slice(device.as_bytes());
    text.extend_from_slice(entry.topic.as_bytes());
    text.extend_from_slice(&entry.payload);
    let packed = lz4_flex::block::compress_with_dict(&text, dictionary);
    let is_packed = packed.len() < text.len();

    let mut header = Vec::with_capacity(32);
    put_class(&mut header, entry.class, if is_packed { PACKED } else { 0 });
    header.extend_from_slice(&entry.made.as_millis().to_le_bytes());
    put_expiry(&mut header, entry.class);
    header.push(device.len() as u8);
    header.extend_from_slice(&(entry.topic.len() as u32).to_le_bytes());
    header.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());

    let mut record = Vec::with_capacity(4 + header.len() + packed.len().min(text.len()));
    record.extend_from_slice(&checksum(entry.sequence, &header, &text).to_le_bytes());
    record.extend_from_slice(&header);
    record.extend_from_slice(if is_packed { &packed } else { &text });
    record
}

/// The entry of these bytes; none where they are damaged.
pub(super) fn decode(sequence: u64, record: &[u8], dictionary: &[u8]) -> Option<Entry> {
    let (crc, rest) = record.split_first_chunk::<4>()?;
    let mut reader = Reader(rest);
    let flags = reader.byte()?;
    let made = reader.time()?;
    let class = reader.class(flags)?;
    let device_len = usize::from(reader.byte()?);
    let topic_len = reader.length()?;
    let payload_len = reader.length()?;
    let header = &rest[..rest.len() - reader.0.len()];
    let whole = device_len.checked_add(topic_len)?.checked_add(payload_len)?;
    if whole > MOST_TEXT || flags & !(TRIGGER | PACKED) != 0 {
        return None;
    }
    let text = if flags & PACKED != 0 {
        lz4_flex::block::decompress_with_dict(reader.0, whole, dictionary).ok()?
    } else {
        reader.0.to_vec()
    };
    if text.len() != whole || checksum(sequence, header, &text) != u32::from_le_bytes(*crc) {
        return None;
    }
    let device = DeviceId::new(std::str::from_utf8(&text[..device_len]).ok()?).ok()?;
    let topic = std::str::from_utf8(&text[device_len..device_len + topic_len]).ok()?.to_owned();
    let payload = Bytes::from(text).slice(device_len + topic_len..);
    Some(Entry { sequence, device, class, made, topic, payload })
}

/// The bytes of what is remembered of an entry that waits.
pub(super) fn encode_waiting(waiting: &Waiting) -> Vec<u8> {
    let mut row = Vec::with_capacity(32 + waiting.device.as_str().len());
    put_class(&mut row, waiting.class, 0);
    row.extend_from_slice(&waiting.made.as_millis().to_le_bytes());
    put_expiry(&mut row, waiting.class);
    row.extend_from_slice(&waiting.bytes.to_le_bytes());
    row.extend_from_slice(waiting.device.as_str().as_bytes());
    row
}

/// What is remembered of an entry that waits; none where the bytes are damaged.
pub(super) fn decode_waiting(sequence: u64, row: &[u8]) -> Option<Waiting> {
    let mut reader = Reader(row);
    let flags = reader.byte()?;
    let made = reader.time()?;
    let class = reader.class(flags)?;
    let bytes = u32::from_le_bytes(reader.take()?);
    let device = DeviceId::new(std::str::from_utf8(reader.0).ok()?).ok()?;
    Some(Waiting { sequence, device, class, made, bytes })
}

/// What is remembered of an entry.
pub(super) fn waiting(entry: &Entry) -> Waiting {
    Waiting {
        sequence: entry.sequence,
        device: entry.device.clone(),
        class: entry.class,
        made: entry.made,
        bytes: u32::try_from(entry.size()).unwrap_or(u32::MAX),
    }
}

fn put_class(to: &mut Vec<u8>, class: Class, flags: u8) {
    to.push(flags | if matches!(class, Class::Trigger { .. }) { TRIGGER } else { 0 });
}

fn put_expiry(to: &mut Vec<u8>, class: Class) {
    if let Class::Trigger { expires } = class {
        to.extend_from_slice(&expires.as_millis().to_le_bytes());
    }
}

fn checksum(sequence: u64, header: &[u8], text: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(header);
    crc.update(text);
    crc.sum()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(i64::from_le_bytes(self.take()?)))
    }

    fn class(&mut self, flags: u8) -> Option<Class> {
        Some(if flags & TRIGGER == 0 { Class::Event } else { Class::Trigger { expires: self.time()? } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(class: Class) -> Entry {
        Entry {
            sequence: 7,
            device: DeviceId::new("d1").unwrap(),
            class,
            made: Timestamp::from_millis(1_000),
            topic: "s/events/door/entered".to_owned(),
            payload: Bytes::from_static(br#"{"zone":"door","zone_name":"door","device":"d1"}"#),
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_with_and_without_a_dictionary() {
        for class in [Class::Event, Class::Trigger { expires: Timestamp::from_millis(5_000) }] {
            for dictionary in [&b""[..], br#"s/events/door/entered{"zone":"door","zone_name":"#] {
                let entry = entry(class);
                assert_eq!(decode(7, &encode(&entry, dictionary), dictionary), Some(entry.clone()));
                assert_eq!(decode_waiting(7, &encode_waiting(&waiting(&entry))), Some(waiting(&entry)));
            }
        }
        let small = Entry { topic: String::new(), payload: Bytes::new(), ..entry(Class::Event) };
        assert_eq!(decode(7, &encode(&small, b""), b""), Some(small));
    }

    #[test]
    fn whatever_bit_is_flipped_the_record_is_found_damaged() {
        let dictionary = br#"s/events/door/entered{"zone":"door","zone_name":"#;
        let whole = encode(&entry(Class::Event), dictionary);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = decode(7, &bytes, dictionary);
            assert!(found.is_none() || found == Some(entry(Class::Event)), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert_eq!(decode(7, &whole[..length], dictionary), None);
        }
        assert_eq!(decode(8, &whole, dictionary), None, "under another key");
        assert_eq!(decode(7, &whole, b"another dictionary that is long enough to be used at all"), None);
    }
}
