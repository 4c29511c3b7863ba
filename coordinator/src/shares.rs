//! How much of something one caller may hold at once, so that the rest is left for others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

type Counts<K> = Arc<Mutex<HashMap<K, usize>>>;

/// At most so many at once for each key. Memory goes with what is held, not with the keys ever seen.
#[derive(Debug)]
pub struct Shares<K> {
    bound: usize,
    held: Counts<K>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    key: K,
    held: Counts<K>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// At most `bound` for each key.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            held: Counts::default(),
        }
    }

    /// One more for `key`; `None` while it holds all that it may.
    #[must_use]
    pub fn take(&self, key: K) -> Option<Share<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&key).copied().unwrap_or_default();
        if count >= self.bound {
            return None;
        }
        held.insert(key.clone(), count + 1);
        Some(Share {
            key,
            held: Arc::clone(&self.held),
        })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_and_gets_it_back() {
        let shares = Shares::new(2);
        let (one, two) = (shares.take("a").unwrap(), shares.take("a").unwrap());
        assert!(shares.take("a").is_none());
        let other = shares.take("b").unwrap();
        drop(one);
        let one = shares.take("a").unwrap();
        assert!(shares.take("a").is_none());
        drop((one, two, other));
        assert!(shares.held.lock().unwrap().is_empty());
    }
}
