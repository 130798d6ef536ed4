//! Why an attempt was ended before its answer came, in words.

use std::time::Duration;

/// Why an attempt was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(in crate::sqs) enum Ended {
    /// No progress.
    #[error("the link carried nothing of it for {} s", .waited.as_secs())]
    Stalled {
        /// For so long.
        waited: Duration,
    },
    /// All of it was there, as far as the kernel tells, and the service did not answer.
    #[error("no answer within {:.1} s", .0.as_secs_f64())]
    Unanswered(Duration),
    /// It would have arrived after the queue has forgotten the attempt before.
    #[error("the link was too slow for it to arrive while the queue absorbs repeats; it goes again and says so")]
    TooSlow,
    /// A connection of an earlier attempt turned out dead: a NAT on the way has forgotten it, say.
    #[error("the connection of before carries nothing any more")]
    Dead,
    /// The gateway's addresses or routes have changed, and the connection has not outlived it.
    #[error("the gateway's address or route has changed, and the connection with it")]
    LinkChanged,
    /// The link was away and is back, and the connection still does not move.
    #[error("the link was away and is back, and the connection has not outlived it")]
    LinkReturned,
}
