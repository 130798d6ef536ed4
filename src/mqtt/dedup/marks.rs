//! Hashes by which deliveries are compared.

use crate::record::{Draft, LaneId};
use sha2::{Digest, Sha256};

/// Hashes of a delivery.
pub(super) struct Marks {
    pub(super) packet_id: u16,
    pub(super) topic: u64,
    pub(super) payload: u64,
    /// Of topic and payload.
    pub(super) content: u64,
    /// Of identity and payload.
    pub(super) key: Option<u64>,
}

impl Marks {
    pub(super) fn of(draft: &Draft) -> Marks {
        let identity = &draft.identity;
        let key = identity.key.as_ref().filter(|_| identity.key_kind.identifies());
        let (topic, payload) = (hash(draft.message.topic.as_bytes()), hash(&draft.message.payload));
        Marks {
            packet_id: if draft.message.qos == 0 { 0 } else { draft.message.packet_id },
            topic,
            payload,
            // Both are hashes: turned against each other, neither can undo the other.
            content: topic.rotate_left(32) ^ payload,
            key: key.map(|key| key_hash(key, payload)),
        }
    }
}

/// Tells the broker's sessions apart: whose acks are open is bound to broker and client id. Never 0.
pub fn session(url: &str, client_id: &str) -> u64 {
    hash(format!("{}|{url}{client_id}", url.len()).as_bytes()).max(1)
}

/// One bit per lane. A lane beyond the 64th has none: for it nothing is ever a repeat.
pub(super) fn bits(lanes: impl IntoIterator<Item = LaneId>) -> u64 {
    lanes.into_iter().filter(|lane| lane.0 < 64).fold(0, |bits, lane| bits | 1 << lane.0)
}

pub(super) fn key_hash(key: &str, payload: u64) -> u64 {
    hash(&[key.as_bytes(), &payload.to_be_bytes()].concat())
}

/// 64 bits of SHA-256: the same in every release, because the table of topics outlives the binary that wrote it.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
