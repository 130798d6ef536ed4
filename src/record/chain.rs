//! The chain: a running hash over all that a lane has sent, which a reader can compute, too. Pure.
//!
//! Each record as sent has a [`digest`]; a position that was not accepted (evicted, quarantined, damaged) has [`HOLE`]
//! instead. The chain's value at a position is SHA-256 over the value at the position before and this one's digest
//! ([`link`]); before the first one it is [`START`]. So a reader who has every message and every gap record of a lane comes to
//! the same value, and one who lacks a message, or has a changed one, does not.
//!
//! `docs/message-format.md` has the same in words for readers; the vectors of the test below are theirs, too. A change of
//! anything here is a change of that contract, and needs another [`TAG`].

use crate::record::Position;
use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub type Digest = [u8; 32];

/// Takes the place of a digest where a position has no message.
pub const HOLE: Digest = [0; 32];

/// The value before the first position.
pub const START: Digest = [0; 32];

/// What a digest begins with: nothing else that is hashed can be taken for it.
const TAG: &[u8] = b"tidegate.chain.1";

/// The digest of a record as sent: `id` and `topic` as its message states them, and the bytes of its data.
pub fn digest(position: Position, id: &str, topic: &str, data: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(TAG);
    hash.update(position.0.to_be_bytes());
    for text in [id, topic] {
        // Both are far below 4 GB: MQTT bounds a topic, SQS an id.
        hash.update((text.len() as u32).to_be_bytes());
        hash.update(text);
    }
    hash.update((data.len() as u64).to_be_bytes());
    hash.update(data);
    hash.finalize().into()
}

/// The value at a position, of that at the one before and the digest at this one.
pub fn link(before: &Digest, digest: &Digest) -> Digest {
    Sha256::new().chain_update(before).chain_update(digest).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex::encode as hex;

    /// Computed by a script of another language.
    #[test]
    fn the_vectors_of_the_contract_hold() {
        let topic = "application/1/device/02f1e2d3c4b5a601/event/up";
        let first = digest(Position(1), "cs4.up.5f0d7c1e", topic, br#"{"temperature":21.5}"#);
        assert_eq!(hex(first), "9f36ab997147fa562515d77fbaefbe534a32316bc0f86815b96a407e951b4a62");
        let empty = digest(Position(2), "a.0000000000000005.1.2", "t", b"");
        assert_eq!(hex(empty), "152d53d50abdffdd0ed559f929a1215975b9c8e2446d4994660b106272676dd6");
        let bytes = digest(Position(1 << 40), "n.7", "caf\u{e9}/%25", &[0, 0xff, 0x80]);
        assert_eq!(hex(bytes), "ae485ee83ae7a6cd2831da0b793043b934d49ba7de9b009ab2b5a72a16b55b33");
        let one = link(&START, &first);
        assert_eq!(hex(one), "1f9fb3530982fe0c4e6361b8e1a1755434ca34bae97151ceab7e5c8adbd9057d");
        assert_eq!(
            hex(link(&link(&one, &empty), &HOLE)),
            "0d49edc0f79205bd00a32e3b2fbc2c60c13de21c17ddba74ae83e6a0f9e9630b"
        );
    }

    #[test]
    fn no_part_of_a_record_passes_for_another_part() {
        let of = |id, topic, data: &[u8]| digest(Position(1), id, topic, data);
        let all = [of("ab", "c", b"d"), of("a", "bc", b"d"), of("ab", "cd", b""), of("ab", "", b"cd")];
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)));
        assert_ne!(of("a", "b", b"c"), digest(Position(2), "a", "b", b"c"));
    }
}
