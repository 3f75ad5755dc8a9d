//! What the gateway says no to, and why: problem details (RFC 9457), printed as the faults of files are.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use crate::cli::table::printable;

/// The media type of problem details.
const MEDIA_TYPE: &str = "application/problem+json";
/// What the names of our problems begin with.
const TYPE: &str = "urn:beaconfence:problem:";
/// So many faults are printed; a person mends the first few and tries again.
const MOST_SHOWN: usize = 1_000;

/// Where what was sent comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// The command's arguments: lines mean nothing to whoever wrote them.
    Arguments,
    /// One file.
    File(PathBuf),
    /// The files of a directory.
    Directory(PathBuf),
}

/// One fault, or one warning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(in crate::cli) struct Fault {
    file: Option<String>,
    line: Option<u64>,
    record: Option<String>,
    message: String,
    help: Option<String>,
}

impl Fault {
    /// As one line: `FILE:LINE: error: RECORD: MESSAGE; HELP`.
    pub(in crate::cli) fn line(&self, severity: &str, place: &Place) -> String {
        let mut line = match place {
            Place::Arguments => String::new(),
            Place::File(file) => self.position(file),
            Place::Directory(dir) => self.file.as_ref().map_or_else(String::new, |file| self.position(&dir.join(file))),
        };
        line.push_str(severity);
        line.push_str(": ");
        if let Some(record) = &self.record {
            line.extend([record.as_str(), ": "]);
        }
        line.push_str(&self.message);
        if let Some(help) = &self.help {
            line.extend(["; ", help]);
        }
        printable(&line)
    }

    fn position(&self, file: &Path) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: ", file.display()),
            None => format!("{}: ", file.display()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Fault>,
}

/// The gateway says no. Displays as one line a fault, ready for stderr.
#[derive(Debug)]
pub(in crate::cli) struct Refused {
    problem: Problem,
    place: Place,
    help: Option<String>,
}

impl Refused {
    /// What a refusing answer says.
    ///
    /// # Errors
    /// Where it is not one of ours.
    pub(super) fn new(answer: &Answer, place: Place, who: &str) -> anyhow::Result<Self> {
        let problem = (answer.media_type == MEDIA_TYPE).then(|| answer.json::<Problem>().ok()).flatten();
        let Some(problem) = problem else {
            anyhow::bail!(
                "{who} answers {} but does not say why; is it a beaconfence gateway of this version?",
                answer.status
            );
        };
        Ok(Self { problem, place, help: None })
    }

    /// The name of the problem, such as `exists`.
    pub(in crate::cli) fn is(&self, name: &str) -> bool {
        self.problem.kind.strip_prefix(TYPE) == Some(name)
    }

    /// With what to do, where the gateway cannot know it.
    #[must_use]
    pub(in crate::cli) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn own_help(&self) -> Option<&str> {
        if let Some(help) = &self.help {
            return Some(help);
        }
        [
            ("unauthenticated", "the token is not known here, or revoked: \"beaconfence token add\" makes another"),
            ("forbidden", "use the token of somebody with a higher role"),
            ("changed", "somebody has changed it meanwhile: look at what is there now, and try again"),
            ("changed-since", "undo the later revisions first, or change the record itself"),
        ]
        .into_iter()
        .find_map(|(name, help)| self.is(name).then_some(help))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { kind, title, detail, errors } = &self.problem;
        if errors.is_empty() {
            let said = detail.as_ref().or(title.as_ref()).unwrap_or(kind);
            write!(f, "error: {}", printable(said))?;
            return self.own_help().map_or(Ok(()), |help| write!(f, "; {help}"));
        }
        for (at, fault) in errors.iter().take(MOST_SHOWN).enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{}", fault.line("error", &self.place))?;
        }
        if errors.len() > MOST_SHOWN {
            write!(f, "\nerror: and {} more faults", errors.len() - MOST_SHOWN)?;
        }
        match self.help.as_deref() {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}
