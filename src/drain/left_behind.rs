//! What groups that wait have left in the journal, and whose turn it is to be read on ([`crate::drain::look_back`]). Pure, but for the
//! reader that it keeps.

use crate::journal::{Place, Reader};
use crate::record::Position;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Records of a group that are brought back at a time: a few minutes of a strict group's way, and of little weight.
pub(super) const REFILL: usize = 256;

/// What was left in the journal, by group. Pure.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// From here on nothing of the group is in the window.
    from: HashMap<Arc<str>, Place>,
    /// Groups whose turn it is.
    wanted: BTreeSet<Arc<str>>,
    /// Those of them that the reading under way is for. It began at or before the place of each.
    served: BTreeSet<Arc<str>>,
}

impl LeftBehind {
    /// Whether what is read of this group on the lane's own way is passed over.
    pub(super) fn has(&self, group: &str) -> bool {
        self.from.contains_key(group)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from.is_empty()
    }

    /// A group has given up everything from `place` on. What is being read may begin behind that, and is not for it.
    pub(super) fn leave(&mut self, group: Arc<str>, place: Place) {
        self.wanted.remove(&group);
        self.served.remove(&group);
        self.from.entry(group).and_modify(|from| *from = (*from).min(place)).or_insert(place);
    }

    /// Nothing of the group is left in the window.
    pub(super) fn want(&mut self, group: &Arc<str>) {
        if let Some((group, _)) = self.from.get_key_value(group) {
            self.wanted.insert(group.clone());
        }
    }

    /// All groups of which the window holds nothing.
    pub(super) fn want_all(&mut self, len_of: impl Fn(&str) -> usize) {
        let empty = self.from.keys().filter(|group| len_of(group) == 0);
        self.wanted.extend(empty.cloned());
    }

    /// Begins to read on for the groups whose turn it is, at the place that is given.
    pub(super) fn begin(&mut self) -> Option<Place> {
        self.served.clone_from(&self.wanted);
        self.wanted.iter().filter_map(|group| self.from.get(group)).min().copied()
    }

    /// Whether a record that was read on that way comes into the window, of whose group it holds `len` by now.
    pub(super) fn takes(&mut self, group: &str, place: Place, len: usize) -> bool {
        let Some(from) = self.from.get_mut(group).filter(|from| **from <= place) else { return false };
        if !self.served.contains(group) {
            return false;
        }
        *from = place.next();
        if len + 1 >= REFILL {
            self.wanted.remove(group);
            self.served.remove(group);
        }
        true
    }

    /// All up to `upto` was read. `end`: from where on the lane itself reads.
    pub(super) fn read_up_to(&mut self, upto: Place, end: Position) {
        for group in std::mem::take(&mut self.served) {
            if upto.position >= end {
                self.wanted.remove(&group);
                self.from.remove(&group);
            } else if let Some(from) = self.from.get_mut(&group) {
                *from = (*from).max(upto);
            }
        }
    }
}

/// The way back.
#[derive(Debug, Default)]
pub(super) struct LookBack {
    pub(super) left: LeftBehind,
    /// It continues where its last read ended.
    pub(super) reader: Option<Reader>,
    pub(super) under_way: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Number;
    use proptest::prelude::*;

    fn place(at: u64) -> Place {
        Place { position: Position(at), number: Number(at) }
    }

    proptest! {
        /// Groups that leave records behind at any time, and are read on at any time: each record of each group comes into the
        /// window once, in order.
        #[test]
        fn every_record_comes_into_the_window_once_and_in_order(
            groups in prop::collection::vec(0u8..4, 1..300),
            steps in prop::collection::vec((0u8..4, 0u8..4, 1u64..40), 1..200),
        ) {
            let end = groups.len() as u64 + 1;
            let name = |at: u64| format!("g{}", groups[at as usize - 1]);
            let mut left = LeftBehind::default();
            // What the window holds, what was settled, and how far the lane has read.
            let (mut window, mut settled, mut ahead) = (Vec::<u64>::new(), Vec::<u64>::new(), 1u64);
            let mut under_way: Option<u64> = None;
            let steps = steps.into_iter().chain(std::iter::repeat_n([(0, 0, 39), (1, 0, 39), (1, 1, 39), (1, 2, 39), (1, 3, 39), (3, 0, 39), (3, 0, 39)], 900).flatten());
            for (what, group, count) in steps {
                let of = format!("g{group}");
                match what {
                    0 => {
                        let upto = end.min(ahead + count);
                        window.extend((ahead..upto).filter(|at| !left.has(&name(*at))));
                        ahead = upto;
                    }
                    1 => {
                        let mut mine: Vec<u64> = window.iter().copied().filter(|at| name(*at) == of).collect();
                        mine.sort_unstable();
                        mine.truncate(count as usize);
                        window.retain(|at| !mine.contains(at));
                        settled.extend(mine);
                        left.want_all(|group| window.iter().filter(|at| name(**at) == group).count());
                    }
                    2 => {
                        let mut mine: Vec<u64> = window.iter().copied().filter(|at| name(*at) == of).collect();
                        mine.sort_unstable();
                        if let Some(first) = mine.get(1) {
                            window.retain(|at| name(*at) != of || at < first);
                            left.leave(of.as_str().into(), place(*first));
                        }
                    }
                    _ => match under_way.take() {
                        None => under_way = left.begin().map(|start| start.position.0),
                        Some(start) => {
                            let upto = (start + count).min(end);
                            for at in (start..upto.min(ahead)).filter(|at| !settled.contains(at)) {
                                let len = window.iter().filter(|other| name(**other) == name(at)).count();
                                if left.takes(&name(at), place(at), len) { window.push(at) }
                            }
                            left.read_up_to(place(upto), Position(ahead));
                        }
                    },
                }
                let mut once = window.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), window.len(), "twice in the window");
            }
            prop_assert!(left.is_empty() && window.is_empty(), "{:?} {:?}", left, window);
            for group in 0..4u8 {
                let mine: Vec<u64> = settled.iter().copied().filter(|at| groups[*at as usize - 1] == group).collect();
                let all: Vec<u64> = (1..end).filter(|at| groups[*at as usize - 1] == group).collect();
                prop_assert_eq!(mine, all);
            }
        }
    }
}
