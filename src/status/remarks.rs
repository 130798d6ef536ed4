//! What a person should know, each with how urgent it is and what to do next. Pure.

use crate::drain::DrainState;
use crate::journal::WriterHealth;
use crate::mqtt::{IntakeState, IntakeStatus};
use crate::status::{Health, StatusSnapshot, history};

/// Seconds for which a lost session is remarked on.
const SESSION_LOST_LATELY_S: u64 = 24 * 3600;
/// Seconds after the last message of no route for which they are remarked on.
const UNROUTED_LATELY_S: u64 = 3600;
/// Seconds for which an eviction is remarked on.
const EVICTED_LATELY_S: u64 = 3600;

/// All remarks, in no order.
pub(super) fn remarks(status: &StatusSnapshot) -> Vec<(Health, String)> {
    let mut all = Vec::new();
    match status.intake.as_ref().map(|intake| (&intake.url, &intake.state)) {
        Some((url, IntakeState::Offline { why, remedy })) => {
            all.push((Health::Waiting, joined(&of_broker(url, why), remedy)))
        }
        Some((url, IntakeState::Blocked { why, remedy })) => {
            all.push((Health::Act, joined(&of_broker(url, why), remedy)))
        }
        Some((url, IntakeState::Connecting)) => all.push((Health::Waiting, format!("broker {url}: connecting"))),
        _ => {}
    }
    all.extend(status.intake.iter().flat_map(losses));
    for (url, filter) in refused_filters(status) {
        let why = format!("broker {url}: it refused the filter {filter}, nothing of it comes");
        all.push((Health::Act, joined(&why, "let this client read it in the broker's ACL")));
    }
    for queue in &status.queues {
        let said = |text: &str| format!("queue {}: {text}", queue.name);
        match &queue.drain.state {
            DrainState::Offline { why, next_s } => {
                all.push((Health::Waiting, said(&format!("{why}; next attempt in {next_s} s"))));
            }
            DrainState::Throttled { why, .. } => all.push((Health::Waiting, said(why))),
            DrainState::Parked { why, remedy, .. } => all.push((Health::Act, said(&joined(why, remedy)))),
            DrainState::WindowFull { group } => all.push((Health::Waiting, said(&format!("held up by group {group}")))),
            DrainState::CannotRead { why } => all.push((Health::Act, said(why))),
            DrainState::Idle | DrainState::Draining | DrainState::Stopped => {}
        }
    }
    all.extend(status.stranded().map(|lane| {
        let (name, waiting) = (&lane.name, lane.waiting);
        let records = if waiting == 1 { "1 record waits".to_owned() } else { format!("{waiting} records wait") };
        let remedy = format!(
            "add a section [queues.{name}] with the url that they shall go to (it needs no route), then: systemctl reload tidegate; tidegate journal list --queue {name} shows them"
        );
        (Health::Act, joined(&format!("{records} for {name}, which is not configured"), &remedy))
    }));
    if let Some(journal) = &status.journal {
        match &journal.facts.writer {
            WriterHealth::Fine => {}
            WriterHealth::Full { bound } => {
                let why = format!("journal at its bound {}, nothing is acknowledged", bound.key());
                all.push((Health::Act, joined(&why, bound.remedy())));
            }
            WriterHealth::Failing { error } => all.push((Health::Act, format!("journal cannot be written: {error}"))),
        }
        if journal.facts.read_only {
            let why = "the journal's disk is read-only: what came before is drained, each message marked as a possible duplicate; new messages stay with the broker";
            let remedy = "see why (dmesg), then make it writable (mount -o remount,rw) or replace it before the broker runs full";
            all.push((Health::Act, joined(why, remedy)));
        }
        if journal.facts.set_aside > 0 {
            let parts = if journal.facts.set_aside == 1 {
                "1 part".to_owned()
            } else {
                format!("{} parts", journal.facts.set_aside)
            };
            let why =
                format!("{parts} of the journal cannot be read and was set aside: what it held is counted as damaged");
            let remedy = "check the card (dmesg); it is tried again at each start and once a day, and what can be read then is sent; to give it up, remove the folder aside in the journal's";
            all.push((Health::Act, joined(&why, remedy)));
        }
        // One may be an accident, and cost nothing.
        if journal.facts.writer_panics > 1 {
            let why = format!("the journal's writer panicked {} times since the start", journal.facts.writer_panics);
            let remedy =
                "tidegate continues and loses nothing by it; please report it with the file that tidegate bundle makes";
            all.push((Health::Act, joined(&why, remedy)));
        }
        if let Some(last) = journal.facts.evicted.filter(|last| last.ago_s < EVICTED_LATELY_S) {
            let why = format!("the oldest records are evicted at {}, the last {} min ago", last.bound, last.ago_s / 60);
            all.push((Health::Act, joined(&why, "mend the uplink, or give the journal more room")));
        }
        if let Some(free) = journal.free_bytes.filter(|free| *free < journal.facts.min_free) {
            let why = format!("only {} MiB are free on the journal's disk, less than journal.min_free", free >> 20);
            all.push((Health::Act, joined(&why, "free space there, or set journal.min_free lower")));
        }
        if !journal.facts.reserve {
            let why = "the journal's reserve for a full disk is given up or was never made".to_owned();
            all.push((Health::Waiting, joined(&why, "free space on its disk")));
        }
        if journal.in_ram {
            all.push((
                Health::Act,
                format!(
                    "the journal ({}) lies in RAM, a power cut loses it; set journal.path to a folder on flash",
                    journal.path.display()
                ),
            ));
        }
    }
    if !status.clock_plausible {
        all.push((Health::Waiting, "the clock is wrong; times are corrected once it is right".to_owned()));
    }
    all
}

