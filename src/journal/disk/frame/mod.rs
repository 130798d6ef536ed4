//! Frames: what one value in the log looks like, and how records become values.
//!
//! sled says nothing when it drops a damaged tail, and often cannot open a damaged file at all. So every value carries
//! a header of our own by which it can be found in the bare bytes of a file, checked, and put back in its place. Two
//! versions are read, the second is written; integers are big-endian:
//!
//! ```text
//! 1: magic "TGfr" | 1 u8 | flags u8 | part u16 | parts u16 | length u32 | number u64 | previous u64 | crc u32 | body
//! 2: magic "TGfr" | 2 u8 | header length u8 | flags u16 | length u32 | number u64 | previous u64
//!    | count u16 | part u16 | parts u16 | nonce u64 | crc u32 | body
//! ```
//!
//! The checksum (CRC-32C) covers the header before it and the body as the file holds it. The body of version 1 is a
//! slice of one record's envelope ([`crate::record::codec`]), `part` of `parts`. That of version 2 is a pack of `count` records
//! from `number` on ([`crate::record::pack`]), or a slice of a pack that holds a single long one. With the flag `first of
//! commit`, `previous` is the number of the last record of the commit before it (0: there was none): a tail that is missing
//! shows even when the numbers after it were given again. A value is at most [`VALUE_MAX`] bytes: a larger log item would
//! become one of sled's blob files, which are never synced.
//!
//! **The body of version 2 is whitened** ([`whiten`]): a payload may hold whole frames, with right checksums, and where
//! sled has overwritten the header before it nothing would tell them from ours. The nonce is drawn after the payload
//! came, so the file never holds the bytes that a publisher chose. This keeps nothing secret.
//!
//! From version 2 on, magic, version, header length and length stay where they are, and the checksum ends the header. So
//! a reader can tell a sound frame of a later version from damage ([`FrameError::Newer`]).

use crate::record::Number;
use std::borrow::Cow;

/// Version of the frames that are written.
pub(crate) const FRAME_VERSION: u8 = 2;
/// Largest value given to sled: segment size / 64 keeps the sixteen values of a leaf below the size of a blob.
pub(crate) const VALUE_MAX: usize = crate::journal::limits::SEGMENT_BYTES / 64;
/// Bytes before the body, of each version.
const HEADER_LEN_1: usize = 34;
const HEADER_LEN_2: usize = 46;
/// Largest body of a value that is written.
pub(crate) const BODY_MAX: usize = VALUE_MAX - HEADER_LEN_2;
/// The longest header, and so what of a value may lie before its body.
pub(crate) const HEADER_LEN_MAX: usize = HEADER_LEN_2;
/// No later version has a shorter header: magic, version, lengths and checksum.
const HEADER_LEN_MIN: usize = 16;
const MAGIC: [u8; 4] = *b"TGfr";
const FIRST_OF_COMMIT: u16 = 1;
const CRC_LEN: usize = 4;

/// A frame, taken apart; the body still lies in the bytes it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) version: u8,
    /// Number of the first record in it.
    pub(crate) number: Number,
    /// Count of records in it.
    pub(crate) count: u16,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    /// Last number of the commit before, on the first frame of a commit.
    pub(crate) previous: Option<Number>,
    /// Header and body as the file holds them.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The body as it was given to [`split`].
    pub(crate) fn body(&self) -> Cow<'a, [u8]> {
        match self.version {
            1 => Cow::Borrowed(&self.bytes[HEADER_LEN_1..]),
            _ => {
                let (header, body) = self.bytes.split_at(HEADER_LEN_2);
                let mut body = body.to_vec();
                whiten(nonce_of(header), &mut body);
                Cow::Owned(body)
            }
        }
    }

    /// The number behind its last record.
    pub(crate) fn end(&self) -> Number {
        self.number + u64::from(self.count)
    }
}

/// Why bytes are not a frame of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("not a frame: magic or length do not fit")]
    Shape,
    #[error("frame version {0} is newer than this program reads ({FRAME_VERSION})")]
    Newer(u8),
    #[error("checksum does not match")]
    Checksum,
}

