//! What each refusal of SQS means and what to do about it: one table for calls, one for entries.
//!
//! Decided on the error *code* alone, the `AWS.SimpleQueueService.` prefix removed and with or without `Exception` at its
//! end, because SQS and its kin answer with both. Never on the HTTP status (the same refusal is 400 here and 403 there)
//! nor on `SenderFault` (implementations disagree), except that an answer without any code has nothing but its status.
//!
//! No row drops a record. [`FaultClass::Quarantine`], which keeps the record aside, is in the entry table alone: what
//! a whole call is refused for says nothing about any one of its records. A code that no row knows is
//! [`FaultClass::Unknown`]: tried again for ever, and counted, so that a new code of the service costs time, not data.

use crate::sqs::FaultClass::{self, *};
use crate::sqs::limits::{LEAST_MESSAGE_BYTES, MESSAGE_BYTES};

/// What a code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// What to do.
    pub class: FaultClass,
    /// What it says, for people: a lower-case clause.
    pub reason: &'static str,
    /// What a person can do; empty when nothing is to be done.
    pub remedy: &'static str,
}

struct Row {
    codes: &'static [&'static str],
    meaning: Meaning,
}

const fn row(codes: &'static [&'static str], class: FaultClass, reason: &'static str, remedy: &'static str) -> Row {
    Row { codes, meaning: Meaning { class, reason, remedy } }
}

