//! Attempts that are over: a late or repeated message about one must not bring it back.

use std::collections::{BTreeMap, VecDeque};

use aitbc_proto::v1::Failure;

use super::AttemptKey;

/// How an attempt ended here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Closed {
    /// It was acknowledged, stopped or given up: another assignment of it is ignored.
    Gone,
    /// It was not taken: another assignment of it gets the same answer.
    Rejected(Failure),
}

/// The newest [`History::CAPACITY`] attempts that are over.
#[derive(Debug, Default)]
pub(super) struct History {
    closed: BTreeMap<AttemptKey, Closed>,
    order: VecDeque<AttemptKey>,
}

impl History {
    /// Attempts remembered. Messages overtake each other by far less.
    pub(super) const CAPACITY: usize = 4096;

    pub(super) fn get(&self, key: &AttemptKey) -> Option<&Closed> {
        self.closed.get(key)
    }

    pub(super) fn insert(&mut self, key: AttemptKey, closed: Closed) {
        if self.closed.insert(key, closed).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > Self::CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.closed.remove(&oldest);
        }
    }

    /// Whether a later attempt of the same job is over already.
    pub(super) fn knows_later(&self, key: &AttemptKey) -> bool {
        let last = AttemptKey {
            job: key.job,
            attempt: u16::MAX,
        };
        self.closed
            .range((
                std::ops::Bound::Excluded(*key),
                std::ops::Bound::Included(last),
            ))
            .next()
            .is_some()
    }
}
