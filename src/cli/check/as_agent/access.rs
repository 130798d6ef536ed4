//! Files tried as another user: by a child process that becomes that user for good before it looks at any.
//!
//! The kernel judges, not we: what it says covers access lists, mounts and security modules, which no look at a mode does.

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of a journal that are looked at; more are not opened at a start either.
const FILES_MAX: usize = 10_000;

/// A user as the kernel knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Ids {
    pub(super) user: u32,
    pub(super) group: u32,
    /// Supplementary ones.
    pub(super) groups: Vec<u32>,
}

/// What the agent does with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Want {
    /// Read a file.
    Read,
    /// Connect to a socket.
    Connect,
    /// Make and change files in a folder, and whatever is in it.
    Keep,
}

/// What it met.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// The file or folder that refuses; the path itself, a folder above it, or something within.
    pub(super) at: PathBuf,
    /// What the system says.
    pub(super) error: String,
    /// It is not there.
    pub(super) missing: bool,
    /// It is a folder that may not be searched: nothing in it can be used, whatever its own mode is.
    pub(super) closed: bool,
    /// Its file system is read-only: no owner and no mode changes that.
    pub(super) read_only: bool,
}

type Order = (Ids, Vec<(PathBuf, Want)>);

/// Tries each path as that user; `None` where nothing refuses.
///
/// # Errors
/// The child cannot be started, or cannot become that user.
pub(super) fn try_as(ids: &Ids, paths: &[(PathBuf, Want)]) -> io::Result<Vec<Option<Refusal>>> {
    let mut child = Command::new("/proc/self/exe")
        .args(["check", "--access"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&(ids, paths))?)?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child: becomes the user, tries, and prints what it met.
///
/// # Errors
/// The order cannot be read, or this process cannot become that user.
pub(in crate::cli) fn child() -> io::Result<String> {
    let mut order = String::new();
    io::stdin().read_to_string(&mut order)?;
    let (ids, paths): Order = serde_json::from_str(&order)?;
    become_user(&ids)?;
    let met: Vec<Option<Refusal>> = paths.iter().map(|(path, want)| refusal(path, *want).err()).collect();
    Ok(serde_json::to_string(&met)?)
}

/// For good: this process has one thread, and gives up the saved ids, too.
fn become_user(ids: &Ids) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(ids.user), Gid::from_raw(ids.group));
    if rustix::process::getuid() == user && rustix::process::geteuid() == user {
        return Ok(());
    }
    let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}

fn refusal(path: &Path, want: Want) -> Result<(), Refusal> {
    match want {
        Want::Read => open(path).map_err(|error| met(path, &error)),
        Want::Connect => may(path, Access::WRITE_OK).map_err(|error| met(path, &error)),
        Want::Keep => keep(path),
    }
}

fn keep(path: &Path) -> Result<(), Refusal> {
    let there = path.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(path);
    may(there, Access::EXEC_OK).map_err(|error| Refusal { closed: there != path, ..met(there, &error) })?;
    let rest = if there == path { Access::READ_OK | Access::WRITE_OK } else { Access::WRITE_OK };
    may(there, rest).map_err(|error| met(there, &error))?;
    let mut left = FILES_MAX;
    if there == path { within(path, &mut left) } else { Ok(()) }
}

/// Everything in a folder can be read and written, as a start does.
fn within(folder: &Path, left: &mut usize) -> Result<(), Refusal> {
    for entry in std::fs::read_dir(folder).map_err(|error| met(folder, &error))? {
        let Ok(entry) = entry else { continue };
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        if kind.is_dir() {
            may(&path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(|error| met(&path, &error))?;
            within(&path, left)?;
        } else if kind.is_file() {
            may(&path, Access::READ_OK | Access::WRITE_OK).map_err(|error| met(&path, &error))?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<()> {
    // Opening a pipe without a writer would wait.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map(drop)
}

fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)?)
}

/// The nearest thing that refuses: a folder above that may not be searched, else the path.
fn met(path: &Path, error: &io::Error) -> Refusal {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    let closed = above.into_iter().rev().find(|folder| {
        may(folder, Access::EXEC_OK).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    });
    Refusal {
        at: closed.unwrap_or(path).to_owned(),
        error: error.to_string(),
        missing: error.kind() == io::ErrorKind::NotFound,
        closed: closed.is_some(),
        read_only: error.kind() == io::ErrorKind::ReadOnlyFilesystem,
    }
}
