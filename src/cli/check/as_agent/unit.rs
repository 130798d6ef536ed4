//! What the service's unit lets the agent see and write, read from the unit's file and its drop-ins: so it is known without a
//! running systemd. Pure, but for [`Unit::installed`].

use std::path::{Path, PathBuf};

/// Where units lie; a file in an earlier folder hides one of a later folder.
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const NAME: &str = "tidegate.service";

/// The settings that decide what is seen and written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Unit {
    /// `User=`; empty: root.
    pub(super) user: String,
    /// `Group=`; empty: the user's own.
    pub(super) group: String,
    /// `SupplementaryGroups=`.
    pub(super) groups: Vec<String>,
    /// `ProtectHome=`, with every spelling of yes as `yes`; so the next.
    pub(super) protect_home: String,
    pub(super) protect_system: String,
    pub(super) private_tmp: bool,
    /// `ReadWritePaths=` and `BindPaths=`.
    pub(super) writable: Vec<PathBuf>,
    /// `BindReadOnlyPaths=`: seen whatever else is hidden.
    pub(super) bound: Vec<PathBuf>,
    /// `InaccessiblePaths=`.
    pub(super) hidden: Vec<PathBuf>,
    /// `ReadOnlyPaths=`.
    pub(super) read_only: Vec<PathBuf>,
    /// Folders that systemd makes for the user: `StateDirectory=` and its kin.
    pub(super) made: Vec<PathBuf>,
}

impl Unit {
    /// The unit on this machine; `None`: there is none.
    pub(super) fn installed() -> Option<Unit> {
        let file = FOLDERS.iter().find_map(|folder| std::fs::read_to_string(Path::new(folder).join(NAME)).ok())?;
        let mut drop_ins: Vec<PathBuf> = Vec::new();
        for folder in FOLDERS {
            let entries =
                std::fs::read_dir(Path::new(folder).join(format!("{NAME}.d"))).into_iter().flatten().flatten();
            let new =
                entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf"));
            let new: Vec<_> =
                new.filter(|path| drop_ins.iter().all(|known| known.file_name() != path.file_name())).collect();
            drop_ins.extend(new);
        }
        // In the order of their names, wherever they lie.
        drop_ins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let drop_ins = drop_ins.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        Some(Unit::of(std::iter::once(file).chain(drop_ins)))
    }

    /// The unit of these texts: the file, then its drop-ins.
    fn of(texts: impl Iterator<Item = String>) -> Unit {
        let mut unit = Unit::default();
        for text in texts {
            let mut service = false;
            for line in text.replace("\\\n", " ").lines().map(str::trim) {
                match line.split_once('=') {
                    _ if line.starts_with(['#', ';']) => {}
                    _ if line.starts_with('[') => service = line == "[Service]",
                    Some((key, value)) if service => unit.set(key.trim(), value.trim()),
                    _ => {}
                }
            }
        }
        unit
    }

    fn set(&mut self, key: &str, value: &str) {
        let yes = ["1", "yes", "y", "true", "t", "on"].contains(&value.to_lowercase().as_str());
        // What systemd understands in front of a path, and the target of a bind; specifiers are not resolved.
        let paths = || {
            let words = value.split_whitespace().map(|word| word.trim_start_matches(['-', '+']));
            words.map(|word| PathBuf::from(word.rsplit(':').find(|part| part.starts_with('/')).unwrap_or(word)))
        };
        let below = |folder: &'static str| value.split_whitespace().map(move |name| Path::new(folder).join(name));
        // An empty value begins a list anew.
        let list = match key {
            "ReadWritePaths" | "ReadWriteDirectories" | "BindPaths" => &mut self.writable,
            "BindReadOnlyPaths" => &mut self.bound,
            "InaccessiblePaths" | "InaccessibleDirectories" => &mut self.hidden,
            "ReadOnlyPaths" | "ReadOnlyDirectories" => &mut self.read_only,
            "User" => return value.clone_into(&mut self.user),
            "Group" => return value.clone_into(&mut self.group),
            "SupplementaryGroups" => {
                self.groups = value.split_whitespace().map(str::to_owned).collect();
                return;
            }
            "ProtectHome" => {
                self.protect_home = if yes { "yes".to_owned() } else { value.to_owned() };
                return;
            }
            "ProtectSystem" => {
                self.protect_system = if yes { "yes".to_owned() } else { value.to_owned() };
                return;
            }
            "PrivateTmp" => {
                self.private_tmp = yes || value == "disconnected";
                return;
            }
            "StateDirectory" => return self.made.extend(below("/var/lib")),
            "RuntimeDirectory" => return self.made.extend(below("/run")),
            "CacheDirectory" => return self.made.extend(below("/var/cache")),
            "LogsDirectory" => return self.made.extend(below("/var/log")),
            _ => return,
        };
        if value.is_empty() { list.clear() } else { list.extend(paths()) }
    }

