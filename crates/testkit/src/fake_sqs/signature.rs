//! Which key a request is signed with, and what it may do: signature version 4 and a key's allowed actions.
//!
//! The signature is really computed from the key's secret over the request as it came. The order of the checks is the
//! service's: is the key known, is the time right, does the signature fit, has the session expired, is the action
//! allowed. So a wrong clock has another answer than a wrong secret: a gateway in the field must tell them apart.

use super::answer::Refusal;
use crate::hex::hex;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Largest difference between a signature's time and the service's.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

/// Which actions a key may use. As on the service, sending in batches needs no separate action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// `sqs:SendMessage` (and with it the batch call): what the agent asks for.
    SendOnly,
    /// Every action: what the consumer needs.
    All,
    /// Nothing: a user without a policy.
    Nothing,
}

/// An access key that the stub knows.
#[derive(Clone)]
pub struct AccessKey {
    /// Access key id, sent in the open.
    pub id: String,
    /// Secret access key, never sent.
    pub secret: String,
    /// Session token of temporary credentials.
    pub token: Option<String>,
    /// What it may do.
    pub allowed: Allowed,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl AccessKey {
    /// The key that the stub gives to the agent: it may send and nothing else.
    pub fn agent() -> AccessKey {
        AccessKey::new("AKIAAGENT0000EXAMPLE", "agentSecret/000000000000000000EXAMPLEKEY", Allowed::SendOnly)
    }

    /// The key that the stub gives to the consumer.
    pub fn consumer() -> AccessKey {
        AccessKey::new("AKIACONSUMER0EXAMPLE", "consumerSecret/000000000000000EXAMPLEKEY", Allowed::All)
    }

    /// A key without a session token.
    pub fn new(id: &str, secret: &str, allowed: Allowed) -> AccessKey {
        AccessKey { id: id.into(), secret: secret.into(), token: None, allowed }
    }
}

/// The parts of a request that its signature covers.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// Finds the key that signed `request`, or says as the service would why there is none.
pub(crate) fn authenticate<'k>(
    request: &Signed<'_>,
    keys: &'k [AccessKey],
    region: &str,
    now: SystemTime,
) -> Result<&'k AccessKey, Refusal> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or_else(|| {
        Refusal::common("MissingAuthenticationToken", "Request is missing Authentication Token").status(403)
    })?;
    let claim = Claim::parse(authorization)
        .ok_or_else(|| Refusal::common("IncompleteSignature", format!("'{authorization}' is not a signature")))?;
    let unknown = || {
        Refusal::common("InvalidClientTokenId", "The security token included in the request is invalid.").status(403)
    };
    let key = keys.iter().find(|key| key.id == claim.key_id).ok_or_else(unknown)?;
    if key.token.as_deref() != header("x-amz-security-token") {
        return Err(unknown());
    }
    let date = header("x-amz-date").unwrap_or_default();
    check_time(date, now)?;
    if claim.scope != format!("{}/{region}/sqs/aws4_request", date.get(..8).unwrap_or_default()) {
        let text = format!("Credential should be scoped to a valid region, not '{}'.", claim.scope);
        return Err(Refusal::common("SignatureDoesNotMatch", text).status(403));
    }
    let expected = signature(request, &claim, &key.secret, date);
    if expected != claim.signature {
        let text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                    Access Key and signing method. Consult the service documentation for details.";
        return Err(Refusal::common("SignatureDoesNotMatch", text).status(403));
    }
    Ok(key)
}

/// Whether `key` may use the action of `operation` on `queue`.
pub(crate) fn authorize(key: &AccessKey, operation: &str, queue: &str) -> Result<(), Refusal> {
    let allowed = match key.allowed {
        Allowed::All => true,
        Allowed::SendOnly => matches!(operation, "SendMessage" | "SendMessageBatch"),
        Allowed::Nothing => false,
    };
    if allowed {
        return Ok(());
    }
    let action = operation.trim_end_matches("Batch").to_ascii_lowercase();
    let text = format!(
        "User: {} is not authorized to perform: sqs:{action} on resource: {queue} because no identity-based policy \
         allows the sqs:{action} action",
        key.id
    );
    Err(Refusal::common("AccessDenied", text).status(403))
}

/// What an `Authorization` header claims.
struct Claim<'a> {
    key_id: &'a str,
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(authorization: &'a str) -> Option<Claim<'a>> {
        let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| parts.split(',').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='));
        let (key_id, scope) = part("Credential")?.split_once('/')?;
        Some(Claim { key_id, scope, signed_headers: part("SignedHeaders")?, signature: part("Signature")? })
    }
}

fn check_time(date: &str, now: SystemTime) -> Result<(), Refusal> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let refuse = |text: String| Err(Refusal::common("InvalidSignatureException", text).status(403));
    let Ok(at) = PrimitiveDateTime::parse(date, format) else {
        return refuse(format!("Date '{date}' must be in ISO-8601 'basic format'."));
    };
    let seconds = |t: SystemTime| t.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let text = |t: SystemTime| {
        OffsetDateTime::from_unix_timestamp(seconds(t)).ok().and_then(|t| t.format(format).ok()).unwrap_or_default()
    };
    let (at, service, tolerance) = (at.assume_utc().unix_timestamp(), seconds(now), TOLERANCE.as_secs() as i64);
    if at < service - tolerance {
        let (limit, now) = (text(now - TOLERANCE), text(now));
        return refuse(format!("Signature expired: {date} is now earlier than {limit} ({now} - 15 min.)"));
    }
    if at > service + tolerance {
        let (limit, now) = (text(now + TOLERANCE), text(now));
        return refuse(format!("Signature not yet current: {date} is still later than {limit} ({now} + 15 min.)"));
    }
    Ok(())
}

fn signature(request: &Signed<'_>, claim: &Claim<'_>, secret: &str, date: &str) -> String {
    let mut headers = String::new();
    for name in claim.signed_headers.split(';') {
        let values: Vec<&str> = request.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
        let value = values.join(",");
        headers += &format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let Signed { method, path, query, body, .. } = request;
    let digest = hex(&Sha256::digest(body));
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{}\n{digest}", claim.signed_headers);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", claim.scope, hex(&Sha256::digest(canonical)));
    let seed = format!("AWS4{secret}").into_bytes();
    let key = claim.scope.split('/').fold(seed, |key, part| mac(&key, part.as_bytes()));
    hex(&mac(&key, to_sign.as_bytes()))
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
