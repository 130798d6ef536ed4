//! The recogniser among brokers that keep to MQTT and number their packets as they please: nothing that was published is
//! lost, and nothing is recorded twice without saying so. Then each rule by itself.

mod endings;
mod rules;
mod world;

use super::*;
use crate::clock::{BootId, Moment};
use crate::record::{Epoch, Identity, JournalId, KeyKind, LanePosition, Message, Position, Record, TimeSource};
use bytes::Bytes;

const RUN: Run = Run { journal: JournalId(7), epoch: Epoch(1), random: 9 };
const SESSION: u64 = 5;

/// A message as a broker delivers it.
#[derive(Clone, Copy, Debug)]
struct Came {
    id: u16,
    topic: u8,
    payload: u8,
    dup: bool,
    retain: bool,
    key: Option<u64>,
}

const PLAIN: Came = Came { id: 1, topic: 0, payload: 0, dup: false, retain: false, key: None };

impl Came {
    fn draft(self) -> Draft {
        let (key, key_kind) = match self.key {
            Some(key) => (Some(format!("n.{key}")), KeyKind::Native),
            None => (None, KeyKind::Arrival),
        };
        Draft {
            received: Moment::default(),
            message: Message {
                topic: format!("t/{}", self.topic),
                payload: Bytes::copy_from_slice(&[self.payload]),
                qos: u8::from(self.id != 0),
                retain: self.retain,
                dup: self.dup,
                packet_id: self.id,
            },
            profile: "plain".into(),
            identity: Identity {
                key,
                key_kind,
                group: "g".into(),
                device: None,
                record_type: "raw".into(),
                event_time: None,
                time_source: TimeSource::Arrival,
            },
            lanes: vec![LaneId(0)],
            duplicate: None,
        }
    }

    fn record(self, number: u64) -> Record {
        let slots = vec![LanePosition { lane: LaneId(0), position: Position(number) }];
        Record::number(self.draft(), RUN, Number(number), BootId::default(), slots)
    }
}

fn on(connection: u64) -> Delivery<'static> {
    Delivery { filter: "t/#", connection, session_kept: true }
}

fn fresh() -> Deduplicator {
    Deduplicator::new(None, SESSION, RUN)
}

fn is_repeat(recogniser: &mut Deduplicator, came: Came, connection: u64) -> bool {
    recogniser.judge(&came.draft(), on(connection)).is_repeat()
}

fn mark(recogniser: &mut Deduplicator, came: Came, connection: u64) -> Option<PossibleDuplicate> {
    let verdict = recogniser.judge(&came.draft(), on(connection));
    assert!(!verdict.is_repeat(), "{came:?} is recorded");
    verdict.duplicate
}
