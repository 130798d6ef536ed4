//! Target `answers`: whatever a queue, or something in its place, answers is evidence about the batch, and no more.

use crate::canned_sender::Canned;
use crate::scratch::scratch;
use serde_json::{Value, json};
use std::time::Duration;
use tidegate::config::CredentialsSource;
use tidegate::drain::settle::{Verdict, judge};
use tidegate::sqs::client::{SenderOptions, SqsSender};
use tidegate::sqs::entry::RecordDigest;
use tidegate::sqs::{BatchSender, Entry, Fault, SendOutcome};

const STATUSES: [u16; 8] = [200, 200, 400, 403, 413, 429, 500, 503];

/// A byte that chooses the status and whether a line for the header `x-amzn-query-error` comes first, a byte that says
/// how many entries were sent, then the body.
///
/// Our code and the SDK's take any answer. What was answered was sent. Nothing counts as accepted unless the answer says
/// so, of that entry alone and once. What is shown to people is one bounded line, and no answer makes us wait for long.
pub(super) fn run(input: &[u8]) {
    let [how, count, rest @ ..] = input else { return };
    let count = usize::from(count % 10) + 1;
    let mut answer = http::Response::builder().status(STATUSES[usize::from(how & 7)]);
    let mut body = rest;
    if how & 8 != 0
        && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        && let Ok(value) = http::HeaderValue::from_bytes(&rest[..end])
    {
        let name = if how & 16 != 0 { "retry-after" } else { "x-amzn-query-error" };
        answer = answer.header(name, value);
        body = &rest[end + 1..];
    }
    match ask(answer.body(body.to_vec()).expect("a response"), count) {
        SendOutcome::Fault(fault) => check_fault(&fault),
        outcome @ SendOutcome::Answer(_) => {
            assert_eq!(STATUSES[usize::from(how & 7)], 200);
            check_verdicts(&judge(count, &outcome, |_| true), body);
        }
    }
}

fn check_fault(fault: &Fault) {
    assert!(!fault.never_sent, "it was answered: {fault:?}");
    assert!(!fault.text.is_empty() && !fault.text.chars().any(char::is_control), "one line: {fault:?}");
    assert!(fault.text.chars().count() <= 2_000, "bounded: {fault:?}");
    assert!(fault.retry_after.is_none_or(|wait| wait <= Duration::from_secs(15 * 60)), "{fault:?}");
}

/// Held against another reader of JSON, where the two agree that it is JSON.
fn check_verdicts(verdicts: &[Verdict], body: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let named = |list: &str, id: &str| {
        let entries = value.get(list).and_then(Value::as_array).into_iter().flatten();
        entries.filter(|entry| entry["Id"] == *id).count()
    };
    for (index, verdict) in verdicts.iter().enumerate() {
        let id = index.to_string();
        let evidence = (named("Successful", &id), named("Failed", &id));
        match verdict {
            Verdict::Accepted { .. } => assert_eq!(evidence, (1, 0), "entry {id} was not accepted"),
            Verdict::Refused { .. } => assert_eq!(evidence, (0, 1), "entry {id} was not refused"),
            Verdict::Ambiguous => {}
            Verdict::NotSent => panic!("it was answered"),
        }
    }
}

fn ask(answer: http::Response<Vec<u8>>, count: usize) -> SendOutcome {
    thread_local! {
        static ASKED: (tokio::runtime::Runtime, SqsSender, Canned) = {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let answers = Canned::default();
            (runtime, answers.sender(&queue()), answers)
        };
    }
    let entry = |n: usize| Entry {
        body: format!("{{\"n\":{n}}}"),
        attributes: vec![("gateway", "roof".into())],
        group: format!("group-{n}"),
        dedup: Some(format!("dedup-{n}")),
        deadline: None,
        digest: RecordDigest::default(),
    };
    let entries: Vec<Entry> = (0..count).map(entry).collect();
    ASKED.with(|(runtime, sender, answers)| {
        answers.set(answer);
        runtime.block_on(sender.send(&entries))
    })
}

fn queue() -> SenderOptions {
    let file = scratch("answers").join("key.csv");
    std::fs::write(&file, "Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,not-a-secret\n")
        .expect("a file of credentials");
    SenderOptions {
        queue: "main".into(),
        url: "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo".into(),
        region: "eu-west-1".into(),
        endpoint: None,
        allow_plain_http: false,
        ca_file: None,
        credentials: CredentialsSource::CsvFile(file),
        max_in_flight: 4,
        connect_timeout: Duration::from_secs(10),
        attempt_timeout: Duration::from_secs(20),
        link_probe: true,
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let accepted = |id: &str| json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "0", "SequenceNumber": "18850"});
    let refused = |id: &str| json!({"Id": id, "Code": "InternalError", "SenderFault": false, "Message": "no"});
    let all: Vec<Value> = ["0", "1", "2"].map(accepted).into();
    let bodies: [(u8, String); 13] = [
        (0, json!({"Successful": all}).to_string()),
        (0, json!({"Successful": [accepted("0"), accepted("0")], "Failed": [refused("1")]}).to_string()),
        (0, json!({"Successful": [accepted("0")], "Failed": [refused("0"), refused("9")]}).to_string()),
        (0, json!({"Successful": null, "Failed": []}).to_string()),
        (0, json!({"Successful": [{"Id": "0"}, {"MessageId": "m"}, null]}).to_string()),
        (0, "{}".to_owned()),
        (0, String::new()),
        (0, "<html><body>Sign in to the hotel's network</body></html>".to_owned()),
        (2, json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}).to_string()),
        (2 | 8, "AWS.SimpleQueueService.BatchRequestTooLong;Sender\n{\"message\":\"max is 262144 bytes\"}".to_owned()),
        (7 | 8 | 16, "120\n{\"__type\":\"ThrottlingException\"}".to_owned()),
        // Found by the fuzzer: control characters in a code came through to what people are shown.
        (7, "{\"__type\":\"ltrtThoi\u{7f}gExceu-eption\"}".to_owned()),
        (3, json!({"__type": "InvalidClientTokenId", "Message": "a\nb\u{7}"}).to_string()),
    ];
    bodies.into_iter().map(|(how, body)| [&[how, 2], body.as_bytes()].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_acceptance_is_seen() {
        let body = json!({"Successful": [{"Id": "0"}, {"Id": "1"}, {"Id": "1"}], "Failed": [{"Id": "2"}]}).to_string();
        let yes = || Verdict::Accepted { md5_differs: false };
        let passes =
            |verdicts: &[Verdict]| std::panic::catch_unwind(|| check_verdicts(verdicts, body.as_bytes())).is_ok();
        assert!(passes(&[yes(), Verdict::Ambiguous, Verdict::Ambiguous]));
        for wrong in [1, 2, 3] {
            let mut verdicts = vec![yes(), Verdict::Ambiguous, Verdict::Ambiguous, Verdict::Ambiguous];
            verdicts[wrong] = yes();
            assert!(!passes(&verdicts), "entry {wrong}");
        }
    }
}
