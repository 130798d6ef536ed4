//! No command writes through a link that another user planted, or into a file that another user made.

use crate::support::{config, stub, tidegate};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use testkit::agent::AgentProcess;

const KEYS: &str =
    "Access key ID,Secret access key\r\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\r\n";

/// The commands that write, each to `place`.
fn writers<'a>(place: &'a str, keys: &'a str, queue: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["bundle", "--out", place],
        vec!["journal", "export", "--all", "--force", "--out", place],
        vec!["credentials", "import", keys, "--to", place],
        vec!["init", "--yes", "--force", "--profile", "rak", "--queue", queue, "--config", place],
    ]
}

async fn run(agent: &AgentProcess, words: &[&str]) -> (String, i32) {
    if words.contains(&"--config") {
        let output = tokio::process::Command::new(crate::support::PROGRAM).args(words).output().await.unwrap();
        let (_, complained, code) = crate::support::said(output);
        return (complained, code);
    }
    let (_, complained, code) = tidegate(agent, words).await;
    (complained, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_link_is_refused_and_a_foreign_file_replaced() {
    let stub = stub();
    let mut agent =
        AgentProcess::start(crate::support::PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).await.unwrap();
    agent.wait_status("up", crate::support::LONG, |s| s["journal"].is_object()).await.unwrap();
    let folder = agent.folder().to_owned();
    let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (place, keys, victim) = (text("place"), text("keys.csv"), text("victim"));
    fs::write(&keys, KEYS).unwrap();
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    for words in writers(&place, &keys, queue) {
        for target in ["victim", "not-there"] {
            fs::write(&victim, "precious").unwrap();
            symlink(target, &place).unwrap();
            let (complained, code) = run(&agent, &words).await;
            assert!(code != 0 && complained.contains("link"), "{words:?}: {code} {complained}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{words:?}");
            assert!(!Path::new(&text("not-there")).exists(), "{words:?}");
            fs::remove_file(&place).unwrap();
        }
        // Made by another user who keeps it open, and waits for what will be written.
        fs::write(&place, "foreign").unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o666)).unwrap();
        let mut before = fs::File::open(&place).unwrap();
        let (complained, code) = run(&agent, &words).await;
        assert_eq!(code, 0, "{words:?}: {complained}");
        let about = fs::metadata(&place).unwrap();
        // A configuration is read by the service, too.
        let mode = if words[0] == "init" { 0o640 } else { 0o600 };
        assert_eq!(about.mode() & 0o777, mode, "{words:?}");
        assert_ne!(about.ino(), before.metadata().unwrap().ino(), "{words:?}");
        let mut seen = String::new();
        std::io::Read::read_to_string(&mut before, &mut seen).unwrap();
        assert_eq!(seen, "foreign", "{words:?}");
        fs::remove_file(&place).unwrap();
    }
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}
