//! How large a message may be.
//!
//! There are two limits. `max_payload_bytes` is ours: a larger payload is not journaled, its head goes to the quarantine.
//! The client library has one for the packet, and a packet beyond it ends the connection before it can be acknowledged, so
//! that the broker sends it again, for ever. The packet limit therefore leaves room for the longest topic above our
//! payload limit: whatever is to be journaled fits. What does not fit is over our limit in any case; the packet limit is
//! raised for one connection, the message taken and acknowledged, and the limit lowered again.

/// Largest payload that is taken at all. Above it the gateway's memory would be at stake.
pub const TAKEN_BYTES: u64 = 16 << 20;

/// How much of a payload over our limit is kept.
pub const HEAD_BYTES: usize = 4 << 10;

/// Room for what comes before the payload: the longest topic, its length, the packet id.
const FRAME_BYTES: usize = 65_535 + 2 + 2;

/// The limit of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Limit {
    /// Everything that is journaled fits.
    #[default]
    Normal,
    /// Everything that is taken fits.
    Raised,
}

impl Limit {
    /// The largest packet, in bytes after its fixed header.
    pub(super) fn packet_bytes(self, max_payload_bytes: u64) -> usize {
        let payload = match self {
            Limit::Normal => max_payload_bytes.min(TAKEN_BYTES),
            Limit::Raised => TAKEN_BYTES,
        };
        payload as usize + FRAME_BYTES
    }
}

/// What to do about a packet that ended the connection by its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TooLarge {
    /// Connect with [`Limit::Raised`] and take it.
    Raise,
    /// It stays with the broker, and everything behind it too, until a person acts.
    Blocked,
}

/// Judges a packet of `packet_bytes` after its fixed header.
pub(super) fn too_large(packet_bytes: usize) -> TooLarge {
    if packet_bytes <= Limit::Raised.packet_bytes(0) { TooLarge::Raise } else { TooLarge::Blocked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn journaled_packets_fit_the_normal_limit_taken_ones_the_raised(
            max_payload in 1u64..=TAKEN_BYTES, payload in 0u64..=2 * TAKEN_BYTES, topic in 0usize..=65_535,
        ) {
            let packet = 2 + topic + 2 + payload as usize;
            if payload <= max_payload {
                prop_assert!(packet <= Limit::Normal.packet_bytes(max_payload));
            }
            if payload <= TAKEN_BYTES {
                prop_assert!(packet <= Limit::Raised.packet_bytes(max_payload));
                prop_assert_eq!(too_large(packet), TooLarge::Raise);
            }
            // Raising helps exactly when the raised limit admits the packet: otherwise it would be raised for ever.
            let raises = too_large(packet) == TooLarge::Raise;
            prop_assert_eq!(raises, packet <= Limit::Raised.packet_bytes(max_payload));
        }
    }
}
