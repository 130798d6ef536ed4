//! The configuration that is in effect, key by key, as the file would say it: what `config show` prints, what `config diff`
//! and a reload compare. What it prints is itself a configuration, with the same meaning.

use crate::config::form::word_of;
use crate::config::parse::{duration_text, size_text};
use crate::config::queues::{BODIES, ORDERINGS};
use crate::config::routes::GROUPINGS;
use crate::config::sections::ON_FULL;
use crate::config::{Config, CredentialsSource, QueueConfig, RouteConfig};
use std::fmt::Display;
use std::path::Path;

/// One key and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Header of its section as a file has it: `[mqtt]`, `[[routes]]`.
    pub section: String,
    /// Which of the sections with this header, from 1; 1 for all but routes.
    pub nth: usize,
    /// The key, without its section.
    pub key: &'static str,
    /// The value as TOML.
    pub value: String,
}

impl Setting {
    /// How problems and messages name it: `mqtt.url`, `route 1: topics`.
    pub fn path(&self) -> String {
        match self.section.strip_prefix("[[") {
            Some(_) => format!("route {}: {}", self.nth, self.key),
            None => format!("{}.{}", self.section.trim_matches(['[', ']']), self.key),
        }
    }
}

/// Settings of one section as they are gathered.
struct Rows {
    section: String,
    nth: usize,
    rows: Vec<Setting>,
}

impl Rows {
    fn new(section: impl Display, nth: usize) -> Rows {
        Rows { section: section.to_string(), nth, rows: Vec::new() }
    }

    fn raw(&mut self, key: &'static str, value: impl Display) {
        let (section, nth) = (self.section.clone(), self.nth);
        self.rows.push(Setting { section, nth, key, value: value.to_string() });
    }

    fn text(&mut self, key: &'static str, value: impl Display) {
        self.raw(key, quoted(&value.to_string()));
    }

    fn path(&mut self, key: &'static str, value: Option<&Path>) {
        if let Some(path) = value {
            self.text(key, path.display());
        }
    }

    fn maybe(&mut self, key: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn list(&mut self, key: &'static str, values: impl Iterator<Item = impl Display>) {
        let values: Vec<String> = values.map(|value| quoted(&value.to_string())).collect();
        self.raw(key, format!("[{}]", values.join(", ")));
    }
}

/// A basic string of TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

impl Config {
    /// Every key that has a value, in the order of the reference file.
    pub fn settings(&self) -> Vec<Setting> {
        let mut all = self.head();
        for queue in &self.queues {
            all.extend(of_queue(queue));
        }
        let mut records = Rows::new("[records]", 1);
        records.text("type_prefix", &self.records.type_prefix);
        records.list("redact", self.records.redact.iter());
        all.extend(records.rows);
        for (index, route) in self.routes.iter().enumerate() {
            all.extend(of_route(route, index + 1));
        }
        let mut status = Rows::new("[status]", 1);
        status.text("listen", self.status.listen.map(|listen| listen.to_string()).unwrap_or_default());
        status.path("token_file", self.status.token_file.as_deref());
        status.raw("show_payloads", self.status.show_payloads);
        all.extend(status.rows);
        all
    }

