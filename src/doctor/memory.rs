//! Whether there is memory.

use super::finding::{Check, Finding, Remedy, bytes};

/// A gateway with a small site takes less than 40 MB: with less than this beside it the system soon kills something.
const LEAST: u64 = 64_000_000;
/// Enough for all but very many devices: 100,000 of them, 10,000 active, take up to 300 MB.
const GOOD: u64 = 150_000_000;

/// What is known of the memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What programs can still have.
    pub available: u64,
    /// All that there is, of this machine or of the group (a container, a unit) that this runs in.
    pub total: u64,
    /// Whether the group's limit is what counts.
    pub is_limited: bool,
}

/// Reads what Linux says; none elsewhere.
pub fn probe() -> Option<Facts> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let of_machine =
        Facts { available: line(&text, "MemAvailable:")?, total: line(&text, "MemTotal:")?, is_limited: false };
    let of_group = group();
    Some(of_group.filter(|group| group.available < of_machine.available).unwrap_or(of_machine))
}

fn line(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

/// The limit of the control group, where it has one.
fn group() -> Option<Facts> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim();
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{name}")).ok()?.trim().parse().ok()
    };
    let (total, used) = (read("memory.max")?, read("memory.current")?);
    Some(Facts { available: total.saturating_sub(used), total, is_limited: true })
}

/// What that means.
pub fn judge(facts: Option<Facts>) -> Finding {
    const CHECK: Check = Check::Memory;
    let Some(facts) = facts else {
        return Finding::not_tried(CHECK, "unknown", "this system does not say how much memory there is");
    };
    let whose = if facts.is_limited { "that this unit or container may have" } else { "of this machine" };
    let message = format!("{} available of the {} {whose}", bytes(facts.available), bytes(facts.total));
    let remedy = || {
        let words = if facts.is_limited {
            "Give the unit or the container more (MemoryMax, --memory)"
        } else {
            "End what is not needed, or take a machine with more memory"
        };
        Remedy::new(words).command("ps -eo rss,comm --sort=-rss | head")
    };
    let finding = if facts.available < LEAST {
        Finding::failed(CHECK, "little-memory", format!("only {message}: the gateway is likely to be killed"), remedy())
    } else if facts.available < GOOD {
        let message = format!("{message}: enough for a small site, not for one with very many devices");
        Finding::warning(CHECK, "some-memory", message, remedy())
    } else {
        Finding::ok(CHECK, message)
    };
    finding.fact("available_bytes", facts.available).fact("total_bytes", facts.total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    #[test]
    fn what_is_available_counts_and_not_what_there_is() {
        let of = |available| judge(Some(Facts { available, total: 8_000_000_000, is_limited: false })).outcome;
        assert_eq!(
            [of(4_000_000_000), of(100_000_000), of(30_000_000)],
            [Outcome::Ok, Outcome::Warning, Outcome::Failed]
        );
        assert_eq!(judge(None).outcome, Outcome::NotTried);
    }

    #[test]
    fn the_lines_of_linux_are_read() {
        let text = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:          2 kB\n";
        assert_eq!((line(text, "MemTotal:"), line(text, "MemAvailable:")), (Some(16_384), Some(2_048)));
        assert_eq!(line(text, "Swap:"), None);
    }
}
