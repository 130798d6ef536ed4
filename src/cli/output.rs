//! What commands print, with nothing in it that a terminal acts on ([`crate::visible`]).
//!
//! A reader that has seen enough (`tidegate journal list | head`) closes the pipe: that ends the command quietly, where the
//! standard macros would end it by a panic.

use crate::cli::ExitCode;
use crate::visible;
use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};

/// One line on standard output, whatever is in it.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::output::line(format_args!($($words)*)) };
}
/// Lines on standard output. A value of other people's in them goes through [`crate::visible::line()`] first.
macro_rules! say_text {
    ($($words:tt)*) => { $crate::cli::output::text(format_args!($($words)*)) };
}
/// What keeps a command from doing what it was asked to: `error: …` on standard error.
macro_rules! complain {
    ($($words:tt)*) => { $crate::cli::output::err(format_args!("error: {}", format_args!($($words)*))) };
}
/// What a person should know beside the answer: a line on standard error.
macro_rules! note {
    ($($words:tt)*) => { $crate::cli::output::err(format_args!($($words)*)) };
}
pub(super) use {complain, note, say, say_text};

/// Use [`say`].
pub(super) fn line(words: Arguments<'_>) {
    out(&format!("{}\n", visible::line(&words.to_string())));
}

/// Use [`say_text`].
pub(super) fn text(words: Arguments<'_>) {
    out(&visible::text(&words.to_string()));
}

/// JSON on a line of standard output, or on several where it is pretty.
pub(super) fn say_json(json: &dyn Display) {
    out(&format!("{}\n", visible::json(&json.to_string())));
}

/// Clears a terminal on standard output and goes to its upper left.
pub(super) fn clear() {
    out("\x1b[2J\x1b[H");
}

fn out(words: &str) {
    let mut out = io::stdout().lock();
    ended(out.write_all(words.as_bytes()).and_then(|()| out.flush()));
}

/// Use [`complain`] or [`note`].
pub(super) fn err(words: Arguments<'_>) {
    err_as_is(&format!("{}\n", visible::text(&words.to_string())));
}

/// Text of ours on standard error, with what a terminal acts on.
pub(super) fn err_as_is(words: &str) {
    // There is nobody left to tell.
    let _ = io::stderr().lock().write_all(words.as_bytes());
}

fn ended(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(ExitCode::Done as i32),
        Err(error) => {
            err(format_args!("error: standard output cannot be written: {error}"));
            std::process::exit(ExitCode::Failed as i32);
        }
    }
}
