//! The one list of metrics, and their text for Prometheus (exposition format 0.0.4).
//!
//! Names stay; a counter counts since the journal was made (`tidegate_records_…`) or since the agent started (the others).

use crate::mqtt::IntakeState;
use crate::status::findings::Severity;
use crate::status::findings::codes::CODES;
use crate::status::{Health, StatusSnapshot};
use crate::visible;
use std::fmt::Write;

/// A metric: name, kind, help text.
pub const METRICS: &[(&str, &str, &str)] = &[
    ("tidegate_info", "gauge", "1; version and gateway as labels."),
    ("tidegate_uptime_seconds", "gauge", "Seconds since the agent started."),
    ("tidegate_health", "gauge", "0 fine, 1 waiting for something that comes back by itself, 2 a person must act."),
    (
        "tidegate_finding",
        "gauge",
        "What a person should know, by code: 0 not so, 1 waiting, 2 a person must act (docs/troubleshooting.md has the codes).",
    ),
    (
        "tidegate_uplink_sent_bytes_total",
        "counter",
        "Bytes of IP packets to the queues' services, those that were sent again and connections that came to nothing included.",
    ),
    ("tidegate_uplink_received_bytes_total", "counter", "Bytes of IP packets from them."),
    ("tidegate_clock_plausible", "gauge", "Whether the wall clock can be right."),
    ("tidegate_clock_confirmed", "gauge", "Whether the kernel or the service confirms the wall clock."),
    ("tidegate_broker_connected", "gauge", "Whether messages are taken from the broker."),
    (
        "tidegate_broker_dropped_total",
        "counter",
        "Messages that the broker dropped before delivery, over all its clients.",
    ),
    ("tidegate_messages_received_total", "counter", "Messages received since the start."),
    (
        "tidegate_messages_repeated_total",
        "counter",
        "Messages that the broker delivered again and the journal already had.",
    ),
    ("tidegate_messages_qos0_total", "counter", "Messages received with QoS 0, which no broker holds back."),
    ("tidegate_messages_oversize_total", "counter", "Of them over mqtt.max_payload_bytes."),
    ("tidegate_messages_unrouted_total", "counter", "Of them on topics of no route: acknowledged and not journaled."),
    (
        "tidegate_messages_possible_duplicate_total",
        "counter",
        "Of them recorded with possibleduplicate, because they may repeat a record.",
    ),
    (
        "tidegate_sessions_lost_total",
        "counter",
        "Connections on which the broker had lost our session, and what it held for us.",
    ),
    ("tidegate_messages_unacknowledged", "gauge", "Received and not yet on stable storage."),
    ("tidegate_journal_bytes", "gauge", "Bytes of the journal on disk."),
    ("tidegate_journal_max_bytes", "gauge", "Its bound."),
    ("tidegate_journal_free_bytes", "gauge", "Bytes free on its disk."),
    (
        "tidegate_journal_holds_on_seconds",
        "gauge",
        "Seconds until it is full if nothing leaves it, at the rate of the last hours; absent while that is not known.",
    ),
    ("tidegate_journal_writable", "gauge", "Whether commits succeed."),
    ("tidegate_records_stranded", "gauge", "Records waiting for a queue that is not configured."),
    ("tidegate_journal_set_aside", "gauge", "Parts of the journal that the disk gives back no more."),
    ("tidegate_journal_writer_panics_total", "counter", "Panics of the writer, which was started again each time."),
    (
        "tidegate_journal_not_appended_total",
        "counter",
        "Commits that the journal's database did not just append: none is expected.",
    ),
    ("tidegate_records_appended_total", "counter", "Records appended for a queue."),
    ("tidegate_records_accepted_total", "counter", "Records that SQS accepted."),
    ("tidegate_records_evicted_total", "counter", "Records given up at a bound of the journal."),
    ("tidegate_records_quarantined_total", "counter", "Records that can never be sent."),
    ("tidegate_records_damaged_total", "counter", "Records that the disk lost."),
    ("tidegate_queue_depth", "gauge", "Records waiting."),
    ("tidegate_queue_lag_seconds", "gauge", "Age of the oldest waiting record."),
    ("tidegate_queue_parked", "gauge", "Whether a person has to mend something before records go."),
    ("tidegate_queue_accepted_per_second", "gauge", "Records accepted per second over the last minutes."),
    ("tidegate_queue_drain_eta_seconds", "gauge", "Seconds until nothing waits; absent when it cannot be foretold."),
    ("tidegate_queue_suspects", "gauge", "Records that do not get through although all others do; their groups wait."),
    ("tidegate_queue_calls_total", "counter", "Calls to SQS."),
    ("tidegate_queue_entries_sent_total", "counter", "Entries sent, resends included."),
    ("tidegate_queue_entries_marked_total", "counter", "Entries sent with possibleduplicate."),
    ("tidegate_queue_faults_total", "counter", "Refused entries and failed calls, by code."),
];

