//! The terminal: one row of figures that is drawn anew in place, and a line per event above it. Without a terminal (a
//! pipe, a file) a row per second instead.

use crate::watch::Figures;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

const HEAD: &str = "  time  uplink  agent  published  received  waiting  accepted  delivered    lag";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// Back to the start of the row and clear it.
const ANEW: &str = "\r\x1b[2K";
/// A row that is wider than the terminal is cut, not wrapped: a wrapped one cannot be drawn anew.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Writes to standard output. Errors are dropped: when the terminal is gone the run continues to its exit status.
pub(crate) struct Screen {
    terminal: bool,
    colour: bool,
    started: Instant,
    /// Whether there is a row where the next one goes.
    drawn: bool,
    /// Second of the last row, where rows are not drawn anew.
    second: Option<u64>,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        let terminal = stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Screen { terminal, colour, started: Instant::now(), drawn: false, second: None }
    }

    /// The clock of the rows begins now.
    pub(crate) fn start_clock(&mut self) {
        self.started = Instant::now();
        self.say("");
        self.say(HEAD);
    }

    /// A line that stays.
    pub(crate) fn say(&mut self, text: &str) {
        let anew = if std::mem::take(&mut self.drawn) { ANEW } else { "" };
        let _ = writeln!(stdout(), "{anew}{text}");
    }

    /// Something happened.
    pub(crate) fn event(&mut self, text: &str) {
        let at = self.started.elapsed().as_secs_f64();
        let (bold, plain) = if self.colour { (BOLD, PLAIN) } else { ("", "") };
        self.say(&format!("{at:5.1}s  {bold}{text}{plain}"));
    }

    /// The figures as they are now.
    pub(crate) fn row(&mut self, figures: &Figures) {
        let elapsed = self.started.elapsed();
        if self.terminal {
            let mut out = stdout();
            let _ = write!(out, "{ANEW}{NO_WRAP}{}{WRAP}", self.text(elapsed.as_secs_f64(), figures));
            let _ = out.flush();
            self.drawn = true;
        } else if self.second != Some(elapsed.as_secs()) {
            self.second = Some(elapsed.as_secs());
            let text = self.text(elapsed.as_secs_f64(), figures);
            self.say(&text);
        }
    }

    fn text(&self, at: f64, figures: &Figures) -> String {
        let Figures { uplink, published, delivered, .. } = figures;
        let books = figures.agent.as_ref();
        let cell = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        format!(
            "{at:5.1}s  {}  {}  {published:>9}  {:>8}  {:>7}  {:>8}  {delivered:>9}  {:>5}",
            self.lamp(*uplink, 6),
            self.lamp(books.is_some(), 5),
            cell(books.map(|b| b.appended)),
            cell(books.map(|b| b.waiting)),
            cell(books.map(|b| b.accepted)),
            books.map_or("-".to_owned(), |b| format!("{} s", b.lag_s)),
        )
    }

    /// `up` or `DOWN`, `width` wide.
    fn lamp(&self, up: bool, width: usize) -> String {
        let (text, colour) = if up { ("up", GREEN) } else { ("DOWN", RED) };
        if self.colour { format!("{colour}{text:<width$}{PLAIN}") } else { format!("{text:<width$}") }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.drawn {
            // The last row stays, and what comes next begins below it.
            let _ = writeln!(stdout());
        }
    }
}
