//! The trace of a run: its hash, its newest lines, and what is counted.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use aitbc_common::hash::Sha256Stream;

use super::context::START_MS;

/// Lines kept where the whole trace is not asked for.
const KEPT_LINES: usize = 60;

/// What happened in a run, or in several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Events.
    pub events: u64,
    /// Batches that the engine committed.
    pub commits: u64,
    /// Jobs that were acknowledged.
    pub jobs: u64,
    /// Of them completed.
    pub completed: u64,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Bytes of output that watchers checked.
    pub watched_bytes: u64,
    /// Records that moved money to a miner.
    pub payments: u64,
    /// Locks that ended by themselves.
    pub expired: u64,
    /// Stakes that were made.
    pub stakes: u64,
    /// Stakes that were slashed.
    pub slashes: u64,
    /// Unstakings that came to nothing for it.
    pub forfeits: u64,
    /// Jobs that auditors drew.
    pub audits: u64,
    /// Jobs that auditors ran again.
    pub audit_runs: u64,
    /// Tools that agents called.
    pub tool_calls: u64,
    /// Executions that went on from what another attempt stored.
    pub handovers: u64,
    /// Jobs that auditors found wrong.
    pub findings: u64,
    /// Rentals that began.
    pub rentals: u64,
    /// Of them released by their renters.
    pub rentals_released: u64,
    /// Of them ended by a provider that was gone.
    pub rentals_gone: u64,
    /// Locks for rentals that returned: somebody else was first, or the listing had changed.
    pub rentals_refused: u64,
    /// Records that pay for a time of a rental.
    pub rental_payments: u64,
    /// Jobs under rentals.
    pub rental_jobs: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.virtual_ms += other.virtual_ms;
        self.events += other.events;
        self.commits += other.commits;
        self.jobs += other.jobs;
        self.completed += other.completed;
        self.attempts += other.attempts;
        self.faults += other.faults;
        self.watched_bytes += other.watched_bytes;
        self.payments += other.payments;
        self.expired += other.expired;
        self.stakes += other.stakes;
        self.slashes += other.slashes;
        self.forfeits += other.forfeits;
        self.audits += other.audits;
        self.audit_runs += other.audit_runs;
        self.tool_calls += other.tool_calls;
        self.handovers += other.handovers;
        self.findings += other.findings;
        self.rentals += other.rentals;
        self.rentals_released += other.rentals_released;
        self.rentals_gone += other.rentals_gone;
        self.rentals_refused += other.rentals_refused;
        self.rental_payments += other.rental_payments;
        self.rental_jobs += other.rental_jobs;
    }
}

/// Everything that happened, in order.
#[derive(Debug)]
pub struct Trace {
    hash: Sha256Stream,
    line: String,
    lines: VecDeque<String>,
    whole: bool,
    pub totals: Totals,
}

impl Trace {
    pub fn new(whole: bool) -> Self {
        Self {
            hash: Sha256Stream::default(),
            line: String::new(),
            lines: VecDeque::new(),
            whole,
            totals: Totals::default(),
        }
    }

    /// Something happened.
    pub fn note(&mut self, now: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(self.line, "{:>9} {what}", now - START_MS);
        self.hash.update(self.line.as_bytes());
        if !self.whole && self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(self.line.trim_end().to_owned());
    }

    /// A fault happened.
    pub fn fault(&mut self, now: u64, what: fmt::Arguments<'_>) {
        self.totals.faults += 1;
        self.note(now, format_args!("FAULT {what}"));
    }

    pub fn finish(self) -> ([u8; 32], Vec<String>) {
        (self.hash.digest(), self.lines.into())
    }
}
