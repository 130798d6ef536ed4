//! A token that was taken back opens nothing, from the moment its file says so, and the agent says when the file is bad.

use super::visitor::{TOKEN, TOKEN_FILE, agent, bearer, until, visit};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use testkit::agent::AgentProcess;

/// As long as the first one.
const NEXT: &str = "the-other-token-of-this-page";
const CLOSED: &str = "the status page stays closed";

/// A connection that is kept for one request after the other.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn to(agent: &AgentProcess) -> Kept {
        Kept(BufReader::new(TcpStream::connect(agent.status_addr()).unwrap()))
    }

    /// The status of an answer, its body read.
    fn ask(&mut self, token: &str) -> u16 {
        let stream = self.0.get_mut();
        write!(stream, "GET /status.json HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer(token)).unwrap();
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "hung up");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            status = status.or_else(|| line.split(' ').nth(1)?.parse().ok());
            length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        status.unwrap()
    }
}

fn file(agent: &AgentProcess) -> PathBuf {
    agent.folder().join(TOKEN_FILE)
}

fn opens(agent: &AgentProcess, token: &str) -> bool {
    match visit(agent.status_addr(), "/status.json", &bearer(token)).unwrap().0 {
        200 => true,
        401 | 503 => false,
        status => panic!("answered {status}"),
    }
}

fn remarks(status: &Value) -> String {
    status["remarks"].to_string()
}

async fn until_open(agent: &AgentProcess) {
    let status = until(agent, "open", |s| s["remarks"].is_array() && !remarks(s).contains(CLOSED)).await;
    assert_ne!(status["health"], "act", "{status:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_judged_by_the_token_files_content() {
    let agent = agent(Some(TOKEN)).await;
    let modified = fs::metadata(file(&agent)).unwrap().modified().unwrap();
    assert!(opens(&agent, TOKEN) && !opens(&agent, NEXT));
    let mut kept = Kept::to(&agent);
    assert_eq!(kept.ask(TOKEN), 200);
    fs::write(file(&agent), NEXT).unwrap();
    // Two changes within the grain of a file system's times look like one.
    fs::File::options().append(true).open(file(&agent)).unwrap().set_modified(modified).unwrap();
    assert_eq!(kept.ask(TOKEN), 401, "on a connection that it had opened");
    assert!(!opens(&agent, TOKEN) && opens(&agent, NEXT));
    // As editors and configuration management do it: another file under the same name.
    let fresh = agent.folder().join("fresh");
    fs::write(&fresh, TOKEN).unwrap();
    fs::rename(&fresh, file(&agent)).unwrap();
    assert!(opens(&agent, TOKEN) && !opens(&agent, NEXT));
    until_open(&agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_opens_without_one_in_the_file() {
    let agent = agent(Some(TOKEN)).await;
    let truncate = || fs::write(file(&agent), "").unwrap();
    let shorten = || fs::write(file(&agent), &TOKEN[..15]).unwrap();
    let remove = || fs::remove_file(file(&agent)).unwrap();
    let folder = || {
        fs::remove_file(file(&agent)).unwrap();
        fs::create_dir(file(&agent)).unwrap();
    };
    let breaks: [&dyn Fn(); 4] = [&truncate, &shorten, &remove, &folder];
    for (index, break_it) in breaks.into_iter().enumerate() {
        let mut kept = Kept::to(&agent);
        assert_eq!(kept.ask(TOKEN), 200);
        break_it();
        assert_ne!(kept.ask(TOKEN), 200, "{index}: on a connection that it had opened");
        assert!(!opens(&agent, TOKEN) && !opens(&agent, "") && !opens(&agent, &TOKEN[..15]), "{index}");
        let status = until(&agent, "closed", |s| remarks(s).contains(CLOSED)).await;
        assert!(status["health"] == "act" && remarks(&status).contains("status.token_file"), "{status:#}");
        let _ = fs::remove_dir(file(&agent));
        fs::write(file(&agent), TOKEN).unwrap();
        assert!(opens(&agent, TOKEN), "{index}: good again");
        until_open(&agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_the_token_file_and_bad_ones_are_retried() {
    let mut agent = agent(Some(TOKEN)).await;
    until_open(&agent).await;
    fs::remove_file(file(&agent)).unwrap();
    agent.retry().unwrap();
    until(&agent, "closed", |s| remarks(s).contains(CLOSED)).await;
    fs::write(file(&agent), NEXT).unwrap();
    agent.retry().unwrap();
    until_open(&agent).await;
    assert!(!opens(&agent, TOKEN) && opens(&agent, NEXT));
    // Healed without a word to the agent.
    fs::write(file(&agent), "short").unwrap();
    assert!(!opens(&agent, NEXT));
    until(&agent, "closed", |s| remarks(s).contains(CLOSED)).await;
    fs::write(file(&agent), TOKEN).unwrap();
    until_open(&agent).await;
    assert!(opens(&agent, TOKEN));
}
