//! What the system says of this process, as Prometheus' own clients name it.

use super::{Family, Kind};

/// Ticks of the clock that Linux gives times in to programs, a second.
const TICKS: f64 = 100.0;

/// The figures; none where the system says nothing.
pub(super) fn families() -> Vec<Family> {
    let mut families = Vec::new();
    let mut put = |kind, name, help, value: Option<f64>| {
        families.extend(value.map(|value| Family::one(kind, name, help, value)));
    };
    let stat = Stat::read();
    let stat = stat.as_ref();
    let gauge = Kind::Gauge;
    put(Kind::Counter, "process_cpu_seconds", "Time of the processors that it has taken.", stat.map(|stat| stat.cpu_s));
    put(gauge, "process_start_time_seconds", "When it began.", stat.and_then(|stat| Some(boot()? + stat.began_s)));
    put(gauge, "process_resident_memory_bytes", "Memory that it has.", resident());
    put(gauge, "process_open_fds", "Files and connections that are open.", open_files());
    families
}

struct Stat {
    cpu_s: f64,
    /// After the start of the system.
    began_s: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// See `proc_pid_stat`(5): the name of the program stands in brackets and may have anything in it.
    fn parse(text: &str) -> Option<Self> {
        let after = text.rsplit_once(')')?.1;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        // `state` is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_s: (field(14)? + field(15)?) / TICKS, began_s: field(22)? / TICKS })
    }
}

fn boot() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn resident() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kib.trim().parse::<f64>().ok()? * 1_024.0)
}

fn open_files() -> Option<f64> {
    // The directory that is looked through is open, too.
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(count.saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_hindrance() {
        let text =
            "42 (a) b) (c) S 1 42 42 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 5 0 12345 1000 200 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_s, stat.began_s), (2.0, 123.45));
        assert!(Stat::parse("42 (a S 1").is_none());
        assert!(Stat::parse("42 (a) S 1").is_none());
    }
}
