//! The disk, and the data directory on it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::finding::{Check, Finding, Remedy, bytes};
use crate::config::GatewayConfig;

/// The database, its ballast and as much again: with less a gateway cannot begin.
const LEAST: u64 = 16 << 20;
/// Files that may be made at the least.
const LEAST_INODES: u64 = 64;
/// What is written on trial: more than one block of any file system.
const TRIAL_BYTES: usize = 64 << 10;
/// An event is published when it is on disk: with this, everybody waits.
const SLOW: Duration = Duration::from_millis(500);
/// The database's name.
const DATABASE: &str = "beaconfence.redb";

/// What is known of the disk and of the data directory.
#[derive(Debug)]
pub struct Facts {
    /// The data directory.
    pub path: PathBuf,
    /// The directory, or where it does not exist yet the nearest one above it that does.
    pub existing: PathBuf,
    /// Who owns that.
    pub owner: u32,
    /// Its file mode.
    pub mode: u32,
    /// Who looks.
    pub user: u32,
    /// The room; none where the system does not say.
    pub room: Option<Room>,
    /// What the data directory may come to hold, beyond what it holds.
    pub wanted: u64,
    /// How long it took to write and to sync, or why it could not be done.
    pub trial: Result<Duration, io::Error>,
    /// Whether the database can be opened, where there is one.
    pub database: Option<io::Result<()>>,
}

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free: u64,
    /// Files that may still be made; none where there is no limit.
    pub inodes: Option<u64>,
}

/// Looks, and writes a small file that it takes away again. The directory is not made, and its lock not taken.
///
/// # Errors
/// Where not even the nearest directory that exists can be looked at.
pub fn probe(config: &GatewayConfig) -> io::Result<Facts> {
    let path = std::path::absolute(&config.data_dir)?;
    let existing = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let metadata = std::fs::metadata(&existing)?;
    let used: u64 = std::fs::read_dir(&path).map_or(0, |entries| {
        entries
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|m| m.len())
            .sum()
    });
    let record = if config.record.days > 0 { config.record.max_bytes } else { 0 };
    // On disk an event takes about half of what it is on the wire.
    let most = u64::midpoint(config.outbox.max_bytes, config.outbox.keep_bytes) + record;
    let database = path.join(DATABASE);
    let database = database.exists().then(|| OpenOptions::new().read(true).write(true).open(&database).map(drop));
    Ok(Facts {
        room: room(&existing),
        trial: trial(&existing),
        owner: metadata.uid(),
        mode: metadata.mode() & 0o7777,
        user: std::fs::metadata("/proc/self").map_or(0, |own| own.uid()),
        wanted: most.saturating_sub(used),
        path,
        existing,
        database,
    })
}

/// Writes and syncs.
fn trial(directory: &Path) -> io::Result<Duration> {
    // `.new` is what the gateway calls a file that may be deleted.
    let file = directory.join(format!("doctor-{}.new", std::process::id()));
    let began = Instant::now();
    let written = (|| {
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        open.write_all(&vec![0; TRIAL_BYTES])?;
        open.sync_all()
    })();
    let took = began.elapsed();
    match std::fs::remove_file(&file) {
        Err(error) if written.is_ok() => return Err(error),
        _ => {}
    }
    written?;
    File::open(directory)?.sync_all()?;
    Ok(took)
}

/// `df` knows; the standard library does not.
fn room(directory: &Path) -> Option<Room> {
    let df = |option: &str| {
        let mut command = Command::new("df");
        let asked = command.args(["-P", option, "--"]).arg(directory).env("LC_ALL", "C").stderr(Stdio::null()).output();
        String::from_utf8_lossy(&asked.ok()?.stdout).lines().nth(1).and_then(available)
    };
    let inodes = df("-i").filter(|(total, _)| *total > 0).map(|(_, free)| free);
    Some(Room { free: df("-k")?.1 * 1_024, inodes })
}

/// Total and available of a line of `df -P`; what stands before and after may hold spaces.
fn available(line: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(4).find_map(|window| {
        let numbers = [window[0].parse().ok()?, window[1].parse::<u64>().ok()?, window[2].parse().ok()?];
        (window[3].ends_with('%') || window[3] == "-").then_some((numbers[0], numbers[2]))
    })
}

