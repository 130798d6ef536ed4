//! Each finding is caused by its facts, and healthy facts cause none.

mod cases;
mod facts;

use super::*;
use crate::drain::DrainState;
use crate::journal::{EvictionStats, StateLossStats, WriterHealth};
use crate::mqtt::{IntakeState, OutageKind, Qos0Message};
use crate::record::{Epoch, Number};
use crate::status::history::{DrainForecast, Trend};
use cases::{ACT, CASES, NO_CASES, WAITING};
use facts::{World, lane};
pub(in crate::status) use facts::{healthy, lost};

#[test]
fn healthy_facts_cause_no_finding() {
    assert_eq!(World::after(|_| {}).findings(), []);
}

#[test]
fn each_cause_has_its_one_finding_and_no_other() {
    for (code, severity, cause) in CASES {
        let found = World::after(*cause).findings();
        let [one] = &*found else { panic!("{code:?}: {found:#?}") };
        assert_eq!((one.code, one.severity), (*code, *severity), "{one:#?}");
        assert!(one.what.contains(code.row().says), "{one:#?} says {:?}", code.row().says);
        assert!(!one.cost.is_empty(), "{one:#?}");
        let todo = !one.remedy.is_empty() && !one.command.is_empty();
        assert!(todo || one.severity == WAITING || code.row().remedy.is_empty(), "{one:#?}");
        assert!(!one.command.is_empty() || one.severity == WAITING, "{one:#?}");
    }
}

#[test]
fn all_causes_at_once_are_found_with_urgent_ones_first() {
    let mut world = World::after(|_| {});
    for (code, _, cause) in CASES {
        // One cause of an outage at a time.
        if *code != Code::AgentStarting && !code.word().starts_with("broker_") && !code.word().starts_with("journal_") {
            cause(&mut world);
        }
    }
    let found = world.findings();
    assert!(found.is_sorted_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code)), "{found:#?}");
    assert!(found.len() > 15 && found[0].severity == ACT && found.last().unwrap().severity == WAITING, "{found:#?}");
}

#[test]
fn what_is_near_to_a_cause_is_none() {
    for (index, cause) in NO_CASES.iter().enumerate() {
        assert_eq!(World::after(*cause).findings(), [], "{index}");
    }
}

#[test]
fn the_command_that_a_remedy_names_is_the_findings_command() {
    let with = |remedy: &str| {
        let mut world = World::after(|_| {});
        world.drain(DrainState::Parked { why: "refused".into(), remedy: remedy.into(), next_s: 60 });
        world.findings()[0].command.clone()
    };
    assert_eq!(with("allow sqs:SendMessage; `tidegate policy` prints the policy"), "sudo tidegate policy");
    assert_eq!(with("set the clock: `timedatectl` shows it"), "timedatectl");
    assert_eq!(with("compare it with the `console`"), "sudo tidegate check");
}

#[test]
fn every_code_has_a_case() {
    // The command makes it, which has read the file.
    let elsewhere = [Code::ConfigurationMistake];
    let bare = codes::CODES.iter().map(|row| row.code).filter(|code| CASES.iter().all(|(case, ..)| case != code));
    assert_eq!(bare.collect::<Vec<_>>(), elsewhere);
}

#[test]
fn a_loss_is_reported_with_the_count_since_acknowledgement() {
    let mut world = World::after(|w| w.status = lost());
    world.acknowledged = [("records_evicted/main".to_owned(), 3), ("messages_unrouted/x/y".to_owned(), 3)].into();
    let found = world.findings();
    let counts: Vec<(&str, Option<&str>, Option<u64>)> =
        found.iter().map(|one| (one.code.word(), one.about.as_deref(), one.count)).collect();
    assert_eq!(
        counts,
        [
            ("session_lost", None, Some(2)),
            ("records_evicted", Some("main"), Some(2)),
            ("records_quarantined", Some("audit"), Some(1)),
            ("messages_oversize", None, Some(1)),
            ("messages_dropped", None, Some(7)),
        ]
    );
}

#[test]
fn codes_are_words_that_differ() {
    let mut words: Vec<&str> = codes::CODES.iter().map(|row| row.word).collect();
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), codes::CODES.len());
    for row in codes::CODES {
        assert_eq!(row.code.word(), row.word);
        let texts = [row.says, row.cost, row.remedy];
        assert!(texts.iter().all(|text| !text.ends_with('.') && !text.contains('|')), "{row:?}");
    }
}

