//! The standard AWS chain: environment, profile, web identity, container, instance metadata. An explicit choice, because
//! it ends in network waits that make no sense on a gateway.
//!
//! Temporary credentials end at an absolute time, and the system's clock may be years behind it: they would never be
//! renewed. So their life is counted from the best time known when they came ([`Clock::certificate_time_s`]); when they
//! came over TLS, that is the `Date` of the very answer that brought them, which the connector has just learnt.
//!
//! A renewal that fails while the network does is not a fault of the chain, which has worked before: [`Unrenewed`].

use crate::clock::{Anchor, Clock};
use crate::sqs::connector::Http;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, SharedCredentialsProvider, future};
use aws_sdk_sqs::config::Region;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// Longest time that finding credentials may take.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// Renewed this long before their end; while the renewal fails, they are used until their end.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// Credentials without an end are asked for again after this: a profile's file may have changed.
const WITHOUT_END: Duration = Duration::from_secs(5 * 60);

/// An anchored wall clock for the SDK.
#[derive(Clone, Copy, Debug)]
pub(in crate::sqs) struct AnchoredTime(pub(in crate::sqs) Anchor);

impl TimeSource for AnchoredTime {
    fn now(&self) -> SystemTime {
        self.0.time()
    }
}

/// Credentials that came before cannot be renewed, and the network is why.
#[derive(Debug, thiserror::Error)]
#[error("their source cannot be reached to renew them")]
pub struct Unrenewed {
    source: CredentialsError,
}

/// Keys from the chain, kept while they live; cheap to clone.
#[derive(Clone)]
pub struct ChainKeys(Arc<Inner>);

struct Inner {
    source: Source,
    /// What the chain asks the network by.
    http: Option<Http>,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
    forgotten: AtomicBool,
}

enum Source {
    /// Built anew for each load: the chain reads its profile's file only once in its life.
    Chain(Box<ProviderConfig>, Region),
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests' source"))]
    Given(SharedCredentialsProvider),
}

struct Kept {
    credentials: Credentials,
    /// When to ask again.
    renew_at: Instant,
    /// When they end; `None` when they do not.
    end: Option<Instant>,
}

impl ChainKeys {
    /// The chain over our HTTP client, in `region`. Nothing is loaded yet.
    pub fn new(http: &Http, region: &str, clock: &Clock) -> ChainKeys {
        let region = Region::new(region.to_owned());
        let config = ProviderConfig::empty()
            .with_region(Some(region.clone()))
            .with_time_source(AnchoredTime(Anchor::now()))
            .with_sleep_impl(TokioSleep::new())
            .with_http_client(http.clone());
        ChainKeys::from_source(Source::Chain(Box::new(config), region), Some(http.clone()), clock)
    }

    #[cfg(test)]
    pub(in crate::sqs) fn given(provider: impl ProvideCredentials + 'static, clock: &Clock) -> ChainKeys {
        ChainKeys::from_source(Source::Given(SharedCredentialsProvider::new(provider)), None, clock)
    }

    fn from_source(source: Source, http: Option<Http>, clock: &Clock) -> ChainKeys {
        let forgotten = AtomicBool::new(false);
        ChainKeys(Arc::new(Inner { source, http, clock: clock.clone(), kept: Mutex::default(), forgotten }))
    }

    /// Makes the next attempt ask the chain.
    pub fn forget(&self) {
        self.0.forgotten.store(true, Relaxed);
    }

    /// Asks the chain; whether it gives other credentials than before. They are what the next attempt takes.
    pub(super) async fn has_others(&self) -> bool {
        let of = |keys: &Credentials| (keys.access_key_id().to_owned(), keys.session_token().map(str::to_owned));
        let before = self.0.kept.lock().await.as_ref().map(|kept| of(&kept.credentials));
        self.forget();
        self.current().await.is_ok_and(|keys| before.is_some_and(|before| before != of(&keys)))
    }

    async fn current(&self) -> Result {
        // Held while loading: attempts that run side by side wait for one load instead of each making its own.
        let mut kept = self.0.kept.lock().await;
        let forgotten = self.0.forgotten.load(Relaxed);
        let now = Instant::now();
        if let Some(kept) = kept.as_ref().filter(|kept| !forgotten && now < kept.renew_at) {
            return Ok(kept.credentials.clone());
        }
        let failures = || self.0.http.as_ref().map_or(0, Http::failures);
        let before = failures();
        match self.load().await {
            Ok(fresh) => {
                self.0.forgotten.store(false, Relaxed);
                let credentials = fresh.credentials.clone();
                *kept = Some(fresh);
                Ok(credentials)
            }
            Err(error) => match kept.as_ref().filter(|kept| !forgotten && kept.end.is_none_or(|end| now < end)) {
                Some(kept) => Ok(kept.credentials.clone()),
                None if kept.is_some() && failures() > before => {
                    Err(CredentialsError::provider_error(Unrenewed { source: error }))
                }
                None => Err(error),
            },
        }
    }

    async fn load(&self) -> std::result::Result<Kept, CredentialsError> {
        let load = async {
            match &self.0.source {
                Source::Given(provider) => provider.provide_credentials().await,
                Source::Chain(config, region) => {
                    let builder = DefaultCredentialsChain::builder().region(region.clone());
                    builder.configure((**config).clone()).build().await.provide_credentials().await
                }
            }
        };
        let limit = |_| CredentialsError::provider_timed_out(LOAD_LIMIT);
        let credentials = tokio::time::timeout(LOAD_LIMIT, load).await.map_err(limit)??;
        let now = Instant::now();
        let lifetime = credentials.expiry().map(|end| lifetime(end, self.0.clock.certificate_time_s()));
        let renew_in = lifetime.map_or(WITHOUT_END, |life| life.saturating_sub(RENEW_BEFORE).max(life / 2));
        // Without its end, which the SDK would hold against a clock that may be wrong.
        let token = credentials.session_token().map(str::to_owned);
        let plain =
            Credentials::new(credentials.access_key_id(), credentials.secret_access_key(), token, None, "aws-chain");
        Ok(Kept { credentials: plain, renew_at: now + renew_in, end: lifetime.map(|life| now + life) })
    }
}

/// How long credentials live that end at `end`, seen from the best time known. At most a day and a half, AWS's longest:
/// the time known may lie far behind.
pub(super) fn lifetime(end: SystemTime, now_s: i64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(36 * 60 * 60);
    let end_s = end.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Duration::from_secs(end_s.saturating_sub(u64::try_from(now_s).unwrap_or(0))).min(LONGEST)
}

impl fmt::Debug for ChainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKeys")
    }
}

impl ProvideCredentials for ChainKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}