/// What the broker loses, or leaves us without a claim to; none of it recovers by itself.
fn losses(intake: &IntakeStatus) -> Vec<(Health, String)> {
    let mut all = Vec::new();
    let url = &intake.url;
    if let Some(ago_s) = intake.session_lost_s.filter(|ago_s| *ago_s < SESSION_LOST_LATELY_S) {
        let (times, ago) = (intake.sessions_lost, history::span(ago_s));
        let why = format!(
            "broker {url} did not keep our session ({times} times since the start, the last {ago} ago): what it held for us is lost"
        );
        let remedy = "let it keep sessions over a restart (Mosquitto: persistence true), or use a broker that can; a broker in memory cannot";
        all.push((Health::Act, joined(&why, remedy)));
    }
    for topic in intake.unrouted_topics.iter().filter(|topic| topic.last_s < UNROUTED_LATELY_S) {
        let (prefix, messages) = (&topic.prefix, topic.messages);
        let why =
            format!("{messages} messages under {prefix} belong to no route: they are acknowledged and not journaled");
        let remedy = "name their topics in a route (tidegate journal quarantine list shows the first ones), then: systemctl reload tidegate";
        all.push((Health::Act, joined(&why, remedy)));
    }
    let weak = intake.routes.iter().flat_map(|route| &route.filters).filter(|filter| filter.granted_qos == Some(0));
    for filter in weak {
        let why = format!(
            "broker {url}: it granted the filter {} with QoS 0 only: what it sends is not held back for us",
            filter.filter
        );
        all.push((Health::Act, joined(&why, "let the broker grant QoS 1 to this client")));
    }
    all
}

/// The broker and each filter of ours that it refused.
fn refused_filters(status: &StatusSnapshot) -> impl Iterator<Item = (&str, &str)> {
    status.intake.iter().flat_map(|intake| {
        let filters = intake.routes.iter().flat_map(|route| &route.filters);
        let refused = filters.filter(|filter| filter.granted == Some(false));
        refused.map(|filter| (intake.url.as_str(), filter.filter.as_str()))
    })
}

/// What is wrong with the broker; names its address once.
fn of_broker(url: &str, why: &str) -> String {
    if why.contains(url) { format!("broker: {why}") } else { format!("broker {url}: {why}") }
}

fn joined(why: &str, remedy: &str) -> String {
    if remedy.is_empty() { why.to_owned() } else { format!("{why}; {remedy}") }
}
