//! What a link does that has the kernel's own TCP on both sides: it carries little, loses packets, falls silent, comes back under
//! another address. `testkit::link` makes it, in the worlds whose plan asks for it; the other faults of such a world meet it, too.
//!
//! No fault here tells the agent to try now: that it goes on by itself is part of what is tried.

use crate::acts::{FIND, LOOK};
use crate::classes::Act;
use crate::world::{Undo, World};
use std::time::Duration;
use testkit::link::{Shape, SlowLink};
use testkit::{Error, Result};
use tokio::time::{Instant, sleep};

/// A link with which nothing is wrong.
pub(crate) const GOOD: Shape = Shape { bit_s: 100_000_000, rtt_ms: 2, loss_percent: 0 };
/// Of one that loses packets.
const LOSSY_BIT_S: u32 = 2_000_000;
const LOSSY_RTT_MS: u32 = 50;
/// So many packets over a slow link are a batch on its way and its answer.
const CARRIED: u64 = 20;
/// Each count is a question to another process.
const BETWEEN_COUNTS: Duration = Duration::from_millis(20);

impl Act {
    /// Whether it is one of these.
    pub(crate) fn is_of_own_link(&self) -> bool {
        matches!(self, Act::SlowLink { .. } | Act::LossyLink { .. } | Act::SilentLink { .. } | Act::MovedLink { .. })
    }
}

impl World {
    /// The link, in a world that has one.
    pub(crate) fn own_link(&mut self) -> Result<&mut SlowLink> {
        let missing = || Error::Peer { what: "a fault of a link".into(), text: "this world has none".into() };
        self.link.as_mut().ok_or_else(missing)
    }

    /// Does one of these faults; how often it really happened.
    pub(crate) async fn strike_own_link(&mut self, act: &Act) -> Result<u64> {
        let (carried, lost) = self.own_link()?.count().await?;
        match *act {
            Act::SlowLink { bit_s, rtt_ms, slow } => {
                self.own_link()?.shape(Shape { bit_s, rtt_ms, loss_percent: 0 }).await?;
                self.later(slow, Undo::GoodLink);
                self.packets(|now, _| now >= carried + CARRIED).await
            }
            Act::LossyLink { loss_percent, lossy } => {
                self.own_link()?.shape(Shape { bit_s: LOSSY_BIT_S, rtt_ms: LOSSY_RTT_MS, loss_percent }).await?;
                self.later(lossy, Undo::GoodLink);
                self.packets(|_, now| now > lost).await
            }
            Act::SilentLink { silent } => {
                self.own_link()?.tell("down").await?;
                self.later(silent, Undo::LoudLink);
                self.packets(|_, now| now > lost).await
            }
            Act::MovedLink { away } => {
                let before = self.uplink.accepted();
                if !away.is_zero() {
                    self.own_link()?.tell("down").await?;
                    sleep(away).await;
                }
                self.own_link()?.tell("move").await?;
                let start = Instant::now();
                while self.uplink.accepted() == before && start.elapsed() < FIND {
                    sleep(LOOK).await;
                }
                Ok((self.uplink.accepted() - before).min(1))
            }
            _ => Ok(0),
        }
    }

    /// Looks until the packets carried and lost so far are `enough`, or gives up: 1 or 0.
    async fn packets(&mut self, enough: impl Fn(u64, u64) -> bool) -> Result<u64> {
        let start = Instant::now();
        while start.elapsed() < FIND {
            let (carried, lost) = self.own_link()?.count().await?;
            if enough(carried, lost) {
                return Ok(1);
            }
            sleep(BETWEEN_COUNTS).await;
        }
        Ok(0)
    }
}