/// The snapshot in Prometheus's text format.
pub fn render(snapshot: &StatusSnapshot) -> String {
    let mut out = Text { out: String::new(), last: "" };
    let info = [("version", snapshot.version), ("gateway", &*snapshot.gateway)];
    out.put("tidegate_info", &info, 1.0);
    out.put("tidegate_uptime_seconds", &[], snapshot.uptime_s as f64);
    let health = match snapshot.health {
        Health::Fine => 0.0,
        Health::Waiting => 1.0,
        Health::Act => 2.0,
    };
    out.put("tidegate_health", &[], health);
    for row in CODES {
        let of_code = snapshot.findings.iter().filter(|finding| finding.code == row.code);
        let value = match of_code.map(|finding| finding.severity).max() {
            None => 0.0,
            Some(Severity::Waiting) => 1.0,
            Some(Severity::Act) => 2.0,
        };
        out.put("tidegate_finding", &[("code", row.word)], value);
    }
    let carried = snapshot.uplink.since_start;
    out.put("tidegate_uplink_sent_bytes_total", &[], carried.sent as f64);
    out.put("tidegate_uplink_received_bytes_total", &[], carried.received as f64);
    out.put("tidegate_clock_plausible", &[], f64::from(snapshot.clock_plausible));
    out.put("tidegate_clock_confirmed", &[], f64::from(snapshot.clock_confirmed));
    if let Some(intake) = &snapshot.intake {
        out.put("tidegate_broker_connected", &[], f64::from(matches!(intake.state, IntakeState::Online)));
        if let Some(dropped) = intake.broker_dropped {
            out.put("tidegate_broker_dropped_total", &[], dropped as f64);
        }
        out.put("tidegate_messages_received_total", &[], intake.received as f64);
        out.put("tidegate_messages_repeated_total", &[], intake.repeats as f64);
        out.put("tidegate_messages_qos0_total", &[], intake.qos0 as f64);
        out.put("tidegate_messages_oversize_total", &[], intake.oversize as f64);
        out.put("tidegate_messages_unrouted_total", &[], intake.unrouted as f64);
        out.put("tidegate_messages_possible_duplicate_total", &[], intake.possible_duplicates as f64);
        out.put("tidegate_sessions_lost_total", &[], intake.sessions_lost as f64);
        out.put("tidegate_messages_unacknowledged", &[], intake.unacked_messages as f64);
    }
    if let Some(journal) = &snapshot.journal {
        let facts = &journal.facts;
        out.put("tidegate_journal_bytes", &[], facts.bytes as f64);
        out.put("tidegate_journal_max_bytes", &[], facts.max_bytes as f64);
        if let Some(free) = journal.free_bytes {
            out.put("tidegate_journal_free_bytes", &[], free as f64);
        }
        if let Some(left_s) = journal.holds_on_s {
            out.put("tidegate_journal_holds_on_seconds", &[], left_s as f64);
        }
        let writable = matches!(facts.writer, crate::journal::WriterHealth::Fine);
        out.put("tidegate_journal_writable", &[], f64::from(writable));
        out.put("tidegate_journal_set_aside", &[], facts.set_aside as f64);
        out.put("tidegate_journal_writer_panics_total", &[], facts.writer_panics as f64);
        out.put("tidegate_journal_not_appended_total", &[], facts.not_appended as f64);
    }
    for lane in snapshot.stranded() {
        out.put("tidegate_records_stranded", &[("queue", &lane.name)], lane.waiting as f64);
    }
    queues(snapshot, &mut out);
    out.out
}

fn queues(snapshot: &StatusSnapshot, out: &mut Text) {
    let lanes = snapshot.queues.iter().filter_map(|queue| Some((&*queue.name, queue.lane.as_ref()?)));
    for (metric, of) in [
        ("tidegate_records_appended_total", (|lane| lane.appended) as fn(&crate::journal::LaneStats) -> u64),
        ("tidegate_records_accepted_total", |lane| lane.accepted),
        ("tidegate_records_evicted_total", |lane| lane.evicted),
        ("tidegate_records_quarantined_total", |lane| lane.quarantined),
        ("tidegate_records_damaged_total", |lane| lane.damaged),
        ("tidegate_queue_depth", |lane| lane.waiting),
    ] {
        for (name, lane) in lanes.clone() {
            out.put(metric, &[("queue", name)], of(lane) as f64);
        }
    }
    for (metric, of) in [
        (
            "tidegate_queue_lag_seconds",
            (|queue| Some(queue.drain.lag_s as f64)) as fn(&crate::status::QueueStatus) -> Option<f64>,
        ),
        ("tidegate_queue_parked", |queue| Some(f64::from(queue.drain.state.is_parked()))),
        ("tidegate_queue_accepted_per_second", |queue| queue.outlook.map(|outlook| outlook.accepted_per_s)),
        ("tidegate_queue_drain_eta_seconds", |queue| queue.outlook?.eta_s.map(|eta| eta as f64)),
        ("tidegate_queue_suspects", |queue| Some(queue.drain.suspects_total as f64)),
        ("tidegate_queue_calls_total", |queue| Some(queue.drain.calls as f64)),
        ("tidegate_queue_entries_sent_total", |queue| Some(queue.drain.entries_sent as f64)),
        ("tidegate_queue_entries_marked_total", |queue| Some(queue.drain.marked as f64)),
    ] {
        for queue in &snapshot.queues {
            if let Some(value) = of(queue) {
                out.put(metric, &[("queue", &queue.name)], value);
            }
        }
    }
    for queue in &snapshot.queues {
        for (code, count) in &queue.drain.faults {
            out.put("tidegate_queue_faults_total", &[("queue", &queue.name), ("code", code)], *count as f64);
        }
    }
}

struct Text {
    out: String,
    last: &'static str,
}

impl Text {
    /// A sample, with its head before the first of a name. Samples of one name come together.
    fn put(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        if self.last != name {
            self.last = name;
            if let Some((_, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) {
                let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
        }
        self.out.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = visible::line(text).replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(self.out, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_prometheus_names_and_counters_end_in_total() {
        for (name, kind, help) in METRICS {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn the_dashboard_asks_for_metrics_that_are_there() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/tidegate.json");
        let dashboard = std::fs::read_to_string(path).expect("the dashboard");
        let _: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
        let named: Vec<&str> = dashboard
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("tidegate_"))
            .collect();
        assert!(named.len() > 8, "{named:?}");
        for word in named {
            assert!(METRICS.iter().any(|(name, ..)| *name == word), "{word}");
        }
    }
}
