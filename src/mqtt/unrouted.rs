//! Messages of no route, counted by the beginning of their topics in a bounded list.

use serde::Serialize;

/// Prefixes that are counted apart.
const PREFIXES: usize = 16;
/// Longest prefix that is kept whole.
const PREFIX_BYTES: usize = 200;

/// Messages of no route, by the beginning of their topics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnroutedStatus {
    /// The first two levels; `…` where there are too many to count apart.
    pub prefix: String,
    /// Messages since the start.
    pub messages: u64,
    /// Seconds since the last one.
    pub last_s: u64,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Unrouted(Vec<(String, u64, u64)>);

impl Unrouted {
    /// A message came; how many of its prefix came so far, this one included.
    pub(super) fn came(&mut self, topic: &str, boottime_ms: u64) -> u64 {
        let second = topic.match_indices('/').nth(1).map_or(topic.len(), |(at, _)| at);
        let prefix = &topic[..topic.floor_char_boundary(second.min(PREFIX_BYTES))];
        let known = |rows: &Vec<(String, u64, u64)>, prefix: &str| rows.iter().position(|(known, ..)| known == prefix);
        let index = known(&self.0, prefix).unwrap_or_else(|| {
            // Beyond so many, what else comes is counted in one row.
            let prefix = if self.0.len() + 1 < PREFIXES { prefix } else { "…" };
            known(&self.0, prefix).unwrap_or_else(|| {
                self.0.push((prefix.to_owned(), 0, 0));
                self.0.len() - 1
            })
        });
        let (_, messages, last_ms) = &mut self.0[index];
        *messages += 1;
        *last_ms = boottime_ms;
        *messages
    }

    /// Prefixes and counts, to be continued by [`Unrouted::of`].
    pub(super) fn totals(&self) -> Vec<(String, u64)> {
        self.0.iter().map(|(prefix, messages, _)| (prefix.clone(), *messages)).collect()
    }

    /// Continues what an earlier run counted.
    pub(super) fn of(totals: &[(String, u64)]) -> Unrouted {
        Unrouted(totals.iter().take(PREFIXES).map(|(prefix, messages)| (prefix.clone(), *messages, 0)).collect())
    }

    /// What is shown of them, the latest first.
    pub(super) fn rows(&self, now_ms: u64) -> Vec<UnroutedStatus> {
        let of = |(prefix, messages, last_ms): &(String, u64, u64)| UnroutedStatus {
            prefix: prefix.clone(),
            messages: *messages,
            last_s: now_ms.saturating_sub(*last_ms) / 1000,
        };
        let mut rows: Vec<UnroutedStatus> = self.0.iter().map(of).collect();
        rows.sort_by_key(|row| row.last_s);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unrouted_messages_are_counted_by_prefix_in_a_bounded_list() {
        let mut unrouted = Unrouted::default();
        let topics = (0..40).map(|n| format!("a/{n}/x")).chain(["spBv1/0/G/NDATA/N".into(), "ä".repeat(300)]);
        let counts: Vec<u64> = topics.chain(["a/3".into(), "a/3/y".into()]).map(|t| unrouted.came(&t, 5)).collect();
        assert_eq!(counts[counts.len() - 2..], [2, 3]);
        let rows = unrouted.rows(5);
        assert_eq!((rows.len(), rows.iter().map(|row| row.messages).sum::<u64>()), (PREFIXES, 44));
    }
}
