//! What the service refuses before a message reaches the queue, and with which words.
//!
//! Two kinds of refusal: of the whole request (nothing of it is accepted) and of one entry. Which is which follows
//! recorded answers of the service: parameters that are missing or malformed end the request; the contents of one body,
//! or its size beyond the queue's own maximum, fail that entry.

use super::answer::Refusal;
use super::message::Message;
use super::model::QueueOptions;
use std::collections::HashSet;

/// Most bytes in a message, and in a whole request, attributes counted in.
pub const MAX_BYTES: usize = 1 << 20;
/// Most entries in a batch.
pub const MAX_ENTRIES: usize = 10;
/// Most attributes on a message.
pub const MAX_ATTRIBUTES: usize = 10;

/// Checks the ids of a batch: 1 to 10 entries, each id 1 to 80 of letters, digits, `-` and `_`, no id twice.
pub(crate) fn check_entry_ids(ids: &[&str]) -> Result<(), Refusal> {
    if ids.is_empty() {
        return Err(Refusal::modelled(
            "EmptyBatchRequest",
            "There should be at least one SendMessageBatchRequestEntry in the request.",
        ));
    }
    if ids.len() > MAX_ENTRIES {
        let text = format!("Maximum number of entries per request are 10. You have sent {}.", ids.len());
        return Err(Refusal::modelled("TooManyEntriesInBatchRequest", text));
    }
    let mut seen = HashSet::new();
    for id in ids {
        if id.is_empty() || id.len() > 80 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                        It can be at most 80 letters long.";
            return Err(Refusal::modelled("InvalidBatchEntryId", text));
        }
        if !seen.insert(*id) {
            return Err(Refusal::modelled("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// Checks what ends the whole request: ids of group and deduplication, empty body, rules of attributes.
pub(crate) fn check_request(message: &Message, queue: &QueueOptions) -> Result<(), Refusal> {
    if message.body.is_empty() {
        return Err(Refusal::common("MissingParameter", "The request must contain the parameter MessageBody."));
    }
    if queue.fifo && message.group.is_none() {
        return Err(Refusal::common("MissingParameter", "The request must contain the parameter MessageGroupId."));
    }
    if queue.fifo && message.dedup.is_none() {
        let text = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
        return Err(Refusal::common("InvalidParameterValue", text));
    }
    if !queue.fifo
        && let Some(dedup) = &message.dedup
    {
        let text = format!(
            "Value {dedup} for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter \
             that is not valid for this queue type."
        );
        return Err(Refusal::common("InvalidParameterValue", text));
    }
    for (name, id) in [("MessageGroupId", &message.group), ("MessageDeduplicationId", &message.dedup)] {
        if let Some(id) = id
            && !is_id(id)
        {
            let text = format!(
                "Value {id} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and \
                 punctuation characters. 1 to 128 in length."
            );
            return Err(Refusal::common("InvalidParameterValue", text));
        }
    }
    check_attributes(message)
}

fn check_attributes(message: &Message) -> Result<(), Refusal> {
    let wrong = |text: String| Err(Refusal::common("InvalidParameterValue", text));
    let attributes = &message.attributes;
    if attributes.len() > MAX_ATTRIBUTES {
        return wrong(format!("Number of message attributes [{}] exceeds the allowed maximum [10].", attributes.len()));
    }
    for attribute in attributes {
        let name = &attribute.name;
        let lower = name.to_ascii_lowercase();
        let legal = !name.is_empty()
            && name.len() <= 256
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
            && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
            && !(lower.starts_with("aws.") || lower.starts_with("amazon."));
        if !legal {
            return wrong(format!("Message (user) attribute name '{name}' is invalid."));
        }
        let base = attribute.kind.split('.').next().unwrap_or_default();
        if !matches!(base, "String" | "Number") {
            return wrong(format!(
                "The message attribute '{name}' has an invalid message attribute type '{}'.",
                attribute.kind
            ));
        }
        if attribute.value.is_empty() {
            return wrong(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
            ));
        }
        if !attribute.value.chars().all(is_legal) {
            return wrong(format!("Invalid characters found in the value of message (user) attribute '{name}'."));
        }
    }
    Ok(())
}

/// Checks what fails one entry: characters of its body, and the queue's own maximum.
pub(crate) fn check_entry(message: &Message, queue: &QueueOptions) -> Result<(), Refusal> {
    if !message.body.chars().all(is_legal) {
        let text = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
                    #xE000 to #xFFFD | #x10000 to #x10FFFF";
        return Err(Refusal::modelled("InvalidMessageContents", text));
    }
    if message.size() > queue.max_message_bytes {
        let text = format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {} bytes.",
            queue.max_message_bytes
        );
        return Err(Refusal::common("InvalidParameterValue", text));
    }
    Ok(())
}

/// Checks the sum over a batch.
pub(crate) fn check_total(bytes: usize) -> Result<(), Refusal> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let text = format!("Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {bytes} bytes.");
    Err(Refusal::modelled("BatchRequestTooLong", text))
}

/// Group and deduplication ids: 1 to 128 of letters, digits and ASCII punctuation.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_ids_take_neither_spaces_nor_letters_beyond_ascii() {
        assert!(is_id("a.0000!~#") && is_id(&"x".repeat(128)));
        for bad in ["", "a b", "caf\u{e9}", "\u{7f}", &"x".repeat(129)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn bodies_take_exactly_the_characters_of_xml() {
        for c in ['\t', '\n', '\r', ' ', '\u{7f}', '\u{d7ff}', '\u{e000}', '\u{fffd}', '\u{10000}', '\u{10ffff}'] {
            assert!(is_legal(c), "{c:?}");
        }
        for c in ['\0', '\u{8}', '\u{b}', '\u{c}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert!(!is_legal(c), "{c:?}");
        }
    }
}
