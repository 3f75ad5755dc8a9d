//! A registry that changes while beacons are watched.

use std::sync::Arc;

use crate::model::Timestamp;
use crate::registry::{BeaconIndex, ReceiverIndex, Registry};

use super::moved::Ground;
use super::watch::placed;
use super::{Beacons, is_watched};

impl Beacons {
    /// Goes on with another registry: what is known of a beacon stays as far as it is the same one, at the same place.
    pub fn reconfigure(&mut self, next: Arc<Registry>, now: Timestamp) {
        let before = std::mem::replace(&mut self.registry, next);
        let next = Arc::clone(&self.registry);
        let receivers: Vec<Option<ReceiverIndex>> = before.receivers().iter().map(|r| next.receiver(&r.id)).collect();
        let is_other = |at: &ReceiverIndex, to: ReceiverIndex| {
            let (was, is) = (&before.receivers()[at.get()], &next.receivers()[to.get()]);
            was != is
        };
        self.attended = self.attended.carried(&receivers, next.receivers().len(), now);
        let mut filtered = vec![false; next.receivers().len()];
        for (was, to) in self.filtered.iter().zip(&receivers) {
            to.iter().for_each(|to| filtered[to.get()] = *was);
        }
        (self.filtered, self.ground) = (filtered, Ground::new(&next));

        let watches = std::mem::replace(&mut self.watches, (0..next.beacons().len()).map(|_| None).collect());
        let unheeded = std::mem::take(&mut self.unheeded);
        let changed = std::mem::take(&mut self.changed);
        self.looks.clear();
        self.writes.clear();
        self.addresses.clear();
        for (at, watch) in watches.into_iter().enumerate() {
            let Some(mut watch) = watch else { continue };
            let (at, was) = (BeaconIndex(at as u32), &before.beacons()[at]);
            let to = next.beacon(&was.id).filter(|to| is_watched(&next, *to));
            let Some(to) = to.filter(|to| next.beacons()[to.get()].identity == was.identity) else {
                self.gone.push(was.id.clone());
                self.forgotten.push(was.id.clone());
                continue;
            };
            let is = &next.beacons()[to.get()];
            watch.ears.retain_mut(|ear| receivers[ear.receiver.get()].inspect(|to| ear.receiver = *to).is_some());
            watch.interval.restart();
            if placed(was) == placed(is) {
                if let Some(whereabouts) = watch.whereabouts.as_deref_mut() {
                    whereabouts.usual.retain_mut(|(receiver, ..)| match receivers[receiver.get()] {
                        Some(to) if !is_other(receiver, to) => {
                            *receiver = to;
                            true
                        }
                        _ => false,
                    });
                }
            } else {
                watch.whereabouts = placed(is).is_some().then(Box::default);
            }
            let is_fixed = is.device.is_none();
            watch.is_missing &= is_fixed;
            self.writes.extend(watch.write_due.map(|due| (due, to)));
            if let Some(address) = watch.address {
                self.addresses.insert(address, to);
            }
            watch.look_due = watch.look_due.filter(|_| is_fixed);
            self.looks.extend(watch.look_due.map(|due| (due, to)));
            let is_unheeded = is_fixed && unheeded.contains(&at);
            let is_new = watch.judge(now);
            self.watches[to.get()] = Some(watch);
            if changed.contains(&at) || is_new || was.device != is.device {
                self.changed.insert(to);
            }
            if is_unheeded || (is_fixed && was.device.is_some()) {
                self.look(to, now);
            }
        }
    }
}
