//! `tidegate explain`: what would become of a message: profile, identity, queues, and the exact SQS entry. Nothing is sent
//! and nothing is journaled. A running agent hands over its next messages; only where none runs, a guest goes to the broker.

use crate::agent::options;
use crate::cli::agent_client::Agent;
use crate::cli::output::{complain, note, say_json, say_text};
use crate::cli::profiles::no_profile;
use crate::cli::{ExitCode, agent_client, at_broker, load};
use crate::clock::{BootId, Clock};
use crate::config::{Config, RouteConfig};
use crate::mqtt::probe::{FilterAnswer, Look, visit};
use crate::profile::{Profile, ProfileOptions};
use crate::record::{
    Draft, Epoch, JournalId, KeyKind, LaneId, LanePosition, Message, Number, Position, Record, Run, TimeSource,
};
use crate::sqs::Entry;
use crate::sqs::entry::render;
use crate::sqs::limits::ENTRY_BYTES;
use crate::topic::{filter_problem, route_of};
use crate::visible;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The journal's id is the running agent's; this one takes its place in keys that have it.
const JOURNAL: JournalId = JournalId(0);

/// How the command was asked.
#[derive(clap::Args, Debug)]
pub(super) struct ExplainOptions {
    /// A file with one payload; `-` for standard input. Without one, the next messages of the broker are taken.
    file: Option<PathBuf>,
    /// The topic that the payload comes on, or a filter for the broker's messages (default: the routes' own).
    #[arg(long)]
    topic: Option<String>,
    /// Read it by this profile, whatever the routes say.
    #[arg(long)]
    profile: Option<String>,
    /// Messages to wait for at the broker.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// How long to wait for them.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(config: &Path, options: &ExplainOptions) -> ExitCode {
    let config = match load(config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let forced = match options.profile.as_deref().map(|name| (name, Profile::named(name, ProfileOptions::default()))) {
        Some((name, None)) => {
            complain!("{}", no_profile(name));
            return ExitCode::Usage;
        }
        Some((_, profile)) => profile,
        None => None,
    };
    if let Some(why) = options.topic.as_deref().and_then(|topic| topic_problem(topic, options.file.is_some())) {
        complain!("--topic {}: {why}", options.topic.as_deref().unwrap_or_default());
        return ExitCode::Usage;
    }
    let messages = match &options.file {
        Some(file) => of_file(file, options.topic.as_deref()).map(|message| vec![message]),
        None => of_broker(&config, options),
    };
    let messages = match messages {
        Ok(messages) => messages,
        Err(why) => return failed(&why),
    };
    for message in messages {
        let explained = one(&config, forced.as_ref(), message);
        if options.json {
            say_json(&explained);
        } else {
            say_text!("{}", in_words(&explained));
        }
    }
    ExitCode::Done
}

/// What is wrong with `--topic`: a filter for the broker's messages, and with a payload from a file the topic of one. Pure.
fn topic_problem(topic: &str, of_file: bool) -> Option<&'static str> {
    let wild = of_file && topic.contains(['+', '#']);
    filter_problem(topic).or(wild.then_some("a message's own topic has no \"+\" and no \"#\""))
}

fn failed(why: &str) -> ExitCode {
    complain!("{why}");
    ExitCode::Failed
}

fn of_file(file: &Path, topic: Option<&str>) -> Result<Message, String> {
    let topic = topic.ok_or("a payload needs its topic: add --topic, as the broker has it")?;
    let read = || {
        let mut bytes = Vec::new();
        match file.to_str() {
            Some("-") => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
            _ => std::fs::read(file),
        }
    };
    let payload = read().map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(Message { topic: topic.to_owned(), payload: payload.into(), qos: 1, retain: false, dup: false, packet_id: 0 })
}

/// The next messages: those of the running agent, or where none runs, those that a guest gets.
fn of_broker(config: &Config, options: &ExplainOptions) -> Result<Vec<Message>, String> {
    let own = || config.routes.iter().flat_map(|route| route.topics.iter().cloned()).collect();
    let filters: Vec<String> = options.topic.clone().map_or_else(own, |topic| vec![topic]);
    let (within, count) = (Duration::from_secs(options.wait), options.count.into());
    let (messages, of_agent) = match agent_client::agent(config) {
        Agent::None => (as_guest(config, &filters, within, count)?, ""),
        Agent::Mute(why) => return Err(format!("an agent runs, and cannot be asked: {why}")),
        Agent::Runs(_) => (
            agent_client::messages(config, &filters, count, within)?,
            ", and the running agent gets only what its routes subscribe to",
        ),
    };
    match messages.is_empty() {
        true => Err(format!(
            "nothing came on {} within {} s{of_agent}; wait longer with --wait",
            filters.join(", "),
            options.wait
        )),
        false => Ok(messages),
    }
}

fn as_guest(config: &Config, filters: &[String], within: Duration, count: usize) -> Result<Vec<Message>, String> {
    let seen = at_broker(config, async |broker| visit(broker, Look::at(filters, within, count)).await)?;
    let seen = seen.map_err(|refused| format!("{}: {}", refused.why, refused.remedy))?;
    for (filter, answer) in &seen.filters {
        match answer {
            FilterAnswer::Granted(_) => {}
            FilterAnswer::Refused => note!("the broker refused the filter {filter}"),
            FilterAnswer::Closed => note!("the broker ended the connection at the filter {filter}"),
            FilterAnswer::Late => note!("the broker has not answered for the filter {filter}: it is busy, or hangs"),
        }
    }
    Ok(seen.messages)
}

