//! Bytes free on the file system, without a question for each commit.

use crate::journal::ledger::retention;
use std::time::{Duration, Instant};

/// The writer asks this often while nothing is given up for it: others write there, too.
const PAUSE: Duration = Duration::from_secs(1);

/// What the file system said last.
#[derive(Debug, Default)]
pub(crate) struct Free {
    asked: Option<Instant>,
    /// Less what was written since.
    bytes: Option<u64>,
}

impl Free {
    /// What is free before a commit of so many bytes; `closely`: asked now. `None`: the file system does not tell.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        closely: bool,
        incoming: u64,
        ask: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        if closely || self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= PAUSE) {
            (self.asked, self.bytes) = (Some(now), ask());
        }
        let free = self.bytes;
        self.bytes = free.map(|free| free.saturating_sub(retention::on_disk(incoming)));
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_asked_each_second_and_reduced_by_writes() {
        let (now, mut free, mut asked) = (Instant::now(), Free::default(), 0);
        let mut look = |ms, closely, incoming| {
            let seen = free.look(now + Duration::from_millis(ms), closely, incoming, || {
                asked += 1;
                Some(10_000 * asked)
            });
            (seen.unwrap(), asked)
        };
        assert_eq!(look(0, false, 1_000), (10_000, 1));
        assert_eq!(look(999, false, 1_000), (10_000 - retention::on_disk(1_000), 1));
        assert_eq!(look(999, false, 0), (10_000 - 2 * retention::on_disk(1_000), 1));
        assert_eq!(look(999, false, u64::MAX), (10_000 - 2 * retention::on_disk(1_000), 1));
        assert_eq!(look(999, false, 0), (0, 1), "never below nothing");
        assert_eq!(look(999, true, 0), (20_000, 2));
        assert_eq!(look(1_998, false, 0), (20_000, 2));
        assert_eq!(look(1_999, false, 0), (30_000, 3));
    }
}
