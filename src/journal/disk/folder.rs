//! The journal's folder, and the way to it: who else could put something there.
//!
//! The agent writes in this folder under names that every user can know. Where another user may write, a link planted
//! under such a name would have the agent, or root with one of its commands, write into whatever the link names. So:
//!
//! - [`planted`] looks before anything is opened: a link that neither root nor the agent's user made, on the way to the
//!   folder or in it, stops the start, and so does a second name of a file where others can give it one. Links of root or of
//!   the agent's user are an administrator's way of moving a folder, and are followed.
//! - [`open_to`] is what `tidegate check` refuses: a folder in which others can plant something at any time. The agent
//!   still starts there, because messages that are not taken are lost, too.
//!
//! Between the look and the opening others could still plant something, where they can write at all; what we open ourselves is
//! opened with O_NOFOLLOW for that.

use rustix::process::{Gid, Uid, getegid, geteuid};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;
/// Folders within folders in a journal: log, generation, blobs.
const DEPTH_MAX: usize = 4;
/// In such a folder others may make files, and not rename or remove what is not theirs.
const STICKY: u32 = 0o1000;

/// Users whose files and links are taken for ours.
#[derive(Clone, Debug)]
pub struct Trusted {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Trusted {
    /// Root, this process's user, and the service's `(user, group)` where it is known.
    pub fn with(service: Option<(Uid, Gid)>) -> Trusted {
        let known = service.into_iter().chain([(Uid::ROOT, Gid::ROOT), (geteuid(), getegid())]);
        let (users, groups) = known.map(|(user, group)| (user.as_raw(), group.as_raw())).unzip();
        Trusted { users, groups }
    }

    fn owns(&self, of: &Metadata) -> bool {
        self.users.contains(&of.uid())
    }

    /// Whether another user may make files in the folder.
    fn shares(&self, folder: &Metadata) -> bool {
        let mode = folder.permissions().mode();
        !self.owns(folder) || mode & 0o002 != 0 || (mode & 0o020 != 0 && !self.groups.contains(&folder.gid()))
    }
}

/// Something that another user put in the way, and what it is. `Err`: it cannot be looked at.
///
/// # Errors
/// What the system says; a folder that is not there yet is not an error.
pub fn planted(folder: &Path, trusted: &Trusted) -> io::Result<Option<String>> {
    let way = walk(folder)?;
    for step in &way.steps {
        if step.about.is_symlink() && !trusted.owns(&step.about) {
            return Ok(Some(said(&step.path, &step.about)));
        }
    }
    match way.steps.last() {
        Some(last) if way.whole => planted_in(&last.path, trusted, DEPTH_MAX),
        _ => Ok(None),
    }
}

/// The first folder on the way to `folder`, or itself, in which others can plant something, and why.
///
/// # Errors
/// What the system says.
pub fn open_to(folder: &Path, trusted: &Trusted) -> io::Result<Option<(PathBuf, &'static str)>> {
    let Way { steps, whole } = walk(folder)?;
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.about.is_dir()) {
        let last = index + 1 == steps.len();
        // In a sticky folder what is there already keeps its owner; what is yet to be made another user may make first.
        let kept = step.about.permissions().mode() & STICKY != 0 && trusted.owns(&step.about) && !last;
        if trusted.shares(&step.about) && !kept {
            let why = if !trusted.owns(&step.about) {
                "it belongs to another user"
            } else if last && !whole {
                "every user could make the journal's folder there first"
            } else {
                "others can write in it"
            };
            return Ok(Some((step.path.clone(), why)));
        }
    }
    Ok(None)
}

struct Step {
    path: PathBuf,
    about: Metadata,
}

struct Way {
    steps: Vec<Step>,
    /// Its end is there: the last step is what it leads to.
    whole: bool,
}

/// Every folder and every link on the way, in the order in which the system would take them.
fn walk(folder: &Path) -> io::Result<Way> {
    let mut steps = Vec::new();
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut rest: Vec<PathBuf> = reversed(&std::path::absolute(folder)?);
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            at.pop();
            continue;
        }
        let here = at.join(&part);
        let about = match here.symlink_metadata() {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Way { steps, whole: false }),
            Err(error) => return Err(error),
        };
        if about.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other(format!("{} leads in a circle", here.display())));
            }
            let to = fs::read_link(&here)?;
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(reversed(&to));
        } else {
            at.clone_from(&here);
        }
        steps.push(Step { path: here, about });
    }
    Ok(Way { steps, whole: true })
}

