//! The names on the disk: folders, and operations on them that are kept or lost in order.
//!
//! A file system journals changes of folders: a cut leaves all of them up to some moment and none after it. A sync of a
//! folder makes certain what was done in it before, and with that everything done anywhere before that.

use std::collections::BTreeMap;

/// A folder's number; the recorded folder itself is 0. Numbers are never used again.
pub(crate) type DirId = u32;

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Dir(DirId),
    File(u32),
}

/// A place for a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) dir: DirId,
    pub(crate) name: String,
}

/// One change of names.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Add(Place, Node),
    Remove(Place),
    Move(Place, Place),
}

impl Change {
    /// Whether a sync of this folder makes it certain.
    pub(crate) fn touches(&self, dir: DirId) -> bool {
        match self {
            Change::Add(place, _) | Change::Remove(place) => place.dir == dir,
            Change::Move(from, to) => from.dir == dir || to.dir == dir,
        }
    }
}

/// All folders, and the names in each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    dirs: BTreeMap<DirId, BTreeMap<String, Node>>,
}

impl Tree {
    /// The place that a path means, if its folder is there.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.find(parent)? {
            Node::Dir(dir) => Some(Place { dir, name: name.to_owned() }),
            Node::File(_) => None,
        }
    }

    /// What a path means.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(Node::Dir(0), |node, name| match node {
            Node::Dir(dir) => self.at(dir, name),
            Node::File(_) => None,
        })
    }

    fn at(&self, dir: DirId, name: &str) -> Option<Node> {
        self.dirs.get(&dir)?.get(name).copied()
    }

    /// The node at a place.
    pub(crate) fn get(&self, place: &Place) -> Option<Node> {
        self.at(place.dir, &place.name)
    }

    /// Makes one change of names.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Add(place, node) => self.put(place, *node),
            Change::Remove(place) => drop(self.take(place)),
            Change::Move(from, to) => {
                if let Some(node) = self.take(from) {
                    self.put(to, node);
                }
            }
        }
    }

    fn put(&mut self, place: &Place, node: Node) {
        self.dirs.entry(place.dir).or_default().insert(place.name.clone(), node);
    }

    fn take(&mut self, place: &Place) -> Option<Node> {
        self.dirs.get_mut(&place.dir)?.remove(&place.name)
    }

    /// Every path that is there, folders before what is in them.
    pub(crate) fn paths(&self) -> Vec<(String, Node)> {
        let mut found = Vec::new();
        self.walk(0, "", &mut found);
        found
    }

    fn walk(&self, dir: DirId, path: &str, found: &mut Vec<(String, Node)>) {
        for (name, node) in self.dirs.get(&dir).into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            found.push((path.clone(), *node));
            if let Node::Dir(inner) = node {
                self.walk(*inner, &path, found);
            }
        }
    }
}