/// What the room means.
pub fn judge_room(facts: &Facts) -> Finding {
    const CHECK: Check = Check::Disk;
    let place = facts.existing.display();
    let full = facts.trial.as_ref().err().is_some_and(is_full);
    let make_room = || Remedy::new("Make room there").command(format!("du -xh -d 1 {place} | sort -h | tail"));
    let Some(room) = facts.room else {
        if full {
            return Finding::failed(CHECK, "disk-full", format!("the disk of {place} is full"), make_room());
        }
        return Finding::not_tried(CHECK, "unknown", format!("it cannot be found out what room {place} has (df)"));
    };
    let free = bytes(room.free);
    let finding = if full || room.free < LEAST {
        let message =
            format!("the disk of {place} is full: {free} free, and the gateway needs {} to begin", bytes(LEAST));
        Finding::failed(CHECK, "disk-full", message, make_room())
    } else if room.inodes.is_some_and(|inodes| inodes < LEAST_INODES) {
        let message = format!("the disk of {place} takes no more files (inodes), though {free} are free");
        let command = format!("df -i {place}");
        Finding::failed(CHECK, "disk-full", message, Remedy::new("Delete files that are not needed").command(command))
    } else if room.free < facts.wanted {
        let message = format!(
            "{free} free on the disk of {place}, and the gateway may keep {} more there in a long outage",
            bytes(facts.wanted)
        );
        let words =
            "Make room, or lower max_megabytes and keep_megabytes in [outbox] (and in [record]) of gateway.toml";
        Finding::warning(CHECK, "little-room", message, Remedy::new(words))
    } else {
        Finding::ok(CHECK, format!("{free} free on the disk of {place}"))
    };
    finding.fact("free_bytes", room.free).fact("wanted_bytes", facts.wanted)
}

/// What the rights and the trial mean.
pub fn judge_directory(facts: &Facts) -> Finding {
    const CHECK: Check = Check::DataDir;
    let path = facts.path.display();
    let is_there = facts.existing == facts.path;
    let give = |what: &str| format!("sudo chown -R {} {what}", user_name(facts.user));
    match &facts.trial {
        Err(error) if is_full(error) => {
            return Finding::not_tried(CHECK, "disk-full", format!("{path} was not written to, for its disk is full"));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let existing = facts.existing.display();
            let (user, owner) = (user_name(facts.user), user_name(facts.owner));
            let message = format!("the user {user} may not write to {existing}, which belongs to {owner}");
            let remedy = if !is_there {
                let command = format!("sudo install -d -m 700 -o {user} {path}");
                Remedy::new(format!("Make {path} for the gateway's user; if that is {user}")).command(command)
            } else if facts.owner != 0 {
                let command = format!("sudo -u {owner} beaconfence doctor");
                Remedy::new(format!("Run this as the gateway's user; if that is {owner}")).command(command)
            } else {
                let words = format!("Run this as the gateway's user; if that is {user}, give it the directory");
                Remedy::new(words).command(give(&path.to_string()))
            };
            return Finding::failed(CHECK, "not-writable", message, remedy);
        }
        Err(error) => {
            let message = format!("{} takes no file: {error}", facts.existing.display());
            let words =
                "Look at the disk and at how it is mounted; a read-only file system says so in the kernel's log";
            return Finding::failed(CHECK, "not-writable", message, Remedy::new(words).command("sudo dmesg | tail"));
        }
        Ok(_) => {}
    }
    if let Some(Err(error)) = &facts.database {
        let file = facts.path.join(DATABASE);
        let message = format!("{} cannot be opened by {}: {error}", file.display(), user_name(facts.user));
        let remedy = Remedy::new("Run this as the gateway's user; if you do, give it the files")
            .command(give(&path.to_string()));
        return Finding::failed(CHECK, "not-readable", message, remedy);
    }
    let took = facts.trial.as_ref().map_or(Duration::ZERO, |took| *took);
    let written = format!("written and synced in {} ms", took.as_millis());
    let finding = if is_there && facts.user == 0 && facts.owner != 0 {
        let owner = user_name(facts.owner);
        let message = format!("{path} belongs to {owner}, and this looked as root, who may do more");
        let command = format!("sudo -u {owner} beaconfence doctor");
        Finding::warning(CHECK, "other-user", message, Remedy::new("Look as the gateway's user").command(command))
    } else if is_there && facts.mode & 0o077 != 0 {
        let message = format!("other users of this machine can look into {path}, which says who was where");
        let remedy = Remedy::new("Close it to them").command(format!("chmod 700 {path}"));
        Finding::warning(CHECK, "not-private", message, remedy)
    } else if took > SLOW {
        let message = format!("{path} takes {} ms to sync, and each event waits for that", took.as_millis());
        Finding::warning(CHECK, "slow-disk", message, Remedy::new("Use a faster disk: an SSD in place of an SD card"))
    } else if is_there {
        Finding::ok(CHECK, format!("{path}: {written}"))
    } else {
        Finding::ok(CHECK, format!("{path} is made at the first start; {}: {written}", facts.existing.display()))
    };
    finding.fact("sync_ms", took.as_millis() as u64)
}

