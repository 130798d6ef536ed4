//! The sender: one queue, one attempt per call, on the AWS SDK and our own HTTP connector.
//!
//! The SDK's part is to sign, to serialise and to parse. What it would do beyond that is switched off, each for a reason:
//! its retries (a hidden second attempt could pass the moment at which a group must freeze), its stalled-stream protection
//! (our attempt limit grows with the batch instead), its identity cache ([`crate::sqs::credentials`]), its endpoint and region
//! discovery (they are told). Its correction of the signature's clock stays on, with a time source that no step of the
//! wall clock moves.
//!
//! An attempt ends when it makes no progress ([`crate::sqs::connector::watch`]). What it says is turned into an [`Answer`](crate::sqs::Answer) by `answer` and
//! into a [`Fault`](crate::sqs::Fault) by `fault`; neither ever reads "accepted" out of anything but an entry's own id.

mod answer;
mod fault;
mod headers;
mod options;
mod reach;
#[cfg(test)]
mod tests;

pub use self::options::SenderOptions;
use self::reach::Reach;
use crate::clock::{Anchor, Clock};
use crate::config::CredentialsSource;
use crate::config::queue_url::is_loopback_host;
use crate::sqs::classify::wants_other_keys;
use crate::sqs::connector::Http;
use crate::sqs::connector::proxy::{ProxyError, ProxySettings};
use crate::sqs::connector::watch::Attempt;
use crate::sqs::credentials::{ChainKeys, CsvKeys, Keys};
use crate::sqs::limits::{BATCH_ENTRIES, SLOWEST_LINK_BYTES_PER_S};
use crate::sqs::{BatchSender, Entry, FaultClass, SendOutcome};
use crate::tls::{TlsError, TlsOptions, client_config, client_tls};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a queue's client cannot be set up. All of them are a matter of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// Certificates, keys.
    #[error("queue {queue}: {source}")]
    Tls {
        /// The queue's name in the configuration.
        queue: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The environment's proxy settings.
    #[error("queue {queue}: {source}")]
    Proxy {
        /// The queue's name in the configuration.
        queue: String,
        /// What is wrong.
        source: ProxyError,
    },
    /// Plain text to another machine.
    #[error(
        "queue {queue}: {endpoint} is plain http to another machine, where anyone on the way can read and change the records; use https, or set allow_plain_http = true"
    )]
    PlainHttp {
        /// The queue's name in the configuration.
        queue: String,
        /// The endpoint.
        endpoint: String,
    },
    /// An endpoint that is not the URL of a server.
    #[error("queue {queue}: endpoint {endpoint:?} is not valid; expected https://HOST[:PORT]")]
    Endpoint {
        /// The queue's name in the configuration.
        queue: String,
        /// The endpoint.
        endpoint: String,
    },
    /// The region is not known.
    #[error("queue {queue}: its URL does not tell the region; set region = \"…\"")]
    NoRegion {
        /// The queue's name in the configuration.
        queue: String,
    },
}

/// Sends batches to one queue; cheap to clone.
#[derive(Clone, Debug)]
pub struct SqsSender {
    shared: Arc<Shared>,
    queue_url: String,
    attempt_timeout: Duration,
    link_probe: bool,
}

/// What queues of one endpoint and one source of credentials have in common: connections, and the skew of the clock.
#[derive(Debug)]
struct Shared {
    client: Client,
    keys: Keys,
    clock: Clock,
    tie: Tie,
    reach: Reach,
}

/// Two queues with equal ties can share a client.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Tie {
    endpoint: Option<String>,
    region: String,
    credentials: CredentialsSource,
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
}

impl SqsSender {
    /// A sender for one queue. Opens no connection and reads no credentials: a missing credentials file is a fault of the
    /// attempts, which a later file mends.
    ///
    /// # Errors
    /// When endpoint, region, certificates or proxy settings cannot be used.
    pub fn new(options: &SenderOptions, clock: &Clock) -> Result<SqsSender, SenderError> {
        let proxy = ProxySettings::from_env();
        SqsSender::through(
            proxy.map_err(|source| SenderError::Proxy { queue: options.queue.clone(), source })?,
            options,
            clock,
        )
    }

    /// [`SqsSender::new`] with proxy settings that are told.
    pub(crate) fn through(
        proxy: ProxySettings,
        options: &SenderOptions,
        clock: &Clock,
    ) -> Result<SqsSender, SenderError> {
        let tie = Tie::of(options)?;
        let http = http_client(options, proxy, clock)?;
        let reach = Reach::of(&tie, &http);
        let keys = match &options.credentials {
            CredentialsSource::CsvFile(path) => Keys::Csv(CsvKeys::new(path)),
            CredentialsSource::AwsChain => Keys::Chain(ChainKeys::new(&http, &options.region, clock)),
        };
        let client = sdk_client(&tie, http, keys.clone());
        Ok(SqsSender::on(Arc::new(Shared { client, keys, clock: clock.clone(), tie, reach }), options))
    }

