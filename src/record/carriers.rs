//! Whose the recorded sightings are, and how those of one are erased.
//!
//! A line says which beacon was heard, not which device carried it. So that a beacon that changes hands does not take the
//! sightings of its former carrier along, a file beside the recordings says who carried what when they were made. Where
//! the registry differs from it at a start (a device is gone, its consent withdrawn, its beacon another's), the
//! recordings are rewritten without those lines before anything new is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::shelf::{Hour, NEW, Shelf, member, private};
use super::{Shared, may_be_kept};
use crate::engine::Input;
use crate::model::DeviceId;
use crate::registry::{BeaconIndex, Registry};
use crate::source::line::{device_sighting_line, report_line, sighting_line};
use crate::source::replay;

/// Its name in the directory of recordings.
pub(super) const FILE: &str = "carriers.json";
/// Lines are rewritten in members of so many bytes.
const MEMBER: usize = 1 << 20;

/// Who carries what, of those who are recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carriers {
    /// Devices whose position reports are recorded.
    devices: BTreeSet<DeviceId>,
    /// Beacons by their identity; none where it is a fixed one.
    beacons: BTreeMap<String, Option<DeviceId>>,
}

impl Carriers {
    pub(super) fn of(registry: &Registry) -> Self {
        let devices = registry.devices().iter().filter(|device| device.may_be_tracked());
        let beacons = registry.beacons().iter().enumerate();
        let kept = beacons.filter(|(at, _)| may_be_kept(registry, BeaconIndex(*at as u32)));
        Self {
            devices: devices.map(|device| device.id.clone()).collect(),
            beacons: kept.map(|(_, beacon)| (beacon.identity.to_string(), beacon.device.clone())).collect(),
        }
    }

    /// What was written down; none where nothing can be read.
    fn read(shelf: &Shelf) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(shelf.dir().join(FILE)).ok()?).ok()
    }

    fn write(&self, shelf: &Shelf) -> io::Result<()> {
        let path = shelf.dir().join(FILE);
        let new = shelf.dir().join(format!("{FILE}{NEW}"));
        let mut file = private(OpenOptions::new().write(true).truncate(true)).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(shelf.dir())?.sync_all()
    }

    /// Whether everything that was recorded under these may stay under the others.
    fn all_stay_in(&self, others: &Self) -> bool {
        self.devices.is_subset(&others.devices)
            && self.beacons.iter().all(|(identity, device)| others.beacons.get(identity) == Some(device))
    }
}

/// Removes the lines of those who may not be recorded any more, and writes down who may.
///
/// A file that cannot be rewritten, for want of room, is deleted: that needs none.
pub(super) fn settle(shelf: &mut Shelf, registry: &Registry, shared: &Shared) -> io::Result<()> {
    let (before, now) = (Carriers::read(shelf), Carriers::of(registry));
    match &before {
        Some(before) if before == &now => return Ok(()),
        Some(before) if before.all_stay_in(&now) => {}
        Some(before) => {
            info!("the registry has changed: recorded sightings of who is no longer tracked are erased");
            for hour in shelf.hours() {
                match rewrite(shelf, &hour, registry, before, &now) {
                    Ok(erased) => {
                        shared.erased.fetch_add(erased, Ordering::Relaxed);
                    }
                    Err(error) => {
                        let path = shelf.path(&hour);
                        warn!("{} cannot be rewritten, and is deleted: {error}", path.display());
                        shelf.replace(&hour, None)?;
                        shared.deleted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            info!(lines = shared.erased.load(Ordering::Relaxed), "erased");
        }
        None => {
            // Whose the sightings are cannot be known any more.
            let hours = shelf.hours();
            if !hours.is_empty() {
                warn!(files = hours.len(), "{FILE} is missing or damaged: the recordings are deleted");
            }
            for hour in hours {
                shelf.replace(&hour, None)?;
                shared.deleted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    now.write(shelf)
}

/// Rewrites one file without the lines of those who may not stay. Gives how many were removed.
fn rewrite(shelf: &mut Shelf, hour: &Hour, registry: &Registry, before: &Carriers, now: &Carriers) -> io::Result<u64> {
    let path = shelf.path(hour);
    let new = path.with_extension(format!("gz{NEW}"));
    let lines = replay::open(&path, None).map_err(io::Error::other)?;
    let mut out = BufWriter::new(private(OpenOptions::new().write(true).truncate(true)).open(&new)?);
    let (mut pending, mut kept, mut erased) = (Vec::new(), 0_u64, 0_u64);
    for line in lines {
        let line = match line {
            Ok((_, input)) => stays(&input, registry, before, now).then(|| text(&input)),
            // A line that cannot be read cannot be shown to be anybody's.
            Err(_) => None,
        };
        let Some(line) = line else {
            erased += 1;
            continue;
        };
        kept += 1;
        pending.extend_from_slice(line.as_bytes());
        pending.push(b'\n');
        if pending.len() >= MEMBER {
            out.write_all(&member(&pending)?)?;
            pending.clear();
        }
    }
    if erased == 0 {
        drop(out);
        std::fs::remove_file(&new)?;
        return Ok(0);
    }
    if !pending.is_empty() {
        out.write_all(&member(&pending)?)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    if kept == 0 {
        std::fs::remove_file(&new)?;
    }
    shelf.replace(hour, (kept > 0).then_some(&*new))?;
    Ok(erased)
}

fn stays(input: &Input, registry: &Registry, before: &Carriers, now: &Carriers) -> bool {
    match input {
        Input::Advertisement(heard) => registry.resolve(heard).is_some_and(|beacon| {
            let identity = registry.beacons()[beacon.get()].identity.to_string();
            let carrier = now.beacons.get(&identity);
            carrier.is_some() && before.beacons.get(&identity) == carrier
        }),
        Input::Heard(heard) => now.devices.contains(&heard.device),
        Input::PositionReport(report) => now.devices.contains(&report.device),
        Input::Attributes(..) | Input::Receiver(..) => false,
    }
}

/// The line of an input.
pub(super) fn text(input: &Input) -> String {
    match input {
        Input::Advertisement(heard) => sighting_line(heard),
        Input::Heard(heard) => device_sighting_line(heard),
        Input::PositionReport(report) => report_line(report),
        Input::Attributes(..) | Input::Receiver(..) => String::new(),
    }
}
