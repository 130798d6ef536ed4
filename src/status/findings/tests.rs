//! Each finding is caused by its facts, and healthy facts cause none.

use super::*;
use crate::drain::{DrainState, DrainStatus, SuspectStatus};
use crate::journal::{Bound, EvictionStats, JournalStats, LaneStats, QuarantineCounts, WriterHealth};
use crate::mqtt::{FilterStatus, IntakeState, IntakeStatus, OutageKind, RouteStatus};
use crate::record::{Epoch, Number, Position};
use crate::status::history::{DrainForecast, Trend};
use crate::status::{Health, JournalStatus, QueueStatus};

pub(super) fn lane(name: &str, waiting: u64) -> LaneStats {
    LaneStats {
        name: name.into(),
        appended: waiting,
        accepted: 0,
        waiting,
        evicted: 0,
        quarantined: 0,
        damaged: 0,
        cursor: Position(1),
        unannounced: 0,
    }
}

fn route(filter: &str) -> RouteStatus {
    RouteStatus {
        profile: "generic".into(),
        filters: vec![FilterStatus { filter: filter.into(), granted: Some(true), granted_qos: Some(1) }],
        messages: 5,
        qos0: 0,
        last_message_s: Some(3),
    }
}

fn intake() -> IntakeStatus {
    IntakeStatus {
        state: IntakeState::Online,
        state_for_s: 600,
        away_s: None,
        url: "mqtt://broker:1883".into(),
        client_id: "tidegate-roof".into(),
        connections: 1,
        session_kept: Some(true),
        sessions_lost: 0,
        session_lost_s: None,
        received: 10,
        repeats: 0,
        possible_duplicates: 0,
        oversize: 0,
        qos0: 0,
        unrouted: 0,
        unrouted_topics: Vec::new(),
        unacked_messages: 0,
        unacked_bytes: 0,
        broker_dropped: Some(0),
        broker_dropped_since_start: 0,
        routes: vec![route("a/#"), route("b/#")],
    }
}

fn journal() -> JournalStatus {
    let facts = JournalStats {
        journal_id: "0123456789abcdef".into(),
        epoch: Epoch(1),
        durable: Number(10),
        generations: 1,
        bytes: 1 << 20,
        max_bytes: 512 << 20,
        max_age_s: None,
        min_free: 32 << 20,
        reserve: true,
        evicted: None,
        writer: WriterHealth::Fine,
        set_aside: 0,
        read_only: false,
        writer_panics: 0,
        not_appended: 0,
        quarantine: QuarantineCounts::default(),
        lanes: vec![lane("main", 0), lane("audit", 0)],
    };
    JournalStatus { facts, path: "/data/journal".into(), in_ram: false, free_bytes: Some(1 << 30) }
}

fn queue(name: &str) -> QueueStatus {
    let drain = DrainStatus::default();
    QueueStatus { name: name.into(), url: String::new(), lane: Some(lane(name, 0)), drain, outlook: None }
}

/// An agent with two queues and two routes, all of it well.
fn healthy() -> StatusSnapshot {
    StatusSnapshot {
        version: "1",
        gateway: "roof".into(),
        uptime_s: 600,
        health: Health::Fine,
        remarks: Vec::new(),
        findings: Vec::new(),
        clock_plausible: true,
        clock_confirmed: true,
        intake: Some(intake()),
        journal: Some(journal()),
        queues: vec![queue("main"), queue("audit")],
    }
}

/// What is known; changed by one cause.
struct World {
    status: StatusSnapshot,
    notes: Notes,
}

impl World {
    fn after(cause: fn(&mut World)) -> World {
        let mut world = World { status: healthy(), notes: Notes::default() };
        cause(&mut world);
        world
    }

    fn findings(&self) -> Vec<Finding> {
        findings(Facts { status: &self.status, notes: &self.notes })
    }

    fn intake(&mut self) -> &mut IntakeStatus {
        self.status.intake.as_mut().expect("an intake")
    }

    fn journal(&mut self) -> &mut JournalStats {
        &mut self.status.journal.as_mut().expect("a journal").facts
    }

    fn drain(&mut self, state: DrainState) {
        self.status.queues[1].drain.state = state;
    }

    fn blocked(&mut self, cause: OutageKind, why: &str) {
        let remedy = "do this".to_owned();
        self.intake().state = IntakeState::Blocked { cause, why: why.into(), remedy };
        self.intake().away_s = Some(1);
    }

    fn offline(&mut self, cause: OutageKind, why: &str, away_s: u64) {
        self.intake().state = IntakeState::Offline { cause, why: why.into(), remedy: String::new() };
        (self.intake().away_s, self.intake().state_for_s) = (Some(away_s), away_s);
    }
}

type Case = (Code, Severity, fn(&mut World));

const ACT: Severity = Severity::Act;
const WAITING: Severity = Severity::Waiting;

