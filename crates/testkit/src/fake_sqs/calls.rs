//! Serving a request that was read: the queue model's answers, bent by a fault where the plan says so.

use super::answer::{self, AnswerBody, Refusal, Stamp};
use super::fault::Fault;
use super::limits;
use super::message::body_md5;
use super::model::{Handed, Queue};
use super::protocol::Entry;
use hyper::Response;
use serde_json::{Map, Value, json};

/// Serves a send call at `now_ms` of queue time.
pub(crate) fn send(
    queue: &mut Queue,
    entries: Vec<Entry>,
    batch: bool,
    fault: Option<&Fault>,
    now_ms: u64,
    stamp: Stamp,
) -> Result<Response<AnswerBody>, Refusal> {
    if batch {
        limits::check_entry_ids(&entries.iter().map(|e| e.id.as_str()).collect::<Vec<_>>())?;
        limits::check_total(entries.iter().map(|e| e.message.size()).sum())?;
    }
    for entry in &entries {
        limits::check_request(&entry.message, &queue.options)?;
        if !batch {
            limits::check_entry(&entry.message, &queue.options)?;
        }
    }
    queue.counters.calls += 1;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    let count = entries.len();
    for (index, entry) in entries.into_iter().enumerate() {
        match settle(queue, entry, index, fault, now_ms, stamp.call) {
            Ok(value) => {
                let copies = match fault {
                    Some(Fault::MissingEntry(k)) if *k == index => 0,
                    Some(Fault::RepeatedEntry(k)) if *k == index => 2,
                    Some(Fault::HalfMissing) if index >= count.div_ceil(2) => 0,
                    _ => 1,
                };
                if let Some(Fault::TwoMinds(k)) = fault
                    && *k == index
                {
                    let id = value["Id"].as_str().unwrap_or_default();
                    failed.push(Refusal::common("InternalError", "injected on purpose").entry(id, false));
                }
                successful.extend(std::iter::repeat_n(value, copies));
            }
            Err(value) => failed.push(value),
        }
    }
    match fault {
        Some(Fault::Reversed) => successful.reverse(),
        Some(Fault::Strangers) => (successful.iter_mut().enumerate())
            .for_each(|(index, value)| value["Id"] = format!("stranger-{index}").into()),
        _ => {}
    }
    if !batch {
        return single(successful, failed, stamp);
    }
    let mut body = Map::new();
    for (name, list) in [("Successful", successful), ("Failed", failed)] {
        if !list.is_empty() {
            body.insert(name.into(), Value::Array(list));
        }
    }
    Ok(answer::ok(&Value::Object(body), stamp))
}

/// What the answer says about one entry: a member of `Successful`, or of `Failed`.
fn settle(
    queue: &mut Queue,
    entry: Entry,
    index: usize,
    fault: Option<&Fault>,
    now_ms: u64,
    call: u64,
) -> Result<Value, Value> {
    let Entry { id, message } = entry;
    if let Some(Fault::FailEntry { index: k, code, sender_fault }) = fault
        && *k == index
    {
        queue.refuse(&message, code, now_ms, call);
        return Err(Refusal::common(code, "injected on purpose").entry(&id, *sender_fault));
    }
    if let Err(refusal) = limits::check_entry(&message, &queue.options) {
        queue.refuse(&message, &refusal.query_code, now_ms, call);
        return Err(refusal.entry(&id, true));
    }
    let md5 = match fault {
        Some(Fault::WrongMd5(k)) if *k == index => body_md5("another body"),
        _ => body_md5(&message.body),
    };
    let attributes_md5 = message.attributes_md5.clone();
    let fifo = queue.options.fifo;
    let receipt = queue.accept(message, now_ms, call);
    let mut value = json!({ "MessageId": receipt.message_id, "MD5OfMessageBody": md5 });
    if !id.is_empty() {
        value["Id"] = id.into();
    }
    if let Some(md5) = attributes_md5 {
        value["MD5OfMessageAttributes"] = md5.into();
    }
    if fifo {
        value["SequenceNumber"] = receipt.sequence.to_string().into();
    }
    Ok(value)
}

fn single(successful: Vec<Value>, failed: Vec<Value>, stamp: Stamp) -> Result<Response<AnswerBody>, Refusal> {
    if let Some(entry) = failed.first() {
        return Err(Refusal::common(entry["Code"].as_str().unwrap_or_default(), "injected on purpose"));
    }
    Ok(answer::ok(&successful.into_iter().next().unwrap_or_else(|| json!({})), stamp))
}

/// The answer to a receive call.
pub(crate) fn received(handed: &[Handed], fifo: bool, stamp: Stamp) -> Response<AnswerBody> {
    let messages: Vec<Value> = handed.iter().map(|handed| received_message(handed, fifo)).collect();
    let body = if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) };
    answer::ok(&body, stamp)
}

fn received_message(handed: &Handed, fifo: bool) -> Value {
    let kept = &handed.message;
    let message = &kept.message;
    let mut system = json!({
        "SentTimestamp": kept.sent_ms.to_string(),
        "ApproximateReceiveCount": handed.receive_count.to_string(),
    });
    if fifo {
        system["SequenceNumber"] = kept.sequence.to_string().into();
    }
    for (name, id) in [("MessageGroupId", &message.group), ("MessageDeduplicationId", &message.dedup)] {
        if let Some(id) = id {
            system[name] = id.as_str().into();
        }
    }
    let attributes: Map<String, Value> = (message.attributes.iter())
        .map(|a| (a.name.clone(), json!({ "DataType": a.kind, "StringValue": a.value })))
        .collect();
    let mut value = json!({
        "MessageId": kept.message_id,
        "ReceiptHandle": handed.handle,
        "Body": &*message.body,
        "MD5OfBody": body_md5(&message.body),
        "Attributes": system,
    });
    if let Some(md5) = &message.attributes_md5 {
        value["MessageAttributes"] = Value::Object(attributes);
        value["MD5OfMessageAttributes"] = md5.as_str().into();
    }
    value
}

/// Serves a delete call.
pub(crate) fn delete(
    queue: &mut Queue,
    handles: &[(String, String)],
    batch: bool,
    stamp: Stamp,
) -> Response<AnswerBody> {
    // The service answers a handle that is out of date with success; a test looks at what was delivered again instead.
    let deleted: Vec<Value> = (handles.iter())
        .map(|(id, handle)| {
            queue.delete(handle);
            json!({ "Id": id })
        })
        .collect();
    answer::ok(&if batch { json!({ "Successful": deleted }) } else { json!({}) }, stamp)
}
