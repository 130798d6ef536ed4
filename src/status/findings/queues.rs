//! Findings about the queues: what holds records up, each under its queue's name. Pure.

use crate::drain::{DrainState, SuspectStatus};
use crate::journal::LaneStats;
use crate::status::QueueStatus;
use crate::status::findings::{Code, Finding};
use crate::status::history::{self, Trend};

/// An uplink that carries less, in bits per second, is remarked on while there is a backlog: a poor cellular link.
const SLOW_UPLINK_BIT_S: u64 = 64_000;
/// Records that are a backlog; fewer are gone before a person has read of it.
const BACKLOG: u64 = 20;

pub(super) fn findings(queue: &QueueStatus) -> Vec<Finding> {
    let said = |text: &str| format!("queue {}: {text}", queue.name);
    let mut all = Vec::new();
    match &queue.drain.state {
        DrainState::Offline { why, next_s } => {
            all.push(Finding::waiting(
                Code::QueueOffline,
                said(&format!("offline: {why}; next attempt in {next_s} s")),
            ));
        }
        DrainState::Throttled { why, .. } => {
            all.push(Finding::waiting(Code::QueueThrottled, said(&format!("throttled: {why}"))))
        }
        DrainState::Parked { why, remedy, .. } => {
            let finding =
                Finding::act(Code::QueueParked, said(&format!("parked until it is mended: {why}"))).remedy(remedy);
            all.push(match own_command(remedy) {
                Some(command) => finding.command(command),
                None => finding,
            });
        }
        DrainState::WindowFull { group } => {
            all.push(Finding::waiting(Code::QueueWindowFull, said(&format!("held up by group {group}"))));
        }
        DrainState::CannotRead { why } => {
            all.push(Finding::act(Code::QueueCannotRead, said(&format!("the journal cannot be read: {why}"))));
        }
        DrainState::Draining => {
            all.extend(slow_uplink(queue).map(|what| Finding::waiting(Code::UplinkSlow, said(&what))));
        }
        DrainState::Idle | DrainState::Stopped => {}
    }
    all.extend(suspects(queue));
    if let Some(why) = queue.drain.key_file_trouble.as_ref().filter(|_| !queue.drain.state.is_parked()) {
        all.push(Finding::act(Code::QueueKeyFile, said(&format!("its key's file cannot be used any more: {why}"))));
    }
    all.into_iter().map(|finding| if finding.about.is_some() { finding } else { finding.about(&queue.name) }).collect()
}

/// The command that a remedy names: it is nearer to the cause than the code's own.
fn own_command(remedy: &str) -> Option<String> {
    let command = |quoted: &&str| quoted.starts_with("tidegate ") || *quoted == "timedatectl";
    let named = remedy.split('`').skip(1).step_by(2).find(command)?;
    Some(if named.starts_with("tidegate ") { format!("sudo {named}") } else { named.to_owned() })
}

/// Records of a queue that is not configured.
pub(super) fn stranded(lane: &LaneStats) -> Finding {
    let (name, waiting) = (&lane.name, lane.waiting);
    let records = if waiting == 1 { "1 record waits".to_owned() } else { format!("{waiting} records wait") };
    let remedy = format!(
        "add a section [queues.{name}] with the url that they shall go to (it needs no route); tidegate journal list --queue {name} shows them"
    );
    Finding::act(Code::QueueNotConfigured, format!("{records} for {name}, which is not configured"))
        .about(name)
        .count(waiting)
        .remedy(&remedy)
}

/// What does not get through although everything else does, and what to do about it.
fn suspects(queue: &QueueStatus) -> Vec<Finding> {
    let (drain, name) = (&queue.drain, &queue.name);
    let one = |suspect: &SuspectStatus| {
        let SuspectStatus { number, topic, group, why, .. } = suspect;
        let what =
            format!("queue {name}: record {number} (topic {topic}) does not get through although all others do: {why}");
        let remedy = format!(
            "let the filter or proxy on the way pass it, or give it up: tidegate journal quarantine add {number}"
        );
        let finding = Finding::act(Code::RecordSuspect, what)
            .about(&number.to_string())
            .remedy(&remedy)
            .command(format!("sudo tidegate journal show {number}"));
        Finding { cost: format!("its message group {group} waits"), ..finding }
    };
    let mut all: Vec<Finding> = drain.suspects.iter().map(one).collect();
    let more = drain.suspects_total.saturating_sub(all.len() as u64);
    if more > 0 {
        let what = format!(
            "queue {name}: what is said of these holds for {more} further records, each of which does not get through although all others do"
        );
        all.push(Finding::act(Code::RecordSuspect, what).count(more).command("sudo tidegate status --json"));
    }
    all
}

/// That a backlog drains over a slow link, and how long it will take.
fn slow_uplink(queue: &QueueStatus) -> Option<String> {
    let bit_s = queue.drain.uplink_bit_s.filter(|bit_s| *bit_s < SLOW_UPLINK_BIT_S)?;
    let waiting = queue.lane.as_ref()?.waiting;
    if waiting < BACKLOG {
        return None;
    }
    let left = match queue.outlook.as_ref().map(|outlook| (outlook.says, outlook.eta_s)) {
        Some((Trend::Growing, _)) => "growing: records arrive faster than they are sent".to_owned(),
        Some((_, Some(eta_s))) => format!("{} to drain", history::span(eta_s)),
        _ => format!("{waiting} records wait"),
    };
    Some(format!("the uplink is slow: {:.1} kbit/s, {left}", bit_s as f64 / 1000.0))
}