    /// Which setting hides this path from the agent, if one does. Symbolic links are to be resolved before.
    pub(super) fn hides(&self, path: &Path) -> Option<&'static str> {
        let under = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        let named = |list: &[PathBuf]| list.iter().any(|folder| path.starts_with(folder));
        if named(&self.hidden) {
            return Some("InaccessiblePaths=");
        }
        if named(&self.bound) || named(&self.writable) {
            return None;
        }
        if ["yes", "tmpfs"].contains(&self.protect_home.as_str()) && under(&["/home", "/root", "/run/user"]) {
            return Some("ProtectHome=");
        }
        (self.private_tmp && under(&["/tmp", "/var/tmp"])).then_some("PrivateTmp=")
    }

    /// Which setting keeps the agent from writing there, if one does.
    pub(super) fn write_protects(&self, path: &Path) -> Option<&'static str> {
        let under = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        let named = |list: &[PathBuf]| list.iter().any(|folder| path.starts_with(folder));
        if let Some(hides) = self.hides(path) {
            return Some(hides);
        }
        if named(&self.writable) || named(&self.made) {
            return None;
        }
        if named(&self.read_only) {
            return Some("ReadOnlyPaths=");
        }
        if self.protect_home == "read-only" && under(&["/home", "/root", "/run/user"]) {
            return Some("ProtectHome=");
        }
        let protected = match self.protect_system.as_str() {
            "strict" => !under(&["/dev", "/proc", "/sys"]) && (!self.private_tmp || !under(&["/tmp", "/var/tmp"])),
            "full" => under(&["/usr", "/boot", "/efi", "/etc"]),
            "yes" => under(&["/usr", "/boot", "/efi"]),
            _ => false,
        };
        protected.then_some("ProtectSystem=")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(drop_ins: &[&str]) -> Unit {
        let unit = include_str!("../../../../systemd/tidegate.service");
        Unit::of(std::iter::once(unit).chain(drop_ins.iter().copied()).map(str::to_owned))
    }

    #[test]
    fn the_shipped_unit_hides_homes_and_keeps_agent_folders_writable() {
        let unit = shipped(&[]);
        assert_eq!((&*unit.user, &*unit.group), ("tidegate", "tidegate"));
        let hides = |path: &str| unit.hides(Path::new(path));
        assert_eq!(hides("/root/password"), Some("ProtectHome="));
        assert_eq!(hides("/home/pi/keys.csv"), Some("ProtectHome="));
        assert_eq!(hides("/tmp/keys.csv"), Some("PrivateTmp="));
        assert_eq!((hides("/etc/tidegate/password"), hides("/homes/x")), (None, None));
        let protects = |path: &str| unit.write_protects(Path::new(path));
        assert_eq!(protects("/var/lib/tidegate/journal"), None);
        assert_eq!(protects("/run/tidegate"), None);
        assert_eq!(protects("/mnt/card/journal"), Some("ProtectSystem="));
        assert_eq!(protects("/var/lib/tidegates"), Some("ProtectSystem="));
        assert_eq!(protects("/home/pi/journal"), Some("ProtectHome="));
    }

    #[test]
    fn drop_ins_apply_in_order_and_empty_values_restart_lists() {
        let card = "[Service]\nReadWritePaths=-/mnt/card /srv\n";
        let writes = |drop_ins: &[&str], path: &str| shipped(drop_ins).write_protects(Path::new(path)).is_none();
        assert!(writes(&[card], "/mnt/card/journal") && writes(&[card], "/srv/x"));
        assert!(!writes(&[card, "[Service]\nReadWritePaths=\n"], "/mnt/card/journal"));
        assert!(!writes(&["[Unit]\nReadWritePaths=/mnt/card\n# ReadWritePaths=/mnt/card\n"], "/mnt/card/journal"));
        assert_eq!(shipped(&["[Service]\nProtectHome=no\nUser=pi\n"]).hides(Path::new("/home/pi/x")), None);
        assert_eq!(shipped(&["[Service]\nBindReadOnlyPaths=/root/x:/home/x\n"]).hides(Path::new("/home/x/key")), None);
        assert_eq!(Unit::of(std::iter::empty()).write_protects(Path::new("/root/x")), None);
    }
}
