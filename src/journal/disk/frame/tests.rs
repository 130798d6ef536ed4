//! Frames of both versions: what is written is read, what is damaged is not, and nothing that was published is taken for
//! a frame.

use super::*;
use proptest::prelude::*;

type Split = fn(u64, Option<u64>, &[u8]) -> Vec<Vec<u8>>;

fn one_1(number: u64, previous: Option<u64>, envelope: &[u8]) -> Vec<Vec<u8>> {
    split_1(Number(number), previous.map(Number), envelope)
}

fn one_2(number: u64, previous: Option<u64>, pack: &[u8]) -> Vec<Vec<u8>> {
    split(Number(number), 1, previous.map(Number), pack)
}

const VERSIONS: [(u8, Split); 2] = [(1, one_1), (2, one_2)];

proptest! {
    #[test]
    fn what_is_split_parses_back(number in 1..u64::MAX - 1, back: Option<u64>, body in prop::collection::vec(any::<u8>(), 1..20_000)) {
        let previous = back.map(|back| back % number);
        for (version, split) in VERSIONS {
            let frames = split(number, previous, &body);
            let mut joined = Vec::new();
            for (part, bytes) in frames.iter().enumerate() {
                prop_assert!(bytes.len() <= VALUE_MAX);
                let frame = parse(bytes).unwrap();
                prop_assert_eq!((frame.version, frame.number, frame.count), (version, Number(number), 1));
                prop_assert_eq!((usize::from(frame.part), usize::from(frame.parts)), (part, frames.len()));
                prop_assert_eq!(frame.previous.map(|number| number.0), previous.filter(|_| part == 0));
                joined.extend_from_slice(&frame.body());
            }
            prop_assert_eq!(&joined, &body);
        }
    }

    #[test]
    fn a_pack_tells_how_many_it_holds(number in 1..u64::MAX / 2, count in 1u16.., pack in prop::collection::vec(any::<u8>(), 1..BODY_MAX)) {
        let frames = split(Number(number), count, None, &pack);
        let frame = parse(&frames[0]).unwrap();
        prop_assert_eq!((frames.len(), frame.count, frame.end()), (1, count, Number(number) + u64::from(count)));
        prop_assert_eq!(&frame.body()[..], &pack[..]);
    }

    #[test]
    fn a_commit_before_it_has_lower_numbers(number: u64, previous: u64) {
        for (_, split) in VERSIONS {
            let frame = split(number, Some(previous), b"body").remove(0);
            prop_assert_eq!(parse(&frame).is_ok(), previous < number && number < u64::MAX - 1);
        }
    }

    #[test]
    fn a_flipped_bit_never_passes(body in prop::collection::vec(any::<u8>(), 1..500), bit: prop::sample::Index) {
        for (_, split) in VERSIONS {
            let mut bytes = split(7, Some(6), &body).remove(0);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(parse(&bytes), Err(FrameError::Shape | FrameError::Checksum)));
        }
    }

    #[test]
    fn scanning_finds_every_frame_of_its_version_between_any_noise(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10),
    ) {
        let mut bytes = Vec::new();
        for (number, noise) in noise.iter().enumerate() {
            bytes.extend_from_slice(noise);
            bytes.extend_from_slice(b"TGfrTG");
            bytes.extend(split_1(Number(number as u64), None, b"body").remove(0));
            bytes.extend(split(Number(number as u64), 1, None, b"body").remove(0));
        }
        for version in [1, 2] {
            let found: Vec<u64> = scan(&bytes, Some(version), drop).map(|frame| frame.number.0).collect();
            prop_assert_eq!(found, (0..noise.len() as u64).collect::<Vec<_>>());
        }
        prop_assert_eq!(scan(&bytes, None, drop).count(), 2 * noise.len());
    }

    /// Sixteen bytes in a row: fewer may come out alike by chance.
    #[test]
    fn no_published_payload_lies_unchanged_in_the_file(payload in prop::collection::vec(any::<u8>(), 16..3_000)) {
        let bytes = split(Number(7), 1, None, &payload).remove(0);
        let there: std::collections::HashSet<&[u8]> = bytes.windows(16).collect();
        prop_assert!(!payload.windows(16).any(|piece| there.contains(piece)));
    }

    /// Wherever what comes before it was overwritten.
    #[test]
    fn no_frame_is_found_in_a_payload_that_holds_some(cut in 1usize..3_000, version in 0usize..2) {
        let (_, forge) = VERSIONS[version];
        let forged = forge(9, None, b"forged").concat().repeat(50);
        let bytes = split(Number(7), 1, None, &forged).concat();
        let cut = cut.min(bytes.len());
        for version in [None, Some(1), Some(2)] {
            prop_assert_eq!(scan(&bytes[cut..], version, drop).count(), 0);
        }
    }

    #[test]
    fn keys_sort_as_numbers_do(a: (u64, u16), b: (u64, u16)) {
        prop_assert_eq!(key(Number(a.0), a.1).cmp(&key(Number(b.0), b.1)), a.cmp(&b));
    }
}

#[test]
fn a_sound_frame_of_a_later_version_differs_from_damage() {
    let mut later = split(Number(7), 1, None, b"whatever it means").remove(0);
    later[4] = 3;
    assert_eq!(parse(&later), Err(FrameError::Checksum));
    seal_one(&mut later, HEADER_LEN_2);
    assert_eq!(parse(&later), Err(FrameError::Newer(3)));
    // With a longer header.
    let mut longer = later.clone();
    longer.splice(HEADER_LEN_2 - CRC_LEN..HEADER_LEN_2 - CRC_LEN, [1, 2, 3]);
    longer[5] += 3;
    seal_one(&mut longer, HEADER_LEN_2 + 3);
    assert_eq!(parse(&longer), Err(FrameError::Newer(3)));
    let mut odd = Vec::new();
    assert_eq!(scan(&longer, Some(2), |seen| odd.push(seen)).count(), 0);
    assert_eq!(odd, [Odd::Newer(3)]);
}
