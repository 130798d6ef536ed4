//! The fault table, row by row, through the SDK: every code in every spelling and every place in which it can be.
//!
//! This file repeats what each code must mean, by hand: a row without a case fails, and so does a case without a row.

use super::*;
use crate::sqs::classify;
use FaultClass::*;
use testkit::fake_sqs::{AccessKey, Fault as Told, SqsStub, StubOptions, Telling, When};

/// What a call is refused for, and a word of what people are told.
const CALLS: &[(FaultClass, &str, &[&str])] = &[
    (
        Link,
        "fault of its own",
        &[
            "InternalFailure",
            "InternalError",
            "InternalServerError",
            "ServiceUnavailable",
            "RequestTimeout",
            "RequestAborted",
        ],
    ),
    (
        SlowDown,
        "asked too often",
        &[
            "RequestThrottled",
            "Throttling",
            "Throttled",
            "ThrottledRequest",
            "RequestThrottling",
            "TooManyRequests",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "SlowDown",
            "PriorRequestNotComplete",
        ],
    ),
    (SlowDown, "encryption key is asked too often", &["KMS.Throttling", "KmsThrottled"]),
    (
        OnceMore,
        "signature is refused",
        &["SignatureDoesNotMatch", "InvalidSignature", "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"],
    ),
    (
        WaitForConfiguration,
        "may not send to this queue",
        &["AccessDenied", "NotAuthorized", "UnauthorizedOperation", "AuthorizationError"],
    ),
    (
        WaitForConfiguration,
        "access key is not known",
        &["InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId", "AuthFailure"],
    ),
    (
        WaitForConfiguration,
        "have expired",
        &["ExpiredToken", "ExpiredTokenId", "TokenRefreshRequired", "InvalidToken", "InvalidSecurityToken"],
    ),
    (
        WaitForConfiguration,
        "without a usable signature",
        &["MissingAuthenticationToken", "IncompleteSignature", "MissingSecurityHeader"],
    ),
    (
        WaitForConfiguration,
        "may not use SQS",
        &["OptInRequired", "SubscriptionRequired", "AccountProblem", "PendingVerification", "Blocked"],
    ),
    (WaitForConfiguration, "does not exist", &["NonExistentQueue", "QueueDoesNotExist"]),
    (WaitForConfiguration, "deleted a moment ago", &["QueueDeletedRecently"]),
    (WaitForConfiguration, "queue's URL", &["InvalidAddress"]),
    (WaitForConfiguration, "over TLS alone", &["InvalidSecurity"]),
    (WaitForConfiguration, "does not offer this", &["UnsupportedOperation"]),
    (WaitForConfiguration, "wants a parameter", &["MissingParameter", "MissingRequiredParameter"]),
    (WaitForConfiguration, "key that the credentials may not use", &["KMS.AccessDenied", "KmsAccessDenied"]),
    (WaitForConfiguration, "key is disabled", &["KMS.Disabled", "KmsDisabled"]),
    (
        WaitForConfiguration,
        "cannot encrypt",
        &["KMS.InvalidState", "KMSInvalidState", "KmsInvalidState", "KMS.InvalidKeyUsage", "KmsInvalidKeyUsage"],
    ),
    (WaitForConfiguration, "key does not exist", &["KMS.NotFound", "KmsNotFound"]),
    (WaitForConfiguration, "may not use KMS", &["KMS.OptInRequired", "KmsOptInRequired"]),
    (Shrink, "larger than the queue", &["BatchRequestTooLong", "RequestEntityTooLarge", "RequestTooLarge"]),
    (
        Bug,
        "malformed",
        &[
            "BatchEntryIdsNotDistinct",
            "InvalidBatchEntryId",
            "TooManyEntriesInBatchRequest",
            "EmptyBatchRequest",
            "InvalidParameterValue",
            "InvalidParameterCombination",
            "InvalidQueryParameter",
            "MalformedQueryString",
            "InvalidMessageContents",
            "InvalidAttributeValue",
            "InvalidAttributeName",
            "MessageTooLong",
            "MalformedInput",
            "MalformedHttpRequest",
            "Serialization",
            "Validation",
            "ValidationError",
            "InvalidAction",
            "UnknownOperation",
        ],
    ),
    // No row: tried again for ever, and counted.
    (Unknown, "not known here", &["NeverHeardOf", "KMS.NeverHeardOf"]),
];

