//! A watchdog over calls that may never return: it asks after a call that takes long, again and again.
//!
//! A call that is quick costs a lock and no switch of threads: the watchdog's thread is woken by the first call after a pause,
//! looks once a [`LOOK`] for as long as calls come, and sleeps until the next one. There is one thread for the process, which
//! never ends.
//!
//! What a call hands in to ask with is used under the watchdog's lock, and gone when [`watched`] returns: so a database that it
//! holds is not closed by the watchdog's thread.

use crate::sync::locked;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take before the watchdog asks after it, and then each time again; up to twice as long.
const LOOK: Duration = Duration::from_secs(1);

static WATCHDOG: Watchdog = Watchdog {
    calls: Mutex::new(Calls { under_way: Vec::new(), begun: 0, is_running: false, sleeps: false }),
    woken: Condvar::new(),
};

struct Watchdog {
    calls: Mutex<Calls>,
    woken: Condvar,
}

struct Calls {
    under_way: Vec<Call>,
    /// So many calls were watched.
    begun: u64,
    /// Its thread is there.
    is_running: bool,
    /// And looks at nothing until it is woken.
    sleeps: bool,
}

struct Call {
    id: u64,
    asked: Instant,
    ask: Box<dyn FnMut() + Send>,
}

/// A call that is under way.
struct Watched(u64);

/// Makes a call, and uses `ask` once a second after the first one or two, on another thread, until it has returned. `ask` must
/// not panic, nor wait for the call. Where the system gives no thread the call is made without.
pub(crate) fn watched<T>(ask: impl FnMut() + Send + 'static, call: impl FnOnce() -> T) -> T {
    let _watched = WATCHDOG.begin(Box::new(ask));
    call()
}

impl Watchdog {
    fn begin(&'static self, ask: Box<dyn FnMut() + Send>) -> Watched {
        let mut calls = locked(&self.calls);
        calls.begun += 1;
        let id = calls.begun;
        calls.under_way.push(Call { id, asked: Instant::now(), ask });
        if !calls.is_running {
            calls.is_running = self.start();
        } else if std::mem::take(&mut calls.sleeps) {
            self.woken.notify_one();
        }
        Watched(id)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "no stage that begins and ends with the agent: it serves whatever journals there are"
    )]
    fn start(&'static self) -> bool {
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(|| self.run());
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for the watchdog of flushes now");
        }
        thread.is_ok()
    }

    fn run(&self) {
        let mut calls = locked(&self.calls);
        let mut seen = 0;
        loop {
            if calls.under_way.is_empty() && calls.begun == seen {
                calls.sleeps = true;
                calls = self.woken.wait_while(calls, |calls| calls.sleeps).unwrap_or_else(PoisonError::into_inner);
            }
            seen = calls.begun;
            calls = self.woken.wait_timeout(calls, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            for call in calls.under_way.iter_mut().filter(|call| call.asked.elapsed() >= LOOK) {
                call.asked = Instant::now();
                (call.ask)();
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut calls = locked(&WATCHDOG.calls);
        if let Some(at) = calls.under_way.iter().position(|call| call.id == self.0) {
            drop(calls.under_way.swap_remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    #[test]
    fn the_watchdog_asks_until_a_call_returns_and_never_again() {
        for _ in 0..2 {
            let (asks, asked) = channel();
            let count = watched(
                move || asks.send(()).unwrap(),
                // Three times, so not the first alone.
                || (0..3).map(|_| asked.recv_timeout(Duration::from_secs(60)).unwrap()).count(),
            );
            assert_eq!(count, 3);
            assert_eq!(asked.recv_timeout(LOOK * 3), Err(RecvTimeoutError::Disconnected), "what asks is gone");
        }
    }

    #[test]
    fn a_call_that_is_quick_is_not_asked_after() {
        let (asks, asked) = channel();
        let began = Instant::now();
        while began.elapsed() < LOOK * 3 {
            let asks = asks.clone();
            watched(move || asks.send(()).unwrap(), std::thread::yield_now);
        }
        assert!(asked.try_recv().is_err());
    }
}