/// What looks like a frame and is none that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Odd {
    /// Its checksum does not match. The numbers that it claims to hold, from the first to before the second; they may be
    /// what is damaged, so this is a hint, and no more.
    Broken(Number, Number),
    /// It is sound, and of a later version.
    Newer(u8),
}

/// Key of a value: number and part, big-endian, so that sled's order is ours.
pub(crate) fn key(number: Number, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&number.0.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Cuts a pack of `count` records from `number` on into frames; more than one frame only of a single record. `previous` is
/// given for the first record of a commit.
///
/// At most 65,535 parts (about 265 MB), far above the largest record that intake lets through.
pub(crate) fn split(number: Number, count: u16, previous: Option<Number>, pack: &[u8]) -> Vec<Vec<u8>> {
    split_by(number, count, previous, pack, crate::journal::random::draw)
}

/// [`split`] with other nonces.
pub(crate) fn split_by(
    number: Number,
    count: u16,
    previous: Option<Number>,
    pack: &[u8],
    nonce: impl Fn() -> u64,
) -> Vec<Vec<u8>> {
    let parts = u16::try_from(pack.chunks(BODY_MAX).len()).expect("intake bounds a record's size far below that");
    debug_assert!(count == 1 || parts == 1, "only a single record is cut");
    let frame = |(part, body): (usize, &[u8])| {
        let mut out = Vec::with_capacity(HEADER_LEN_2 + body.len());
        let previous = previous.filter(|_| part == 0);
        let nonce = nonce();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FRAME_VERSION, HEADER_LEN_2 as u8]);
        out.extend_from_slice(&(if previous.is_some() { FIRST_OF_COMMIT } else { 0 }).to_be_bytes());
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&number.0.to_be_bytes());
        out.extend_from_slice(&previous.unwrap_or_default().0.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&(part as u16).to_be_bytes());
        out.extend_from_slice(&parts.to_be_bytes());
        out.extend_from_slice(&nonce.to_be_bytes());
        let at = out.len() + CRC_LEN;
        out.extend_from_slice(&[0; CRC_LEN]);
        out.extend_from_slice(body);
        whiten(nonce, &mut out[at..]);
        seal_one(&mut out, at);
        debug_assert!(out.len() <= VALUE_MAX);
        out
    };
    pack.chunks(BODY_MAX).enumerate().map(frame).collect()
}

/// Lays a row of numbers over bytes, and takes it off again: splitmix64 from the nonce on, big-endian, eight bytes each.
fn whiten(nonce: u64, bytes: &mut [u8]) {
    if crate::failpoints::is_armed(crate::failpoints::Failpoint::ForgedFrame) {
        return;
    }
    let mut state = nonce;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        chunk.iter_mut().zip(mixed.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn nonce_of(header: &[u8]) -> u64 {
    u64_at(header, HEADER_LEN_2 - CRC_LEN - 8)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Lengths of header and body that bytes claim, of whatever version.
pub(crate) fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.first_chunk::<HEADER_LEN_MIN>().filter(|head| head[..4] == MAGIC)?;
    let (header, length) = match head[4] {
        0 => return None,
        1 => (HEADER_LEN_1, u32_at(head, 10)),
        2 if usize::from(head[5]) != HEADER_LEN_2 => return None,
        _ => (usize::from(head[5]), u32_at(head, 8)),
    };
    let length = length as usize;
    (header >= HEADER_LEN_MIN && length <= VALUE_MAX && header + length <= bytes.len()).then_some((header, length))
}

/// Reads the frame at the start of `bytes`, which may have more behind it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (header, length) = lengths(bytes).ok_or(FrameError::Shape)?;
    let bytes = &bytes[..header + length];
    let crc_at = header - CRC_LEN;
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..crc_at]), &bytes[header..]) != u32_at(bytes, crc_at) {
        return Err(FrameError::Checksum);
    }
    let frame = match bytes[4] {
        1 => Frame {
            version: 1,
            number: Number(u64_at(bytes, 14)),
            count: 1,
            part: u16_at(bytes, 6),
            parts: u16_at(bytes, 8),
            previous: (bytes[5] & FIRST_OF_COMMIT as u8 != 0).then(|| Number(u64_at(bytes, 22))),
            bytes,
        },
        2 => Frame {
            version: 2,
            number: Number(u64_at(bytes, 12)),
            count: u16_at(bytes, 28),
            part: u16_at(bytes, 30),
            parts: u16_at(bytes, 32),
            previous: (u16_at(bytes, 6) & FIRST_OF_COMMIT != 0).then(|| Number(u64_at(bytes, 20))),
            bytes,
        },
        // After the checksum: a version that a flipped bit made up is damage, not a newer format.
        newer => return Err(FrameError::Newer(newer)),
    };
    // Numbers are counted up from 1; the last one is kept free, so that the next one can always be said.
    let can_be = frame.part < frame.parts
        && (frame.count == 1 || frame.count > 1 && frame.parts == 1)
        && frame.end() < Number::MAX
        && frame.previous.is_none_or(|previous| previous < frame.number);
    can_be.then_some(frame).ok_or(FrameError::Shape)
}

