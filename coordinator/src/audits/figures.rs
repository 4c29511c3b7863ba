//! What became of audits since the start, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What can become of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A job was drawn.
    Drawn,
    /// Another owner's miner made the same.
    Agreed,
    /// Work was found wrong.
    Wrong,
    /// Three made three different things.
    Undecided,
    /// A run came to nothing.
    Unfinished,
    /// No auditor had the money, or the day's bound was reached.
    Unaffordable,
    /// Too many were under way.
    Crowded,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Drawn,
        Self::Agreed,
        Self::Wrong,
        Self::Undecided,
        Self::Unfinished,
        Self::Unaffordable,
        Self::Crowded,
    ];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn",
            Self::Agreed => "agreed",
            Self::Wrong => "wrong",
            Self::Undecided => "undecided",
            Self::Unfinished => "unfinished",
            Self::Unaffordable => "unaffordable",
            Self::Crowded => "crowded",
        }
    }
}

/// How often each happened.
#[derive(Debug, Default)]
pub struct Figures([AtomicU64; Event::ALL.len()]);

impl Figures {
    /// It happened once more.
    pub fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Event, u64)> {
        Event::ALL
            .into_iter()
            .map(|event| (event, self.0[event as usize].load(Ordering::Relaxed)))
    }
}
