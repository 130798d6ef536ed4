//! The configuration: one TOML file, read once, checked as a whole.
//!
//! Layers: built-in defaults (`default.toml`, which is also what `tidegate config default` prints), then the file, then
//! the environment: every key of `[gateway]`, `[mqtt]`, `[journal]`, `[queues.NAME]`, `[records]` and `[status]` has a
//! variable, `TIDEGATE_` and its path in capitals with `_` for all else (`TIDEGATE_GATEWAY_ID`, `TIDEGATE_QUEUES_MAIN_URL`
//! for a queue that the file has); routes have none. Relative paths count from the file's folder. Unknown keys are
//! refused. All problems are reported at once, each with line, column, the offending text, what was expected and a
//! suggestion; where the file is not TOML, only that is reported, because the rest would be guesses.

mod broker;
pub mod effective;
mod form;
mod parse;
mod problem;
mod queue_link;
pub mod queue_url;
mod queues;
mod reader;
mod routes;
mod sections;
mod syntax;
mod values;
mod whereabouts;

#[cfg(test)]
mod tests;

pub use broker::BrokerAddress;
pub use problem::{ConfigError, ConfigProblem, Place};
pub use values::{BodyFormat, CredentialsSource, GivenNames, OnFull, Ordering};
pub use whereabouts::Whereabouts;

use crate::config::queue_url::QueueUrl;
use crate::json::pointer::Pointer;
use crate::profile::{Profile, ProfileOptions};
use crate::record::type_template::Template;
use crate::tls::CertPin;
use form::At;
use parse::Wrong;
pub(crate) use parse::size_text;
use problem::Source;
pub(crate) use problem::nearest;
use reader::{CREDENTIALS_VARIABLE, Reader, VARIABLE_PREFIX};
pub(crate) use sections::{gateway_id_problem, host_name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Every key with its default, unit and reason: what `tidegate config default` prints, what the package installs, and
/// the reference.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Where the package installs it, and where every command looks unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/tidegate/tidegate.toml";

/// The sections that there are.
const SECTIONS: [&str; 7] = ["gateway", "mqtt", "journal", "queues", "records", "routes", "status"];

/// All settings of the agent: defaults, file and environment together, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which gateway this is.
    pub gateway: GatewayConfig,
    /// The local broker: address, TLS, login and limits.
    pub mqtt: MqttConfig,
    /// The journal: folder and bounds.
    pub journal: JournalConfig,
    /// The queues, in the order of the file; at least one.
    pub queues: Vec<QueueConfig>,
    /// How records are rendered.
    pub records: RecordsConfig,
    /// Topic filters → profile and queues; at least one. A message goes to the first that takes it.
    pub routes: Vec<RouteConfig>,
    /// The status server: address, token and payloads.
    pub status: StatusConfig,
    /// Which names file or environment gave: the others follow from the host name, or from what the journal keeps.
    pub given: GivenNames,
}

/// Section `[gateway]`: the names that consumers and people see.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// A label; default: host name.
    pub id: String,
    /// The CloudEvents source's first part; default: id.
    pub site: String,
}

/// Section `[mqtt]`: the broker, the login there, and limits for what comes from it.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Parsed from `url`.
    pub address: BrokerAddress,
    /// The text of `url`, for messages.
    pub url: String,
    /// Client id; default: `tidegate-` and the gateway id. Fixed: the broker's session hangs on it.
    pub client_id: String,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// File that holds the password (one line).
    pub password_file: Option<PathBuf>,
    /// CA certificates (PEM) instead of the system's and the embedded ones.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM); both or neither.
    pub client_cert_file: Option<PathBuf>,
    /// Client key (PEM); both or neither.
    pub client_key_file: Option<PathBuf>,
    /// The one certificate of the broker that is trusted, in the place of all CAs and names.
    pub cert_pin: Option<CertPin>,
    /// MQTT keep-alive: the longest silence towards the broker.
    pub keep_alive: Duration,
    /// Largest payload that is journaled; a larger message is counted, its head kept in quarantine.
    pub max_payload_bytes: u64,
    /// A filter of a resumed session under which nothing came for so long is subscribed again, once per connection; 0: never.
    pub resubscribe_after: Duration,
    /// Most payload bytes received and not yet acknowledged, whatever window the broker keeps.
    pub max_unacked_bytes: u64,
}

