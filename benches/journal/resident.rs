//! What an open generation keeps in memory, and what closing it gives back: the figures behind the rule in
//! `src/journal/writer/idle.rs`. Runs in its own process.

use super::real::{Keeping, Real};
use super::store::{Message, Outcome, Store};
use std::path::Path;
use std::time::Duration;

/// How the records come.
const GROUP: u64 = 20;
const HOUR: Duration = Duration::from_secs(3600);

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Resident bytes: when the journal was opened, with so many records in the open generation, all of them drained and the heap
/// trimmed, and when it was closed.
pub(crate) fn run(folder: &Path, records: u64) -> Outcome<[u64; 3]> {
    lean_heap::set();
    let mut real = Box::new(Real::open_resting(folder, Keeping::Thread, HOUR)?);
    // A first commit makes the generation, and whatever is made once.
    real.commit(vec![Message::of(1)])?;
    real.drain(1)?;
    lean_heap::trim();
    let opened = resident();
    for first in (2..2 + records).step_by(GROUP as usize) {
        real.commit((first..first + GROUP).map(Message::of).collect())?;
        real.drain(GROUP)?;
    }
    lean_heap::trim();
    let open = resident();
    real.close()?;
    lean_heap::trim();
    Ok([opened, open, resident()])
}