/// Everything there is to say of a message.
fn one(config: &Config, forced: Option<&Profile>, message: Message) -> Value {
    let route = route_of(config.routes.iter().map(|route| &route.topics), &message.topic);
    let of_route = route.map(|index| &config.routes[index]);
    let Some(profile) = forced.or(of_route.map(|route| &route.profile)) else {
        return json!({ "topic": message.topic, "route": Value::Null });
    };
    let clock = Clock::new(None);
    let received = clock.now();
    let reader = profile.of(&message);
    let identity = reader.identify(&message, received, JOURNAL);
    let name = reader.name().to_owned();
    let lanes: Vec<usize> = lanes(config, of_route);
    let ids: Vec<LaneId> = lanes.iter().map(|lane| LaneId(*lane as u16)).collect();
    let slots = ids.iter().map(|lane| LanePosition { lane: *lane, position: Position::FIRST }).collect();
    let draft = Draft { received, message, profile: name.clone(), identity, lanes: ids, duplicate: None };
    let record = Record::number(
        draft,
        Run { journal: JOURNAL, epoch: Epoch(1), random: 0 },
        Number(1),
        BootId::default(),
        slots,
    );
    let identity = &record.draft.identity;
    json!({
        "topic": record.draft.message.topic,
        "bytes": record.draft.message.payload.len(),
        "route": route.map(|index| index + 1),
        "profile": name,
        "device": identity.device,
        "key": identity.key,
        "key_kind": identity.key_kind.word(),
        "key_because": because(identity.key_kind),
        "group": identity.group,
        "type": identity.record_type,
        "time": identity.event_time,
        "time_source": if identity.time_source == TimeSource::Event { "event" } else { "arrival" },
        "queues": lanes.iter().map(|lane| entry(config, *lane, &record)).collect::<Vec<_>>(),
    })
}

/// The queues of a route, by their place in the file; without a route, all.
fn lanes(config: &Config, route: Option<&RouteConfig>) -> Vec<usize> {
    let named = |name: &String| route.is_none_or(|route| route.queues.contains(name));
    config.queues.iter().enumerate().filter(|(_, queue)| named(&queue.name)).map(|(index, _)| index).collect()
}

fn because(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Native => "a unique id in it, and a hash of its bytes",
        KeyKind::Frame => "the radio frame: device, session, counter, port, bytes and time; and a hash of its bytes",
        KeyKind::Retained => {
            "no identity in it; retained: a replay if it equals the topic's last value after a subscription"
        }
        _ => "no identity in it: each delivery is a record of its own, unless MQTT says that it comes again",
    }
}

fn entry(config: &Config, lane: usize, record: &Record) -> Value {
    let queue = &config.queues[lane];
    let rendering = options::rendering(config, queue);
    match render(record, &rendering.in_lane(LaneId(lane as u16))) {
        Ok(entry) => {
            let size = entry.size();
            let Entry { body, attributes, group, dedup, deadline: _, digest: _ } = entry;
            let attributes: serde_json::Map<String, Value> =
                attributes.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            json!({
                "queue": queue.name,
                "bytes": size,
                "bytes_max": ENTRY_BYTES,
                "group_id": group,
                "deduplication_id": dedup,
                "attributes": attributes,
                "body": body,
            })
        }
        Err(why) => json!({ "queue": queue.name, "cannot_be_sent": why.to_string() }),
    }
}

fn in_words(of: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let mut line = |what: &str, says: &str| _ = writeln!(out, "{what:10} {}", visible::line(says));
    line("topic", &text(&of["topic"]));
    if of["profile"].is_null() {
        line(
            "route",
            "none takes this topic: such a message never comes; see topics in the configuration, or use --profile",
        );
        return out;
    }
    let route = of["route"].as_u64().map_or("none takes this topic; read as asked".to_owned(), |n| n.to_string());
    line("route", &route);
    line("profile", &text(&of["profile"]));
    line("device", &text(&of["device"]));
    let key = of["key"].as_str().map_or("its place in the journal", |key| key);
    line("key", &format!("{key} ({}: {})", text(&of["key_kind"]), text(&of["key_because"])));
    line("group", &text(&of["group"]));
    line("type", &text(&of["type"]));
    line("time", &format!("{} ({})", text(&of["time"]), text(&of["time_source"])));
    for queue in of["queues"].as_array().into_iter().flatten() {
        line("", "");
        if let Some(why) = queue["cannot_be_sent"].as_str() {
            line("queue", &format!("{}: {why}", text(&queue["queue"])));
            continue;
        }
        line("queue", &format!("{}, {} of {} bytes", text(&queue["queue"]), queue["bytes"], queue["bytes_max"]));
        line("group id", &text(&queue["group_id"]));
        line("dedup id", &text(&queue["deduplication_id"]));
        for (name, value) in queue["attributes"].as_object().into_iter().flatten() {
            line("", &format!("{name}: {}", text(value)));
        }
        line("body", &text(&queue["body"]));
    }
    let _ = writeln!(out, "\nNothing was sent. An id of zeros in a key stands for the running agent's journal.\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_no_broker_takes_is_refused() {
        assert_eq!(topic_problem("a/#/b", false), Some("\"#\" must be alone in the last level"));
        assert_eq!((topic_problem("a/+/b/#", false), topic_problem("a/b", true)), (None, None));
        assert!(topic_problem("a/#", true).is_some_and(|why| why.contains("no \"#\"")));
    }
}
