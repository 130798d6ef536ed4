//! The largest message that a queue takes, as far as is known. Pure; time is given.
//!
//! The agent may not read the queue's settings, so it starts from SQS's own limit and learns a smaller one from a refusal
//! that names it. What was learnt holds for an hour: then one record asks the queue again, because its setting may have
//! been raised, and a record that the queue would take must not go into quarantine for ever.

use crate::sqs::limits::{ENTRY_BYTES, LEAST_MESSAGE_BYTES};
use std::time::Duration;
use tokio::time::Instant;

/// How long a learnt limit holds.
const HOLDS: Duration = Duration::from_secs(60 * 60);

/// A queue's limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SizeLimit {
    learnt: Option<(usize, Instant)>,
}

impl SizeLimit {
    /// Bytes that the queue takes in one message, attributes included.
    pub(super) fn bytes(self, now: Instant) -> usize {
        self.learnt.filter(|(_, at)| now < *at + HOLDS).map_or(ENTRY_BYTES, |(bytes, _)| bytes)
    }

    /// The queue refused a message and named its limit. Gives the limit that holds from now on.
    pub(super) fn learn(&mut self, bytes: usize, now: Instant) -> usize {
        let least = bytes.max(LEAST_MESSAGE_BYTES).min(self.bytes(now));
        self.learnt = Some((least, now));
        least
    }

    /// What was learnt may be out of date: the next record asks the queue itself.
    pub(super) fn forget(&mut self) {
        self.learnt = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_size_limit_only_falls_and_lapses_after_an_hour(
            words in prop::collection::vec((0usize..2_000_000, 0u64..5_000), 1..12),
        ) {
            let (mut limit, mut now) = (SizeLimit::default(), Instant::now());
            prop_assert_eq!(limit.bytes(now), ENTRY_BYTES);
            for (bytes, pause) in words {
                now += Duration::from_secs(pause);
                let before = limit.bytes(now);
                let learnt = limit.learn(bytes, now);
                prop_assert!((LEAST_MESSAGE_BYTES..=before).contains(&learnt) && learnt <= bytes.max(LEAST_MESSAGE_BYTES));
                prop_assert_eq!(limit.bytes(now + HOLDS - Duration::from_secs(1)), learnt);
                prop_assert_eq!(limit.bytes(now + HOLDS), ENTRY_BYTES);
            }
            limit.forget();
            prop_assert_eq!(limit.bytes(now), ENTRY_BYTES);
        }
    }
}
