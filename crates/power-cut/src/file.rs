//! One file on the disk: what of it is certain, and what a cut may leave of the rest.
//!
//! Data is in pages of 4 KB. The page cache holds a page as a whole, with all writes so far, and hands it to the device
//! whenever it likes: so what a cut leaves of a page is its contents after one of the writes since it was last synced, or
//! before all of them; each page for itself, so writes to different pages are reordered at will. A device writes sectors
//! of 512 bytes: a page that was being written is torn between two of its versions. The length is metadata, kept or lost
//! for itself. Where a length was kept and its data was not, the file holds zeros.

use crate::disk::{Fate, Lost};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// The bytes of a page.
pub(crate) type Page = Arc<[u8; PAGE]>;

/// A value, and the count of events at which it came to be.
#[derive(Clone, Debug)]
struct Version<T> {
    since: u64,
    value: T,
}

/// A file: every history begins with what is certain.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pages: BTreeMap<u64, Vec<Version<Page>>>,
    lengths: Vec<Version<u64>>,
    /// Pages that the next sync makes certain. Others with more than one version were in a sync that failed.
    unsynced: BTreeSet<u64>,
    zero: Page,
}

/// What a cut does with what is not certain; drawn anew for every file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    /// Parts in 256 of the pages that reached the device as they were last.
    pub(crate) keep: u64,
    /// Parts in 256 of the unsynced pages that are torn.
    pub(crate) tear: u64,
    /// The last length counts, whatever was synced; otherwise one since the last sync, or that one.
    pub(crate) keep_length: bool,
    /// Only a length that was synced counts.
    pub(crate) lose_length: bool,
}

impl File {
    /// An empty file, as certain as its name.
    pub(crate) fn new() -> File {
        File::certain(0, BTreeMap::new())
    }

    /// A file of which every byte is on the device.
    pub(crate) fn certain(len: u64, pages: BTreeMap<u64, Page>) -> File {
        let pages = pages.into_iter().map(|(index, value)| (index, vec![Version { since: 0, value }])).collect();
        let lengths = vec![Version { since: 0, value: len }];
        File { pages, lengths, unsynced: BTreeSet::new(), zero: Arc::new([0; PAGE]) }
    }

    /// Its length in bytes, as processes see it.
    pub(crate) fn len(&self) -> u64 {
        self.lengths.last().map_or(0, |last| last.value)
    }

    fn change(&mut self, index: u64, now: u64, change: impl FnOnce(&mut [u8; PAGE])) {
        let zero = &self.zero;
        let versions = self.pages.entry(index).or_insert_with(|| vec![Version { since: 0, value: zero.clone() }]);
        let mut bytes = **versions.last().map_or(zero, |last| &last.value);
        change(&mut bytes);
        versions.push(Version { since: now, value: Arc::new(bytes) });
        self.unsynced.insert(index);
    }

    /// Writes bytes at event `now`.
    pub(crate) fn write(&mut self, now: u64, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        let mut from = at;
        while from < end {
            let (index, start) = (from / PAGE as u64, (from % PAGE as u64) as usize);
            let some = &bytes[(from - at) as usize..];
            let some = &some[..some.len().min(PAGE - start)];
            self.change(index, now, |page| page[start..start + some.len()].copy_from_slice(some));
            from += some.len() as u64;
        }
        if end > self.len() {
            self.lengths.push(Version { since: now, value: end });
        }
    }

    /// Sets the length at event `now`; what is cut off reads as zeros should the file grow again.
    pub(crate) fn resize(&mut self, now: u64, len: u64) {
        if len == self.len() {
            return;
        }
        let (border, rest) = (len / PAGE as u64, (len % PAGE as u64) as usize);
        let beyond: Vec<u64> = self.pages.range(border..).map(|(index, _)| *index).collect();
        for index in beyond {
            let from = if index == border { rest } else { 0 };
            self.change(index, now, |page| page[from..].fill(0));
        }
        self.lengths.push(Version { since: now, value: len });
    }

    /// A sync that began at event `begun` has returned.
    pub(crate) fn synced(&mut self, begun: u64) {
        let pages = std::mem::take(&mut self.unsynced);
        self.settle_pages(pages, begun);
        settle(&mut self.lengths, begun);
    }

