//! The report for people: a line for each finding, and below it what to do.

use std::fmt::Write as _;

use super::super::table::printable;
use crate::doctor::finding::{Check, Finding, Outcome, Report};

/// Between columns.
const GAP: usize = 2;
/// A text column that is narrower than this is no use: then it goes below.
const NARROWEST: usize = 30;
/// Wider lines are hard to read.
const WIDEST: usize = 110;

/// The whole report. `width` is that of the terminal; who reads it from a pipe gets one line a finding.
pub(super) fn report(report: &Report, width: Option<u16>) -> String {
    let mut out = String::new();
    for finding in report.findings() {
        match width {
            Some(width) => on_terminal(&mut out, finding, usize::from(width)),
            None => in_pipe(&mut out, finding),
        }
    }
    let warnings = report.count(Outcome::Warning);
    let counts = [
        (report.count(Outcome::Failed), "failed"),
        (warnings, if warnings == 1 { "warning" } else { "warnings" }),
        (report.count(Outcome::NotTried), "not tried"),
        (report.count(Outcome::Ok), "ok"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let _ =
        writeln!(out, "\n{}", if counts.is_empty() { "nothing was looked at".to_owned() } else { counts.join(", ") });
    out
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "FAILED",
        Outcome::NotTried => "not tried",
    }
}

/// As wide as the widest word and the widest name.
fn head(finding: &Finding) -> String {
    let words = Outcome::ALL.iter().map(|outcome| word(*outcome).len()).max().unwrap_or(0);
    let names = Check::ALL.iter().map(|check| check.as_str().len()).max().unwrap_or(0);
    format!(
        "{:<words$}{:GAP$}{:<names$}{:GAP$}",
        word(finding.outcome),
        "",
        finding.check.as_str(),
        "",
        words = words,
        names = names
    )
}

fn message(finding: &Finding) -> String {
    printable(&match &finding.subject {
        Some(subject) => format!("{subject}: {}", finding.message),
        None => finding.message.clone(),
    })
}

fn in_pipe(out: &mut String, finding: &Finding) {
    let _ = writeln!(out, "{}{}", head(finding), printable(&finding.sentence()));
}

fn on_terminal(out: &mut String, finding: &Finding, width: usize) {
    let head = head(finding);
    let fits = width >= head.len() + NARROWEST;
    let (indent, room) = if fits { (head.len(), width - head.len()) } else { (GAP, width - GAP) };
    let room = room.min(WIDEST);
    let mut lines = wrapped(&message(finding), room).into_iter();
    if fits {
        let _ = writeln!(out, "{head}{}", lines.next().unwrap_or_default());
    } else {
        let _ = writeln!(out, "{}", head.trim_end());
    }
    let mut lines: Vec<String> = lines.collect();
    if let Some(remedy) = &finding.remedy {
        let words = printable(&remedy.words);
        let end = if words.ends_with(['.', '"']) || remedy.command.is_some() { "" } else { "." };
        let colon = if remedy.command.is_some() { ":" } else { "" };
        // The arrow stands before the first line of it.
        let told = wrapped(&format!("{words}{end}{colon}"), room.saturating_sub(GAP));
        lines.extend(told.iter().enumerate().map(|(at, line)| format!("{} {line}", if at == 0 { "→" } else { " " })));
        // Never wrapped: it is to be copied.
        let commands = remedy.command.iter().flat_map(|command| command.lines());
        lines.extend(commands.map(|command| format!("    {}", printable(command))));
    }
    for line in lines {
        let _ = writeln!(out, "{:indent$}{line}", "");
    }
}

/// Lines of at most `room` characters, broken at spaces; a longer word stands alone.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if taken > 0 && taken + 1 + length > room {
            lines.push(String::new());
            taken = 0;
        }
        if let Some(line) = lines.last_mut() {
            if taken > 0 {
                line.push(' ');
                taken += 1;
            }
            line.push_str(word);
            taken += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Remedy;

    fn sample() -> Report {
        let remedy =
            Remedy::new("Switch network time on, and see that it is set").command("sudo timedatectl set-ntp true");
        Report::new(vec![
            Finding::ok(Check::Memory, "1.2 GB available"),
            Finding::failed(
                Check::Clock,
                "clock-not-set",
                "the clock was never set: it says 1970-01-01T00:00:10.000Z, and so do all events",
                remedy,
            ),
            Finding::not_tried(Check::Publish, "no-broker", "no broker lets the gateway in").of("mqtt://b"),
        ])
    }

    #[test]
    fn a_terminal_gets_lines_that_fit_and_a_command_in_one_piece() {
        let out = report(&sample(), Some(60));
        assert_eq!(
            out,
            "\
not tried  publish     mqtt://b: no broker lets the gateway
                       in
FAILED     clock       the clock was never set: it says
                       1970-01-01T00:00:10.000Z, and so do
                       all events
                       → Switch network time on, and see
                         that it is set:
                           sudo timedatectl set-ntp true
ok         memory      1.2 GB available

1 failed, 1 not tried, 1 ok
"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_the_text_below() {
        let out = report(&sample(), Some(40));
        assert!(out.starts_with("not tried  publish\n  mqtt://b: no broker lets the gateway\n  in\n"), "{out}");
    }

    #[test]
    fn a_pipe_gets_one_line_a_finding() {
        let out = report(&sample(), None);
        assert_eq!(out.lines().count(), 5, "{out}");
        assert!(out.contains("\nFAILED     clock       the clock was never set"), "{out}");
        assert!(out.contains("see that it is set: sudo timedatectl set-ntp true\n"), "{out}");
    }

    #[test]
    fn lines_to_be_written_stand_below_one_another_and_in_one_line_for_a_pipe() {
        let remedy = Remedy::new("Allow it").command("topic write a/#\ntopic write b/#");
        let refused = Report::new(vec![Finding::failed(Check::Publish, "refused", "refused", remedy)]);
        let out = report(&refused, Some(80));
        assert!(out.contains("    topic write a/#\n                           topic write b/#\n"), "{out}");
        assert!(report(&refused, None).contains("refused. Allow it: topic write a/#; topic write b/#\n"));
    }

    #[test]
    fn what_was_found_cannot_steer_the_terminal() {
        let out = report(&Report::new(vec![Finding::ok(Check::Config, "a\u{1b}[2Jb").of("x\ny")]), Some(80));
        assert!(!out.contains('\u{1b}') && out.lines().count() == 3, "{out}");
    }
}
