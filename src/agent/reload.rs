//! Orders from outside while a configuration runs: a stop, or a SIGHUP, at which the configuration is read again.
//!
//! A reload is refused, and changes nothing, when the new file has problems, when what it names cannot be used
//! ([`Prepared::new`]), or when it would strand records: a queue that is taken away while records wait for it, or another
//! `journal.path` while the old journal holds some. Between that look and the end of the run more may come, and is acknowledged:
//! a journal that is left is looked at once more when its run has ended ([`left_behind`]), and taken again if it holds any.
//! Where the file means what is in effect already, a SIGHUP says that something else was mended: whatever waits is tried at
//! once. After a refusal, too.

use crate::agent::build::Prepared;
use crate::agent::names::put_into;
use crate::clock::Clock;
use crate::config::effective::difference;
use crate::config::{Config, host_name};
use crate::journal::{Journal, LaneStats};
use crate::mqtt::names::{self, Kept};
use crate::status::StatusHub;
use sd_notify::NotifyState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Changes that are said one by one.
const LINES_MAX: usize = 40;

/// What a SIGHUP that changes something hands to the next run.
pub(super) type Next = (Prepared, watch::Receiver<u64>);

/// Where orders come from, and where a new configuration goes.
pub(super) struct Orders {
    pub(super) file: PathBuf,
    pub(super) clock: Clock,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) hangups: watch::Receiver<u64>,
    pub(super) next: oneshot::Sender<Next>,
}

/// What came of a SIGHUP.
enum Reload {
    Same,
    Refused(String),
    Next(Box<Prepared>),
}

impl Orders {
    /// Waits for a stop or an accepted reload, then says halt. To be run as a task.
    pub(super) async fn take(
        mut self,
        config: Config,
        board: Arc<StatusHub>,
        halt: watch::Sender<bool>,
        retry: watch::Sender<u64>,
    ) {
        loop {
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                _ = self.hangups.changed() => {}
            }
            match self.reload(&config, &board).await {
                Reload::Next(prepared) => {
                    // The manager's view: busy until the next READY.
                    crate::agent::notify(&[
                        NotifyState::Reloading,
                        NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Status("reloading")),
                    ]);
                    // The receiver ran this configuration, and waits until it has ended.
                    let _ = self.next.send((*prepared, self.hangups));
                    break;
                }
                Reload::Same => board.reload_refused(None),
                Reload::Refused(why) => board.reload_refused(Some(refused(&why))),
            }
            tracing::info!("SIGHUP: retrying everything that is paused");
            retry.send_modify(|n| *n += 1);
        }
        halt.send_replace(true);
    }

    /// Reads the file again, off the runtime's threads.
    async fn reload(&self, config: &Config, board: &Arc<StatusHub>) -> Reload {
        let (file, clock) = (self.file.clone(), self.clock.clone());
        let (running, board) = (config.clone(), board.clone());
        let judged = tokio::task::spawn_blocking(move || judge(&file, &clock, &running, &board)).await;
        judged.unwrap_or_else(|panic| Reload::Refused(format!("it cannot be judged ({panic})")))
    }
}

/// Says a refusal in the log, whole; gives it as `status` and the page show it.
pub(super) fn refused(why: &str) -> String {
    tracing::error!("configuration not reloaded, the old one stays in effect: {why}");
    refusal(why)
}

/// In one line: the first mistake, with what was probably meant, and how many more there are.
fn refusal(why: &str) -> String {
    let mut lines = why.lines();
    let first = lines.next().unwrap_or_default();
    let meant = lines.clone().map(str::trim).take_while(|line| !line.is_empty()).find(|line| line.starts_with('→'));
    let meant = meant.map_or_else(String::new, |meant| format!(" {meant}"));
    let more = match lines.next_back().and_then(|last| last.split_once(" problems in the configuration")) {
        Some((count, _)) => format!("; {count} problems in all: sudo tidegate check"),
        None => String::new(),
    };
    format!("configuration not reloaded: {first}{meant}{more}")
}

