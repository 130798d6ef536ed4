//! The interface that the journal and what it is measured beside have in common, and the messages that go through it.

use std::time::Duration;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

pub(crate) const PAYLOAD_BYTES: usize = 300;
/// Devices that send in turn, each its own message group.
pub(crate) const DEVICES: u64 = 200;
/// As the journal's own generations.
pub(crate) const SEGMENT_BYTES: u64 = tidegate::journal::GENERATION_BYTES;

/// What the `n`th record is made of: an uplink of a LoRaWAN device.
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) device: String,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn of(n: u64) -> Message {
        Message::among(DEVICES, n)
    }

    /// One of so many devices sends it.
    pub(crate) fn among(devices: u64, n: u64) -> Message {
        let device = format!("24e124136b5{:05x}", n % devices);
        let mut state = n;
        // As unlike each other as sealed payloads are: splitmix64.
        let words = std::iter::from_fn(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some((z ^ (z >> 31)).to_be_bytes())
        });
        Message {
            topic: format!("application/7c1b2a90/device/{device}/event/up"),
            key: format!("{device}:{n}"),
            payload: words.flatten().take(PAYLOAD_BYTES).collect(),
            device,
        }
    }

    /// All of it, one behind the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let parts = [self.topic.as_bytes(), self.key.as_bytes(), self.device.as_bytes(), &self.payload];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// What a call of [`Store::commit`] came to.
pub(crate) struct Commit {
    /// From handing over to durable.
    pub(crate) time: Duration,
    /// In how many commits it was made durable.
    pub(crate) commits: u64,
}

/// A journal, as its users need it.
pub(crate) trait Store {
    /// Makes messages durable, together; their numbers follow each other from 1.
    fn commit(&mut self, messages: Vec<Message>) -> Outcome<Commit>;

    /// Reads and settles up to so many records, oldest first; gives how many there were.
    ///
    /// # Errors
    /// One is missing, or is not what was handed over.
    fn drain(&mut self, most: u64) -> Outcome<u64>;

    /// Makes durable what was settled, and deletes what no lane needs.
    fn note_state(&mut self) -> Outcome<()>;

    /// Ends it in order.
    fn close(self: Box<Self>) -> Outcome<()>;
}