/// Section `[journal]`: where records are kept, and the bounds.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Folder; created when missing.
    pub path: PathBuf,
    /// Bound for the records on disk; `None`: by the partition.
    pub max_bytes: Option<u64>,
    /// Most that a record may wait; `None`: for ever.
    pub max_age: Option<Duration>,
    /// Bytes that stay free on the journal's file system; 0: no floor; `None`: by the partition.
    pub min_free: Option<u64>,
    /// What happens at each of these bounds.
    pub on_full: OnFull,
    /// How long a lone message waits for others before the commit; 0 by default, at most 1 s.
    pub linger: Duration,
}

/// Section `[queues.NAME]`: one SQS queue.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// NAME in the section's header; the lane has it, too.
    pub name: String,
    /// Parsed from `url`.
    pub url: QueueUrl,
    /// Region: from the URL or `region`.
    pub region: String,
    /// Endpoint to talk to instead of the region's own: from `endpoint`, or the URL's host when it is not SQS's.
    pub endpoint: Option<String>,
    /// Plain http to a host that is not loopback.
    pub allow_plain_http: bool,
    /// CA certificates (PEM) beside the system's and the embedded ones.
    pub ca_file: Option<PathBuf>,
    /// Where the keys come from.
    pub credentials: CredentialsSource,
    /// How bodies are made, from `body`.
    pub body: BodyFormat,
    /// The record type for routing, where the operator gives one.
    pub rectype: Option<Template>,
    /// Whether the queue takes gap records.
    pub gap_records: bool,
    /// Whether the queue takes health records.
    pub health_records: bool,
    /// Ordering; meaningless on a Standard queue.
    pub ordering: Ordering,
    /// Most batches in flight.
    pub max_in_flight: usize,
    /// Most bytes in a batch; a larger record travels alone.
    pub batch_bytes: usize,
    /// Limit for a connection attempt, TLS included.
    pub connect_timeout: Duration,
    /// Limit for a whole attempt.
    pub attempt_timeout: Duration,
    /// While the link is away, a TCP connection is tried every few seconds, so that its return is noticed.
    pub link_probe: bool,
}

/// Section `[records]`: how records are rendered for all queues.
#[derive(Clone, Debug)]
pub struct RecordsConfig {
    /// Prefix of the CloudEvents type.
    pub type_prefix: String,
    /// Values of JSON payloads that do not leave the gateway.
    pub redact: Vec<Pointer>,
}

/// Section `[[routes]]`: which topics are read how, and go where.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Topic filters; the profile's own by default. Disjoint from those of earlier routes, unless this is a fallback.
    pub topics: Vec<String>,
    /// Whether it takes what earlier routes leave: its filters may meet theirs, and none of them is covered by one of theirs.
    pub fallback: bool,
    /// How the payloads are read.
    pub profile: Profile,
    /// What the route says about reading, as written.
    pub options: ProfileOptions,
    /// Names of queues in `queues`.
    pub queues: Vec<String>,
}

/// Section `[status]`: the page, its JSON and the metrics.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// Address of the status server; `None` switches it off (`listen = ""`).
    pub listen: Option<SocketAddr>,
    /// File whose first line every client must present; needed for an address that is not loopback.
    pub token_file: Option<PathBuf>,
    /// Whether the page shows the beginning of the last messages' payloads.
    pub show_payloads: bool,
}

impl Config {
    /// Reads and checks a file, with the environment of this process.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: unreadable, not text, or with problems, all of them.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load_noting(path).map(|(config, _)| config)
    }

    /// [`Config::load`], and the paths of the keys that file or environment set.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_noting(path: &Path) -> Result<(Config, BTreeSet<String>), ConfigError> {
        let text = file_text(path)?;
        let (config, keys) = read(&text, path, &environment());
        Ok((config.map_err(ConfigError::Problems)?, keys.set))
    }
    /// Checks the text of a file. `path` is where the file is, or would be: problems name it, and relative paths in it
    /// count from its folder. `environment` holds the variables that may override keys, by name.
    ///
    /// # Errors
    ///
    /// Every problem, in the order of the file; never empty.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Config, Vec<ConfigProblem>> {
        read(text, path, environment).0
    }
}