    /// `[gateway]`, `[mqtt]` and `[journal]`.
    fn head(&self) -> Vec<Setting> {
        let mut gateway = Rows::new("[gateway]", 1);
        gateway.text("id", &self.gateway.id);
        gateway.text("site", &self.gateway.site);
        let (mut mqtt, from) = (Rows::new("[mqtt]", 1), &self.mqtt);
        mqtt.text("url", &from.url);
        mqtt.text("client_id", &from.client_id);
        mqtt.maybe("username", from.username.as_ref());
        mqtt.path("password_file", from.password_file.as_deref());
        mqtt.path("ca_file", from.ca_file.as_deref());
        mqtt.path("client_cert_file", from.client_cert_file.as_deref());
        mqtt.path("client_key_file", from.client_key_file.as_deref());
        mqtt.maybe("cert_pin", from.cert_pin);
        mqtt.text("keep_alive", duration_text(from.keep_alive));
        mqtt.text("resubscribe_after", duration_text(from.resubscribe_after));
        mqtt.text("max_payload_bytes", size_text(from.max_payload_bytes));
        mqtt.text("max_unacked_bytes", size_text(from.max_unacked_bytes));
        let (mut journal, from) = (Rows::new("[journal]", 1), &self.journal);
        journal.text("path", from.path.display());
        journal.maybe("max_bytes", from.max_bytes.map(size_text));
        journal.maybe("max_age", from.max_age.map(duration_text));
        journal.maybe("min_free", from.min_free.map(size_text));
        journal.text("on_full", word_of(&ON_FULL, &from.on_full));
        journal.text("linger", duration_text(from.linger));
        [gateway.rows, mqtt.rows, journal.rows].concat()
    }
}

fn of_queue(queue: &QueueConfig) -> Vec<Setting> {
    let mut rows = Rows::new(format_args!("[queues.{}]", key(&queue.name)), 1);
    rows.text("url", &queue.url.text);
    match &queue.credentials {
        CredentialsSource::CsvFile(file) => rows.text("credentials_file", file.display()),
        CredentialsSource::AwsChain => rows.text("credentials", "aws-chain"),
    }
    if queue.url.region.is_none() {
        rows.text("region", &queue.region);
    }
    if queue.endpoint != queue.url.endpoint() {
        rows.maybe("endpoint", queue.endpoint.as_ref());
    }
    rows.raw("allow_plain_http", queue.allow_plain_http);
    rows.path("ca_file", queue.ca_file.as_deref());
    rows.text("body", word_of(&BODIES, &queue.body));
    rows.maybe("rectype", queue.rectype.as_ref());
    rows.raw("gap_records", queue.gap_records);
    rows.raw("health_records", queue.health_records);
    if queue.url.fifo {
        rows.text("ordering", word_of(&ORDERINGS, &queue.ordering));
    }
    rows.raw("max_in_flight", queue.max_in_flight);
    rows.text("batch_bytes", size_text(queue.batch_bytes as u64));
    rows.text("connect_timeout", duration_text(queue.connect_timeout));
    rows.text("attempt_timeout", duration_text(queue.attempt_timeout));
    rows.raw("link_probe", queue.link_probe);
    rows.rows
}

fn of_route(route: &RouteConfig, nth: usize) -> Vec<Setting> {
    let (mut rows, options) = (Rows::new("[[routes]]", nth), &route.options);
    rows.text("profile", route.profile.name());
    rows.list("topics", route.topics.iter());
    if route.fallback {
        rows.raw("fallback", true);
    }
    match &route.queues[..] {
        [queue] => rows.text("queue", queue),
        queues => rows.list("queues", queues.iter()),
    }
    rows.text("group", word_of(&GROUPINGS, &options.grouping));
    rows.maybe("key", options.record_id.then_some("record-id"));
    rows.maybe("device", options.device.as_ref());
    rows.maybe("id", options.id.as_ref());
    rows.maybe("time", options.time.as_ref());
    rows.maybe("counter", options.counter.as_ref());
    rows.maybe("type", options.record_type.as_ref());
    rows.rows
}

/// A bare key where TOML allows one.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { name.to_owned() } else { quoted(name) }
}

/// Settings as a file.
pub fn as_file(settings: &[Setting], comment: impl Fn(&Setting) -> &'static str) -> String {
    let mut out = String::new();
    let mut section = (String::new(), 0);
    for setting in settings {
        if section != (setting.section.clone(), setting.nth) {
            section = (setting.section.clone(), setting.nth);
            let between = if out.is_empty() { "" } else { "\n" };
            out.push_str(&format!("{between}{}\n", setting.section));
        }
        out.push_str(&format!("{} = {}{}\n", setting.key, setting.value, comment(setting)));
    }
    out
}

