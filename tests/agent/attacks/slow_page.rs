//! Slow connections close the page to no client: not the page itself, not the metrics, not the health checks.

use super::visitor::{PROMPT, TOKEN, agent, assert_open, bearer};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const SLOW: usize = 64;
/// The page waits 3 s for a head; the rest is for a machine that is busy.
const CUT: Duration = Duration::from_secs(8);

/// A connection that has said so much, and then nothing.
fn begun(at: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    // One that is cut off at once is what a full server does.
    let _ = stream.write_all(said.as_bytes());
    stream
}

/// What slow peers say before they fall silent.
const BEGINNINGS: [&str; 4] = [
    "",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_64_connections_say_nothing_more_everything_is_answered() {
    for token in [None, Some(TOKEN)] {
        let agent = agent(token).await;
        let at = agent.status_addr();
        let more = token.map(bearer).unwrap_or_default();
        assert_open(at, &more);
        let slow: Vec<TcpStream> = (0..SLOW).map(|n| begun(at, BEGINNINGS[n % BEGINNINGS.len()])).collect();
        for _ in 0..3 {
            assert_open(at, &more);
        }
        drop(slow);
        assert_open(at, &more);
    }
}

/// Each of them sends a byte now and then, and comes back when it is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_64_connections_drip_and_come_back_everything_is_answered() {
    let agent = agent(None).await;
    let at = agent.status_addr();
    let (over, cut) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Also when an assertion fails: the scope waits for the thread.
        let _over = SetAtEnd(&over);
        scope.spawn(|| {
            let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| begun(at, BEGINNINGS[1])).collect();
            while !over.load(Relaxed) {
                for stream in &mut slow {
                    if stream.write_all(b"x").is_err() {
                        cut.fetch_add(1, Relaxed);
                        *stream = begun(at, BEGINNINGS[1]);
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) || cut.load(Relaxed) < SLOW {
            assert!(begun.elapsed() < crate::support::LONG, "only {} were cut off", cut.load(Relaxed));
            assert_open(at, "");
        }
    });
    println!("{} slow connections were cut off", cut.into_inner());
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A few slow ones take no other client's place; they are cut off anyway, before a request and between two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_request_head_is_cut_off_despite_room() {
    let agent = agent(None).await;
    let since = Instant::now();
    let slow = BEGINNINGS[..3].iter().map(|said| (*said, begun(agent.status_addr(), said))).collect::<Vec<_>>();
    for (said, mut stream) in slow {
        stream.set_read_timeout(Some(CUT)).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{said:?}: {error}"),
            _ => assert!(since.elapsed() < CUT, "{said:?} was left open for {:?}", since.elapsed()),
        }
        let answered = String::from_utf8_lossy(&answer).contains("live\n");
        assert_eq!(answered, said.ends_with("\r\n\r\n"), "{said:?}: {answer:?}");
    }
    assert!(since.elapsed() > PROMPT, "and not before a slow link could have sent it: {:?}", since.elapsed());
}
