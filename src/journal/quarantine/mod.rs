//! Quarantine: records that can never be sent, and heads of messages too large to be journaled, with the cause.
//!
//! One append-only file of frames like the log's (found again by the same scan when damaged), synced before the record
//! is settled: a cut between the two quarantines it twice under the same lane and position, and loses nothing. Both copies
//! are one thing: listed once, and gone together. The file is bounded; a full quarantine parks the lane that needs it
//! instead of emptying the journal. It may be moved away, emptied or put back at any time.
//!
//! Each thing has its own id, kept with it. 0.1.0 kept none: such a thing has the next id behind that of the one before it in
//! the file, so that it stays the same while others are appended, and is written down when the file is written anew.
//!
//! What is taken out of it again is left out of a new file that replaces the old one whole: a cut leaves one or the other.
//! Where that was refused, or a sync of the file, or an earlier run may have been told so, which of the two it is cannot be
//! known, and what is added under the name may go with it: so the next thing is added by replacing the file once more.

pub(crate) mod named;

use crate::journal::disk::beside::is_read_only;
use crate::journal::disk::{files, frame};
use crate::journal::quarantine::named::QuarantineId;
use crate::record::{Epoch, JournalId, LaneId, Number, Position, Record, codec};
use crate::sync::locked;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bound of the quarantine's file.
const QUARANTINE_BYTES: u64 = 8 * 1024 * 1024;

/// How much is in the quarantine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct QuarantineCounts {
    /// Records and heads of oversize messages.
    pub entries: u64,
    /// Bytes of its file on disk.
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
    /// Why, in words for people.
    #[serde(rename = "x")]
    text: &'a str,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    lane: Option<LaneId>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// Whole size of the payload where only its head is kept.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Hash of the delivery of a message too large to be journaled: when the broker sends it again, it is known.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    delivery: Option<u64>,
    /// Id that commands use; 0.1.0 wrote none.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// The record's envelope, encoded.
    #[serde(rename = "r", with = "serde_bytes")]
    envelope: &'a [u8],
}

/// One thing in quarantine, for people.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// What it is called in commands.
    pub id: QuarantineId,
    /// Why: the service's code, or `oversize`.
    pub code: String,
    /// Why, in words for people.
    pub text: String,
    /// The lane that it could not be sent from, and its position there; `None` for a message too large to be journaled.
    pub place: Option<(LaneId, Position)>,
    /// Whole size of the payload in bytes, where only its head is kept.
    pub whole_bytes: Option<u64>,
    /// The record; of a message too large to be journaled with the head of its payload only.
    pub record: Record,
}

impl Quarantined {
    /// Whether both are the very same record, each in a lane that could not send it.
    pub(crate) fn is_of_the_record_of(&self, other: &Quarantined) -> bool {
        let of = |entry: &Quarantined| (entry.record.journal, entry.record.epoch, entry.record.number);
        self.place.is_some() && other.place.is_some() && of(self) == of(other)
    }

    /// What a copy of it has, too; nothing says of two heads that they are of one message.
    fn origin(&self) -> Option<Origin> {
        let (lane, position) = self.place?;
        Some((self.record.journal, self.record.epoch, self.record.number.0, lane, position))
    }
}

type Origin = (JournalId, Epoch, u64, LaneId, Position);

