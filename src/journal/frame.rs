//! Frames: what one value in the log looks like, and how a record becomes one or several of them.
//!
//! sled says nothing when it drops a damaged tail, and often cannot open a damaged file at all. So every value carries
//! a header of our own by which it can be found in the bare bytes of a file, checked, and put back in its place:
//!
//! ```text
//! magic "TGfr" | version u8 | flags u8 | part u16 | parts u16 | length u32 | number u64 | previous u64 | crc32c u32 | body
//! ```
//!
//! Integers are big-endian. The checksum covers the header before it and the body. The body is a slice of the record's
//! envelope (CBOR, [`crate::record::codec`]); `part` of `parts` says which. A value is at most [`VALUE_MAX`] bytes: a
//! larger log item would become one of sled's blob files, which are never synced. With the flag `first of commit`,
//! `previous` is the number of the last record of the commit before it (0: there was none): a tail that is missing
//! shows even when the numbers after it were given again.

/// Version of the frame and of the envelope in it.
pub(super) const FRAME_VERSION: u8 = 1;
/// Largest value given to sled: segment size / 64 keeps the sixteen values of a leaf below the size of a blob.
pub(super) const VALUE_MAX: usize = super::generation::SEGMENT_BYTES / 64;
/// Bytes before the body.
pub(super) const HEADER_LEN: usize = 34;
const MAGIC: [u8; 4] = *b"TGfr";
const FIRST_OF_COMMIT: u8 = 1;
const CRC_AT: usize = HEADER_LEN - 4;
const BODY_MAX: usize = VALUE_MAX - HEADER_LEN;

/// A frame, taken apart; the body still lies in the bytes it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) part: u16,
    pub(super) parts: u16,
    /// Last number of the commit before, on the first frame of a commit.
    pub(super) previous: Option<u64>,
    pub(super) body: &'a [u8],
}

/// Why bytes are not a frame of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("not a frame: magic or length do not fit")]
    Shape,
    #[error("frame version {0} is newer than this program reads ({FRAME_VERSION})")]
    Newer(u8),
    #[error("checksum does not match")]
    Checksum,
}

/// Key of a value: number and part, big-endian, so that sled's order is ours.
pub(super) fn key(number: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Cuts an encoded record into frames. `previous` is given for the first record of a commit.
///
/// At most 65,535 parts (about 265 MB), far above the largest record that intake lets through.
pub(super) fn split(number: u64, previous: Option<u64>, envelope: &[u8]) -> Vec<Vec<u8>> {
    let slices: Vec<&[u8]> = envelope.chunks(BODY_MAX).collect();
    let parts = u16::try_from(slices.len()).expect("intake bounds a record's size far below 65,535 parts");
    let frame =
        |(part, body): (usize, &&[u8])| encode(number, part as u16, parts, previous.filter(|_| part == 0), body);
    slices.iter().enumerate().map(frame).collect()
}

fn encode(number: u64, part: u16, parts: u16, previous: Option<u64>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.extend_from_slice(&MAGIC);
    out.push(FRAME_VERSION);
    out.push(if previous.is_some() { FIRST_OF_COMMIT } else { 0 });
    out.extend_from_slice(&part.to_be_bytes());
    out.extend_from_slice(&parts.to_be_bytes());
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&previous.unwrap_or(0).to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), body);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(body);
    debug_assert!(out.len() <= VALUE_MAX);
    out
}

/// Reads the frame at the start of `bytes`, which may go on behind it.
pub(super) fn parse(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = bytes.get(..HEADER_LEN).filter(|header| header[..4] == MAGIC).ok_or(FrameError::Shape)?;
    let u16_at = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
    let length = u32_at(10) as usize;
    let body = bytes[HEADER_LEN..].get(..length).filter(|_| length <= BODY_MAX).ok_or(FrameError::Shape)?;
    if crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), body) != u32_at(CRC_AT) {
        return Err(FrameError::Checksum);
    }
    // After the checksum: a version that a flipped bit made up is damage, not a newer format.
    if header[4] > FRAME_VERSION {
        return Err(FrameError::Newer(header[4]));
    }
    let (part, parts) = (u16_at(6), u16_at(8));
    if part >= parts {
        return Err(FrameError::Shape);
    }
    let (number, previous) = (u64_at(14), (header[5] & FIRST_OF_COMMIT != 0).then(|| u64_at(22)));
    // Numbers are counted up from 1; the last one is kept free, so that the next one can always be said.
    if number == u64::MAX || previous.is_some_and(|previous| previous >= number) {
        return Err(FrameError::Shape);
    }
    Ok(Frame { number, part, parts, previous, body })
}

