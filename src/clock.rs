//! Wall time and the time since boot, and how far either can be believed.
//!
//! A gateway without a battery clock may boot in 1970 and step by decades when NTP answers. So every instant carries
//! three facts: the wall clock's milliseconds, the boot's monotonic milliseconds (which survive a step and count
//! through suspend), and what spoke for the wall clock ([`Trust`]). Nothing outside this file reads the wall clock.
//!
//! - It is *wrong* before the latest time known to have passed. That floor is the build time of the binary or the last
//!   good time learnt from the service over verified TLS, carried on by the monotonic clock.
//! - It is *unconfirmed* while no time service is known to keep it: a file from before the last power cut may have set it, hours ago.
//! - It is *confirmed* once the kernel says that it is synchronised, or the service's own time, heard over verified TLS, agrees
//!   with it: the time services of some gateways never tell the kernel. That holds until the wall clock is stepped. So an
//!   outage that keeps the time servers away, too, costs nothing: a clock that only drifts does not leave the
//!   monotonic one, which drifts with it. The kernel is asked before the wall clock is read: a step in between
//!   cannot confirm the time of before.
#![allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that trails the floor by less than this is healthy: the service's seconds and ours are rounded differently.
const MARGIN_MS: i64 = 5 * 60 * 1000;

/// A wall clock that left the monotonic one by less has not been stepped: both are read to the millisecond, one after the other, and
/// time services slew what is less than some tenths of a second.
pub const STEP_MS: u64 = 1000;

/// A wall clock that differs from the service's by less, the way of the answer included, is confirmed by it.
const AGREES_MS: u64 = 10_000;

/// No offset at which the wall clock was confirmed.
const NONE: i64 = i64::MIN;

/// What speaks for a wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Trust {
    /// It is before a time that has surely passed.
    #[default]
    Wrong,
    /// It can be right, and neither kernel nor service says so.
    Unconfirmed,
    /// The kernel calls it synchronised, or the service's time agrees with it; or either did, and it was not stepped since.
    Confirmed,
}

impl Trust {
    /// From the two flags that a journal holds.
    pub(crate) fn kept_as(plausible: bool, confirmed: bool) -> Trust {
        match (plausible, confirmed) {
            (false, _) => Trust::Wrong,
            (true, false) => Trust::Unconfirmed,
            (true, true) => Trust::Confirmed,
        }
    }

    /// Judges a wall clock that is `offset_ms` ahead of the time since boot, and at or after the floor if `plausible`. `kept`: the
    /// kernel calls it synchronised. `confirmed_at`: the offset at which it was confirmed last, if ever in this boot.
    fn of(plausible: bool, kept: bool, offset_ms: i64, confirmed_at: Option<i64>) -> Trust {
        let stands = || confirmed_at.is_some_and(|before| offset_ms.abs_diff(before) < STEP_MS);
        match plausible {
            false => Trust::Wrong,
            true if kept || stands() => Trust::Confirmed,
            true => Trust::Unconfirmed,
        }
    }
}

/// The kernel's id of this boot; two instants of different boots cannot be compared by their monotonic part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BootId(pub [u8; 16]);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One instant, as three facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// Milliseconds since 1970 by the system's wall clock, right or wrong.
    pub wall_ms: i64,
    /// Milliseconds since boot, suspend included.
    pub boottime_ms: u64,
    /// What spoke for the wall clock.
    pub trust: Trust,
}

impl Moment {
    /// The wall clock, if it was confirmed.
    pub fn confirmed_ms(&self) -> Option<i64> {
        Some(self.wall_ms).filter(|_| self.trust == Trust::Confirmed)
    }
}

/// The process's clock; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    boot: BootId,
    /// Wall time minus boot time, in ms, of the latest instant known to have passed.
    floor_offset_ms: AtomicI64,
    /// Last good time in seconds since 1970, learnt from the service; 0 when none was.
    last_good_s: AtomicI64,
    /// Wall time minus boot time, in ms, when the wall clock was confirmed last; [`NONE`].
    confirmed_offset_ms: AtomicI64,
}

impl Clock {
    /// The system's clock with the build time as its floor.
    ///
    /// `last_good_s` is the last good time of an earlier run (seconds since 1970), if one was kept.
    pub fn new(last_good_s: Option<i64>) -> Clock {
        let floor_ms = build_time_s().max(last_good_s.unwrap_or(0)) * 1000;
        Clock(Arc::new(Inner {
            boot: read_boot_id(),
            floor_offset_ms: AtomicI64::new(floor_ms - boottime_ms() as i64),
            last_good_s: AtomicI64::new(last_good_s.unwrap_or(0)),
            confirmed_offset_ms: AtomicI64::new(NONE),
        }))
    }

