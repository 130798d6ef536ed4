//! What the tests share: a broker's options, a route, and a journal that returns tickets when told.

use crate::clock::Clock;
use crate::config::BrokerAddress;
use crate::journal::{Append, Item};
use crate::mqtt::backoff::Timing;
use crate::mqtt::tests::rude::{Broker, soon};
use crate::mqtt::{
    BrokerOptions, Intake, IntakeOptions, IntakeShared, IntakeState, IntakeStatus, PendingAck, Route, recall,
};
use crate::record::{Epoch, Identity, JournalId, KeyKind, LaneId, Message, Number, OpenAcks, Run, TimeSource};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(in crate::mqtt) fn broker_at(port: u16) -> BrokerOptions {
    BrokerOptions {
        address: BrokerAddress::Tcp { host: "127.0.0.1".into(), port },
        url: format!("mqtt://127.0.0.1:{port}"),
        client_id: "tidegate-test".into(),
        username: None,
        password_file: None,
        keep_alive: Duration::from_secs(30),
        tls: None,
    }
}

/// Payloads that begin with `key:` are keyed by the rest.
pub(in crate::mqtt) fn route(filter: &str) -> Route {
    let identify = |message: &Message, _received| {
        let key = std::str::from_utf8(&message.payload).ok().and_then(|text| text.strip_prefix("key:"));
        let identity = Identity {
            key: key.map(str::to_owned),
            key_kind: if key.is_some() { KeyKind::Native } else { KeyKind::Arrival },
            group: message.topic.clone(),
            device: None,
            record_type: "raw".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        };
        (identity, "plain")
    };
    Route {
        filters: vec![filter.into()],
        fallback: false,
        profile: "plain".into(),
        identify: Arc::new(identify),
        lanes: vec![LaneId(0)],
    }
}

/// A journal that holds every ticket until it is told to commit.
pub(in crate::mqtt) struct Journal {
    appends: mpsc::UnboundedReceiver<Append<PendingAck>>,
    tickets: mpsc::UnboundedSender<Vec<PendingAck>>,
    held: VecDeque<PendingAck>,
    /// Records that were committed: their numbers count up.
    last: u64,
}

impl Journal {
    /// The next item, its ticket held.
    pub(in crate::mqtt) async fn next(&mut self) -> Item {
        let append = soon("an append", self.appends.recv()).await.expect("intake runs");
        self.held.push_back(append.ticket);
        append.item
    }

    /// The payload of the next item, which must be a record.
    pub(in crate::mqtt) async fn record(&mut self) -> Vec<u8> {
        match self.next().await {
            Item::Record(draft) => draft.message.payload.to_vec(),
            other => panic!("not a record: {other:?}"),
        }
    }

    /// The next item must be a repeat.
    pub(in crate::mqtt) async fn repeat(&mut self) {
        let item = self.next().await;
        assert!(matches!(item, Item::Repeat), "not a repeat: {item:?}");
    }

    /// Commits the oldest `count` appends.
    pub(in crate::mqtt) fn commit(&mut self, count: usize) {
        let mut tickets: Vec<PendingAck> = self.held.drain(..count).collect();
        for ticket in tickets.iter_mut().filter(|ticket| ticket.place != 0) {
            self.last += 1;
            ticket.number = Number(self.last);
        }
        // Intake may have stopped already; then it waits for none of them.
        let _ = self.tickets.send(tickets);
    }

    /// The journal is gone.
    pub(in crate::mqtt) fn close(&mut self) {
        self.appends.close();
    }

    /// Intake has handed over nothing more.
    pub(in crate::mqtt) fn nothing_more(&mut self) {
        assert!(self.appends.try_recv().is_err(), "something more was appended");
    }
}

/// Intake against the rude broker, with a journal in hand.
pub(in crate::mqtt) struct Rig {
    pub(in crate::mqtt) broker: Broker,
    pub(in crate::mqtt) journal: Journal,
    pub(in crate::mqtt) shared: Arc<IntakeShared>,
    pub(in crate::mqtt) folder: Arc<tempfile::TempDir>,
    /// What the journal was told last of open acks.
    pub(in crate::mqtt) noted: Arc<Mutex<OpenAcks>>,
    /// How often it was told something that is to be durable soon: each costs a sync.
    pub(in crate::mqtt) noted_soon: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    retry: watch::Sender<u64>,
    task: JoinHandle<()>,
}