    /// A sender whose credentials must be a file, that asks `http` and opens no connection itself.
    ///
    /// # Panics
    /// When the credentials are not a file, or endpoint or region cannot be used.
    #[cfg(feature = "internals")]
    pub fn over(http: impl HttpClient + 'static, options: &SenderOptions) -> SqsSender {
        let CredentialsSource::CsvFile(path) = &options.credentials else {
            panic!("a queue with a file of credentials")
        };
        let (keys, clock) = (Keys::Csv(CsvKeys::new(path)), Clock::new(None));
        let tie = Tie::of(options).expect("a queue that can be used");
        let client = sdk_client(&tie, http, keys.clone());
        SqsSender::on(Arc::new(Shared { client, keys, clock, tie, reach: Reach::nowhere() }), options)
    }

    /// A sender for another queue on this one's connections and credentials; `None` where it needs its own, or where
    /// [`SqsSender::new`] would fail.
    pub fn beside(&self, options: &SenderOptions) -> Option<SqsSender> {
        let same = Tie::of(options).is_ok_and(|tie| tie == self.shared.tie);
        same.then(|| SqsSender::on(self.shared.clone(), options))
    }

    fn on(shared: Arc<Shared>, options: &SenderOptions) -> SqsSender {
        let (attempt_timeout, link_probe) = (options.attempt_timeout, options.link_probe);
        SqsSender { shared, queue_url: options.url.clone(), attempt_timeout, link_probe }
    }

    /// Makes the next attempt read the credentials again, wherever they come from.
    pub fn reload(&self) {
        self.shared.keys.forget();
    }

    /// Whether the credentials file is another than the one that the last attempt used: a reason to try at once.
    pub fn has_new_credentials(&self) -> bool {
        self.shared.keys.changed()
    }

    /// Asks the queue with a batch of nothing: the service looks at the signature, answers that the batch is empty
    /// (`EmptyBatchRequest`), and keeps nothing. Whether sending is permitted it may not have looked at.
    pub async fn knock(&self) -> SendOutcome {
        let request = self.shared.client.send_message_batch().queue_url(&self.queue_url).set_entries(Some(Vec::new()));
        match tokio::time::timeout(self.attempt_timeout, request.send()).await {
            Ok(Ok(_)) => SendOutcome::Answer(crate::sqs::Answer::default()),
            Ok(Err(error)) => SendOutcome::Fault(fault::of(&error, fault::ClockView::of(&self.shared.clock))),
            Err(_) => SendOutcome::Fault(fault::no_answer(self.attempt_timeout)),
        }
    }

    async fn attempt(&self, entries: &[Entry]) -> SendOutcome {
        if entries.is_empty() || entries.len() > BATCH_ENTRIES {
            return SendOutcome::Fault(fault::not_built(&format!("a batch of {} entries", entries.len())));
        }
        let entries_built = match entries.iter().enumerate().map(|(id, entry)| request_entry(id, entry)).collect() {
            Ok(built) => built,
            Err(error) => return SendOutcome::Fault(fault::not_built(&error.to_string())),
        };
        let attempt = self.attempt_of(entries);
        let request = self
            .shared
            .client
            .send_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries_built))
            .customize()
            .mutate_request(move |request: &mut HttpRequest| request.add_extension(attempt));
        match request.send().await {
            Ok(output) => SendOutcome::Answer(answer::of(entries, &output)),
            Err(error) => {
                let mut fault = fault::of(&error, fault::ClockView::of(&self.shared.clock));
                if fault.code.as_deref().is_some_and(wants_other_keys) && self.shared.keys.has_others().await {
                    // The source has renewed them meanwhile.
                    fault.class = FaultClass::OnceMore;
                } else if matches!(fault.class, FaultClass::WaitForConfiguration | FaultClass::OnceMore) {
                    // Refused credentials are never held on to, whatever their file's stamp or their end says.
                    self.shared.keys.refused();
                }
                SendOutcome::Fault(fault)
            }
        }
    }

    /// How long the connector waits for it, and until when it may leave and arrive.
    fn attempt_of(&self, entries: &[Entry]) -> Attempt {
        let deadlines = || entries.iter().filter_map(|entry| entry.deadline);
        Attempt {
            patience: self.attempt_timeout,
            looks: self.link_probe,
            limit: self.attempt_limit(entries.iter().map(Entry::size).sum()),
            leaves_by_ms: deadlines().map(|deadline| deadline.leaves_by_ms).min(),
            arrives_by_ms: deadlines().map(|deadline| deadline.arrives_by_ms).min(),
        }
    }
}

