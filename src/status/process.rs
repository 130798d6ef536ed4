//! What the kernel says of this process: the figures that Prometheus knows as `process_…`.

use crate::clock::{Clock, Moment, Trust};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// The process at this instant; what is not known is absent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Process {
    /// Seconds of processor time, of all its threads, in the system and outside of it.
    pub cpu_s: Option<f64>,
    /// Bytes in memory.
    pub resident_bytes: Option<f64>,
    /// Bytes of address space.
    pub virtual_bytes: Option<f64>,
    /// Descriptors that are open.
    pub open_fds: Option<f64>,
    /// Most that may be; absent where there is no bound.
    pub max_fds: Option<f64>,
    /// When it started, in whole seconds since 1970; absent while the wall clock cannot be right.
    pub started_s: Option<f64>,
}

impl Process {
    /// Looks into `/proc`, which waits for no disk.
    pub fn look(clock: &Clock) -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // One of them is the look's own.
        let fds = fs::read_dir("/proc/self/fd").map(|open| open.count().saturating_sub(1) as f64).ok();
        Process {
            open_fds: fds,
            max_fds: getrlimit(Resource::Nofile).current.map(|most| most as f64),
            ..of(&stat, clock_ticks_per_second(), page_size() as u64, clock.now())
        }
    }
}

/// What `/proc/self/stat` says, at `now`.
fn of(stat: &str, ticks_per_s: u64, page_bytes: u64, now: Moment) -> Process {
    // The name before it, in parentheses, may hold anything.
    let Some((_, behind)) = stat.rsplit_once(')') else { return Process::default() };
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    // Numbered as in proc(5), from the state on, which is 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks_s = |ticks: u64| ticks as f64 / ticks_per_s as f64;
    let started = |ticks: u64| {
        let boot_ms = now.wall_ms - i64::try_from(now.boottime_ms).ok()?;
        // Whole: as the clock is slewed it moves by milliseconds, and nothing has started anew.
        (now.trust != Trust::Wrong).then(|| (boot_ms as f64 / 1000.0 + ticks_s(ticks)).round())
    };
    Process {
        cpu_s: field(14).zip(field(15)).map(|(outside, inside)| ticks_s(outside + inside)),
        virtual_bytes: field(23).map(|bytes| bytes as f64),
        resident_bytes: field(24).map(|pages| (pages * page_bytes) as f64),
        started_s: field(22).and_then(started),
        ..Process::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "41 (a) b (c) S 1 41 41 0 -1 4194560 1063 0 0 0 250 50 0 0 20 0 6 0 123400 20971520 2048 18446744073709551615 1 1 0";

    #[test]
    fn the_kernels_process_line_is_read_behind_any_name() {
        let now = Moment { wall_ms: 1_770_000_500_400, boottime_ms: 2_000_000, trust: Trust::Unconfirmed };
        let wanted = Process {
            cpu_s: Some(3.0),
            virtual_bytes: Some(20_971_520.0),
            resident_bytes: Some(8_388_608.0),
            started_s: Some(1_769_999_734.0),
            ..Process::default()
        };
        assert_eq!(of(STAT, 100, 4096, now), wanted);
        let wrong = of(STAT, 100, 4096, Moment { trust: Trust::Wrong, ..now });
        assert_eq!((wrong.started_s, wrong.cpu_s), (None, Some(3.0)));
        assert_eq!(of("", 100, 4096, now), Process::default());
    }

    #[test]
    fn this_process_is_known() {
        let process = Process::look(&Clock::new(None));
        assert!(process.open_fds >= Some(3.0) && process.open_fds <= process.max_fds, "{process:?}");
        assert!(process.resident_bytes > Some(1e6) && process.virtual_bytes > process.resident_bytes, "{process:?}");
        assert!(process.cpu_s >= Some(0.0) && process.started_s > Some(1.7e9), "{process:?}");
    }
}
