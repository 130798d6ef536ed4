//! What fuzzers run: one target per reader of bytes that are not ours. The agent never depends on it; it reaches the agent's
//! inside by the doors in `tidegate::internals`.
//!
//! A target takes any bytes and panics where a promise is broken; that is all a fuzzer needs. `fuzz/` makes a libFuzzer
//! binary of each, `scripts/fuzz.sh` builds and runs them. Seeds are made from what is in the tree (samples, the shipped
//! configuration, the released journal), so that a fuzzer starts behind the first checks; the tests here run every
//! target on its seeds, and on seeds that were cut and flipped, at each change.

#![forbid(unsafe_code)]

mod answers;
mod canned_sender;
mod config;
mod journal;
mod records;
mod requests;
mod scratch;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One reader, and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on a command line; also the name of its binary.
    pub name: &'static str,
    /// Takes any bytes. Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "codec", run: records::codec, seeds: records::codec_seeds },
    Target { name: "config", run: config::run, seeds: config::seeds },
    Target { name: "profiles", run: records::profiles, seeds: records::profile_seeds },
    Target { name: "journal_files", run: journal::files, seeds: journal::file_seeds },
    Target { name: "journal_parsers", run: journal::parsers, seeds: journal::parser_seeds },
    Target { name: "status_requests", run: requests::run, seeds: requests::seeds },
    Target { name: "answers", run: answers::run, seeds: answers::seeds },
];

/// The target of that name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("{name} is no fuzz target"))
}

/// Locks a mutex, also after a target panicked while holding it: a test runs the target again, to find a shorter input.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A seed of a target, cut and flipped.
    fn near_a_seed(target: Target) -> impl Strategy<Value = Vec<u8>> {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        let flips = prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..6);
        (prop::sample::select(seeds), flips, any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(mut bytes, flips, end, cut)| {
                if cut {
                    bytes.truncate(end.index(bytes.len() + 1));
                }
                let length = bytes.len();
                for (at, flip) in flips.into_iter().filter(|_| length > 0) {
                    bytes[at.index(length)] ^= flip;
                }
                bytes
            },
        )
    }

    fn try_target(name: &str, cases: u32) {
        let target = *target(name);
        (target.seeds)().iter().for_each(|seed| (target.run)(seed));
        (target.run)(b"");
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
        let tried = runner.run(&near_a_seed(target), |bytes| {
            (target.run)(&bytes);
            Ok(())
        });
        tried.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
    }

    #[test]
    fn envelopes_of_any_bytes_are_judged() {
        try_target("codec", 256);
    }

    #[test]
    fn any_configuration_is_read_or_refused_in_its_place() {
        try_target("config", 256);
    }

    #[test]
    fn any_message_becomes_a_record_and_a_legal_entry() {
        try_target("profiles", 256);
    }

    #[test]
    fn a_journal_opens_with_any_content_in_its_files() {
        try_target("journal_files", 16);
    }

    #[test]
    fn the_journals_readers_take_any_bytes() {
        try_target("journal_parsers", 256);
    }

    #[test]
    fn any_request_gets_an_answer_of_http_or_none() {
        try_target("status_requests", 256);
    }

    #[test]
    fn any_answer_of_a_queue_is_evidence_and_no_more() {
        try_target("answers", 64);
    }
}
