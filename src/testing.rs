//! What unit tests share.

/// A folder in memory where there is one: these tests try logic, not the disk, and a sync there costs nothing.
pub(crate) fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// A record of the first lane, at the position of its number, with this payload.
pub(crate) fn record(number: u64, payload: &[u8]) -> crate::record::Record {
    use crate::clock::{Moment, Trust};
    use crate::record::{Draft, Identity, JournalId, KeyKind, LaneId, LanePosition, Message, Record, Run, TimeSource};
    let message = Message {
        topic: "site/hq/sensor".to_owned(),
        payload: payload.to_vec().into(),
        qos: 1,
        retain: false,
        dup: false,
        packet_id: 7,
    };
    let identity = Identity {
        key: None,
        key_kind: KeyKind::Arrival,
        group: "sensor".to_owned(),
        device: None,
        record_type: "sensor.state".to_owned(),
        event_time: None,
        time_source: TimeSource::Arrival,
    };
    let received = Moment { wall_ms: 1_770_797_730_162, boottime_ms: 61_005, trust: Trust::Confirmed };
    let draft =
        Draft { received, message, profile: "plain".to_owned(), identity, lanes: vec![LaneId(0)], duplicate: None };
    let run = Run { journal: JournalId(1), epoch: crate::record::Epoch(1), random: 2 };
    let slots = vec![LanePosition { lane: LaneId(0), position: crate::record::Position(number) }];
    Record::number(draft, run, crate::record::Number(number), crate::clock::BootId([3; 16]), slots)
}

/// What is shown of a lane that never had a record.
pub(crate) fn lane(name: &str) -> crate::journal::LaneStats {
    crate::journal::LaneStats {
        name: name.to_owned(),
        appended: 0,
        accepted: 0,
        waiting: 0,
        evicted: 0,
        quarantined: 0,
        damaged: 0,
        cursor: crate::record::Position::FIRST,
        unannounced: 0,
        chain: None,
    }
}
