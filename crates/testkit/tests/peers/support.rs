//! Sending to the stub as a customer's program would: through the SDK, one attempt per call.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use testkit::consumer::plain_client;
use testkit::fake_sqs::{AccessKey, SqsStub, StubOptions};

pub(crate) const QUEUE: &str = "site.fifo";

pub(crate) type Sent = Result<SendMessageBatchOutput, SdkError<SendMessageBatchError, HttpResponse>>;

pub(crate) fn stub() -> SqsStub {
    SqsStub::start(StubOptions::default()).expect("a stub on a free port")
}

pub(crate) fn client(stub: &SqsStub, key: &AccessKey) -> Client {
    plain_client(&stub.endpoint(), stub.region(), key)
}

/// An entry of a FIFO batch: id, group, deduplication id, body.
pub(crate) fn entry(id: &str, group: &str, dedup: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body)
        .message_group_id(group)
        .message_deduplication_id(dedup)
        .build()
        .expect("id and body are set")
}

pub(crate) fn attribute(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("the type is set")
}

pub(crate) async fn send(client: &Client, url: &str, entries: Vec<SendMessageBatchRequestEntry>) -> Sent {
    client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await
}

/// Sends one entry and gives the code of the service's refusal.
pub(crate) async fn refusal(client: &Client, url: &str, entries: Vec<SendMessageBatchRequestEntry>) -> String {
    let error = send(client, url, entries).await.expect_err("a refusal");
    error.code().unwrap_or("no code").to_owned()
}
