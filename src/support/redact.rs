//! Takes out of a text what says who somebody is, and every secret.
//!
//! Secrets are replaced by `[secret]`; whatever identifies a person, a device, a place or a machine by a pseudonym such
//! as `device-3f9a1c2e`: the kind, and the beginning of a hash with a key that is made anew for each [`Redactor`] and
//! kept nowhere. So the same id can be followed through one bundle, and through no other; and nobody can try out ids,
//! for the key is gone.
//!
//! Three steps: known ids and names of five characters or more, then whatever looks like an identifier, then the
//! shorter known ids. (A device that is called `01` must not break up an address before it is recognised.)

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::Rng as _;
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// What stands in place of a secret.
pub const SECRET: &str = "[secret]";
/// From this length on a known id is looked for first.
const LONG: usize = 5;
/// Characters of a hash: enough to tell some thousands apart.
const SHOWN: usize = 8;
/// Decimals from which a number may be a coordinate: 1 degree / 10,000 is 11 m.
const DECIMALS: usize = 4;

/// See the module.
pub struct Redactor {
    key: [u8; 32],
    /// Known ids, in lower case, and their kinds.
    ids: HashMap<String, &'static str>,
    /// Known names that are more than a word, longest first.
    names: Vec<(String, &'static str)>,
    secrets: Vec<String>,
    patterns: Patterns,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("ids", &self.ids.len()).finish_non_exhaustive()
    }
}

struct Patterns {
    pem: Regex,
    userinfo: Regex,
    bearer: Regex,
    token: Regex,
    assigned: Regex,
    email: Regex,
    identity: Regex,
    uuid: Regex,
    colons: Regex,
    address: Regex,
    ipv4: Regex,
    hex: Regex,
    geo: Regex,
    named_coordinate: Regex,
    coordinate: Regex,
    word: Regex,
}

impl Patterns {
    fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            pem: Regex::new(r"(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\z)")?,
            userinfo: Regex::new(r"://[^/\s@]+@")?,
            bearer: Regex::new(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")?,
            token: Regex::new(r"\bbf_[A-Za-z0-9_-]+")?,
            assigned: Regex::new(
                r#"(?i)([\w-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|credential|user[_-]?name|user|login|client[_-]?id)[\w-]*)(["']?\s*[:=]\s*)("[^"\n]*"?|'[^'\n]*'?|[^\s,;}]+)"#,
            )?,
            email: Regex::new(r"[\p{L}0-9._%+'-]+@[\p{L}0-9-]+(?:\.[\p{L}0-9-]+)*")?,
            identity: Regex::new(
                r#"(?i)\b(?:ibeacon|eddystone-uid|eddystone-eid|eddystone-url|altbeacon|mac|irk|owntracks|ibeacon-uuid):[^\s"'`,;)\]}>]+"#,
            )?,
            uuid: Regex::new(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")?,
            colons: Regex::new(r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}")?,
            address: Regex::new(r"(?i)[0-9a-f]{2}(?:[:_-][0-9a-f]{2}){5}")?,
            ipv4: Regex::new(r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b")?,
            hex: Regex::new(r"(?i)[0-9a-f]{12,}")?,
            geo: Regex::new(r#"(?i)\bgeo:[^\s"'<>]+"#)?,
            named_coordinate: Regex::new(
                r#"(?i)\b(lat|latitude|lon|lng|long|longitude)(["']?\s*[:=]\s*["']?)(-?[0-9]+(?:\.[0-9]+)?)"#,
            )?,
            coordinate: Regex::new(r"-?\b[0-9]{1,3}\.[0-9]{4,}\b")?,
            word: Regex::new(r"[A-Za-z0-9][A-Za-z0-9._-]*")?,
        })
    }
}

impl Redactor {
    /// One that knows no names yet, with a key of its own.
    ///
    /// # Errors
    /// Where a pattern is faulty.
    pub fn new() -> Result<Self, regex::Error> {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let (ids, names, secrets) = (HashMap::new(), Vec::new(), Vec::new());
        Ok(Self { key, ids, names, secrets, patterns: Patterns::new()? })
    }

