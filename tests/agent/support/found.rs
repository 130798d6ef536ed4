//! Findings, as everything that shows them says them. `tests/house_rules/causes.rs` knows by calls of [`until_found`] and [`until_told`]
//! that each code of the trouble table was caused.

use super::{LONG, ask, tidegate};
use serde_json::Value;
use testkit::agent::AgentProcess;
use tokio::time::Instant;

/// The finding of a code, if there is one.
pub(crate) fn finding<'s>(status: &'s Value, code: &str) -> Option<&'s Value> {
    status["findings"].as_array()?.iter().find(|finding| finding["code"] == code)
}

/// Waits until all is well, by the command's exit code, too.
pub(crate) async fn until_fine(agent: &mut AgentProcess) -> Value {
    let status = agent.wait_status("fine", LONG, |s| s["health"] == "fine").await.unwrap();
    assert_eq!(status["findings"], Value::Array(Vec::new()));
    let (said, error, exit) = tidegate(agent, &["status", "--exit-code"]).await;
    assert_eq!(exit, 0, "{said}{error}");
    status
}

/// Waits until there is a finding of this code and severity, and holds against it what everything else says. What comes and goes is
/// waited for until all say the same.
pub(crate) async fn until_found(agent: &mut AgentProcess, code: &str, severity: &str) -> Value {
    let until = Instant::now() + LONG;
    loop {
        let wanted = |s: &Value| finding(s, code).is_some_and(|finding| finding["severity"] == severity);
        let status = agent.wait_status(code, LONG, wanted).await.unwrap();
        let found = finding(&status, code).expect("just seen").clone();
        let of_code = |finding: &&Value| finding["code"] == code && finding["about"] == found["about"];
        let all = status["findings"].as_array().expect("findings");
        assert_eq!(all.iter().filter(of_code).count(), 1, "no fault twice: {status:#}");
        if severity == "act" {
            assert!(found["command"].as_str().is_some_and(|command| !command.is_empty()), "{found}");
        }
        match otherwise(agent, &found).await {
            None => {
                println!("{found}");
                return found;
            }
            Some(said) => assert!(Instant::now() < until, "{found}, and elsewhere:\n{said}"),
        }
    }
}

/// What does not say the same of a finding: the command, its exit code and its JSON, or the metrics.
async fn otherwise(agent: &AgentProcess, found: &Value) -> Option<String> {
    let (code, act) = (found["code"].as_str().expect("a code"), found["severity"] == "act");
    let (said, error, exit) = tidegate(agent, &["status", "--exit-code"]).await;
    // Beside something that is only waited for there may be something to act on.
    if !said.contains(found["cost"].as_str().expect("a cost")) || exit != 11 && (act || exit != 10) {
        return Some(format!("exit code {exit}: {said}{error}"));
    }
    let (json, error, _) = tidegate(agent, &["status", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|_| panic!("{error}"));
    if finding(&json, code).is_none_or(|other| other["severity"] != found["severity"]) {
        return Some(format!("{json:#}"));
    }
    let (head, metrics) = ask(agent.status_addr(), "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1");
    let sample = format!("tidegate_finding{{code=\"{code}\"}} {}\n", if act { 2 } else { 1 });
    (!metrics.contains(&sample)).then(|| format!("{head}\n{metrics}"))
}

/// The same of what the command alone can tell: while the page is closed, or while the file is not the agent's.
pub(crate) async fn until_told(agent: &AgentProcess, code: &str) -> Value {
    let until = Instant::now() + LONG;
    loop {
        let (json, error, _) = tidegate(agent, &["status", "--json"]).await;
        let json: Value = serde_json::from_str(&json).unwrap_or_default();
        if let Some(found) = finding(&json, code) {
            let (said, _, exit) = tidegate(agent, &["status", "--exit-code"]).await;
            assert!(exit == 11 && said.contains(found["cost"].as_str().expect("a cost")), "{exit}: {said}");
            return found.clone();
        }
        assert!(Instant::now() < until, "{code}: {json:#}{error}");
    }
}
