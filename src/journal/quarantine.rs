//! Quarantine: records that can never be sent, and heads of messages too large to be journaled, with the cause.
//!
//! One append-only file of frames like the log's (found again by the same scan when damaged), synced before the record
//! is settled: a cut between the two quarantines it twice under the same lane and position, and loses nothing. The file
//! is bounded; a full quarantine parks the lane that needs it instead of emptying the journal.
//!
//! What is taken out of it again is left out of a new file that replaces the old one whole: a cut leaves one or the other.

use super::beside::is_read_only;
use super::files;
use super::frame;
use super::log::locked;
use crate::record::{LaneId, Record, codec};
use serde::{Deserialize, Serialize};
use std::fs::File;
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

/// One thing in quarantine, for people.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Why: the service's code, or `oversize`.
    pub code: String,
    /// Why, in words.
    pub text: String,
    /// The lane that it could not be sent from, and its position there; `None` for a message too large to be journaled.
    pub place: Option<(LaneId, u64)>,
    /// Whole size of the payload in bytes, where only its head is kept.
    pub whole_bytes: Option<u64>,
    /// The record; of a message too large to be journaled with the head of its payload only.
    pub record: Record,
}

impl Quarantined {
    /// What it is called in commands: its number, and its lane where it has one.
    pub fn name(&self) -> QuarantinedName {
        QuarantinedName { number: self.record.number, lane: self.place.map(|(lane, _)| lane) }
    }
}

/// Names one thing in quarantine. A record that two lanes could not send is in it twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantinedName {
    /// The record's number.
    pub number: u64,
    /// The lane that it could not be sent from.
    pub lane: Option<LaneId>,
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
    /// `None` while the disk is read-only.
    file: Option<File>,
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
        if full(&inner) || inner.file.is_none() {
            // Somebody may have moved the file away to make room: that needs no restart to be seen.
            *inner = Inner::open(&self.dir)?;
            if full(&inner) {
                return Ok(false);
            }
        }
        let file = inner.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::ReadOnlyFilesystem))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        inner.counts.entries += 1;
        inner.counts.bytes += bytes.len() as u64;
        Ok(true)
    }

    /// What is in it, in the order in which it came.
    pub(super) fn entries(&self) -> io::Result<Vec<Quarantined>> {
        let _alone = locked(&self.inner);
        look(&self.dir)
    }

    /// Takes out what is named, durably; returns how many that were.
    pub(super) fn remove(&self, names: &[QuarantinedName]) -> io::Result<usize> {
        let mut inner = locked(&self.inner);
        let bytes = std::fs::read(self.file())?;
        let mut left = Vec::with_capacity(bytes.len());
        let mut removed = 0;
        for (number, body) in bodies(&bytes) {
            let lane = serde_cbor::from_slice::<Kept<'_>>(&body).ok().map(|kept| kept.lane);
            if lane.is_some_and(|lane| names.contains(&QuarantinedName { number, lane })) {
                removed += 1;
            } else {
                left.extend(frame::split(number, None, &body).concat());
            }
        }
        files::replace(&self.file(), &left)?;
        *inner = Inner::open(&self.dir)?;
        Ok(removed)
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
        let file = match files::writing().append(true).create(true).open(&path) {
            Err(error) if is_read_only(&error) => None,
            file => Some(file?),
        };
        if let Some(file) = file.as_ref().filter(|_| fresh) {
            file.sync_all()?;
            files::sync_dir(dir)?;
        }
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Vec::new(),
            bytes => bytes?,
        };
        let entries = frame::scan(&bytes, drop).filter(|frame| frame.part == 0).count() as u64;
        let deliveries =
            bodies(&bytes).filter_map(|(_, body)| serde_cbor::from_slice::<Kept<'_>>(&body).ok()?.delivery);
        let deliveries = deliveries.collect();
        let counts = QuarantineCounts { entries, bytes: bytes.len() as u64, max_bytes: QUARANTINE_BYTES };
        Ok(Inner { file, counts, deliveries })
    }
}

/// What a quarantine's folder holds, looked at only. What does not decode is left where it is, and out of the list.
pub(super) fn look(dir: &Path) -> io::Result<Vec<Quarantined>> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let entry = |(_, body): (u64, Vec<u8>)| {
        let kept: Kept<'_> = serde_cbor::from_slice(&body).ok()?;
        let record = codec::decode(kept.envelope).ok()?;
        let place = kept.lane.zip(kept.position);
        Some(Quarantined {
            code: kept.code.to_owned(),
            text: kept.text.to_owned(),
            place,
            whole_bytes: kept.bytes,
            record,
        })
    };
    Ok(bodies(&bytes).filter_map(entry).collect())
}

/// Number and body of each thing that was kept, its parts joined: they stand in a row, because each is written in one go.
fn bodies(bytes: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
    let mut body = Vec::new();
    frame::scan(bytes, drop).filter_map(move |frame| {
        if frame.part == 0 {
            body.clear();
        }
        body.extend_from_slice(frame.body);
        (frame.part + 1 == frame.parts).then(|| (frame.number, std::mem::take(&mut body)))
    })
}
