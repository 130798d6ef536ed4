//! What a gateway says of itself in the stream: the data of a health record, and when one is due. Pure.
//!
//! With the right to send alone a cloud team sees its whole fleet by these: at a start and at a stop, when what a person should know
//! changes, and otherwise hourly, so that a gateway that says nothing is noticed by its silence. Nothing here is secret: no
//! payload, no URL, four characters of the access key's id. `docs/message-format.md` and `docs/schemas/health.json` are the contract.

use crate::journal::LaneStats;
use crate::status::findings::{Code, Severity};
use crate::status::flash::FlashWear;
use crate::status::{Health, QueueStatus, StatusSnapshot};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Between two records that say that nothing has changed, in ms; up to [`JITTER_MS`] more, so that a fleet does not speak at once.
pub const EVERY_MS: u64 = 60 * 60 * 1000;
/// Most that is added to [`EVERY_MS`].
pub const JITTER_MS: u64 = 5 * 60 * 1000;
/// Least time between two records that tell of a change, in ms: what flaps is told once a minute.
pub const LEAST_MS: u64 = 60 * 1000;

/// Why a health record is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The agent has started.
    Start,
    /// It goes on with another configuration.
    Reload,
    /// What a person should know has changed.
    Change,
    /// An hour has passed.
    Hourly,
    /// It was told to stop.
    Stop,
}

/// What a change is judged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    health: Health,
    act: BTreeSet<Code>,
}

impl Judgement {
    /// Of a snapshot.
    pub fn of(snapshot: &StatusSnapshot) -> Judgement {
        let act = snapshot.findings.iter().filter(|finding| finding.severity == Severity::Act);
        Judgement { health: snapshot.health, act: act.map(|finding| finding.code).collect() }
    }
}

/// When the next record is due. Times are of the boot's clock, in ms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cadence {
    said: Option<(u64, Judgement)>,
    /// What the first record says.
    first: Cause,
    jitter_ms: u64,
}

impl Cadence {
    /// Nothing was said yet; `first` is why the first one will be. `random` is any number.
    pub fn new(first: Cause, random: u64) -> Cadence {
        Cadence { said: None, first, jitter_ms: random % JITTER_MS }
    }

    /// Why a record is due now; `None`: none is.
    pub fn due(&self, now_ms: u64, judged: &Judgement) -> Option<Cause> {
        let Some((at_ms, before)) = &self.said else { return Some(self.first) };
        let since_ms = now_ms.saturating_sub(*at_ms);
        match since_ms {
            LEAST_MS.. if before != judged => Some(Cause::Change),
            _ if since_ms >= EVERY_MS + self.jitter_ms => Some(Cause::Hourly),
            _ => None,
        }
    }

    /// A record was written.
    pub fn said(&mut self, now_ms: u64, judged: Judgement) {
        self.said = Some((now_ms, judged));
    }
}

/// What the snapshot does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beside {
    /// Why the record is written.
    pub cause: Cause,
    /// First 16 digits of the SHA-256 of the configuration in effect, as `tidegate config effective` prints it.
    pub configuration: String,
    /// The boot, as 32 hexadecimal digits.
    pub boot: String,
    /// Days until the client certificate towards the broker ends, where there is one; below 0: since it has.
    pub certificate_days: Option<i64>,
    /// Wear of the journal's flash, where the kernel tells.
    pub flash: Option<FlashWear>,
    /// For each queue with an access key file: its name, the last four characters of the key's id, the file's age in days.
    pub keys: Vec<(String, String, u64)>,
}

