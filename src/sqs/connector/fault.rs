//! What went wrong below HTTP, and whether the request can have reached the service.
//!
//! The SDK throws refused connections and connections that broke after the request was written into one variant. The
//! difference matters: what was never sent was surely not accepted. It is kept in [`NetError::never_sent`], which is
//! among the sources of the SDK's error.

use crate::sqs::connector::body::TooLate;
use crate::sqs::connector::ended::Ended;
use aws_smithy_runtime_api::client::result::ConnectorError;
use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

type BoxError = Box<dyn Error + Send + Sync>;

/// A failure of the network.
#[derive(Debug)]
pub struct NetError {
    /// Whether it is certain that no part of the request was sent: name, TCP, proxy or TLS failed.
    pub never_sent: bool,
    stage: &'static str,
    source: BoxError,
}

impl NetError {
    /// An attempt was ended.
    pub(super) fn ended(why: Ended) -> NetError {
        NetError { never_sent: false, stage: "no answer", source: why.into() }
    }

    /// No answer came in time.
    pub(in crate::sqs) fn no_answer(limit: Duration) -> NetError {
        let source = io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {limit:?}"));
        NetError { never_sent: false, stage: "no answer", source: source.into() }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage)
    }
}

impl Error for NetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The proxy did not open a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyRefusal {
    /// It wants a user name and a password, or others than those given.
    #[error("the proxy wants a user name and password")]
    Password,
    /// It does not permit the way, or cannot go it itself; its status is not handed on.
    #[error("the proxy does not open a tunnel")]
    Tunnel,
}

/// A server or a proxy took the connection, and then nothing came of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no connection within {limit:?}, TLS included")]
pub struct Silent {
    /// The server, with scheme, name and port: `https://sqs.eu-west-1.amazonaws.com`.
    pub server: String,
    /// The proxy on the way to it, alike.
    pub proxy: Option<String>,
    /// The time it had.
    pub limit: Duration,
}

/// The answer's body broke off, or has no end.
pub(super) fn cut_off(source: BoxError) -> ConnectorError {
    let net = NetError { never_sent: false, stage: "the answer is cut off or cannot be read", source };
    ConnectorError::other(net.into(), None)
}

/// The pool's error as the SDK wants it.
pub(super) fn connector_error(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let connecting = error.is_connect();
    let stage = if connecting { "cannot connect" } else { "the connection broke before the answer" };
    if find::<TooLate>(&error).is_some() {
        let net: BoxError = NetError { never_sent: true, stage: "not sent", source: error.into() }.into();
        return ConnectorError::other(net, None);
    }
    let late = find::<io::Error>(&error).is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    let net: BoxError = NetError { never_sent: connecting, stage, source: error.into() }.into();
    match (connecting, late) {
        (true, true) => ConnectorError::timeout(net).never_connected(),
        (true, false) => ConnectorError::io(net).never_connected(),
        (false, _) => ConnectorError::other(net, None),
    }
}

/// The first error of type `T` among `error` and its sources. Looks into `io::Error`s too, whose `source` skips the error
/// that they carry.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

/// `error` and its sources as one line, each said once.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // The pool's own layer says no more than what we know: "client error (Connect)".
        let text = match error.is::<hyper_util::client::legacy::Error>() {
            true => String::new(),
            false => error.to_string().replace(['\r', '\n'], " "),
        };
        if !text.is_empty() && !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_inside_io_errors_are_found_and_said_once() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let carried = io::Error::other(io::Error::other(tls.clone()));
        let net = NetError { never_sent: true, stage: "cannot connect", source: carried.into() };
        assert_eq!(find::<rustls::Error>(&net), Some(&tls));
        assert!(find::<fmt::Error>(&net).is_none());
        assert_eq!(one_line(&net), "cannot connect: invalid peer certificate: UnknownIssuer");
    }
}