/// The number that a damaged frame at the start of `bytes` claims to have, if it looks like one at all. It may be the
/// number that is damaged, so this is a hint, and no more.
fn claimed(bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..HEADER_LEN)?;
    Some(u64::from_be_bytes(header[14..22].try_into().expect("eight bytes")))
}

/// Finds every sound frame in the bytes of a file, in the order of the file; tells the numbers that others claim to have,
/// whose checksum does not match.
pub(super) fn scan<'a>(bytes: &'a [u8], mut broken: impl FnMut(u64) + 'a) -> impl Iterator<Item = Frame<'a>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = find_magic(&bytes[at..]) {
            at += found;
            match parse(&bytes[at..]) {
                Ok(frame) => {
                    at += HEADER_LEN + frame.body.len();
                    return Some(frame);
                }
                Err(error) => {
                    if let Some(number) = claimed(&bytes[at..]).filter(|_| error == FrameError::Checksum) {
                        broken(number);
                    }
                    at += 1;
                }
            }
        }
        None
    })
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|byte| *byte == MAGIC[0])?;
        if bytes[at..].starts_with(&MAGIC) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Makes the checksum of everything that begins like a frame right, for a fuzzer that wants to get past it.
#[cfg(feature = "rig")]
pub(super) fn seal(bytes: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = find_magic(&bytes[from..]).map(|found| from + found) {
        from = at + 1;
        let Some(header) = bytes[at..].first_chunk::<HEADER_LEN>() else { return };
        let length = u32::from_be_bytes(header[10..14].try_into().expect("four bytes")) as usize;
        if let Some(body) = bytes[at + HEADER_LEN..].get(..length.min(BODY_MAX)) {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..CRC_AT]), body).to_be_bytes();
            bytes[at + CRC_AT..at + HEADER_LEN].copy_from_slice(&crc);
            from = at + HEADER_LEN + length.min(BODY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_split_parses_back(number in 1..u64::MAX, back: Option<u64>, envelope in prop::collection::vec(any::<u8>(), 1..20_000)) {
            let previous = back.map(|back| back % number);
            let frames = split(number, previous, &envelope);
            let mut joined = Vec::new();
            for (part, bytes) in frames.iter().enumerate() {
                prop_assert!(bytes.len() <= VALUE_MAX);
                let frame = parse(bytes).unwrap();
                prop_assert_eq!((frame.number, usize::from(frame.part), usize::from(frame.parts)), (number, part, frames.len()));
                prop_assert_eq!(frame.previous, previous.filter(|_| part == 0));
                joined.extend_from_slice(frame.body);
            }
            prop_assert_eq!(joined, envelope);
        }

        #[test]
        fn a_commit_before_it_has_lower_numbers(number: u64, previous: u64) {
            let frame = split(number, Some(previous), b"body").remove(0);
            prop_assert_eq!(parse(&frame).is_ok(), previous < number && number < u64::MAX);
        }

        #[test]
        fn a_flipped_bit_never_passes(envelope in prop::collection::vec(any::<u8>(), 1..500), bit: prop::sample::Index) {
            let mut bytes = split(7, Some(6), &envelope).remove(0);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn scanning_finds_every_frame_between_any_noise(
            noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10),
        ) {
            let mut bytes = Vec::new();
            for (number, noise) in noise.iter().enumerate() {
                bytes.extend_from_slice(noise);
                bytes.extend_from_slice(b"TGfrTG");
                bytes.extend(split(number as u64, None, b"body").remove(0));
            }
            let found: Vec<u64> = scan(&bytes, drop).map(|frame| frame.number).collect();
            prop_assert_eq!(found, (0..noise.len() as u64).collect::<Vec<_>>());
        }

        #[test]
        fn keys_sort_as_numbers_do(a: (u64, u16), b: (u64, u16)) {
            prop_assert_eq!(key(a.0, a.1).cmp(&key(b.0, b.1)), a.cmp(&b));
        }
    }
}
