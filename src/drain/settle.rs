//! Settling: what the evidence of an answer says about each entry. Pure.
//!
//! A 200 may be empty, partial, or another server's page, and the SDK calls it a success. So an entry is accepted only
//! when its id is exactly once among the successful and not among the failed; refused only the other way round. All
//! else is ambiguous: maybe accepted, and to be sent again with the same ids.

use crate::sqs::{Answer, SendOutcome};

/// What is known of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The queue has it.
    Accepted {
        /// The answer carried another body's MD5: only possible on a resend, where what a deduplicated answer carries
        /// is undocumented; counted, not fought.
        md5_differs: bool,
    },
    /// The queue said no.
    Refused {
        /// The service's code.
        code: String,
        /// The service's text.
        text: String,
    },
    /// Maybe accepted.
    Ambiguous,
    /// Certainly not accepted: the request never left.
    NotSent,
}

/// Judges `count` entries by what came back. `resent` tells whether the entry at an index was attempted before.
pub fn judge(count: usize, outcome: &SendOutcome, resent: impl Fn(usize) -> bool) -> Vec<Verdict> {
    match outcome {
        SendOutcome::Answer(answer) => (0..count).map(|index| judge_entry(index, answer, resent(index))).collect(),
        SendOutcome::Fault(fault) => {
            let verdict = if fault.never_sent { Verdict::NotSent } else { Verdict::Ambiguous };
            vec![verdict; count]
        }
    }
}

fn judge_entry(index: usize, answer: &Answer, resent: bool) -> Verdict {
    let mut accepted = answer.accepted.iter().filter(|entry| entry.index == index);
    let mut refused = answer.refused.iter().filter(|entry| entry.index == index);
    match (accepted.next(), refused.next(), accepted.next().is_none() && refused.next().is_none()) {
        (Some(entry), None, true) if entry.md5_matches || resent => {
            Verdict::Accepted { md5_differs: !entry.md5_matches }
        }
        (None, Some(entry), true) => Verdict::Refused { code: entry.code.clone(), text: entry.text.clone() },
        _ => Verdict::Ambiguous,
    }
}

/// Inversions in a batch: entries of a group that were accepted although an earlier one of the group was not. `groups`
/// are the entries' groups in the order of the batch.
pub fn inversions(groups: &[&str], verdicts: &[Verdict]) -> usize {
    let accepted = |index: usize| matches!(verdicts[index], Verdict::Accepted { .. });
    let overtook = |index: usize| (0..index).any(|before| groups[before] == groups[index] && !accepted(before));
    (0..groups.len()).filter(|index| accepted(*index) && overtook(*index)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqs::{AcceptedEntry, Fault, FaultClass, RefusedEntry};
    use proptest::prelude::*;

    fn yes(index: usize) -> AcceptedEntry {
        AcceptedEntry { index, md5_matches: true, sequence_number: None }
    }

    fn no(index: usize) -> RefusedEntry {
        RefusedEntry { index, code: "InternalError".into(), text: String::new() }
    }

    proptest! {
        #[test]
        fn only_an_id_named_exactly_once_is_evidence(
            accepted in prop::collection::vec(0usize..12, 0..12),
            refused in prop::collection::vec(0usize..12, 0..12),
        ) {
            let answer = Answer {
                accepted: accepted.iter().map(|index| yes(*index)).collect(),
                refused: refused.iter().map(|index| no(*index)).collect(),
                strangers: 0,
            };
            let verdicts = judge(10, &SendOutcome::Answer(answer), |_| false);
            for (index, verdict) in verdicts.iter().enumerate() {
                let named = (accepted.iter().filter(|a| **a == index).count(), refused.iter().filter(|r| **r == index).count());
                match named {
                    (1, 0) => prop_assert_eq!(verdict, &Verdict::Accepted { md5_differs: false }),
                    (0, 1) => prop_assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}"),
                    _ => prop_assert_eq!(verdict, &Verdict::Ambiguous),
                }
            }
        }
    }

    #[test]
    fn empty_answers_accept_nothing_and_foreign_md5_only_first_attempts() {
        assert_eq!(
            judge(2, &SendOutcome::Answer(Answer::default()), |_| false),
            [Verdict::Ambiguous, Verdict::Ambiguous]
        );
        let foreign = AcceptedEntry { md5_matches: false, ..yes(0) };
        let outcome = SendOutcome::Answer(Answer { accepted: vec![foreign], ..Answer::default() });
        assert_eq!(judge(1, &outcome, |_| false), [Verdict::Ambiguous]);
        assert_eq!(judge(1, &outcome, |_| true), [Verdict::Accepted { md5_differs: true }]);
    }

    #[test]
    fn a_failed_call_is_ambiguous_unless_it_never_left() {
        let fault = |never_sent| {
            SendOutcome::Fault(Fault {
                class: FaultClass::Link,
                code: None,
                text: String::new(),
                remedy: String::new(),
                never_sent,
                retry_after: None,
            })
        };
        assert_eq!(judge(1, &fault(false), |_| false), [Verdict::Ambiguous]);
        assert_eq!(judge(1, &fault(true), |_| false), [Verdict::NotSent]);
    }

    #[test]
    fn acceptance_behind_a_groups_failed_record_counts_as_inversion() {
        let yes = Verdict::Accepted { md5_differs: false };
        let verdicts = [yes.clone(), Verdict::Ambiguous, yes.clone(), yes];
        assert_eq!(inversions(&["a", "a", "b", "a"], &verdicts), 1);
    }
}
