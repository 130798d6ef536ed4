//! Where the journal lies: on flash or in RAM, and how much space is left there.
//!
//! `/var` on tmpfs is usual on OpenWrt-like gateways. A journal there is lost at every power cut; the agent runs all the
//! same, says so in red, and names the mounts that are on a medium.

use crate::journal::disk::files;
use std::fs;
use std::path::{Path, PathBuf};

// Magic numbers of file systems: linux/magic.h.
const EXT: u64 = 0xef53;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// Whether `path` (which must exist) lies on a file system in RAM. An overlay is judged by its upper layer.
pub fn in_ram(path: &Path) -> bool {
    match magic(path) {
        None => return false,
        Some(TMPFS | RAMFS) => return true,
        Some(_) => {}
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let Ok(path) = path.canonicalize() else { return false };
    overlay_upper(&mounts, &path).is_some_and(|upper| kind_of(&mounts, &upper).is_some_and(is_ram_kind))
}

/// Whether a file that becomes longer costs the device several blocks more than the same bytes written over: with ext4's journal
/// it does. With XFS's log it costs next to nothing, and a file system that copies on write (btrfs, f2fs) writes whatever is written over
/// to another place. Measured: `docs/performance.md`. In RAM it does not matter, and tests run as on ext4.
pub(crate) fn growth_costs(path: &Path) -> bool {
    matches!(magic(path), Some(EXT | TMPFS))
}

/// The magic number of the file system that holds `path`.
fn magic(path: &Path) -> Option<u64> {
    rustix::fs::statfs(path).ok().map(|about| about.f_type as u64 & 0xffff_ffff)
}

/// Bytes that an unprivileged process can still write below `path`; `None` when the system does not tell.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let asked = || rustix::fs::statvfs(path).ok().map(|about| about.f_bavail.saturating_mul(about.f_frsize));
    crate::failpoints::free_bytes().or_else(asked)
}

/// How much there is for a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes of the file system.
    pub total: u64,
    /// Bytes that are free for an unprivileged process, and those that the journal has already.
    pub for_us: u64,
}

/// The space for a journal in `folder`, which need not be there yet; `None` when the system does not tell.
pub fn space(folder: &Path) -> Option<Space> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let about = rustix::fs::statvfs(there).ok()?;
    let free = free_bytes(there)?;
    // A file system without blocks, as some virtual ones are, says nothing.
    let total = Some(about.f_blocks.saturating_mul(about.f_frsize)).filter(|total| *total > 0)?;
    Some(Space { total, for_us: free.saturating_add(files::disk_bytes(folder)) })
}

/// Mount points on a medium that can be written: where a journal could move to.
pub fn media() -> Vec<PathBuf> {
    media_in(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

fn media_in(mounts: &str) -> Vec<PathBuf> {
    const MEDIA: [&str; 8] = ["ext2", "ext3", "ext4", "f2fs", "btrfs", "ubifs", "jffs2", "xfs"];
    let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines
        .filter(|fields| {
            fields.len() > 3 && MEDIA.contains(&fields[2]) && fields[3].split(',').any(|option| option == "rw")
        })
        .map(|fields| unescape(fields[1]))
        .collect()
}

fn overlay_upper(mounts: &str, path: &Path) -> Option<PathBuf> {
    let (_, kind, options) = mount_of(mounts, path)?;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    upper.filter(|_| kind == "overlay").map(unescape)
}

fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    mount_of(mounts, path).map(|(_, kind, _)| kind)
}

fn is_ram_kind(kind: &str) -> bool {
    matches!(kind, "tmpfs" | "ramfs")
}

/// The mount that holds `path`: the longest mount point above it, the last one where several are stacked.
fn mount_of<'a>(mounts: &'a str, path: &Path) -> Option<(PathBuf, &'a str, &'a str)> {
    let mut best: Option<(PathBuf, &str, &str)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let point = unescape(point);
        let longer = best.as_ref().is_none_or(|(so_far, ..)| point.components().count() >= so_far.components().count());
        if path.starts_with(&point) && longer {
            best = Some((point, kind, options));
        }
    }
    best
}

/// The mount table writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) => {
                out.push(value);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from(String::from_utf8_lossy(&out).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "/dev/root / squashfs ro 0 0\n\
        tmpfs /tmp tmpfs rw,nosuid 0 0\n\
        overlayfs:/overlay / overlay rw,lowerdir=/,upperdir=/tmp/up,workdir=/tmp/w 0 0\n\
        /dev/mmcblk0p3 /mnt/flash\\040disk ext4 rw,noatime 0 0\n\
        /dev/mmcblk0p4 /boot ext4 ro 0 0\n";

    #[test]
    fn an_overlay_is_judged_by_its_upper_layer() {
        let upper = overlay_upper(MOUNTS, Path::new("/var/lib")).unwrap();
        assert_eq!(upper, Path::new("/tmp/up"));
        assert!(kind_of(MOUNTS, &upper).is_some_and(is_ram_kind));
        assert_eq!(overlay_upper(MOUNTS, Path::new("/mnt/flash disk/j")), None);
    }

    #[test]
    fn writable_media_are_named_with_their_blanks() {
        assert_eq!(media_in(MOUNTS), [Path::new("/mnt/flash disk")]);
    }
}
