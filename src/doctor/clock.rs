//! Whether the clock is set.

use std::path::Path;

use super::finding::{Check, Finding, Remedy};
use crate::clock::{Clock, wall_clock};
use crate::model::Timestamp;

/// Files of the database may be so much newer than the clock says: file systems and clocks are coarse.
const TOLERANCE_MS: i64 = 60_000;

/// What is known of the clock.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it says.
    pub now: Timestamp,
    /// It says a time before this program was made.
    pub is_past: bool,
    /// When the database was last written, where there is one.
    pub written: Option<Timestamp>,
    /// What the system says of network time; none where nothing says so.
    pub network: Option<Network>,
}

/// What the system says of network time (`org.freedesktop.timedate1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The clock has been set from the network.
    pub synchronised: bool,
    /// A service is there to set it.
    pub enabled: bool,
}

/// Asks the system, and looks at the database in `data_dir`.
pub async fn probe(data_dir: Option<&Path>) -> Facts {
    let database = data_dir.map(|dir| dir.join("beaconfence.redb"));
    let written = database.and_then(|file| std::fs::metadata(file).ok()?.modified().ok());
    let written = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let written = written.and_then(|since| i64::try_from(since.as_millis()).ok()).map(Timestamp::from_millis);
    Facts { now: wall_clock(), is_past: Clock::new().is_suspect(), written, network: network().await }
}

#[cfg(target_os = "linux")]
async fn network() -> Option<Network> {
    async fn ask() -> zbus::Result<Network> {
        const NAME: &str = "org.freedesktop.timedate1";
        let bus = zbus::Connection::system().await?;
        let get = async |property: &str| -> zbus::Result<bool> {
            let properties = Some("org.freedesktop.DBus.Properties");
            let path = "/org/freedesktop/timedate1";
            let reply = bus.call_method(Some(NAME), path, properties, "Get", &(NAME, property)).await?;
            bool::try_from(reply.body().deserialize::<zbus::OwnedVariant>()?)
        };
        Ok(Network { synchronised: get("NTPSynchronized").await?, enabled: get("NTP").await? })
    }
    tokio::time::timeout(super::PATIENCE, ask()).await.ok()?.ok()
}

#[cfg(not(target_os = "linux"))]
async fn network() -> Option<Network> {
    None
}

/// What that means.
pub fn judge(facts: &Facts) -> Finding {
    const CHECK: Check = Check::Clock;
    let now = facts.now;
    let finding = if facts.is_past {
        let words = "Connect the machine to a time server; until then every event is marked as suspect";
        let message = format!("the clock was never set: it says {now}");
        Finding::failed(CHECK, "clock-not-set", message, Remedy::new(words).command("timedatectl"))
    } else if let Some(written) = facts.written.filter(|at| at.as_millis() > now.as_millis() + TOLERANCE_MS) {
        let words = "Set the clock, from a time server if there is one";
        let message = format!("the clock is behind: it says {now}, and the database was written at {written}");
        Finding::failed(CHECK, "clock-behind", message, Remedy::new(words).command("timedatectl"))
    } else {
        match facts.network {
            Some(Network { synchronised: true, .. }) => Finding::ok(CHECK, "set from the network"),
            Some(Network { enabled: true, .. }) => Finding::failed(
                CHECK,
                "clock-not-synchronised",
                "the clock is not set yet: no time server has answered since the start, and until then every event is \
                 marked as suspect",
                Remedy::new(
                    "Let the machine reach a time server (UDP port 123), or name one of your network in \
                     /etc/systemd/timesyncd.conf",
                )
                .command("timedatectl timesync-status"),
            ),
            Some(Network { enabled: false, .. }) => Finding::warning(
                CHECK,
                "clock-not-kept",
                "nothing sets the clock: it drifts, and the times in events with it",
                Remedy::new("Switch network time on").command("sudo timedatectl set-ntp true"),
            ),
            None => Finding::not_tried(
                CHECK,
                "no-timedated",
                format!("nothing on this system says whether its clock is set (systemd-timedated does); it says {now}"),
            ),
        }
    };
    finding.fact("now", now.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    fn facts() -> Facts {
        let network = Some(Network { synchronised: true, enabled: true });
        Facts { now: Timestamp::from_millis(1_800_000_000_000), is_past: false, written: None, network }
    }

    fn judged(facts: &Facts) -> (Outcome, Option<&'static str>) {
        let finding = judge(facts);
        (finding.outcome, finding.cause)
    }

    #[test]
    fn a_clock_that_waits_for_its_time_fails_and_one_that_nobody_sets_is_warned_of() {
        assert_eq!(judged(&facts()), (Outcome::Ok, None));
        let network = |synchronised, enabled| Facts { network: Some(Network { synchronised, enabled }), ..facts() };
        assert_eq!(judged(&network(false, true)), (Outcome::Failed, Some("clock-not-synchronised")));
        assert_eq!(judged(&network(false, false)), (Outcome::Warning, Some("clock-not-kept")));
        assert_eq!(judged(&network(true, false)), (Outcome::Ok, None));
        assert_eq!(judged(&Facts { network: None, ..facts() }), (Outcome::NotTried, Some("no-timedated")));
    }

    #[test]
    fn a_clock_of_the_past_fails_whatever_the_system_says() {
        assert_eq!(judged(&Facts { is_past: true, ..facts() }), (Outcome::Failed, Some("clock-not-set")));
        let later = |ms: i64| Facts { written: Some(Timestamp::from_millis(1_800_000_000_000 + ms)), ..facts() };
        assert_eq!(judged(&later(5_000)).0, Outcome::Ok);
        assert_eq!(judged(&later(3_600_000)), (Outcome::Failed, Some("clock-behind")));
    }
}
