//! What a person should know, each with how urgent it is and what to do next. Pure.

use crate::drain::{DrainState, DrainStatus, SuspectStatus};
use crate::journal::WriterHealth;
use crate::mqtt::{IntakeState, IntakeStatus};
use crate::status::history::{self, Trend};
use crate::status::{Health, QueueStatus, StatusSnapshot};

/// Seconds for which a lost session is remarked on.
const SESSION_LOST_LATELY_S: u64 = 24 * 3600;
/// Seconds after the last message of no route for which they are remarked on.
const UNROUTED_LATELY_S: u64 = 3600;
/// Seconds for which an eviction is remarked on.
const EVICTED_LATELY_S: u64 = 3600;

/// An uplink that carries less, in bits per second, is remarked on while there is a backlog: a poor cellular link.
const SLOW_UPLINK_BIT_S: u64 = 64_000;
/// Records that are a backlog; fewer are gone before a person has read the remark.
const BACKLOG: u64 = 20;

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
            DrainState::Draining => all.extend(slow_uplink(queue).map(|why| (Health::Waiting, said(&why)))),
            DrainState::Idle | DrainState::Stopped => {}
        }
        all.extend(suspects(&queue.drain).into_iter().map(|(why, remedy)| (Health::Act, said(&joined(&why, &remedy)))));
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

/// What does not get through although everything else does, and what to do about it.
fn suspects(drain: &DrainStatus) -> Vec<(String, String)> {
    let one = |suspect: &SuspectStatus| {
        let SuspectStatus { number, topic, group, why, .. } = suspect;
        let why = format!(
            "record {number} (topic {topic}) does not get through although all others do: {why}; its group {group} waits"
        );
        let remedy = format!(
            "let the filter or proxy on the way pass it; tidegate journal show {number} prints it, tidegate journal quarantine \
             add {number} gives it up"
        );
        (why, remedy)
    };
    let mut all: Vec<(String, String)> = drain.suspects.iter().map(one).collect();
    let more = drain.suspects_total.saturating_sub(all.len() as u64);
    if more > 0 {
        all.push((format!("{more} further records do not get through, and their groups wait"), String::new()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::DrainStatus;
    use crate::journal::LaneStats;
    use crate::record::Position;
    use crate::status::history::DrainForecast;

    fn queue(uplink_bit_s: Option<u64>, waiting: u64, outlook: Option<DrainForecast>) -> QueueStatus {
        let lane = LaneStats {
            name: "main".into(),
            appended: waiting,
            accepted: 0,
            waiting,
            evicted: 0,
            quarantined: 0,
            damaged: 0,
            cursor: Position(1),
            unannounced: 0,
        };
        let mut drain = DrainStatus::default();
        (drain.uplink_bit_s, drain.state) = (uplink_bit_s, DrainState::Draining);
        QueueStatus { name: "main".into(), url: String::new(), lane: Some(lane), drain, outlook }
    }

    #[test]
    fn a_record_that_does_not_get_through_is_named_with_what_to_do() {
        let one = |number| SuspectStatus {
            number,
            topic: "a/b".to_owned(),
            group: "d1".to_owned(),
            failures: 2,
            why: "HTTP status 403".to_owned(),
        };
        let mut drain = DrainStatus::default();
        (drain.suspects, drain.suspects_total) = (vec![one(7)], 3);
        let said: Vec<String> = suspects(&drain).iter().map(|(why, remedy)| joined(why, remedy)).collect();
        assert_eq!(
            said,
            [
                "record 7 (topic a/b) does not get through although all others do: HTTP status 403; its group d1 waits; let the filter or \
                 proxy on the way pass it; tidegate journal show 7 prints it, tidegate journal quarantine add 7 gives it up",
                "2 further records do not get through, and their groups wait"
            ]
        );
    }

    #[test]
    fn a_slow_uplink_says_how_fast_it_is_and_how_long_it_takes() {
        let outlook = |says, eta_s| Some(DrainForecast { accepted_per_s: 0.1, eta_s, says });
        let said = |bit_s, waiting, outlook| slow_uplink(&queue(bit_s, waiting, outlook));
        assert_eq!(
            said(Some(11_000), 900, outlook(Trend::Draining, Some(4 * 3600 + 1200))).as_deref(),
            Some("the uplink is slow: 11.0 kbit/s, 4 h 20 min to drain")
        );
        assert_eq!(
            said(Some(2_350), 900, outlook(Trend::Growing, None)).as_deref(),
            Some("the uplink is slow: 2.4 kbit/s, growing: records arrive faster than they are sent")
        );
        assert_eq!(said(Some(2_400), 900, None).as_deref(), Some("the uplink is slow: 2.4 kbit/s, 900 records wait"));
        for (bit_s, waiting) in [(Some(64_000), 900), (None, 900), (Some(11_000), 19)] {
            assert_eq!(said(bit_s, waiting, None), None, "{bit_s:?}, {waiting}");
        }
    }
}