    /// The present moment, by both clocks.
    pub fn now(&self) -> Moment {
        let kept = is_kept();
        let wall_ms = system_ms();
        let boottime_ms = boottime_ms();
        let offset_ms = wall_ms.saturating_sub(boottime_ms as i64);
        let plausible = offset_ms.saturating_add(MARGIN_MS) >= self.0.floor_offset_ms.load(Relaxed);
        let confirmed_at = Some(self.0.confirmed_offset_ms.load(Relaxed)).filter(|offset| *offset != NONE);
        let trust = Trust::of(plausible, kept, offset_ms, confirmed_at);
        if trust == Trust::Confirmed && kept {
            self.0.confirmed_offset_ms.store(offset_ms, Relaxed);
        }
        Moment { wall_ms, boottime_ms, trust }
    }

    /// The present, and the boot that it is in.
    pub fn present(&self) -> (BootId, Moment) {
        (self.0.boot, self.now())
    }

    /// The id of this boot.
    pub fn boot(&self) -> BootId {
        self.0.boot
    }

    /// The latest of system clock, build time and last good time, in seconds since 1970: what certificates are judged by.
    pub fn certificate_time_s(&self) -> i64 {
        (self.0.floor_offset_ms.load(Relaxed) + boottime_ms() as i64).max(system_ms()) / 1000
    }

    /// The latest instant known to have passed, in seconds since 1970: build time or last good time, carried on by the
    /// monotonic clock. The system's wall clock has no part in it.
    pub fn floor_s(&self) -> i64 {
        (self.0.floor_offset_ms.load(Relaxed) + boottime_ms() as i64) / 1000
    }

    /// Whether the system's wall clock is at or after the floor.
    pub fn plausible(&self) -> bool {
        self.now().trust != Trust::Wrong
    }

    /// Whether the system's wall clock is confirmed: the times of what is received now are taken for right.
    pub fn confirmed(&self) -> bool {
        self.now().trust == Trust::Confirmed
    }

    /// Learns the service's time, in seconds since 1970, heard over verified TLS.
    ///
    /// Only ever raises the floor, and never past `not_after_s`, the end of the certificate of the peer that said it:
    /// a peer whose certificate has expired cannot make the clock believe that it has not. A wall clock that agrees is confirmed.
    pub fn learn(&self, date_s: i64, not_after_s: i64) {
        if date_s > not_after_s {
            return;
        }
        self.passed(date_s);
        let Moment { wall_ms, boottime_ms, .. } = self.now();
        if wall_ms.abs_diff(date_s.saturating_mul(1000)) < AGREES_MS {
            self.0.confirmed_offset_ms.store(wall_ms - boottime_ms as i64, Relaxed);
        }
    }

    /// This time, in seconds since 1970, has passed, however long ago. Only ever raises the floor.
    pub fn passed(&self, date_s: i64) {
        self.0.floor_offset_ms.fetch_max(date_s * 1000 - boottime_ms() as i64, Relaxed);
        self.0.last_good_s.fetch_max(date_s, Relaxed);
    }

    /// The last good time to keep for the next run, seconds since 1970.
    pub fn last_good_s(&self) -> Option<i64> {
        Some(self.0.last_good_s.load(Relaxed)).filter(|s| *s > 0)
    }
}

/// The system's wall clock, read once and carried on by the monotonic clock: a step of the wall clock does not show.
///
/// The SQS client signs by it: it learns the skew between this and the service once, and every later step of its time
/// source would cost one refused call.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    wall: SystemTime,
    since: Instant,
}

impl Anchor {
    /// Anchors at the present wall clock, right or wrong.
    pub fn now() -> Anchor {
        let shift = crate::failpoints::shift().wall_ms;
        let wall = if shift < 0 {
            SystemTime::now() - Duration::from_millis(shift.unsigned_abs())
        } else {
            SystemTime::now() + Duration::from_millis(shift.unsigned_abs())
        };
        Anchor { wall, since: Instant::now() }
    }

    /// Wall time: the anchor's, and what has passed since.
    pub fn time(&self) -> SystemTime {
        self.wall + self.since.elapsed()
    }
}

/// Seconds since 1970 at which this binary was built.
pub fn build_time_s() -> i64 {
    env!("TIDEGATE_BUILD_TIME").parse().unwrap_or(0)
}

/// Writes milliseconds since 1970 as RFC 3339 in UTC with three decimals; `None` outside the years 1 to 9999.
pub fn rfc3339_ms(wall_ms: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(wall_ms) * 1_000_000).ok()?;
    let (date, clock) = (at.date(), at.time());
    (1..=9999).contains(&date.year()).then(|| {
        let (h, m, s, ms) = clock.as_hms_milli();
        format!("{:04}-{:02}-{:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z", date.year(), u8::from(date.month()), date.day())
    })
}