/// What a damaged frame at the start of `bytes` claims to hold.
fn claimed(bytes: &[u8]) -> Option<Odd> {
    let (number, count) = match bytes[4] {
        1 => (u64_at(bytes, 14), 1),
        2 => (u64_at(bytes, 12), u16_at(bytes, 28)),
        _ => return None,
    };
    let number = Number(number);
    Some(Odd::Broken(number, number + u64::from(count)))
}

/// Finds every sound frame of `version` (`None`: of any) in the bytes of a file, in the order of the file, and tells what is
/// odd. What lies inside a sound frame is its body, whatever it looks like.
pub(crate) fn scan<'a>(
    bytes: &'a [u8],
    version: Option<u8>,
    mut odd: impl FnMut(Odd) + 'a,
) -> impl Iterator<Item = Frame<'a>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = find_magic(&bytes[at..]) {
            at += found;
            match parse(&bytes[at..]) {
                Ok(frame) if version.is_none_or(|version| version == frame.version) => {
                    at += if crate::failpoints::is_armed(crate::failpoints::Failpoint::FrameInFrame) {
                        1
                    } else {
                        frame.bytes.len()
                    };
                    return Some(frame);
                }
                // Published bytes that look like a frame of the other version, where sled has cut off ours before them.
                Ok(_) | Err(FrameError::Shape) => {}
                Err(FrameError::Newer(version)) => odd(Odd::Newer(version)),
                Err(FrameError::Checksum) if version.is_none_or(|version| version == bytes[at + 4]) => {
                    claimed(&bytes[at..]).into_iter().for_each(&mut odd);
                }
                Err(FrameError::Checksum) => {}
            }
            at += 1;
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

/// Makes the checksum of the frame right whose body begins at `body`.
fn seal_one(frame: &mut [u8], body: usize) {
    let crc_at = body - CRC_LEN;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..crc_at]), &frame[body..]).to_be_bytes();
    frame[crc_at..body].copy_from_slice(&crc);
}

/// As 0.1.0 wrote one record.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn split_1(number: Number, previous: Option<Number>, envelope: &[u8]) -> Vec<Vec<u8>> {
    let bodies: Vec<&[u8]> = envelope.chunks(VALUE_MAX - HEADER_LEN_1).collect();
    let frame = |(part, body): (usize, &&[u8])| {
        let previous = previous.filter(|_| part == 0);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[1, u8::from(previous.is_some())]);
        out.extend_from_slice(&(part as u16).to_be_bytes());
        out.extend_from_slice(&(bodies.len() as u16).to_be_bytes());
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&number.0.to_be_bytes());
        out.extend_from_slice(&previous.unwrap_or_default().0.to_be_bytes());
        out.extend_from_slice(&[0; CRC_LEN]);
        out.extend_from_slice(body);
        seal_one(&mut out, HEADER_LEN_1);
        out
    };
    bodies.iter().enumerate().map(frame).collect()
}

#[cfg(test)]
mod tests;
