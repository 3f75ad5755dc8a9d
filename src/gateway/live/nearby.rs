//! What is heard around, for five minutes, so that the beacon in one's hand can be registered. In memory only, and gone
//! when it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::advert::{Address, Advertisement, frames};
use crate::model::{ReceiverId, Timestamp};
use crate::registry::{Identity, Registry};

/// How long it lasts.
pub const SESSION: Duration = Duration::from_secs(5 * 60);
/// Senders that are remembered; beyond, the one that was silent for longest is forgotten.
const MOST: usize = 500;
/// Senders that are listed.
const MOST_LISTED: usize = 200;
/// Who is silent for longer is not near any more.
const SILENCE: Duration = Duration::from_secs(15);
/// Weight of a new reading in the strength: steady enough to be read, quick enough to follow a hand.
const WEIGHT: f64 = 0.3;

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    until: Timestamp,
    senders: BTreeMap<Sender, Heard>,
}

/// Who sends: by what its frames say, or by its address where they say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    Framed([u8; 20], u8),
    Address([u8; 6]),
}

#[derive(Debug)]
struct Heard {
    identity: Identity,
    format: &'static str,
    address: Option<Address>,
    best: f64,
    count: u64,
    last: Timestamp,
    receivers: BTreeMap<ReceiverId, (f64, Timestamp)>,
}

impl Session {
    pub(super) fn new(until: Timestamp) -> Self {
        Self { until, senders: BTreeMap::new() }
    }

    pub(super) fn prolong(&mut self, until: Timestamp) {
        self.until = self.until.max(until);
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    pub(super) fn heard(&mut self, heard: &Advertisement, now: Timestamp) {
        let framed = frames(&heard.data).find_map(|frame| Identity::of_frame(&frame.ok()?));
        let Some(identity) = framed.or_else(|| Some(Identity::Mac(heard.address?.bytes))) else { return };
        let sender = sender(&identity);
        if !self.senders.contains_key(&sender)
            && self.senders.len() >= MOST
            && let Some(oldest) = self.senders.iter().min_by_key(|(_, heard)| heard.last).map(|(sender, _)| *sender)
        {
            self.senders.remove(&oldest);
        }
        let rssi = heard.rssi.get();
        let known = self.senders.entry(sender).or_insert_with(|| Heard {
            identity,
            format: format(&identity),
            address: None,
            best: rssi,
            count: 0,
            last: now,
            receivers: BTreeMap::new(),
        });
        known.address = heard.address.or(known.address);
        known.best = known.best.max(rssi);
        known.count += 1;
        known.last = known.last.max(now);
        let reading = known.receivers.entry(heard.receiver.clone()).or_insert((rssi, now));
        *reading = (reading.0 + WEIGHT * (rssi - reading.0), now);
    }

    /// As the API tells it.
    pub(super) fn list(&mut self, now: Timestamp, registry: &Registry) -> Value {
        self.senders.retain(|_, heard| now.since(heard.last) < SILENCE);
        let mut senders: Vec<(f64, &Heard)> = self
            .senders
            .values()
            .map(|heard| {
                let current = heard.receivers.values().filter(|(_, last)| now.since(*last) < SILENCE);
                (current.map(|(rssi, _)| *rssi).fold(f64::NEG_INFINITY, f64::max), heard)
            })
            .collect();
        senders.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| sender(&x.identity).cmp(&sender(&y.identity))));
        let one = |(rssi, heard): &(f64, &Heard)| {
            let beacon = registry.beacon_of(&heard.identity);
            let registered = beacon.map(|at| &registry.beacons()[at.get()]);
            let receivers: BTreeMap<&str, f64> =
                heard.receivers.iter().map(|(id, (rssi, _))| (id.as_str(), whole(*rssi))).collect();
            json!({
                "identity": heard.identity.to_string(), "format": heard.format,
                "address": heard.address.map(|address| address.to_string()),
                "rssi": whole(*rssi), "best": whole(heard.best), "receivers": receivers,
                "heard": heard.count, "last_heard": heard.last,
                "beacon": registered.map(|beacon| beacon.id.clone()),
                "device": registered.and_then(|beacon| beacon.device.clone()),
            })
        };
        json!({"until": self.until, "beacons": senders.iter().take(MOST_LISTED).map(one).collect::<Vec<_>>()})
    }
}

fn sender(identity: &Identity) -> Sender {
    let mut bytes = [0_u8; 20];
    match identity {
        Identity::Mac(address) => Sender::Address(*address),
        Identity::IBeacon { uuid, major, minor } => {
            bytes[..16].copy_from_slice(uuid);
            bytes[16..18].copy_from_slice(&major.to_be_bytes());
            bytes[18..].copy_from_slice(&minor.to_be_bytes());
            Sender::Framed(bytes, 0)
        }
        Identity::AltBeacon(id) => {
            bytes.copy_from_slice(id);
            Sender::Framed(bytes, 1)
        }
        Identity::EddystoneUid { namespace, instance } => {
            bytes[..10].copy_from_slice(namespace);
            bytes[10..16].copy_from_slice(instance);
            Sender::Framed(bytes, 2)
        }
    }
}

fn format(identity: &Identity) -> &'static str {
    match identity {
        Identity::IBeacon { .. } => "ibeacon",
        Identity::AltBeacon(_) => "altbeacon",
        Identity::EddystoneUid { .. } => "eddystone-uid",
        Identity::Mac(_) => "address",
    }
}

fn whole(rssi: f64) -> f64 {
    rssi.round()
}
