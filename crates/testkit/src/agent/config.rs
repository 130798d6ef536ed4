//! The agent's configuration file, in the shape that its users write, and its credentials as downloaded.

use crate::fake_sqs::{AccessKey, SqsStub};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// One queue of the configuration.
#[derive(Clone, Debug)]
pub struct QueueTarget {
    /// NAME in `[queues.NAME]`.
    pub name: String,
    /// Queue URL, as `url` has it.
    pub url: String,
    /// SQS endpoint, if not AWS's own.
    pub endpoint: Option<String>,
    /// Key for the credentials file.
    pub key: AccessKey,
    /// Further lines of the table.
    pub extra: String,
}

impl QueueTarget {
    /// The stub's queue `queue` under the name `name`, with the stub's agent key.
    pub fn on_stub(name: &str, stub: &SqsStub, queue: &str) -> QueueTarget {
        QueueTarget {
            name: name.into(),
            url: stub.queue_url(queue),
            endpoint: Some(stub.endpoint()),
            key: AccessKey::agent(),
            extra: String::new(),
        }
    }
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// `gateway.id`.
    pub gateway: String,
    /// `mqtt.url`.
    pub broker_url: String,
    /// Further lines of `[mqtt]`.
    pub mqtt_extra: String,
    /// The queues, at least one.
    pub queues: Vec<QueueTarget>,
    /// Names of those that the one route leads to; empty: all.
    pub route_to: Vec<String>,
    /// Further lines of `[journal]`, its path apart.
    pub journal_extra: String,
    /// Whether the queues get health records, as they do by default; where not, what arrives is what was published.
    pub health_records: bool,
    /// Topic filters of the one route; empty: the profile's own.
    pub topics: Vec<String>,
    /// Profile of the one route.
    pub profile: String,
    /// Whole tables to add at the end, further routes say.
    pub extra: String,
    /// Environment of the process (`RUST_LOG` …).
    pub environment: Vec<(String, String)>,
}

impl AgentConfig {
    /// Gateway `hq-tower-roof`, one ChirpStack v4 route to `queue`.
    pub fn new(broker: SocketAddr, queue: QueueTarget) -> AgentConfig {
        AgentConfig {
            gateway: "hq-tower-roof".into(),
            broker_url: format!("mqtt://{broker}"),
            mqtt_extra: String::new(),
            queues: vec![queue],
            route_to: Vec::new(),
            journal_extra: String::new(),
            health_records: false,
            topics: Vec::new(),
            profile: "chirpstack-v4".into(),
            extra: String::new(),
            environment: Vec::new(),
        }
    }

    /// The configuration file's text, for a working folder and a status address.
    pub fn toml(&self, folder: &Path, status: SocketAddr) -> String {
        let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |args: std::fmt::Arguments<'_>| _ = text.write_fmt(format_args!("{args}\n"));
        line(format_args!("[gateway]\nid = {}\n", quoted(&self.gateway)));
        line(format_args!("[mqtt]\nurl = {}\n{}\n", quoted(&self.broker_url), self.mqtt_extra));
        line(format_args!("[journal]\npath = {}\n{}\n", path("journal"), self.journal_extra));
        for queue in &self.queues {
            line(format_args!("[queues.{}]\nurl = {}", queue.name, quoted(&queue.url)));
            line(format_args!("credentials_file = {}", path(&credentials_name(queue))));
            if let Some(endpoint) = &queue.endpoint {
                line(format_args!("endpoint = {}", quoted(endpoint)));
            }
            if !self.health_records && !queue.extra.contains("health_records") {
                line(format_args!("health_records = false"));
            }
            line(format_args!("{}\n", queue.extra));
        }
        line(format_args!("[[routes]]\nprofile = {}", quoted(&self.profile)));
        if !self.topics.is_empty() {
            line(format_args!("topics = {}", list(&self.topics)));
        }
        let all = || self.queues.iter().map(|queue| &queue.name).collect();
        let names: Vec<&String> = if self.route_to.is_empty() { all() } else { self.route_to.iter().collect() };
        match names.as_slice() {
            [name] => line(format_args!("queue = {}\n", quoted(name))),
            names => line(format_args!("queues = {}\n", list(names))),
        }
        line(format_args!("[status]\nlisten = {}\n\n{}", quoted(&status.to_string()), self.extra));
        text
    }
}

/// A credentials file exactly as the IAM console's download: header, one line, CRLF, with a byte order mark.
pub fn credentials_csv(key: &AccessKey) -> String {
    format!("\u{feff}Access key ID,Secret access key\r\n{},{}\r\n", key.id, key.secret)
}

/// A TOML string; JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list<S: AsRef<str>>(items: &[S]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item.as_ref())).collect::<Vec<_>>().join(", "))
}

pub(super) fn credentials_name(queue: &QueueTarget) -> String {
    format!("credentials-{}.csv", queue.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_asked_whatever_characters_paths_hold() {
        let queue = |name: &str| QueueTarget {
            name: name.into(),
            url: "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo".into(),
            endpoint: Some("http://127.0.0.1:5000".into()),
            key: AccessKey::agent(),
            extra: "max_in_flight = 2".into(),
        };
        let mut config = AgentConfig::new(([127, 0, 0, 1], 1883).into(), queue("main"));
        config.queues.push(queue("audit"));
        config.journal_extra = "max_bytes = \"1 MiB\"".into();
        let folder = Path::new("/tmp/a \"b\" \\c");
        let text = config.toml(folder, ([127, 0, 0, 1], 8377).into());
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(table["journal"]["path"].as_str(), folder.join("journal").to_str());
        assert_eq!(table["journal"]["max_bytes"].as_str(), Some("1 MiB"));
        assert_eq!(table["queues"]["audit"]["max_in_flight"].as_integer(), Some(2));
        assert_eq!(table["routes"][0]["queues"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["status"]["listen"].as_str(), Some("127.0.0.1:8377"));
    }
}
