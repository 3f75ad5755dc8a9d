//! Tables for people.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Where the width is not known, and the least that is made use of.
const USUAL_WIDTH: u16 = 80;
const LEAST_WIDTH: u16 = 40;
/// Digits are grouped by so many.
const GROUP: usize = 3;

/// One column: its heading, and whether its values are numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    heading: &'static str,
    is_number: bool,
}

/// A column of texts.
pub(super) const fn text(heading: &'static str) -> Column {
    Column { heading, is_number: false }
}

/// A column of numbers, which stand under one another.
pub(super) const fn number(heading: &'static str) -> Column {
    Column { heading, is_number: true }
}

/// Lines of a table without borders, which fits the terminal where there is one. Whoever reads it from a pipe gets one line
/// a row.
pub(super) fn lines(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    laid_out(columns, rows, width())
}

fn laid_out(columns: &[Column], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.heading));
    for row in rows {
        table.add_row(row.iter().map(|value| printable(value)));
    }
    for (at, column) in columns.iter().enumerate() {
        if let Some(set) = table.column_mut(at) {
            set.set_padding((0, 2));
            if column.is_number {
                set.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How wide the terminal is; none where the output goes elsewhere.
pub(super) fn width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(set.or_else(asked_of_the_terminal).unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH))
}

/// `stty` knows: `ROWS COLUMNS`.
fn asked_of_the_terminal() -> Option<u16> {
    let terminal = std::fs::File::open("/dev/tty").ok()?;
    let asked = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    let columns: u16 = std::str::from_utf8(&asked.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()?;
    (columns > 0).then_some(columns)
}

/// Without what a terminal would take for a command: names come from elsewhere.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(GROUP) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 zone`, `2,000 zones`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// Writes to standard output; a reader that has seen enough is no fault.
pub(super) fn print(out: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    super::quiet_when_nobody_reads(stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![
            vec!["b1".to_owned(), "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/17".to_owned(), "-59".to_owned()],
            vec!["shelf-a".to_owned(), "mac:C0:FF:EE:00:00:01".to_owned(), "-5".to_owned()],
        ]
    }

    const COLUMNS: [Column; 3] = [text("id"), text("identity"), number("power")];

    #[test]
    fn a_pipe_gets_one_line_a_row_however_long() {
        let out = laid_out(&COLUMNS, rows(), None);
        assert_eq!(
            out,
            "id       identity                                           power\n\
             b1       ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/17    -59\n\
             shelf-a  mac:C0:FF:EE:00:00:01                                 -5\n"
        );
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        let out = laid_out(&COLUMNS, rows(), Some(44));
        assert!(out.lines().all(|line| line.chars().count() <= 44), "{out}");
        assert!(out.lines().count() > 3, "{out}");
    }

    #[test]
    fn what_is_listed_cannot_steer_the_terminal() {
        let out = laid_out(&[text("name")], vec![vec!["a\u{1b}[2J\nb\u{202e}".to_owned()]], None);
        assert_eq!(out, "name\na\u{fffd}[2J\u{fffd}b\u{fffd}\n");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            (thousands(7), thousands(1_000), thousands(1_234_567)),
            ("7".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!((counted(1, "zone"), counted(2_000, "zone")), ("1 zone".to_owned(), "2,000 zones".to_owned()));
    }
}
