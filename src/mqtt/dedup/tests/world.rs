//! A broker, a wire and an agent that may lose its connection or its life at any moment.

use super::*;
use crate::record::Position;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How a broker numbers packets, and what it says of a second delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Counts up, as Mosquitto.
    Counting,
    /// The lowest free id, as HiveMQ.
    LowestFree,
    /// Round a circle no larger than the window, as rumqttd.
    Circle,
    /// Counts up, and delivers again under new ids without DUP.
    Silent,
}

const WINDOW: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish {
        topic: u8,
        payload: u8,
        keyed: bool,
    },
    Send,
    Read,
    Commit,
    AckArrives,
    Drop,
    Kill,
    /// The broker loses the session, and what it held.
    Lose,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u16,
    serial: u64,
    came: Came,
}

struct World {
    kind: Kind,
    /// Published and not sent.
    queue: VecDeque<(u64, Came)>,
    /// Sent and not acknowledged.
    inflight: VecDeque<Sent>,
    last_id: u16,
    published: u64,
    wire: VecDeque<(Sent, bool)>,
    acks: VecDeque<u16>,
    connection: u64,
    recogniser: Deduplicator,
    /// Handed to the journal: what, and under which packet id and place; not durable yet.
    pending: Vec<(u64, Draft, Verdict, bool)>,
    /// Durable: the message's serial, and the record.
    journal: Vec<(u64, Record)>,
    /// What the journal knows of open acks.
    noted: Option<OpenAcks>,
    /// Went with a session.
    lost: BTreeSet<u64>,
    session_kept: bool,
}

impl World {
    fn new(kind: Kind) -> World {
        let mut recogniser = fresh();
        recogniser.seeded(Number(0));
        recogniser.connected(false);
        World {
            kind,
            queue: VecDeque::new(),
            inflight: VecDeque::new(),
            last_id: 0,
            published: 0,
            wire: VecDeque::new(),
            acks: VecDeque::new(),
            connection: 1,
            recogniser,
            pending: Vec::new(),
            journal: Vec::new(),
            noted: None,
            lost: BTreeSet::new(),
            session_kept: false,
        }
    }

