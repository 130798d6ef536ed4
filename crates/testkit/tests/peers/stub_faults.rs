//! Each fault of the plan, seen through the SDK: what the answer tells the client, and what really became of the entries.

use crate::support::{QUEUE, client, entry, send, stub};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::fake_sqs::{AccessKey, Fault, SqsStub, StubOptions, Telling, When};
use tokio::time::{Instant, timeout};

/// How a failed call looks to the client.
#[derive(PartialEq, Debug)]
enum Seen {
    /// The service said so, with or without a code.
    Service(u16, Option<String>),
    /// The connection broke before an answer.
    Dispatch,
    /// An answer that cannot be read.
    Response,
}

async fn try_three(stub: &SqsStub) -> Result<SendMessageBatchOutput, Seen> {
    let (client, url) = (client(stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    let entries = (0..3).map(|i| entry(&i.to_string(), "g", &format!("d{i}"), "x")).collect();
    send(&client, &url, entries).await.map_err(|error| match &error {
        SdkError::ServiceError(service) => {
            Seen::Service(service.raw().status().as_u16(), error.code().map(ToOwned::to_owned))
        }
        SdkError::DispatchFailure(_) => Seen::Dispatch,
        SdkError::ResponseError(_) => Seen::Response,
        other => panic!("{other:?}"),
    })
}

/// Injects `fault` once, and gives what the client saw and how many entries were accepted.
async fn inject(fault: Fault) -> (Result<SendMessageBatchOutput, Seen>, u64) {
    let stub = stub();
    let name = fault.name();
    stub.faults().push(fault, When::Next(1));
    let seen = try_three(&stub).await;
    assert_eq!(stub.faults().fired_of(name), 1, "{name} must have fired");
    let accepted = stub.counters(QUEUE).accepted;
    let healthy = try_three(&stub).await.expect("the call after the fault");
    assert_eq!(healthy.successful.len(), 3);
    assert_eq!(stub.counters(QUEUE).accepted, 3, "a resend with the same ids is absorbed");
    assert_eq!(stub.unexpected(), Vec::<String>::new());
    (seen, accepted)
}

fn service(status: u16, code: &str) -> Seen {
    Seen::Service(status, Some(code.into()))
}

#[tokio::test]
async fn refusals_carry_their_code_and_accept_nothing() {
    let throttled = Fault::Throttle { code: "RequestThrottled", retry_after_ms: Some(700) };
    let cases = [
        (throttled, service(400, "AWS.SimpleQueueService.RequestThrottled")),
        (Fault::Throttle { code: "ThrottlingException", retry_after_ms: None }, service(400, "ThrottlingException")),
        (Fault::ServerError { status: 503, body: true }, service(503, "InternalFailure")),
        (Fault::ServerError { status: 500, body: false }, Seen::Service(500, None)),
        (Fault::Refuse { code: "ExpiredToken", status: 403 }, service(403, "ExpiredToken")),
        (Fault::Refuse { code: "AccessDenied", status: 400 }, service(400, "AccessDenied")),
        (Fault::Html { status: 200 }, Seen::Service(200, None)),
        (Fault::Html { status: 403 }, Seen::Service(403, None)),
        (Fault::DropRequest, Seen::Dispatch),
    ];
    for (fault, expected) in cases {
        let (seen, accepted) = inject(fault).await;
        assert_eq!((seen.unwrap_err(), accepted), (expected, 0));
    }
}

#[tokio::test]
async fn an_error_code_is_told_in_each_way_of_sqs() {
    for telling in Telling::ALL {
        let (seen, accepted) = inject(Fault::RefuseAs { code: "KMS.DisabledException", status: 400, telling }).await;
        assert_eq!((seen.unwrap_err(), accepted), (service(400, "KMS.DisabledException"), 0), "{telling:?}");
    }
}

#[tokio::test]
async fn an_answer_lost_after_acceptance_looks_like_a_failure() {
    for (fault, expected) in [(Fault::AcceptThenDrop, Seen::Dispatch), (Fault::Truncated, Seen::Response)] {
        let (seen, accepted) = inject(fault).await;
        assert_eq!((seen.unwrap_err(), accepted), (expected, 3));
    }
}

#[tokio::test]
async fn an_empty_200_looks_like_success_whether_accepted_or_not() {
    for (fault, really) in [(Fault::EmptyOk, 0), (Fault::AcceptThenEmpty, 3)] {
        let (seen, accepted) = inject(fault).await;
        let answer = seen.unwrap();
        assert_eq!((answer.successful.len(), answer.failed.len(), accepted), (0, 0, really));
    }
}

#[tokio::test]
async fn entries_are_omitted_doubled_failed_or_given_wrong_md5s() {
    let ids = |answer: &SendMessageBatchOutput| answer.successful.iter().map(|s| s.id.clone()).collect::<Vec<_>>();
    let (seen, accepted) = inject(Fault::MissingEntry(1)).await;
    assert_eq!((ids(&seen.unwrap()), accepted), (vec!["0".into(), "2".into()], 3));
    let (seen, accepted) = inject(Fault::RepeatedEntry(2)).await;
    assert_eq!((ids(&seen.unwrap()), accepted), (vec!["0".into(), "1".into(), "2".into(), "2".into()], 3));
    let (seen, accepted) = inject(Fault::FailEntry { index: 0, code: "InternalError", sender_fault: false }).await;
    let answer = seen.unwrap();
    assert_eq!(
        (answer.failed[0].code.as_str(), ids(&answer), accepted),
        ("InternalError", vec!["1".into(), "2".into()], 2)
    );
    let (seen, _) = inject(Fault::WrongMd5(1)).await;
    let answer = seen.unwrap();
    assert_eq!(answer.successful[0].md5_of_message_body, answer.successful[2].md5_of_message_body);
    assert_ne!(answer.successful[0].md5_of_message_body, answer.successful[1].md5_of_message_body);
}

#[tokio::test]
async fn halves_strangers_and_two_minds_lie_about_what_was_accepted() {
    let ids = |answer: &SendMessageBatchOutput| answer.successful.iter().map(|s| s.id.clone()).collect::<Vec<_>>();
    for (fault, named) in [
        (Fault::HalfMissing, vec!["0", "1"]),
        (Fault::Reversed, vec!["2", "1", "0"]),
        (Fault::Strangers, vec!["stranger-0", "stranger-1", "stranger-2"]),
        (Fault::TwoMinds(1), vec!["0", "1", "2"]),
    ] {
        let two_minds = fault.name() == "two minds";
        let (seen, accepted) = inject(fault).await;
        let answer = seen.unwrap();
        assert_eq!((ids(&answer), accepted), (named.into_iter().map(String::from).collect(), 3));
        assert_eq!(
            answer.failed.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(),
            if two_minds { vec!["1"] } else { vec![] }
        );
    }
}

#[tokio::test]
async fn a_patient_client_reads_long_and_slow_answers_not_garbage() {
    let (seen, accepted) = inject(Fault::Garbage).await;
    assert_eq!((seen.unwrap_err(), accepted), (Seen::Service(200, None), 3));
    for fault in [Fault::Huge(2 << 20), Fault::Drip(Duration::from_micros(10))] {
        let (seen, accepted) = inject(fault).await;
        assert_eq!((seen.unwrap().successful.len(), accepted), (3, 3));
    }
}

#[tokio::test]
async fn answers_can_be_endless_and_accepted_calls_can_hang() {
    for fault in [Fault::Endless, Fault::AcceptThenHang] {
        let stub = stub();
        stub.faults().push(fault, When::Next(1));
        assert!(timeout(Duration::from_millis(100), try_three(&stub)).await.is_err());
        assert_eq!(stub.counters(QUEUE).accepted, 3);
        stub.faults().clear();
        try_three(&stub).await.expect("the call after the fault");
    }
}

#[tokio::test]
async fn a_hanging_call_hangs_until_the_plan_is_cleared() {
    let stub = stub();
    stub.faults().push(Fault::Hang, When::Always);
    let call = try_three(&stub);
    tokio::pin!(call);
    assert!(timeout(Duration::from_millis(300), &mut call).await.is_err());
    stub.faults().clear();
    assert_eq!(timeout(Duration::from_secs(5), call).await.unwrap().unwrap_err(), Seen::Dispatch);
    assert_eq!(stub.counters(QUEUE).received, 0);
}

#[tokio::test]
async fn slow_answers_and_latency_take_their_time() {
    let delay = Duration::from_millis(200);
    let stub = stub();
    stub.faults().push(Fault::Slow(delay), When::Next(1));
    for _ in 0..2 {
        let started = Instant::now();
        try_three(&stub).await.unwrap();
        assert!(started.elapsed() >= delay);
        stub.set_latency(delay);
    }
}

#[tokio::test]
async fn a_closed_stub_refuses_and_comes_back_with_its_queues() {
    let mut stub = stub();
    try_three(&stub).await.unwrap();
    stub.close().await;
    assert_eq!(try_three(&stub).await.unwrap_err(), Seen::Dispatch);
    stub.open().unwrap();
    try_three(&stub).await.unwrap();
    assert_eq!((stub.counters(QUEUE).accepted, stub.counters(QUEUE).absorbed), (3, 3));
}

#[tokio::test]
async fn a_connection_ends_only_once_the_stub_read_everything() {
    let stub = SqsStub::start(StubOptions::default()).unwrap();
    let moment = Duration::from_millis(50);
    let connection = tokio::net::TcpStream::connect(stub.endpoint().trim_start_matches("http://")).await.unwrap();
    let ports = BTreeSet::from([connection.local_addr().unwrap().port()]);
    assert!(stub.ended(&ports, moment).await.is_err(), "it is open");
    drop(connection);
    stub.ended(&ports, Duration::from_secs(30)).await.unwrap();
    assert!(stub.ended(&BTreeSet::from([1]), moment).await.is_err(), "no connection came from that port");
}
