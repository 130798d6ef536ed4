//! Answers, refusals and broken connections over plain HTTP.

use super::*;
use crate::sqs::limits::ANSWER_BYTES;
use crate::sqs::{Deadline, classify};
use FaultClass::*;

#[tokio::test]
async fn a_batch_is_sent_unchanged_and_every_named_entry_accepted() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let answer = answer(Site::new().sender(&server).send(&batch(10)).await);
    let wanted: Vec<_> = (0..10)
        .map(|index| AcceptedEntry { index, md5_matches: true, sequence_number: Some("18850".into()) })
        .collect();
    assert_eq!((answer.accepted, answer.refused, answer.strangers), (wanted, vec![], 0));
    let seen = &server.seen()[0];
    assert_eq!(seen.body["QueueUrl"], "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo");
    assert_eq!(seen.header("x-amz-target"), "AmazonSQS.SendMessageBatch");
    let authorization = seen.header("authorization");
    assert!(authorization.contains(KEY) && authorization.contains("/eu-west-1/sqs/"), "{authorization}");
    assert_eq!(
        seen.body["Entries"][3],
        json!({
            "Id": "3", "MessageBody": "{\"n\":3}", "MessageGroupId": "group-3", "MessageDeduplicationId": "dedup-3",
            "MessageAttributes": {"gateway": {"DataType": "String", "StringValue": "gé"}},
        })
    );
}

#[tokio::test]
async fn a_request_carries_only_headers_that_the_service_needs() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    answer(Site::new().sender(&server).send(&batch(1)).await);
    let seen = &server.seen()[0];
    let lines = seen.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut names: Vec<String> = lines.map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    let needed = [
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-amz-date",
        "x-amz-target",
        "x-amzn-query-mode",
    ];
    assert_eq!(names, needed);
    assert_eq!(seen.header("user-agent"), concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    let signed = "SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode,";
    assert!(seen.header("authorization").contains(signed), "{}", seen.head);
}

#[tokio::test]
async fn an_answer_is_taken_at_its_word_and_no_further() {
    let partial = json!({
        "Successful": [{"Id": "1", "MessageId": "m", "MD5OfMessageBody": "0"}, {"Id": "7", "MessageId": "m", "MD5OfMessageBody": "0"}],
        "Failed": [{"Id": "0", "Code": "InvalidMessageContents", "SenderFault": true, "Message": "bad"}],
    });
    let partial = partial.to_string();
    let server = Server::start(None, move |n, _| match n {
        0 => Reply::answer(200, "", &partial),
        1 => Reply::answer(200, "", ""),
        _ => Reply::answer(200, "", "{}"),
    })
    .await;
    let site = Site::new();
    let sender = site.sender(&server);
    let said = answer(sender.send(&batch(3)).await);
    assert_eq!(said.accepted, [AcceptedEntry { index: 1, md5_matches: false, sequence_number: None }]);
    assert_eq!(
        said.refused.iter().map(|entry| (entry.index, entry.code.as_str())).collect::<Vec<_>>(),
        [(0, "InvalidMessageContents")]
    );
    assert_eq!(said.strangers, 1);
    for _ in 0..2 {
        assert_eq!(answer(sender.send(&batch(3)).await), Answer::default(), "an empty 200 accepts nothing");
    }
}

