//! Why the demo could not come to a verdict: what happened, and what to do about it.

use std::fmt;

/// Something that is not the agent's fault, or that ended it before it could be judged.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: String,
}

impl Failure {
    /// What happened, and what to do next.
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Failure {
        Failure { what: what.into(), next: next.into() }
    }

    /// For `map_err`: a peer or the agent failed at something.
    pub(crate) fn at(doing: &str, next: &str) -> impl FnOnce(testkit::Error) -> Failure {
        move |error| Failure::new(format!("{doing}: {error}"), next)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\ndemo: what to do: {}", self.what, self.next)
    }
}
