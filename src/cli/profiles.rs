//! `tidegate profiles`: every profile, with what a technician wants to know before choosing one.

use crate::cli::ExitCode;
use crate::cli::output::{complain, say_json, say_text};
use crate::config::nearest;
use crate::profile::presets::Preset;
use crate::profile::{ProfileInfo, REGISTRY};
use serde_json::json;
use std::fmt::Write;

/// Lists all, or shows one in full.
pub(super) fn profiles(name: Option<&str>, as_json: bool) -> ExitCode {
    let Some(name) = name else {
        if as_json {
            say_json(&REGISTRY.iter().map(one_json).collect::<serde_json::Value>());
        } else {
            say_text!("{}", table());
        }
        return ExitCode::Done;
    };
    match REGISTRY.iter().find(|info| info.name == name) {
        Some(info) if as_json => say_json(&one_json(info)),
        Some(info) => say_text!("{}", in_full(info)),
        None => {
            complain!("{}", no_profile(name));
            return ExitCode::Usage;
        }
    }
    ExitCode::Done
}

fn table() -> String {
    let width = REGISTRY.iter().map(|info| info.name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for info in REGISTRY {
        let mark = if info.documents_only { " (from documents alone)" } else { "" };
        let _ = writeln!(out, "{:width$}  {}{mark}", info.name, info.summary);
        let topics = match info.default_topics {
            [] => "the route names them".to_owned(),
            topics => topics.join(" "),
        };
        let lines = [("topics", &*topics), ("key", info.key), ("redelivery", info.redelivery), ("group", info.group)];
        for (what, text) in lines {
            let _ = writeln!(out, "{:width$}    {what:10} {text}", "");
        }
    }
    out.push_str("\nKey: what makes the SQS id. Redelivery: what one is recognised by; all else is a new record.\n");
    out.push_str("Write the name into a route: profile = \"rak\". `tidegate profiles NAME` says more of one.\n");
    out
}

fn in_full(info: &ProfileInfo) -> String {
    let mut out = format!("{}: {}\n", info.name, info.summary);
    if info.documents_only {
        out.push_str("  Known from documents alone: look at what `tidegate status` shows of it, and tell us.\n");
    }
    let ProfileInfo { key, redelivery, group, time, qos, .. } = info;
    let lines = [("SQS id", key), ("redelivery", redelivery), ("group", group), ("time", time), ("QoS", qos)];
    for (what, text) in lines {
        let _ = writeln!(out, "  {what:10} {text}");
    }
    let topics = match info.default_topics {
        [] => "[\"site/+/up\"]   # yours: there is no default".to_owned(),
        topics => format!("[\"{}\"]", topics.join("\", \"")),
    };
    let _ = write!(out, "\nIn the configuration:\n\n[[routes]]\nprofile = \"{}\"\n", info.name);
    let _ = write!(out, "topics = {topics}\nqueue = \"main\"\n");
    if let Some(preset) = Preset::named(info.name) {
        let _ = write!(out, "\nThe same, to be bent where your server says it another way:\n\n[[routes]]\n");
        let _ = write!(out, "{}topics = {topics}\nqueue = \"main\"\n", preset.toml());
    }
    out
}

fn one_json(info: &ProfileInfo) -> serde_json::Value {
    json!({
        "name": info.name,
        "summary": info.summary,
        "topics": info.default_topics,
        "key": info.key,
        "redelivery": info.redelivery,
        "group": info.group,
        "time": info.time,
        "qos": info.qos,
        "documents_only": info.documents_only,
    })
}

/// That no profile has this name, and which one was meant.
pub(super) fn no_profile(name: &str) -> String {
    let names = REGISTRY.iter().map(|info| info.name);
    format!("there is no profile {name:?}: {}`tidegate profiles` lists them", did_you_mean(name, names))
}

/// The known name that is nearest, as a question; nothing where none is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|meant| format!("did you mean {meant:?}? ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn every_profile_is_listed_and_its_shown_routes_parse() {
        let queue = "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
                     credentials_file = \"/c.csv\"\n";
        for info in REGISTRY {
            let (listed, shown) = (table(), in_full(info));
            assert!(listed.contains(&format!("{} ", info.name)), "{}", info.name);
            for text in [&listed, &shown] {
                assert!(text.contains(info.key) && text.contains(info.redelivery), "{}", info.name);
            }
            for section in shown.split("[[routes]]\n").skip(1) {
                let section = section.split("\n\n").next().expect("a section");
                let config =
                    Config::parse(&format!("{queue}[[routes]]\n{section}\n"), Path::new("t"), &Default::default());
                config.unwrap_or_else(|error| panic!("{}: {error:?}", info.name));
            }
        }
    }

    #[test]
    fn the_document_has_the_same_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/profiles.md");
        let document = std::fs::read_to_string(path).expect("the document");
        let mut table = String::from(
            "| Profile | Topics by default | Key: what makes the SQS id | A redelivery is recognised by | Group | Time, else the arrival | The publisher's QoS |\n|---|---|---|---|---|---|---|\n",
        );
        for info in REGISTRY {
            let topics = match info.default_topics {
                [] => "the route names them".to_owned(),
                topics => format!("`{}`", topics.join("`, `")),
            };
            let mark = if info.documents_only { " ¹" } else { "" };
            let ProfileInfo { name, key, redelivery, group, time, qos, .. } = info;
            let _ = writeln!(table, "| `{name}`{mark} | {topics} | {key} | {redelivery} | {group} | {time} | {qos} |");
        }
        assert!(document.contains(&table), "docs/profiles.md has another table; it should have:\n{table}");
    }

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant() {
        assert!(no_profile("chirpstak-v4").contains("did you mean \"chirpstack-v4\"?"));
        assert!(!no_profile("lightbulb").contains("did you mean"));
        assert_eq!(did_you_mean("mian", ["main", "audit"]), "did you mean \"main\"? ");
    }
}
