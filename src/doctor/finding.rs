//! What a check comes to: pure, and the same for people and for programs.

use serde_json::{Map, Value, json};

/// The version of the JSON that [`Report::json`] gives.
const SCHEMA_VERSION: u32 = 1;

/// Something that is looked at. The order is that of the report: a cause comes before what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// gateway.toml, the files that it names, and the site directory.
    Config,
    /// The system's message bus, and the right to talk to `bluetoothd` over it.
    Dbus,
    /// `bluetoothd` runs; its version.
    Bluetoothd,
    /// The adapters of gateway.toml are there and powered; what they can do.
    Adapter,
    /// Advertisement monitors are to be had: every advertisement is heard.
    Monitors,
    /// Something is heard, and how often.
    Hearing,
    /// The brokers can be reached, are trusted, and let the gateway in.
    Broker,
    /// The gateway may publish what it publishes.
    Publish,
    /// The gateway may subscribe to what comes in.
    Subscribe,
    /// The clock is set.
    Clock,
    /// There is room on the disk.
    Disk,
    /// The data directory can be written and is private.
    DataDir,
    /// There is memory.
    Memory,
    /// The addresses of the API and the web UI are free, or the gateway's own.
    Http,
}

impl Check {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::Config,
        Self::Dbus,
        Self::Bluetoothd,
        Self::Adapter,
        Self::Monitors,
        Self::Hearing,
        Self::Broker,
        Self::Publish,
        Self::Subscribe,
        Self::Clock,
        Self::Disk,
        Self::DataDir,
        Self::Memory,
        Self::Http,
    ];

    /// Its name, in arguments and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Dbus => "dbus",
            Self::Bluetoothd => "bluetoothd",
            Self::Adapter => "adapter",
            Self::Monitors => "monitors",
            Self::Hearing => "hearing",
            Self::Broker => "broker",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::DataDir => "data-dir",
            Self::Memory => "memory",
            Self::Http => "http",
        }
    }

    /// The check of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == name)
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be looked at; the message says why.
    NotTried,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Failed, Self::NotTried];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotTried => "not_tried",
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// In words: a sentence.
    pub words: String,
    /// A command that does it, or that shows more; or the lines that are to be written somewhere.
    pub command: Option<String>,
}

impl Remedy {
    /// In words only.
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), command: None }
    }

    /// With a command.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// Of what, where there are several: a receiver, a broker, an address.
    pub subject: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// The cause in one stable word for programs; none where all is well.
    pub cause: Option<&'static str>,
    /// In words, without a full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<Remedy>,
    /// What was measured, for programs.
    pub facts: Map<String, Value>,
}

impl Finding {
    fn new(check: Check, outcome: Outcome, cause: Option<&'static str>, message: String) -> Self {
        Self { check, subject: None, outcome, cause, message, remedy: None, facts: Map::new() }
    }

