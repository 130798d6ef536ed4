//! A machine that was suspended sends nothing that stopped being true meanwhile, and waits on no connection of before.
//!
//! The queue's way leads through a proxy's CONNECT, so that a test can hold a request back behind its rendering and before
//! its first byte: there six minutes pass on the agent's clock and on the queue's.

use crate::support::{
    LONG, PROGRAM, QUEUE, arrived, assert_clean, config, drained, fleet, lane, mosquitto, stub, tail, until_online,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::broker::Mosquitto;
use testkit::checker::Rules;
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{Fault, SqsStub, When};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// What the queue remembers a deduplication id for, and a minute.
const SIX_MINUTES: Duration = Duration::from_secs(6 * 60);

/// A proxy that opens as many tunnels as it has permits for; a client beyond them waits.
struct Gate {
    addr: SocketAddr,
    permits: Arc<Semaphore>,
    /// Tunnels that were asked for.
    asked: watch::Receiver<usize>,
}

impl Gate {
    async fn before(stub: SocketAddr, tunnels: usize) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (count, asked) = watch::channel(0);
        let permits = Arc::new(Semaphore::new(tunnels));
        let open = permits.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|asked| *asked += 1);
                tokio::spawn(tunnel(stream, open.clone(), stub));
            }
        });
        Gate { addr, permits, asked }
    }

    async fn until_asked(&mut self, tunnels: usize) {
        let asked = self.asked.wait_for(|asked| *asked >= tunnels);
        tokio::time::timeout(LONG, asked).await.expect("a tunnel is asked for").unwrap();
    }
}

async fn tunnel(stream: TcpStream, permits: Arc<Semaphore>, stub: SocketAddr) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::from("CONNECT");
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    permits.acquire().await.unwrap().forget();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut stream, &mut TcpStream::connect(stub).await?).await?;
    Ok(())
}

/// Broker, queue, the gate before it and an agent that is online and whose clock can be moved.
async fn world(tunnels: usize) -> (Mosquitto, SqsStub, Gate, ClockControl, AgentProcess) {
    let (broker, stub, clock) = (mosquitto().await, stub(), ClockControl::new().unwrap());
    let gate = Gate::before(stub.addr(), tunnels).await;
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    configuration.queues[0].endpoint = Some("http://queue.test".into());
    // One flight: the next tunnel is the resend's, not that of what came a moment later.
    configuration.queues[0].extra += "\nallow_plain_http = true\nmax_in_flight = 1";
    configuration.environment.push(("HTTP_PROXY".into(), format!("http://{}", gate.addr)));
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    (broker, stub, gate, clock, agent)
}

fn sleep_six_minutes(clock: &mut ClockControl, stub: &SqsStub) {
    let ms = SIX_MINUTES.as_millis() as i64;
    clock.move_to(ms, ms, 0).unwrap();
    stub.advance(SIX_MINUTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_held_back_by_a_suspend_is_marked() {
    let (broker, stub, mut gate, mut clock, mut agent) = world(1).await;
    stub.faults().push(Fault::AcceptThenDrop, When::Next(1));
    let mut fleet = fleet(broker.addr(), 4, None);
    fleet.publish(4).await.unwrap();
    // The queue has them and its answer is lost. The resend is rendered, and waits for its tunnel.
    gate.until_asked(2).await;
    assert!(stub.counters(QUEUE).accepted > 0, "the first attempt was accepted");
    sleep_six_minutes(&mut clock, &stub);
    gate.permits.add_permits(100);
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert!(verdict.duplicated_marked > 0, "they went again, and say so: {verdict}\n{}", tail(&agent.log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_suspend_a_new_connection_fails_no_attempt() {
    let (broker, stub, mut gate, mut clock, mut agent) = world(100).await;
    let mut fleet = fleet(broker.addr(), 1, None);
    fleet.publish(1).await.unwrap();
    drained(&mut agent, 1).await;
    assert_eq!(*gate.asked.borrow(), 1);
    sleep_six_minutes(&mut clock, &stub);
    fleet.publish(1).await.unwrap();
    let status = drained(&mut agent, 2).await;
    gate.until_asked(2).await;
    assert_eq!((*gate.asked.borrow(), lane(&status, "waiting")), (2, 0));
    assert_eq!(status["queues"][0]["drain"]["faults"], serde_json::json!({}), "{}", tail(&agent.log()));
}