#[test]
fn with_two_queues_each_finding_names_its_own() {
    let mut world = World::after(|_| {});
    for (index, name) in ["main", "audit"].into_iter().enumerate() {
        let why = format!("{name} is away");
        world.status.queues[index].drain.state = DrainState::Offline { why, next_s: 4 };
    }
    let said: Vec<String> = world.findings().into_iter().map(|finding| finding.what).collect();
    assert_eq!(
        said,
        [
            "queue main: offline: main is away; next attempt in 4 s",
            "queue audit: offline: audit is away; next attempt in 4 s"
        ]
    );
}

#[test]
fn a_record_not_getting_through_is_named_with_its_remedy() {
    let mut world = World::after(CASES.iter().find(|(code, ..)| *code == Code::RecordSuspect).expect("a case").2);
    world.status.queues[1].drain.suspects_total = 3;
    let found = world.findings();
    assert_eq!(
        found[0].line(),
        "queue audit: record 7 (topic a/b) does not get through although all others do: HTTP status 403; its message group d1 \
         waits; let the filter or proxy on the way pass it, or give it up: tidegate journal quarantine add 7; sudo \
         tidegate journal show 7"
    );
    assert_eq!((found.len(), found[1].count), (2, Some(2)));
}

#[test]
fn a_slow_uplink_reports_its_rate_and_time_to_drain() {
    let outlook = |says, eta_s| Some(DrainForecast { accepted_per_s: 0.1, eta_s, says });
    let said = |bit_s, waiting, outlook| {
        let mut world = World::after(|w| w.drain(DrainState::Draining));
        let queue = &mut world.status.queues[1];
        (queue.drain.uplink_bit_s, queue.lane, queue.outlook) = (bit_s, Some(lane("audit", waiting)), outlook);
        world.findings().first().map(|finding| finding.what.clone())
    };
    assert_eq!(
        said(Some(11_000), 900, outlook(Trend::Draining, Some(4 * 3600 + 1200))).as_deref(),
        Some("queue audit: the uplink is slow: 11.0 kbit/s, 4 h 20 min to drain")
    );
    assert_eq!(
        said(Some(2_350), 900, outlook(Trend::Growing, None)).as_deref(),
        Some("queue audit: the uplink is slow: 2.4 kbit/s, growing: records arrive faster than they are sent")
    );
    let waits = said(Some(2_400), 900, None);
    assert_eq!(waits.as_deref(), Some("queue audit: the uplink is slow: 2.4 kbit/s, 900 records wait"));
    for (bit_s, waiting) in [(Some(64_000), 900), (None, 900), (Some(11_000), 19)] {
        assert_eq!(said(bit_s, waiting, None), None, "{bit_s:?}, {waiting}");
    }
}

#[test]
fn exactly_the_counted_losses_can_be_acknowledged() {
    let mut status = lost();
    let state_loss = StateLossStats { epoch: Epoch(1007), before: Number(633), presumed: 0 };
    status.journal.as_mut().expect("a journal").facts.state_loss = Some(state_loss);
    let mut counted: Vec<Code> = losses::losses(&status).into_iter().map(|loss| loss.code).collect();
    counted.sort_unstable();
    counted.dedup();
    assert_eq!(counted, codes::LOSSES);
}

#[test]
fn the_remedy_for_evictions_is_that_of_their_bound() {
    for (bound, remedy) in [
        ("journal.max_bytes", "raise journal.max_bytes"),
        ("journal.min_free", "free space on the journal's disk"),
        ("journal.max_age", "raise journal.max_age"),
    ] {
        let mut world = World::after(|w| (w.journal().lanes[0].evicted, w.journal().lanes[1].evicted) = (2, 3));
        world.journal().evicted = Some(EvictionStats { bound, ago_s: 5 });
        let findings = world.findings();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.remedy.contains(remedy)), "{findings:?}");
        // After a restart the bound is not known.
        world.journal().evicted = None;
        assert!(world.findings().iter().all(|finding| !finding.remedy.contains("journal.")), "{:?}", world.findings());
    }
}

#[test]
fn every_loss_says_that_it_is_to_be_acknowledged() {
    for code in codes::LOSSES {
        assert!(code.row().remedy.contains("acknowledge"), "{code:?}");
    }
}