#[tokio::test]
async fn a_refusal_is_classed_by_its_code_whatever_its_status() {
    for (status, code, class) in [
        (400, "AWS.SimpleQueueService.NonExistentQueue", WaitForConfiguration),
        (403, "AccessDenied", WaitForConfiguration),
        (400, "AccessDeniedException", WaitForConfiguration),
        (403, "InvalidClientTokenId", WaitForConfiguration),
        (400, "KMS.AccessDeniedException", WaitForConfiguration),
        (403, "SignatureDoesNotMatch", OnceMore),
        (403, "RequestThrottled", SlowDown),
        (400, "AWS.SimpleQueueService.BatchRequestTooLong", Shrink),
        (400, "AWS.SimpleQueueService.EmptyBatchRequest", Bug),
        (500, "InternalFailure", Link),
        (400, "NeverHeardOf", Unknown),
    ] {
        let fault = fault_of(Reply::refusal(status, code, "because of this")).await;
        assert_eq!((fault.class, fault.never_sent), (class, false), "{fault:?}");
        assert_eq!(fault.code.as_deref(), Some(classify::strip_prefix(code)));
        assert!(fault.text.contains("because of this"), "{}", fault.text);
    }
    let early =
        "Signature not yet current: 20360101T000000Z is still later than 20300101T000500Z (20300101T000000Z + 5 min.)";
    let of_clock = fault_of(Reply::refusal(403, "InvalidSignatureException", early)).await;
    assert!(of_clock.class == OnceMore && of_clock.remedy.contains("`timedatectl`"), "{of_clock:?}");
    let whole =
        fault_of(Reply::refusal(400, "InvalidParameterValue", "Message must be shorter than 2048 bytes.")).await;
    assert_eq!((whole.class, classify::learn_limit(&whole.text)), (Shrink, Some(2048)));
}

#[tokio::test]
async fn non_sqs_answers_are_link_faults_and_maybe_accepted() {
    let html = "content-type: text/html\r\n";
    let page = "<html>log in</html>";
    for (reply, class) in [
        (Reply::answer(200, html, page), Link),
        (Reply::answer(403, html, page), Link),
        (Reply::answer(302, "location: http://portal.test/\r\n", ""), Link),
        (Reply::answer(503, "", ""), Link),
        (Reply::answer(429, "", ""), SlowDown),
        (Reply::answer(413, html, page), Shrink),
        (Reply::Last("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"Successful\":[".into()), Link),
        (Reply::answer(200, "", &"x".repeat(ANSWER_BYTES + 1)), Link),
        (Reply::Last(String::new()), Link),
        (Reply::Last("220 smtp\r\n".into()), Link),
    ] {
        let shown = format!("{reply:.80?}");
        let fault = fault_of(reply).await;
        assert_eq!((fault.class, fault.code.clone(), fault.never_sent), (class, None, false), "{shown}: {fault:?}");
        assert!(!fault.text.is_empty() && !fault.text.contains('\n'), "{shown}: {fault:?}");
    }
}

#[tokio::test]
async fn no_attempt_is_retried_and_the_next_one_dials_anew() {
    let server = Server::start(None, |n, request| match n {
        0 => Reply::Last(String::new()),
        1 => Reply::refusal(500, "InternalFailure", ""),
        _ => accept_all(request),
    })
    .await;
    let site = Site::new();
    let sender = site.sender(&server);
    assert_eq!(fault(sender.send(&batch(1)).await).class, Link);
    assert_eq!(fault(sender.send(&batch(1)).await).class, Link);
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections.len(), 4, "one request per attempt");
    assert_ne!(connections[0], connections[1]);
    assert_eq!(connections[2], connections[3], "a good connection is used again");
}

