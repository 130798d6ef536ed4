//! What commands print. A reader that has seen enough (`tidegate journal list | head`) closes the pipe: that ends the
//! command quietly, where the standard macros would end it by a panic.

use super::ExitCode;
use std::fmt::Arguments;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A line on standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::print::out(format_args!("{}\n", format_args!($($words)*))) };
}
/// Text on standard output, as it is.
macro_rules! say_text {
    ($($words:tt)*) => { $crate::cli::print::out(format_args!($($words)*)) };
}
/// A line on standard error.
macro_rules! complain {
    ($($words:tt)*) => { $crate::cli::print::err(format_args!("{}\n", format_args!($($words)*))) };
}
pub(super) use {complain, say, say_text};

/// Use the macros.
pub(super) fn out(words: Arguments<'_>) {
    let mut out = io::stdout().lock();
    ended(out.write_fmt(words).and_then(|()| out.flush()));
}

/// Use the macros.
pub(super) fn err(words: Arguments<'_>) {
    // There is nobody left to tell.
    let _ = io::stderr().lock().write_fmt(words);
}

/// A file that was asked for, new or written over, readable by its owner alone.
pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn ended(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(ExitCode::Done as i32),
        Err(error) => {
            err(format_args!("standard output cannot be written: {error}\n"));
            std::process::exit(ExitCode::Failed as i32);
        }
    }
}