fn judge(file: &Path, clock: &Clock, running: &Config, board: &StatusHub) -> Reload {
    let new = match Config::load(file) {
        Ok(new) => new,
        Err(error) => return Reload::Refused(error.to_string()),
    };
    // The names in use, which may have been settled after this configuration was read.
    let running = &put_into(running.clone(), board.names());
    let new = named(new, running);
    let changes = difference(&running.settings(), &new.settings());
    if changes.is_empty() {
        return Reload::Same;
    }
    let holds = board.journal().map(|journal| Holds::of(&journal));
    if let Some(why) = strands(running, &new, holds.as_ref()) {
        return Reload::Refused(why);
    }
    match Prepared::new(new, clock) {
        Err(error) => Reload::Refused(error.to_string()),
        Ok(prepared) => {
            changes.iter().take(LINES_MAX).for_each(|change| tracing::info!(change, "configuration changed"));
            Reload::Next(Box::new(prepared))
        }
    }
}

/// The new configuration with its names: given, else kept with the journal that it names, else those in use.
fn named(new: Config, running: &Config) -> Config {
    let same = new.journal.path == running.journal.path;
    let stored = (!same).then(|| names::kept(&new.journal.path, &new.mqtt.url)).flatten();
    let kept = stored.unwrap_or_else(|| Kept {
        url: running.mqtt.url.clone(),
        client_id: running.mqtt.client_id.clone(),
        gateway_id: Some(running.gateway.id.clone()),
        copy_of: None,
        seeded: false,
    });
    let names = names::choose(&new.given, &host_name(), Some(&kept));
    put_into(new, names)
}

/// What a journal holds for a person or a queue that is to come.
#[derive(Debug)]
pub(super) struct Holds {
    lanes: Vec<LaneStats>,
    /// Entries of its quarantine.
    quarantined: u64,
    /// Parts that the disk refuses: what can be read of them later goes through this journal.
    set_aside: usize,
}

impl Holds {
    pub(super) fn of(journal: &Journal) -> Holds {
        let stats = journal.stats();
        Holds { lanes: stats.lanes, quarantined: stats.quarantine.entries, set_aside: stats.set_aside }
    }
}

/// Why a new configuration would leave records behind; `holds`: `None` while the journal is not open, when tidegate cannot
/// tell. Pure.
fn strands(old: &Config, new: &Config, holds: Option<&Holds>) -> Option<String> {
    let waiting = |lane: &&LaneStats| lane.waiting > 0 || lane.unannounced > 0;
    if old.journal.path != new.journal.path && holds.is_none() {
        return Some("journal.path is another one, and whether records wait in the old one cannot be told yet".into());
    }
    if let Some(why) = holds.and_then(|holds| left_behind(old, new, holds)) {
        return Some(why);
    }
    let gone = old.queues.iter().filter(|queue| new.queues.iter().all(|other| other.name != queue.name));
    for queue in gone {
        let Some(holds) = holds else {
            return Some(format!("queue {} is gone, and whether records wait for it cannot be told yet", queue.name));
        };
        if let Some(lane) = holds.lanes.iter().filter(waiting).find(|lane| lane.name == queue.name) {
            return Some(format!(
                "queue {} is gone, and {} records wait for it; keep the section, without routes to it, until they are sent",
                queue.name, lane.waiting
            ));
        }
    }
    None
}

