//! A flight that stands still while the link is away: whether the link is back, and TCP does not know it yet.
//!
//! TCP tries again at intervals that double, from what an acknowledgement takes on this link: after an outage of five seconds it may look
//! after ten. No sign of the kernel's tells of a router's uplink. So a flight that stands still is accompanied by connections to the same
//! peer that are given up as soon as they come about. One that does after others did not shows that the link was away and is back. The
//! flight then has twice the time of that connection to move, and is ended otherwise.

use crate::sqs::connector::dial::WireControl;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at the flight.
const LOOK: Duration = Duration::from_millis(250);
/// A flight that moves less often stands still, but on a slow link.
const STILL: Duration = Duration::from_secs(1);
/// Between two connections to a peer that takes them: not the link is away, it is the service that takes its time.
const PAUSE: Duration = Duration::from_secs(2);
/// A link that is there takes a connection in this time, but a slow one.
const CONNECTS: Duration = Duration::from_secs(1);
const SLOW_CONNECTS: Duration = Duration::from_secs(3);
/// A flight over a link that is back moves within this time, but over a slow one.
const MOVES: Duration = Duration::from_millis(500);

/// Waits until the link of a connection was away and is back, and the connection has not moved since.
pub(super) async fn without(connection: impl Fn() -> Option<WireControl>) {
    let (mut last, mut moved, mut away) = ((0, 0), Instant::now(), false);
    loop {
        sleep(LOOK).await;
        let Some(control) = connection() else { continue };
        let (Ok(progress), Some(peer)) = (control.progress(), control.peer()) else { continue };
        let counts = (progress.acked, progress.received);
        if counts != last {
            (last, moved, away) = (counts, Instant::now(), false);
        }
        if moved.elapsed() < STILL.max(progress.retransmit_after) {
            continue;
        }
        let start = Instant::now();
        let patience = (progress.retransmit_after * 2).clamp(CONNECTS, SLOW_CONNECTS);
        match timeout(patience, TcpStream::connect(peer)).await {
            Ok(Ok(_)) if away => {
                sleep(MOVES.max(start.elapsed() * 2)).await;
                if control.progress().is_ok_and(|now| (now.acked, now.received) == last) {
                    return;
                }
            }
            Ok(Ok(_)) => sleep(PAUSE).await,
            _ => away = true,
        }
    }
}