#[test]
fn what_went_to_an_emptied_quarantine_is_to_be_acknowledged() {
    for cause in [(|w| w.journal().lanes[0].quarantined = 2) as fn(&mut World), |w| w.intake().losses.oversize = 1] {
        let mut world = World::after(cause);
        world.journal().quarantine.entries = 2;
        assert_eq!(world.findings()[0].command, "sudo tidegate journal quarantine list");
        world.journal().quarantine.entries = 0;
        let finding = world.findings().remove(0);
        assert_eq!(finding.command, "sudo tidegate acknowledge");
        assert!(finding.remedy.contains("acknowledge") && !finding.cost.contains("quarantine"), "{finding:?}");
        assert!(!finding.cost.contains("no consumer"), "{finding:?}");
    }
}

#[test]
fn used_up_inodes_are_named_where_bytes_are_free() {
    let with = |free: u64| {
        let error = "journal /data/journal/log: No space left on device (os error 28)".to_owned();
        let mut world = World::after(|_| {});
        world.journal().writer = WriterHealth::Failing { error };
        world.status.journal.as_mut().unwrap().free_bytes = Some(free);
        world.findings().remove(0)
    };
    let inodes = with(1 << 30);
    assert_eq!((inodes.code, &*inodes.command), (Code::JournalUnwritable, "df -i '/data/journal'"));
    assert!(inodes.remedy.contains("inodes"), "{inodes:?}");
    assert!(with(0).command.starts_with("df -h"), "{:?}", with(0));
}

#[test]
fn evictions_that_go_on_are_mended_before_they_are_acknowledged() {
    let command = |ago_s| {
        let mut world = World::after(|w| w.journal().lanes[1].evicted = 3);
        world.journal().evicted = Some(EvictionStats { bound: "journal.max_bytes", ago_s });
        world.findings().remove(0).command
    };
    assert_eq!(command(15 * 60 - 1), "sudo tidegate check");
    assert_eq!(command(15 * 60), "sudo tidegate acknowledge");
}

#[test]
fn the_qos_0_remedy_is_that_of_the_publisher_there() {
    let with = |profile: &str| {
        let mut world = World::after(|_| ());
        let row = &mut world.intake().routes[1];
        (row.qos0, row.last_qos0_s) = (2, Some(3));
        row.first_qos0 = Some(Qos0Message { topic: "zigbee2mqtt/door".into(), profile: profile.into() });
        world.findings().remove(0)
    };
    let finding = with("zigbee2mqtt");
    assert_eq!(finding.remedy, "set qos: 1 under device_options");
    assert!(finding.what.contains("the first under zigbee2mqtt/door"), "{}", finding.what);
    assert_eq!(with("of another release").remedy, Code::RouteQos0.row().remedy);
}

#[test]
fn the_command_for_a_password_file_names_it() {
    let with = |told: &str| {
        let mut world = World::after(|w| w.blocked(OutageKind::PasswordFile, "cannot read mqtt.password_file"));
        if let IntakeState::Blocked { remedy, .. } = &mut world.intake().state {
            told.clone_into(remedy);
        }
        world.findings().remove(0)
    };
    let file = "'/etc/tidegate/password'";
    let open = format!("sudo chown root:tidegate {file} && sudo chmod 640 {file}");
    let closed = with("chown root:tidegate /etc/tidegate/password && chmod 640 /etc/tidegate/password");
    assert_eq!(closed.command, open);
    assert!(!closed.remedy.contains("chown"), "one command, once: {}", closed.remedy);
    // What is not there cannot be opened to anyone.
    let missing = with("write the broker's password into it, or correct mqtt.password_file");
    assert_eq!(missing.command, format!("sudo nano {file} && {open}"));
}

#[test]
fn a_finding_lasts_since_first_seen_and_restarts_once_gone() {
    let mut first_seen = FirstSeen::default();
    let mut since = |w: &World, now_ms| {
        let mut found = w.findings();
        first_seen.put_into(&mut found, now_ms);
        found.first().and_then(|finding| finding.since_s)
    };
    let parked = World::after(|w| w.drain(DrainState::CannotRead { why: "EIO".into() }));
    let well = World::after(|_| {});
    assert_eq!([since(&parked, 5000), since(&parked, 9000)], [Some(0), Some(4)]);
    assert_eq!([since(&well, 10_000), since(&parked, 20_000)], [None, Some(0)]);
    let lost = World::after(|w| w.journal().lanes[0].damaged = 1);
    assert_eq!(since(&lost, 30_000), None, "lost before this run, perhaps");
}
