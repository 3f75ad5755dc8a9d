//! Free text in other languages: names come from whoever edits the registry, and must stay text.

/// One line, without what breaks lines or steers a terminal or a reader's eye. Good for comments that end with their
/// line, and the first step of all others.
pub fn line(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            // Line and paragraph separators, directions of writing, byte order mark, what is no character.
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
            || u32::from(c) & 0xfffe == 0xfffe
    };
    // A line that ends in a backslash would go on in the next.
    let text: String = text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect();
    match text.strip_suffix('\\') {
        Some(rest) => format!("{rest}\\."),
        None => text,
    }
}

/// A comment of C: cannot end it, nor look as if it began another.
pub fn c_comment(text: &str) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in line(text).chars() {
        if matches!((last, c), ('*', '/') | ('/', '*') | ('?', '?')) {
            out.push(' ');
        }
        out.push(c);
        last = c;
    }
    out
}

/// Text and attributes of XML.
pub fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

/// A field of CSV (RFC 4180) that no spreadsheet takes for a formula: what begins like one gets an apostrophe in front,
/// which spreadsheets show as the text behind it.
pub fn csv(text: &str) -> String {
    let text = line(text);
    let begins_so = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    let text = if text.trim_start().starts_with(begins_so) { format!("'{text}") } else { text };
    if text.contains([',', '"', ';']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        assert_eq!(
            line("a\nb\r\u{85}c\u{2028}d\u{202e}e\u{1b}[2J\0"),
            "a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}[2J\u{fffd}"
        );
        assert_eq!(line("ends so \\"), "ends so \\.");
        assert_eq!(line("Käse & Öl"), "Käse & Öl");
    }

    #[test]
    fn a_comment_of_c_stays_one() {
        for hostile in ["*/ int x; /*", "**//**/", "/*/", "??/\n x", "*\u{202e}/"] {
            let safe = c_comment(hostile);
            assert!(
                !safe.contains("*/") && !safe.contains("/*") && !safe.contains("??") && !safe.contains('\n'),
                "{safe}"
            );
        }
    }

    #[test]
    fn xml_stays_text() {
        assert_eq!(xml("<script>\"'&\u{0}\u{fffe}"), "&lt;script&gt;&quot;&apos;&amp;\u{fffd}\u{fffd}");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM", "'@SUM"),
            (" =1", "' =1"),
            ("\t=1", "\u{fffd}=1"),
            ("a,b", "\"a,b\""),
            ("a\nb", "a\u{fffd}b"),
            ("plain", "plain"),
        ] {
            assert_eq!(csv(text), cell, "{text}");
        }
    }
}
