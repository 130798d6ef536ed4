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
        /// Which one.
        path: String,
        /// What the following events call it.
        handle: u32,
        /// It was made if it was not there.
        create: bool,
        /// Its contents were thrown away.
        truncate: bool,
    },
    /// Bytes were written.
    Write {
        /// To what.
        handle: u32,
        /// Offset of the first of them in the file.
        at: u64,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A file's length was set.
    Resize {
        /// Of what.
        handle: u32,
        /// The new length in bytes.
        len: u64,
    },
    /// `fsync` or `fdatasync` was called: both commit a changed length.
    SyncBegin {
        /// On what.
        handle: u32,
        /// Names this sync.
        sync: u32,
    },
    /// It returned without an error.
    SyncEnd {
        /// Which one.
        sync: u32,
    },
    /// It returned with an error. The kernel calls the pages clean nevertheless: a later sync says nothing of them, and
    /// only what is written to them anew goes to the device again.
    SyncFailed {
        /// Which one.
        sync: u32,
    },
    /// `sync_file_range` returned: data written in place, no length, no device cache.
    RangeSync {
        /// On what.
        handle: u32,
        /// Where the range begins.
        at: u64,
        /// Its length; 0: to the end of the file.
        len: u64,
    },
    /// A file or folder was moved, replacing what stood there.
    Rename {
        /// From here.
        from: String,
        /// To here.
        to: String,
    },
    /// A file's name was removed.
    Remove {
        /// Which one.
        path: String,
    },
    /// A folder was made.
    MakeDir {
        /// Which one.
        path: String,
    },
    /// An empty folder was removed.
    RemoveDir {
        /// Which one.
        path: String,
    },
    /// The caller's own mark; what it means is the caller's business.
    Mark(u64),
    /// A call that changes files in a way that the disk does not model: the trace is worth nothing.
    Unmodelled(String),
}

/// Events in the order in which they took effect.
pub type Trace = Vec<Event>;
