//! What is wrong with a file, said in one line: where, what, and what to do.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

/// How grave a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The files cannot be used as they are.
    Error,
    /// They can be used, but probably don't do what was meant.
    Warning,
}

impl Severity {
    /// The word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One fault or warning. Printed as `FILE:LINE: error: RECORD: MESSAGE; HELP`, always on one line; as `line LINE: error: …`
/// where there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// The file, as a path that opens it; empty for what came in no file, such as the body of a request.
    pub file: PathBuf,
    /// The line, counted from 1; none where the whole file is meant.
    pub line: Option<usize>,
    /// The record in the words of the file, such as `zone "tills"`.
    pub record: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault of a whole file.
    pub fn error(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: None,
            record: None,
            message: message.into(),
            help: None,
        }
    }

    /// A warning about a whole file.
    pub fn warning(file: &Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// The same, with the line.
    #[must_use]
    pub fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The same, with the record.
    #[must_use]
    pub fn of(mut self, record: impl Into<String>) -> Self {
        self.record = Some(record.into());
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_line(f, &self.file.to_string_lossy())?;
        let is_file = !self.file.as_os_str().is_empty();
        match self.line {
            Some(line) if is_file => write!(f, ":{line}: ")?,
            Some(line) => write!(f, "line {line}: ")?,
            None if is_file => f.write_str(": ")?,
            None => {}
        }
        write!(f, "{}: ", self.severity.as_str())?;
        if let Some(record) = &self.record {
            one_line(f, record)?;
            f.write_str(": ")?;
        }
        one_line(f, &self.message)?;
        if let Some(help) = &self.help {
            f.write_str("; ")?;
            one_line(f, help)?;
        }
        Ok(())
    }
}

/// Files are quoted in messages: what they hold must not break the line or steer the terminal.
fn one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            write!(f, "{}", c.escape_unicode())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// Everything that is wrong with a set of files: at least one error, and the warnings found on the way; in the order of
/// files and lines. Displays as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Diagnostic>);

impl Faults {
    /// All of them.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }

    /// All of them.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl From<Diagnostic> for Faults {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

/// `value` and the warnings where there is a value and nothing is wrong, all faults otherwise.
pub(super) fn conclude<T>(value: Option<T>, diagnostics: Vec<Diagnostic>) -> Result<(T, Vec<Diagnostic>), Faults> {
    match value {
        Some(value) if diagnostics.iter().all(|d| d.severity == Severity::Warning) => Ok((value, diagnostics)),
        _ => Err(Faults(diagnostics)),
    }
}

/// Most faults that are listed of one file, and most warnings: a person mends the first few and checks again.
const MAX_LISTED: usize = 1_000;

/// Collects the diagnostics of one file. Shared by the readers of its parts, hence the cells.
#[derive(Debug)]
pub(super) struct FileReport {
    file: PathBuf,
    /// What the file holds, where it is not on disk but in memory.
    text: Option<Cow<'static, str>>,
    list: RefCell<Vec<Diagnostic>>,
    unlisted: Cell<[usize; 2]>,
    listed: Cell<[usize; 2]>,
}

impl FileReport {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, text: None, list: RefCell::default(), unlisted: Cell::default(), listed: Cell::default() }
    }

    /// The report of a file in memory.
    pub(super) fn of_text(name: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: Some(text.into()), ..Self::new(name.into()) }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What the file holds, where it is in memory.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(super) fn has_errors(&self) -> bool {
        self.listed.get()[Severity::Error as usize] > 0
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Entry<'_> {
        Entry { report: self, diagnostic: Some(Diagnostic::error(&self.file, message)) }
    }

    pub(super) fn warning(&self, message: impl Into<String>) -> Entry<'_> {
        Entry { report: self, diagnostic: Some(Diagnostic::warning(&self.file, message)) }
    }

    fn add(&self, diagnostic: Diagnostic) {
        let at = diagnostic.severity as usize;
        let (mut listed, mut unlisted) = (self.listed.get(), self.unlisted.get());
        if listed[at] < MAX_LISTED {
            listed[at] += 1;
            self.list.borrow_mut().push(diagnostic);
        } else {
            unlisted[at] += 1;
        }
        self.listed.set(listed);
        self.unlisted.set(unlisted);
    }

    /// All diagnostics in the order of their lines.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|d| d.line);
        let [errors, warnings] = self.unlisted.get();
        if errors > 0 {
            list.push(
                Diagnostic::error(&self.file, format!("{errors} more faults are not listed"))
                    .help("mend the first ones and check again"),
            );
        }
        if warnings > 0 {
            list.push(Diagnostic::warning(&self.file, format!("{warnings} more warnings are not listed")));
        }
        list
    }
}

/// A diagnostic that is added to its report when dropped: `report.error("…").at(3).help("…");`.
#[derive(Debug)]
pub(super) struct Entry<'r> {
    report: &'r FileReport,
    diagnostic: Option<Diagnostic>,
}

impl Entry<'_> {
    pub(super) fn at(self, line: usize) -> Self {
        self.map(|d| d.at(line))
    }

    pub(super) fn of(self, record: impl Into<String>) -> Self {
        self.map(|d| d.of(record))
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.map(|d| d.help(help))
    }

    /// With the help, where there is one.
    pub(super) fn maybe_help(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    fn map(mut self, change: impl FnOnce(Diagnostic) -> Diagnostic) -> Self {
        self.diagnostic = self.diagnostic.take().map(change);
        self
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(diagnostic) = self.diagnostic.take() {
            self.report.add(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_whatever_the_file_holds() {
        let fault = Diagnostic::error(Path::new("a\nb.csv"), "\"\u{1b}[31m\u{202e}\" is no id")
            .at(7)
            .of("beacon \"x\r\"")
            .help("write one");
        assert_eq!(
            fault.to_string(),
            "a\\u{a}b.csv:7: error: beacon \"x\\u{d}\": \"\\u{1b}[31m\\u{202e}\" is no id; write one"
        );
    }

    #[test]
    fn what_came_in_no_file_is_named_by_its_line() {
        let fault = Diagnostic::error(Path::new(""), "wrong");
        assert_eq!(fault.to_string(), "error: wrong");
        assert_eq!(fault.at(3).to_string(), "line 3: error: wrong");
    }

    #[test]
    fn faults_come_in_the_order_of_lines_and_their_number_is_bounded() {
        let report = FileReport::new("f".into());
        for line in (1..=5_000).rev() {
            report.error("wrong").at(line);
        }
        report.warning("odd");
        assert!(report.has_errors());
        let list = report.finish();
        assert_eq!(list.len(), MAX_LISTED + 2);
        assert_eq!(list[0].severity, Severity::Warning);
        assert!(list.windows(2).take(MAX_LISTED).all(|pair| pair[0].line <= pair[1].line));
        assert_eq!(list[MAX_LISTED + 1].message, "4000 more faults are not listed");
    }
}
