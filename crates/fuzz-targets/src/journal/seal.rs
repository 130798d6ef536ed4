//! Checksums that are made right again after damage, so that a fuzzer gets past them.

use tidegate::internals::{self, SLOT_LEN};

const FRAME: &[u8; 4] = b"TGfr";

/// Makes the checksums of a file right, whatever it holds now.
pub(super) fn seal(path: &str, bytes: &mut [u8]) {
    match path {
        "state" => bytes.chunks_exact_mut(SLOT_LEN).for_each(internals::seal_slot),
        "intake/seen" | "intake/filters" if bytes.len() > 12 => {
            let crc = crc32c::crc32c(&bytes[12..]).to_be_bytes();
            bytes[8..12].copy_from_slice(&crc);
        }
        path if path.ends_with("/generation") => {
            if let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() {
                *crc = crc32c::crc32c(body).to_be_bytes();
            }
        }
        path if path.ends_with("/db") || path == "quarantine/kept" => frames(bytes),
        _ => {}
    }
}

/// Makes the checksum of everything right that begins like a frame.
pub(super) fn frames(bytes: &mut [u8]) {
    let mut from = 0;
    while let Some(found) = bytes[from..].windows(FRAME.len()).position(|four| four == FRAME) {
        let at = from + found;
        from = at + 1;
        if let Some((header, length)) = internals::lengths(&bytes[at..]) {
            from = at + header + length;
            let (head, body) = bytes[at..from].split_at_mut(header);
            if let Some((head, crc)) = head.split_last_chunk_mut::<4>() {
                *crc = crc32c::crc32c_append(crc32c::crc32c(head), body).to_be_bytes();
            }
        }
    }
}