const CASES: &[Case] = &[
    (Code::JournalNotOpen, ACT, |w| {
        (w.status.journal, w.status.intake) = (None, None);
        w.notes.waiting_for = Some("/data/journal: the disk refuses".into());
    }),
    (Code::JournalUnwritable, ACT, |w| w.journal().writer = WriterHealth::Failing { error: "EIO".into() }),
    (Code::JournalStalled, ACT, |w| w.offline(OutageKind::Ours, "max_unacked_bytes is reached", 1)),
    (Code::JournalReadOnly, ACT, |w| w.journal().read_only = true),
    (Code::JournalReadOnly, ACT, |w| {
        w.journal().read_only = true;
        w.journal().writer = WriterHealth::Failing { error: "EROFS".into() };
    }),
    (Code::JournalFull, ACT, |w| w.journal().writer = WriterHealth::Full { bound: Bound::MaxBytes }),
    (Code::BrokerPasswordFile, ACT, |w| {
        w.blocked(OutageKind::PasswordFile, "cannot read mqtt.password_file /p: EACCES")
    }),
    (Code::BrokerRefusesLogin, ACT, |w| w.blocked(OutageKind::Login, "the broker does not let us in: x")),
    (Code::BrokerRefusesClientId, ACT, |w| w.blocked(OutageKind::ClientId, "the broker refused the client id x")),
    (Code::BrokerRefusesVersion, ACT, |w| w.blocked(OutageKind::Version, "the broker refused MQTT 3.1.1")),
    (Code::BrokerCertificate, ACT, |w| w.blocked(OutageKind::Certificate, "TLS with x failed")),
    (Code::BrokerNotMqtt, ACT, |w| w.blocked(OutageKind::NotMqtt, "what answers breaks MQTT 3.1.1: x")),
    (Code::BrokerNotPermitted, ACT, |w| w.blocked(OutageKind::NotPermitted, "not allowed to open x")),
    (Code::BrokerMessageTooLarge, ACT, |w| w.blocked(OutageKind::TooLarge, "the broker holds a message of 17 bytes")),
    (Code::BrokerQos2Session, ACT, |w| w.blocked(OutageKind::Qos2Session, "packet 1 of a QoS 2 handshake")),
    (Code::BrokerAway, WAITING, |w| w.offline(OutageKind::Away, "nothing listens", 60)),
    (Code::BrokerAway, ACT, |w| w.offline(OutageKind::Away, "nothing listens", 61)),
    (Code::BrokerAway, ACT, |w| {
        w.offline(OutageKind::Away, "nothing listens", 90);
        // Another reason a moment ago is the same outage.
        w.intake().state_for_s = 1;
    }),
    (Code::BrokerAway, WAITING, |w| {
        w.intake().state = IntakeState::Connecting;
        w.intake().away_s = Some(2);
    }),
    (Code::FilterRefused, ACT, |w| w.intake().routes[0].filters[0].granted = Some(false)),
    (Code::FilterQos0, ACT, |w| w.intake().routes[0].filters[0].granted_qos = Some(0)),
    (Code::SessionLost, ACT, |w| {
        w.intake().sessions_lost = 1;
        w.intake().session_lost_s = Some(70);
    }),
    (Code::RecordsEvicted, ACT, |w| w.journal().evicted = Some(EvictionStats { bound: "journal.max_bytes", ago_s: 9 })),
    (Code::QueueNotConfigured, ACT, |w| w.journal().lanes.push(lane("old", 3))),
    (Code::QueueParked, ACT, |w| {
        let (why, remedy) = ("access denied".to_owned(), "allow sqs:SendMessage".to_owned());
        w.drain(DrainState::Parked { why, remedy, next_s: 4 });
    }),
    (Code::QueueCannotRead, ACT, |w| w.drain(DrainState::CannotRead { why: "EIO".into() })),
    (Code::RecordSuspect, ACT, |w| {
        let (topic, group, why) = ("a/b".to_owned(), "d1".to_owned(), "HTTP status 403".to_owned());
        w.status.queues[1].drain.suspects = vec![SuspectStatus { number: 7, topic, group, failures: 2, why }];
        w.status.queues[1].drain.suspects_total = 1;
    }),
    (Code::JournalSetAside, ACT, |w| w.journal().set_aside = 1),
    (Code::JournalDiskLow, ACT, |w| w.status.journal.as_mut().unwrap().free_bytes = Some(1 << 20)),
    (Code::JournalInRam, ACT, |w| w.status.journal.as_mut().unwrap().in_ram = true),
    (Code::JournalWriterPanics, ACT, |w| w.journal().writer_panics = 2),
    (Code::ConfigurationRefused, ACT, |w| w.notes.reload = Some("configuration not reloaded: line 3".into())),
    (Code::JournalCopied, ACT, |w| w.notes.names = Some("this journal was copied from another gateway: x".into())),
    (Code::PageClosed, ACT, |w| w.notes.page_closed = Some("the status page stays closed: x".into())),
    (Code::QueueOffline, WAITING, |w| w.drain(DrainState::Offline { why: "cannot connect".into(), next_s: 4 })),
    (Code::QueueThrottled, WAITING, |w| w.drain(DrainState::Throttled { why: "asked for less".into(), next_s: 4 })),
    (Code::QueueWindowFull, WAITING, |w| w.drain(DrainState::WindowFull { group: "d1".into() })),
    (Code::UplinkSlow, WAITING, |w| {
        w.drain(DrainState::Draining);
        w.status.queues[1].drain.uplink_bit_s = Some(9000);
        w.status.queues[1].lane = Some(lane("audit", 40));
    }),
    (Code::JournalNoReserve, WAITING, |w| w.journal().reserve = false),
    (Code::ClockWrong, WAITING, |w| w.status.clock_plausible = false),
];

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
fn all_causes_at_once_are_all_found_and_those_to_act_on_come_first() {
    let mut world = World::after(|_| {});
    for (code, _, cause) in CASES {
        // One cause of an outage at a time.
        if !code.word().starts_with("broker_") && *code != Code::JournalStalled && *code != Code::JournalNotOpen {
            cause(&mut world);
        }
    }
    let found = world.findings();
    assert!(found.is_sorted_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code)), "{found:#?}");
    assert!(found.len() > 15 && found[0].severity == ACT && found.last().unwrap().severity == WAITING, "{found:#?}");
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
        ["queue main: main is away; next attempt in 4 s", "queue audit: audit is away; next attempt in 4 s"]
    );
}

#[test]
fn a_record_that_does_not_get_through_is_named_with_what_to_do() {
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
fn a_slow_uplink_says_how_fast_it_is_and_how_long_it_takes() {
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
