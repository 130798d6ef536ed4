//! The judge: a real Mosquitto, where one is installed. Skipped otherwise, and says so.

use crate::clock::{BootId, Clock};
use crate::journal::{Append, Item};
use crate::mqtt::backoff::Timing;
use crate::mqtt::tests::rude::soon;
use crate::mqtt::tests::support::{broker_at, route};
use crate::mqtt::{Intake, IntakeOptions, IntakeShared, IntakeState, PendingAck, recall};
use crate::record::{Epoch, JournalId, LanePosition, Number, Position, Record, Run};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const MESSAGES: usize = 3_000;
const RUN: Run = Run { journal: JournalId(1), epoch: Epoch(1), random: 0 };

/// Killed when the test ends, however it ends.
struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mosquitto {
    fn start(folder: &Path, port: u16) -> Option<Mosquitto> {
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
             max_inflight_messages 100\nsys_interval 1\n"
        );
        let path = folder.join("mosquitto.conf");
        std::fs::write(&path, settings).expect("written");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok().map(Mosquitto)
    }
}

/// A journal that commits what waits, two milliseconds after it came.
async fn journal(
    records: Arc<Mutex<Vec<Record>>>,
    mut appends: mpsc::UnboundedReceiver<Append<PendingAck>>,
    tickets: mpsc::UnboundedSender<Vec<PendingAck>>,
) {
    let mut waiting = Vec::new();
    while appends.recv_many(&mut waiting, 1_000).await > 0 {
        sleep(Duration::from_millis(2)).await;
        let mut records = records.lock().expect("whole");
        let mut batch = Vec::new();
        for Append { item, ticket } in waiting.drain(..) {
            if let Item::Record(draft) = item {
                let number = records.len() as u64 + 1;
                let slots =
                    draft.lanes.iter().map(|lane| LanePosition { lane: *lane, position: Position(number) }).collect();
                records.push(Record::number(*draft, RUN, Number(number), BootId::default(), slots));
            }
            batch.push(ticket);
        }
        let _ = tickets.send(batch);
    }
}

struct Agent {
    intake: JoinHandle<()>,
    journal: JoinHandle<()>,
    shared: Arc<IntakeShared>,
    stop: watch::Sender<bool>,
}

impl Agent {
    fn start(folder: &Path, port: u16, records: &Arc<Mutex<Vec<Record>>>) -> Agent {
        Agent::start_with(folder, port, records, Timing::DEFAULT)
    }

    fn start_with(folder: &Path, port: u16, records: &Arc<Mutex<Vec<Record>>>, timing: Timing) -> Agent {
        let options = IntakeOptions {
            journal_made: false,
            show_payloads: false,
            broker: broker_at(port),
            max_payload_bytes: 700 << 10,
            max_unacked_bytes: 8 << 20,
            resubscribe_after: Duration::from_secs(300),
            routes: vec![route("dev/+/up")],
            journal: JournalId(1),
            note_open_acks: Arc::new(|_, _| {}),
            durable: {
                let records = records.clone();
                Arc::new(move || Number(records.lock().expect("whole").len() as u64))
            },
            clock: Clock::new(None),
            memory: folder.join("intake"),
            retry: watch::channel(0).1,
        };
        let ids = (&*options.broker.url, &*options.broker.client_id);
        let mut recogniser = recall(&options.memory, ids, RUN, None);
        records.lock().expect("whole").iter().for_each(|record| recogniser.seed(record, None));
        let (appends, journal_appends) = mpsc::unbounded_channel();
        let (journal_tickets, tickets) = mpsc::unbounded_channel();
        let (mut intake, shared) = Intake::new(options, recogniser, appends, tickets).expect("a good configuration");
        intake.timing = timing;
        let (stop, stopped) = watch::channel(false);
        let journal = tokio::spawn(journal(records.clone(), journal_appends, journal_tickets));
        Agent { intake: tokio::spawn(intake.run(stopped)), journal, shared, stop }
    }

    /// As by a power cut: what was not committed is gone.
    async fn kill(self) {
        self.intake.abort();
        self.journal.abort();
        let _ = (self.intake.await, self.journal.await);
    }

