//! `beaconfence restore`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::quiet_when_nobody_reads;
use super::table::counted;
use crate::backup::{Consents, RestoreOrder, Restored, Withdrawn, restore};
use crate::clock::wall_clock;
use crate::config::load_gateway;

/// So many devices are named to people.
const MOST_NAMED: usize = 20;

/// Puts a backup back, where no gateway runs
///
/// All of the backup is checked before anything is touched. A new epoch begins: subscribers close the visits of the old
/// one, and events that waited in the backup are not sent. What is registered goes on, and so does what rules remember.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The settings of the gateway whose data directory it goes into
    #[arg(long, value_name = "FILE", default_value_os_t = super::usual_settings())]
    config: PathBuf,
    /// Sets aside what is in the data directory, under another name within it; nothing is deleted
    #[arg(long)]
    force: bool,
    /// Puts recorded sightings back, too, where they are in the backup
    #[arg(long)]
    recordings: bool,
    /// Whose consent holds then
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    consent: Which,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Which {
    /// That of the backup, less what was withdrawn since, as far as the data directory knows; so with tokens that were
    /// revoked
    #[default]
    Stricter,
    /// That of the backup as it is, and all of its tokens
    Backup,
    /// None, until it is said anew; tokens as with `stricter`
    None,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, _) = load_gateway(&args.config)?;
    let consents = match args.consent {
        Which::Stricter => Consents::Stricter,
        Which::Backup => Consents::Backup,
        Which::None => Consents::None,
    };
    let order = RestoreOrder {
        file: &args.file,
        config: &config,
        force: args.force,
        recordings: args.recordings,
        consents,
        now: wall_clock(),
    };
    let restored = restore(&order)?;
    quiet_when_nobody_reads(show(&restored, &config.data_dir))?;
    warn(&restored, consents);
    Ok(ExitCode::SUCCESS)
}

fn show(restored: &Restored, data_dir: &std::path::Path) -> anyhow::Result<()> {
    let Restored { manifest, epoch, aside, visits, recordings, .. } = restored;
    let mut out = std::io::stdout().lock();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<10} {value}");
    line("restored", format!("{}, as of {}", data_dir.display(), manifest.made))?;
    line("of", format!("gateway {}, site {}", manifest.gateway, manifest.site))?;
    if let Some(aside) = aside {
        line("set aside", aside.display().to_string())?;
    }
    line("epoch", format!("{epoch} begins; {} ended at sequence {} or later", manifest.epoch, manifest.sequence))?;
    let visits = counted(*visits, "open visit");
    let waiting = counted(manifest.waiting, "event");
    line("ended", format!("{visits} (subscribers close them with the epoch); {waiting} that waited will not be sent"))?;
    if manifest.recordings {
        let files = counted(*recordings as u64, "hour");
        let said =
            if *recordings == 0 { "not put back (--recordings does)".to_owned() } else { format!("{files} put back") };
        line("recordings", said)?;
    }
    Ok(())
}

/// What the privacy officer must know.
fn warn(restored: &Restored, consents: Consents) {
    let Restored { manifest, withdrawn, is_known, .. } = restored;
    tell!();
    tell!("PRIVACY: what people said after {} is not in the backup.", manifest.made);
    let named = |what: &str, ids: &[String]| {
        if ids.is_empty() {
            return;
        }
        let shown = ids.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match ids.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        tell!("  {what}: {shown}{more}");
    };
    if *is_known {
        let (kept, removed, tokens) = match consents {
            Consents::Backup => (
                "withdrawn since, and given again by --consent backup",
                "removed since, and registered again with their consent",
                "revoked since, and valid again",
            ),
            Consents::Stricter | Consents::None => (
                "withdrawn since, and kept so",
                "removed since; registered again, without consent: remove them if that was meant",
                "revoked since, and kept so",
            ),
        };
        named(kept, &withdrawn.consents);
        named(removed, &withdrawn.removed);
        named(&format!("tokens {tokens}"), &withdrawn.tokens);
        if *withdrawn == Withdrawn::default() {
            tell!("  The data directory that was there knows of nothing that was withdrawn since.");
        }
    } else {
        tell!("  There was no data directory that could say what was withdrawn since.");
    }
    if consents == Consents::None {
        tell!("  Nobody's consent holds until the back end says it again; the broker's retained facts count as new.");
    } else {
        tell!(
            "  The broker repeats what it retains of consent, and what differs from what was said before the backup counts."
        );
    }
    tell!(
        "  Before the gateway starts, compare with the back end who has withdrawn consent or was erased, and revoke what"
    );
    tell!("  tokens should not come back (docs/backup.md, \"What the privacy officer does\").");
}
