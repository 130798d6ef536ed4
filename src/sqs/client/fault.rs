//! The SDK's error as a [`Fault`]: what to do, in what words, and whether the request can have arrived.
//!
//! Only what the connector says was never sent counts as never sent. All else, even a clear refusal, is left to the
//! drain as maybe accepted: taking it so costs a resend that the queue absorbs, the other mistake costs the order.

use crate::clock::Clock;
use crate::sqs::connector::ended::Ended;
use crate::sqs::connector::fault::{NetError, ProxyRefusal, Silent, find, one_line};
use crate::sqs::connector::tcp::TcpError;
use crate::sqs::credentials::{FileError, Unrenewed};
use crate::sqs::{Fault, FaultClass, RETURNED, STALLED, classify};
use crate::tls::TlsTrouble;
use crate::visible;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

/// The service may ask for no longer than this: a proxy's `Retry-After` of a day must not stop a lane for a day.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Characters kept of a text that came from outside.
const TEXT_CHARS: usize = 300;

/// What a person can do about a proxy that opens no tunnel. Some refuse a wrong password so, too: tinyproxy says 401 where HTTP has 407.
const TUNNEL: &str = "if it stays so, permit CONNECT to the queue's host and port in the proxy's settings, and check the user name and \
                      password in HTTPS_PROXY";

/// What the clock says about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockView {
    pub(super) plausible: bool,
    pub(super) floor_s: i64,
}

impl ClockView {
    pub(super) fn of(clock: &Clock) -> ClockView {
        ClockView { plausible: clock.plausible(), floor_s: clock.floor_s() }
    }
}

/// What `error` means.
pub(super) fn of(error: &SdkError<SendMessageBatchError, HttpResponse>, clock: ClockView) -> Fault {
    let retry_after = error.raw_response().and_then(retry_after);
    if is_stalled(error) {
        return Fault { code: Some(STALLED.to_owned()), ..link(cause(error), "", false) };
    }
    if let Some(Ended::LinkReturned) = find(error) {
        let never_sent = find::<NetError>(error).is_some_and(|net| net.never_sent);
        return Fault { code: Some(RETURNED.to_owned()), ..link(cause(error), "", never_sent) };
    }
    if let Some(Ended::Dead | Ended::LinkChanged) = find(error) {
        return link(cause(error), "", false);
    }
    let fault = match error {
        SdkError::ServiceError(refusal) => refused(refusal.err(), refusal.raw().status().as_u16()),
        SdkError::ResponseError(_) => {
            let text = format!("the answer is cut off or cannot be read: {}", cause(error));
            link(text, "", false)
        }
        SdkError::TimeoutError(_) => link(format!("no answer in time: {}", cause(error)), "", false),
        error => not_answered(error, clock),
    };
    Fault { retry_after, ..fault }
}

