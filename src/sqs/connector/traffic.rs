//! Bytes on the uplink, as a mobile operator counts them: IP packets, both ways, what was sent again included.
//!
//! The kernel tells bytes and segments of each connection; each segment has an IP and a TCP header with timestamps. What goes before a
//! connection is there, or in vain, is reckoned by the kernel's tries of a SYN. Not in it are DNS, packets after the last look at a
//! connection that ends, and the data of packets that came twice. The counts are of the process: queues share connections, and a reload changes no uplink.

use crate::sync::locked;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tcp_progress::Progress;
use tokio::time::Instant;

/// TCP's header with its timestamps.
const TCP: u64 = 32;
/// A SYN has more options.
const SYN: u64 = 40;

static SENT: AtomicU64 = AtomicU64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Bytes of IP packets, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Carried {
    /// To the queues.
    pub sent: u64,
    /// From them.
    pub received: u64,
}

impl std::ops::Sub for Carried {
    type Output = Carried;

    fn sub(self, before: Carried) -> Carried {
        let Carried { sent, received } = self;
        Carried { sent: sent.saturating_sub(before.sent), received: received.saturating_sub(before.received) }
    }
}

impl std::ops::AddAssign for Carried {
    fn add_assign(&mut self, more: Carried) {
        self.sent = self.sent.saturating_add(more.sent);
        self.received = self.received.saturating_add(more.received);
    }
}

/// What went over all uplinks since the process began.
pub fn carried() -> Carried {
    Carried { sent: SENT.load(Relaxed), received: RECEIVED.load(Relaxed) }
}

fn count(more: Carried) {
    SENT.fetch_add(more.sent, Relaxed);
    RECEIVED.fetch_add(more.received, Relaxed);
}

/// Bytes of an IP header.
fn ip(peer: IpAddr) -> u64 {
    if peer.is_ipv4() { 20 } else { 40 }
}

/// One connection's share of it.
#[derive(Debug)]
pub(super) struct OfConnection {
    header: u64,
    told: Mutex<Carried>,
}

impl OfConnection {
    pub(super) fn to(peer: Option<IpAddr>) -> OfConnection {
        OfConnection { header: TCP + peer.map_or(20, ip), told: Mutex::default() }
    }

    /// Counts what has gone since the look before.
    pub(super) fn look(&self, progress: &Progress) {
        let now = volume(progress, self.header);
        let mut told = locked(&self.told);
        count(now - *told);
        *told = now;
    }
}

/// Bytes of a connection's packets.
fn volume(progress: &Progress, header: u64) -> Carried {
    let [out, come] = progress.segments.map(|segments| u64::from(segments) * header);
    Carried { sent: progress.sent + out, received: progress.received + come }
}

/// A connection that is not there yet; dropped when it is given up.
#[derive(Debug)]
pub(super) struct Dialled {
    syn: u64,
    since: Instant,
    /// Its kernel's figures say it, or nothing left.
    is_told: bool,
}

impl Dialled {
    pub(super) fn to(peer: IpAddr) -> Dialled {
        Dialled { syn: SYN + ip(peer), since: Instant::now(), is_told: false }
    }

    /// It has come to this.
    pub(super) fn ended<T>(&mut self, ended: &std::io::Result<T>) {
        use std::io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable, PermissionDenied};
        self.is_told = match ended {
            Ok(_) => true,
            Err(error) => {
                matches!(error.kind(), AddrNotAvailable | HostUnreachable | NetworkUnreachable | PermissionDenied)
            }
        };
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        if !self.is_told {
            count(Carried { sent: self.syn * syns(self.since.elapsed()), received: 0 });
        }
    }
}

/// SYNs that have gone after so long: the kernel's tries are a second apart, then two, then four (RFC 6298).
fn syns(after: Duration) -> u64 {
    1 + u64::from((after.as_secs() + 1).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn syns_are_a_second_apart_then_two_then_four() {
        let after = |ms| syns(Duration::from_millis(ms));
        assert_eq!([0, 999, 1_000, 2_999, 3_000, 6_999, 7_000].map(after), [1, 1, 2, 2, 3, 3, 4]);
    }

    proptest! {
        /// However often it is looked at, a connection counts for what went over it, once.
        #[test]
        fn looks_add_up_to_the_last_one(steps in proptest::collection::vec((0..9_000_u64, 0..9_000_u64, 0..9_u32, 0..9_u32), 1..20)) {
            let header = TCP + 20;
            let (mut sent, mut received, mut segments) = (0, 0, [0, 0]);
            let of = OfConnection::to(Some(IpAddr::from([127, 0, 0, 1])));
            for (out, come, out_segments, come_segments) in steps {
                (sent, received) = (sent + out, received + come);
                segments = [segments[0] + out_segments, segments[1] + come_segments];
                let progress = Progress {
                    acked: 0, received, sent, segments, unsent: 0, unacked_segments: 0, segment: 0,
                    retransmit_after: Duration::ZERO, tries_in: Duration::ZERO, least_round_trip: None,
                };
                of.look(&progress);
                let all = Carried {
                    sent: sent + header * u64::from(segments[0]),
                    received: received + header * u64::from(segments[1]),
                };
                prop_assert_eq!(*locked(&of.told), all);
            }
        }
    }
}
