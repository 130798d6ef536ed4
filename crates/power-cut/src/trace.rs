//! A trace: what happened below the folder, in order.
//!
//! An event's place in the trace is the moment at which the call had its effect: the recorder holds its lock over call
//! and note. Syncs alone have a beginning and an end, because others may write in between: a sync counts for what was
//! written before it began, and only once it has returned.

use serde::{Deserialize, Serialize};

/// One thing that happened. Paths are relative to the recorded folder; a trace has only calls that succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A file or folder was opened.
    Open {
        /// Its path in the recorded folder.
        path: String,
        /// What the following events call it.
        handle: u32,
        /// It was made if it was not there.
        create: bool,
        /// Its contents were thrown away.
        truncate: bool,
    },
    /// Bytes were written to a file.
    Write {
        /// The open file's handle.
        handle: u32,
        /// Offset of the first of them in the file.
        at: u64,
        /// The bytes that were written.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A file's length was set.
    Resize {
        /// The open file's handle.
        handle: u32,
        /// The new length in bytes.
        len: u64,
    },
    /// `fsync` or `fdatasync` was called: both commit a changed length.
    SyncBegin {
        /// Handle of the file or folder.
        handle: u32,
        /// Number of this sync, for its end.
        sync: u32,
    },
    /// It returned without an error.
    SyncEnd {
        /// Number of the sync that ended.
        sync: u32,
    },
    /// It returned with an error. The kernel calls the pages clean nevertheless: a later sync says nothing of them, and
    /// only what is written to them anew goes to the device again.
    SyncFailed {
        /// Number of the sync that failed.
        sync: u32,
    },
    /// `sync_file_range` returned: data written in place, no length, no device cache.
    RangeSync {
        /// The open file's handle.
        handle: u32,
        /// Where the range begins.
        at: u64,
        /// Its length; 0: to the end of the file.
        len: u64,
    },
    /// A file or folder was moved, replacing what was there.
    Rename {
        /// Its path before the move.
        from: String,
        /// Its path after the move.
        to: String,
    },
    /// A file's name was removed.
    Remove {
        /// Path of the removed name.
        path: String,
    },
    /// A folder was made.
    MakeDir {
        /// Path of the new folder.
        path: String,
    },
    /// An empty folder was removed.
    RemoveDir {
        /// Path of the removed folder.
        path: String,
    },
    /// The caller's own mark; what it means is the caller's business.
    Mark(u64),
    /// A call that changes files in a way that the disk does not model: the trace is worth nothing.
    Unmodelled(String),
}

/// Events in the order in which they took effect.
pub type Trace = Vec<Event>;
