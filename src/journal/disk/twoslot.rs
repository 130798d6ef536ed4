//! Two slots of 4 KB in one file, written in turn, each numbered and checksummed: a cut in the middle of a write leaves
//! the other one, which is the write before. The checkpoint decides what they hold.
//!
//! ```text
//! magic "TGst" | format u32 | serial u64 | length u32 | crc u32 | body, and zeros up to 4,096 bytes
//! ```
//!
//! Integers are big-endian; the checksum (CRC-32C) covers the header before it and the body.

use crate::journal::disk::refusal;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const SLOT_LEN: usize = 4096;
const HEADER_LEN: usize = 24;
/// Largest body of a slot, in bytes.
pub(crate) const BODY_MAX: usize = SLOT_LEN - HEADER_LEN;
const MAGIC: [u8; 4] = *b"TGst";
/// Version that is written, and the highest that is read.
pub(crate) const FORMAT: u32 = 1;

/// What a slot holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// A sound body, and the number of its write.
    Sound(u64, Vec<u8>),
    /// Nothing was ever written to it, as far as its bytes tell.
    Blank,
    /// Damaged, torn, or it cannot be read.
    Unsound,
    /// A sound one of a later format.
    Newer(u32),
}

/// A slot as it is written. The body is at most [`BODY_MAX`] bytes.
pub(crate) fn encode(serial: u64, body: &[u8]) -> Vec<u8> {
    let mut slot = vec![0; SLOT_LEN];
    slot[..4].copy_from_slice(&MAGIC);
    slot[4..8].copy_from_slice(&FORMAT.to_be_bytes());
    slot[8..16].copy_from_slice(&serial.to_be_bytes());
    slot[16..20].copy_from_slice(&(body.len() as u32).to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..20]), body);
    slot[20..24].copy_from_slice(&crc.to_be_bytes());
    slot[HEADER_LEN..HEADER_LEN + body.len()].copy_from_slice(body);
    slot
}

/// Reads a slot of [`SLOT_LEN`] bytes.
pub(crate) fn parse(bytes: &[u8]) -> Slot {
    let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let length = u32_at(16) as usize;
    let body = (bytes[..4] == MAGIC && length <= BODY_MAX).then(|| &bytes[HEADER_LEN..HEADER_LEN + length]);
    let sound = body.filter(|body| crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), body) == u32_at(20));
    match sound {
        Some(_) if u32_at(4) > FORMAT => Slot::Newer(u32_at(4)),
        Some(body) => {
            let serial = u64::from_be_bytes(bytes[8..16].try_into().expect("eight bytes"));
            // The next write has a number, too.
            if serial < u64::MAX { Slot::Sound(serial, body.to_vec()) } else { Slot::Unsound }
        }
        None if bytes.iter().all(|byte| *byte == 0) => Slot::Blank,
        None => Slot::Unsound,
    }
}

/// Reads both slots of a file.
///
/// # Errors
/// It cannot be read now; what the medium has refused for long enough is an unsound slot.
pub(crate) fn read(file: &File, path: &Path) -> io::Result<[Slot; 2]> {
    let mut slots = [Slot::Unsound, Slot::Unsound];
    for (index, slot) in slots.iter_mut().enumerate() {
        let mut bytes = vec![0; SLOT_LEN];
        match file.read_exact_at(&mut bytes, (index * SLOT_LEN) as u64) {
            // Shorter than it was made: the other one may be sound.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => {
                if refusal::unless_gone(path, read)?.is_some() {
                    *slot = parse(&bytes);
                }
            }
        }
    }
    Ok(slots)
}

/// Makes a slot's checksum right again, for a test or fuzz target that has changed the slot.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn seal(slot: &mut [u8]) {
    let length = u32::from_be_bytes(slot[16..20].try_into().expect("four bytes")) as usize;
    if let Some(body) = slot[HEADER_LEN..].get(..length) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..20]), body);
        slot[20..24].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slot_reads_back_and_detects_every_flipped_bit(
            serial in 0..u64::MAX, body in prop::collection::vec(any::<u8>(), 0..=BODY_MAX), at in 0..SLOT_LEN * 8
        ) {
            let mut slot = encode(serial, &body);
            prop_assert_eq!(parse(&slot), Slot::Sound(serial, body.clone()));
            slot[at / 8] ^= 1 << (at % 8);
            // Bytes behind the body do not count.
            let beyond = at / 8 >= HEADER_LEN + body.len();
            prop_assert_eq!(parse(&slot), if beyond { Slot::Sound(serial, body) } else { Slot::Unsound });
        }

        #[test]
        fn any_slot_content_is_read(mut slot in prop::collection::vec(any::<u8>(), SLOT_LEN), magic: bool) {
            if magic {
                slot[..4].copy_from_slice(&MAGIC);
                slot[16] = 0;
                slot[17] = 0;
            }
            parse(&slot);
            seal(&mut slot);
            parse(&slot);
        }
    }
}
