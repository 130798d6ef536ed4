//! An image: a folder as a cut may leave it, to be written out or compared.

use crate::file::{PAGE, Page};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Contents {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

/// Folders and files, with paths relative to the folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    dirs: Vec<String>,
    files: BTreeMap<String, Contents>,
}

impl Image {
    pub(crate) fn add_dir(&mut self, path: String) {
        self.dirs.push(path);
    }

    /// Pages may reach beyond the length; what does, is not there.
    pub(crate) fn add_file(&mut self, path: String, len: u64, mut pages: BTreeMap<u64, Page>) {
        drop(pages.split_off(&len.div_ceil(PAGE as u64)));
        let rest = (len % PAGE as u64) as usize;
        if let Some(page) = pages.get_mut(&(len / PAGE as u64)).filter(|_| rest > 0) {
            let mut bytes = **page;
            bytes[rest..].fill(0);
            *page = bytes.into();
        }
        self.files.insert(path, Contents { len, pages });
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = &str> {
        self.dirs.iter().map(String::as_str)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, u64, &BTreeMap<u64, Page>)> {
        self.files.iter().map(|(path, contents)| (path.as_str(), contents.len, &contents.pages))
    }

    /// A file's bytes; `None`: it is not there.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let contents = self.files.get(path)?;
        let mut bytes = vec![0; contents.len as usize];
        for (index, page) in &contents.pages {
            let at = *index as usize * PAGE;
            let end = bytes.len().min(at + PAGE);
            bytes[at..end].copy_from_slice(&page[..end - at]);
        }
        Some(bytes)
    }

    /// Puts other bytes into a file, whether it was there or not; its folder must be.
    pub fn put(&mut self, path: &str, bytes: &[u8]) {
        let page = |chunk: &[u8]| {
            let mut page = [0; PAGE];
            page[..chunk.len()].copy_from_slice(chunk);
            page.into()
        };
        let pages = bytes.chunks(PAGE).enumerate().map(|(index, chunk)| (index as u64, page(chunk))).collect();
        self.files.insert(path.to_owned(), Contents { len: bytes.len() as u64, pages });
    }

    /// Takes a file away.
    pub fn take(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Writes it out below `folder`, which must be there and empty.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        for dir in &self.dirs {
            fs::create_dir(folder.join(dir))?;
        }
        for (path, contents) in &self.files {
            let file = File::create_new(folder.join(path))?;
            file.set_len(contents.len)?;
            for (index, page) in contents.pages.iter().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
                let at = index * PAGE as u64;
                let end = (contents.len - at).min(PAGE as u64) as usize;
                file.write_all_at(&page[..end], at)?;
            }
        }
        Ok(())
    }

    /// Compares it with a real folder, byte for byte.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn compare(&self, folder: &Path) -> Result<(), String> {
        let mut found = BTreeSet::new();
        list(folder, "", &mut found).map_err(|error| format!("{}: {error}", folder.display()))?;
        let expected: BTreeSet<String> = self.dirs.iter().chain(self.files.keys()).cloned().collect();
        if let Some(path) = found.symmetric_difference(&expected).next() {
            let side = if found.contains(path) { "the folder" } else { "the trace" };
            return Err(format!("{path} is in {side} alone"));
        }
        for path in self.files.keys() {
            let real = fs::read(folder.join(path)).map_err(|error| format!("{path}: {error}"))?;
            let ours = self.read(path).unwrap_or_default();
            if real != ours {
                let at = real.iter().zip(&ours).position(|(real, ours)| real != ours);
                let at = at.unwrap_or(real.len().min(ours.len()));
                let (real, ours) = (real.len(), ours.len());
                return Err(format!("{path} differs at byte {at}: the folder has {real} bytes, the trace {ours}"));
            }
        }
        Ok(())
    }
}

fn list(folder: &Path, below: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &path, found)?;
        }
        found.insert(path);
    }
    Ok(())
}