/// Why something is put into quarantine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    pub(crate) code: &'a str,
    pub(crate) text: &'a str,
    pub(crate) place: Option<(LaneId, Position)>,
    /// Where only the head is kept: the payload's whole size, and the hash of its delivery.
    pub(crate) whole: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Quarantine {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

/// Ids are counted up from 1; the journal gives none beyond this.
const ID_MAX: u64 = u64::MAX / 2;

/// Name of its file in its folder.
const FILE: &str = "kept";

#[derive(Debug)]
struct Inner {
    /// `None` while the disk is read-only.
    file: Option<File>,
    /// Whether a cut leaves the file under its name, and what is in it.
    is_certain: bool,
    counts: QuarantineCounts,
    /// Highest id given so far.
    last: u64,
    /// Deliveries found when it was opened, oldest first.
    deliveries: Vec<u64>,
}

impl Quarantine {
    /// Opens or makes the file in `dir`.
    pub(crate) fn open(dir: &Path) -> io::Result<Quarantine> {
        Ok(Quarantine { dir: dir.to_owned(), inner: Mutex::new(Inner::open(dir, 0)?) })
    }

    /// Where the records are kept.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Keeps a record durably. `false`: it is full.
    pub(crate) fn keep(&self, record: &Record, cause: Cause<'_>) -> io::Result<bool> {
        let envelope = codec::encode(record);
        let mut inner = locked(&self.inner);
        inner.refresh(&self.dir)?;
        let kept = Kept {
            code: cause.code,
            text: cause.text,
            lane: cause.place.map(|(lane, _)| lane),
            position: cause.place.map(|(_, position)| position),
            bytes: cause.whole.map(|(bytes, _)| bytes),
            delivery: cause.whole.map(|(_, delivery)| delivery),
            id: Some(inner.last + 1),
            envelope: &envelope,
        };
        let bytes = framed(record.number, &kept);
        if inner.counts.bytes + bytes.len() as u64 > QUARANTINE_BYTES {
            return Ok(false);
        }
        let was_certain = std::mem::take(&mut inner.is_certain);
        let file = inner.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::ReadOnlyFilesystem))?;
        if !was_certain {
            let mut all = std::fs::read(self.file())?;
            all.extend_from_slice(&bytes);
            return self.replace(&mut inner, &all).map(|()| true);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        inner.is_certain = true;
        inner.last += 1;
        inner.counts.entries += 1;
        inner.counts.bytes += bytes.len() as u64;
        Ok(true)
    }

    /// What is in it, in the order in which it came.
    pub(crate) fn entries(&self) -> io::Result<Vec<Quarantined>> {
        let _alone = locked(&self.inner);
        look(&self.dir)
    }

    /// Takes the named things out, durably, with all their copies.
    pub(crate) fn remove(&self, ids: &BTreeSet<QuarantineId>) -> io::Result<()> {
        let mut inner = locked(&self.inner);
        let bytes = std::fs::read(self.file())?;
        let mut left = Vec::with_capacity(bytes.len());
        for Standing { number, body, known } in standing(&bytes) {
            match known {
                Some(known) if ids.contains(&known.entry.id) => {}
                Some(known) => {
                    let kept: Kept<'_> = serde_cbor::from_slice(&body).expect("it was read a moment ago");
                    left.extend(match kept.id == Some(known.entry.id.0) {
                        true => frame::split(number, 1, None, &body).concat(),
                        false => framed(number, &Kept { id: Some(known.entry.id.0), ..kept }),
                    });
                }
                None => left.extend(frame::split(number, 1, None, &body).concat()),
            }
        }
        self.replace(&mut inner, &left)
    }

    /// Replaces the file as a whole.
    fn replace(&self, inner: &mut Inner, bytes: &[u8]) -> io::Result<()> {
        inner.is_certain = false;
        files::replace(&self.file(), bytes)?;
        *inner = Inner { is_certain: true, ..Inner::open(&self.dir, inner.last)? };
        Ok(())
    }

    /// Deliveries of messages too large to be journaled, as found when it was opened; oldest first.
    pub(crate) fn deliveries(&self) -> Vec<u64> {
        locked(&self.inner).deliveries.clone()
    }

    /// How much is in it, even if an operator moved its file a moment ago.
    pub(crate) fn counts(&self) -> QuarantineCounts {
        let mut inner = locked(&self.inner);
        // What cannot be looked at now is as it was.
        let _ = inner.refresh(&self.dir);
        inner.counts
    }
}

