//! `calibration.json`: what a survey has taught of the site's radio. Written by `calibrate`, one survey point a line.

mod write;

use serde_json::value::RawValue;

use super::geometry;
use super::json::{self, Source};
use super::site_file::SiteFile;
use crate::config::diagnostic::{Entry, FileReport};
use crate::config::text::{self, nearest, short};
use crate::model::{BeaconId, LevelOrdinal, MeasuredPower, Point, ReceiverId, Timestamp};
use crate::registry::{
    Beacon, BeaconCalibration, Calibration, MOST_MOVED, Receiver, ReceiverCalibration, Recording, SurveyPoint,
};

pub use write::calibration_text;

/// A thousand receivers with as many points as they may have take less.
const MAX_BYTES: u64 = 64 << 20;
/// Members of an object; more than there are known ones, so that unknown ones are named.
const MAX_MEMBERS: usize = 100;
/// Receivers, and surveyed beacons.
const MAX_ENTRIES: usize = 100_000;
/// Survey points of a receiver: the work for a map grows with their square.
const MAX_POINTS: usize = 400;

/// The only version there is.
const SCHEMA_VERSION: f64 = 1.0;

const AGAIN: &str = "calibrate again";

const ROOT: [&str; 7] =
    ["schema_version", "site", "recording", "path_loss_exponent", "measured_power", "beacons", "receivers"];
const RECORDING: [&str; 4] = ["from", "to", "sightings", "points"];
const BEACON: [&str; 3] = ["id", "measured_power", "sightings"];
const RECEIVER: [&str; 10] = ["id", "x", "y", "z", "level", "power", "exponent", "rssi_offset", "sd", "points"];

/// What the rest of the site directory says, as far as it could be read.
pub(super) struct Known<'a> {
    pub(super) site: &'a SiteFile,
    /// None where not all beacons are known.
    pub(super) beacons: Option<&'a [Beacon]>,
}

/// None where anything is wrong, which is reported.
pub(super) fn load(report: &FileReport, known: &Known<'_>) -> Option<Calibration> {
    let text = text::read(report, MAX_BYTES, "remove it, or calibrate again")?;
    let source = Source::new(&text);
    let root = match source.root() {
        Ok(root) => root,
        Err(error) => {
            report.error(format!("broken JSON: {}", json::words(&error))).at(error.line()).help(AGAIN);
            return None;
        }
    };
    let reader = Reader { report, source: &source, known };
    let calibration = reader.root(root).filter(|_| !report.has_errors())?;
    for of in &calibration.receivers {
        if let Some(receiver) = known.site.receivers.iter().find(|receiver| receiver.id == of.id) {
            warn_of_moved(report, of, receiver);
        }
    }
    Some(calibration)
}

fn warn_of_moved(report: &FileReport, of: &ReceiverCalibration, receiver: &Receiver) {
    let moved = of.moved_by(receiver);
    if moved > MOST_MOVED {
        let how = if moved.is_finite() {
            format!("it was moved by {moved:.1} m since the survey")
        } else {
            "it was moved to another level since the survey".to_owned()
        };
        report
            .warning(format!("{how}, so its survey is not used"))
            .of(format!("receiver \"{}\"", of.id))
            .help("survey again and calibrate, or correct its place in site.toml");
    }
}

/// Whether a number can be that of a level.
fn is_level(number: f64) -> bool {
    number.fract() == 0.0 && (f64::from(i16::MIN)..=f64::from(i16::MAX)).contains(&number)
}

struct Reader<'r, 't> {
    report: &'r FileReport,
    source: &'r Source<'t>,
    known: &'r Known<'r>,
}

