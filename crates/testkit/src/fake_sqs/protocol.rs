//! Reading a request: which operation, which queue, which entries.
//!
//! Members that the stub does not know are an error, not ignored: a client that relies on them would pass here and fail
//! on the service.

use super::answer::Refusal;
use super::message::{Attribute, Message, attributes_md5};
use serde_json::{Map, Value};

/// A request that the stub understands.
#[derive(Debug)]
pub(crate) enum Operation {
    /// One message or a batch.
    Send { entries: Vec<Entry>, batch: bool },
    /// Up to `most` messages, waiting for the first for `wait_s`.
    Receive { most: usize, wait_s: u64, visibility_s: Option<u64> },
    /// Receipt handles with their entry ids (empty for the single call).
    Delete { handles: Vec<(String, String)>, batch: bool },
    /// Purges the queue.
    Purge,
}

/// One entry of a send call; its id is empty in the single call.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) message: Message,
}

/// Why a request cannot be served.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The service would refuse it too.
    Refused(Refusal),
    /// The stub does not know it: to be recorded.
    Unexpected(String),
}

impl From<Refusal> for Unreadable {
    fn from(refusal: Refusal) -> Unreadable {
        Unreadable::Refused(refusal)
    }
}

type Read<T> = Result<T, Unreadable>;

/// Reads the JSON body of `operation`; gives the account and name of the queue, and what to do.
pub(crate) fn read(operation: &str, body: &[u8]) -> Read<(String, Operation)> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::common("SerializationException", format!("{operation}: {error}")))?;
    let request = object(&value, operation)?;
    let queue = queue_of(request)?;
    let done = match operation {
        "SendMessage" => {
            known(
                operation,
                request,
                &["QueueUrl", "MessageBody", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId"],
            )?;
            Operation::Send { entries: vec![Entry { id: String::new(), message: message(request)? }], batch: false }
        }
        "SendMessageBatch" => {
            known(operation, request, &["QueueUrl", "Entries"])?;
            let entries = list(request, "Entries").iter().map(entry).collect::<Read<Vec<Entry>>>()?;
            Operation::Send { entries, batch: true }
        }
        "ReceiveMessage" => receive(request)?,
        "DeleteMessage" => {
            known(operation, request, &["QueueUrl", "ReceiptHandle"])?;
            Operation::Delete { handles: vec![(String::new(), text(request, "ReceiptHandle"))], batch: false }
        }
        "DeleteMessageBatch" => {
            known(operation, request, &["QueueUrl", "Entries"])?;
            let pair = |value: &Value| -> Read<(String, String)> {
                let entry = object(value, operation)?;
                known("an entry of DeleteMessageBatch", entry, &["Id", "ReceiptHandle"])?;
                Ok((text(entry, "Id"), text(entry, "ReceiptHandle")))
            };
            Operation::Delete { handles: list(request, "Entries").iter().map(pair).collect::<Read<_>>()?, batch: true }
        }
        "PurgeQueue" => {
            known(operation, request, &["QueueUrl"])?;
            Operation::Purge
        }
        other => return Err(Unreadable::Unexpected(format!("operation {other}"))),
    };
    Ok((queue, done))
}

fn receive(request: &Map<String, Value>) -> Read<Operation> {
    let members = [
        "QueueUrl",
        "MaxNumberOfMessages",
        "WaitTimeSeconds",
        "VisibilityTimeout",
        "AttributeNames",
        "MessageSystemAttributeNames",
        "MessageAttributeNames",
    ];
    known("ReceiveMessage", request, &members)?;
    let number = |name: &str| request.get(name).and_then(Value::as_u64);
    let most = number("MaxNumberOfMessages").unwrap_or(1);
    if !(1..=10).contains(&most) {
        let text =
            format!("Value {most} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10.");
        return Err(Refusal::common("InvalidParameterValue", text).into());
    }
    let wait_s = number("WaitTimeSeconds").unwrap_or(0).min(20);
    Ok(Operation::Receive { most: most as usize, wait_s, visibility_s: number("VisibilityTimeout") })
}

fn entry(value: &Value) -> Read<Entry> {
    let what = "an entry of SendMessageBatch";
    let entry = object(value, what)?;
    known(what, entry, &["Id", "MessageBody", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId"])?;
    Ok(Entry { id: text(entry, "Id"), message: message(entry)? })
}

fn message(entry: &Map<String, Value>) -> Read<Message> {
    let mut attributes = Vec::new();
    if let Some(Value::Object(map)) = entry.get("MessageAttributes") {
        for (name, value) in map {
            let value = object(value, name)?;
            known("a message attribute", value, &["DataType", "StringValue"])?;
            attributes.push(Attribute {
                name: name.clone(),
                kind: text(value, "DataType"),
                value: text(value, "StringValue"),
            });
        }
    }
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    let optional = |name: &str| entry.get(name).and_then(Value::as_str).map(String::from);
    Ok(Message {
        body: text(entry, "MessageBody").into(),
        group: optional("MessageGroupId"),
        dedup: optional("MessageDeduplicationId"),
        attributes_md5: attributes_md5(&attributes),
        attributes,
    })
}

/// `account/name` from the queue's URL; the host does not count, as on the service.
fn queue_of(request: &Map<String, Value>) -> Read<String> {
    let url = text(request, "QueueUrl");
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    match path {
        Some(path) if path.split('/').count() == 2 => Ok(path.into()),
        _ => Err(Refusal::common("InvalidAddress", format!("The address {url} is not valid for this endpoint."))
            .status(404)
            .into()),
    }
}

fn known(what: &str, object: &Map<String, Value>, members: &[&str]) -> Read<()> {
    match object.keys().find(|key| !members.contains(&key.as_str())) {
        Some(key) => Err(Unreadable::Unexpected(format!("{what}: member {key}"))),
        None => Ok(()),
    }
}

fn object<'v>(value: &'v Value, what: &str) -> Read<&'v Map<String, Value>> {
    let refusal = || Refusal::common("SerializationException", format!("{what}: an object was expected"));
    Ok(value.as_object().ok_or_else(refusal)?)
}

fn list<'v>(object: &'v Map<String, Value>, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(object: &Map<String, Value>, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().into()
}
