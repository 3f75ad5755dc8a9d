//! Retained states: the latest value of each topic, published until the broker has it, and again on every connection.

use std::collections::{BTreeMap, VecDeque};

use super::wire::Message;

/// Most topics and bytes of states that are held. 100,000 devices and 10,000 zones fit.
const MAX_TOPICS: usize = 262_144;
const MAX_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug)]
struct State {
    message: Message,
    /// Grows with every value, so that a late answer is not taken for one to a newer value.
    version: u64,
    /// In the list of what is to be published.
    listed: bool,
    under_way: bool,
    /// The broker does not want this value: the next one is tried.
    refused: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct States {
    states: BTreeMap<String, State>,
    listed: VecDeque<String>,
    bytes: usize,
    under_way: usize,
    version: u64,
}

impl States {
    /// Sets the value of a topic; an empty payload clears it. False where there is no room for another topic.
    pub(super) fn set(&mut self, message: Message) -> bool {
        self.version += 1;
        let size = message.topic.len() + message.payload.len();
        if let Some(state) = self.states.get_mut(&message.topic) {
            if state.message == message {
                return true;
            }
            self.bytes = self.bytes - state.message.topic.len() - state.message.payload.len() + size;
            state.message = message;
            state.version = self.version;
            state.refused = false;
            if !state.listed && !state.under_way {
                state.listed = true;
                self.listed.push_back(state.message.topic.clone());
            }
            return true;
        }
        if self.states.len() >= MAX_TOPICS || self.bytes + size > MAX_BYTES {
            return false;
        }
        self.bytes += size;
        let topic = message.topic.clone();
        self.listed.push_back(topic.clone());
        self.states
            .insert(topic, State { message, version: self.version, listed: true, under_way: false, refused: false });
        true
    }

    /// The next value to publish, with its version; it is under way until [`Self::settled`].
    pub(super) fn next(&mut self) -> Option<(Message, u64)> {
        while let Some(topic) = self.listed.pop_front() {
            let Some(state) = self.states.get_mut(&topic) else { continue };
            state.listed = false;
            state.under_way = true;
            self.under_way += 1;
            return Some((state.message.clone(), state.version));
        }
        None
    }

    /// The broker has answered to that version: a newer value follows now, a cleared one is forgotten.
    pub(super) fn settled(&mut self, topic: &str, version: u64) {
        let Some(state) = self.states.get_mut(topic) else { return };
        if std::mem::take(&mut state.under_way) {
            self.under_way -= 1;
        }
        if state.version != version {
            if !std::mem::replace(&mut state.listed, true) {
                self.listed.push_back(topic.to_owned());
            }
        } else if state.message.payload.is_empty() {
            self.bytes -= topic.len();
            self.states.remove(topic);
        }
    }

    /// The broker does not want that version: it is left alone until there is another value.
    pub(super) fn refused(&mut self, topic: &str, version: u64) {
        if let Some(state) = self.states.get_mut(topic)
            && state.version == version
        {
            state.refused = true;
        }
        self.settled(topic, version);
    }

    /// A new connection: everything is to be published again, in the order of the topics.
    pub(super) fn again(&mut self) {
        self.under_way = 0;
        self.listed.clear();
        for (topic, state) in &mut self.states {
            state.listed = !state.refused;
            state.under_way = false;
            if state.listed {
                self.listed.push_back(topic.clone());
            }
        }
    }

    /// Values that the broker may not have yet.
    pub(super) fn pending(&self) -> usize {
        self.listed.len() + self.under_way
    }

    /// Topics held.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::wire::ContentType;

    fn message(topic: &str, payload: &str) -> Message {
        Message { topic: topic.to_owned(), payload: payload.to_owned().into(), content_type: ContentType::Json }
    }

    #[test]
    fn the_latest_value_wins_and_is_published_again_on_a_new_connection() {
        let mut states = States::default();
        assert!(states.set(message("a", "1")) && states.set(message("a", "2")) && states.set(message("b", "1")));
        let (first, version) = states.next().unwrap();
        assert_eq!(first, message("a", "2"));
        assert!(states.set(message("a", "3")));
        assert_eq!(states.next().unwrap().0, message("b", "1"));
        assert!(states.next().is_none(), "one value of a topic is under way");
        states.settled("a", version);
        let (second, version) = states.next().unwrap();
        assert_eq!(second, message("a", "3"));
        states.settled("a", version);
        assert_eq!(states.pending(), 1);

        states.again();
        assert_eq!(states.pending(), 2);
        assert_eq!(states.next().unwrap().0, message("a", "3"));
        assert_eq!(states.next().unwrap().0, message("b", "1"));
    }

    #[test]
    fn the_same_value_is_not_published_twice() {
        let mut states = States::default();
        states.set(message("a", "1"));
        let (_, version) = states.next().unwrap();
        states.settled("a", version);
        states.set(message("a", "1"));
        assert_eq!(states.pending(), 0);
    }

    #[test]
    fn a_refused_value_is_left_alone_until_there_is_another() {
        let mut states = States::default();
        states.set(message("a", "1"));
        let (_, version) = states.next().unwrap();
        states.refused("a", version);
        states.again();
        assert_eq!(states.pending(), 0);
        states.set(message("a", "2"));
        assert_eq!(states.next().unwrap().0, message("a", "2"));
    }

    #[test]
    fn a_cleared_topic_is_forgotten_once_the_broker_knows() {
        let mut states = States::default();
        states.set(message("a", "1"));
        states.set(message("a", ""));
        let (cleared, version) = states.next().unwrap();
        assert!(cleared.payload.is_empty());
        states.settled("a", version);
        assert_eq!((states.len(), states.pending(), states.bytes), (0, 0, 0));
    }
}
