//! A journal in a folder where others can write: `check` refuses it, and the agent follows nothing that they put there.

use crate::support::{LONG, config, stub, tidegate, until_remarked};
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use testkit::agent::AgentProcess;

/// A user without rights here.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_stop_the_start_and_are_never_followed() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make what belongs to somebody else");
        return;
    }
    let stub = stub();
    let mut agent =
        AgentProcess::prepare(crate::support::PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).unwrap();
    let (journal, victim) = (agent.journal_path(), agent.folder().join("victim"));
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(&journal).unwrap();
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o777)).unwrap();
    let (said, _, code) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(code == 7 && said.contains("others can write in it"), "{code}\n{said}");
    let names = ["lock", "state", "format", "log", "quarantine", "intake"];
    for name in names {
        let link = journal.join(name);
        symlink(&victim, &link).unwrap();
        lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let (said, _, code) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(code == 7 && said.contains("is a link that user 65534 put there"), "{code}\n{said}");
    let (_, complained, code) = tidegate(&agent, &["journal", "quarantine", "drop", "--all"]).await;
    assert!(code == 1 && complained.contains("is a link"), "{complained}");

    agent.spawn().unwrap();
    until_remarked(&mut agent, &["another user", "is a link", "remove it"]).await;
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    for name in names {
        fs::remove_file(journal.join(name)).unwrap();
    }
    agent.wait_status("open", LONG, |s| s["journal"].is_object()).await.unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
