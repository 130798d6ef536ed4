//! The chain of the lane: each accepted record hands over its digest, and what the chain lacks is read and rendered again here, off
//! the runtime's threads, a portion at a time ([`crate::journal::ChainReader`]).
//!
//! It is on its way only while it lies behind the cursor: after a start, or behind a group that was held for long. Nothing waits for
//! it: not a batch, and not the stop.

use crate::drain::send::{DrainContext, rendering};
use crate::drain::task::{Drain, Event};
use crate::journal::{ChainReader, JournalError};
use crate::record::Record;
use crate::record::chain::Digest;
use crate::sqs::BatchSender;
use crate::sqs::entry;
use futures_util::FutureExt;
use std::time::Duration;

/// Between attempts to read a journal that refuses.
const RETRY: Duration = Duration::from_secs(2);

/// What the chain has of a record that was sent before; `None`: it may have been sent another way.
fn digest_again<S>(context: &DrainContext<S>, record: &Record) -> Option<Digest> {
    let digest = entry::render(record, &rendering(context)).ok()?.digest;
    digest.steady.then_some(digest.sum)
}

impl<S: BatchSender> Drain<S> {
    /// Brings the chain on where it lies behind.
    pub(super) fn follow_with_chain(&mut self) {
        let Some(reader) = self.chain.take_if(|_| self.context.lane.chain_lags()) else { return };
        self.read_for_chain(reader, None);
    }

    fn read_for_chain(&mut self, mut reader: ChainReader, pause: Option<Duration>) {
        let context = self.context.clone();
        let portion = async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let read = tokio::task::spawn_blocking(move || {
                let read = reader.portion(|record| digest_again(&context, record));
                (reader, read)
            });
            match read.await {
                Ok((reader, read)) => Event::Chain(Some(reader), read.map(drop)),
                Err(error) => Event::Chain(None, Err(JournalError::reading(&error.to_string()))),
            }
        };
        self.events.push(portion.boxed());
    }

    /// A portion was read, or could not be.
    pub(super) fn took_for_chain(&mut self, reader: Option<ChainReader>, read: Result<(), JournalError>) {
        let reader = reader.unwrap_or_else(|| self.context.lane.chain_reader());
        match read {
            Ok(()) => self.chain = Some(reader),
            Err(error) => {
                tracing::debug!(queue = self.lane_name(), %error, "records cannot be read again now for the chain");
                self.read_for_chain(reader, Some(RETRY));
            }
        }
    }
}
