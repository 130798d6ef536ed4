//! Profiles: how one network server's topics and payloads are read. One file per network server.

use super::{Identity, JournalId, Message};
use crate::clock::Moment;

/// A configured profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Profile {}

impl Profile {
    /// The profile's name, as in the configuration.
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// Reads a message's identity. Never fails: what cannot be read falls to the next rung of the ladder.
    pub fn identify(&self, _message: &Message, _received: Moment, _journal: JournalId) -> Identity {
        match *self {}
    }
}
