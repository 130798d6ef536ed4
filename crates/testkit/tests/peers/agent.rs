//! The process harness, with a substitute for the agent: a script that serves a status and minds its signals. The harness
//! starts `PROGRAM run --config FILE` in its folder, so with Python as the program the script is the file called `run`.

use crate::support::{QUEUE, stub};
use std::time::Duration;
use testkit::Error;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::process::find_program;

/// Counts its starts in a file, and serves that count.
const STAND_IN: &str = r#"
import http.server, pathlib, signal, sys, tomllib
config = tomllib.loads(pathlib.Path(sys.argv[2]).read_text())
starts = pathlib.Path(config["journal"]["path"] + ".starts")
count = len(starts.read_text()) + 1 if starts.exists() else 1
starts.write_text("x" * count)
if config["mqtt"].get("client_id") == "broken":
    sys.exit("no such thing as a broken client")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
class Status(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"starts": %d}' % count
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
host, port = config["status"]["listen"].split(":")
http.server.HTTPServer((host, int(port)), Status).serve_forever()
"#;

const PATIENCE: Duration = Duration::from_secs(30);

fn prepare(mqtt_extra: &str) -> AgentProcess {
    let stub = stub();
    let mut config = AgentConfig::new(stub.addr(), QueueTarget::on_stub("main", &stub, QUEUE));
    config.mqtt_extra = mqtt_extra.into();
    let python = find_program("python3", "install the package python3").unwrap();
    let agent = AgentProcess::prepare(python, config).unwrap();
    std::fs::write(agent.folder().join("run"), STAND_IN).unwrap();
    agent
}

#[tokio::test]
async fn a_process_is_started_asked_killed_started_again_and_stopped() {
    let mut agent = prepare("");
    agent.spawn().unwrap();
    agent.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(agent.status().await.unwrap()["starts"], 1);
    assert!(agent.rss_bytes().unwrap() > 1 << 20);
    agent.kill().await.unwrap();
    assert!(agent.status().await.is_err(), "killed");
    agent.restart().await.unwrap();
    agent.wait_status("two starts", PATIENCE, |status| status["starts"] == 2).await.unwrap();
    let late = agent.wait_status("three starts", Duration::from_millis(50), |status| status["starts"] == 3).await;
    let text = late.unwrap_err().to_string();
    assert!(text.contains("three starts") && text.contains("\"starts\": 2"), "{text}");
    assert_eq!(agent.term(PATIENCE).await.unwrap().code(), Some(7));
}

#[tokio::test]
async fn an_early_end_is_told_with_its_last_words() {
    let mut agent = prepare("client_id = \"broken\"");
    agent.spawn().unwrap();
    let error = agent.wait_ready(PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no such thing as a broken client"), "{error}");
}
