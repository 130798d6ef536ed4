//! Heads of messages that cannot be journaled: into the quarantine, so that a person can see what they were.

use crate::journal::error::JournalError;
use crate::journal::handle::append::{Ticket, Unjournaled};
use crate::journal::quarantine::Cause;
use crate::journal::writer::Writer;
use crate::record::{Draft, Record};

impl<T: Ticket> Writer<T> {
    /// Keeps a head durably. `false`: told to stop before the disk took it.
    pub(crate) fn keep_head(&mut self, draft: Draft, why: Unjournaled, bytes: u64, delivery: u64) -> bool {
        let topic = draft.message.topic.clone();
        let (code, text) = match why {
            Unjournaled::Oversize => {
                ("oversize", format!("payload of {bytes} bytes is larger than mqtt.max_payload_bytes"))
            }
            Unjournaled::Unrouted => ("unrouted", format!("no route takes the topic {topic}")),
        };
        let boot = self.journal.0.clock.boot();
        let record = Record::number(draft, self.journal.0.run, self.next, boot, vec![]);
        let cause = Cause { code, text: &text, place: None, whole: Some((bytes, delivery)) };
        self.insist(|writer| {
            let quarantine = &writer.journal.0.quarantine;
            let kept =
                quarantine.keep(&record, cause).map_err(|source| JournalError::io(&writer.journal.0.path, source))?;
            tracing::error!(
                topic = &*crate::visible::line(&topic),
                bytes,
                kept,
                code,
                "message not journaled: its head is in quarantine, the rest is lost"
            );
            // A full quarantine must not stop the intake: the message is counted either way.
            Ok(())
        })
    }
}