impl BatchSender for SqsSender {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        self.attempt(entries).await
    }

    fn attempt_limit(&self, bytes: usize) -> Duration {
        attempt_limit(self.attempt_timeout, bytes)
    }

    async fn reach(&self) -> Option<bool> {
        self.shared.reach.ask().await
    }

    fn link_changed(&self) {
        self.shared.reach.link_changed();
    }

    fn is_mended(&self) -> bool {
        self.has_new_credentials()
    }

    fn key_file_trouble(&self) -> Option<String> {
        self.shared.keys.file_trouble()
    }
}

/// What an attempt takes on the slowest link that needs no thought: `timeout`, and the time of `bytes` there. A slower one takes
/// longer, as long as it makes progress; where the kernel tells of none, this is the limit.
pub fn attempt_limit(timeout: Duration, bytes: usize) -> Duration {
    timeout + Duration::from_millis(bytes as u64 * 1000 / SLOWEST_LINK_BYTES_PER_S)
}

impl Tie {
    fn of(options: &SenderOptions) -> Result<Tie, SenderError> {
        let name = || options.queue.clone();
        if options.region.is_empty() {
            return Err(SenderError::NoRegion { queue: name() });
        }
        let endpoint = options.endpoint.clone();
        if let Some(endpoint) = &endpoint {
            let uri = endpoint.parse::<http::Uri>().ok();
            let host = uri.as_ref().and_then(|uri| uri.host());
            match (uri.as_ref().and_then(|uri| uri.scheme_str()), host) {
                (Some("https"), Some(_)) => {}
                (Some("http"), Some(host)) if options.allow_plain_http || is_loopback_host(host) => {}
                (Some("http"), Some(_)) => {
                    return Err(SenderError::PlainHttp { queue: name(), endpoint: endpoint.clone() });
                }
                _ => return Err(SenderError::Endpoint { queue: name(), endpoint: endpoint.clone() }),
            }
        }
        Ok(Tie {
            endpoint,
            region: options.region.clone(),
            credentials: options.credentials.clone(),
            ca_file: options.ca_file.clone(),
            connect_timeout: options.connect_timeout,
        })
    }
}

fn http_client(options: &SenderOptions, proxy: ProxySettings, clock: &Clock) -> Result<Http, SenderError> {
    let bad_tls = |source| SenderError::Tls { queue: options.queue.clone(), source };
    let to_proxy = TlsOptions { ca_file: options.ca_file.clone(), ..TlsOptions::default() };
    let to_queue = TlsOptions { alpn_http1: true, ..to_proxy.clone() };
    let tls = client_tls(&to_queue, Arc::new(clock.clone())).map_err(bad_tls)?;
    if tls.unreadable_roots > 0 {
        tracing::warn!(count = tls.unreadable_roots, "parts of the system's trust store cannot be read");
    }
    // A second set of roots only for those who reach their proxy over TLS.
    let proxy_tls = match proxy.over_tls() {
        true => client_config(&to_proxy, clock).map_err(bad_tls)?,
        false => tls.config.clone(),
    };
    Ok(Http::new(tls, proxy, proxy_tls, clock.clone(), options.max_in_flight))
}

fn sdk_client(tie: &Tie, http: impl HttpClient + 'static, keys: Keys) -> Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(tie.connect_timeout).build();
    let mut config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(tie.region.clone()))
        .http_client(http)
        .credentials_provider(keys)
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts)
        .interceptor(headers::FewHeaders)
        .sleep_impl(TokioSleep::new())
        .time_source(crate::sqs::credentials::AnchoredTime(Anchor::now()));
    config.set_endpoint_url(tie.endpoint.clone());
    Client::from_conf(config.build())
}

/// The entry as the SDK wants it; its id is its index in the batch, one digit.
fn request_entry(id: usize, entry: &Entry) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let mut built = SendMessageBatchRequestEntry::builder()
        .id(id.to_string())
        .message_body(entry.body.as_str())
        .message_group_id(entry.group.as_str())
        .set_message_deduplication_id(entry.dedup.clone());
    for (name, value) in &entry.attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value.as_str()).build()?;
        built = built.message_attributes(*name, value);
    }
    built.build()
}