/// What a test changes before intake starts.
pub(in crate::mqtt) struct Setup {
    pub(in crate::mqtt) options: IntakeOptions,
    pub(in crate::mqtt) timing: Timing,
    pub(in crate::mqtt) filters: Vec<&'static str>,
}

impl Rig {
    pub(in crate::mqtt) async fn start(change: impl FnOnce(&mut Setup)) -> Rig {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Rig::start_on(Broker::start().await, folder, change)
    }

    /// Starts on a broker and a folder of an earlier run.
    pub(in crate::mqtt) fn start_on(
        broker: Broker,
        folder: Arc<tempfile::TempDir>,
        change: impl FnOnce(&mut Setup),
    ) -> Rig {
        let quick = (Duration::from_millis(5), Duration::from_millis(20));
        let timing = Timing { quick, part: Duration::from_secs(1), ..Timing::DEFAULT };
        let (retry, retried) = watch::channel(0);
        let (appends, journal_appends) = mpsc::unbounded_channel();
        let (journal_tickets, tickets) = mpsc::unbounded_channel();
        let noted = Arc::new(Mutex::new(OpenAcks::default()));
        let (note, noted_soon) = (noted.clone(), Arc::new(AtomicU64::new(0)));
        let soon_too = noted_soon.clone();
        let options = IntakeOptions {
            journal_made: false,
            show_payloads: false,
            broker: broker_at(broker.port()),
            max_payload_bytes: 700 << 10,
            max_unacked_bytes: 8 << 20,
            resubscribe_after: Duration::from_secs(300),
            routes: Vec::new(),
            journal: JournalId(1),
            durable: Arc::new(|| Number(0)),
            note_open_acks: Arc::new(move |acks, soon| {
                *note.lock().expect("no panic") = acks;
                soon_too.fetch_add(u64::from(soon), Relaxed);
            }),
            clock: Clock::new(None),
            memory: folder.path().join("intake"),
            retry: retried,
        };
        let mut setup = Setup { options, timing, filters: vec!["t/#"] };
        change(&mut setup);
        let Setup { mut options, timing, filters } = setup;
        options.routes = filters.into_iter().map(route).collect();
        let run = Run { journal: options.journal, epoch: Epoch(1), random: 0 };
        let ids = (&*options.broker.url, &*options.broker.client_id);
        let recogniser = recall(&options.memory, ids, run, None);
        let (mut intake, shared) = Intake::new(options, recogniser, appends, tickets).expect("a good configuration");
        intake.timing = timing;
        let (stop, stopped) = watch::channel(false);
        let journal = Journal { appends: journal_appends, tickets: journal_tickets, held: VecDeque::new(), last: 0 };
        Rig { broker, journal, shared, folder, noted, noted_soon, stop, retry, task: tokio::spawn(intake.run(stopped)) }
    }

    pub(in crate::mqtt) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Tells the intake that the cause is mended.
    pub(in crate::mqtt) fn retry(&self) {
        self.retry.send_modify(|n| *n += 1);
    }

    /// The task ends; gives back what the next run starts on.
    pub(in crate::mqtt) async fn ended(self) -> (Broker, Arc<tempfile::TempDir>) {
        soon("the end of intake", self.task).await.expect("it does not panic");
        assert_eq!(self.shared.snapshot().state, IntakeState::Stopped);
        (self.broker, self.folder)
    }

    /// Empty commits: what must not disturb an attempt to connect.
    pub(in crate::mqtt) fn tick(&self) {
        self.journal.tickets.send(Vec::new()).expect("intake runs");
    }

    /// Waits until the status is as wanted. There is no event for it: the status is made for people.
    pub(in crate::mqtt) async fn shows(&self, what: &str, wanted: impl Fn(&IntakeStatus) -> bool) -> IntakeStatus {
        let look = async {
            loop {
                let status = self.shared.snapshot();
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(what, look).await
    }
}
