//! Quarantine: records that can never be sent, and heads of messages too large to be journaled, with the cause.
//!
//! One append-only file of frames like the log's (found again by the same scan when damaged), synced before the record
//! is settled: a cut between the two quarantines it twice under the same lane and position, and loses nothing. The file
//! is bounded; a full quarantine parks the lane that needs it instead of emptying the journal.

use super::files;
use super::frame;
use super::log::locked;
use crate::record::{LaneId, Record, codec};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bound of the quarantine's file.
const QUARANTINE_BYTES: u64 = 8 * 1024 * 1024;

/// How much is in the quarantine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct QuarantineCounts {
    /// Records and heads of oversize messages.
    pub entries: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bound of the bytes on disk.
    pub max_bytes: u64,
}

/// One thing in quarantine.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<'a> {
    /// Why: the service's code, or `oversize`.
    #[serde(rename = "c")]
    code: &'a str,
    /// Why, for people.
    #[serde(rename = "x")]
    text: &'a str,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    lane: Option<LaneId>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Whole size of the payload where only its head is kept.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Hash of the delivery of a message too large to be journaled: when the broker sends it again, it is known.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    delivery: Option<u64>,
    /// The record's envelope.
    #[serde(rename = "r", with = "serde_bytes")]
    envelope: &'a [u8],
}

/// Why something is put into quarantine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause<'a> {
    pub(super) code: &'a str,
    pub(super) text: &'a str,
    pub(super) place: Option<(LaneId, u64)>,
    /// Where only the head is kept: the payload's whole size, and the hash of its delivery.
    pub(super) whole: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct Quarantine {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

/// The file's name in its folder.
const FILE: &str = "kept";

#[derive(Debug)]
struct Inner {
    file: File,
    counts: QuarantineCounts,
    /// Deliveries found when it was opened, oldest first.
    deliveries: Vec<u64>,
}

impl Quarantine {
    /// Opens or makes the file in `dir`.
    pub(super) fn open(dir: &Path) -> io::Result<Quarantine> {
        Ok(Quarantine { dir: dir.to_owned(), inner: Mutex::new(Inner::open(dir)?) })
    }

    /// Where the records are kept.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Keeps a record durably. `false`: it is full.
    pub(super) fn keep(&self, record: &Record, cause: Cause<'_>) -> io::Result<bool> {
        let envelope = codec::encode(record);
        let kept = Kept {
            code: cause.code,
            text: cause.text,
            lane: cause.place.map(|(lane, _)| lane),
            position: cause.place.map(|(_, position)| position),
            bytes: cause.whole.map(|(bytes, _)| bytes),
            delivery: cause.whole.map(|(_, delivery)| delivery),
            envelope: &envelope,
        };
        let body = serde_cbor::to_vec(&kept).expect("plain values encode");
        let bytes: Vec<u8> = frame::split(record.number, None, &body).concat();
        let mut inner = locked(&self.inner);
        let full = |inner: &Inner| inner.counts.bytes + bytes.len() as u64 > QUARANTINE_BYTES;
        if full(&inner) {
            // Somebody may have moved the file away to make room: that needs no restart to be seen.
            *inner = Inner::open(&self.dir)?;
            if full(&inner) {
                return Ok(false);
            }
        }
        inner.file.write_all(&bytes)?;
        inner.file.sync_data()?;
        inner.counts.entries += 1;
        inner.counts.bytes += bytes.len() as u64;
        Ok(true)
    }

    /// Deliveries of messages too large to be journaled, as found when it was opened; oldest first.
    pub(super) fn deliveries(&self) -> Vec<u64> {
        locked(&self.inner).deliveries.clone()
    }

    pub(super) fn counts(&self) -> QuarantineCounts {
        locked(&self.inner).counts
    }
}

impl Inner {
    fn open(dir: &Path) -> io::Result<Inner> {
        files::create_dir(dir)?;
        let path = dir.join(FILE);
        let fresh = !path.exists();
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        if fresh {
            file.sync_all()?;
            files::sync_dir(dir)?;
        }
        let bytes = std::fs::read(&path)?;
        let entries = frame::scan(&bytes, drop).filter(|frame| frame.part == 0).count() as u64;
        let deliveries = bodies(&bytes).filter_map(|body| serde_cbor::from_slice::<Kept<'_>>(&body).ok()?.delivery);
        let deliveries = deliveries.collect();
        let counts = QuarantineCounts { entries, bytes: bytes.len() as u64, max_bytes: QUARANTINE_BYTES };
        Ok(Inner { file, counts, deliveries })
    }
}

/// What was kept, its parts joined: they stand in a row, because each entry is written in one go.
fn bodies(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut body = Vec::new();
    frame::scan(bytes, drop).filter_map(move |frame| {
        if frame.part == 0 {
            body.clear();
        }
        body.extend_from_slice(frame.body);
        (frame.part + 1 == frame.parts).then(|| std::mem::take(&mut body))
    })
}
