//! What a waiting lane looks for: a mended cause, and the link's return.

use crate::drain::governor::GateState;
use crate::drain::task::{Drain, Event};
use crate::sqs::{BatchSender, FaultClass};
use futures_util::FutureExt;
use std::time::Duration;
use tokio::time::Instant;

/// While parked, how often a cheap look is taken whether the cause is mended.
const MENDED_LOOK: Duration = Duration::from_secs(2);
/// While the link is away, how often a connection is tried.
const LINK_LOOK: Duration = Duration::from_secs(5);
/// A sender that cannot look is not asked again in this outage.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl<S: BatchSender> Drain<S> {
    /// The gateway's addresses or routes have changed.
    pub(super) fn link_returned(&mut self) {
        // First: what is tried now goes by a connection of now.
        self.context.sender.link_changed();
        // Another way may pass what this one does not.
        self.batcher.release_all();
        if self.governor.link_returned(Instant::now()) {
            tracing::info!(queue = self.lane_name(), "addresses or routes have changed: the queue is tried at once");
        }
    }

    /// A person says that the cause is mended, whatever it was.
    pub(super) fn retry_now(&mut self) {
        let now = Instant::now();
        self.governor.retry_now(now);
        self.batcher.release_all();
        self.read_after = None;
    }

    fn gate_is_parked(&self) -> bool {
        let parked =
            |class| matches!(class, FaultClass::WaitForConfiguration | FaultClass::WaitForClock | FaultClass::OnceMore);
        matches!(self.governor.state(), GateState::Waiting { cause, .. } if parked(cause.class))
    }

    /// While parked, looks every [`MENDED_LOOK`] whether the cause is mended, however busy the lane is otherwise.
    pub(super) fn look_whether_mended(&mut self) {
        let now = Instant::now();
        if !self.gate_is_parked() {
            self.look_at = None;
        } else if self.look_at.is_none_or(|at| at <= now) {
            self.look_at = Some(now + MENDED_LOOK);
            if self.context.sender.is_mended() {
                self.governor.wake(now);
            }
        }
    }

    /// While the link is away, looks every [`LINK_LOOK`] whether it is back: the router's uplink gives no sign when it returns.
    pub(super) fn look_for_link(&mut self) {
        let now = Instant::now();
        if !self.options.link_probe || !self.governor.waits_for_link() {
            self.reach_at = None;
        } else if !self.reaching && *self.reach_at.get_or_insert(now + LINK_LOOK) <= now {
            self.reaching = true;
            let sender = self.context.sender.clone();
            self.shared.lock().link_probes += 1;
            self.events.push(async move { Event::Reached(sender.reach().await) }.boxed());
        }
    }

    /// The look for the link has its answer; `None`: this sender cannot tell.
    pub(super) fn reached(&mut self, answer: Option<bool>) {
        let now = Instant::now();
        self.reaching = false;
        self.reach_at = Some(now + if answer.is_some() { LINK_LOOK } else { NEVER });
        if answer.is_some_and(|yes| self.governor.reached(now, yes)) {
            tracing::info!(queue = self.lane_name(), "the endpoint takes connections again: the queue is tried");
        }
    }
}