    /// That text is the id or the name of something of that kind.
    pub fn know(&mut self, kind: &'static str, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if is_word {
            self.ids.entry(text.to_lowercase()).or_insert(kind);
        } else {
            let at = self.names.partition_point(|(known, _)| known.len() > text.len());
            self.names.insert(at, (text.to_owned(), kind));
        }
    }

    /// That text is a secret, wherever it stands.
    pub fn know_secret(&mut self, text: &str) {
        let text = text.trim();
        // Shorter ones would tear everything apart, and say what they are by doing so.
        if text.len() >= 3 {
            self.secrets.push(text.to_owned());
            self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// The pseudonym of something.
    pub fn pseudonym(&self, kind: &str, value: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(value.to_lowercase().as_bytes());
        let mut shown = hex::encode(hash.finalize());
        shown.truncate(SHOWN);
        format!("{kind}-{shown}")
    }

    /// The text without anything that is to be taken out.
    pub fn text(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), SECRET));
            }
        }
        let text = self.looks_like_secret(&text);
        let text = self.names(&text);
        let text = self.ids(&text, LONG);
        let text = self.looks_like_identifier(&text);
        self.ids(&text, 1)
    }

    fn looks_like_secret(&self, text: &str) -> String {
        let Patterns { pem, userinfo, bearer, token, assigned, .. } = &self.patterns;
        let text = pem.replace_all(text, SECRET);
        let text = userinfo.replace_all(&text, format!("://{SECRET}@"));
        let text = bearer.replace_all(&text, format!("$1 {SECRET}"));
        let text = token.replace_all(&text, SECRET);
        let assigned = assigned.replace_all(&text, |found: &Captures| {
            let (name, between, value) = (&found[1], &found[2], &found[3]);
            let lower = name.to_lowercase();
            if lower.ends_with("_file") || value.starts_with(SECRET) || value.starts_with(&format!("\"{SECRET}")) {
                return found[0].to_owned();
            }
            let quote = value.chars().next().filter(|c| "\"'".contains(*c)).map_or(String::new(), String::from);
            let bare = value.trim_matches(['"', '\'']);
            let is_name = lower.contains("user") || lower.contains("login") || lower.contains("client");
            let shown = if is_name { self.pseudonym("user", bare) } else { SECRET.to_owned() };
            format!("{name}{between}{quote}{shown}{quote}")
        });
        assigned.into_owned()
    }

    fn names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, kind) in &self.names {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), &self.pseudonym(kind, name));
            }
        }
        text
    }

    /// Known ids of that length or more, whole or as parts of longer words (`beaconfence-STORE-GATEWAY-in`).
    fn ids(&self, text: &str, least: usize) -> String {
        let replaced = self.patterns.word.replace_all(text, |found: &Captures| self.word(&found[0], least));
        replaced.into_owned()
    }

    fn word(&self, word: &str, least: usize) -> String {
        let known = |part: &str| {
            let kind = (part.len() >= least).then(|| self.ids.get(&part.to_lowercase())).flatten()?;
            Some(self.pseudonym(kind, part))
        };
        let mut begins = vec![0];
        begins.extend(word.match_indices(['.', '_', '-']).map(|(at, _)| at + 1));
        let ends: Vec<usize> =
            begins.iter().skip(1).map(|begin| begin - 1).chain(std::iter::once(word.len())).collect();
        let mut out = String::new();
        let mut at = 0;
        while at < begins.len() {
            let longest = (at..begins.len()).rev().find_map(|end| Some((end, known(&word[begins[at]..ends[end]])?)));
            let (end, shown) = longest.unwrap_or_else(|| (at, word[begins[at]..ends[at]].to_owned()));
            out.push_str(&shown);
            if end + 1 < begins.len() {
                out.push_str(&word[ends[end]..begins[end + 1]]);
            }
            at = end + 1;
        }
        out
    }

    fn looks_like_identifier(&self, text: &str) -> String {
        let Patterns { email, identity, uuid, colons, address, ipv4, hex, geo, named_coordinate, coordinate, .. } =
            &self.patterns;
        let replace = |text: &str, pattern: &Regex, kind: &str| {
            pattern.replace_all(text, |found: &Captures| self.pseudonym(kind, &found[0])).into_owned()
        };
        let text = email.replace_all(text, |found: &Captures| {
            // What stands before the host of an address is a secret already.
            if found[0].starts_with(SECRET) { found[0].to_owned() } else { self.pseudonym("mail", &found[0]) }
        });
        let text = replace(&text, geo, "coordinate");
        let text = replace(&text, identity, "identity");
        let text = replace(&text, uuid, "uuid");
        let text = self.colons(&text, colons);
        let text = address.replace_all(&text, |found: &Captures| {
            let digits: String = found[0].chars().filter(char::is_ascii_hexdigit).collect();
            self.pseudonym("mac", &digits)
        });
        let text = ipv4.replace_all(&text, |found: &Captures| match found[0].parse::<Ipv4Addr>() {
            Ok(address) if !says_nothing(IpAddr::V4(address)) => self.pseudonym("ip", &found[0]),
            _ => found[0].to_owned(),
        });
        let text = named_coordinate.replace_all(&text, |found: &Captures| {
            format!("{}{}{}", &found[1], &found[2], self.pseudonym("coordinate", &found[3]))
        });
        let text = replace(&text, coordinate, "coordinate");
        replace(&text, hex, "hex")
    }

    /// What is written with colons: addresses of the network and of radios, but no times and no paths of code.
    fn colons(&self, text: &str, pattern: &Regex) -> String {
        let replaced = pattern.replace_all(text, |found: &Captures| {
            let Some(whole) = found.get(0) else { return String::new() };
            let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let (before, after) = (text[..whole.start()].chars().next_back(), text[whole.end()..].chars().next());
            match whole.as_str().parse::<Ipv6Addr>() {
                Ok(address) if !is_part(before) && !is_part(after) && !says_nothing(IpAddr::V6(address)) => {
                    self.pseudonym("ip", &address.to_string())
                }
                _ => whole.as_str().to_owned(),
            }
        });
        replaced.into_owned()
    }

    /// A document without anything that is to be taken out, names of members among it.
    pub fn json(&self, value: &Value) -> Value {
        self.member("", value)
    }

    fn member(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if is_secret_name(name) => {
                Value::String(if text.is_empty() { String::new() } else { SECRET.to_owned() })
            }
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.member(name, item)).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (self.text(name), self.member(name, value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Value::Number(number) if number.is_f64() => self.number(name, number.as_f64().unwrap_or_default()),
            Value::Number(number) if is_coordinate_name(name) => {
                Value::String(self.pseudonym("coordinate", &number.to_string()))
            }
            _ => value.clone(),
        }
    }

    fn number(&self, name: &str, number: f64) -> Value {
        let text = number.to_string();
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let is_measure = ["_s", "_ms", "_db", "db", "seconds"].iter().any(|ending| name.ends_with(ending));
        if is_coordinate_name(name) || (decimals >= DECIMALS && !is_measure) {
            return Value::String(self.pseudonym("coordinate", &text));
        }
        Value::from((number * 1_000.0).round() / 1_000.0)
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "secret", "credential"].iter().any(|word| name.contains(word)) && !name.ends_with("_file")
}

