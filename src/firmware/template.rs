//! Templates: `@NAME@` stands for a value; any other `@` is itself.
//!
//! Values are put in once and are not read again, so a value cannot bring another one in. A name that has no value, and
//! a value that no name asks for, are mistakes. Values arrive escaped for the language of the template (see
//! [`escape`](super::escape)).

use super::FirmwareError;

/// A template with its file name, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template {
    pub(super) file: &'static str,
    pub(super) text: &'static str,
}

impl Template {
    /// The text with these values.
    pub(super) fn fill(self, values: &[(&str, &str)]) -> Result<String, FirmwareError> {
        let fault = |reason: String| FirmwareError::Template { file: self.file, reason };
        let mut used = vec![false; values.len()];
        let mut out = String::with_capacity(self.text.len() * 2);
        let mut rest = self.text;
        while let Some(at) = rest.find('@') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || !rest[end..].starts_with('@') {
                // One of the template's own language.
                out.push('@');
                continue;
            }
            let found = values.iter().position(|(known, _)| *known == name);
            let found = found.ok_or_else(|| fault(format!("@{name}@ has no value")))?;
            used[found] = true;
            out.push_str(values[found].1);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        match used.iter().position(|used| !used) {
            Some(at) => Err(fault(format!("@{}@ is not in it", values[at].0))),
            None => Ok(out),
        }
    }
}

/// The template of a file below `firmware-config/`.
macro_rules! template {
    ($file:literal) => {
        $crate::firmware::template::Template {
            file: concat!("firmware-config/", $file),
            text: include_str!(concat!("../../firmware-config/", $file)),
        }
    };
}

pub(super) use template;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &'static str, values: &[(&str, &str)]) -> Result<String, String> {
        Template { file: "t", text }.fill(values).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_put_in_and_not_read_again() {
        assert_eq!(fill("a @A@ @B@@A@.", &[("A", "@B@"), ("B", "2")]).unwrap(), "a @B@ 2@B@.");
    }

    #[test]
    fn what_does_not_fit_is_a_mistake() {
        assert!(fill("@A@", &[]).unwrap_err().contains("@A@ has no value"));
        assert!(fill("a", &[("A", "1")]).unwrap_err().contains("@A@ is not in it"));
    }

    #[test]
    fn other_signs_are_themselves() {
        assert_eq!(fill("@page \"$@\" @@ a@b @A @A@", &[("A", "1")]).unwrap(), "@page \"$@\" @@ a@b @A 1");
    }
}