#[tokio::test]
async fn a_stalled_answer_ends_its_connection_at_the_attempts_limit() {
    let server = Server::start(None, |n, request| if n == 0 { Reply::Stall } else { accept_all(request) }).await;
    let site = Site::new();
    let sender = site.sender_with(&server, |queue| queue.attempt_timeout = Duration::from_millis(700));
    let stalled = fault(sender.send(&batch(1)).await);
    assert_eq!((stalled.class, stalled.never_sent), (Link, false), "{stalled:?}");
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[test]
fn a_larger_batch_has_more_time() {
    let base = Duration::from_secs(10);
    assert_eq!(attempt_limit(base, 0), base);
    assert_eq!(attempt_limit(base, 64 * 1024), base + Duration::from_secs(32));
}

#[tokio::test]
async fn faults_tell_unsent_requests_from_possibly_sent_ones() {
    let site = Site::new();
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for endpoint in
        [format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{port}"), "https://no-such-host.invalid".into()]
    {
        let sender = SqsSender::through(ProxySettings::default(), &site.queue(&endpoint), &site.clock).unwrap();
        let fault = fault(sender.send(&batch(1)).await);
        assert_eq!((fault.class, fault.never_sent), (Link, true), "{endpoint}: {fault:?}");
        let host = endpoint.split_once("//").unwrap().1;
        assert!(fault.text.starts_with(&format!("cannot connect: {host}: ")), "{fault:?}");
    }
}

#[tokio::test]
async fn missing_credentials_files_wait_and_new_ones_are_used_immediately() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    std::fs::remove_file(site.key_file()).unwrap();
    let sender = site.sender(&server);
    let missing = fault(sender.send(&batch(1)).await);
    assert_eq!((missing.class, missing.never_sent), (WaitForConfiguration, true), "{missing:?}");
    assert!(missing.text.contains("key.csv") && !missing.remedy.is_empty(), "{missing:?}");
    site.file("key.csv", "Access key ID,Secret\n");
    let broken = fault(sender.send(&batch(1)).await);
    assert!(broken.text.contains("Secret access key"), "{broken:?}");
    site.install_key(KEY);
    assert!(sender.has_new_credentials());
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(!sender.has_new_credentials());
    sender.reload();
    assert!(sender.has_new_credentials());
    site.install_key("AKIAROTATED000000000");
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(server.seen()[1].header("authorization").contains("AKIAROTATED000000000"));
}

#[tokio::test]
async fn the_skew_of_the_clock_is_learnt_from_the_refusal() {
    let server = Server::start(None, |n, request| match n {
        0 => {
            let Reply::Bytes(refusal) = Reply::refusal(403, "SignatureDoesNotMatch", "Signature expired") else {
                unreachable!()
            };
            Reply::Bytes(refusal.replacen("\r\n", "\r\ndate: Tue, 23 Nov 2027 12:00:00 GMT\r\n", 1))
        }
        _ => accept_all(request),
    })
    .await;
    let site = Site::new();
    let sender = site.sender(&server);
    assert_eq!(fault(sender.send(&batch(1)).await).class, OnceMore);
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    let signed = server.seen()[1].header("x-amz-date").to_owned();
    assert!(("20271123T115500Z".."20271123T120500Z").contains(&signed.as_str()), "{signed}");
    assert_eq!(site.clock.last_good_s(), None, "a date over plain http is not believed");
}

#[tokio::test]
async fn a_wait_that_the_service_asks_for_is_handed_on() {
    let Reply::Bytes(refusal) = Reply::refusal(400, "RequestThrottled", "") else { unreachable!() };
    let fault = fault_of(Reply::Bytes(refusal.replacen("\r\n", "\r\nx-amzn-retry-after: 2500\r\n", 1))).await;
    assert_eq!((fault.class, fault.retry_after), (SlowDown, Some(Duration::from_millis(2500))));
}

#[tokio::test]
async fn queues_of_one_endpoint_share_connections_and_others_do_not() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    let main = site.sender(&server);
    let mut other = site.queue(&format!("http://127.0.0.1:{}", server.port));
    other.url = "https://sqs.eu-west-1.amazonaws.com/123456789012/audit".into();
    let audit = main.beside(&other).expect("the same endpoint and credentials");
    other.credentials = CredentialsSource::CsvFile(Path::new("other.csv").into());
    assert!(main.beside(&other).is_none());
    answer(main.send(&batch(1)).await);
    answer(audit.send(&batch(1)).await);
    let seen = server.seen();
    assert_eq!(seen[0].connection, seen[1].connection);
    assert_eq!(seen[1].body["QueueUrl"], "https://sqs.eu-west-1.amazonaws.com/123456789012/audit");
}

#[tokio::test]
async fn a_batch_that_sqs_never_takes_is_not_sent() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    let sender = site.sender(&server);
    for count in [0, 11] {
        let fault = fault(sender.send(&batch(count)).await);
        assert_eq!((fault.class, fault.never_sent), (Bug, true));
    }
    assert!(server.seen().is_empty());
}

