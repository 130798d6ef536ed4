//! The configuration: one TOML file, read once, checked as a whole.
//!
//! Layers: built-in defaults (`default.toml`, which is also what `tidegate config default` prints), then the file, then
//! the environment (`TIDEGATE_GATEWAY_ID` for `gateway.id`, and so on). Unknown keys are refused. All problems are
//! reported at once, each with line, column, the offending text, what was expected and a suggestion.

use crate::record::profile::Profile;
use crate::sqs::url::QueueUrl;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which gateway this is.
    pub gateway: GatewayConfig,
    /// The local broker.
    pub mqtt: MqttConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// The queues, in the order of the file; at least one.
    pub queues: Vec<QueueConfig>,
    /// How records are rendered.
    pub records: RecordsConfig,
    /// Topic filters → profile and queues; at least one; no two routes' filters intersect.
    pub routes: Vec<RouteConfig>,
    /// The status server.
    pub status: StatusConfig,
}

/// `[gateway]`
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// A label; default: host name.
    pub id: String,
    /// The CloudEvents source's first part; default: id.
    pub site: String,
}

/// How the broker is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerAddress {
    /// `mqtt://host:port`
    Tcp {
        /// Host name or address.
        host: String,
        /// Port; 1883 by default.
        port: u16,
    },
    /// `mqtts://host:port`
    Tls {
        /// Host name or address, as in the broker's certificate.
        host: String,
        /// Port; 8883 by default.
        port: u16,
    },
    /// `unix:///path`
    Unix(PathBuf),
}

/// `[mqtt]`
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// From `url`.
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
    /// Keep-alive.
    pub keep_alive: Duration,
    /// Largest payload that is journaled; a larger message is counted, its head kept in quarantine.
    pub max_payload_bytes: u64,
    /// Most payload bytes received and not yet acknowledged, whatever window the broker keeps.
    pub max_unacked_bytes: u64,
}

/// What happens at the journal's bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFull {
    /// Evict the oldest generation, counted.
    DropOldest,
    /// Stop acknowledging; the broker holds the rest.
    Stop,
}

/// `[journal]`
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Folder; created when missing.
    pub path: PathBuf,
    /// Bound for the folder on disk.
    pub max_bytes: u64,
    /// What happens at the bound.
    pub on_full: OnFull,
    /// How long a lone message waits for others before the commit; 0 by default, at most 1 s.
    pub linger: Duration,
}

/// Where a queue's credentials come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CredentialsSource {
    /// `credentials_file`: the IAM console's `.csv` as downloaded.
    CsvFile(PathBuf),
    /// `credentials = "aws-chain"`: the standard AWS chain.
    AwsChain,
}

/// How a record becomes an SQS body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFormat {
    /// Structured CloudEvents 1.0 JSON.
    CloudEvents,
    /// The payload itself, context in attributes.
    Raw,
}

/// How a group's records share batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordering {
    /// A batch holds at most one record of a group.
    Strict,
    /// A group's consecutive records may share a batch.
    Packed,
}

/// `[queues.NAME]`
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// NAME.
    pub name: String,
    /// From `url`.
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
    /// Body format.
    pub body: BodyFormat,
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
}

/// `[records]`
#[derive(Clone, Debug)]
pub struct RecordsConfig {
    /// Prefix of the CloudEvents type.
    pub type_prefix: String,
}

/// `[[routes]]`
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Topic filters; the profile's own by default.
    pub topics: Vec<String>,
    /// How the payloads are read.
    pub profile: Profile,
    /// Names of queues in `queues`.
    pub queues: Vec<String>,
}

/// `[status]`
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// Address of the status server; `None` switches it off (`listen = ""`).
    pub listen: Option<SocketAddr>,
}