/// Where the disk has not answered.
pub fn hangs(config: &GatewayConfig) -> Finding {
    let message = format!("{} takes nothing: writing to it hangs", config.data_dir.display());
    let words = "Look at the disk; a network share is no place for a data directory";
    Finding::failed(Check::DataDir, "no-answer", message, Remedy::new(words).command("sudo dmesg | tail"))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A user's name, or the number where the system has none for it.
pub(super) fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    fn facts() -> Facts {
        Facts {
            path: "/data".into(),
            existing: "/data".into(),
            owner: 5,
            mode: 0o700,
            user: 5,
            room: Some(Room { free: 10_000_000_000, inodes: Some(1_000_000) }),
            wanted: 550_000_000,
            trial: Ok(Duration::from_millis(3)),
            database: Some(Ok(())),
        }
    }

    fn causes(facts: &Facts) -> [(Outcome, Option<&'static str>); 2] {
        [judge_room(facts), judge_directory(facts)].map(|finding| (finding.outcome, finding.cause))
    }

    const FINE: (Outcome, Option<&str>) = (Outcome::Ok, None);

    #[test]
    fn a_full_disk_is_one_fault_and_not_two() {
        assert_eq!(causes(&facts()), [FINE, FINE]);
        let full = Facts {
            room: Some(Room { free: 4_096, inodes: None }),
            trial: Err(io::ErrorKind::StorageFull.into()),
            ..facts()
        };
        assert_eq!(causes(&full), [(Outcome::Failed, Some("disk-full")), (Outcome::NotTried, Some("disk-full"))]);
        let finding = judge_room(&full);
        assert!(finding.sentence().contains("is full: 4 kB free"), "{}", finding.sentence());
        let no_inodes = Facts { room: Some(Room { free: 10_000_000_000, inodes: Some(0) }), ..facts() };
        assert_eq!(causes(&no_inodes)[0], (Outcome::Failed, Some("disk-full")));
    }

    #[test]
    fn less_room_than_an_outage_may_take_is_warned_of() {
        let little = Facts { room: Some(Room { free: 300_000_000, inodes: None }), ..facts() };
        assert_eq!(causes(&little), [(Outcome::Warning, Some("little-room")), FINE]);
    }

    #[test]
    fn a_directory_of_somebody_else_says_whose_it_is() {
        let denied = Facts { trial: Err(io::ErrorKind::PermissionDenied.into()), user: 4_000_000_001, ..facts() };
        assert_eq!(causes(&denied), [FINE, (Outcome::Failed, Some("not-writable"))]);
        assert!(
            judge_directory(&denied)
                .sentence()
                .contains("the user 4000000001 may not write to /data, which belongs to")
        );
        let files = Facts { database: Some(Err(io::ErrorKind::PermissionDenied.into())), ..facts() };
        assert_eq!(causes(&files)[1], (Outcome::Failed, Some("not-readable")));
        let root = Facts { user: 0, ..facts() };
        assert_eq!(causes(&root)[1], (Outcome::Warning, Some("other-user")));
    }

    #[test]
    fn an_open_directory_and_a_slow_disk_are_warned_of() {
        assert_eq!(causes(&Facts { mode: 0o755, ..facts() })[1], (Outcome::Warning, Some("not-private")));
        let slow = Facts { trial: Ok(Duration::from_secs(2)), ..facts() };
        assert_eq!(causes(&slow)[1], (Outcome::Warning, Some("slow-disk")));
        // The one above it, which is all that is there yet, may be open to all.
        let above = Facts { path: "/srv/none/data".into(), existing: "/srv".into(), mode: 0o755, ..facts() };
        assert_eq!(causes(&above)[1], FINE);
    }

    #[test]
    fn what_df_says_is_read_whatever_the_mount_is_called() {
        let line = "/dev/my disk 1000 400 600 40% /media/my disk 2";
        assert_eq!(available(line), Some((1_000, 600)));
        assert_eq!(available("tmpfs 0 0 0 - /x"), Some((0, 0)));
        assert_eq!(available("no numbers here"), None);
    }

    #[test]
    fn the_trial_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        trial(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(room(dir.path()).unwrap().free > 0);
    }
}
