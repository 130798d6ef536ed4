//! The stub as a healthy service: order, deduplication, limits, keys and permissions, seen through the SDK.

use crate::support::{QUEUE, attribute, client, entry, refusal, send, stub};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use std::time::{Duration, Instant};
use testkit::consumer::Consumer;
use testkit::fake_sqs::{AccessKey, Allowed, Fate, QueueOptions, SqsStub, StubOptions};

fn consumer(stub: &SqsStub) -> Consumer {
    Consumer::new(&stub.endpoint(), stub.region(), &AccessKey::consumer(), &stub.queue_url(QUEUE))
}

#[tokio::test]
async fn a_consumer_gets_each_group_whole_and_in_order() {
    let stub = stub();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    for batch in 0..5 {
        let entries = (0..10).map(|i| {
            let (id, n) = (i.to_string(), batch * 10 + i);
            let mut entry = entry(&id, &format!("g{}", i % 3), &format!("d{n}"), &format!("body {n}"));
            entry.message_attributes = Some([("ce-id".to_owned(), attribute(&format!("d{n}")))].into());
            entry
        });
        let sent = send(&client, &url, entries.collect()).await.unwrap();
        assert_eq!((sent.successful.len(), sent.failed.len()), (10, 0));
    }
    let mut consumer = consumer(&stub);
    let delivered = consumer.read_until(50, Duration::from_secs(20)).await.unwrap();
    for group in ["g0", "g1", "g2"] {
        let order: Vec<u32> = (delivered.iter())
            .filter(|d| d.group.as_deref() == Some(group))
            .map(|d| d.body.strip_prefix("body ").unwrap().parse().unwrap())
            .collect();
        assert!(order.is_sorted() && !order.is_empty(), "{group}: {order:?}");
    }
    assert!(delivered.iter().all(|d| d.attributes["ce-id"] == *d.dedup.as_ref().unwrap()));
    let mut by_number = delivered.to_vec();
    by_number.sort_by(|a, b| a.sequence_number.cmp(&b.sequence_number));
    assert_eq!(by_number, stub.accepted(QUEUE), "the log tells what a consumer sees");
    assert_eq!(stub.depth(QUEUE), 0);
    assert_eq!(stub.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn a_resend_is_absorbed_only_within_five_minutes() {
    let stub = stub();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    let again = || send(&client, &url, vec![entry("0", "g", "id", "x")]);
    again().await.unwrap();
    let mut consumer = consumer(&stub);
    consumer.read_until(1, Duration::from_secs(10)).await.unwrap();
    stub.advance(Duration::from_secs(4 * 60));
    assert_eq!(again().await.unwrap().successful.len(), 1);
    let counters = stub.counters(QUEUE);
    assert_eq!((counters.received, counters.accepted, counters.absorbed), (2, 1, 1));
    stub.advance(Duration::from_secs(61));
    again().await.unwrap();
    let fates: Vec<bool> = stub.log(QUEUE).iter().map(|a| matches!(a.fate, Fate::Accepted(_))).collect();
    assert_eq!(fates, [true, false, true]);
    assert_eq!(consumer.read_until(2, Duration::from_secs(10)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_ends_a_whole_request_leaves_nothing_accepted() {
    let stub = stub();
    stub.create_queue("plain", QueueOptions::standard()).unwrap();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    let good = || entry("good", "g", "good", "x");
    let bent = |bend: &dyn Fn(&mut SendMessageBatchRequestEntry)| {
        let mut entry = entry("1", "g", "d", "x");
        bend(&mut entry);
        vec![good(), entry]
    };
    let many = (0..11).map(|i| entry(&i.to_string(), "g", &i.to_string(), "x")).collect();
    let half = "x".repeat(1 << 19);
    let attributes = |name: &str, value: &str, count: usize| {
        Some((0..count).map(|i| (format!("{name}{i}"), attribute(value))).collect())
    };
    let cases = [
        (vec![], "EmptyBatchRequest"),
        (many, "TooManyEntriesInBatchRequest"),
        (bent(&|e| e.id = "good".into()), "BatchEntryIdsNotDistinct"),
        (bent(&|e| e.id = "a b".into()), "InvalidBatchEntryId"),
        (vec![entry("0", "g", "a", &half), entry("1", "g", "b", &half), good()], "BatchRequestTooLong"),
        (bent(&|e| e.message_group_id = None), "MissingParameter"),
        (bent(&|e| e.message_deduplication_id = None), "InvalidParameterValue"),
        (bent(&|e| e.message_group_id = Some("a b".into())), "InvalidParameterValue"),
        (bent(&|e| e.message_deduplication_id = Some("x".repeat(129))), "InvalidParameterValue"),
        (bent(&|e| e.message_body = String::new()), "MissingParameter"),
        (bent(&|e| e.message_attributes = attributes("a", "v", 11)), "InvalidParameterValue"),
        (bent(&|e| e.message_attributes = attributes("a", "", 1)), "InvalidParameterValue"),
        (bent(&|e| e.message_attributes = attributes("AWS.a", "v", 1)), "InvalidParameterValue"),
    ];
    for (entries, code) in cases {
        let got = refusal(&client, &url, entries).await;
        assert_eq!(got.trim_start_matches("AWS.SimpleQueueService."), code);
    }
    let plain = stub.queue_url("plain");
    assert_eq!(refusal(&client, &plain, vec![good()]).await, "InvalidParameterValue", "deduplication id on Standard");
    let missing = stub.queue_url("nowhere.fifo");
    assert_eq!(refusal(&client, &missing, vec![good()]).await, "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!((stub.counters(QUEUE), stub.counters("plain")), Default::default());
    assert_eq!(stub.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn bytes_are_counted_with_attributes_and_to_the_last_one() {
    let stub = stub();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    // Two bytes per character, and name, type and value of one attribute: 1 + 6 + 3.
    let mut full = entry("0", "g", "full", &"\u{e9}".repeat(((1 << 20) - 10) / 2));
    full.message_attributes = Some([("a".to_owned(), attribute("123"))].into());
    let mut over = full.clone();
    over.message_attributes = Some([("a".to_owned(), attribute("1234"))].into());
    assert!(refusal(&client, &url, vec![over]).await.ends_with("BatchRequestTooLong"));
    assert_eq!(send(&client, &url, vec![full]).await.unwrap().successful.len(), 1);
}

#[tokio::test]
async fn bad_contents_and_excess_size_fail_only_their_entry() {
    let stub = stub();
    stub.create_queue("small.fifo", QueueOptions { max_message_bytes: 1024, ..QueueOptions::fifo() }).unwrap();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url("small.fifo"));
    let entries = vec![
        entry("a", "g", "a", "fine"),
        entry("b", "g", "b", "bad \u{1} character"),
        entry("c", "g", "c", &"x".repeat(1025)),
        entry("d", "g", "d", &"x".repeat(1024)),
    ];
    let answer = send(&client, &url, entries).await.unwrap();
    let ids: Vec<_> = answer.successful.iter().map(|s| s.id.as_str()).collect();
    let failed: Vec<_> = answer.failed.iter().map(|f| (f.id.as_str(), f.code.as_str())).collect();
    assert_eq!(ids, ["a", "d"]);
    assert_eq!(failed, [("b", "InvalidMessageContents"), ("c", "InvalidParameterValue")]);
    let counters = stub.counters("small.fifo");
    assert_eq!((counters.received, counters.accepted, counters.refused), (4, 2, 2));
}

#[tokio::test]
async fn md5s_are_those_of_body_and_attributes() {
    let stub = stub();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    let mut message = entry("0", "g", "d", "hello");
    message.message_attributes = Some([("a".to_owned(), attribute("v"))].into());
    let answer = send(&client, &url, vec![message]).await.unwrap();
    let accepted = &answer.successful[0];
    assert_eq!(accepted.md5_of_message_body, "5d41402abc4b2a76b9719d911017c592");
    assert!(accepted.md5_of_message_attributes.is_some() && accepted.sequence_number.is_some());
}

#[tokio::test]
async fn keys_secrets_clocks_and_permissions_are_told_apart() {
    let mut stub = stub();
    let url = stub.queue_url(QUEUE);
    let code = async |stub: &SqsStub, key: AccessKey| {
        refusal(&client(stub, &key), &url, vec![entry("0", "g", "d", "x")]).await
    };
    let agent = AccessKey::agent();
    assert_eq!(code(&stub, AccessKey::new("AKIANOBODY", "x", Allowed::All)).await, "InvalidClientTokenId");
    assert_eq!(code(&stub, AccessKey { secret: "wrong".into(), ..agent.clone() }).await, "SignatureDoesNotMatch");
    assert_eq!(code(&stub, AccessKey { token: Some("t".into()), ..agent.clone() }).await, "InvalidClientTokenId");
    for skew in [16 * 60, -16 * 60] {
        stub.skew(skew);
        assert_eq!(code(&stub, agent.clone()).await, "InvalidSignatureException");
    }
    stub.skew(14 * 60);
    send(&client(&stub, &agent), &url, vec![entry("0", "g", "d", "x")]).await.unwrap();
    stub.skew(0);
    stub.set_key(AccessKey { allowed: Allowed::Nothing, ..agent.clone() });
    assert_eq!(code(&stub, agent.clone()).await, "AccessDenied");
    stub.set_key(agent.clone());
    let received = client(&stub, &agent).receive_message().queue_url(&url).send().await;
    assert_eq!(received.unwrap_err().code(), Some("AccessDenied"));
    assert_eq!(stub.denied(), ["SendMessageBatch", "ReceiveMessage"]);
    let foreign = testkit::consumer::plain_client(&stub.endpoint(), "us-east-1", &agent);
    assert_eq!(refusal(&foreign, &url, vec![entry("0", "g", "e", "x")]).await, "SignatureDoesNotMatch");
    stub.close().await;
}

#[tokio::test]
async fn one_refusal_teaches_the_sdk_the_services_clock() {
    let stub = stub();
    stub.skew(40 * 60);
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    assert_eq!(refusal(&client, &url, vec![entry("0", "g", "d", "x")]).await, "InvalidSignatureException");
    send(&client, &url, vec![entry("0", "g", "d", "x")]).await.unwrap();
}

#[tokio::test]
async fn a_call_unknown_to_the_stub_is_refused_and_recorded() {
    let stub = stub();
    let (client, url) = (client(&stub, &AccessKey::consumer()), stub.queue_url(QUEUE));
    assert!(client.get_queue_attributes().queue_url(&url).send().await.is_err());
    let delayed = client.send_message().queue_url(&url).message_body("x").delay_seconds(5).send().await;
    assert!(delayed.is_err());
    let unexpected = stub.unexpected();
    assert_eq!(unexpected.len(), 2, "{unexpected:?}");
    assert!(unexpected[0].contains("GetQueueAttributes") && unexpected[1].contains("DelaySeconds"), "{unexpected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stub_keeps_up_with_five_thousand_entries_a_second() {
    const CALLS: usize = 400;
    let options = QueueOptions { keep_messages: false, ..QueueOptions::fifo() };
    let stub = SqsStub::start(StubOptions { queues: vec![(QUEUE.into(), options)], ..StubOptions::default() }).unwrap();
    let (client, url) = (client(&stub, &AccessKey::agent()), stub.queue_url(QUEUE));
    let body = "x".repeat(900);
    let started = Instant::now();
    let flight = |lane: usize| {
        let (client, url, body) = (client.clone(), url.clone(), body.clone());
        tokio::spawn(async move {
            for call in 0..CALLS / 4 {
                let id = |i: usize| format!("{lane}.{call}.{i}");
                let entries = (0..10).map(|i| entry(&i.to_string(), &format!("g{lane}{i}"), &id(i), &body)).collect();
                send(&client, &url, entries).await.unwrap();
            }
        })
    };
    for task in (0..4).map(flight).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let rate = (CALLS * 10) as f64 / started.elapsed().as_secs_f64();
    assert_eq!(stub.counters(QUEUE).accepted as usize, CALLS * 10);
    // Client and stub share the machine with other tests: a fifth of what is required alone.
    assert!(rate > 1000.0, "{rate:.0} entries a second");
}
