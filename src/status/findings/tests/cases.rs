//! Causes of findings, and what is near to one.

use super::facts::{DAY_S, World, lane};
use crate::drain::{DrainState, SuspectStatus};
use crate::journal::{Bound, StateLossStats, WriterHealth};
use crate::mqtt::{IntakeState, OutageKind};
use crate::record::{Epoch, Number};
use crate::status::findings::{Code, Severity};

pub(super) type Case = (Code, Severity, fn(&mut World));

pub(super) const ACT: Severity = Severity::Act;
pub(super) const WAITING: Severity = Severity::Waiting;

pub(super) const CASES: &[Case] = &[
    (Code::JournalNotOpen, ACT, |w| {
        (w.status.journal, w.status.intake) = (None, None);
        w.notes.waiting_for = Some("/data/journal: the disk refuses".into());
    }),
    (Code::JournalUnwritable, ACT, |w| w.journal().writer = WriterHealth::Failing { error: "EIO".into() }),
    (Code::JournalStalled, ACT, |w| {
        (w.intake().unacked_messages, w.intake().stuck_s) = (3, Some(20));
    }),
    (Code::JournalStalled, ACT, |w| {
        w.offline(OutageKind::Behind, "max_unacked_bytes is reached", 61);
        (w.intake().unacked_messages, w.intake().stuck_s) = (900, Some(70));
    }),
    (Code::JournalBehind, WAITING, |w| {
        w.offline(OutageKind::Behind, "max_unacked_bytes is reached", 1);
        (w.intake().unacked_messages, w.intake().stuck_s) = (900, Some(1));
    }),
    (Code::JournalMoved, ACT, |w| w.journal().in_place = false),
    (Code::JournalReadOnly, ACT, |w| w.journal().read_only = true),
    (Code::JournalReadOnly, ACT, |w| {
        w.journal().read_only = true;
        w.journal().writer = WriterHealth::Failing { error: "EROFS".into() };
    }),
    (Code::JournalFull, ACT, |w| w.journal().writer = WriterHealth::Full { bound: Bound::MaxBytes }),
    (Code::JournalFull, ACT, |w| {
        // One fault, once.
        w.journal().writer = WriterHealth::Full { bound: Bound::MinFree };
        w.journal().reserve = false;
        w.status.journal.as_mut().unwrap().free_bytes = Some(1 << 20);
    }),
    (Code::BrokerPasswordFile, ACT, |w| {
        w.blocked(OutageKind::PasswordFile, "cannot read mqtt.password_file /p: EACCES")
    }),
    (Code::BrokerPasswordLost, ACT, |w| {
        w.intake().password_lost = Some(("cannot read mqtt.password_file /p: EACCES".into(), "chown".into()));
    }),
    (Code::BrokerRefusesLogin, ACT, |w| w.blocked(OutageKind::Login, "the broker does not let us in: x")),
    (Code::BrokerRefusesClientId, ACT, |w| w.blocked(OutageKind::ClientId, "the broker refused the client id x")),
    (Code::BrokerRefusesVersion, ACT, |w| {
        w.blocked(OutageKind::Version, "the broker does not take MQTT 3.1.1: it refused it")
    }),
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
    (Code::ClientIdTwice, ACT, |w| w.intake().thrown_out = 3),
    (Code::ClientIdTwice, ACT, |w| {
        // Thrown out a moment ago: one fault, once.
        w.intake().thrown_out = 3;
        w.offline(OutageKind::Closed, "the broker closed the connection", 1);
    }),
    (Code::RouteSilent, ACT, |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.heard_before, row.silent_s, row.elsewhere) = (0, false, Some(600), 10);
    }),
    (Code::RouteSilent, ACT, |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.silent_s, row.elsewhere) = (5, Some(DAY_S), 10);
    }),
    (Code::RouteSilent, ACT, |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.longest_pause_s, row.silent_s, row.elsewhere) = (20, 3600, Some(8 * 3600), 10);
    }),
    (Code::RouteQos0, ACT, |w| {
        let row = &mut w.intake().routes[1];
        (row.qos0, row.last_qos0_s) = (2, Some(3600));
    }),
    (Code::JournalMissing, ACT, |w| w.intake().losses.journals_missing = 1),
    (Code::SessionLost, ACT, |w| w.intake().losses.sessions_lost = 1),
    (Code::RecordsEvicted, ACT, |w| w.journal().lanes[1].evicted = 3),
    (Code::RecordsQuarantined, ACT, |w| w.journal().lanes[1].quarantined = 1),
    (Code::RecordsDamaged, ACT, |w| w.journal().lanes[1].damaged = 1),
    (Code::JournalStateLost, ACT, |w| {
        w.journal().state_loss = Some(StateLossStats { epoch: Epoch(1007), before: Number(633), presumed: 0 });
    }),
    (Code::MessagesOversize, ACT, |w| w.intake().losses.oversize = 1),
    (Code::MessagesDropped, ACT, |w| w.intake().losses.broker_dropped = 7),
    (Code::MessagesUnrouted, ACT, |w| w.intake().losses.unrouted = vec![("x/y".into(), 1)]),
    (Code::QueueNotConfigured, ACT, |w| w.journal().lanes.push(lane("old", 3))),
    (Code::QueueParked, ACT, |w| {
        let (why, remedy) = ("access denied".to_owned(), "allow sqs:SendMessage".to_owned());
        w.drain(DrainState::Parked { why, remedy, next_s: 4 });
    }),
    (Code::QueueKeyFile, ACT, |w| {
        w.status.queues[1].drain.key_file_trouble = Some("/etc/tidegate/credentials.csv: it has no secret".into());
    }),
    (Code::QueueCannotRead, ACT, |w| w.drain(DrainState::CannotRead { why: "EIO".into() })),
    (Code::RecordSuspect, ACT, |w| {
        let (topic, group, why) = ("a/b".to_owned(), "d1".to_owned(), "HTTP status 403".to_owned());
        w.status.queues[1].drain.suspects = vec![SuspectStatus { number: 7, topic, group, failures: 2, why }];
        w.status.queues[1].drain.suspects_total = 1;
    }),
    (Code::JournalSetAside, ACT, |w| w.journal().set_aside = 1),
    (Code::JournalForeign, ACT, |w| w.journal().foreign = 2),
    (Code::JournalDiskLow, ACT, |w| w.status.journal.as_mut().unwrap().free_bytes = Some(1 << 20)),
    (Code::JournalInRam, ACT, |w| w.status.journal.as_mut().unwrap().in_ram = true),
    (Code::JournalWriterPanics, ACT, |w| w.journal().writer_panics = 2),
    (Code::ConfigurationRefused, ACT, |w| w.notes.reload = Some("configuration not reloaded: line 3".into())),
    (Code::JournalCopied, ACT, |w| w.notes.names = Some("this journal was copied from another gateway: x".into())),
    (Code::PageClosed, ACT, |w| w.notes.page_closed = Some("the status page stays closed: x".into())),
    (Code::AgentStarting, WAITING, |w| w.status.intake = None),
    (Code::AgentStarting, WAITING, |w| (w.status.journal, w.status.intake) = (None, None)),
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