    /// All is well.
    pub fn ok(check: Check, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::Ok, None, message.into())
    }

    /// It could be better.
    pub fn warning(check: Check, cause: &'static str, message: impl Into<String>, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(check, Outcome::Warning, Some(cause), message.into()) }
    }

    /// It does not work.
    pub fn failed(check: Check, cause: &'static str, message: impl Into<String>, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(check, Outcome::Failed, Some(cause), message.into()) }
    }

    /// It was not looked at, because of that.
    pub fn not_tried(check: Check, cause: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Outcome::NotTried, Some(cause), message.into())
    }

    /// The same, about one of several.
    #[must_use]
    pub fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// The same, with something that was measured.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Whether somebody should do something.
    pub fn is_trouble(&self) -> bool {
        matches!(self.outcome, Outcome::Warning | Outcome::Failed)
    }

    /// One line: what is wrong and what to do.
    pub fn sentence(&self) -> String {
        let mut out = match &self.subject {
            Some(subject) => format!("{subject}: {}", self.message),
            None => self.message.clone(),
        };
        if let Some(remedy) = &self.remedy {
            out.push_str(". ");
            out.push_str(&remedy.words);
            if let Some(command) = &remedy.command {
                out.push_str(": ");
                out.push_str(&command.replace('\n', "; "));
            }
        }
        out
    }

    fn json(&self) -> Value {
        let mut out = Map::new();
        out.insert("check".to_owned(), self.check.as_str().into());
        out.extend(self.subject.as_ref().map(|subject| ("subject".to_owned(), subject.as_str().into())));
        out.insert("outcome".to_owned(), self.outcome.as_str().into());
        out.extend(self.cause.map(|cause| ("cause".to_owned(), cause.into())));
        out.insert("message".to_owned(), self.message.as_str().into());
        if let Some(remedy) = &self.remedy {
            let mut said = Map::from_iter([("words".to_owned(), Value::from(remedy.words.as_str()))]);
            said.extend(remedy.command.as_ref().map(|command| ("command".to_owned(), command.as_str().into())));
            out.insert("remedy".to_owned(), said.into());
        }
        if !self.facts.is_empty() {
            out.insert("facts".to_owned(), self.facts.clone().into());
        }
        out.into()
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Report(Vec<Finding>);

impl Report {
    /// Of these findings, which are put in order.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        // Stable: several of one check keep the order of gateway.toml.
        findings.sort_by_key(|finding| finding.check);
        Self(findings)
    }

    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// How many came to that.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|finding| finding.outcome == outcome).count()
    }

    /// Whether nothing failed.
    pub fn holds(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// One object for programs; `docs/doctor.md` has its form, which only grows.
    pub fn json(&self) -> Value {
        let summary: Map<String, Value> =
            Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), self.count(*outcome).into())).collect();
        json!({
            "schema_version": SCHEMA_VERSION,
            "version": env!("CARGO_PKG_VERSION"),
            "ok": self.holds(),
            "summary": summary,
            "findings": self.0.iter().map(Finding::json).collect::<Vec<_>>(),
        })
    }
}

/// `1 zone`, `2 zones`.
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `950 MB`, `4.1 GB`.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_found_by_its_name() {
        for check in Check::ALL {
            assert_eq!(Check::named(check.as_str()), Some(check));
        }
        assert_eq!(Check::named("radio"), None);
        assert!(Check::ALL.is_sorted());
    }

    #[test]
    fn only_what_failed_makes_the_report_fail() {
        let remedy = || Remedy::new("Do it");
        let ok = Finding::ok(Check::Memory, "enough");
        let warning = Finding::warning(Check::Disk, "little-room", "little", remedy());
        let not_tried = Finding::not_tried(Check::Publish, "no-broker", "no connection");
        let failed = Finding::failed(Check::Broker, "refused", "nobody there", remedy());
        assert!(Report::new(vec![ok.clone(), warning.clone(), not_tried.clone()]).holds());
        let report = Report::new(vec![ok, warning, not_tried, failed]);
        assert!(!report.holds());
        let order: Vec<Check> = report.findings().iter().map(|finding| finding.check).collect();
        assert_eq!(order, [Check::Broker, Check::Publish, Check::Disk, Check::Memory]);
    }

    #[test]
    fn programs_get_one_form_whatever_was_found() {
        let finding =
            Finding::failed(Check::Broker, "refused", "nobody there", Remedy::new("Start it").command("start it"))
                .of("mqtt://b")
                .fact("ms", 7);
        let json = Report::new(vec![finding, Finding::ok(Check::Clock, "set")]).json();
        assert_eq!(json["ok"], false);
        assert_eq!(json["summary"], json!({"ok": 1, "warning": 0, "failed": 1, "not_tried": 0}));
        assert_eq!(
            json["findings"],
            json!([
                {"check": "broker", "subject": "mqtt://b", "outcome": "failed", "cause": "refused",
                 "message": "nobody there", "remedy": {"words": "Start it", "command": "start it"}, "facts": {"ms": 7}},
                {"check": "clock", "outcome": "ok", "message": "set"},
            ])
        );
    }

    #[test]
    fn a_line_of_the_log_says_what_is_wrong_and_what_to_do() {
        let remedy = Remedy::new("Switch it on").command("timedatectl set-ntp true");
        let finding = Finding::warning(Check::Clock, "ntp-off", "nobody sets the clock", remedy);
        assert_eq!(finding.sentence(), "nobody sets the clock. Switch it on: timedatectl set-ntp true");
    }

    #[test]
    fn bytes_are_short() {
        assert_eq!([bytes(7), bytes(16_500_000), bytes(4_120_000_000)], ["7 B", "16 MB", "4.1 GB"]);
    }
}