/// An object while it is read.
struct Object<'r, 't> {
    reader: &'r Reader<'r, 't>,
    record: String,
    at: &'t RawValue,
    members: Vec<(String, &'t RawValue)>,
}

impl<'t> Reader<'_, 't> {
    fn fault(&self, at: &RawValue, record: &str, message: impl Into<String>) -> Entry<'_> {
        let entry = self.report.error(message).at(self.source.line(at));
        if record.is_empty() { entry } else { entry.of(record) }
    }

    /// An object with these members, all of which must be there.
    fn object<'s>(&'s self, at: &'t RawValue, record: &str, wanted: &[&str]) -> Option<Object<'s, 't>> {
        let members = match json::members(at, MAX_MEMBERS) {
            Ok(members) => members,
            Err(error) => {
                let what = if record.is_empty() { "the file" } else { "it" };
                self.fault(at, record, format!("{what} {error}")).help(AGAIN);
                return None;
            }
        };
        for (place, (name, value)) in members.iter().enumerate() {
            if !wanted.contains(&name.as_str()) {
                self.fault(value, record, format!("unknown member \"{}\"", short(name))).help(nearest(name, wanted));
            } else if members[..place].iter().any(|(before, _)| before == name) {
                self.fault(value, record, format!("\"{name}\" is there twice")).help("remove one");
            }
        }
        for name in wanted {
            if !members.iter().any(|(member, _)| member == name) {
                self.fault(at, record, format!("\"{name}\" is missing")).help(AGAIN);
            }
        }
        Some(Object { reader: self, record: record.to_owned(), at, members })
    }

    fn root(&self, at: &'t RawValue) -> Option<Calibration> {
        // Another version may have other members: that is one fault, not one for each.
        if let Ok(members) = json::members(at, MAX_MEMBERS)
            && let Some((_, version)) = members.iter().find(|(name, _)| name == "schema_version")
            && json::number(version) != Ok(SCHEMA_VERSION)
        {
            self.fault(version, "", format!("schema_version is {}, not 1", short(version.get())))
                .help("it was written by another version of this program; calibrate again with this one");
            return None;
        }
        let root = self.object(at, "", &ROOT)?;
        let site = root.text("site")?;
        if let Some(of) = &self.known.site.site
            && of.id.as_str() != site
        {
            root.fault(
                "site",
                format!("it is the calibration of site \"{}\", and this is \"{}\"", short(&site), of.id),
            )
            .help("remove the file, or calibrate this site");
        }
        let recording = root.get("recording").and_then(|at| self.recording(at));
        let path_loss_exponent = root.number("path_loss_exponent", 1.0, 6.0, "");
        let measured_power = root.power("measured_power");
        let beacons = root.list("beacons", MAX_ENTRIES, |at| self.beacon(at));
        let receivers = root.list("receivers", MAX_ENTRIES, |at| self.receiver(at));
        root.unique("beacons", "beacon", &beacons, |beacon| beacon.id.as_str());
        root.unique("receivers", "receiver", &receivers, |receiver| receiver.id.as_str());
        Some(Calibration {
            recording: recording?,
            path_loss_exponent: path_loss_exponent?,
            measured_power: measured_power?,
            beacons,
            receivers,
        })
    }

    fn recording(&self, at: &'t RawValue) -> Option<Recording> {
        let object = self.object(at, "recording", &RECORDING)?;
        let (from, to) = (object.instant("from"), object.instant("to"));
        let (sightings, points) = (object.count("sightings"), object.count("points"));
        Some(Recording { from: from?, to: to?, sightings: sightings?, points: points? })
    }

    fn beacon(&self, at: &'t RawValue) -> Option<BeaconCalibration> {
        let object = self.object(at, "a beacon", &BEACON)?;
        let text = object.text("id")?;
        let object = Object { record: format!("beacon \"{}\"", short(&text)), ..object };
        let id = BeaconId::new(&text).map_err(|error| drop(object.fault("id", error.to_string()))).ok()?;
        if let Some(beacons) = self.known.beacons
            && !beacons.iter().any(|beacon| beacon.id == id)
        {
            object.fault("id", "it is not in beacons.csv").help("remove its entry here, or calibrate again");
        }
        let (measured_power, sightings) = (object.power("measured_power"), object.count("sightings"));
        Some(BeaconCalibration { id, measured_power: measured_power?, sightings: sightings? })
    }

    fn receiver(&self, at: &'t RawValue) -> Option<ReceiverCalibration> {
        let object = self.object(at, "a receiver", &RECEIVER)?;
        let text = object.text("id")?;
        let object = Object { record: format!("receiver \"{}\"", short(&text)), ..object };
        let id = ReceiverId::new(&text).map_err(|error| drop(object.fault("id", error.to_string()))).ok()?;
        if let Some(receivers) = &self.known.site.receiver_ids
            && !receivers.contains(&id)
        {
            let mut known: Vec<&str> = receivers.iter().map(ReceiverId::as_str).collect();
            // Of two equally near ids the same is proposed every time.
            known.sort_unstable();
            let near = Some(nearest(&text, &known)).filter(|help| help.starts_with("did you mean"));
            object
                .fault("id", "it is not in site.toml")
                .help(near.unwrap_or_else(|| "remove its entry here, or calibrate again".to_owned()));
        }
        let most = geometry::MAX_DISTANCE;
        let (x, y) = (object.number("x", -most, most, " m"), object.number("y", -most, most, " m"));
        let z = object.number("z", -100.0, 100.0, " m above the floor");
        // The level where it was: one that the site no longer has is as good as moved, and said where it matters.
        let level = object.read("level", |value| match json::number(value)? {
            level if is_level(level) => Ok(level),
            level => Err(format!("is {level}, but must be a whole number")),
        });
        let power = object.number("power", -200.0, 50.0, " dBm");
        let exponent = object.number("exponent", 1.0, 6.0, "");
        let rssi_offset = object.number("rssi_offset", -60.0, 60.0, " dB");
        let sd = object.number("sd", 0.0, 60.0, " dB");
        let points = object.list("points", MAX_POINTS, |at| self.point(at, &object.record));
        Some(ReceiverCalibration {
            id,
            point: Point { x: x?, y: y? },
            z: z?,
            level: LevelOrdinal(level? as i16),
            power: power?,
            exponent: exponent?,
            rssi_offset: rssi_offset?,
            sd: sd?,
            points,
        })
    }

    /// `[x, y, level, rssi, count]`.
    fn point(&self, at: &'t RawValue, record: &str) -> Option<SurveyPoint> {
        let fault = |message: String| drop(self.fault(at, record, message).help(AGAIN));
        let numbers =
            json::elements(at, 5).and_then(|of| of.into_iter().map(json::number).collect::<Result<Vec<_>, _>>());
        let Ok(&[x, y, level, rssi, count]) = numbers.as_deref() else {
            fault(format!("{} is no survey point; it must be [x, y, level, rssi, count]", short(at.get())));
            return None;
        };
        let level_at = LevelOrdinal(level as i16);
        if !geometry::is_near(Point { x, y }) {
            fault(format!("the point ({x}, {y}) is more than {} km from the site's origin", geometry::MAX_KM));
        } else if !is_level(level) {
            fault(format!("level {level} is not a whole number"));
        } else if let Some((message, help)) = self.known.site.plan.unknown_level(level_at) {
            self.fault(at, record, message).help(help);
        } else if let Err(error) = MeasuredPower::new(rssi) {
            fault(error.to_string().replace("a measured power", "an RSSI"));
        } else if !(1.0..=f64::from(u32::MAX)).contains(&count) || count.fract() != 0.0 {
            fault(format!("count {count} is not a whole number from 1"));
        }
        Some(SurveyPoint { point: Point { x, y }, level: level_at, rssi, count: count as u32 })
    }
}

