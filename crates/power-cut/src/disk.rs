//! The disk: what is on stable storage for certain, and what a cut may leave of the rest. Pure.
//!
//! It is fed with a trace's events, one by one, and can be cut at any moment. What counts as certain is the least that a
//! careful program may rely on: a sync covers what was written before it began, once it has returned; a file's sync says
//! nothing of its name; only a sync of the folder does. What is not certain is kept or lost by chance, in every
//! combination that a file system with an ordered journal of its names can leave.

use crate::file::{File, Mood};
use crate::image::Image;
use crate::trace::Event;
use crate::tree::{Change, Node, Tree};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// What lies below the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// No volatile cache: what the system wrote to it is there, so `sync_file_range` is worth something where the data is
    /// in place already.
    Plain,
    /// A volatile cache: only a full sync empties it, and pages are lost one by one.
    Volatile,
}

/// How much of what was not certain a cut took away, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// Writes of a page that did not reach the device.
    pub writes_dropped: u64,
    /// Writes of a page that did, though nothing had promised it.
    pub writes_kept: u64,
    /// Cuts in which a later write survived and an earlier one, to this file or another, did not.
    pub writes_reordered: u64,
    /// Writes that survived in part.
    pub writes_split: u64,
    /// Pages whose sectors are of different writes.
    pub pages_torn: u64,
    /// Files whose last length was lost.
    pub lengths_lost: u64,
    /// Changes of folders that were lost.
    pub changes_lost: u64,
}

/// Unsynced writes by their event: what of them survived a cut, and what did not.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) kept: BTreeSet<u64>,
    pub(crate) dropped: BTreeSet<u64>,
}

/// The disk at one moment.
#[derive(Clone, Debug)]
pub struct Disk {
    device: Device,
    now: u64,
    files: HashMap<u32, File>,
    /// Names as processes see them.
    names: Tree,
    /// Names that are certain; the changes after them, with their count of events.
    certain: Tree,
    pending: VecDeque<(u64, Change)>,
    nodes: u32,
    handles: HashMap<u32, Node>,
    syncs: HashMap<u32, Begun>,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    node: Node,
    at: u64,
}

impl Disk {
    /// An empty folder on this device, before the first event.
    pub fn new(device: Device) -> Disk {
        Disk {
            device,
            now: 0,
            files: HashMap::new(),
            names: Tree::default(),
            certain: Tree::default(),
            pending: VecDeque::new(),
            nodes: 0,
            handles: HashMap::new(),
            syncs: HashMap::new(),
        }
    }

    /// A disk that holds this image for certain: what the next run starts on, after a cut.
    pub fn holding(device: Device, image: &Image) -> Disk {
        let mut disk = Disk::new(device);
        for path in image.dirs() {
            disk.make_dir(path).expect("an image names folders before what is in them");
        }
        for (path, len, pages) in image.files() {
            let file = disk.make_file(path).expect("an image names folders before what is in them");
            disk.files.insert(file, File::certain(len, pages.clone()));
        }
        for (_, change) in disk.pending.drain(..) {
            disk.certain.apply(&change);
        }
        disk
    }

    /// The same disk for the next process: what was open is closed, syncs under way will never return, and nothing
    /// became certain. What a killed process leaves.
    pub fn killed(&self) -> Disk {
        Disk { handles: HashMap::new(), syncs: HashMap::new(), ..self.clone() }
    }