/// What the SDK's model of the batch call names; its other errors are all told by their code alone.
const MODELLED: [&str; 17] = [
    "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "InvalidAddress",
    "InvalidBatchEntryId",
    "InvalidSecurity",
    "KmsAccessDenied",
    "KmsDisabled",
    "KmsInvalidKeyUsage",
    "KmsInvalidState",
    "KmsNotFound",
    "KmsOptInRequired",
    "KmsThrottled",
    "QueueDoesNotExist",
    "RequestThrottled",
    "TooManyEntriesInBatchRequest",
    "UnsupportedOperation",
];

/// Codes that mean, for one entry, that it can never be accepted.
const NEVER: [&str; 6] = [
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidAttributeValue",
    "InvalidAttributeName",
    "InvalidMessageAttribute",
    "MessageTooLong",
];

fn stub() -> (SqsStub, Site, SqsSender) {
    let stub = SqsStub::start(StubOptions::default()).unwrap();
    let site = Site::new();
    let key = AccessKey::agent();
    site.file("key.csv", &format!("Access key ID,Secret access key\n{},{}\n", key.id, key.secret));
    let sender = SqsSender::through(ProxySettings::default(), &site.queue(&stub.endpoint()), &site.clock).unwrap();
    (stub, site, sender)
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[test]
fn every_row_has_a_case_and_every_case_a_row() {
    let cases: Vec<&str> = CALLS.iter().flat_map(|(_, _, codes)| codes.iter().copied()).collect();
    let (calls, entries) = classify::codes();
    let without: Vec<_> = calls.iter().filter(|code| !cases.contains(code)).collect();
    assert!(without.is_empty(), "rows without a case: {without:?}");
    let strange: Vec<_> = cases.iter().filter(|code| !calls.contains(code) && !code.contains("NeverHeardOf")).collect();
    assert!(strange.is_empty(), "cases without a row: {strange:?}");
    assert!(entries.iter().all(|code| NEVER.contains(code)) && NEVER.iter().all(|code| entries.contains(code)));
    let forgotten: Vec<_> = MODELLED.iter().filter(|code| !calls.contains(code)).collect();
    assert!(forgotten.is_empty(), "the SDK can return these: {forgotten:?}");
}

#[tokio::test]
async fn every_call_code_is_understood_in_every_spelling() {
    let (stub, _site, sender) = stub();
    let mut tried = 0;
    for (class, words, codes) in CALLS {
        for code in *codes {
            let spellings =
                [code.to_string(), format!("{code}Exception"), format!("AWS.SimpleQueueService.{code}")].map(leaked);
            for (spelling, telling) in spellings.into_iter().flat_map(|s| Telling::ALL.map(|telling| (s, telling))) {
                let status = if tried % 2 == 0 { 400 } else { 403 };
                stub.faults().push(Told::RefuseAs { code: spelling, status, telling }, When::Next(1));
                let fault = fault(sender.send(&batch(2)).await);
                let shown = format!("{spelling} {telling:?}: {fault:?}");
                assert_eq!((fault.class, fault.never_sent), (*class, false), "{shown}");
                assert_eq!(fault.code.as_deref(), Some(classify::strip_prefix(spelling)), "{shown}");
                assert!(
                    fault.text.contains(words) && fault.text.contains(spelling.rsplit('.').next().unwrap()),
                    "{shown}"
                );
                assert_eq!(fault.remedy, classify::call(Some(code), 400).remedy, "{shown}");
                assert!(!fault.remedy.contains("restart"), "{shown}");
                tried += 1;
            }
        }
    }
    assert_eq!(stub.faults().fired_of("refuse as"), tried);
    assert_eq!(answer(sender.send(&batch(2)).await).accepted.len(), 2, "mended, the same sender goes on");
    assert!(stub.unexpected().is_empty());
}

#[tokio::test]
async fn every_entry_code_is_passed_on_beside_accepted_entries() {
    let (stub, _site, sender) = stub();
    let calls = CALLS.iter().flat_map(|(class, _, codes)| codes.iter().map(move |code| (*class, *code)));
    for (class, code) in calls.chain(NEVER.map(|code| (Quarantine, code))) {
        let class = if NEVER.contains(&code) { Quarantine } else { class };
        let code = leaked(format!("AWS.SimpleQueueService.{code}"));
        stub.faults().push(Told::FailEntry { index: 1, code, sender_fault: class != Quarantine }, When::Next(1));
        let said = answer(sender.send(&batch(3)).await);
        assert_eq!(said.accepted.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 2], "{code}");
        let [refused] = &said.refused[..] else { panic!("{code}: {said:?}") };
        assert_eq!((refused.index, classify::entry(&refused.code).class), (1, class), "{code}");
    }
}