fn system_ms() -> i64 {
    let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let real = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    };
    real + crate::failpoints::shift().wall_ms
}

/// Milliseconds since boot, suspend included.
pub fn boottime_ms() -> u64 {
    kernel_ms(rustix::time::ClockId::Boottime).saturating_add_signed(crate::failpoints::shift().boottime_ms)
}

/// Milliseconds of one of the kernel's clocks.
fn kernel_ms(clock: rustix::time::ClockId) -> u64 {
    let at = rustix::time::clock_gettime(clock);
    u64::try_from(at.tv_sec).unwrap_or(0) * 1000 + u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Milliseconds for which the machine was suspended since its boot: what the kernel's monotonic clock did not count.
pub(crate) fn suspended_ms() -> u64 {
    boottime_ms().saturating_sub(kernel_ms(rustix::time::ClockId::Monotonic))
}

/// Whether the kernel calls the wall clock synchronised. Not where a sandbox keeps us from asking: silence confirms nothing.
fn is_kept() -> bool {
    crate::failpoints::shift().synchronised.unwrap_or_else(|| clock_sync::is_synchronised().unwrap_or(false))
}

pub(crate) fn read_boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot_id_of(&text)
}

/// The kernel's text as an id. Where there is none to be had, one of this run alone: taking two boots for the same one
/// would compare times that have nothing to do with each other.
fn boot_id_of(text: &str) -> BootId {
    let digits: Vec<u8> = text.bytes().filter_map(|c| (c as char).to_digit(16)).map(|d| d as u8).collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        let _ = getrandom::fill(&mut id);
        return BootId(id);
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    id[0] ^= crate::failpoints::shift().boot;
    BootId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_beyond_the_peers_certificate_is_not_learnt() {
        let clock = Clock::new(None);
        clock.learn(4_000_000_000, 3_900_000_000);
        assert_eq!(clock.last_good_s(), None);
        assert!(clock.plausible(), "the floor must not have moved");
    }

    #[test]
    fn a_learnt_date_raises_the_floor_and_distrusts_earlier_clocks() {
        let clock = Clock::new(None);
        let later = system_ms() / 1000 + 3600;
        clock.learn(later, later + 1000);
        assert!(!clock.plausible());
        assert!(clock.certificate_time_s() >= later);
        clock.learn(later - 1800, later);
        assert_eq!(clock.last_good_s(), Some(later), "only upwards");
    }

    #[test]
    fn a_plausible_clock_the_kernel_confirmed_stays_so_until_stepped() {
        use Trust::{Confirmed, Unconfirmed, Wrong};
        assert_eq!(Trust::of(true, true, 5, None), Confirmed);
        assert_eq!(Trust::of(true, false, 5, None), Unconfirmed, "a file may have set it, five hours ago");
        assert_eq!(Trust::of(false, true, 5, Some(5)), Wrong, "whatever the kernel says");
        // Nine hours without a time server the kernel takes its word back, and the clock has drifted at most.
        assert_eq!(Trust::of(true, false, 1_999, Some(1_000)), Confirmed);
        assert_eq!(Trust::of(true, false, 2_000, Some(1_000)), Unconfirmed, "set by hand");
        assert_eq!(Trust::of(true, false, i64::MIN, Some(i64::MAX)), Unconfirmed);
    }

    #[test]
    fn only_a_recent_service_date_confirms_the_clock() {
        let offset = |clock: &Clock| clock.0.confirmed_offset_ms.load(Relaxed);
        let now_s = system_ms() / 1000;
        let unheard = Clock::new(None);
        unheard.passed(now_s);
        unheard.learn(now_s - 3600, now_s);
        unheard.learn(now_s + 3600, now_s + 4000);
        let heard = Clock::new(None);
        heard.learn(now_s, now_s + 1000);
        assert!(heard.confirmed());
        // Where the kernel confirms it the offset is known anyway.
        assert!(is_kept() || offset(&unheard) == NONE);
    }

    #[test]
    fn runs_without_the_kernels_boot_id_share_no_boot() {
        let kernels = "3f1c0e2a-5b7d-4c8e-9f60-0123456789ab\n";
        assert_eq!(boot_id_of(kernels), boot_id_of(kernels));
        for none in ["", "gone", "0123"] {
            assert_ne!(boot_id_of(none), boot_id_of(none), "{none:?}");
        }
    }

    #[test]
    fn instants_are_written_as_rfc_3339() {
        assert_eq!(rfc3339_ms(1_770_797_730_120).as_deref(), Some("2026-02-11T08:15:30.120Z"));
        assert_eq!(rfc3339_ms(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }
}
