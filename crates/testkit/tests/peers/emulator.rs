//! ministack: that it enforces what we want it for.

use crate::support::{entry, refusal, send};
use aws_sdk_sqs::error::ProvideErrorMetadata;
use std::path::Path;
use std::time::Duration;
use testkit::consumer::{Consumer, plain_client};
use testkit::fake_sqs::{AccessKey, QueueOptions};
use testkit::ministack::Ministack;

#[tokio::test]
async fn the_emulator_allows_the_agents_key_only_to_send() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut ministack = Ministack::start(&repo).await.unwrap();
    let url = ministack.create_queue("site.fifo", &QueueOptions::fifo()).await.unwrap();
    let key = ministack.agent_key().clone();
    let client = plain_client(&ministack.endpoint(), ministack.region(), &key);
    for batch in ["a", "b"] {
        let entries = (0..5).map(|i| entry(&i.to_string(), "g", &format!("{batch}{i}"), &format!("{batch}{i}")));
        let sent = send(&client, &url, entries.collect()).await.unwrap_or_else(|e| panic!("{e:?}{}", ministack.tail()));
        assert_eq!(sent.successful.len(), 5);
    }
    let received = client.receive_message().queue_url(&url).send().await.unwrap_err();
    assert!(received.code().unwrap().starts_with("AccessDenied"), "{received:?}");
    assert!(client.get_queue_attributes().queue_url(&url).send().await.is_err());
    let forged = plain_client(&ministack.endpoint(), ministack.region(), &AccessKey { secret: "x".into(), ..key });
    assert_eq!(refusal(&forged, &url, vec![entry("0", "g", "z", "x")]).await, "SignatureDoesNotMatch");

    let mut consumer = Consumer::new(&ministack.endpoint(), ministack.region(), &ministack.admin_key(), &url);
    let delivered = consumer.read_until(10, Duration::from_secs(30)).await.unwrap();
    let bodies: Vec<&str> = delivered.iter().map(|d| &*d.body).collect();
    assert_eq!(bodies, ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3", "b4"]);

    ministack.reset().await.unwrap();
    let client = plain_client(&ministack.endpoint(), ministack.region(), ministack.agent_key());
    assert!(refusal(&client, &url, vec![entry("0", "g", "z", "x")]).await.contains("NonExistentQueue"));
    ministack.stop().await.unwrap();
}
