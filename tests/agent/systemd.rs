//! What systemd hears: READY before broker and network, a fed watchdog, STOPPING at the end.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::fake_sqs::{SqsStub, StubOptions};

/// Next message on the notify socket.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let length = socket.recv(&mut bytes).expect("the agent says something within the time limit");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_hears_ready_watchdog_and_stopping_without_a_broker() {
    let mut stub = SqsStub::start(StubOptions::default()).unwrap();
    stub.close().await;
    // Port 1 answers no connection: neither broker nor queue is there.
    let target = QueueTarget::on_stub("main", &stub, "site.fifo");
    let config = AgentConfig::new("127.0.0.1:1".parse().unwrap(), target);
    let agent = AgentProcess::prepare(env!("CARGO_BIN_EXE_tidegate"), config).unwrap();
    let path = agent.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["run", "--config"])
        .arg(agent.config_path())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(heard(&socket).contains("READY=1"), "ready comes first");
    let mut fed = 0;
    while fed < 3 {
        fed += usize::from(heard(&socket).contains("WATCHDOG=1"));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    while !heard(&socket).contains("STOPPING=1") {}
    assert!(child.wait().unwrap().success());
}
