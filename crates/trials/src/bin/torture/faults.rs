//! What goes wrong beside the power: calls that are refused while the journal runs, and a state file of which a half or
//! both are lost between two runs.

use power_cut::{Call, Fault, Image};
use serde::{Deserialize, Serialize};
use testkit::random::Random;

/// Half of the state file.
const HALF: usize = 4096;
const STATE: &str = "state";
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Which calls of one run are refused. Each fault waits for its turn behind the one before it.
pub(crate) fn faults(random: &mut Random, most: u64) -> Vec<Fault> {
    (0..1 + random.below(most)).map(|_| fault(random)).collect()
}

fn fault(random: &mut Random) -> Fault {
    // What changes something most often, so that a fault's turn comes; the rest now and then.
    let call = match random.below(16) {
        0..5 => Call::Write,
        5..9 => Call::Sync,
        9..11 => Call::Open,
        11 => Call::Read,
        12 => Call::Rename,
        13 => Call::Resize,
        14 => Call::MakeDir,
        _ => Call::Remove,
    };
    let reach = match call {
        Call::Write | Call::Sync | Call::Open => 60,
        Call::Read => 200,
        Call::Rename | Call::Resize | Call::MakeDir | Call::Remove => 6,
    };
    let takes_room =
        matches!(call, Call::Open | Call::Write | Call::Sync | Call::Resize | Call::MakeDir | Call::Rename);
    Fault {
        call,
        after: random.below(reach),
        // A while: the writer's pauses grow, so three attempts in a row are most of a second.
        times: if random.chance(0.7) { 1 } else { 2 + random.below(2) },
        errno: if takes_room && random.chance(0.5) { ENOSPC } else { EIO },
        half: random.chance(0.5),
    }
}

/// What is gone of the state file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Lost {
    /// All that was sound.
    All,
    /// The half that was newer, and the older one is sound.
    Newer,
    /// The half that was older.
    Older,
}

/// Damages the state file, or takes it away. `None`: it holds nothing sound that could be lost.
pub(crate) fn lose_state(image: &mut Image, random: &mut Random) -> Option<Lost> {
    let mut bytes = image.read(STATE).filter(|bytes| bytes.len() == 2 * HALF)?;
    let serials = [0, 1].map(|half| serial(&bytes[half * HALF..][..HALF]));
    let newer = usize::from(serials[1] > serials[0]);
    let known = serials.iter().flatten().count();
    let victims: &[usize] = match random.below(4) {
        _ if known == 0 => return None,
        0 => {
            image.take(STATE);
            return Some(Lost::All);
        }
        1 => &[0, 1],
        2 => &[newer],
        _ => &[1 - newer],
    };
    for half in victims {
        damage(&mut bytes[half * HALF..][..HALF], random);
    }
    let left = [0, 1].map(|half| serial(&bytes[half * HALF..][..HALF]));
    image.put(STATE, &bytes);
    match (left[newer].is_some(), left[1 - newer].is_some()) {
        (false, false) => Some(Lost::All),
        (false, true) => Some(Lost::Newer),
        // The other one was never written, or a cut had torn it already.
        (true, _) => serials[1 - newer].is_some().then_some(Lost::Older),
    }
}

/// A half that says something no more: a bit flipped where it counts, a sector of nonsense, or nothing but zeros.
fn damage(half: &mut [u8], random: &mut Random) {
    match random.below(3) {
        0 => half[random.below(60) as usize] ^= 1 << random.below(8),
        1 => half[..512].fill_with(|| random.bits() as u8),
        _ => half.fill(0),
    }
}

/// The serial number of a sound half.
fn serial(half: &[u8]) -> Option<u64> {
    let number = |at: usize| u32::from_be_bytes(half[at..at + 4].try_into().expect("four bytes"));
    let body = half[24..].get(..number(16) as usize).filter(|_| half.starts_with(b"TGst"))?;
    let sound = crc32c::crc32c_append(crc32c::crc32c(&half[..20]), body) == number(20);
    sound.then(|| u64::from_be_bytes(half[8..16].try_into().expect("eight bytes")))
}
