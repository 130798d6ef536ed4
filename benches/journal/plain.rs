//! The measured alternative: a journal of plain segment files, behind the same interface. For this bench only.
//!
//! One write and one fdatasync per commit, a new file every 2 MB, a state file of two slots, segments deleted once the
//! durable state is past them. It checks sums and finds its end after a cut; it has no lanes, no bounds, no marks, no repair.
//! So it shows what sled costs and what the rest of the journal costs; it is not meant to replace it.

use super::store::{Commit, Message, Outcome, SEGMENT_BYTES, Store};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Length and checksum of what follows, and its number.
const HEADER: usize = 16;
const READ_AHEAD: usize = 64 * 1024;
const SLOT: usize = 4096;

pub(crate) struct Segments {
    folder: PathBuf,
    /// First number of each.
    row: BTreeMap<u64, PathBuf>,
    active: Option<File>,
    length: u64,
    next: u64,
    /// First number that is not settled.
    cursor: u64,
    state: File,
    serial: u64,
    reading: Option<Reading>,
}

/// A segment that is read, and how far.
struct Reading {
    first: u64,
    file: File,
    at: u64,
    ahead: Vec<u8>,
    used: usize,
}

impl Reading {
    /// The next whole record: its number and its bytes.
    fn next(&mut self) -> Outcome<Option<(u64, Vec<u8>)>> {
        loop {
            let left = &self.ahead[self.used..];
            if let Some((header, rest)) = left.split_first_chunk::<HEADER>() {
                let length = u32::from_be_bytes(header[..4].try_into()?) as usize;
                if rest.len() >= length {
                    let (number, body) = (u64::from_be_bytes(header[8..].try_into()?), rest[..length].to_vec());
                    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[8..]), &body);
                    if sum != u32::from_be_bytes(header[4..8].try_into()?) {
                        return Ok(None);
                    }
                    self.used += HEADER + length;
                    return Ok(Some((number, body)));
                }
            }
            self.ahead.drain(..self.used);
            self.used = 0;
            let kept = self.ahead.len();
            self.ahead.resize(kept + READ_AHEAD, 0);
            let more = self.file.read_at(&mut self.ahead[kept..], self.at)?;
            self.ahead.truncate(kept + more);
            self.at += more as u64;
            if more == 0 {
                return Ok(None);
            }
        }
    }
}

impl Segments {
    pub(crate) fn open(folder: &Path) -> Outcome<Segments> {
        fs::create_dir_all(folder)?;
        let state =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("state"))?;
        let mut slots = vec![0; 2 * SLOT];
        if state.metadata()?.len() == 0 {
            state.write_all_at(&slots, 0)?;
            state.sync_all()?;
        }
        state.read_exact_at(&mut slots, 0)?;
        let slot = |at: usize| u64::from_be_bytes(slots[at..at + 8].try_into().expect("eight bytes"));
        let (serial, cursor) = [0, SLOT].map(|at| (slot(at), slot(at + 8))).into_iter().max().expect("two");
        let named = fs::read_dir(folder)?.flatten().filter_map(|entry| {
            let first = entry.file_name().to_str()?.strip_prefix("segment-")?.parse().ok()?;
            Some((first, entry.path()))
        });
        let row: BTreeMap<u64, PathBuf> = named.collect();
        let mut segments = Segments {
            folder: folder.to_owned(),
            next: row.keys().last().copied().unwrap_or(1),
            row,
            active: None,
            length: 0,
            cursor: cursor.max(1),
            state,
            serial,
            reading: None,
        };
        if let Some(mut reading) = segments.reading_at(segments.next)? {
            while let Some((number, _)) = reading.next()? {
                segments.next = number + 1;
            }
        }
        segments.reading = segments.reading_at(segments.cursor)?;
        Ok(segments)
    }

    fn reading_at(&self, number: u64) -> Outcome<Option<Reading>> {
        let Some((first, path)) = self.row.range(..=number).next_back() else { return Ok(None) };
        Ok(Some(Reading { first: *first, file: File::open(path)?, at: 0, ahead: Vec::new(), used: 0 }))
    }

    fn rotate(&mut self) -> Outcome<()> {
        let path = self.folder.join(format!("segment-{:020}", self.next));
        self.active = Some(File::create_new(&path)?);
        File::open(&self.folder)?.sync_all()?;
        self.row.insert(self.next, path);
        self.length = 0;
        Ok(())
    }

    fn next_record(&mut self) -> Outcome<Option<(u64, Vec<u8>)>> {
        loop {
            let Some(reading) = &mut self.reading else { return Ok(None) };
            if let Some(record) = reading.next()? {
                return Ok(Some(record));
            }
            let first = reading.first;
            let Some(later) = self.row.range(first + 1..).next().map(|(first, _)| *first) else { return Ok(None) };
            self.reading = self.reading_at(later)?;
        }
    }
}

