//! The journal as the agent has it: a thread that writes, one that keeps the state file, lanes, marks, bounds.

use super::store::{Commit, Message, Outcome, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate::clock::{Clock, Moment};
use tidegate::config::OnFull;
use tidegate::journal::books::Outcome as Settled;
use tidegate::journal::{
    Append, Bounds, GENERATION_BYTES, Item, Journal, JournalOptions, Lane, QUIET, RESERVE_BYTES, Reader,
};
use tidegate::record::{Draft, Identity, KeyKind, LaneId, Position, TimeSource};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const LANE: &str = "main";
/// Records that are read in one go, as a drain does.
const READ_RECORDS: usize = 256;
const READ_BYTES: usize = 512 * 1024;
/// Of a batch, each of which is marked and settled by itself.
const BATCH: usize = 10;

/// Which thread writes the state file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// A thread, in its own time.
    Thread,
    /// The caller of [`Store::note_state`].
    Asked,
}

/// An open journal with its threads.
pub(crate) struct Real {
    pub(crate) journal: Journal,
    pub(crate) lane: Lane,
    pub(crate) inbox: Option<UnboundedSender<Append<u64>>>,
    pub(crate) committed: UnboundedReceiver<Vec<u64>>,
    reader: Reader,
    writer: JoinHandle<()>,
    keeper: Option<JoinHandle<()>>,
    given: u64,
    expected: Position,
}

fn options(folder: &Path, quiet: Duration) -> JournalOptions {
    JournalOptions {
        path: folder.to_owned(),
        bounds: Bounds { max_bytes: 16 << 30, max_age: None, min_free: 1 << 20, on_full: OnFull::DropOldest },
        reserve_bytes: RESERVE_BYTES,
        generation_bytes: GENERATION_BYTES,
        quiet,
        lanes: vec![LANE.into()],
        silent: Vec::new(),
        absorbing: vec![LANE.into()],
        machine: "/".into(),
        runtime: None,
    }
}

impl Real {
    pub(crate) fn open(folder: &Path, keeping: Keeping) -> Outcome<Real> {
        Real::open_resting(folder, keeping, QUIET)
    }

    /// One whose writer takes a burst for over after so long.
    pub(crate) fn open_resting(folder: &Path, keeping: Keeping, quiet: Duration) -> Outcome<Real> {
        let mut opened = Journal::open(&options(folder, quiet), &Clock::new(None))?;
        // As the agent does, for its key index.
        opened.each_of_tail(&mut |_| {});
        let journal = opened.journal.clone();
        let lane = journal.lane(LANE).ok_or("it was opened with this lane")?;
        let (inbox, receiver) = unbounded_channel();
        let (sender, committed) = unbounded_channel();
        let writer = opened.writer(Duration::ZERO, receiver, sender, Arc::new(AtomicBool::new(false)));
        let writer = std::thread::spawn(move || writer.run());
        let keeper = match keeping {
            Keeping::Thread => {
                let journal = journal.clone();
                Some(std::thread::spawn(move || journal.keep()))
            }
            Keeping::Asked => {
                // From here on `keep` writes what is due, and returns.
                journal.stop_keeping();
                None
            }
        };
        let given = journal.durable_number()();
        let (reader, expected) = (lane.reader(), lane.cursor());
        Ok(Real { journal, lane, inbox: Some(inbox), committed, reader, writer, keeper, given: given.0, expected })
    }
}

/// A message on its way into the journal.
pub(crate) fn append(n: u64, message: Message, lane: LaneId, received: Moment) -> Append<u64> {
    let draft = Draft {
        received,
        message: tidegate::record::Message {
            topic: message.topic,
            payload: message.payload.into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: (n % 65_535) as u16 + 1,
        },
        profile: "chirpstack-v4".into(),
        identity: Identity {
            key: Some(message.key),
            key_kind: KeyKind::Native,
            group: message.device.clone(),
            device: Some(message.device),
            record_type: "up".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes: vec![lane],
        duplicate: None,
    };
    Append { item: Item::Record(Box::new(draft)), ticket: n }
}

impl Store for Real {
    fn commit(&mut self, messages: Vec<Message>) -> Outcome<Commit> {
        let count = messages.len();
        let (lane, now) = (self.lane.id(), Clock::new(None).now());
        let numbered = messages.into_iter().zip(self.given + 1..);
        let appends: Vec<_> = numbered.map(|(message, n)| append(n, message, lane, now)).collect();
        self.given += count as u64;
        let inbox = self.inbox.as_ref().ok_or("closed")?;
        let since = Instant::now();
        for append in appends {
            inbox.send(append)?;
        }
        let (mut back, mut commits) = (0, 0);
        while back < count {
            back += self.committed.blocking_recv().ok_or("the writer is gone")?.len();
            commits += 1;
        }
        Ok(Commit { time: since.elapsed(), commits })
    }

    fn drain(&mut self, most: u64) -> Outcome<u64> {
        let mut drained = 0;
        while drained < most {
            let most = READ_RECORDS.min((most - drained) as usize);
            let read = self.reader.read(most, READ_BYTES)?;
            if read.is_empty() {
                break;
            }
            for batch in read.chunks(BATCH) {
                for read in batch {
                    let message = Message::of(self.expected.0);
                    let found = &read.record.draft.message;
                    if (read.position, &found.topic, &*found.payload)
                        != (self.expected, &message.topic, &*message.payload)
                    {
                        return Err(format!("the journal: {} is not {}", read.position, self.expected).into());
                    }
                    self.expected = self.expected.next();
                }
                let positions: Vec<Position> = batch.iter().map(|read| read.position).collect();
                if self.lane.needs_mark(&positions) {
                    self.lane.mark(&positions)?;
                }
                self.lane.settle(positions.into_iter().map(|position| (position, Settled::Accepted)));
            }
            drained += read.len() as u64;
        }
        Ok(drained)
    }

    fn note_state(&mut self) -> Outcome<()> {
        if self.keeper.is_none() {
            self.journal.keep();
        }
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Outcome<()> {
        self.inbox = None;
        let said = |_| "a thread of the journal panicked";
        self.writer.join().map_err(said)?;
        self.journal.stop_keeping();
        match self.keeper {
            Some(keeper) => keeper.join().map_err(said)?,
            None => self.journal.keep(),
        }
        Ok(())
    }
}
