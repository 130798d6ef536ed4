//! Where a journal comes from: its id, drawn once, and the machine that it was made on.
//!
//! A card that is copied into a second gateway takes the journal with it, and two gateways must not continue under one id. So
//! each opening compares what tells this machine from others with what was noted, the strongest kind that both know: the
//! card's own id (CID), else the board's serial number with the file system's UUID, else the permanent addresses of built-in
//! network interfaces as a set. Only evidence draws a new id: a mark that is missing (an interface that is not up yet, a
//! driver that came late) is none. No two copies share a record's id whatever comes of it: the run sees to that.

use crate::journal::random::draw;
use crate::record::JournalId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Interfaces that are noted at most: the state file's slots are small.
const ADDRESSES_MAX: usize = 8;

/// Draws a new journal's id.
pub(crate) fn draw_id() -> JournalId {
    JournalId(draw())
}

/// What tells a machine from others, as hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// CID of the card or eMMC that holds the journal.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) card: Option<u64>,
    /// Serial number of the board.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) board: Option<u64>,
    /// UUID of the journal's file system; counts together with the board.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<u64>,
    /// Permanent addresses of built-in network interfaces.
    #[serde(rename = "m", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) addresses: BTreeSet<u64>,
}

/// Whether a journal is where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MachineMatch {
    /// On the machine that was noted.
    Same,
    /// On another machine than the one that was noted.
    Another,
    /// Nothing that was noted can be found now.
    Unknown,
}

impl Machine {
    /// Looks at the machine; `root` is `/` but for tests.
    pub(crate) fn look(root: &Path, journal: &Path) -> Machine {
        let device = fs::metadata(journal).ok().map(|meta| meta.st_dev());
        let read = |path: &str| fs::read(root.join(path)).ok().and_then(|bytes| serial(&bytes));
        let board =
            ["proc/device-tree/serial-number", "sys/class/dmi/id/board_serial", "sys/class/dmi/id/product_serial"];
        Machine {
            card: device.and_then(|device| card(root, device)),
            board: board.into_iter().find_map(read),
            volume: device.and_then(|device| volume(root, device)),
            addresses: addresses(root),
        }
    }

    /// Whether this machine is the one that was noted.
    pub(crate) fn compare(&self, noted: &Machine) -> MachineMatch {
        let same = |same| if same { MachineMatch::Same } else { MachineMatch::Another };
        if let (Some(now), Some(then)) = (self.card, noted.card) {
            return same(now == then);
        }
        if let (Some(now), Some(then)) = (self.board, noted.board) {
            let moved = self.volume.zip(noted.volume).is_some_and(|(now, then)| now != then);
            return same(now == then && !moved);
        }
        match self.addresses.is_empty() || noted.addresses.is_empty() {
            true => MachineMatch::Unknown,
            // One in common is enough: an interface may be missing, or have been added.
            false => same(!self.addresses.is_disjoint(&noted.addresses)),
        }
    }

