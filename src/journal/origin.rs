//! Where a journal comes from: its id, drawn once, and the machine that it was made on.

use crate::record::JournalId;
use std::fs;
use std::path::PathBuf;

/// 64 random bits.
pub(super) fn draw_id() -> JournalId {
    let mut bytes = [0; 8];
    // Without the kernel's generator there is no unique id to be had; the boot id is the best that is left.
    if getrandom::fill(&mut bytes).is_err() {
        let boot = crate::clock::read_boot_id().0;
        bytes.copy_from_slice(&boot[..8]);
    }
    JournalId(u64::from_be_bytes(bytes))
}

/// Hash of machine id and first MAC address: tells a cloned card from its original. 0 when neither can be read.
pub(super) fn machine_fingerprint() -> u64 {
    use sha2::{Digest, Sha256};
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let mut names: Vec<PathBuf> =
        fs::read_dir("/sys/class/net").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    // Interfaces without a device behind them (bridges, tunnels, containers) come and go with new addresses.
    let address = names
        .iter()
        .filter(|path| path.join("device").exists())
        .find_map(|path| fs::read_to_string(path.join("address")).ok());
    if machine.trim().is_empty() && address.is_none() {
        return 0;
    }
    let digest = Sha256::digest(format!("{}|{}", machine.trim(), address.unwrap_or_default().trim()));
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}