/// Why a journal that is to be left has to stay: in a folder that no configuration names, what it holds is seen by no status.
/// Pure.
pub(super) fn left_behind(old: &Config, new: &Config, holds: &Holds) -> Option<String> {
    if old.journal.path == new.journal.path {
        return None;
    }
    let count: u64 = holds.lanes.iter().map(|lane| lane.waiting + lane.unannounced).sum();
    let (what, first) = match holds {
        _ if count > 0 => (format!("{count} records wait in the old one"), "let them drain first"),
        Holds { quarantined: 1.., .. } => (
            format!("{} records are in the quarantine of the old one", holds.quarantined),
            "requeue or drop them first (tidegate journal quarantine list)",
        ),
        Holds { set_aside: 1.., .. } => (
            format!("{} of the old one's parts cannot be read and are set aside", holds.set_aside),
            "remove the folder aside in it to give them up",
        ),
        _ => return None,
    };
    Some(format!("journal.path is another one, and {what}; {first}, or stop the agent and move the folder"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(queues: &[&str], path: &str) -> Config {
        let mut text = format!("[journal]\npath = \"{path}\"\n");
        for queue in queues {
            text += &format!(
                "[queues.{queue}]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/{queue}.fifo\"\ncredentials = \"aws-chain\"\n"
            );
        }
        text += &format!("[[routes]]\nprofile = \"rak\"\nqueue = \"{}\"\n", queues[0]);
        Config::parse(&text, "tidegate.toml".as_ref(), &Default::default()).expect("a configuration")
    }

    fn lane(name: &str, waiting: u64) -> LaneStats {
        LaneStats { appended: 10, accepted: 10 - waiting, waiting, ..crate::testing::lane(name) }
    }

    proptest! {
        #[test]
        fn a_reload_is_refused_exactly_when_it_strands_records(
            waiting in prop::collection::vec(0u64..3, 3), keep in prop::collection::vec(any::<bool>(), 3), moved: bool, quarantined in 0u64..2, set_aside in 0usize..2,
        ) {
            let names = ["a", "b", "c"];
            let kept: Vec<&str> = names.into_iter().zip(&keep).filter(|(_, keep)| **keep).map(|(name, _)| name).collect();
            let kept = if kept.is_empty() { vec!["d"] } else { kept };
            let lanes: Vec<LaneStats> = names.into_iter().zip(&waiting).map(|(name, n)| lane(name, *n)).collect();
            let new = config(&kept, if moved { "/other" } else { "/journal" });
            let left = |lane: &LaneStats| lane.waiting > 0 && (moved || !kept.contains(&&*lane.name));
            let strand = lanes.iter().any(left) || moved && (quarantined > 0 || set_aside > 0);
            let said = strands(&config(&names, "/journal"), &new, Some(&Holds { lanes, quarantined, set_aside }));
            prop_assert_eq!(said.is_some(), strand, "{:?}", said);
        }
    }

    fn problems_of(text: &str) -> usize {
        Config::parse(text, "tidegate.toml".as_ref(), &Default::default()).expect_err("mistakes").len()
    }

    #[test]
    fn a_refusal_is_shown_in_one_line() {
        let text = "[mqtt]\nnonsense = 1\nmore = 2\n";
        let problems = Config::parse(text, "tidegate.toml".as_ref(), &Default::default()).expect_err("mistakes");
        let shown = refusal(&crate::config::ConfigError::Problems(problems).to_string());
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.starts_with("configuration not reloaded: tidegate.toml: "), "{shown}");
        let all = problems_of(text);
        assert!(shown.ends_with(&format!("; {all} problems in all: sudo tidegate check")), "{shown}");
        let meant = refusal("tidegate.toml:1:1: mqt is no section\n 1 | [mqt]\n   → did you mean \"mqtt\"?");
        assert_eq!(meant, "configuration not reloaded: tidegate.toml:1:1: mqt is no section → did you mean \"mqtt\"?");
    }

    #[test]
    fn a_reload_that_could_strand_is_refused_before_opening() {
        let old = config(&["a", "b"], "/journal");
        assert!(strands(&old, &config(&["a"], "/journal"), None).is_some());
        assert!(strands(&old, &config(&["a", "b"], "/other"), None).is_some());
        assert!(strands(&old, &config(&["a", "b", "c"], "/journal"), None).is_none());
    }
}
