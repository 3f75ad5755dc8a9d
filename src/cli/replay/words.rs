//! Text for people: named lines, wrapped and aligned; tables.

use std::io::{self, Write};

/// Lines are no longer than this, where a word is not.
const WIDTH: usize = 100;
/// What stands before a name.
const INDENT: usize = 4;
/// Room for a name and two spaces.
const NAME: usize = 13;

/// Writes `    name         text`, the text wrapped and aligned.
pub(super) fn named(out: &mut dyn Write, name: &str, text: &str) -> io::Result<()> {
    let mut first = true;
    for line in wrapped(text, WIDTH - INDENT - NAME) {
        let name = if std::mem::take(&mut first) { name } else { "" };
        writeln!(out, "{:INDENT$}{name:<NAME$}{line}", "")?;
    }
    Ok(())
}

/// The text in lines of at most `width` characters, broken at spaces.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let taken = lines[last].chars().count();
        if taken > 0 && taken + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if taken > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

/// Writes rows with aligned columns, two spaces between them: the first column to the left, the others to the right, or to
/// the left where `left` says so.
pub(super) fn table(out: &mut dyn Write, indent: &str, rows: &[Vec<String>], left: &[usize]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let is_left = column == 0 || left.contains(&column);
            if is_left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", format!("{indent}{}", cells.collect::<Vec<_>>().join("  ")).trim_end())?;
    }
    Ok(())
}

/// `1 sighting`, `2 sightings`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces_and_aligned() {
        let mut out = Vec::new();
        named(&mut out, "why", &"word ".repeat(30)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("    why          word") && lines[1].starts_with("                 word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(wrapped("averylongword b", 5), ["averylongword", "b"]);
    }

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let mut out = Vec::new();
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        table(&mut out, "  ", &[row(&["Café", "9", "to"]), row(&["x", "10", "t"])], &[2]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  Café   9  to\n  x     10  t\n");
    }
}
