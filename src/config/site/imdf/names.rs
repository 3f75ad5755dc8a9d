//! Names in the language of the map, and ids that people can read.

use std::collections::HashSet;

use serde_json::Value;

use crate::model::ZoneId;

/// A language tag (BCP 47); empty where none is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Language(pub(super) String);

impl Language {
    /// The text in that language, or in one that is near, or the first there is.
    pub(super) fn pick(&self, labels: Option<&Value>) -> Option<String> {
        let labels = match labels? {
            Value::String(text) => return Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Object(labels) => labels,
            _ => return None,
        };
        let texts = labels.iter().filter_map(|(tag, text)| Some((tag.as_str(), text.as_str()?.trim())));
        let texts: Vec<(&str, &str)> = texts.filter(|(_, text)| !text.is_empty()).collect();
        let main = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let exact = texts.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(&self.0));
        let near = || texts.iter().find(|(tag, _)| main(tag) == main(&self.0));
        exact.or_else(near).or(texts.first()).map(|(_, text)| (*text).to_owned())
    }
}

/// A category such as `restroom.female` in words.
pub(super) fn words(category: &str) -> String {
    let words = category.replace(['.', '_'], " ");
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => words,
    }
}

/// Ids that are taken.
pub(super) struct Ids(HashSet<String>);

impl Ids {
    pub(super) fn new(taken: impl Iterator<Item = String>) -> Self {
        let mut ids: HashSet<String> = taken.collect();
        ids.insert(ZoneId::SITE.to_owned());
        Self(ids)
    }

    /// An id out of the name, or out of what else it may be called; with a number where it is taken.
    pub(super) fn make(&mut self, name: &str, otherwise: &str) -> Option<ZoneId> {
        let stem = Some(slug(name)).filter(|slug| !slug.is_empty()).unwrap_or_else(|| slug(otherwise));
        let stem = if stem.is_empty() { "zone".to_owned() } else { stem };
        let mut id = stem.clone();
        let mut number = 1_u32;
        while !self.0.insert(id.clone()) {
            number += 1;
            id = format!("{stem}-{number}");
        }
        ZoneId::new(&id).ok()
    }
}

/// The most characters of an id before its number.
const MAX_STEM: usize = 48;

/// Lower-case ASCII letters and digits with hyphens between them.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        let mut folded = String::new();
        match ascii(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.extend(c.to_lowercase()),
        }
        for c in folded.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') && c != '\'' && c != '’' {
                slug.push('-');
            }
        }
        if slug.len() >= MAX_STEM {
            break;
        }
    }
    slug.truncate(MAX_STEM);
    slug.trim_end_matches('-').to_owned()
}

/// Latin letters without their marks.
fn ascii(c: char) -> Option<&'static str> {
    Some(match c.to_lowercase().next()? {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_readable_and_none_is_taken_twice() {
        let mut ids = Ids::new(["bakery".to_owned()].into_iter());
        let mut make = |name: &str| ids.make(name, "unit").unwrap().to_string();
        assert_eq!(make("Bakery"), "bakery-2");
        assert_eq!(make("Crêperie Zoë & Łukasz"), "creperie-zoe-lukasz");
        assert_eq!(make("L’Œuf d'Or (1er étage)"), "loeuf-dor-1er-etage");
        assert_eq!(make("寿司"), "unit");
        assert_eq!(make("—"), "unit-2");
        assert_eq!(make("Site"), "site-2");
        assert_eq!(make(&"very long ".repeat(20)).len(), 48);
    }

    #[test]
    fn names_are_those_of_the_language_of_the_map() {
        let labels = serde_json::json!({"fr": "Entrée", "en-GB": "Entrance", "de": " "});
        let pick = |tag: &str| Language(tag.to_owned()).pick(Some(&labels));
        assert_eq!(pick("fr").as_deref(), Some("Entrée"));
        assert_eq!(pick("en-US").as_deref(), Some("Entrance"));
        assert_eq!(pick("de").as_deref(), Some("Entrée"));
        assert_eq!(pick("").as_deref(), Some("Entrée"));
        assert_eq!(Language::default().pick(Some(&serde_json::json!({}))), None);
        assert_eq!(words("restroom.female"), "Restroom female");
    }
}
