//! Where a request comes in, and so what it must show and may do.

use crate::status::token::TokenFile;
use http::{Method, Request, StatusCode, header};
use std::sync::Arc;

/// Where a request comes in.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// A loopback address: a client that is on this machine, and names it.
    Loopback,
    /// Any address: a client that has the token.
    Token(Arc<TokenFile>),
    /// The control socket: root and the agent's user, who may also change something.
    Control,
}

/// Whether a request may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The request may come in.
    In,
    /// It may not: status and text of the answer.
    Out(StatusCode, &'static str),
    /// It may not, because its token is wrong.
    WrongToken,
}

/// The answer to a request without the token.
pub(super) const UNAUTHORIZED: &str = "the token of status.token_file, as the password\n";

impl Door {
    /// Judges a request by its head. Looks at the token's file where there is one.
    pub(super) async fn judge<B>(&self, request: &Request<B>) -> Verdict {
        match self {
            Door::Control => Verdict::In,
            Door::Loopback if asks_for_us(request) => Verdict::In,
            Door::Loopback => Verdict::Out(StatusCode::MISDIRECTED_REQUEST, "ask for the address itself\n"),
            Door::Token(file) => {
                let Some(given) = request.headers().get(header::AUTHORIZATION) else {
                    // The first request of every browser, and no guess.
                    return Verdict::Out(StatusCode::UNAUTHORIZED, UNAUTHORIZED);
                };
                let closed = "closed: `tidegate status` on the gateway says why\n";
                match file.look().await {
                    None => Verdict::Out(StatusCode::SERVICE_UNAVAILABLE, closed),
                    Some(token) if token.is_given(Some(given)) => Verdict::In,
                    Some(_) => Verdict::WrongToken,
                }
            }
        }
    }

    /// Waits until another request can be judged. A client that comes faster than that waits outside, or those whose
    /// requests are being judged would have all the places.
    pub(super) async fn ready(&self) {
        if let Door::Token(file) = self {
            file.ready().await;
        }
    }

    /// Whether a request is answered in a moment: the health checks; on the control socket all but waits and changes.
    pub(super) fn is_brief<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match self {
            Door::Control => get && path != "/messages",
            Door::Loopback | Door::Token(_) => ["/livez", "/readyz"].contains(&path),
        }
    }
}

/// Whether the request names this machine as browsers write it: another site's page whose name was made to point here
/// would name itself. A request without a name does not come from a browser.
fn asks_for_us<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    crate::config::queue_url::is_loopback_host(authority.host())
}
