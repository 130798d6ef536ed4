//! Facts of a healthy agent, and what changes them.

use super::super::*;
use crate::drain::{DrainState, DrainStatus};
use crate::histogram::Histogram;
use crate::journal::{JournalStats, LaneStats, QuarantineCounts, WriterHealth};
use crate::mqtt::{FilterStatus, IntakeState, IntakeStatus, OutageKind, RouteStatus};
use crate::record::{Epoch, Number};
use crate::status::{Health, JournalStatus, QueueStatus};

pub(super) fn lane(name: &str, waiting: u64) -> LaneStats {
    LaneStats { appended: waiting, waiting, ..crate::testing::lane(name) }
}

fn route(filter: &str) -> RouteStatus {
    RouteStatus {
        profile: "generic".into(),
        filters: vec![FilterStatus { filter: filter.into(), granted: Some(true), granted_qos: Some(1) }],
        fallback: false,
        messages: 5,
        qos0: 0,
        last_message_s: Some(3),
        last_qos0_s: None,
        first_qos0: None,
        silent_s: Some(3),
        longest_pause_s: 60,
        elsewhere: 0,
        heard_before: true,
    }
}

fn intake() -> IntakeStatus {
    IntakeStatus {
        state: IntakeState::Online,
        state_for_s: 600,
        client_id: "tidegate-roof".into(),
        password_file: Some("/etc/tidegate/password".into()),
        connections: 1,
        session_kept: Some(true),
        received: 10,
        broker_dropped: Some(0),
        ..IntakeStatus::new("mqtt://broker:1883".into(), vec![route("a/#"), route("b/#")])
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
        in_place: true,
        set_aside: 0,
        foreign: 0,
        state_loss: None,
        read_only: false,
        writer_panics: 0,
        not_appended: 0,
        commits: Histogram::new(&[]),
        quarantine: QuarantineCounts::default(),
        lanes: vec![lane("main", 0), lane("audit", 0)],
    };
    JournalStatus { facts, path: "/data/journal".into(), in_ram: false, free_bytes: Some(1 << 30), holds_on_s: None }
}

fn queue(name: &str) -> QueueStatus {
    let drain = DrainStatus::default();
    QueueStatus { name: name.into(), url: String::new(), lane: Some(lane(name, 0)), drain, outlook: None }
}

/// An agent with two queues and two routes, all of it well.
pub(in crate::status) fn healthy() -> StatusSnapshot {
    StatusSnapshot {
        version: "1",
        gateway: "roof".into(),
        uptime_s: 600,
        uplink: Default::default(),
        readings: Default::default(),
        health: Health::Fine,
        remarks: Vec::new(),
        findings: Vec::new(),
        acknowledged: None,
        clock_plausible: true,
        clock_confirmed: true,
        intake: Some(intake()),
        journal: Some(journal()),
        queues: vec![queue("main"), queue("audit")],
    }
}

pub(super) const DAY_S: u64 = 24 * 3600;

/// An agent with losses of six kinds.
pub(in crate::status) fn lost() -> StatusSnapshot {
    let mut status = healthy();
    let lanes = &mut status.journal.as_mut().expect("a journal").facts.lanes;
    (lanes[0].evicted, lanes[1].quarantined) = (5, 1);
    let losses = &mut status.intake.as_mut().expect("an intake").losses;
    (losses.oversize, losses.broker_dropped, losses.sessions_lost) = (1, 7, 2);
    losses.unrouted = vec![("x/y".into(), 3)];
    status
}

/// What is known; changed by one cause.
pub(super) struct World {
    pub(super) status: StatusSnapshot,
    pub(super) notes: Notes,
    pub(super) acknowledged: Counts,
}

impl World {
    pub(super) fn after(cause: fn(&mut World)) -> World {
        let mut world = World { status: healthy(), notes: Notes::default(), acknowledged: Counts::new() };
        cause(&mut world);
        world
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        findings(Facts { status: &self.status, notes: &self.notes, acknowledged: &self.acknowledged })
    }

    pub(super) fn intake(&mut self) -> &mut IntakeStatus {
        self.status.intake.as_mut().expect("an intake")
    }

    pub(super) fn journal(&mut self) -> &mut JournalStats {
        &mut self.status.journal.as_mut().expect("a journal").facts
    }

    pub(super) fn drain(&mut self, state: DrainState) {
        self.status.queues[1].drain.state = state;
    }

    pub(super) fn blocked(&mut self, cause: OutageKind, why: &str) {
        let remedy = "do this".to_owned();
        self.intake().state = IntakeState::Blocked { cause, why: why.into(), remedy };
        self.intake().away_s = Some(1);
    }

    pub(super) fn offline(&mut self, cause: OutageKind, why: &str, away_s: u64) {
        self.intake().state = IntakeState::Offline { cause, why: why.into(), remedy: String::new() };
        (self.intake().away_s, self.intake().state_for_s) = (Some(away_s), away_s);
    }
}
