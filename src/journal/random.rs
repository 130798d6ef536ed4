//! Random bits of the kernel's.

use sha2::{Digest, Sha256};

/// Draws 64 random bits from the kernel.
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    // Without the kernel's generator there is nothing unique to be had; boot id and time since boot are the best that is left.
    if getrandom::fill(&mut bytes).is_err() {
        let clock = crate::clock::Clock::new(None);
        let seed = [&clock.boot().0[..], &clock.now().boottime_ms.to_be_bytes()].concat();
        bytes.copy_from_slice(&Sha256::digest(seed)[..8]);
    }
    u64::from_be_bytes(bytes)
}