/// The text of a configuration file.
fn file_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause: std::io::Error| {
        let remedy = match cause.kind() {
            std::io::ErrorKind::NotFound => "create it with `tidegate init`, or name another with --config",
            std::io::ErrorKind::PermissionDenied => "run it with sudo; the agent's user must be able to read it",
            std::io::ErrorKind::IsADirectory => "name the file, not its folder",
            _ => "check the path and the disk",
        };
        ConfigError::Unreadable { path: path.to_owned(), cause, remedy }
    };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|error| {
        let found = match bytes.get(..2) {
            Some([0xff, 0xfe] | [0xfe, 0xff]) => "it is UTF-16 text".to_owned(),
            _ => {
                let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                format!("line {line} is not UTF-8 text")
            }
        };
        ConfigError::NotText { path: path.to_owned(), found }
    })
}

/// The variables of this process that may override keys.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX) || name == CREDENTIALS_VARIABLE)
        .collect()
}

/// Paths of keys, such as `journal.max_bytes`.
#[derive(Debug, Default)]
struct Keys {
    /// Those that are read.
    #[cfg_attr(not(test), expect(dead_code, reason = "held against the reference file"))]
    asked: BTreeSet<String>,
    /// Those of them that were set.
    set: BTreeSet<String>,
}

/// [`Config::parse`], and which keys were asked for and set.
fn read(text: &str, path: &Path, environment: &BTreeMap<String, String>) -> (Result<Config, Vec<ConfigProblem>>, Keys) {
    let source = Source::new(path.display().to_string(), text);
    let (document, errors) = DeTable::parse_recoverable(source.text);
    if !errors.is_empty() {
        return (Err(syntax::problems(&source, &errors)), Default::default());
    }
    let root = document.get_ref();
    let mut reader = Reader::new(&source, path.parent().unwrap_or(Path::new("")), environment);
    unknown_sections(&mut reader, root);
    let gateway = sections::gateway(sections::top(&mut reader, root, "gateway"));
    let mqtt = sections::mqtt(sections::top(&mut reader, root, "mqtt"), &gateway.id);
    let journal = sections::journal(sections::top(&mut reader, root, "journal"));
    let queues = queues::queues(&mut reader, root);
    let records = sections::records(sections::top(&mut reader, root, "records"));
    let routes = routes::routes(&mut reader, root, &queues.names);
    let status = sections::status(sections::top(&mut reader, root, "status"));
    reader.finish_environment(&SECTIONS);
    let mut problems = reader.problems;
    if problems.is_empty() {
        let given = |path: &str, value: &str| reader.set.contains(path).then(|| value.to_owned());
        let given = GivenNames {
            gateway_id: given("gateway.id", &gateway.id),
            site: given("gateway.site", &gateway.site),
            client_id: given("mqtt.client_id", &mqtt.client_id),
        };
        let config = Config { gateway, mqtt, journal, queues: queues.queues, records, routes, status, given };
        return (Ok(config), Keys { asked: reader.asked, set: reader.set });
    }
    problems.sort_by_key(|problem| match problem.place {
        Place::File => (0, 0, 0),
        Place::Line { line, column, .. } => (1, line, column),
        Place::Variable(_) => (2, 0, 0),
    });
    (Err(problems), Keys::default())
}

/// Notes what is at the top and not a section of ours.
fn unknown_sections<'d>(reader: &mut Reader<'d>, root: &'d DeTable<'d>) {
    for (name, value) in root {
        let (word, section): (&str, bool) =
            (name.get_ref(), !matches!(value.get_ref().type_str(), "string" | "integer"));
        if SECTIONS.contains(&word) {
            continue;
        }
        let wrong = Wrong::because(if section {
            format!("unknown section \"{word}\"")
        } else {
            format!("unknown key \"{word}\"")
        });
        let wrong = match word {
            "sqs" | "queue" => wrong.suggest("a queue is a section [queues.NAME], such as [queues.main]"),
            "route" => wrong.suggest("a route is a section [[routes]]"),
            "broker" => wrong.did_you_mean("mqtt"),
            _ => match nearest(word, SECTIONS) {
                Some(meant) => wrong.did_you_mean(meant),
                None => wrong.suggest(format!("known sections: {}", SECTIONS.join(", "))),
            },
        };
        let at = At { key: String::new(), place: reader.source.place(name.span()) };
        reader.problem(&at, None, wrong);
    }
}
