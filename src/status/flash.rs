//! Wear of the flash below a folder, where the kernel tells: an eMMC counts its own wear, an SD card does not.
//!
//! Source: JEDEC eMMC 5.0 (EXT_CSD 267 to 269), as Linux shows it in `life_time` and `pre_eol_info` of the device.

use serde::Serialize;
use std::fs;
use std::path::Path;

/// What an eMMC says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct FlashWear {
    /// Most of its life that may be used, in percent, in steps of ten; above 100 it is beyond what it was made for.
    pub life_used_percent: u8,
    /// Its reserved blocks: "normal", "warning" (80 % used), "urgent" (90 % used).
    pub reserve: &'static str,
}

/// The wear of the device that holds `path`. `None`: the kernel does not tell. `sys` is `/sys`, or another one in a test.
pub fn wear(sys: &Path, path: &Path) -> Option<FlashWear> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = sys.join(format!("dev/block/{major}:{minor}")).canonicalize().ok()?;
    // A partition lies in its disk's folder, and the disk's in the device's.
    let of_device = block.ancestors().take(4).map(|folder| folder.join("device"));
    of_device.filter(|folder| folder.is_dir()).find_map(|folder| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        parse(&read("life_time")?, &read("pre_eol_info")?)
    })
}

/// `life_time` has two numbers, for the two kinds of cells: 0 says nothing, 1 up to 10 %, 11 beyond its life.
fn parse(life_time: &str, pre_eol_info: &str) -> Option<FlashWear> {
    let hex = |text: &str| u8::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    let used = life_time.split_whitespace().filter_map(hex).filter(|tenths| (1..=11).contains(tenths)).max()?;
    let reserve = match hex(pre_eol_info)? {
        1 => "normal",
        2 => "warning",
        3 => "urgent",
        _ => return None,
    };
    Some(FlashWear { life_used_percent: used * 10, reserve })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_emmc_wear_is_read() {
        let worn = |life_used_percent, reserve| Some(FlashWear { life_used_percent, reserve });
        assert_eq!(parse("0x01 0x03\n", "0x01\n"), worn(30, "normal"));
        assert_eq!(parse("0x0b 0x00\n", "0x03\n"), worn(110, "urgent"));
        for (life, reserve) in
            [("0x00 0x00", "0x01"), ("", "0x01"), ("0x01 0x01", "0x00"), ("x", "y"), ("0xff 0xff", "0x02")]
        {
            assert_eq!(parse(life, reserve), None, "{life} {reserve}");
        }
    }

    #[test]
    fn the_device_is_found_by_a_folder_on_it() {
        let sys = tempfile::tempdir().unwrap();
        let device = rustix::fs::stat(sys.path()).unwrap().st_dev;
        let disk = sys.path().join("devices/mmc0/block/mmcblk0");
        fs::create_dir_all(disk.join("mmcblk0p2")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        let name = format!("dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        std::os::unix::fs::symlink(disk.join("mmcblk0p2"), sys.path().join(name)).unwrap();
        assert_eq!(wear(sys.path(), sys.path()), None);
        fs::write(disk.join("device/life_time"), "0x02 0x01\n").unwrap();
        fs::write(disk.join("device/pre_eol_info"), "0x02\n").unwrap();
        assert_eq!(wear(sys.path(), sys.path()), Some(FlashWear { life_used_percent: 20, reserve: "warning" }));
    }
}