fn reversed(path: &Path) -> Vec<PathBuf> {
    let names = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Looks through a folder where others can write; below one that is ours alone there is nothing of theirs.
fn planted_in(folder: &Path, trusted: &Trusted, depth: usize) -> io::Result<Option<String>> {
    let shared = trusted.shares(&fs::symlink_metadata(folder)?);
    if !shared || depth == 0 {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            about => about?,
        };
        let found = if about.is_dir() {
            planted_in(&entry.path(), trusted, depth - 1)?
        } else if (about.is_symlink() && !trusted.owns(&about)) || (about.is_file() && about.nlink() > 1) {
            Some(said(&entry.path(), &about))
        } else {
            None
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn said(path: &Path, about: &Metadata) -> String {
    let what = if about.is_symlink() { "a link" } else { "a file with a second name" };
    format!("{} is {what} that user {} put there: see what it is, and remove it", path.display(), about.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{lchown, symlink};

    /// Trusts one user and group that this process is not, so that what the test makes belongs to another user.
    fn others() -> Trusted {
        Trusted { users: vec![u32::MAX - 7], groups: vec![u32::MAX - 7] }
    }

    fn ours() -> Trusted {
        Trusted::with(None)
    }

    fn made(parent: &Path, name: &str, mode: u32) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        folder
    }

    fn closed(parent: &Path) -> PathBuf {
        made(parent, "journal", 0o700)
    }

    #[test]
    fn links_of_ours_are_followed_and_others_refused_anywhere() {
        let root = tempfile::tempdir().unwrap();
        let real = closed(root.path());
        made(&real, "log", 0o700);
        let link = root.path().join("link");
        symlink("journal", &link).unwrap();
        for path in [link.clone(), link.join("log"), link.join("not/yet"), root.path().join("journal/../link")] {
            assert_eq!(planted(&path, &ours()).unwrap(), None, "{}", path.display());
            let why = planted(&path, &others()).unwrap().expect("refused");
            assert!(why.contains("/link is a link"), "{why}");
        }
        let circle = root.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(planted(&circle, &ours()).is_err());
    }

    #[test]
    fn foreign_files_are_found_only_in_shared_folders() {
        let root = tempfile::tempdir().unwrap();
        let journal = made(root.path(), "journal", 0o777);
        let log = made(&journal, "log", 0o777);
        assert_eq!(planted(&journal, &ours()).unwrap(), None);
        let link = log.join("gen-1");
        symlink("/etc/passwd", &link).unwrap();
        assert_eq!(planted(&journal, &ours()).unwrap(), None, "our own link");
        assert!(planted(&journal, &others()).unwrap().is_some_and(|why| why.contains("gen-1 is a link")));
        if geteuid().is_root() {
            lchown(&link, Some(4321), Some(4321)).unwrap();
            assert!(planted(&journal, &ours()).unwrap().is_some_and(|why| why.contains("user 4321")));
            fs::set_permissions(&log, Permissions::from_mode(0o700)).unwrap();
            assert_eq!(planted(&journal, &ours()).unwrap(), None, "nobody else can write there now");
        }
        fs::remove_file(&link).unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        fs::hard_link(root.path().join("file"), journal.join("state")).unwrap();
        assert!(planted(&journal, &ours()).unwrap().is_some_and(|why| why.contains("second name")));
    }

    #[test]
    fn a_folder_others_can_write_is_named_with_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, mode| made(root.path(), name, mode);
        let (open, sticky, group) = (folder("open", 0o777), folder("sticky", 0o1777), folder("group", 0o770));
        for (path, named) in [
            (closed(root.path()), None),
            (root.path().join("journal/not/yet"), None),
            (open.join("journal"), Some(("open", "others can write in it"))),
            (closed(&open), Some(("open", "others can write in it"))),
            (sticky.join("not-yet"), Some(("sticky", "every user could make the journal's folder there first"))),
            (closed(&sticky), None),
            (sticky.clone(), Some(("sticky", "others can write in it"))),
            (group, None),
        ] {
            let found = open_to(&path, &ours()).unwrap();
            let found = found.as_ref().map(|(at, why)| (at.file_name().unwrap().to_str().unwrap(), *why));
            // The system's folder of temporary files is a sticky one, and everything made in it stays ours.
            assert_eq!(found, named, "{}", path.display());
        }
        let (_, why) = open_to(root.path(), &others()).unwrap().expect("refused");
        assert_eq!(why, "it belongs to another user");
    }
}
