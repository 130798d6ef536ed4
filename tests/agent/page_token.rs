//! The page from the LAN: `credentials token` makes what it needs, and what it prints leads there.

use crate::support::{LONG, PROGRAM, ask, config, stub, tidegate};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use testkit::agent::AgentProcess;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_printed_settings_open_the_page_on_the_lan() {
    let stub = stub();
    let mut agent = AgentProcess::prepare(PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).unwrap();
    let (told, error, code) = tidegate(&agent, &["credentials", "token"]).await;
    assert_eq!(code, 0, "{error}");
    let file = agent.config_path().with_file_name("status-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!told.contains(&token) && !error.contains(&token), "{told}");
    let port = agent.status_addr().port();
    assert!(told.contains(&format!(":{port}/ in a browser")), "{told}");
    // What it says to set, unchanged.
    let set: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(set[0], "[status]", "{told}");
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let listen = format!("listen = \"{}\"", agent.status_addr());
    assert!(text.contains(&listen), "{text}");
    std::fs::write(agent.config_path(), text.replace(&listen, &set[1..].join("\n"))).unwrap();
    agent.spawn().unwrap();
    let begun = std::time::Instant::now();
    while TcpStream::connect(agent.status_addr()).is_err() {
        assert!(begun.elapsed() < LONG, "{}", agent.log());
        tokio::task::yield_now().await;
    }
    let page = |head: &str| ask(agent.status_addr(), &format!("GET / HTTP/1.1\r\nHost: 192.168.1.20:{port}{head}"));
    assert!(page("").0.starts_with("http/1.1 401"));
    let basic = STANDARD.encode(format!("anybody:{token}"));
    assert!(page(&format!("\r\nAuthorization: Basic {basic}")).0.starts_with("http/1.1 200"));
    let (told, _, code) = tidegate(&agent, &["credentials", "token"]).await;
    assert!(code == 0 && told.contains("it stays") && !told.contains("Set in"), "{told}");
    let (_, _, code) = tidegate(&agent, &["credentials", "token", "--force"]).await;
    assert!(code == 0 && std::fs::read_to_string(&file).unwrap().trim() != token);
    assert!(
        page(&format!("\r\nAuthorization: Basic {basic}")).0.starts_with("http/1.1 401"),
        "the old one opens nothing"
    );
}
