//! Whether the endpoint can be reached, asked once for all queues that share it.

use crate::sqs::client::Tie;
use crate::sqs::connector::Http;
use http::Uri;
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer is good for so long: the lanes of one endpoint ask at the same time.
const FRESH: Duration = Duration::from_secs(4);

/// The way to one endpoint.
pub(super) struct Reach {
    http: Option<Http>,
    endpoint: Option<Uri>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Reach {
    pub(super) fn of(tie: &Tie, http: &Http) -> Reach {
        let endpoint = tie.endpoint.as_deref().and_then(|endpoint| endpoint.parse().ok());
        Reach { http: Some(http.clone()), endpoint, last: Mutex::default() }
    }

    /// None: a sender without a network.
    #[cfg(feature = "internals")]
    pub(super) fn nowhere() -> Reach {
        Reach { http: None, endpoint: None, last: Mutex::default() }
    }

    /// The gateway's addresses or routes have changed.
    pub(super) fn link_changed(&self) {
        if let Some(http) = &self.http {
            http.link_changed();
        }
    }

    /// Asks, or gives the answer of a moment ago.
    pub(super) async fn ask(&self) -> Option<bool> {
        let (http, endpoint) = (self.http.as_ref()?, self.endpoint.as_ref()?);
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = *last
            && at.elapsed() < FRESH
        {
            return Some(answer);
        }
        let answer = http.reach(endpoint.clone()).await;
        *last = Some((Instant::now(), answer));
        Some(answer)
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}
