//! Slow clients of the control socket shut no command out; a wait that a command asked for continues.

use super::visitor::{agent, control};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

const SLOW: usize = 64;
/// Waits for messages that the agent takes at a time.
const LISTENERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_64_connections_are_silent_commands_are_answered() {
    let agent = agent(None).await;
    let socket = agent.journal_path().join("control");
    let wait = "GET /messages?filter=none&count=1&within=3600 HTTP/1.1\r\nHost: control\r\n\r\n";
    let mut waits: Vec<UnixStream> = Vec::new();
    while waits.len() < LISTENERS {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(wait.as_bytes()).unwrap();
        waits.push(stream);
    }
    // Once one is too many, all of them are being waited for.
    let more = |n: usize| control(&agent, &format!("/messages?filter=none&count={n}&within=0")).unwrap();
    let begun = std::time::Instant::now();
    while more(1).0 != 503 {
        assert!(begun.elapsed() < crate::support::LONG, "{LISTENERS} wait");
    }
    let slow: Vec<UnixStream> = (0..SLOW)
        .map(|n| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let _ = stream.write_all(if n % 2 == 0 { b"" } else { b"GET /status.json HT" });
            stream
        })
        .collect();
    for _ in 0..5 {
        let (status, body) = control(&agent, "/status.json").expect("an answer while others are slow");
        assert!(status == 200 && body.contains("gateway"), "{status} {body}");
        assert_eq!(control(&agent, "/config.toml").expect("an answer while others are slow").0, 200);
    }
    for stream in &mut waits {
        stream.set_nonblocking(true).unwrap();
        let open = stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(open, "a wait goes on");
    }
    drop(slow);
}