impl Inner {
    /// `last`: the highest id that was given before, to anything.
    fn open(dir: &Path, last: u64) -> io::Result<Inner> {
        files::create_dir_within(dir)?;
        let path = dir.join(FILE);
        let fresh = !path.exists();
        let file = match files::writing().append(true).create(true).open(&path) {
            Err(error) if is_read_only(&error) => None,
            file => Some(file?),
        };
        if let Some(file) = file.as_ref().filter(|_| fresh) {
            let made = file.sync_all().and_then(|()| files::sync_dir(dir));
            made.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        }
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Vec::new(),
            bytes => bytes?,
        };
        let counts = QuarantineCounts { entries: 0, bytes: bytes.len() as u64, max_bytes: QUARANTINE_BYTES };
        let mut inner = Inner { file, is_certain: fresh, counts, last, deliveries: Vec::new() };
        for Standing { known, .. } in standing(&bytes) {
            let Some(known) = known else {
                inner.counts.entries += 1;
                continue;
            };
            inner.counts.entries += u64::from(!known.again);
            inner.last = inner.last.max(known.entry.id.0);
            inner.deliveries.extend(known.delivery);
        }
        Ok(inner)
    }

    /// Opens the file anew where the file under its name is another one, or not as long as it was left.
    fn refresh(&mut self, dir: &Path) -> io::Result<()> {
        // On a disk that was read-only there is none of ours; it may be written again by now.
        let Some(file) = &self.file else {
            *self = Inner::open(dir, self.last)?;
            return Ok(());
        };
        let ours = file.metadata()?;
        let there = match std::fs::symlink_metadata(dir.join(FILE)) {
            Ok(there) => Some((there.dev(), there.ino(), there.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there != Some((ours.dev(), ours.ino(), self.counts.bytes)) {
            *self = Inner::open(dir, self.last)?;
        }
        Ok(())
    }
}

/// What a quarantine's folder holds, looked at only. What does not decode is left where it is, and out of the list.
pub(crate) fn look(dir: &Path) -> io::Result<Vec<Quarantined>> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let known = standing(&bytes).filter_map(|standing| standing.known);
    Ok(known.filter(|known| !known.again).map(|known| known.entry).collect())
}

/// A thing as the file holds it.
struct Standing {
    number: Number,
    body: Vec<u8>,
    /// `None`: it does not decode.
    known: Option<Known>,
}

struct Known {
    entry: Quarantined,
    delivery: Option<u64>,
    /// The file holds a copy of it further up.
    again: bool,
}

/// All that a file holds, in its order.
fn standing(bytes: &[u8]) -> impl Iterator<Item = Standing> + '_ {
    let mut ids: HashMap<Origin, QuarantineId> = HashMap::new();
    let mut last = 0;
    bodies(bytes).map(move |(number, body)| {
        let mut known = decoded(&body);
        if let Some(Known { entry, again, .. }) = &mut known {
            let origin = entry.origin();
            match origin.and_then(|origin| ids.get(&origin)) {
                Some(id) => (entry.id, *again) = (*id, true),
                None => {
                    // They rise; one that does not was put there by hand, or by 0.1.0, which gives none.
                    if entry.id.0 <= last || entry.id.0 > ID_MAX {
                        entry.id = QuarantineId(last + 1);
                    }
                    last = entry.id.0;
                    ids.extend(origin.map(|origin| (origin, entry.id)));
                }
            }
        }
        Standing { number: Number(number), body, known }
    })
}

/// One thing, with the id that is kept with it, or 0.
fn decoded(body: &[u8]) -> Option<Known> {
    let kept: Kept<'_> = serde_cbor::from_slice(body).ok()?;
    let entry = Quarantined {
        id: QuarantineId(kept.id.unwrap_or(0)),
        code: kept.code.to_owned(),
        text: kept.text.to_owned(),
        place: kept.lane.zip(kept.position),
        whole_bytes: kept.bytes,
        record: codec::decode(kept.envelope).ok()?,
    };
    Some(Known { entry, delivery: kept.delivery, again: false })
}

fn framed(number: Number, kept: &Kept<'_>) -> Vec<u8> {
    let body = serde_cbor::to_vec(kept).expect("plain values encode");
    frame::split(number, 1, None, &body).concat()
}

/// Number and body of each thing that was kept, its parts joined: they follow one another, because each is written in one go.
fn bodies(bytes: &[u8]) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
    let mut body = Vec::new();
    frame::scan(bytes, None, drop).filter_map(move |frame| {
        if frame.part == 0 {
            body.clear();
        }
        body.extend_from_slice(&frame.body());
        (frame.part + 1 == frame.parts).then(|| (frame.number.0, std::mem::take(&mut body)))
    })
}