/// Whether the link was too slow, or stood still: less at once may get through.
fn is_stalled(error: &(dyn Error + 'static)) -> bool {
    matches!(find(error), Some(Ended::Stalled { .. } | Ended::TooSlow))
}

/// No answer within `limit`.
pub(super) fn no_answer(limit: Duration) -> Fault {
    link(format!("no answer within {:.1} s", limit.as_secs_f64()), "", false)
}

/// A batch that cannot be put into a request.
pub(super) fn not_built(why: &str) -> Fault {
    Fault {
        class: FaultClass::Bug,
        code: None,
        text: format!("the request cannot be built: {}", clip(why)),
        remedy: "please report it with the log".into(),
        never_sent: true,
        retry_after: None,
    }
}

fn refused(error: &SendMessageBatchError, status: u16) -> Fault {
    // Clipped like any text from outside: it is shown, logged and counted by.
    let code = error.meta().code().map(|code| clip(classify::strip_prefix(code))).filter(|code| !code.is_empty());
    let code = code.as_deref();
    let message = clip(error.meta().message().unwrap_or_default());
    let mut meaning = classify::of_clock(classify::call(code, status), &message);
    if meaning.class == FaultClass::Bug && classify::learn_limit(&message).is_some() {
        // A queue that refuses the whole batch for one entry's size: smaller batches find the entry.
        meaning.class = FaultClass::Shrink;
        meaning.remedy = "";
    }
    let said = match (code, message.as_str()) {
        (Some(code), "") => code.to_owned(),
        (Some(code), message) => format!("{code}: {message}"),
        (None, _) => format!("HTTP status {status}"),
    };
    Fault {
        class: meaning.class,
        code: code.map(str::to_owned),
        text: format!("{} ({said})", meaning.reason),
        remedy: meaning.remedy.into(),
        never_sent: false,
        retry_after: None,
    }
}

/// Faults before there was any answer: credentials, TLS, the network.
fn not_answered(error: &(dyn Error + 'static), clock: ClockView) -> Fault {
    let never_sent = find::<NetError>(error).is_some_and(|net| net.never_sent);
    let text = cause(error);
    if let Some(file) = find::<FileError>(error) {
        return waits(file.to_string(), "put the IAM console's .csv there, readable for the agent");
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        if is_of_link(credentials) {
            return link(clip(&format!("no credentials: {text}")), "", true);
        }
        return waits(
            format!("no credentials: {text}"),
            "check what the AWS chain should find: environment, profile, role",
        );
    }
    if let Some(ProxyRefusal::Password) = find(error) {
        return waits(text, "set the proxy's user name and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT");
    }
    if let Some(ProxyRefusal::Tunnel) = find(error) {
        return link(text, TUNNEL, never_sent);
    }
    if let Some(silent) = find::<Silent>(error) {
        return link(text, &silent_remedy(silent), never_sent);
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        let (class, remedy) = tls_meaning(tls, clock);
        return Fault { class, remedy: remedy.into(), ..link(in_our_words(error, tls), "", never_sent) };
    }
    match error.downcast_ref::<SdkError<SendMessageBatchError, HttpResponse>>() {
        Some(SdkError::ConstructionFailure(_)) => not_built(&text),
        _ => link(text, &find(error).map(tcp_remedy).unwrap_or_default(), never_sent),
    }
}

/// Whether credentials are missing because their source cannot be reached.
fn is_of_link(error: &CredentialsError) -> bool {
    let of_network = find::<Unrenewed>(error).is_some() || find::<NetError>(error).is_some();
    of_network || matches!(error, CredentialsError::ProviderTimedOut(_))
}

/// What a person can look at where no TCP connection comes about.
fn tcp_remedy(error: &TcpError) -> String {
    match error {
        TcpError::Name { host, .. } => {
            format!("if it stays so, check the name, and the gateway's name server: getent ahosts {host}")
        }
        TcpError::Address { first, source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused => {
                format!("if it stays so, check that a server listens at {first}: the endpoint, the proxy settings")
            }
            ErrorKind::TimedOut => format!(
                "if it stays so, check the uplink, and that no firewall drops TCP to port {}: ip route get {}",
                first.port(),
                first.ip()
            ),
            _ => format!("if it stays so, check the uplink's address and route: ip route get {}", first.ip()),
        },
    }
}

/// What a person can look at where a connection is taken and no answer comes: a try by hand shows which side is silent.
fn silent_remedy(silent: &Silent) -> String {
    let Silent { server, proxy, .. } = silent;
    match proxy {
        Some(proxy) => format!(
            "if it stays so, restart the proxy, which takes connections and opens none, and look what it says: \
             curl -v -x {proxy} {server}"
        ),
        None => {
            format!("if it stays so, look who takes connections there and does not speak TLS: curl -v {server}")
        }
    }
}

/// What a TLS error asks for. The clock is to blame where another clock could have made the certificate good: always when
/// it is "not valid yet", and when it has "expired" only after the last instant known to have passed.
fn tls_meaning(error: &rustls::Error, clock: ClockView) -> (FaultClass, &'static str) {
    use FaultClass::{Link, WaitForClock, WaitForConfiguration};
    const CLOCK: &str = "set the gateway's clock (NTP); tidegate sends again by itself once it is right";
    const CA: &str =
        "if a proxy or firewall inspects TLS, give its CA certificate as ca_file; if not, someone else answers";
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (WaitForClock, CLOCK),
            CertificateError::ExpiredContext { not_after, .. }
                if i64::try_from(not_after.as_secs()).is_ok_and(|end| end >= clock.floor_s) =>
            {
                (WaitForClock, CLOCK)
            }
            CertificateError::Expired if !clock.plausible => (WaitForClock, CLOCK),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                WaitForConfiguration,
                "the server's certificate must be renewed; if the gateway's clock is ahead, set it",
            ),
            _ => (WaitForConfiguration, CA),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateExpired,
        ) => (WaitForConfiguration, "the server refuses the client certificate, or wants one"),
        _ => (Link, "if it stays so, something that does not speak TLS answers: a login page, or the wrong port"),
    }
}

