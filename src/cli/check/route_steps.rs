//! What is said of routes and filters in the same words, whether the running agent tells it or a guest has seen it.

use crate::cli::check::Step;
use crate::config::RouteConfig;

/// This is not a refusal: the broker's access list needs no change.
pub(super) fn late(step: String, waited_s: u64) -> Step {
    let found = format!("no answer within {waited_s} s: the broker has refused nothing; it is overloaded, or hangs");
    let next = "look at its load and its log (top; journalctl -u mosquitto), then: tidegate check --listen 60";
    Step::bad(step, found, next)
}

pub(super) fn weak_grant(step: String) -> Step {
    let next = "let the broker grant QoS 1: with 0 it cannot hold anything back for us";
    Step::bad(step, "granted with QoS 0", next)
}

pub(super) fn refused(step: String) -> Step {
    Step::bad(step, "refused by the broker", "allow it in the broker's access list")
}

pub(super) fn of_route(index: usize, route: &RouteConfig) -> String {
    format!("route {} ({})", index + 1, route.profile.name())
}

pub(super) fn silent(step: String, how_long: &str) -> Step {
    let next = "wait for a sensor, or listen longer (--listen 60); a granted filter does not prove that we may read it";
    Step::open(step, format!("silent {how_long}"), next)
}

pub(super) fn weak_messages(step: String, found: String, route: &RouteConfig) -> Step {
    Step::bad(step, found, format!("{}: QoS 0 is lost while the agent is away", route.profile.qos_remedy()))
}
