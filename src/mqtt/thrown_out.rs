//! How often the broker closed a connection of ours and took us back at once. Pure.
//!
//! A broker does so when a second client comes with our client id: each throws the other out. A broker that restarts is away in
//! between, and a link that breaks does not end in an orderly way.

use std::collections::VecDeque;

/// Milliseconds for which one is remembered: longer than clients take between two attempts.
const LATELY_MS: u64 = 10 * 60 * 1000;
/// So many are told apart.
const MOST: usize = 64;

/// When it happened of late, in milliseconds since boot.
#[derive(Debug, Default)]
pub(super) struct ThrownOut {
    at_ms: VecDeque<u64>,
    /// The last connection was closed by the broker, and no attempt has failed since.
    closed: bool,
}

impl ThrownOut {
    /// A connection ended or an attempt failed; `closed`: the broker closed the connection.
    pub(super) fn ended(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// The broker took us.
    pub(super) fn connected(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.closed) {
            self.at_ms.push_back(now_ms);
            if self.at_ms.len() > MOST {
                self.at_ms.pop_front();
            }
        }
    }

    /// How often of late.
    pub(super) fn count(&self, now_ms: u64) -> u64 {
        self.at_ms.iter().filter(|at_ms| now_ms.saturating_sub(**at_ms) < LATELY_MS).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_disconnections_with_immediate_return_count() {
        let mut thrown_out = ThrownOut::default();
        thrown_out.connected(0);
        thrown_out.ended(true);
        thrown_out.connected(1000);
        thrown_out.ended(true);
        thrown_out.ended(false);
        thrown_out.connected(2000);
        assert_eq!(thrown_out.count(2000), 1, "a broker that was away in between");
        assert_eq!(thrown_out.count(1000 + LATELY_MS), 0);
        for n in 0..1000 {
            thrown_out.ended(true);
            thrown_out.connected(n);
        }
        assert_eq!(thrown_out.count(1000), MOST as u64);
    }
}