/// The data of a health record.
///
/// `lane` is the queue that it goes to.
pub fn data(snapshot: &StatusSnapshot, beside: &Beside, lane: &str) -> Value {
    let findings = snapshot.findings.iter().map(|finding| {
        json!({
            "code": finding.code,
            "severity": finding.severity,
            "about": finding.about,
            "since_s": finding.since_s,
            "count": finding.count,
        })
    });
    let lanes = snapshot.journal.iter().flat_map(|journal| &journal.facts.lanes);
    let lanes = lanes.map(|lane| {
        let queue = snapshot.queues.iter().find(|queue| queue.name == lane.name);
        let key = beside.keys.iter().find(|(name, ..)| *name == lane.name);
        self::lane(lane, queue, key.map(|(_, end, days)| json!({ "id_end": end, "file_age_days": days })))
    });
    let clock = match (snapshot.clock_plausible, snapshot.clock_confirmed) {
        (false, _) => "wrong",
        (true, false) => "unconfirmed",
        (true, true) => "confirmed",
    };
    json!({
        "cause": beside.cause,
        "lane": lane,
        "health": snapshot.health,
        "findings": findings.collect::<Vec<_>>(),
        "version": snapshot.version,
        "commit": env!("TIDEGATE_COMMIT"),
        "target": env!("TIDEGATE_TARGET"),
        "configuration": beside.configuration,
        "boot": beside.boot,
        "uptime_s": snapshot.uptime_s,
        "clock": clock,
        "lanes": lanes.collect::<Vec<_>>(),
        "journal": snapshot.journal.as_ref().map(|journal| json!({
            "epoch": journal.facts.epoch,
            "bytes": journal.facts.bytes,
            "max_bytes": journal.facts.max_bytes,
            "free_bytes": journal.free_bytes,
            "in_ram": journal.in_ram,
            "read_only": journal.facts.read_only,
            "writer": word(&journal.facts.writer),
        })),
        "flash": beside.flash,
        "certificate_days": beside.certificate_days,
        "uplink": { "today": snapshot.uplink.today, "month": snapshot.uplink.month },
        "intake": snapshot.intake.as_ref().map(|intake| {
            let routes = intake.routes.iter().map(|route| json!({
                "profile": route.profile,
                "messages": route.messages,
                "qos0": route.qos0,
                "last_message_s": route.last_message_s,
            }));
            json!({
                "state": word(&intake.state),
                "received": intake.received,
                "repeats": intake.repeats,
                "oversize": intake.oversize,
                "qos0": intake.qos0,
                "unrouted": intake.unrouted,
                "sessions_lost": intake.sessions_lost,
                "broker_dropped": intake.broker_dropped_since_start,
                "routes": routes.collect::<Vec<_>>(),
            })
        }),
    })
}

fn lane(lane: &LaneStats, queue: Option<&QueueStatus>, key: Option<Value>) -> Value {
    json!({
        "name": lane.name,
        "next_position": lane.appended + 1,
        "settled_below": lane.cursor,
        "appended": lane.appended,
        "accepted": lane.accepted,
        "waiting": lane.waiting,
        "evicted": lane.evicted,
        "quarantined": lane.quarantined,
        "damaged": lane.damaged,
        "unannounced": lane.unannounced,
        "chain": lane.chain,
        "state": queue.map(|queue| word(&queue.drain.state)),
        "lag_s": queue.map(|queue| queue.drain.lag_s),
        "key": key,
    })
}

/// The word of a state that is serialized with a tag.
fn word(state: &impl Serialize) -> Value {
    serde_json::to_value(state).map_or(Value::Null, |value| value["state"].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(act: &[Code]) -> Judgement {
        let health = if act.is_empty() { Health::Fine } else { Health::Act };
        Judgement { health, act: act.iter().copied().collect() }
    }

    #[test]
    fn a_health_record_comes_at_start_and_then_hourly() {
        let mut cadence = Cadence::new(Cause::Start, JITTER_MS + 7);
        assert_eq!(cadence.due(5, &judged(&[])), Some(Cause::Start));
        cadence.said(5, judged(&[]));
        assert_eq!(cadence.due(5 + EVERY_MS + 6, &judged(&[])), None);
        assert_eq!(cadence.due(5 + EVERY_MS + 7, &judged(&[])), Some(Cause::Hourly));
    }

    #[test]
    fn changes_are_reported_once_a_minute_unless_they_flapped_back() {
        let mut cadence = Cadence::new(Cause::Start, 0);
        cadence.said(0, judged(&[]));
        let other = judged(&[Code::ClockWrong]);
        assert_eq!(cadence.due(LEAST_MS - 1, &other), None);
        assert_eq!(cadence.due(LEAST_MS, &judged(&[])), None);
        assert_eq!(cadence.due(LEAST_MS, &other), Some(Cause::Change));
        cadence.said(LEAST_MS, other.clone());
        assert_eq!(cadence.due(2 * LEAST_MS, &other), None);
        assert_eq!(cadence.due(2 * LEAST_MS, &judged(&[])), Some(Cause::Change));
    }

    proptest! {
        /// Whatever happens: never two within a minute, never more than an hour and the jitter without one.
        #[test]
        fn it_neither_floods_nor_falls_silent(random: u64, flips in proptest::collection::vec(any::<bool>(), 1..400)) {
            let mut cadence = Cadence::new(Cause::Reload, random);
            let mut last = None;
            for (step, flip) in flips.into_iter().enumerate() {
                let now = step as u64 * 30_000;
                let act = judged(if flip { &[Code::ClockWrong] } else { &[] });
                if cadence.due(now, &act).is_some() {
                    prop_assert!(last.is_none_or(|last| now - last >= LEAST_MS));
                    last = Some(now);
                    cadence.said(now, act);
                }
                prop_assert!(last.is_some_and(|last| now - last <= EVERY_MS + JITTER_MS));
            }
        }
    }
}