impl<'t> Object<'_, 't> {
    /// The value; that it is missing is reported already.
    fn get(&self, name: &str) -> Option<&'t RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|&(_, value)| value)
    }

    fn fault(&self, name: &str, message: impl Into<String>) -> Entry<'_> {
        self.reader.fault(self.get(name).unwrap_or(self.at), &self.record, message)
    }

    /// Reports what is wrong with a member.
    fn read<T>(&self, name: &str, read: impl FnOnce(&'t RawValue) -> Result<T, String>) -> Option<T> {
        let value = self.get(name)?;
        read(value).map_err(|error| drop(self.fault(name, format!("\"{name}\" {error}")).help(AGAIN))).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.read(name, json::text)
    }

    fn number(&self, name: &str, least: f64, most: f64, unit: &str) -> Option<f64> {
        self.read(name, |value| match json::number(value)? {
            number if (least..=most).contains(&number) => Ok(number),
            number => Err(format!("is {number}, but must lie between {least} and {most}{unit}")),
        })
    }

    fn power(&self, name: &str) -> Option<MeasuredPower> {
        self.read(name, |value| MeasuredPower::new(json::number(value)?).map_err(|error| format!("is wrong: {error}")))
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.read(name, |value| match json::number(value)? {
            number if (0.0..=9e15).contains(&number) && number.fract() == 0.0 => Ok(number as u64),
            number => Err(format!("is {number}, but must be a whole number from 0")),
        })
    }

    fn instant(&self, name: &str) -> Option<Timestamp> {
        self.read(name, |value| json::text(value)?.parse().map_err(|error| format!("is wrong: {error}")))
    }

    /// The elements that could be read.
    fn list<T>(&self, name: &str, limit: usize, each: impl Fn(&'t RawValue) -> Option<T>) -> Vec<T> {
        self.read(name, |value| json::elements(value, limit))
            .map(|elements| elements.into_iter().filter_map(each).collect())
            .unwrap_or_default()
    }

    fn unique<T>(&self, name: &str, kind: &str, items: &[T], id: impl Fn(&T) -> &str) {
        let mut ids: Vec<&str> = items.iter().map(id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            self.fault(name, format!("{kind} \"{}\" is there twice", short(pair[0]))).help("remove one");
        }
    }
}

#[cfg(test)]
mod tests;