impl Store for Segments {
    fn commit(&mut self, messages: Vec<Message>) -> Outcome<Commit> {
        let since = Instant::now();
        if self.active.is_none() || self.length >= SEGMENT_BYTES {
            self.rotate()?;
        }
        let mut bytes = Vec::new();
        for message in &messages {
            let body = message.bytes();
            let number = self.next.to_be_bytes();
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&number), &body).to_be_bytes());
            bytes.extend_from_slice(&number);
            bytes.extend_from_slice(&body);
            self.next += 1;
        }
        let active = self.active.as_ref().expect("started above");
        active.write_all_at(&bytes, self.length)?;
        active.sync_data()?;
        self.length += bytes.len() as u64;
        if self.reading.is_none() {
            self.reading = self.reading_at(self.cursor)?;
        }
        Ok(Commit { time: since.elapsed(), commits: 1 })
    }

    fn drain(&mut self, most: u64) -> Outcome<u64> {
        let mut drained = 0;
        while drained < most {
            let Some((number, body)) = self.next_record()? else { break };
            if number < self.cursor {
                continue;
            }
            if number != self.cursor || body != Message::of(number).bytes() {
                return Err(format!("segment files: {number} is not {}", self.cursor).into());
            }
            self.cursor += 1;
            drained += 1;
        }
        Ok(drained)
    }

    fn note_state(&mut self) -> Outcome<()> {
        self.serial += 1;
        let mut slot = vec![0; SLOT];
        slot[..8].copy_from_slice(&self.serial.to_be_bytes());
        slot[8..16].copy_from_slice(&self.cursor.to_be_bytes());
        self.state.write_all_at(&slot, (self.serial % 2) * SLOT as u64)?;
        self.state.sync_data()?;
        let seconds: Vec<u64> = self.row.keys().skip(1).copied().collect();
        for _ in seconds.into_iter().take_while(|second| *second <= self.cursor) {
            let (_, path) = self.row.pop_first().expect("one more than these");
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

/// The floor: the same bytes appended to one file, and a sync of it.
pub(crate) struct OneFile {
    file: File,
    length: u64,
    drained: u64,
    count: u64,
}

impl OneFile {
    pub(crate) fn open(folder: &Path) -> Outcome<OneFile> {
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(folder.join("file"))?;
        Ok(OneFile { file, length: 0, drained: 0, count: 0 })
    }
}

impl Store for OneFile {
    fn commit(&mut self, messages: Vec<Message>) -> Outcome<Commit> {
        let since = Instant::now();
        let bytes: Vec<u8> = messages.iter().flat_map(Message::bytes).collect();
        self.file.write_all_at(&bytes, self.length)?;
        self.file.sync_data()?;
        self.length += bytes.len() as u64;
        self.count += messages.len() as u64;
        Ok(Commit { time: since.elapsed(), commits: 1 })
    }

    fn drain(&mut self, most: u64) -> Outcome<u64> {
        let drained = most.min(self.count - self.drained);
        self.drained += drained;
        Ok(drained)
    }

    fn note_state(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