fn is_coordinate_name(name: &str) -> bool {
    ["lat", "latitude", "lon", "lng", "long", "longitude", "x", "y", "z", "origin", "coordinates", "bearing", "outline"]
        .contains(&name.to_lowercase().as_str())
}

/// An address that every machine has.
fn says_nothing(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let mut redactor = Redactor::new().unwrap();
        redactor.know("device", "shopper-06");
        redactor.know("device", "01");
        redactor.know("device", "anna-a1b2c3d4e5f6");
        redactor.know("site", "market-hall");
        redactor.know("gateway", "gw-7");
        redactor.know("zone", "Cheese and deli");
        redactor.know_secret("hunter2!");
        redactor
    }

    #[test]
    fn identifiers_of_every_kind_are_taken_out_and_can_be_followed() {
        let redactor = redactor();
        for (text, leaks) in [
            ("device=shopper-06 entered", &["shopper", "06"][..]),
            ("Shopper-06.", &["opper"]),
            ("client beaconfence-market-hall-gw-7-in", &["market", "hall", "gw-7"]),
            ("market-hall/events/x/entered of anna-a1b2c3d4e5f6", &["market", "anna", "a1b2"]),
            ("in \"Cheese and deli\" now", &["Cheese", "deli"]),
            ("C0:FF:EE:00:00:01 and c0-ff-ee-00-00-01, dev_C0_FF_EE_00_00_01", &["FF", "ff", "EE", "ee"]),
            ("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/4711/815", &["e2c5", "4711", "815"]),
            ("id E2C56DB5-DFFB-48D2-B060-D0F5A71096E0", &["E2C5", "96E0"]),
            ("data 4c000215e2c56db5dffb48d2", &["4c00", "48d2"]),
            ("from 192.168.17.23:1883 and fe80::1c2d:3e4f:5061:7283", &["192.168", "fe80", "7283"]),
            ("2001:db8:aa:bb:cc:dd:ee:ff", &["2001", "aa:bb"]),
            ("mail to jan.de.vries+x@shop.example.nl", &["vries", "shop", "example"]),
            ("at 51.91327889 4.47049207", &["51.9", "4.47"]),
            ("latitude = 51.9, lon: 4", &["51.9", " 4"]),
            ("geo:51.9,4.4", &["51.9", "4.4"]),
            ("owntracks:anna/phone said", &["anna", "phone"]),
            ("mqtts://anna:geheim@broker:8883/x", &["anna", "geheim"]),
            ("password = \"two words\" and secret: x9", &["two", "words", "x9"]),
            ("username=jan-1", &["jan-1"]),
            ("Authorization: Bearer abc.def-1", &["abc", "def"]),
            ("token bf_AbCdEf0123456789", &["AbCd", "0123"]),
            ("it was hunter2!", &["hunter"]),
            ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----", &["MIIE"]),
            ("-----BEGIN PRIVATE KEY-----\nMIIEvQ", &["MIIE"]),
        ] {
            let redacted = redactor.text(text);
            for leak in leaks {
                assert!(!redacted.contains(leak), "{text:?} became {redacted:?}, which holds {leak:?}");
            }
            assert_eq!(redacted, redactor.text(text), "the same each time");
        }
        assert_eq!(redactor.text("shopper-06"), redactor.text("SHOPPER-06"));
        let addresses = redactor.text("C0:FF:EE:00:00:07 dev_C0_FF_EE_00_00_07");
        let (one, other) = addresses.split_once(" dev_").unwrap();
        assert_eq!(one, other, "however it is written");
        let another = Redactor::new().unwrap();
        assert_ne!(redactor.pseudonym("device", "d"), another.pseudonym("device", "d"), "no bundle is like another");
    }

    #[test]
    fn what_says_nothing_about_anybody_stays_readable() {
        let redactor = redactor();
        for text in [
            "2026-11-26T10:15:03.120Z  INFO beaconfence::mqtt::publisher: connected after 1.25 s",
            "listening on 127.0.0.1:8090 and [::1]:8090",
            "version 0.1.0, kernel 6.12.48+deb13-amd64, BlueZ 5.82",
            "password_file = \"/etc/beaconfence/password\"",
            "4096 sightings in 12.5 s, rssi -67",
            "commits 123456, 1048576 bytes",
        ] {
            assert_eq!(redactor.text(text), text);
        }
    }

    #[test]
    fn a_document_keeps_its_form() {
        let redactor = redactor();
        let document = serde_json::json!({
            "receivers": {"shopper-06": {"advertisements": 12, "reason": "at 10.1.2.3"}},
            "oldest_s": 1.234_567, "db": -4.25, "latitude": 51, "mean": 4.470_492, "password": "x", "none": null
        });
        let redacted = redactor.json(&document);
        let text = redacted.to_string();
        for leak in ["shopper", "10.1.2.3", ":51,", "4.4704", "\"x\""] {
            assert!(!text.contains(leak), "{text} holds {leak}");
        }
        assert_eq!(redacted["oldest_s"], 1.235);
        assert_eq!(redacted["db"], -4.25);
        assert_eq!(redacted["none"], Value::Null);
        let (_, receiver) = redacted["receivers"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(receiver["advertisements"], 12);
    }
}
