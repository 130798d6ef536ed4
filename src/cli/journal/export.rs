//! `tidegate journal export`: records with their payloads, as lines of JSON or as the envelopes themselves.

use crate::cli::ExitCode;
use crate::cli::journal::quarantine::entries;
use crate::cli::journal::record::Line;
use crate::cli::journal::{Choice, failed};
use crate::cli::new_file::{NewFile, Owner};
use crate::cli::output::{complain, err_as_is, note};
use crate::journal::View;
use crate::record::{Number, codec};
use crate::visible;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};
use std::ops::ControlFlow;
use std::path::Path;

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Format {
    Ndjson,
    Cbor,
}

/// Where an export goes, and whether a file that is there may be replaced: it may hold the records of another gateway.
pub(super) struct Destination<'a> {
    pub(super) out: &'a Path,
    pub(super) force: bool,
}

/// Writes what is chosen to `destination`.
pub(super) fn export(
    view: &View,
    choice: &Choice,
    destination: &Destination<'_>,
    format: Format,
) -> Result<ExitCode, ExitCode> {
    let lane = choice.lane(view)?;
    let mut sink = Sink::open(destination, format)?;
    let (first, last) = view.span();
    let mut progress = Progress::new("records looked at");
    let mut written = Ok(());
    let looked = view.each(Number(choice.from), &mut |record| {
        progress.at(record.number.next() - first, last.next() - first);
        if choice.takes(view, record, lane) {
            written = match format {
                Format::Ndjson => sink.line(&Line::of(view, record, true).json()),
                Format::Cbor => sink.bytes(&codec::encode(record)),
            };
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.end();
    looked.map_err(|error| failed(&error))?;
    sink.end(written, destination)
}

/// Writes what is in quarantine to `destination`.
pub(super) fn quarantine(view: &View, destination: &Destination<'_>, format: Format) -> Result<ExitCode, ExitCode> {
    let entries = entries(view)?;
    let mut sink = Sink::open(destination, format)?;
    let written = entries.iter().try_for_each(|entry| match format {
        Format::Ndjson => sink.line(&Line::quarantined(view, entry, true).json()),
        Format::Cbor => sink.bytes(&codec::encode(&entry.record)),
    });
    sink.end(written, destination)
}

/// What an export is written into.
struct Sink {
    to: To,
    records: u64,
}

enum To {
    Stdout(BufWriter<Stdout>),
    /// Payloads are in it: it is readable by its owner alone.
    File(BufWriter<NewFile>),
}

impl To {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            To::Stdout(out) => out,
            To::File(file) => file,
        }
    }

    fn end(self, force: bool) -> io::Result<()> {
        match self {
            To::Stdout(mut out) => out.flush(),
            To::File(file) if force => file.into_inner()?.put(),
            To::File(file) => file.into_inner()?.put_new(),
        }
    }
}

/// Says why a file is not written.
fn is_there(out: &Path) -> ExitCode {
    complain!(
        "{} is there already, perhaps with the records of another gateway: name another file with --out, or add --force",
        out.display()
    );
    ExitCode::Failed
}

impl Sink {
    fn open(destination: &Destination<'_>, format: Format) -> Result<Sink, ExitCode> {
        let out = destination.out;
        let to = if out != Path::new("-") {
            // A link is refused below, whatever it leads to.
            if !destination.force && out.symlink_metadata().is_ok_and(|there| there.is_file()) {
                return Err(is_there(out));
            }
            let file = NewFile::beside(out, 0o600, Owner::default()).map_err(|error| {
                complain!("cannot write {}: {error}; name another place with --out", out.display());
                ExitCode::Failed
            })?;
            To::File(BufWriter::new(file))
        } else if matches!(format, Format::Cbor) && io::stdout().is_terminal() {
            complain!("CBOR is binary: name a file with --out");
            return Err(ExitCode::Usage);
        } else {
            To::Stdout(BufWriter::new(io::stdout()))
        };
        Ok(Sink { to, records: 0 })
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(visible::json(text).as_bytes())?;
        self.to.writer().write_all(b"\n")
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.records += 1;
        self.to.writer().write_all(bytes)
    }

    fn end(self, written: io::Result<()>, destination: &Destination<'_>) -> Result<ExitCode, ExitCode> {
        let (records, out) = (self.records, destination.out);
        match written.and_then(|()| self.to.end(destination.force)) {
            Ok(()) => {
                note!("{records} records written");
                Ok(ExitCode::Done)
            }
            // The reader at the other end of the pipe has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::Done),
            // Another export was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(is_there(out)),
            Err(error) => {
                complain!("cannot write {}: {error}; name a place with enough space with --out", out.display());
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
            err_as_is(&format!("\r[{full:<25}] {percent:>3} %, {done} of {all} {}", self.what));
        }
    }

    pub(super) fn end(&self) {
        if self.percent.is_some() {
            err_as_is("\n");
        }
    }
}