    /// The disk after all these events.
    ///
    /// # Errors
    /// As for [`Disk::apply`].
    pub fn after(&self, events: &[Event]) -> Result<Disk, String> {
        let mut disk = self.clone();
        events.iter().try_for_each(|event| disk.apply(event))?;
        Ok(disk)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// What makes no sense, in words: the trace is not complete.
    pub fn apply(&mut self, event: &Event) -> Result<(), String> {
        self.now += 1;
        self.take(event).ok_or_else(|| format!("event {} makes no sense: {}", self.now, brief(event)))
    }

    fn take(&mut self, event: &Event) -> Option<()> {
        let now = self.now;
        match event {
            Event::Open { path, handle, create, truncate } => {
                let node = match self.names.find(path) {
                    Some(node) => node,
                    None if *create => Node::File(self.make_file(path)?),
                    None => return None,
                };
                if let (Node::File(file), true) = (node, *truncate) {
                    self.files.get_mut(&file)?.resize(now, 0);
                }
                self.handles.insert(*handle, node);
            }
            Event::Write { handle, at, bytes } => self.file(*handle)?.write(now, *at, bytes),
            Event::Resize { handle, len } => self.file(*handle)?.resize(now, *len),
            Event::SyncBegin { handle, sync } => {
                let begun = Begun { node: *self.handles.get(handle)?, at: now };
                self.syncs.insert(*sync, begun);
            }
            Event::SyncEnd { sync } => {
                // One that began before this run's time counts for nothing.
                let begun = self.syncs.remove(sync)?;
                self.synced(begun);
            }
            Event::SyncFailed { sync } => {
                if let Begun { node: Node::File(file), .. } = self.syncs.remove(sync)? {
                    self.files.get_mut(&file).map(File::sync_failed);
                }
            }
            Event::RangeSync { handle, at, len } => {
                // Data only, and only where no cache of the device can lose it.
                if self.device == Device::Plain {
                    self.file(*handle)?.range_synced(now, *at, *len);
                }
            }
            Event::Rename { from, to } => {
                let (from, to) = (self.names.place(from)?, self.names.place(to)?);
                self.names.get(&from)?;
                self.change(Change::Move(from, to));
            }
            Event::Remove { path } | Event::RemoveDir { path } => {
                let place = self.names.place(path)?;
                self.names.get(&place)?;
                self.change(Change::Remove(place));
            }
            Event::MakeDir { path } => self.make_dir(path)?,
            Event::Mark(_) => {}
            Event::Unmodelled(_) => return None,
        }
        Some(())
    }

    fn file(&mut self, handle: u32) -> Option<&mut File> {
        match self.handles.get(&handle)? {
            Node::File(file) => self.files.get_mut(file),
            Node::Dir(_) => None,
        }
    }

    fn make_file(&mut self, path: &str) -> Option<u32> {
        let place = self.names.place(path)?;
        self.nodes += 1;
        self.files.insert(self.nodes, File::new());
        self.change(Change::Add(place, Node::File(self.nodes)));
        Some(self.nodes)
    }

    fn make_dir(&mut self, path: &str) -> Option<()> {
        let place = self.names.place(path)?;
        self.nodes += 1;
        self.change(Change::Add(place, Node::Dir(self.nodes)));
        Some(())
    }

    fn change(&mut self, change: Change) {
        self.names.apply(&change);
        self.pending.push_back((self.now, change));
    }

    fn synced(&mut self, Begun { node, at }: Begun) {
        match node {
            Node::File(file) => {
                if let Some(file) = self.files.get_mut(&file) {
                    file.synced(at);
                }
            }
            Node::Dir(dir) => {
                let covered = |(since, change): &(u64, Change)| *since <= at && change.touches(dir);
                let count = self.pending.iter().rposition(covered).map_or(0, |last| last + 1);
                for (_, change) in self.pending.drain(..count) {
                    self.certain.apply(&change);
                }
            }
        }
    }

    /// The folder as processes see it: what a kill without a power cut leaves.
    pub fn newest(&self) -> Image {
        self.image(&self.names, |file| file.newest())
    }

    /// A folder that a cut may leave now, and what was lost for it. `choose(n)` gives a number below `n`.
    pub fn cut(&self, choose: &mut dyn FnMut(u64) -> u64) -> (Image, Lost) {
        let mut lost = Lost::default();
        let pending = self.pending.len() as u64;
        // Nothing, everything, and what lies between: the extremes are what programs get wrong most.
        let kept = match choose(4) {
            0 => 0,
            1 => pending,
            _ => choose(pending + 1),
        };
        lost.changes_lost = pending - kept;
        let mut names = self.certain.clone();
        self.pending.iter().take(kept as usize).for_each(|(_, change)| names.apply(change));
        let mut fate = Fate::default();
        let overall = choose(4);
        let image = self.image(&names, |file| {
            let mood = self.mood(overall, choose);
            file.cut(mood, choose, &mut lost, &mut fate)
        });
        lost.writes_reordered = u64::from(!fate.dropped.is_empty() && fate.kept.last() > fate.dropped.first());
        lost.writes_split = fate.kept.intersection(&fate.dropped).count() as u64;
        (image, lost)
    }

    fn mood(&self, overall: u64, choose: &mut dyn FnMut(u64) -> u64) -> Mood {
        // One temper for all files, or one for each.
        let temper = if overall < 3 { overall } else { choose(3) };
        let keep = match temper {
            0 => 0,
            1 => 256,
            _ => choose(257),
        };
        // Without a cache, only what was just being written can be torn.
        let tear = if self.device == Device::Volatile { 64 } else { 16 };
        let length = choose(3);
        Mood { keep, tear, keep_length: length == 0, lose_length: length == 1 }
    }

    fn image(&self, names: &Tree, mut of: impl FnMut(&File) -> (u64, BTreeMap<u64, crate::file::Page>)) -> Image {
        let mut image = Image::default();
        for (path, node) in names.paths() {
            match node {
                Node::Dir(_) => image.add_dir(path),
                Node::File(file) => {
                    let (len, pages) = self.files.get(&file).map(&mut of).unwrap_or_default();
                    image.add_file(path, len, pages);
                }
            }
        }
        image
    }
}

/// An event in words, without its bytes.
fn brief(event: &Event) -> String {
    match event {
        Event::Write { handle, at, bytes } => format!("write of {} bytes to handle {handle} at {at}", bytes.len()),
        other => format!("{other:?}"),
    }
}
