//! What the codes of the service ask for.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn every_row_is_found_in_every_spelling() {
    for (table, look_up) in [(CALL, (|c: &str| call(Some(c), 400)) as fn(&str) -> Meaning), (ENTRY, entry)] {
        for row in table {
            for code in row.codes {
                for spelling in [
                    code.to_string(),
                    format!("{code}Exception"),
                    format!("AWS.SimpleQueueService.{code}"),
                    format!("com.amazonaws.sqs#{code}"),
                ] {
                    assert_eq!(look_up(&spelling), row.meaning, "{spelling}");
                }
            }
        }
    }
}

#[test]
fn no_code_appears_twice_or_ends_in_exception() {
    for table in [CALL, ENTRY] {
        let codes: Vec<_> = table.iter().flat_map(|row| row.codes).collect();
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
        assert!(codes.iter().all(|code| !code.ends_with("Exception")), "would never be found");
    }
}

#[test]
fn a_call_never_sends_a_record_to_quarantine() {
    assert!(CALL.iter().all(|row| row.meaning.class != Quarantine));
    assert!((100..600).all(|status| call(None, status).class != Quarantine));
}

#[test]
fn what_waits_for_a_person_says_what_to_do() {
    for row in CALL.iter().chain(ENTRY) {
        let waits = matches!(row.meaning.class, WaitForConfiguration | OnceMore | Quarantine | Bug);
        assert!(!waits || !row.meaning.remedy.is_empty(), "{:?}", row.codes);
        assert!(!row.meaning.reason.is_empty() && !row.meaning.reason.ends_with('.'), "{:?}", row.codes);
    }
}

#[test]
fn known_sqs_codes_have_the_class_of_the_design() {
    for (code, class) in [
        ("AWS.SimpleQueueService.NonExistentQueue", WaitForConfiguration),
        ("KMS.AccessDeniedException", WaitForConfiguration),
        ("KMS.ThrottlingException", SlowDown),
        ("KMS.DisabledException", WaitForConfiguration),
        ("KMS.NotFoundException", WaitForConfiguration),
        ("KmsNotFound", WaitForConfiguration),
        ("KMSInvalidStateException", WaitForConfiguration),
        ("AWS.SimpleQueueService.BatchRequestTooLong", Shrink),
        ("AWS.SimpleQueueService.EmptyBatchRequest", Bug),
        ("AccessDenied", WaitForConfiguration),
        ("AccessDeniedException", WaitForConfiguration),
        ("ExpiredTokenException", WaitForConfiguration),
        ("UnrecognizedClientException", WaitForConfiguration),
        ("InvalidSignatureException", OnceMore),
        ("SignatureDoesNotMatch", OnceMore),
        ("RequestThrottled", SlowDown),
        ("ThrottlingException", SlowDown),
        ("InternalFailure", Link),
        ("MissingParameter", WaitForConfiguration),
        ("NeverHeardOf", Unknown),
    ] {
        assert_eq!(call(Some(code), 403).class, class, "{code}");
    }
    for (code, class) in [
        ("InvalidMessageContents", Quarantine),
        ("InvalidParameterValue", Quarantine),
        ("InvalidParameterValueException", Quarantine),
        ("InternalError", Link),
        ("ServiceUnavailable", Link),
        ("RequestThrottled", SlowDown),
        ("AccessDenied", WaitForConfiguration),
        ("NeverHeardOf", Unknown),
    ] {
        assert_eq!(entry(code).class, class, "{code}");
    }
}

#[test]
fn other_keys_are_wanted_after_refusal_not_missing_rights() {
    for code in ["ExpiredToken", "com.amazonaws.sqs#ExpiredTokenException", "UnrecognizedClientException"] {
        assert!(wants_other_keys(code), "{code}");
    }
    for code in ["AccessDenied", "SignatureDoesNotMatch", "NeverHeardOf", ""] {
        assert!(!wants_other_keys(code), "{code}");
    }
}

#[test]
fn a_status_counts_only_without_a_code() {
    for (status, class) in [(429, SlowDown), (413, Shrink), (503, Link), (200, Link), (302, Link), (403, Link)] {
        assert_eq!(call(None, status).class, class, "{status}");
        assert_eq!(call(Some(""), status).class, class, "{status}");
        assert_eq!(call(Some("AccessDenied"), status).class, WaitForConfiguration, "{status}");
    }
}

#[test]
fn only_a_limit_that_queues_can_have_is_learnt() {
    let text = "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.";
    assert_eq!(learn_limit(text), Some(262_144));
    assert_eq!(learn_limit("Message must be shorter than 1024 bytes"), Some(1024));
    for strange in [
        "must be shorter than 10 bytes",
        "must be shorter than 99999999999999999999 bytes",
        "must be shorter than 2048 characters",
        "must be shorter than bytes",
        "too long",
        "",
    ] {
        assert_eq!(learn_limit(strange), None, "{strange}");
    }
}

proptest! {
    #[test]
    fn an_unknown_code_is_tried_again_and_never_quarantined(code in "[A-Z][A-Za-z.]{0,30}Zz") {
        prop_assert_eq!(call(Some(&code), 400).class, Unknown);
        prop_assert_eq!(entry(&code).class, Unknown);
    }

    #[test]
    fn a_learnt_limit_is_within_bounds(text in "(.{0,5}[Mm]ust be shorter than [0-9]{0,8} bytes.{0,5})|.{0,40}") {
        if let Some(limit) = learn_limit(&text) {
            prop_assert!((LEAST_MESSAGE_BYTES..=MESSAGE_BYTES).contains(&limit));
        }
    }
}

#[test]
fn a_signature_out_of_time_means_the_clock() {
    let early =
        "Signature not yet current: 20360101T000000Z is still later than 20300101T000500Z (20300101T000000Z + 5 min.)";
    let late = "Signature expired: 20190101T000000Z is now earlier than 20300101T000000Z (20300101T000500Z - 5 min.)";
    let key = "The request signature we calculated does not match the signature you provided.";
    for code in ["InvalidSignatureException", "SignatureDoesNotMatch"] {
        let of = |text: &str| of_clock(call(Some(code), 403), text);
        for text in [early, late] {
            assert_eq!(of(text).class, OnceMore);
            assert!(of(text).remedy.contains("`timedatectl`") && !of(text).remedy.contains("credentials"), "{code}");
        }
        assert!(of(key).remedy.contains("install the queue's credentials again"), "{code}");
    }
    assert_eq!(of_clock(call(Some("AccessDenied"), 403), late), call(Some("AccessDenied"), 403));
    assert!(call(Some("RequestTimeTooSkewed"), 403).remedy.contains("`timedatectl`"));
}
