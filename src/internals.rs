//! Doors to the agent's inside, for the programs that take it apart: `crates/fuzz-targets`, and the torture, which forges frames.
//!
//! The feature `internals` opens them, and a shipped build does not have it. Each door is a small function on plain values. To
//! make the journal's own types public would change more: each type, field and method would need a text for readers who cannot
//! reach it, and the compiler would no longer find what no code uses. What is public anyway, such as records, profiles and the
//! journal as a whole, needs no door. One is elsewhere, because its type is public: [`crate::sqs::client::SqsSender::over`].

use crate::journal::books::LaneLedger;
use crate::journal::checkpoint::state::{self, State};
use crate::journal::disk::frame::Frame;
use crate::journal::disk::{frame, twoslot};
use crate::journal::generation::manifest::Manifest;
use crate::journal::generation::value::Value;
use crate::record::{Epoch, Number, Position, Record, codec, pack};
use crate::status::StatusHub;
use crate::status::answers::{self, Site};
use crate::status::door::Door;
use crate::status::seat::Seat;
use crate::status::token::TokenFile;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest body of a frame, in bytes.
pub const FRAME_BODY_MAX: usize = frame::BODY_MAX;
/// Bytes of a slot of the state file.
pub const SLOT_LEN: usize = twoslot::SLOT_LEN;

/// A sound frame of the journal's log.
#[derive(Clone, Copy, Debug)]
pub struct LogFrame<'a> {
    /// Number of the first record in it.
    pub number: Number,
    /// Last number of the commit before, on the first frame of a commit.
    pub previous: Option<Number>,
    /// Its place in the value.
    pub part: u16,
    /// Frames of the value.
    pub parts: u16,
    /// Header and body as the file holds them.
    pub bytes: &'a [u8],
    frame: Frame<'a>,
}

impl<'a> LogFrame<'a> {
    fn of(frame: Frame<'a>) -> LogFrame<'a> {
        let Frame { number, previous, part, parts, bytes, .. } = frame;
        LogFrame { number, previous, part, parts, bytes, frame }
    }

    /// The body as it was given to [`split`].
    pub fn body(&self) -> Cow<'a, [u8]> {
        self.frame.body()
    }

    /// Reads the body as a value of the log, and says how many records that gives.
    pub fn count_records(&self) -> usize {
        Value::of(self.frame.version, (self.number, self.frame.count), &self.body(), 0).records.len()
    }
}

/// Finds every sound frame in the bytes of a file, of whatever version.
pub fn scan(bytes: &[u8]) -> impl Iterator<Item = LogFrame<'_>> {
    frame::scan(bytes, None, drop).map(LogFrame::of)
}

/// The frame at the start of `bytes`, if it is a sound one.
pub fn parse(bytes: &[u8]) -> Option<LogFrame<'_>> {
    frame::parse(bytes).ok().map(LogFrame::of)
}

/// Lengths of header and body that bytes claim, whatever their checksum; it ends the header.
pub fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    frame::lengths(bytes)
}

/// Cuts a pack of `count` records from `number` on into frames.
pub fn split(number: Number, count: u16, previous: Option<Number>, pack: &[u8]) -> Vec<Vec<u8>> {
    frame::split(number, count, previous, pack)
}

/// As 0.1.0 wrote one record.
pub fn split_1(number: Number, previous: Option<Number>, envelope: &[u8]) -> Vec<Vec<u8>> {
    frame::split_1(number, previous, envelope)
}

/// What a hostile payload holds: a forged record, in sound frames of both versions, with nonces that it chose.
pub fn forged(record: &Record) -> Vec<u8> {
    let pack = pack::pack([record], FRAME_BODY_MAX).remove(0);
    let second = frame::split_by(record.number, 1, None, &pack.bytes, || 7).concat();
    [second, split_1(record.number, None, &codec::encode(record)).concat()].concat()
}

/// What a state of the state file says that a reader goes by.
#[derive(Clone, Debug)]
pub struct StateView {
    /// Highest number known to be durable.
    pub high: Number,
    /// Count of opens.
    pub epoch: Epoch,
    /// The ledger of each lane that does not contradict itself.
    pub ledgers: Vec<LaneLedger>,
}

impl StateView {
    fn of(state: State) -> StateView {
        let ledgers = state.lanes.into_iter().filter_map(|lane| lane.into_book().ok()).collect();
        StateView { high: state.high, epoch: state.epoch, ledgers }
    }
}

/// The state that a slot of [`SLOT_LEN`] bytes holds.
pub fn state_in_slot(slot: &[u8]) -> Option<StateView> {
    match twoslot::parse(slot) {
        twoslot::Slot::Sound(_, body) => state::parse(&body).map(StateView::of),
        _ => None,
    }
}

/// A slot's body, also where one of its lanes contradicts itself.
pub fn state_in_body(body: &[u8]) -> Option<StateView> {
    serde_cbor::from_slice(body).ok().map(StateView::of)
}

/// Makes a slot's checksum right again.
pub fn seal_slot(slot: &mut [u8]) {
    twoslot::seal(slot);
}

/// What a generation's manifest says that a reader goes by.
#[derive(Clone, Debug)]
pub struct ManifestView {
    /// First number that the generation can hold.
    pub first: Number,
    /// Epoch that made it.
    pub epoch: Epoch,
    /// For each lane the position of its next record.
    pub next: Vec<Position>,
}

/// Reads a manifest without its checksum.
pub fn manifest(body: &[u8]) -> Option<ManifestView> {
    let Manifest { first, epoch, lanes, .. } = serde_cbor::from_slice(body).ok()?;
    Some(ManifestView { first, epoch, next: lanes.iter().map(|lane| lane.next).collect() })
}

/// The same manifest for a generation that begins at `first`; `None` where the body holds none.
pub fn manifest_from(first: Number, body: &[u8]) -> Option<Vec<u8>> {
    let manifest = serde_cbor::from_slice::<Manifest>(body).ok()?;
    serde_cbor::to_vec(&Manifest { first, ..manifest }).ok()
}

/// Reads the small files of the intake in `folder`, as a run would; damaged ones count as absent.
pub fn read_intake_files(folder: &Path) {
    crate::mqtt::read_cache(folder);
}

/// Where a request comes in.
#[derive(Clone, Debug)]
pub enum Way {
    /// A loopback address.
    Loopback,
    /// An address of the network, with the token in this file.
    Token(PathBuf),
    /// The control socket.
    Control,
}

/// Serves one connection, as a server does that has no other, until its peer has gone. A wrong token costs no time. `brief`: the
/// connection is good for brief requests alone.
pub async fn serve_connection(wire: impl AsyncRead + AsyncWrite + Unpin, board: Arc<StatusHub>, way: Way, brief: bool) {
    let door = match way {
        Way::Loopback => Door::Loopback,
        Way::Token(file) => Door::Token(TokenFile::new(file, board.clone())),
        Way::Control => Door::Control,
    };
    let mut site = Site::new(board, door);
    site.pause = Duration::ZERO;
    answers::serve_connection(wire, site, Seat::alone(brief)).await;
}
