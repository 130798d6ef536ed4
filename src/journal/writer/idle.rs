//! Rest: what the writer waits for between commits, and what it gives back when nothing comes any more.
//!
//! sled keeps the values of an open database in memory, and glibc much of what was freed. So when a burst is over, the heap is
//! trimmed, and the active generation is closed if at least half of it is written; the next record starts another one.
//! Nothing is lost by closing: all that the generation holds is durable, and lanes that are not past it read it from its
//! bytes.
//!
//! Half, because slow traffic pauses after each record: whatever the least is that is closed, its generations have that
//! size, and each is a folder with its own syncs. An eighth, as it was, made eight of one. Measured
//! (`cargo bench --bench journal`, glibc): closing gave back 0.3 to 0.5 MB with a quarter of a generation or less in it,
//! 0.7 to 1.5 MB from half of it on. Trimming and forgetting are worth it from an eighth on: they cost the disk nothing.
//!
//! An idle journal wakes no thread: the timer runs once after such a burst.

use crate::journal::handle::append::{Append, Ticket};
use crate::journal::writer::Writer;
use crate::journal::writer::age::Oldest;
use crate::sync::locked;

/// Of a generation: with less written since the last rest, there is nothing to give back.
const WORTH: u64 = 8;
/// Of a generation: with less in it, another one is not worth its folder.
const CLOSED: u64 = 2;

/// What ended the waiting.
enum Woken<T> {
    /// The inbox spoke; `None`: it never will again.
    Inbox(Option<Append<T>>),
    /// There is something to announce, to requeue, or to look at for its age.
    Called,
    /// The burst is over.
    Quiet,
}

impl<T: Ticket> Writer<T> {
    /// Waits for something to keep, or (`Some(None)`) to announce or to evict. `None`: nothing will come any more.
    pub(crate) fn wait(&mut self) -> Option<Option<Append<T>>> {
        loop {
            match self.woken() {
                Woken::Inbox(append) => return append.map(Some),
                Woken::Called => return Some(None),
                Woken::Quiet => self.rest(),
            }
        }
    }

    fn woken(&mut self) -> Woken<T> {
        let worth = self.worth();
        let (inbox, shared) = (&mut self.inbox, &self.journal.0);
        let waits = || locked(&shared.books).iter().any(|book| book.waiting() > 0);
        // Where nothing waits, nothing grows old: then no timer wakes the writer.
        let pause = self.oldest.as_ref().filter(|_| waits()).map(Oldest::pause);
        let restless = self.restless_bytes >= worth;
        self.waiting.block_on(async {
            let look = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let quiet = async {
                match restless {
                    true => tokio::time::sleep(shared.quiet).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                append = inbox.recv() => Woken::Inbox(append),
                () = shared.noted.notified() => Woken::Called,
                () = look => Woken::Called,
                () = quiet => Woken::Quiet,
            }
        })
    }

    /// Bytes after which a rest is worth it.
    fn worth(&self) -> u64 {
        self.journal.0.generation_bytes / WORTH
    }

    fn rest(&mut self) {
        if self.active_bytes >= self.journal.0.generation_bytes / CLOSED {
            // `active_bytes` stays: it is what the newest generation holds, open or not, until another one is started.
            self.journal.0.log.end(self.next);
            self.active = None;
        }
        self.restless_bytes = 0;
        // Few and small, but scattered among what the burst has freed: each would hold a page of it back.
        self.journal.0.forget();
        lean_heap::trim();
    }
}