    /// What is to be noted from here on: what is seen now, and what is not to be seen now as it was noted.
    pub(crate) fn noting(self, noted: &Machine) -> Machine {
        let mut addresses = self.addresses;
        addresses.extend(noted.addresses.iter().take(ADDRESSES_MAX.saturating_sub(addresses.len())));
        Machine {
            card: self.card.or(noted.card),
            board: self.board.or(noted.board),
            volume: self.volume.or(noted.volume),
            addresses,
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// A serial number's hash, unless the maker left a filler in its place.
fn serial(bytes: &[u8]) -> Option<u64> {
    const FILLERS: [&str; 8] = [
        "o.e.m.",
        "default string",
        "none",
        "not specified",
        "not applicable",
        "system serial",
        "unknown",
        "123456789",
    ];
    let text = String::from_utf8_lossy(bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_lowercase();
    let filler = text.len() < 4
        || FILLERS.iter().any(|filler| text.contains(filler))
        || text.chars().all(|c| c == text.chars().next().unwrap_or_default());
    (!filler).then(|| hash(text.as_bytes()))
}

/// /// The CID is in the card's own folder in sysfs, above the card's partitions.
fn card(root: &Path, device: u64) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let at = fs::canonicalize(root.join(format!("sys/dev/block/{major}:{minor}"))).ok()?;
    at.ancestors().take(3).find_map(|folder| serial(&fs::read(folder.join("device/cid")).ok()?))
}

fn volume(root: &Path, device: u64) -> Option<u64> {
    let names = fs::read_dir(root.join("dev/disk/by-uuid")).ok()?.flatten();
    let of_device = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device() && meta.st_rdev() == device)
    };
    let found = names.map(|entry| entry.path()).find(of_device)?;
    Some(hash(found.file_name()?.as_encoded_bytes()))
}

fn addresses(root: &Path) -> BTreeSet<u64> {
    let interfaces = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let address = |entry: fs::DirEntry| {
        let path = entry.path();
        // Without a device behind it (bridges, tunnels) an interface comes and goes; a USB adapter may be in another
        // machine next week.
        let device = fs::canonicalize(path.join("device")).ok()?;
        let plugged = device.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"usb"));
        // 0: the maker's own address, not one that was drawn or set.
        let permanent = fs::read_to_string(path.join("addr_assign_type")).map_or(true, |kind| kind.trim() == "0");
        let text = fs::read_to_string(path.join("address")).ok()?;
        let text = text.trim().to_lowercase();
        let empty = text.bytes().all(|byte| matches!(byte, b'0' | b':'));
        (!plugged && permanent && !empty).then(|| hash(text.as_bytes()))
    };
    let mut all: Vec<u64> = interfaces.filter_map(address).collect();
    all.sort_unstable();
    all.into_iter().take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn machine() -> impl Strategy<Value = Machine> {
        let some = || prop::option::of(0u64..3);
        (some(), some(), some(), prop::collection::btree_set(0u64..5, 0..3))
            .prop_map(|(card, board, volume, addresses)| Machine { card, board, volume, addresses })
    }

    fn without(machine: &Machine, missing: [bool; 4]) -> Machine {
        let Machine { card, board, volume, addresses } = machine.clone();
        Machine {
            card: card.filter(|_| !missing[0]),
            board: board.filter(|_| !missing[1]),
            volume: volume.filter(|_| !missing[2]),
            addresses: if missing[3] { BTreeSet::new() } else { addresses },
        }
    }

    proptest! {
        #[test]
        fn a_mark_that_is_missing_is_no_evidence(machine in machine(), then: [bool; 4], now: [bool; 4]) {
            let (noted, found) = (without(&machine, then), without(&machine, now));
            prop_assert_ne!(found.compare(&noted), MachineMatch::Another);
            prop_assert_ne!(machine.compare(&found.noting(&noted)), MachineMatch::Another);
        }

        #[test]
        fn another_card_or_board_always_makes_another_machine(machine in machine(), other in 10u64..20) {
            let card = Machine { card: machine.card.map(|_| other), ..machine.clone() };
            prop_assert_eq!(card.compare(&machine) == MachineMatch::Another, machine.card.is_some());
            let board = Machine { board: machine.board.map(|_| other), card: None, ..machine.clone() };
            prop_assert_eq!(board.compare(&machine) == MachineMatch::Another, machine.board.is_some());
        }

        #[test]
        fn what_is_noted_stays_small(mut noted in machine(), seen in prop::collection::vec(machine(), 0..20)) {
            for (shift, now) in seen.into_iter().enumerate() {
                let addresses = now.addresses.iter().map(|address| address + shift as u64 * 5).collect();
                noted = Machine { addresses, ..now }.noting(&noted);
                prop_assert!(noted.addresses.len() <= ADDRESSES_MAX);
            }
        }
    }

    #[test]
    fn a_machine_is_told_by_its_files() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        let look = || Machine::look(root.path(), root.path());
        assert_eq!(look(), Machine::default(), "nothing to see");
        put("proc/device-tree/serial-number", "10000000abcdef01\0");
        for (name, address, kind) in [("eth0", "0c:00:00:00:00:01", "0"), ("br0", "0c:00:00:00:00:02", "1")] {
            put(&format!("sys/class/net/{name}/address"), address);
            put(&format!("sys/class/net/{name}/addr_assign_type"), kind);
            fs::create_dir_all(root.path().join(format!("sys/class/net/{name}/device"))).expect("made");
        }
        put("sys/class/net/lo/address", "00:00:00:00:00:00");
        let seen = look();
        assert!(seen.board.is_some() && seen.addresses.len() == 1, "{seen:?}");
        put("proc/device-tree/serial-number", "Default string");
        assert_eq!(look().board, None);
        put("sys/class/net/eth1/address", "0c:00:00:00:00:03");
        let modem = root.path().join("sys/devices/usb1/1-1");
        fs::create_dir_all(&modem).expect("made");
        std::os::unix::fs::symlink(modem, root.path().join("sys/class/net/eth1/device")).expect("linked");
        assert_eq!(look().addresses, seen.addresses, "a modem is no part of the machine");
        let device = fs::metadata(root.path()).expect("a folder").st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        put("sys/devices/mmc0/block/mmcblk0/device/cid", "1b534d3030303030");
        put("sys/devices/mmc0/block/mmcblk0/mmcblk0p2/partition", "2");
        fs::create_dir_all(root.path().join("sys/dev/block")).expect("made");
        let partition = root.path().join("sys/devices/mmc0/block/mmcblk0/mmcblk0p2");
        std::os::unix::fs::symlink(partition, root.path().join(format!("sys/dev/block/{major}:{minor}")))
            .expect("linked");
        assert!(look().card.is_some());
    }
}
