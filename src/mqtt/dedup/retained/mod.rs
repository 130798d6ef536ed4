//! Retained messages: which of them repeat the last value that was recorded on their topic.
//!
//! A broker sends what it retains once per topic after each SUBSCRIBE, with RETAIN set. So one such delivery per topic and
//! SUBSCRIBE of ours may be a replay, and it is one only if it equals the last value recorded on its topic. Everything else
//! with the flag is recorded: a broker that leaves the flag on live messages would lose readings otherwise. Such a broker
//! shows itself by a second one on a topic after one SUBSCRIBE; from then on nothing retained is skipped. It does not show
//! itself where a kept session may still owe us the replay of an earlier SUBSCRIBE: Mosquitto sends what was left of it
//! when a connection broke, and then the later one's. Nor where two filters meet: each brings a replay of what both match.
//! What comes second there is recorded and marked.

use crate::mqtt::dedup::recent::Recent;
use crate::topic::intersect;
use std::collections::{BTreeMap, BTreeSet};

/// Topics whose last payload is remembered.
const TOPICS: usize = 4_096;

/// The last value of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Last {
    /// Hash of its payload.
    pub payload: u64,
    /// Bits of the lanes that it went to.
    pub lanes: u64,
    /// The SUBSCRIBE whose replay has reached the topic; 0: none.
    pub replayed: u32,
}

/// What a retained delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Replay {
    /// The broker's kept copy of what these lanes have: their bits.
    Of(u64),
    /// Equal to the last value, but no replay is due.
    Equal,
    /// Another value, or one of a topic that is not known.
    New,
}

/// Last values, and how far replays have come.
#[derive(Debug)]
pub(super) struct Retained {
    last: Recent<Last>,
    /// Filter → the SUBSCRIBE of ours that asked for it last.
    subscribed: BTreeMap<String, u32>,
    subscribes: u32,
    /// Filters whose replay may come twice: of the last SUBSCRIBE, and what the session owes of an earlier one, or what comes
    /// under another filter that meets it.
    owed: BTreeSet<String>,
    /// The session was there before this connection.
    kept: bool,
    /// The broker leaves the flag on live messages.
    leaves_flag: bool,
}

impl Retained {
    pub(super) fn new() -> Retained {
        Retained {
            last: Recent::new(TOPICS),
            subscribed: BTreeMap::new(),
            subscribes: 0,
            owed: BTreeSet::new(),
            kept: false,
            leaves_flag: false,
        }
    }

    /// A CONNACK. `kept`: the broker has a session of ours, and with it what is left of earlier replays; else it owes none.
    pub(super) fn connected(&mut self, kept: bool) {
        self.kept = kept;
        if !kept {
            self.subscribed.clear();
            self.owed.clear();
        }
    }

    /// We ask for a filter: the broker sends what it retains under it.
    pub(super) fn subscribed(&mut self, filter: &str) {
        self.subscribes = self.subscribes.saturating_add(1);
        let before = self.subscribed.insert(filter.to_owned(), self.subscribes);
        if self.kept || before.is_some() {
            self.owed.insert(filter.to_owned());
        }
        let meets = self.subscribed.keys().filter(|other| *other != filter && intersect(other, filter));
        let meets: Vec<String> = meets.cloned().collect();
        if !meets.is_empty() {
            self.owed.insert(filter.to_owned());
            self.owed.extend(meets);
        }
    }

    /// Judges a retained delivery under `filter`. `again`: with DUP, so it may have been counted before.
    pub(super) fn judge(&mut self, topic: u64, payload: u64, filter: &str, again: bool) -> Replay {
        let due = self.subscribed.get(filter).copied().unwrap_or(0);
        let Some(last) = self.last.get(topic) else { return Replay::New };
        let first = last.replayed < due;
        if !first && !again && due > 0 && last.replayed == due && !self.owed.contains(filter) {
            self.leaves_flag = true;
        }
        self.last.set(topic, Last { replayed: last.replayed.max(due), ..last });
        match last.payload == payload {
            false => Replay::New,
            true if first && !self.leaves_flag => Replay::Of(last.lanes),
            true => Replay::Equal,
        }
    }

    /// A value was recorded on a topic. `retained`: with the flag, under `filter`.
    pub(super) fn recorded(&mut self, topic: u64, payload: u64, lanes: u64, retained: Option<&str>) {
        let before = self.last.get(topic).unwrap_or_default();
        let due = retained.and_then(|filter| self.subscribed.get(filter).copied()).unwrap_or(0);
        // The same value for further lanes leaves it with those that have it.
        let lanes = if before.payload == payload { before.lanes | lanes } else { lanes };
        self.last.set(topic, Last { payload, lanes, replayed: before.replayed.max(due) });
    }

    /// The broker leaves the flag on live messages, as was seen before.
    pub(super) fn leaves_flag(&self) -> bool {
        self.leaves_flag
    }

    /// Takes over what an earlier run knew; what came since is newer.
    pub(super) fn restore(&mut self, topics: Vec<(u64, Last)>, replays: Replays, leaves_flag: bool) {
        let newer: Vec<_> = self.last.iter().collect();
        self.last = Recent::new(TOPICS);
        for (topic, last) in topics.into_iter().chain(newer) {
            let replayed = self.last.get(topic).map_or(0, |before| before.replayed).max(last.replayed);
            self.last.set(topic, Last { replayed, ..last });
        }
        self.restore_replays(replays, leaves_flag);
    }

    /// Takes over how far replays had come, without the values.
    pub(super) fn restore_replays(&mut self, replays: Replays, leaves_flag: bool) {
        // After a crash only the topics tell how far the count had come. Begun anew it would meet their marks, and first
        // replays would pass for second ones.
        let reached = self.last.iter().map(|(_, last)| last.replayed);
        self.subscribes = reached.chain(replays.subscribed.values().copied()).fold(replays.subscribes, u32::max);
        self.subscribed = replays.subscribed;
        self.leaves_flag |= leaves_flag;
    }

    /// Topics and their last values, oldest first.
    pub(super) fn topics(&self) -> impl Iterator<Item = (u64, Last)> + '_ {
        self.last.iter()
    }

    /// Which replays are due.
    pub(super) fn replays(&self) -> Replays {
        Replays { subscribes: self.subscribes, subscribed: self.subscribed.clone() }
    }
}

/// Which SUBSCRIBEs there were.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Replays {
    /// How many SUBSCRIBEs there were.
    pub subscribes: u32,
    /// Filter → the last one that asked for it; empty: no replay is due.
    pub subscribed: BTreeMap<String, u32>,
}

#[cfg(test)]
mod tests;
