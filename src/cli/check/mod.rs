//! `tidegate check`: walks the real path in order, a line per step, each with the next thing to do.
//!
//! Files are tried as the agent's user, by a child process ([`as_agent`]): root can read what the agent cannot.
//!
//! It works beside the running agent, which is asked about the broker (a guest connects only where none runs), with no lock
//! on the journal, and one call to each queue that sends nothing (`--send`: one marked test record, the only sure probe with
//! two permissions).

mod as_agent;
mod broker;
mod keys;
mod local;
mod mosquitto;
mod queue;
mod route_steps;
mod running;
mod space;

use crate::cli::output::{complain, say, say_json, say_text};
use crate::cli::{ExitCode, load};
use crate::clock::Clock;
use crate::config::Config;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckResult {
    /// As it should be.
    Good,
    /// A person has to act.
    Bad,
    /// Not tried, or not proven.
    Open,
}

/// A line of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Step {
    /// What was looked at.
    pub(super) step: String,
    pub(super) mark: CheckResult,
    /// What was found.
    pub(super) found: String,
    /// What to do next; empty where nothing is to be done.
    #[serde(rename = "do")]
    pub(super) next: String,
}

impl Step {
    pub(super) fn good(step: impl Into<String>, found: impl Into<String>) -> Step {
        Step { step: step.into(), mark: CheckResult::Good, found: found.into(), next: String::new() }
    }

    pub(super) fn bad(step: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Step {
        Step { step: step.into(), mark: CheckResult::Bad, found: found.into(), next: next.into() }
    }

    pub(super) fn open(step: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Step {
        Step { step: step.into(), mark: CheckResult::Open, found: found.into(), next: next.into() }
    }
}

/// How the command was asked.
#[derive(clap::Args, Debug)]
pub(super) struct CheckOptions {
    /// Leave out what needs the network: broker and queues.
    #[arg(long)]
    offline: bool,
    /// Send one marked test record to each queue: the only proof of the permission to send.
    #[arg(long, conflicts_with = "offline")]
    send: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Try paths as another user: what this command asks of a child process.
    #[arg(long, hide = true)]
    access: bool,
    /// How long to listen for messages of each route; a running agent that had some on all of them is not waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    listen: u64,
}

pub(super) fn check(config_file: &Path, options: &CheckOptions) -> ExitCode {
    if options.access {
        return access();
    }
    let config = match load(config_file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut steps = local::steps(config_file, &config);
    if options.offline {
        let why = "asked to stay offline";
        steps.push(Step::open("broker", why, "run it without --offline"));
        steps.extend(config.queues.iter().map(|queue| Step::open(format!("queue {}", queue.name), why, "")));
    } else {
        steps.extend(online(&config, options));
    }
    let bad = steps.iter().filter(|step| step.mark == CheckResult::Bad).count();
    if options.json {
        say_json(&serde_json::json!({ "ok": bad == 0, "steps": steps }));
    } else {
        say_text!("{}", lines(&steps));
        say!(
            "{}",
            match bad {
                0 => "All checks passed.".to_owned(),
                1 => "1 check failed.".to_owned(),
                n => format!("{n} checks failed."),
            }
        );
    }
    if bad == 0 { ExitCode::Done } else { ExitCode::CheckFailed }
}

fn access() -> ExitCode {
    match as_agent::child() {
        Ok(met) => {
            say!("{met}");
            ExitCode::Done
        }
        Err(error) => {
            complain!("{error}");
            ExitCode::Failed
        }
    }
}

fn online(config: &Config, options: &CheckOptions) -> Vec<Step> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Step::bad("network", error.to_string(), "free memory and try again")],
    };
    let clock = Clock::new(None);
    let steps = runtime.block_on(async {
        let mut steps = broker::steps(config, &clock, Duration::from_secs(options.listen)).await;
        for queue in &config.queues {
            steps.extend(queue::steps(config, queue, &clock, options.send).await);
        }
        steps
    });
    runtime.shutdown_background();
    steps
}

/// The answer for people.
fn lines(steps: &[Step]) -> String {
    let width = steps.iter().map(|step| step.step.chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for step in steps {
        let mark = match step.mark {
            CheckResult::Good => '✓',
            CheckResult::Bad => '✗',
            CheckResult::Open => '–',
        };
        let _ = writeln!(out, "{mark} {:width$}  {}", step.step, step.found);
        if !step.next.is_empty() {
            let _ = writeln!(out, "  {:width$}  → {}", "", step.next);
        }
    }
    out
}
