//! The demo's verdict is worth something: it fails when the customer got anything but what was published, and a run that
//! is broken off leaves nothing behind.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use testkit::agent::program;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// A run takes 10 s, more on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
const SHORT: [&str; 4] = ["--seconds", "5", "--rate", "100"];

/// The agent's binary, built once for all tests: building it is no part of a run's time.
async fn agent() -> &'static str {
    static AGENT: OnceCell<String> = OnceCell::const_new();
    let find = async {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = program::find(None, package, "demo", &mut |_| {}).await;
        found.expect("cargo builds the agent").into_os_string().into_string().expect("a path in UTF-8")
    };
    AGENT.get_or_init(|| find).await
}

async fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    // One that is given again counts.
    command
        .args(["--agent", agent().await])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = timeout(PATIENCE, demo(arguments).await.output()).await.unwrap().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// The five numbers of the verdict line.
fn verdict(text: &str) -> [u64; 5] {
    let line = text.lines().find(|line| line.starts_with("published ")).unwrap_or_else(|| panic!("no verdict: {text}"));
    let words = ["published ", "delivered ", "lost ", "duplicated ", "out of order "];
    let parts: Vec<u64> = (line.split(", ").zip(words))
        .map(|(part, word)| part.strip_prefix(word).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}")))
        .collect();
    parts.try_into().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn a_clean_run_goes_through_outage_and_kill_and_succeeds() {
    let (code, text) = run(&SHORT).await;
    let [published, delivered, lost, duplicated, out_of_order] = verdict(&text);
    assert!(published > 100, "{text}");
    assert_eq!((delivered, lost, duplicated, out_of_order), (published, 0, 0, 0), "{text}");
    assert_eq!(code, Some(0), "{text}");
    let events = [
        "uplink cut",
        "agent killed (SIGKILL)",
        "agent back",
        "uplink restored",
        "sensors done",
        "everything accepted",
    ];
    let places: Vec<usize> =
        events.iter().map(|event| text.find(event).unwrap_or_else(|| panic!("{event}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn one_lost_delivery_fails_the_verdict() {
    let (code, text) = run(&[&SHORT[..], &["--sabotage", "drop"]].concat()).await;
    let [published, delivered, rest @ ..] = verdict(&text);
    assert_eq!((code, delivered + 1, rest), (Some(1), published, [1, 0, 0]), "{text}");
}

#[tokio::test]
async fn one_repeated_delivery_fails_the_verdict() {
    let (code, text) = run(&[&SHORT[..], &["--sabotage", "duplicate"]].concat()).await;
    let [published, delivered, rest @ ..] = verdict(&text);
    assert_eq!((code, delivered, rest), (Some(1), published, [0, 1, 0]), "{text}");
}

#[tokio::test]
async fn two_deliveries_in_the_wrong_order_fail_the_verdict() {
    let (code, text) = run(&[&SHORT[..], &["--sabotage", "reorder"]].concat()).await;
    let [published, delivered, rest @ ..] = verdict(&text);
    assert_eq!((code, delivered, rest), (Some(1), published, [0, 0, 1]), "{text}");
}

#[tokio::test]
async fn what_it_does_not_know_is_refused() {
    for wrong in
        [&["--second", "5"][..], &["--seconds"], &["--seconds", "4"], &["--rate", "fast"], &["--keep=1"], &["x"]]
    {
        let (code, text) = run(wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains("try '--help'"), "{wrong:?}: {text}");
    }
    let (code, text) = run(&["--agent", "/nonexistent/tidegate"]).await;
    assert!(code == Some(3) && text.contains("what to do:"), "{code:?}: {text}");
}

#[tokio::test]
async fn an_interrupt_ends_the_agent_and_removes_its_folder() {
    let mut child = demo(&SHORT).await.spawn().unwrap();
    let id = child.id().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let cut = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("uplink cut") {
                return;
            }
        }
        panic!("it ended before the uplink was cut");
    };
    timeout(PATIENCE, cut).await.unwrap();
    let agent = only_child(id);
    let folder = std::fs::read_link(format!("/proc/{agent}/cwd")).unwrap();
    assert!(folder.join("tidegate.toml").is_file(), "{}", folder.display());
    kill_process(Pid::from_raw(id as i32).unwrap(), Signal::INT).unwrap();
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!Path::new(&format!("/proc/{agent}")).exists(), "the agent {agent} is still running");
    assert!(!folder.exists(), "{}", folder.display());
}

/// The one process that `parent` has started.
fn only_child(parent: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    let all: String = children.collect();
    let mut all = all.split_whitespace().map(|id| id.parse().unwrap());
    let (Some(child), None) = (all.next(), all.next()) else { panic!("not one child of {parent}") };
    child
}
