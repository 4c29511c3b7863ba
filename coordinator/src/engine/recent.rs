//! What is remembered of the newest of many.

use std::collections::{BTreeMap, VecDeque};

/// The newest entries, up to a bound.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    pub fn new(most: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            most,
        }
    }

    /// Replaces the value of a key that is there, which does not become newer.
    pub fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut recent = Recent::new(2);
        for (key, value) in [(1, "a"), (2, "b"), (1, "c"), (3, "d")] {
            recent.insert(key, value);
        }
        let found = [1, 2, 3].map(|key| recent.get(&key).copied());
        assert_eq!(found, [None, Some("b"), Some("d")]);
    }
}
