//! What an answer says about each entry: its evidence, and nothing more.
//!
//! The SDK calls an empty 200 a success and compares neither ids nor checksums. So every id is looked up, what the batch
//! did not have is counted, what is repeated stays repeated, and what is missing stays missing: the judgement is the drain's.

use crate::sqs::classify::strip_prefix;
use crate::sqs::{AcceptedEntry, Answer, Entry, RefusedEntry};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use md5::{Digest, Md5};

/// The answer about `sent`.
pub(super) fn of(sent: &[Entry], output: &SendMessageBatchOutput) -> Answer {
    let mut answer = Answer::default();
    for entry in output.successful() {
        match index(entry.id(), sent.len()) {
            Some(index) => answer.accepted.push(AcceptedEntry {
                index,
                md5_matches: entry.md5_of_message_body().eq_ignore_ascii_case(&md5_hex(&sent[index].body)),
                sequence_number: entry.sequence_number().map(str::to_owned),
            }),
            None => answer.strangers += 1,
        }
    }
    for entry in output.failed() {
        match index(entry.id(), sent.len()) {
            Some(index) => answer.refused.push(RefusedEntry {
                index,
                code: crate::sqs::client::fault::clip(strip_prefix(entry.code())),
                text: crate::sqs::client::fault::clip(entry.message().unwrap_or_default()),
            }),
            None => answer.strangers += 1,
        }
    }
    answer
}

/// The index that an id stands for, exactly as it was written.
fn index(id: &str, count: usize) -> Option<usize> {
    match id.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')).filter(|index| *index < count),
        _ => None,
    }
}

fn md5_hex(body: &str) -> String {
    hex::encode(Md5::digest(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};
    use proptest::prelude::*;

    fn entry(body: &str) -> Entry {
        Entry {
            body: body.into(),
            attributes: Vec::new(),
            group: "g".into(),
            dedup: None,
            deadline: None,
            digest: Default::default(),
        }
    }

    fn accepted(id: &str, md5: &str) -> SendMessageBatchResultEntry {
        SendMessageBatchResultEntry::builder().id(id).message_id("m").md5_of_message_body(md5).build().unwrap()
    }

    fn refused(id: &str, code: &str) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).code(code).sender_fault(true).message("no\nway").build().unwrap()
    }

    fn output(yes: Vec<SendMessageBatchResultEntry>, no: Vec<BatchResultErrorEntry>) -> SendMessageBatchOutput {
        SendMessageBatchOutput::builder().set_successful(Some(yes)).set_failed(Some(no)).build().unwrap()
    }

    #[test]
    fn the_md5_of_the_body_is_lower_case_hex() {
        assert_eq!(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex("tidegate"), format!("{:032x}", u128::from_be_bytes(Md5::digest("tidegate").into())));
    }

    #[test]
    fn entries_answered_twice_stay_twice_and_strangers_are_counted() {
        let sent = [entry("a"), entry("b")];
        let answer = of(
            &sent,
            &output(
                vec![accepted("0", &md5_hex("a")), accepted("0", "bad"), accepted("2", ""), accepted("00", "")],
                vec![refused("0", "AWS.SimpleQueueService.InternalError"), refused("", "X"), refused("+1", "X")],
            ),
        );
        let yes: Vec<_> = answer.accepted.iter().map(|entry| (entry.index, entry.md5_matches)).collect();
        assert_eq!(yes, [(0, true), (0, false)]);
        let no = RefusedEntry { index: 0, code: "InternalError".into(), text: "no way".into() };
        assert_eq!((answer.refused, answer.strangers), (vec![no], 4));
    }

    proptest! {
        #[test]
        fn nothing_is_accepted_that_the_answer_does_not_name(ids in proptest::collection::vec("[0-9]{0,2}|.{0,3}", 0..14), count in 1usize..=10) {
            let sent = vec![entry("x"); count];
            let answer = of(&sent, &output(ids.iter().map(|id| accepted(id, "")).collect(), Vec::new()));
            let named: Vec<usize> = ids.iter().filter_map(|id| (0..count).find(|index| index.to_string() == *id)).collect();
            let indices: Vec<usize> = answer.accepted.iter().map(|entry| entry.index).collect();
            prop_assert_eq!(indices.len() + answer.strangers, ids.len());
            prop_assert_eq!(indices, named);
        }
    }
}