/// What differs between two configurations, one line per key: `-` as it was, `+` as it is.
pub fn difference(was: &[Setting], is: &[Setting]) -> Vec<String> {
    let lacks = |all: &[Setting], one: &Setting| !all.contains(one);
    let mut lines: Vec<(String, String)> = Vec::new();
    lines.extend(
        was.iter().filter(|one| lacks(is, one)).map(|one| (one.path(), format!("- {} = {}", one.path(), one.value))),
    );
    lines.extend(
        is.iter().filter(|one| lacks(was, one)).map(|one| (one.path(), format!("+ {} = {}", one.path(), one.value))),
    );
    // Both lines of a key side by side, the old one first.
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::parse;
    use proptest::prelude::*;

    fn shown(config: &Config) -> String {
        as_file(&config.settings(), |_| "")
    }

    proptest! {
        #[test]
        fn what_is_shown_is_a_configuration_of_the_same_meaning(
            linger in 0u64..1000, size in 16u64..5000, flights in 1usize..32, standard: bool, raw: bool, chain: bool,
            endpoint: bool, lan: bool, age in proptest::option::of(1u64..5000), queues in 1usize..4,
        ) {
            let suffix = if standard { "" } else { ".fifo" };
            let mut text = format!("[journal]\nlinger = \"{linger} ms\"\nmax_bytes = \"{size} MiB\"\n");
            if let Some(age) = age {
                text += &format!("max_age = \"{age} min\"\n");
            }
            let names: Vec<String> = (0..queues).map(|n| format!("q{n}")).collect();
            for name in &names {
                text += &format!("[queues.{name}]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}{suffix}\"\n");
                text += &format!("max_in_flight = {flights}\n");
                text += if raw { "body = \"raw\"\n" } else { "rectype = \"a.{type}\"\n" };
                text += if chain { "credentials = \"aws-chain\"\n" } else { "credentials_file = \"/k ey.csv\"\n" };
                text += if endpoint { "endpoint = \"http://127.0.0.1:5000\"\n" } else { "" };
            }
            text += &format!("[[routes]]\nprofile = \"generic\"\ntopics = [\"a/+\", \"b\\\"c\"]\nqueues = {names:?}\n");
            text += "device = \"topic:2\"\ntime = \"/a~1b\"\ntype = \"x.y\"\n";
            text += "[[routes]]\nprofile = \"rak\"\nqueue = \"q0\"\ngroup = \"gateway\"\n";
            text += "[[routes]]\nprofile = \"chirpstack-v3\"\nqueue = \"q0\"\nfallback = true\n";
            text += if lan { "[status]\nlisten = \"0.0.0.0:80\"\ntoken_file = \"/t\"\n" } else { "[status]\nlisten = \"\"\n" };
            let config = parse(&text).map_err(TestCaseError::fail)?;
            let mut again = parse(&shown(&config)).map_err(TestCaseError::fail)?;
            // What is shown gives every name.
            again.given = config.given.clone();
            prop_assert_eq!(format!("{config:?}"), format!("{again:?}"));
            prop_assert!(difference(&config.settings(), &again.settings()).is_empty());
        }
    }

    #[test]
    fn every_reference_key_is_shown_and_differences_name_both_values() {
        let minimal = parse(crate::config::tests::MINIMAL).expect("a configuration");
        let rows = minimal.settings();
        for (section, key) in
            [("[mqtt]", "url"), ("[queues.main]", "ordering"), ("[[routes]]", "topics"), ("[status]", "listen")]
        {
            assert!(rows.iter().any(|row| row.section == section && row.key == key), "{section} {key}");
        }
        let other =
            parse(&crate::config::tests::MINIMAL.replace("[[routes]]", "[mqtt]\nkeep_alive = \"1 min\"\n[[routes]]"));
        let lines = difference(&rows, &other.expect("a configuration").settings());
        assert_eq!(lines, ["- mqtt.keep_alive = \"30 s\"", "+ mqtt.keep_alive = \"1 min\""]);
    }
}
