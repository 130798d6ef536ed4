//! Questions on standard error, answers from standard input, so that both can be piped. Each question ends: by an answer, by a
//! default, or with what to do instead; never does it ask for ever.

use crate::cli::output::{err, err_as_is, note};
use crate::visible;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal};

/// Answers that do not fit before the command gives up: a person has looked elsewhere by then, and a pipe never ends.
const TRIES: usize = 5;

/// Where answers come from.
#[derive(Debug)]
pub(super) struct Answers {
    /// `init` asks nothing and takes the defaults.
    pub(super) yes: bool,
}

impl Answers {
    /// The answer, or `default` for an empty one or when `init` asks nothing.
    ///
    /// # Errors
    /// Standard input has ended.
    pub(super) fn ask(&mut self, question: &str, default: &str) -> Result<String, String> {
        if self.yes {
            return Ok(default.to_owned());
        }
        let answer = read_answer(question)?.trim().to_owned();
        Ok(if answer.is_empty() { default.to_owned() } else { answer })
    }

    /// Asks again until `read` takes the answer. When `init` asks nothing, `default` has to do; `flag` is what to give
    /// otherwise.
    ///
    /// # Errors
    /// Standard input has ended, or none of a few answers fits.
    pub(super) fn until<T>(
        &mut self,
        question: &str,
        default: &str,
        flag: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        for _ in 0..TRIES {
            let answer = self.ask(question, default)?;
            match read(&answer) {
                Ok(value) => return Ok(value),
                Err(why) if self.yes => return Err(format!("{why}; give it with {flag}")),
                Err(why) => note!("{why}"),
            }
        }
        Err(format!("none of {TRIES} answers to \"{question}\" fits; nothing was written; give it with {flag}"))
    }

    /// Whether a person agrees.
    ///
    /// # Errors
    /// Standard input has ended.
    pub(super) fn agrees(&mut self, question: &str, default: bool) -> Result<bool, String> {
        let default = if default { "yes" } else { "no" };
        Ok(self.ask(&format!("{question} [{default}]"), default)?.starts_with(['y', 'Y']))
    }

    /// A secret: not shown while it is typed, and taken with the blanks around it.
    ///
    /// # Errors
    /// Standard input has ended, a person has pressed Ctrl-C, or none of a few answers can have been meant.
    pub(super) fn secret(&mut self, question: &str) -> Result<String, String> {
        let _silence = Silence::begin();
        for _ in 0..TRIES {
            let answer = read_answer(question)?;
            match unmeant(&answer) {
                None => return Ok(answer),
                Some(Unmeant::Interrupt) => return Err("interrupted; nothing was written".to_owned()),
                Some(Unmeant::Key) => {
                    note!("a key was pressed that types no character, such as Ctrl-Z or an arrow; type it again")
                }
            }
        }
        Err(format!("none of {TRIES} answers to \"{question}\" fits; nothing was written"))
    }
}

/// What is no part of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unmeant {
    /// Ctrl-C.
    Interrupt,
    /// Another key that types no character: while nothing is shown, a person would not see it.
    Key,
}

/// What of an answer was not meant as a part of it. Pure.
fn unmeant(answer: &str) -> Option<Unmeant> {
    match answer.ends_with(CTRL_C) {
        true => Some(Unmeant::Interrupt),
        false => answer.contains(|c: char| c.is_control() && c != '\t').then_some(Unmeant::Key),
    }
}

/// What Ctrl-C types.
const CTRL_C: char = '\u{3}';

/// A line with its end: a line feed, or Ctrl-C where that ends no process; `None`: there is no further one.
fn read_line() -> io::Result<Option<String>> {
    let (mut input, mut line) = (io::stdin().lock(), Vec::new());
    loop {
        let read = input.fill_buf()?;
        let end = read.iter().position(|byte| [b'\n', CTRL_C as u8].contains(byte));
        let taken = end.map_or(read.len(), |end| end + 1);
        line.extend_from_slice(&read[..taken]);
        input.consume(taken);
        if end.is_some() || taken == 0 {
            let text = String::from_utf8(line).map_err(|_| io::Error::other("it is no UTF-8 text"))?;
            return Ok((!text.is_empty()).then_some(text));
        }
    }
}

/// A line without its end.
fn read_answer(question: &str) -> Result<String, String> {
    let prompt = visible::line(question).into_owned();
    // On a terminal the answer follows the question; what is piped shows no answers, so the questions are lines.
    if io::stdin().is_terminal() {
        err_as_is(&format!("{prompt} "))
    } else {
        err(format_args!("{prompt}"))
    }
    match read_line() {
        Ok(None) => Err(format!(
            "no answer to \"{prompt}\": standard input has ended; nothing was written; run it in a terminal, or see the flags: tidegate init --help"
        )),
        Ok(Some(line)) => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => {
            Err(format!("cannot read an answer: {error}; nothing was written; see the flags: tidegate init --help"))
        }
    }
}

/// A terminal that does not show what is typed; dropped, it does again. Ctrl-C would end this process before that, so meanwhile it
/// ends the line.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Silence {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
            silent.special_codes[SpecialCodeIndex::VEOL] = CTRL_C as u8;
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &silent);
        }
        Silence(before)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
            // The person's end of line was not shown either.
            err_as_is("\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_types_no_character_is_no_part_of_a_secret(text in "[ -~\t]{0,12}", at in 0usize..12, key in "[\u{1}\u{4}\u{1a}\u{1b}\u{1c}\u{7f}]") {
            prop_assert_eq!(unmeant(&text), None);
            let at = at.min(text.len());
            prop_assert_eq!(unmeant(&format!("{}{key}{}", &text[..at], &text[at..])), Some(Unmeant::Key));
            prop_assert_eq!(unmeant(&format!("{text}{CTRL_C}")), Some(Unmeant::Interrupt));
        }
    }
}
