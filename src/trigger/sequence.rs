//! Steps in order, within a time.

use std::time::Duration;

use uuid::Uuid;

use crate::model::Timestamp;

/// What a device must do one after the other, other things between them or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// How many steps; at least two.
    pub count: usize,
    /// How long from the first to the last at most.
    pub within: Duration,
}

/// How far a device has come: for each step but the last the way to it that began latest, as the ids of the events.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Progress(Vec<Option<(Timestamp, Vec<Uuid>)>>);

impl Progress {
    /// An event that `is_step` of the steps it may be. Gives the ids of all steps where it completes them; they are used up
    /// then. One event is one step of a sequence at most.
    pub fn step(
        &mut self,
        steps: Steps,
        event: Uuid,
        at: Timestamp,
        is_step: impl Fn(usize) -> bool,
    ) -> Option<Vec<Uuid>> {
        let last = steps.count.checked_sub(1)?;
        self.0.resize(last, None);
        // The later steps first: what this event begins it does not go on with.
        for step in (0..steps.count).rev().filter(|step| is_step(*step)) {
            let way = match step.checked_sub(1) {
                None => Some((at, Vec::new())),
                Some(before) => self.0[before].as_ref().filter(|(began, _)| at.since(*began) <= steps.within).cloned(),
            };
            let Some((began, mut events)) = way else { continue };
            events.push(event);
            if step == last {
                self.0.clear();
                return Some(events);
            }
            if self.0[step].as_ref().is_none_or(|(known, _)| *known <= began) {
                self.0[step] = Some((began, events));
            }
        }
        None
    }

    /// Forgets ways that cannot be completed any more; whether nothing is left.
    pub fn forget(&mut self, steps: Steps, now: Timestamp) -> bool {
        for way in &mut self.0 {
            if way.as_ref().is_some_and(|(began, _)| now.since(*began) > steps.within) {
                *way = None;
            }
        }
        self.0.iter().all(Option::is_none)
    }
}
