//! What an engine and the services in front of it did, counted since the start.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::figures::Figures;

/// Counters that only rise. Reading them while they rise gives values of slightly different moments.
#[derive(Debug, Default)]
pub struct EngineStats {
    turns: AtomicU64,
    commands: AtomicU64,
    commits: AtomicU64,
    operations: AtomicU64,
    bytes: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    figures: Mutex<Figures>,
}

impl EngineStats {
    /// Some commands were taken together.
    pub(super) fn turn(&self, commands: usize) {
        add(&self.turns, 1);
        add(&self.commands, commands);
    }

    /// A batch with this many operations and bytes was synced.
    pub(super) fn commit(&self, operations: usize, bytes: usize) {
        add(&self.commits, 1);
        add(&self.operations, operations);
        add(&self.bytes, bytes);
    }

    /// What the engine has after a turn.
    pub(super) fn show(&self, figures: Figures) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// What the engine had after its last turn.
    #[must_use]
    pub fn figures(&self) -> Figures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gRPC message arrived on one of the frequent paths: submissions, sessions, watches.
    pub fn message_in(&self) {
        add(&self.messages_in, 1);
    }

    /// Messages that arrived so.
    #[must_use]
    pub fn messages_in(&self) -> u64 {
        self.messages_in.load(Ordering::Relaxed)
    }

    /// A gRPC message was sent on one of these paths.
    pub fn message_out(&self) {
        add(&self.messages_out, 1);
    }
}

impl EngineStats {
    /// All counters with their names.
    #[must_use]
    pub fn counters(&self) -> [(&'static str, u64); 7] {
        [
            ("turns", &self.turns),
            ("commands", &self.commands),
            ("commits", &self.commits),
            ("operations", &self.operations),
            ("bytes", &self.bytes),
            ("messages_in", &self.messages_in),
            ("messages_out", &self.messages_out),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

impl fmt::Display for EngineStats {
    /// `commits=3 commands=9 …`, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.counters().into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={count}")?;
        }
        Ok(())
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_read_as_one_line() {
        let stats = EngineStats::default();
        stats.turn(2);
        stats.turn(1);
        stats.commit(4, 100);
        stats.message_in();
        assert_eq!(
            stats.to_string(),
            "turns=2 commands=3 commits=1 operations=4 bytes=100 messages_in=1 messages_out=0"
        );
    }
}