    async fn online(&self) {
        while self.shared.snapshot().state != IntakeState::Online
            || self.shared.snapshot().routes[0].filters[0].granted != Some(true)
        {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Publishes numbers as ten devices do, and returns once the broker has taken all of them.
async fn devices(port: u16) {
    let mut options = MqttOptions::new("devices", "127.0.0.1", port);
    options.set_inflight(20);
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let topic = format!("dev/{}/up", number % 10);
            client.publish(topic, QoS::AtLeastOnce, false, number.to_string()).await.expect("the loop runs");
            if number % 50 == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
        client
    });
    let mut acked = 0;
    while acked < MESSAGES {
        let event = event_loop.poll().await.expect("the broker runs");
        acked += usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
    publishing.await.expect("it does not panic");
}

#[tokio::test]
async fn no_message_is_lost_reordered_or_doubled_over_agent_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let Some(_broker) = Mosquitto::start(folder.path(), port) else {
        return testkit::skipped("no mosquitto is installed");
    };
    let records = Arc::new(Mutex::new(Vec::new()));
    let mut agent = Agent::start(folder.path(), port, &records);
    soon("a connection to mosquitto", agent.online()).await;
    let publishing = tokio::spawn(devices(port));
    for kill in 1..=4 {
        let enough = async {
            while records.lock().expect("whole").len() < kill * MESSAGES / 6 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        soon("progress", enough).await;
        agent.kill().await;
        agent = Agent::start(folder.path(), port, &records);
    }
    soon("the devices", publishing).await.expect("they do not panic");
    let all = async {
        while records.lock().expect("whole").len() < MESSAGES {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all messages", all).await;
    soon("the broker's own count", async {
        while agent.shared.snapshot().broker_dropped.is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    agent.stop.send_replace(true);
    soon("the stop", agent.intake).await.expect("it does not panic");
    let payload = |record: &Record| String::from_utf8_lossy(&record.draft.message.payload).into_owned();
    let got: Vec<_> = records.lock().expect("whole").iter().map(payload).collect();
    let sent: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    let told = |record: &Record| {
        let message = &record.draft.message;
        (payload(record), message.packet_id, message.dup, record.draft.duplicate.clone())
    };
    if let Some(at) = (0..got.len()).find(|at| got.get(*at) != sent.get(*at)) {
        let near: Vec<_> = records.lock().expect("whole")[at.saturating_sub(3)..].iter().take(9).map(told).collect();
        panic!("{} records for {} messages; from {at}: {near:#?}", got.len(), sent.len());
    }
    assert!(agent.shared.snapshot().session_kept == Some(true) && agent.shared.snapshot().unacked_messages == 0);
}

/// What the judge says of our question: it gives its count although the filter is released at once, and the one route that
/// there is, on which nothing comes, is told from a quiet day.
#[tokio::test]
async fn a_lone_silent_route_learns_that_the_broker_has_traffic() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let Some(_broker) = Mosquitto::start(folder.path(), port) else {
        return testkit::skipped("no mosquitto is installed");
    };
    let timing = Timing { traffic: Duration::from_millis(1500), ..Timing::DEFAULT };
    let agent = Agent::start_with(folder.path(), port, &Arc::default(), timing);
    soon("a connection to mosquitto", agent.online()).await;
    let (client, mut event_loop) = AsyncClient::new(MqttOptions::new("others", "127.0.0.1", port), 10);
    let publishing = tokio::spawn(async move {
        loop {
            event_loop.poll().await.expect("the broker runs");
        }
    });
    let learnt = async {
        while agent.shared.snapshot().routes[0].elsewhere < 10 {
            client.publish("others/1", QoS::AtLeastOnce, false, "7").await.expect("the loop runs");
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), learnt).await.expect("the broker's count");
    publishing.abort();
    let status = agent.shared.snapshot();
    assert_eq!((status.received, status.connections), (0, 1), "{status:#?}");
    agent.stop.send_replace(true);
    soon("the stop", agent.intake).await.expect("it does not panic");
}