#[test]
fn plain_http_leaves_this_machine_only_when_allowed() {
    let site = Site::new();
    let new = |endpoint: &str, allow| {
        let queue = SenderOptions { allow_plain_http: allow, ..site.queue(endpoint) };
        SqsSender::through(ProxySettings::default(), &queue, &site.clock)
    };
    assert!(matches!(new("http://10.0.0.1:5000", false), Err(SenderError::PlainHttp { .. })));
    assert!(matches!(new("http://localhost.example.org", false), Err(SenderError::PlainHttp { .. })));
    assert!(new("http://10.0.0.1:5000", true).is_ok() && new("http://[::1]:5000", false).is_ok());
    for wrong in ["10.0.0.1:5000", "ftp://host", "https://", ""] {
        assert!(matches!(new(wrong, true), Err(SenderError::Endpoint { .. })), "{wrong}");
    }
    let nowhere = SenderOptions { region: String::new(), ..site.queue("https://host") };
    assert!(matches!(SqsSender::new(&nowhere, &site.clock), Err(SenderError::NoRegion { .. })));
}

#[tokio::test]
async fn no_secret_shows_in_the_senders_debug() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    let sender = site.sender(&server);
    answer(sender.send(&batch(1)).await);
    assert!(!format!("{sender:?}").contains("not-a-secret"));
}

/// Suspended between the signing and the write: what the entry says of itself is no longer true.
#[tokio::test]
async fn late_entries_are_not_sent_and_the_next_batch_is() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    let sender = site.sender(&server);
    let now_ms = site.clock.now().boottime_ms;
    let mut late = batch(2);
    late[1].deadline = Some(Deadline { leaves_by_ms: now_ms - 1, arrives_by_ms: now_ms + 60_000 });
    let fault = fault(sender.send(&late).await);
    assert_eq!((fault.class, fault.never_sent), (Link, true), "{fault:?}");
    assert!(fault.text.starts_with("not sent: ") && fault.text.contains("stood still"), "{fault:?}");
    let mut early = batch(2);
    early[0].deadline = Some(Deadline { leaves_by_ms: now_ms + 60_000, arrives_by_ms: now_ms + 90_000 });
    assert_eq!(answer(sender.send(&early).await).accepted.len(), 2);
    assert_eq!(server.seen().len(), 1, "the late one has not reached the server");
}

#[tokio::test]
async fn reach_tells_whether_the_endpoint_takes_connections() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let site = Site::new();
    let sender = site.sender(&server);
    assert_eq!(sender.reach().await, Some(true));
    assert!(server.seen().is_empty(), "no request is made of it");
    drop(server);
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let away =
        SqsSender::through(ProxySettings::default(), &site.queue(&format!("http://127.0.0.1:{port}")), &site.clock);
    assert_eq!(away.unwrap().reach().await, Some(false));
}

/// The link stalls in the middle of a request: the peer takes no more bytes, and closes nothing.
#[tokio::test]
async fn a_request_without_progress_is_a_stalled_link_and_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = Site::new();
    let queue = SenderOptions {
        connect_timeout: Duration::from_millis(300),
        attempt_timeout: Duration::from_millis(700),
        ..site.queue(&format!("http://127.0.0.1:{port}"))
    };
    let sender = SqsSender::through(ProxySettings::default(), &queue, &site.clock).unwrap();
    let mut large = batch(1);
    // More than both kernels' buffers hold.
    large[0].body = "x".repeat(12 << 20);
    let (outcome, peer) = tokio::join!(sender.send(&large), async { listener.accept().await.unwrap().0 });
    let stalled = fault(outcome);
    assert_eq!((stalled.class, stalled.is_stalled(), stalled.never_sent), (Link, true, false), "{stalled:?}");
    assert!(stalled.text.contains("carried nothing of it"), "{stalled:?}");
    // What was not read is still there; behind it no rest of the request comes, but a reset.
    let mut rest = vec![0; 16 << 20];
    let ended = loop {
        peer.readable().await.unwrap();
        match peer.try_read(&mut rest) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(ended, Some(std::io::ErrorKind::ConnectionReset));
}
