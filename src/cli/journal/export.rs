//! `tidegate journal export`: records with their payloads, as lines of JSON or as the envelopes themselves.

use super::super::ExitCode;
use super::super::print::{complain, err, private};
use super::quarantine::entries;
use super::record::Line;
use super::{Choice, failed};
use crate::journal::View;
use crate::record::codec;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Format {
    Ndjson,
    Cbor,
}

/// Writes what is chosen to `out`.
pub(super) fn export(view: &View, choice: &Choice, out: &Path, format: Format) -> Result<ExitCode, ExitCode> {
    let lane = choice.lane(view)?;
    let mut sink = Sink::open(out)?;
    let (first, last) = view.span();
    let mut progress = Progress::new("records looked at");
    let mut written = Ok(());
    let looked = view.each(choice.from, &mut |record, envelope| {
        progress.at((record.number + 1).saturating_sub(first), (last + 1).saturating_sub(first));
        if choice.takes(view, record, lane) {
            written = match format {
                Format::Ndjson => sink.line(&Line::of(view, record, true).json()),
                Format::Cbor => sink.bytes(envelope),
            };
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.end();
    looked.map_err(|error| failed(&error))?;
    sink.end(written, out)
}

/// Writes what is in quarantine to `out`.
pub(super) fn quarantine(view: &View, out: &Path, format: Format) -> Result<ExitCode, ExitCode> {
    let entries = entries(view)?;
    let mut sink = Sink::open(out)?;
    let written = entries.iter().try_for_each(|entry| match format {
        Format::Ndjson => sink.line(&Line::quarantined(view, entry, true).json()),
        Format::Cbor => sink.bytes(&codec::encode(&entry.record)),
    });
    sink.end(written, out)
}

/// Where an export goes. Payloads are in it: a file is readable by its owner alone.
struct Sink {
    to: BufWriter<Box<dyn Write>>,
    records: u64,
}

impl Sink {
    fn open(out: &Path) -> Result<Sink, ExitCode> {
        let to: Box<dyn Write> = if out == Path::new("-") {
            Box::new(io::stdout())
        } else {
            match private(out) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    complain!("cannot write {}: {error}; name another place with --out", out.display());
                    return Err(ExitCode::Failed);
                }
            }
        };
        Ok(Sink { to: BufWriter::new(to), records: 0 })
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())?;
        self.to.write_all(b"\n")
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.records += 1;
        self.to.write_all(bytes)
    }

    fn end(mut self, written: io::Result<()>, out: &Path) -> Result<ExitCode, ExitCode> {
        match written.and_then(|()| self.to.flush()) {
            Ok(()) => {
                complain!("{} records written", self.records);
                Ok(ExitCode::Done)
            }
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::Done),
            Err(error) => {
                complain!("{} is not complete: {error}", out.display());
                Err(ExitCode::Failed)
            }
        }
    }
}

/// A bar on the terminal; nothing where standard error is none.
pub(super) struct Progress {
    what: &'static str,
    shown: bool,
    percent: Option<u64>,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Progress {
        Progress { what, shown: io::stderr().is_terminal(), percent: None }
    }

    pub(super) fn at(&mut self, done: u64, all: u64) {
        let percent = (done.min(all) * 100).checked_div(all).unwrap_or(100);
        if self.shown && self.percent != Some(percent) {
            self.percent = Some(percent);
            let full = "#".repeat(percent as usize / 4);
            err(format_args!("\r[{full:<25}] {percent:>3} %, {done} of {all} {}", self.what));
        }
    }

    pub(super) fn end(&self) {
        if self.percent.is_some() {
            err(format_args!("\n"));
        }
    }
}
