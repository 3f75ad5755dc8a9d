//! Where the things of one registry are in the next one.

use std::sync::Arc;

use super::{BeaconIndex, DeviceIndex, ListIndex, ReceiverIndex, Registry, ZoneIndex};

/// Where the things of one list are in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved<I> {
    /// Where they were; what is new comes after them.
    Kept,
    /// Where each of them is; none where it is gone.
    To(Vec<Option<I>>),
}

impl<I: ListIndex> Moved<I> {
    fn of<T, K>(before: impl Iterator<Item = T>, key: impl Fn(T) -> K, find: impl Fn(K) -> Option<I>) -> Self {
        let to: Vec<Option<I>> = before.map(|thing| find(key(thing))).collect();
        let is_kept = to.iter().enumerate().all(|(at, to)| to.is_some_and(|to| to.place() == at));
        if is_kept { Self::Kept } else { Self::To(to) }
    }

    /// Where it is; none where it is gone.
    pub fn to(&self, at: I) -> Option<I> {
        match self {
            Self::Kept => Some(at),
            Self::To(to) => to.get(at.place()).copied().flatten(),
        }
    }

    /// Whether everything is where it was.
    pub fn is_kept(&self) -> bool {
        *self == Self::Kept
    }

    /// The list that is like `list`, and as long as the next registry's; `empty` is for what is new there.
    pub fn carry<T>(&self, list: Vec<T>, len: usize, mut empty: impl FnMut() -> T) -> Vec<T> {
        match self {
            Self::Kept => {
                let mut list = list;
                list.resize_with(len, empty);
                list
            }
            Self::To(to) => {
                let mut next: Vec<T> = (0..len).map(|_| empty()).collect();
                for (thing, to) in list.into_iter().zip(to) {
                    if let Some(to) = to {
                        next[to.place()] = thing;
                    }
                }
                next
            }
        }
    }
}

/// How a registry follows from the one before.
#[derive(Debug)]
pub struct Renumbering {
    /// Where each zone is.
    pub zones: Moved<ZoneIndex>,
    /// Where each device is.
    pub devices: Moved<DeviceIndex>,
    /// Where each receiver is.
    pub receivers: Moved<ReceiverIndex>,
    /// Where each beacon is.
    pub beacons: Moved<BeaconIndex>,
    /// Devices of the one before that may be others in the next one.
    pub touched: Vec<DeviceIndex>,
}

/// What an edit made of a registry without moving anything.
#[derive(Debug)]
pub(super) struct Extension {
    /// The mark of the registry that was edited.
    pub(super) of: Arc<()>,
    /// Devices that are others, or new.
    pub(super) devices: Vec<DeviceIndex>,
    /// Beacons that are others, or new.
    pub(super) beacons: Vec<BeaconIndex>,
}

impl Registry {
    /// What was done to `before` to make this one, where that moved nothing; none where it is not known.
    fn extension_of(&self, before: &Self) -> Option<&Extension> {
        self.extension.as_ref().filter(|extension| Arc::ptr_eq(&extension.of, &before.mark))
    }

    /// The beacons that are not the same as in the registry before, or new; none where it is not known which they are.
    pub fn beacons_touched_since(&self, before: &Self) -> Option<&[BeaconIndex]> {
        self.extension_of(before).map(|extension| extension.beacons.as_slice())
    }

    /// Whether both have the very same zones.
    pub fn shares_zones_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.zones, &other.zones)
    }

    /// Where the things of the registry `before` are in this one. It takes no time that grows with the registry where this one came
    /// of the other by an edit that removes nothing.
    pub fn renumbering_of(&self, before: &Self) -> Renumbering {
        if let Some(extension) = self.extension_of(before) {
            let known = before.devices().len();
            return Renumbering {
                zones: Moved::Kept,
                devices: Moved::Kept,
                receivers: Moved::Kept,
                beacons: Moved::Kept,
                touched: extension.devices.iter().copied().filter(|at| at.get() < known).collect(),
            };
        }
        Renumbering {
            zones: Moved::of(before.zones().iter(), |zone| &zone.id, |id| self.zone(id)),
            devices: Moved::of(before.devices().iter(), |device| &device.id, |id| self.device(id)),
            receivers: Moved::of(before.receivers().iter(), |receiver| &receiver.id, |id| self.receiver(id)),
            beacons: Moved::of(before.beacons().iter(), |beacon| &beacon.id, |id| self.beacon(id)),
            touched: (0..before.devices().len()).map(|at| DeviceIndex(at as u32)).collect(),
        }
    }
}
