//! What a sender is made with.

use crate::config::CredentialsSource;
use std::path::PathBuf;
use std::time::Duration;

/// What a sender is made with: one queue, the way to it, and the limits of an attempt.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// The queue's name in the configuration, for messages.
    pub queue: String,
    /// The queue's URL, as each request names it.
    pub url: String,
    /// Region of the signature; not empty.
    pub region: String,
    /// What to talk to, `https://HOST[:PORT]`; `None`: the region's own.
    pub endpoint: Option<String>,
    /// Whether `endpoint` may be plain http to a host that is not loopback.
    pub allow_plain_http: bool,
    /// CA certificates (PEM) beside the system's and the embedded ones.
    pub ca_file: Option<PathBuf>,
    /// Where the keys come from.
    pub credentials: CredentialsSource,
    /// Most batches in flight; the sender keeps as many idle connections.
    pub max_in_flight: usize,
    /// Limit for a connection attempt, TLS included.
    pub connect_timeout: Duration,
    /// Limit for an attempt; a large batch has more ([`attempt_limit`](super::attempt_limit)).
    pub attempt_timeout: Duration,
    /// While the link is away, whether an attempt may make connections beside its own, to see that it is back.
    pub link_probe: bool,
}
