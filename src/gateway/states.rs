//! States that follow from events that are not yet committed: they are published after them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mqtt::Intake;
use crate::mqtt::wire::Message;

/// The latest value of each topic that waits for a commit. Bounded by the topics there are.
#[derive(Debug, Clone, Default)]
pub struct UnpublishedStates(Arc<Mutex<BTreeMap<String, Waiting>>>);

#[derive(Debug)]
struct Waiting {
    /// The batch that must be committed first.
    batch: u64,
    message: Message,
}

impl UnpublishedStates {
    /// A value that follows from that batch.
    pub fn set(&self, message: Message, batch: u64) {
        self.lock().insert(message.topic.clone(), Waiting { batch, message });
    }

    /// A value that follows from no batch: it takes the place of one that waits, or is given back to be published at once.
    pub fn replace(&self, message: Message) -> Option<Message> {
        match self.lock().get_mut(&message.topic) {
            Some(waiting) => {
                waiting.message = message;
                None
            }
            None => Some(message),
        }
    }

    /// Nothing is to be said on that topic any more.
    pub fn forget(&self, topic: &str) {
        self.lock().remove(topic);
    }

    /// That batch is committed, and so are those before it.
    pub fn publish(&self, batch: u64, publisher: &Intake) {
        let mut waiting = self.lock();
        let (ready, still): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut *waiting).into_iter().partition(|(_, state)| state.batch <= batch);
        *waiting = still;
        ready.into_values().for_each(|state| publisher.state(state.message));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        // Poisoned only by a panic while it was held, of which there is none above.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