    /// A sync has failed: what of these pages reached the device stays open, and no later sync says anything of it. A page
    /// that is written to again goes to the device as a whole.
    pub(crate) fn sync_failed(&mut self) {
        self.unsynced.clear();
    }

    /// The device holds these bytes as they were at event `begun`; the call promises nothing of the length.
    pub(crate) fn range_synced(&mut self, begun: u64, at: u64, len: u64) {
        let end = if len == 0 { u64::MAX } else { at.saturating_add(len) };
        let pages: Vec<u64> = self.unsynced.range(at / PAGE as u64..end.div_ceil(PAGE as u64)).copied().collect();
        self.unsynced.retain(|index| !pages.contains(index));
        self.settle_pages(pages, begun);
    }

    fn settle_pages(&mut self, pages: impl IntoIterator<Item = u64>, begun: u64) {
        for index in pages {
            let versions = self.pages.get_mut(&index).expect("an unsynced page has versions");
            settle(versions, begun);
            if versions.len() > 1 {
                self.unsynced.insert(index);
            }
        }
    }

    /// What a cut leaves now: length and pages. `choose(n)` gives a number below `n`.
    pub(crate) fn cut(
        &self,
        mood: Mood,
        choose: &mut dyn FnMut(u64) -> u64,
        lost: &mut Lost,
        fate: &mut Fate,
    ) -> (u64, BTreeMap<u64, Page>) {
        let len = self.cut_length(mood, choose, lost);
        let mut pages = BTreeMap::new();
        for (index, versions) in &self.pages {
            let (last, mut chosen) = (versions.len() - 1, 0);
            if last > 0 {
                chosen = if choose(256) < mood.keep { last } else { choose(last as u64) as usize };
                lost.writes_dropped += (last - chosen) as u64;
                lost.writes_kept += chosen as u64;
                fate.kept.extend(versions[1..=chosen].iter().map(|version| version.since));
                fate.dropped.extend(versions[chosen + 1..].iter().map(|version| version.since));
            }
            let page = &versions[chosen].value;
            let torn = last > 0 && choose(256) < mood.tear;
            let page = if torn { tear(page, versions, choose, lost) } else { page.clone() };
            pages.insert(*index, page);
        }
        (len, pages)
    }

    fn cut_length(&self, mood: Mood, choose: &mut dyn FnMut(u64) -> u64, lost: &mut Lost) -> u64 {
        let last = self.lengths.len() - 1;
        let chosen = match mood {
            _ if last == 0 => 0,
            Mood { keep_length: true, .. } => last,
            Mood { lose_length: true, .. } => 0,
            _ => choose(last as u64 + 1) as usize,
        };
        lost.lengths_lost += u64::from(chosen < last);
        self.lengths[chosen].value
    }

    /// The file as processes see it.
    pub(crate) fn newest(&self) -> (u64, BTreeMap<u64, Page>) {
        let last = |versions: &Vec<Version<Page>>| versions.last().map_or(&self.zero, |last| &last.value).clone();
        (self.len(), self.pages.iter().map(|(index, versions)| (*index, last(versions))).collect())
    }
}

/// The newest version that was there at `begun` is certain now; older ones are gone.
fn settle<T>(versions: &mut Vec<Version<T>>, begun: u64) {
    let certain = versions.iter().rposition(|version| version.since <= begun).unwrap_or(0);
    versions.drain(..certain);
}

/// A page whose sectors come from two of its versions.
fn tear(page: &Page, versions: &[Version<Page>], choose: &mut dyn FnMut(u64) -> u64, lost: &mut Lost) -> Page {
    let other = &versions[choose(versions.len() as u64) as usize].value;
    let mut bytes = **page;
    for at in (0..PAGE).step_by(SECTOR) {
        if choose(2) == 0 {
            bytes[at..at + SECTOR].copy_from_slice(&other[at..at + SECTOR]);
        }
    }
    if versions.iter().all(|version| *version.value != bytes) {
        lost.pages_torn += 1;
    }
    Arc::new(bytes)
}
