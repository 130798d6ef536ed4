//! The last N distinct hashes, each with a value: the oldest is forgotten first.

use std::collections::{HashMap, VecDeque};

/// A bounded map from hashes to values. Setting a hash anew makes it the youngest.
#[derive(Debug)]
pub(super) struct Recent<V> {
    capacity: usize,
    values: HashMap<u64, (V, u64)>,
    /// Hash and stamp in the order they were set; a stamp that `values` no longer has is stale.
    order: VecDeque<(u64, u64)>,
    stamp: u64,
}

impl<V: Copy> Recent<V> {
    /// Holds at most `capacity` hashes.
    pub(super) fn new(capacity: usize) -> Recent<V> {
        // In one piece: grown by doubling, it would end larger than it needs to be.
        Recent { capacity, values: HashMap::new(), order: VecDeque::with_capacity(capacity + 1), stamp: 0 }
    }

    /// The value last set for `hash`, unless it was forgotten.
    pub(super) fn get(&self, hash: u64) -> Option<V> {
        self.values.get(&hash).map(|(value, _)| *value)
    }

    /// Sets `hash` to `value` and makes it the youngest.
    pub(super) fn set(&mut self, hash: u64, value: V) {
        self.stamp += 1;
        self.values.insert(hash, (value, self.stamp));
        self.order.push_back((hash, self.stamp));
        while self.values.len() > self.capacity {
            self.forget_front();
        }
        // One hash set over and over leaves stale places behind; the order is kept within twice the capacity.
        if self.order.len() > 2 * self.capacity {
            let values = &self.values;
            self.order.retain(|(hash, stamp)| values.get(hash).is_some_and(|(_, newest)| newest == stamp));
        }
    }

    /// Hashes and values, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, V)> + '_ {
        self.order.iter().filter_map(|(hash, stamp)| {
            self.values.get(hash).filter(|(_, newest)| newest == stamp).map(|(value, _)| (*hash, *value))
        })
    }

    fn forget_front(&mut self) {
        if let Some((hash, stamp)) = self.order.pop_front()
            && self.values.get(&hash).is_some_and(|(_, newest)| *newest == stamp)
        {
            self.values.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_remembers_exactly_the_last_distinct_hashes(
            capacity in 1usize..6,
            steps in prop::collection::vec((0u64..9, any::<u32>()), 0..80),
        ) {
            let mut recent = Recent::new(capacity);
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (hash, value) in steps {
                recent.set(hash, value);
                model.retain(|(known, _)| *known != hash);
                model.push((hash, value));
                if model.len() > capacity {
                    model.remove(0);
                }
                prop_assert_eq!(recent.iter().collect::<Vec<_>>(), model.clone());
                for probe in 0..9 {
                    let expected = model.iter().find(|(known, _)| *known == probe).map(|(_, value)| *value);
                    prop_assert_eq!(recent.get(probe), expected);
                }
                prop_assert!(recent.order.len() <= 2 * capacity);
            }
        }
    }
}