/// Codes of whole calls; the same codes mean the same where they come for one entry, unless [`ENTRY`] knows better.
/// Codes are written without `Exception` at the end.
#[rustfmt::skip]
const CALL: &[Row] = &[
    row(&["InternalFailure", "InternalError", "InternalServerError", "ServiceUnavailable", "RequestTimeout",
          "RequestAborted"],
        Link, "the service has a fault of its own", ""),

    row(&["RequestThrottled", "Throttling", "Throttled", "ThrottledRequest", "RequestThrottling", "TooManyRequests",
          "RequestLimitExceeded", "BandwidthLimitExceeded", "SlowDown", "PriorRequestNotComplete"],
        SlowDown, "the queue is asked too often", ""),
    // Limits of the key, not of the queue: the same cure.
    row(&["KMS.Throttling", "KmsThrottled"],
        SlowDown, "the queue's encryption key is asked too often",
        "if it stays so, raise the key's request quota or let the queue reuse data keys for longer"),

    // The client has learnt the skew from this very answer, so the next signature is right unless the key is wrong.
    row(&["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"], OnceMore, CLOCK, SET_CLOCK),
    row(&["SignatureDoesNotMatch", "InvalidSignature"],
        OnceMore, "the signature is refused: the clock is off or the secret key is wrong",
        "if it stays so, install the queue's credentials again: the secret access key does not belong to the key id"),

    row(&["AccessDenied", "NotAuthorized", "UnauthorizedOperation", "AuthorizationError"],
        WaitForConfiguration, "the credentials may not send to this queue",
        "allow sqs:SendMessage on the queue's ARN; `tidegate policy` prints the policy"),
    row(&["InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId", "AuthFailure"],
        WaitForConfiguration, "the access key is not known or not active",
        "activate the key in IAM or install a new one; mind that keys of one AWS partition mean nothing in another"),
    row(&["ExpiredToken", "ExpiredTokenId", "TokenRefreshRequired", "InvalidToken", "InvalidSecurityToken"],
        WaitForConfiguration, "the temporary credentials have expired or are not valid",
        "renew them; fresh ones are asked for at each attempt"),
    row(&["MissingAuthenticationToken", "IncompleteSignature", "MissingSecurityHeader"],
        WaitForConfiguration, "the request came without a usable signature",
        "check the credentials, and that no proxy removes the Authorization header"),
    row(&["OptInRequired", "SubscriptionRequired", "AccountProblem", "PendingVerification", "Blocked"],
        WaitForConfiguration, "the AWS account may not use SQS in this region",
        "enable the region or the service for the account"),
    row(&["NonExistentQueue", "QueueDoesNotExist"],
        WaitForConfiguration, "the queue does not exist, in this region and account",
        "compare the queue's URL with the SQS console: region, account id, name; or create the queue"),
    row(&["QueueDeletedRecently"],
        WaitForConfiguration, "the queue was deleted a moment ago", "create the queue again, 60 seconds after its deletion"),
    row(&["InvalidAddress"],
        WaitForConfiguration, "the service does not take the queue's URL for one",
        "compare the queue's URL with the SQS console"),
    row(&["InvalidSecurity"],
        WaitForConfiguration, "the queue takes requests over TLS alone", "use an https:// URL"),
    row(&["UnsupportedOperation"],
        WaitForConfiguration, "the service does not offer this on that queue",
        "check that the URL is that of an SQS queue and that its name tells its type (.fifo)"),
    // Our entries always carry what their queue's type needs, so a missing one means that the type is not the name's.
    row(&["MissingParameter", "MissingRequiredParameter"],
        WaitForConfiguration, "the queue wants a parameter that a queue of this name does not need",
        "check that the queue is of the type that its name tells: FIFO queues end in .fifo"),
    row(&["KMS.AccessDenied", "KmsAccessDenied"],
        WaitForConfiguration, "the queue is encrypted with a key that the credentials may not use",
        "allow kms:GenerateDataKey and kms:Decrypt on the key (`tidegate policy --kms-key`), or set the queue to SSE-SQS"),
    row(&["KMS.Disabled", "KmsDisabled"],
        WaitForConfiguration, "the queue's encryption key is disabled", "enable the key in KMS, or change the queue's key"),
    row(&["KMS.InvalidState", "KMSInvalidState", "KmsInvalidState", "KMS.InvalidKeyUsage", "KmsInvalidKeyUsage"],
        WaitForConfiguration, "the queue's encryption key cannot encrypt",
        "check the key in KMS (deletion pending? usage encrypt/decrypt?), or change the queue's key"),
    row(&["KMS.NotFound", "KmsNotFound"],
        WaitForConfiguration, "the queue's encryption key does not exist", "set the queue to a key that exists, or to SSE-SQS"),
    row(&["KMS.OptInRequired", "KmsOptInRequired"],
        WaitForConfiguration, "the AWS account may not use KMS", "enable KMS for the account, or set the queue to SSE-SQS"),

    row(&["BatchRequestTooLong", "RequestEntityTooLarge", "RequestTooLarge"],
        Shrink, "the batch is larger than the queue or a proxy takes", ""),

    row(&["BatchEntryIdsNotDistinct", "InvalidBatchEntryId", "TooManyEntriesInBatchRequest", "EmptyBatchRequest",
          "InvalidParameterValue", "InvalidParameterCombination", "InvalidQueryParameter", "MalformedQueryString",
          "InvalidMessageContents", "InvalidAttributeValue", "InvalidAttributeName", "MessageTooLong",
          "MalformedInput", "MalformedHttpRequest", "Serialization", "Validation", "ValidationError", "InvalidAction", "UnknownOperation"],
        Bug, "the service calls the request malformed",
        "please report it with the log; nothing is lost, records go one by one meanwhile"),
];

/// Codes of single entries. These alone can say that a record will never be taken.
#[rustfmt::skip]
const ENTRY: &[Row] = &[
    row(&["InvalidMessageContents"],
        Quarantine, "the queue refuses a character of the body", "look at it in the folder quarantine of the journal (docs/journal-format.md)"),
    row(&["InvalidParameterValue", "InvalidAttributeValue", "InvalidAttributeName", "InvalidMessageAttribute",
          "MessageTooLong"],
        Quarantine, "the queue refuses the message or one of its attributes",
        "look at it in the folder quarantine of the journal (docs/journal-format.md); a larger MaximumMessageSize of the queue may help"),
];

const UNKNOWN: Meaning =
    Meaning { class: Unknown, reason: "the service answers with a code that is not known here", remedy: "" };

