//! The snapshot as metrics for Prometheus: what they are ([`METRICS`]), and their text (exposition format 0.0.4).

mod list;
mod text;

use crate::mqtt::{IntakeState, IntakeStatus};
use crate::status::findings::Severity;
use crate::status::findings::codes::CODES;
use crate::status::process::Process;
use crate::status::{Health, JournalStatus, StatusSnapshot};
pub use list::METRICS;
use text::Text;

/// The snapshot in Prometheus's text format.
pub fn render(snapshot: &StatusSnapshot, process: &Process) -> String {
    let mut out = Text::default();
    let info = [("version", snapshot.version), ("gateway", &*snapshot.gateway)];
    out.put("tidegate_info", &info, 1.0);
    let build =
        [("version", snapshot.version), ("commit", env!("TIDEGATE_COMMIT")), ("target", env!("TIDEGATE_TARGET"))];
    out.put("tidegate_build_info", &build, 1.0);
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
        broker(intake, &mut out);
    }
    if let Some(journal) = &snapshot.journal {
        disk(journal, &mut out);
    }
    for lane in snapshot.stranded() {
        out.put("tidegate_records_stranded", &[("queue", &lane.name)], lane.waiting as f64);
    }
    queues(snapshot, &mut out);
    times(snapshot, &mut out);
    processes(process, &mut out);
    out.out
}

fn broker(intake: &IntakeStatus, out: &mut Text) {
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
    if let Some(age_s) = intake.routes.iter().filter_map(|route| route.last_message_s).min() {
        out.put("tidegate_last_message_age_seconds", &[], age_s as f64);
    }
    out.put("tidegate_messages_unacknowledged", &[], intake.unacked_messages as f64);
}

fn disk(journal: &JournalStatus, out: &mut Text) {
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
    out.histogram("tidegate_journal_commit_seconds", &[], &facts.commits);
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
        ("tidegate_queue_last_accepted_age_seconds", |queue| queue.drain.last_accepted_s.map(|age_s| age_s as f64)),
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

fn times(snapshot: &StatusSnapshot, out: &mut Text) {
    for queue in &snapshot.queues {
        out.histogram("tidegate_queue_call_seconds", &[("queue", &queue.name)], &queue.drain.times.call);
    }
    for queue in &snapshot.queues {
        out.histogram("tidegate_queue_delivery_seconds", &[("queue", &queue.name)], &queue.drain.times.delivery);
    }
}

fn processes(process: &Process, out: &mut Text) {
    for (metric, value) in [
        ("process_cpu_seconds_total", process.cpu_s),
        ("process_resident_memory_bytes", process.resident_bytes),
        ("process_virtual_memory_bytes", process.virtual_bytes),
        ("process_open_fds", process.open_fds),
        ("process_max_fds", process.max_fds),
        ("process_start_time_seconds", process.started_s),
    ] {
        if let Some(value) = value {
            out.put(metric, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::LaneStats;
    use crate::status::history::{DrainForecast, Trend};

    #[test]
    fn names_are_prometheus_names_and_counters_end_in_total() {
        for (name, kind, help) in METRICS {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn every_listed_metric_is_rendered_when_all_is_known() {
        let text = render(&full(), &Process::look(&crate::clock::Clock::new(None)));
        for (name, kind, _) in METRICS {
            let head = format!("# TYPE {name} {kind}\n");
            assert_eq!(text.matches(&head).count(), 1, "{name} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE ").count(), METRICS.len(), "none that the list lacks");
    }

    /// An agent of which all is known that may be absent.
    fn full() -> StatusSnapshot {
        let mut status = crate::status::findings::tests::lost();
        status.journal.as_mut().expect("a journal").holds_on_s = Some(86_400);
        status
            .journal
            .as_mut()
            .expect("a journal")
            .facts
            .lanes
            .push(LaneStats { waiting: 3, ..crate::testing::lane("old") });
        let queue = &mut status.queues[0];
        queue.outlook = Some(DrainForecast { accepted_per_s: 1.0, eta_s: Some(9), says: Trend::Draining });
        queue.drain.last_accepted_s = Some(7);
        queue.drain.faults.insert("AccessDenied".into(), 1);
        status
    }
}
