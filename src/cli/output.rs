//! What commands print, with nothing in it that a terminal acts on ([`crate::visible`]).
//!
//! A reader that has seen enough (`tidegate journal list | head`) closes the pipe: that ends the command quietly, where the
//! standard macros would end it by a panic.
//!
//! On a terminal the marks that a person looks for are coloured, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is
//! a dumb one. Never in a pipe or a file: there the bytes are the same as ever.

use crate::cli::ExitCode;
use crate::visible;
use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};

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
    let words = words.to_string();
    let words = visible::text(&words);
    out(&if is_coloured(&io::stdout()) { painted(&words) } else { words.into_owned() });
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
    let words = format!("{}\n", visible::text(&words.to_string()));
    err_as_is(&if is_coloured(&io::stderr()) { painted(&words) } else { words });
}

/// Text of ours on standard error, with what a terminal acts on.
pub(super) fn err_as_is(words: &str) {
    // Without standard error there is no place for the message.
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

/// What begins a line that a person looks for, and its colour as a terminal takes it (ECMA-48, SGR).
const PAINTED: [(&str, &str); 5] =
    [("✓", "32"), ("✗", "31"), ("–", "2"), ("error:", "1;31"), ("health     ACT: see below", "1;31")];

/// Whether this goes to a terminal that shows colours, and the person wants them.
fn is_coloured(stream: &impl IsTerminal) -> bool {
    let says = |name, means: fn(&str) -> bool| std::env::var(name).is_ok_and(|value| means(&value));
    stream.is_terminal() && !says("NO_COLOR", |value| !value.is_empty()) && !says("TERM", |value| value == "dumb")
}

/// The text with its marks coloured. Call it last: what it adds is what [`crate::visible`] takes away.
fn painted(text: &str) -> String {
    let paint = |line: &str| {
        let found = PAINTED.iter().find(|(mark, _)| line.starts_with(mark));
        found.map_or(line.to_owned(), |(mark, code)| format!("\x1b[{code}m{mark}\x1b[0m{}", &line[mark.len()..]))
    };
    text.split_inclusive('\n').map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_at_the_begin_of_a_line_are_coloured() {
        let text =
            "✓ disk  ✗ in words\n✗ broker  refused\nhealth     ACT: see below\nerror: no\n  error: said by others\n";
        assert_eq!(
            painted(text),
            "\x1b[32m✓\x1b[0m disk  ✗ in words\n\x1b[31m✗\x1b[0m broker  refused\n\
             \x1b[1;31mhealth     ACT: see below\x1b[0m\n\x1b[1;31merror:\x1b[0m no\n  error: said by others\n"
        );
    }

    #[test]
    fn nothing_is_coloured_that_goes_into_a_file() {
        assert!(!is_coloured(&tempfile::tempfile().unwrap()));
    }
}
