//! What a power cut leaves of the files that a process was writing: recorded, modelled, rebuilt.
//!
//! Three parts, which know nothing of the writer or its purpose:
//!
//! 1. The recorder ([`Recording`]): libc's entry points are defined here and forwarded to the kernel, and what changes or
//!    syncs anything below one folder is written down in the order in which it happened, with marks that the caller puts
//!    into the same order. The definitions of an executable win over libc's, so naming this crate is enough.
//! 2. The disk ([`Disk`]): pure; fed with the events of a trace, it knows at every moment what is on stable storage for
//!    certain, and what may or may not be.
//! 3. The image ([`Image`]): one of the states in which a cut at that moment may leave the folder, to be written out and
//!    opened.
//!
//! Beside the power, calls can fail: a [`Fault`] answers some of them with an error, as a device or a full disk does.
//!
//! Whether the recorder saw everything is not assumed: [`Recording::finish`] compares the state that the disk would have
//! without any cut with the real folder, byte for byte. An entry point that was missed fails there, loudly.
//!
//! Only for proving runs on 64-bit Linux; the agent never links it.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod disk;
mod fault;
mod file;
mod hooks;
mod image;
mod recorder;
#[cfg(test)]
mod tests;
mod trace;
mod tree;

pub use disk::{Device, Disk, Lost};
pub use fault::{Call, Fault};
pub use image::Image;
pub use recorder::{Habits, Recording, range_synced};
pub use trace::{Event, Trace};