    fn next_id(&mut self) -> u16 {
        let free = |id: &u16| self.inflight.iter().all(|sent| sent.id != *id);
        let id = match self.kind {
            Kind::Counting | Kind::Silent => self.last_id + 1,
            Kind::LowestFree => (1..).find(free).expect("the window is smaller"),
            Kind::Circle => {
                let around = |step: u16| (self.last_id + step - 1) % WINDOW as u16 + 1;
                (1..=WINDOW as u16).map(around).find(free).expect("the window is no larger")
            }
        };
        self.last_id = id;
        id
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { topic, payload, keyed } => {
                self.published += 1;
                let key = keyed.then_some(self.published);
                self.queue.push_back((self.published, Came { topic, payload, key, ..PLAIN }));
            }
            Step::Send if self.inflight.len() < WINDOW => {
                let Some((serial, came)) = self.queue.pop_front() else { return };
                let id = self.next_id();
                let sent = Sent { id, serial, came: Came { id, ..came } };
                self.inflight.push_back(sent);
                self.wire.push_back((sent, false));
            }
            Step::Read => {
                let Some((sent, dup)) = self.wire.pop_front() else { return };
                let draft = Came { id: sent.id, dup, ..sent.came }.draft();
                let delivery = Delivery { session_kept: self.session_kept, ..on(self.connection) };
                let verdict = self.recogniser.judge(&draft, delivery);
                self.pending.push((sent.serial, draft, verdict, true));
            }
            Step::Commit => self.commit(),
            Step::AckArrives => {
                if let Some(id) = self.acks.pop_front() {
                    self.inflight.retain(|sent| sent.id != id);
                }
            }
            Step::Drop => {
                self.connection_ends();
                self.pending.iter_mut().for_each(|(.., acked)| *acked = false);
                self.connect(true);
            }
            Step::Lose => {
                self.connection_ends();
                self.pending.iter_mut().for_each(|(.., acked)| *acked = false);
                let held = self.queue.drain(..).map(|(serial, _)| serial);
                self.lost.extend(held.chain(self.inflight.drain(..).map(|sent| sent.serial)));
                self.last_id = 0;
                self.connect(false);
            }
            Step::Kill => {
                self.connection_ends();
                self.pending.clear();
                self.recogniser = fresh();
                self.noted.iter().for_each(|acks| self.recogniser.seed_acks(acks));
                for (_, record) in &self.journal {
                    self.recogniser.seed(record, None);
                }
                self.recogniser.seeded(Number(self.journal.len() as u64));
                self.connection = 0;
                self.connect(true);
            }
            Step::Send => {}
        }
    }

    fn commit(&mut self) {
        let mut word = self.noted.clone();
        for (serial, draft, verdict, ours) in std::mem::take(&mut self.pending) {
            let id = draft.message.packet_id;
            if !verdict.is_repeat() {
                let number = self.journal.len() as u64 + 1;
                self.recogniser.numbered(verdict.place, Number(number));
                let draft = Draft { duplicate: verdict.duplicate, ..draft };
                let slots = vec![LanePosition { lane: LaneId(0), position: Position(number) }];
                let record = Record::number(draft, RUN, Number(number), BootId::default(), slots);
                self.journal.push((serial, Record { open_acks: word.take(), ..record }));
            }
            if ours {
                self.acks.push_back(id);
                self.recogniser.flushed(id);
            }
        }
        self.note();
    }

    /// Within a second that is durable: what a kill before that costs is the residue, see the module.
    fn note(&mut self) {
        if let Some((acks, _)) = self.recogniser.open_acks() {
            self.noted = Some(acks);
        }
    }

    fn connection_ends(&mut self) {
        self.wire.clear();
        if self.kind == Kind::Silent {
            // What it then delivers again without DUP could not be told from new readings: see the module.
            while !self.acks.is_empty() {
                self.step(Step::AckArrives);
            }
        }
        self.acks.clear();
    }

    fn connect(&mut self, session_kept: bool) {
        self.connection += 1;
        self.session_kept = session_kept;
        self.recogniser.connected(session_kept);
        self.note();
        for index in 0..self.inflight.len() {
            let again = self.inflight[index];
            let sent = match self.kind {
                Kind::Silent => Sent { id: self.next_id(), ..again },
                _ => again,
            };
            self.inflight[index] = sent;
            self.wire.push_back((sent, self.kind != Kind::Silent));
        }
    }

    /// Everything gets through in the end.
    fn end(&mut self) {
        while !(self.queue.is_empty() && self.wire.is_empty() && self.pending.is_empty() && self.inflight.is_empty()) {
            for step in [Step::Send, Step::Read, Step::Commit, Step::AckArrives] {
                self.step(step);
            }
        }
    }

    fn judge(&self) -> Result<(), TestCaseError> {
        let mut records: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
        for (serial, record) in &self.journal {
            records.entry(*serial).or_default().push(record);
        }
        for serial in 1..=self.published {
            let of = records.get(&serial).map_or(&[][..], Vec::as_slice);
            prop_assert!(!of.is_empty() || self.lost.contains(&serial), "message {} is lost", serial);
            for again in of.iter().skip(1) {
                let mark = again.possible_duplicate();
                prop_assert!(mark.is_some(), "message {} came twice, unmarked", serial);
            }
            for pair in of.windows(2).filter(|_| self.kind != Kind::Silent) {
                prop_assert!(pair[0].key != pair[1].key || pair[0].draft.identity.key.is_some());
            }
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..2, 0u8..2, prop::bool::weighted(0.2))
            .prop_map(|(topic, payload, keyed)| Step::Publish { topic, payload, keyed }),
        6 => Just(Step::Send),
        6 => Just(Step::Read),
        3 => Just(Step::Commit),
        5 => Just(Step::AckArrives),
        1 => Just(Step::Drop),
        1 => Just(Step::Kill),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_every_double_says_so(
        steps in prop::collection::vec(step(), 0..200),
        kind in prop::sample::select(vec![Kind::Counting, Kind::LowestFree, Kind::Circle, Kind::Silent]),
    ) {
        let mut world = World::new(kind);
        for step in steps {
            world.step(step);
        }
        world.end();
        world.judge()?;
    }

    /// Where nothing is killed and no ack is lost, a broker that counts never makes us record anything twice.
    #[test]
    fn a_broker_that_counts_costs_no_double_while_acks_arrive(steps in prop::collection::vec(step(), 0..200)) {
        let mut world = World::new(Kind::Counting);
        for step in steps {
            if matches!(step, Step::Lose) {
                // A start after it does not see that ids were begun anew, and takes none for a redelivery.
                continue;
            }
            if matches!(step, Step::Drop | Step::Kill) {
                while !world.acks.is_empty() {
                    world.step(Step::AckArrives);
                }
            }
            world.step(step);
        }
        world.end();
        prop_assert_eq!(world.journal.len() as u64, world.published);
    }
}
