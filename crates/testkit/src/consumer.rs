//! The customer at the other end: receives and deletes through the AWS SDK, as any consumer would.
//!
//! The service delivers at least once, so a message may be received twice when its visibility timeout passes before it
//! is deleted. That repeat is the service's, not the agent's: a message id counts once. Two messages with the same record
//! id are two.

use crate::fake_sqs::{AccessKey, Arrival, Attribute, Fate};
use crate::{Error, Result};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Region, retry::RetryConfig};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One message as a consumer got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Message id of the service.
    pub message_id: String,
    /// Body of the message.
    pub body: Arc<str>,
    /// Message group id, if it has one.
    pub group: Option<String>,
    /// Message deduplication id (FIFO).
    pub dedup: Option<String>,
    /// Sequence number of the service (FIFO).
    pub sequence_number: Option<String>,
    /// Message attributes by name.
    pub attributes: BTreeMap<String, String>,
}

impl Delivered {
    /// What the stub's log says about an entry, if it was kept.
    pub(crate) fn from_arrival(arrival: &Arrival, fifo: bool) -> Option<Delivered> {
        let Fate::Accepted(sequence) = arrival.fate else { return None };
        let pair = |a: &Attribute| (a.name.clone(), a.value.clone());
        Some(Delivered {
            message_id: arrival.message_id.clone(),
            body: arrival.body.clone(),
            group: arrival.group.clone(),
            dedup: arrival.dedup.clone(),
            sequence_number: fifo.then(|| sequence.to_string()),
            attributes: arrival.attributes.iter().map(pair).collect(),
        })
    }

    fn from_message(message: Message) -> Delivered {
        let system = message.attributes.unwrap_or_default();
        let get = |name: MessageSystemAttributeName| system.get(&name).cloned();
        let text = |(name, value): (String, aws_sdk_sqs::types::MessageAttributeValue)| {
            (name, value.string_value.unwrap_or_default())
        };
        Delivered {
            message_id: message.message_id.unwrap_or_default(),
            body: message.body.unwrap_or_default().into(),
            group: get(MessageSystemAttributeName::MessageGroupId),
            dedup: get(MessageSystemAttributeName::MessageDeduplicationId),
            sequence_number: get(MessageSystemAttributeName::SequenceNumber),
            attributes: message.message_attributes.unwrap_or_default().into_iter().map(text).collect(),
        }
    }
}

/// An SDK client with plain http, fixed credentials and no retries: for consumers, and for tests that send.
pub fn plain_client(endpoint: &str, region: &str, key: &AccessKey) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(&key.id, &key.secret, key.token.clone(), None, "testkit"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Reads one queue until told to stop, keeping everything in the order of receipt.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    queue_url: String,
    seen: HashSet<String>,
    delivered: Vec<Delivered>,
}

impl Consumer {
    /// A consumer of `queue_url` at `endpoint` (`http://…`), with a key that may receive and delete.
    pub fn new(endpoint: &str, region: &str, key: &AccessKey, queue_url: &str) -> Consumer {
        let client = plain_client(endpoint, region, key);
        Consumer { client, queue_url: queue_url.into(), seen: HashSet::new(), delivered: Vec::new() }
    }

    /// Everything received so far, in the order of receipt.
    pub fn delivered(&self) -> &[Delivered] {
        &self.delivered
    }

    /// Receives until `count` messages were delivered in all, or the time is up: an error, which keeps what was received.
    pub async fn read_until(&mut self, count: usize, within: Duration) -> Result<&[Delivered]> {
        let deadline = Instant::now() + within;
        while self.delivered.len() < count {
            let step = timeout_at(deadline, self.step(1)).await;
            step.map_err(|_| Error::Timeout {
                what: format!("delivery of {count} messages"),
                after: within,
                detail: format!("\n{} were delivered", self.delivered.len()),
            })??;
        }
        Ok(&self.delivered)
    }

    /// Receives until a wait of one second brings nothing more.
    pub async fn read_all(&mut self) -> Result<&[Delivered]> {
        while self.step(1).await? > 0 {}
        Ok(&self.delivered)
    }

    /// One receive (waiting up to `wait_s` seconds) and the delete of what it brought; gives how many messages came.
    pub async fn step(&mut self, wait_s: i32) -> Result<usize> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Error::peer(format!("{what} {}", self.queue_url), error);
        let received = (self.client.receive_message())
            .queue_url(&self.queue_url)
            .max_number_of_messages(10)
            .wait_time_seconds(wait_s)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| failed("receiving from", &DisplayErrorContext(error)))?;
        let messages = received.messages.unwrap_or_default();
        let count = messages.len();
        if count == 0 {
            return Ok(0);
        }
        let mut delete = self.client.delete_message_batch().queue_url(&self.queue_url);
        for (index, message) in messages.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(message.receipt_handle.clone().unwrap_or_default())
                .build()
                .map_err(|error| failed("deleting from", &error))?;
            delete = delete.entries(entry);
        }
        let deleted = delete.send().await;
        // Kept before the delete is judged: they were delivered, and a repeat is known by its message id.
        for message in messages.into_iter().map(Delivered::from_message) {
            if self.seen.insert(message.message_id.clone()) {
                self.delivered.push(message);
            }
        }
        let deleted = deleted
            .map_err(|error| Error::peer(format!("deleting from {}", self.queue_url), DisplayErrorContext(error)))?;
        match deleted.failed.first() {
            Some(entry) => Err(Error::peer(format!("deleting from {}", self.queue_url), &entry.code)),
            None => Ok(count),
        }
    }
}