const CLOCK: &str = "the signature is refused because this machine's clock and the service's differ";
const SET_CLOCK: &str = "if it stays so, set the clock: `timedatectl` shows it, and whether a time server is reached";

/// What a refused signature means whose text says that its time is too early or too late: the clock is wrong, and not the
/// secret key, although both have one code.
pub fn of_clock(meaning: Meaning, text: &str) -> Meaning {
    let text = text.to_ascii_lowercase();
    let told = ["signature expired", "signature not yet current"].iter().any(|words| text.contains(words));
    if meaning.class == OnceMore && told {
        return Meaning { reason: CLOCK, remedy: SET_CLOCK, ..meaning };
    }
    meaning
}

/// Removes what SQS's JSON and query protocols put before a code: a namespace, and the service's prefix.
pub fn strip_prefix(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, name)| name).trim();
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// What a refused call means. `code` is the service's, with or without prefix; `status` is the HTTP status, which counts
/// only when there is no code.
pub fn call(code: Option<&str>, status: u16) -> Meaning {
    match code.map(strip_prefix).filter(|code| !code.is_empty()) {
        Some(code) => find(CALL, code).unwrap_or(UNKNOWN),
        None => without_code(status),
    }
}

/// Whether a code of a refused call says that other keys would do.
pub fn wants_other_keys(code: &str) -> bool {
    const CODES: &[&str] = &["InvalidClientTokenId", "ExpiredToken"];
    let row = |code: &str| CALL.iter().position(|row| row.codes.contains(&code));
    let code = strip_prefix(code);
    let of = row(code.strip_suffix("Exception").unwrap_or(code));
    of.is_some() && CODES.iter().any(|known| row(known) == of)
}

/// What a refused entry means. `code` is the service's, with or without prefix.
pub fn entry(code: &str) -> Meaning {
    let code = strip_prefix(code);
    find(ENTRY, code).or_else(|| find(CALL, code)).unwrap_or(UNKNOWN)
}

/// What an answer without a code means: it need not come from SQS at all.
fn without_code(status: u16) -> Meaning {
    match status {
        413 => Meaning {
            class: Shrink,
            reason: "something between here and the service refuses a request of this size",
            remedy: "if it stays so, look for a proxy with a size limit",
        },
        429 => {
            Meaning { class: SlowDown, reason: "something between here and the service is asked too often", remedy: "" }
        }
        500..=599 => Meaning { class: Link, reason: "the service or a proxy has a fault of its own", remedy: "" },
        _ => Meaning {
            class: Link,
            reason: "the answer is not SQS's: perhaps a proxy's or a login page's",
            remedy: "check the endpoint, the proxy settings, and whether the network wants a login",
        },
    }
}

fn find(table: &[Row], code: &str) -> Option<Meaning> {
    let short = code.strip_suffix("Exception").unwrap_or(code);
    table.iter().find(|row| row.codes.contains(&short)).map(|row| row.meaning)
}

/// The queue's own limit in bytes, from a refusal that says "must be shorter than N bytes". Believed only within the
/// bounds that a queue can be set to: a strange number must not send every record to the quarantine.
pub fn learn_limit(text: &str) -> Option<usize> {
    const MARK: &str = "must be shorter than ";
    let text = text.to_ascii_lowercase();
    let rest = &text[text.find(MARK)? + MARK.len()..];
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    if !rest[digits.len()..].trim_start().starts_with("byte") {
        return None;
    }
    digits.parse().ok().filter(|limit| (LEAST_MESSAGE_BYTES..=MESSAGE_BYTES).contains(limit))
}

/// Every code of the table of calls and of the table of entries, for tests that must not leave one out.
#[cfg(test)]
pub(crate) fn codes() -> (Vec<&'static str>, Vec<&'static str>) {
    let of = |table: &'static [Row]| table.iter().flat_map(|row| row.codes.iter().copied()).collect();
    (of(CALL), of(ENTRY))
}

#[cfg(test)]
mod tests;
