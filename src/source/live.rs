//! Sightings as they are heard, from a program beside this one: JSON Lines on standard input or a named pipe, one sighting
//! (by a receiver or by a device) or position report a line, as in a sightings file. For radios that this program does not drive itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Sink;
use super::replay::Cause;
use super::sightings::Sightings;
use crate::engine::Input;
use crate::throttle::Throttle;

/// A pipe that cannot be opened, or whose writers come and go, is opened no more often than this.
const REOPEN: Duration = Duration::from_secs(1);

/// Where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// Standard input.
    Standard,
    /// A named pipe, opened anew whenever its writers are gone; or a file, read once.
    Path(PathBuf),
}

impl From<&Path> for Feed {
    /// `-` is standard input.
    fn from(path: &Path) -> Self {
        if path == Path::new("-") { Self::Standard } else { Self::Path(path.to_owned()) }
    }
}

/// Reads in a thread of its own until the gateway stops. Sightings are stamped when they are read, whatever time their
/// lines say; position reports keep theirs. Faulty lines are logged once in a while and passed over.
///
/// # Errors
/// Where the system gives no thread.
pub fn start(feed: Feed, sink: Sink) -> io::Result<()> {
    std::thread::Builder::new().name("sightings".to_owned()).spawn(move || run(&feed, &sink)).map(drop)
}

fn run(feed: &Feed, sink: &Sink) {
    let mut faults = Throttle::default();
    match feed {
        Feed::Standard => {
            if read(io::stdin().lock(), "standard input", sink, &mut faults) {
                info!("the sightings on standard input have ended");
            }
        }
        Feed::Path(path) => {
            let name = path.display().to_string();
            loop {
                let again = match File::open(path) {
                    Ok(file) => {
                        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
                        let goes_on = read(file, &name, sink, &mut faults);
                        if is_file {
                            info!("the sightings in {name} have ended");
                        }
                        goes_on && !is_file
                    }
                    Err(error) => {
                        if let Some(held_back) = faults.pass(Instant::now()) {
                            warn!(held_back, "{name} cannot be opened: {error}");
                        }
                        true
                    }
                };
                if !again {
                    return;
                }
                std::thread::sleep(REOPEN);
            }
        }
    }
}

/// Whether the gateway still listens.
fn read(reader: impl Read, name: &str, sink: &Sink, faults: &mut Throttle) -> bool {
    let mut sightings = Sightings::live(reader, sink.clock().clone());
    while let Some(next) = sightings.next() {
        match next {
            Ok((_, Input::Advertisement(heard))) => sink.advertisement(heard),
            Ok((_, Input::Heard(heard))) => sink.device_sighting(heard),
            Ok((_, Input::PositionReport(report))) => {
                if !sink.report(report) {
                    return false;
                }
            }
            // The back end says these over MQTT.
            Ok((_, Input::Receiver(..) | Input::Attributes(..))) => {}
            Err(Cause::Read(error)) => {
                warn!("{name} cannot be read: {error}");
                return true;
            }
            Err(cause) => {
                let line = sightings.line();
                if let Some(held_back) = faults.pass(Instant::now()) {
                    warn!(held_back, "{name}:{line}: {cause}");
                }
            }
        }
    }
    true
}