/// Each is near to a cause, and none.
pub(super) const NO_CASES: &[fn(&mut World)] = &[
    |w| w.intake().thrown_out = 2,
    |w| w.intake().stuck_s = Some(19),
    // A route of a daily sensor, silent since a restart.
    |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.silent_s, row.elsewhere) = (0, Some(DAY_S - 1), 1000);
    },
    // A broker without any traffic.
    |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.heard_before, row.silent_s, row.elsewhere) = (0, false, Some(DAY_S), 9);
    },
    // A broker that is away makes no route silent.
    |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.heard_before, row.silent_s, row.elsewhere) = (0, false, None, 1000);
    },
    |w| {
        let row = &mut w.intake().routes[1];
        (row.messages, row.longest_pause_s, row.silent_s, row.elsewhere) = (20, 60, Some(2 * 3600 - 1), 1000);
    },
    |w| {
        // Others leave nothing for it.
        let row = &mut w.intake().routes[1];
        (row.fallback, row.messages, row.heard_before, row.silent_s, row.elsewhere) =
            (true, 0, false, Some(DAY_S), 1000);
    },
    |w| w.intake().routes[0].last_qos0_s = Some(DAY_S),
    |w| w.offline(OutageKind::Ours, "a message is over the limit", 1),
    |w| {
        w.journal().state_loss = Some(StateLossStats { epoch: Epoch(1007), before: Number(633), presumed: 9 });
        w.acknowledged.insert("journal_state_lost/epoch 1007".into(), 1);
    },
    |w| {
        w.journal().lanes[1].evicted = 3;
        w.acknowledged.insert("records_evicted/audit".into(), 3);
    },
];