/// The text with our words in the place of the TLS library's.
fn in_our_words(error: &(dyn Error + 'static), tls: &rustls::Error) -> String {
    let line = whole_cause(error);
    let stage = line.split(&tls.to_string()).next().unwrap_or_default().trim_end_matches([':', ' ']);
    clip(&format!("{stage}: {}", TlsTrouble::of(tls)))
}

fn link(text: String, remedy: &str, never_sent: bool) -> Fault {
    Fault { class: FaultClass::Link, code: None, text, remedy: remedy.into(), never_sent, retry_after: None }
}

/// Credentials or proxy: mended by a person, and nothing was sent.
fn waits(text: String, remedy: &str) -> Fault {
    Fault { class: FaultClass::WaitForConfiguration, ..link(clip(&text), remedy, true) }
}

/// The cause in one line: from where the network's part begins, since the SDK's layers above it say nothing.
fn cause(error: &(dyn Error + 'static)) -> String {
    clip(&whole_cause(error))
}

fn whole_cause(error: &(dyn Error + 'static)) -> String {
    let from = match find::<NetError>(error) {
        Some(net) => net,
        None => error.source().unwrap_or(error),
    };
    one_line(from)
}

/// One line of bounded length out of a text from outside.
pub(super) fn clip(text: &str) -> String {
    let mut words = visible::line(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned();
    if let Some((cut, _)) = words.char_indices().nth(TEXT_CHARS) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

/// How long the service asks us to wait: AWS's headers count milliseconds, HTTP's counts seconds.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let number = |name| response.headers().get(name)?.trim().parse::<u64>().ok();
    let millis = number("x-amzn-retry-after").or_else(|| number("x-amz-retry-after"));
    let wait = millis.map(Duration::from_millis).or_else(|| number("retry-after").map(Duration::from_secs));
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::UnixTime;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_clock_is_blamed_only_if_another_could_help() {
        use FaultClass::{WaitForClock, WaitForConfiguration};
        let class = |error: CertificateError, plausible| {
            tls_meaning(&rustls::Error::InvalidCertificate(error), ClockView { plausible, floor_s: 1000 }).0
        };
        for plausible in [true, false] {
            let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(2) };
            assert_eq!(class(early, plausible), WaitForClock);
            let ahead = CertificateError::ExpiredContext { time: at(9000), not_after: at(1000) };
            assert_eq!(class(ahead, plausible), WaitForClock, "good at the floor: the clock may be ahead");
            let gone = CertificateError::ExpiredContext { time: at(9000), not_after: at(999) };
            assert_eq!(class(gone, plausible), WaitForConfiguration, "no right clock is before the floor");
            assert_eq!(class(CertificateError::UnknownIssuer, plausible), WaitForConfiguration);
        }
        assert_eq!(class(CertificateError::Expired, false), WaitForClock);
        assert_eq!(class(CertificateError::Expired, true), WaitForConfiguration);
    }

    #[test]
    fn a_text_from_outside_becomes_one_bounded_line() {
        assert_eq!(clip(" a\r\n\tb\u{1b}[31m "), "a b\u{fffd}[31m");
        assert_eq!(clip(&"é".repeat(1000)).chars().count(), TEXT_CHARS + 1);
    }

    #[test]
    fn a_code_from_outside_is_clipped_like_a_text() {
        let code = format!("com.amazonaws.sqs#Lost\u{7f}\u{1b}[31m{}", "x".repeat(9000));
        let error = SendMessageBatchError::generic(aws_sdk_sqs::error::ErrorMetadata::builder().code(code).build());
        let fault = refused(&error, 400);
        assert!(!fault.text.chars().any(char::is_control), "{fault:?}");
        assert!(
            fault.text.len() < 1_000 && fault.code.is_some_and(|code| code.starts_with("Lost\u{fffd}\u{fffd}[31mxxx"))
        );
    }

    #[test]
    fn a_wait_is_read_in_its_unit_and_bounded() {
        let wait = |name: &'static str, value: &'static str| {
            let mut response = HttpResponse::new(503.try_into().unwrap(), "".into());
            response.headers_mut().insert(name, value);
            retry_after(&response)
        };
        assert_eq!(wait("x-amzn-retry-after", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("x-amz-retry-after", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "86400"), Some(LONGEST_WAIT));
        assert_eq!(wait("retry-after", "Mon, 23 Nov 2026 23:29:10 GMT"), None);
    }
}
