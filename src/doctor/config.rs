//! gateway.toml and what it names, as `check` sees it.

use std::path::Path;

use super::finding::{Check, Finding, Outcome, Remedy, counted};
use crate::config::{Checked, Diagnostic, Severity};

/// So many faults are listed; `check` has them all.
const MOST: usize = 10;

/// One finding a fault and a warning, or one that says that there are none.
pub fn judge(file: &Path, checked: &Checked) -> Vec<Finding> {
    let found: Vec<&Diagnostic> = [Severity::Error, Severity::Warning]
        .iter()
        .flat_map(|severity| checked.diagnostics.iter().filter(move |diagnostic| diagnostic.severity == *severity))
        .collect();
    if found.is_empty() {
        return vec![Finding::ok(Check::Config, summary(file, checked))];
    }
    let mut findings: Vec<Finding> = found.iter().take(MOST).map(|diagnostic| finding(file, diagnostic)).collect();
    if found.len() > MOST {
        let outcome = if found[MOST].severity == Severity::Error { Outcome::Failed } else { Outcome::Warning };
        let message = format!("{} more", found.len() - MOST);
        let remedy = Remedy::new("See them all").command(format!("beaconfence check --config {}", file.display()));
        let mut more = Finding::warning(Check::Config, "more", message, remedy);
        more.outcome = outcome;
        findings.push(more);
    }
    findings
}

fn finding(gateway: &Path, diagnostic: &Diagnostic) -> Finding {
    let record = diagnostic.record.as_ref().map_or_else(String::new, |record| format!("{record}: "));
    let message = format!("{record}{}", diagnostic.message);
    let remedy = match &diagnostic.help {
        Some(help) => Remedy::new(capitalised(help)),
        None => Remedy::new("Mend the file, and see what else it says")
            .command(format!("beaconfence check --config {}", gateway.display())),
    };
    let finding = match diagnostic.severity {
        Severity::Error => Finding::failed(Check::Config, "fault", message, remedy),
        Severity::Warning => Finding::warning(Check::Config, "advice", message, remedy),
    };
    let place = diagnostic.file.display().to_string();
    let finding = finding.fact("file", place.as_str());
    match diagnostic.line {
        Some(line) => finding.of(format!("{place}:{line}")).fact("line", line),
        None => finding.of(place),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        // A command is written as it is typed.
        Some(first) if !text.starts_with("chmod ") => first.to_uppercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}

fn summary(file: &Path, checked: &Checked) -> String {
    let file = file.display();
    match (&checked.registry, &checked.gateway) {
        (Some(registry), _) => format!(
            "{file} and site \"{}\" have no faults: {}, {}, {}",
            registry.site().id,
            counted(registry.receivers().len(), "receiver"),
            // The reserved zone is always there; people count those that they drew.
            counted(registry.zones().len() - 1, "zone"),
            counted(registry.beacons().len(), "beacon"),
        ),
        (None, Some(config)) if crate::store::is_there(&config.data_dir) => {
            format!("{file} has no faults; what is registered is in {}", config.data_dir.display())
        }
        _ => format!("{file} has no faults"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(diagnostics: Vec<Diagnostic>) -> Checked {
        Checked { gateway: None, registry: None, diagnostics }
    }

    #[test]
    fn a_fault_says_where_it_is_and_what_to_do() {
        let fault = Diagnostic::error(Path::new("site/zones.geojson"), "the ring crosses itself")
            .at(7)
            .of("zone \"tills\"")
            .help("draw it anew");
        let advice = Diagnostic::warning(Path::new("gateway.toml"), "odd");
        let findings = judge(Path::new("gateway.toml"), &checked(vec![advice, fault]));
        assert_eq!(findings.len(), 2);
        assert_eq!(
            findings[0].sentence(),
            "site/zones.geojson:7: zone \"tills\": the ring crosses itself. Draw it anew"
        );
        assert_eq!((findings[0].outcome, findings[1].outcome), (Outcome::Failed, Outcome::Warning));
        assert_eq!(findings[0].facts["line"], 7);
    }

    #[test]
    fn many_faults_are_counted() {
        let many = (0..30).map(|n| Diagnostic::error(Path::new("gateway.toml"), format!("wrong {n}"))).collect();
        let findings = judge(Path::new("gateway.toml"), &checked(many));
        assert_eq!(findings.len(), MOST + 1);
        let last = findings.last().unwrap();
        assert_eq!((last.message.as_str(), last.outcome), ("20 more", Outcome::Failed));
    }
}
