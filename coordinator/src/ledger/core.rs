//! The ledger's core: state, and the order in which a batch of commands is carried out. No clock, thread or randomness; it
//! reads stored rows through the [`Reads`] it is given and writes nothing: it returns the batch.

use std::collections::BTreeSet;

use aitbc_common::genesis::Faucet;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::ledger::broken as state;
use aitbc_common::ledger::entry::StateKey;
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::ledger::position::ChainRules;
use aitbc_common::ledger::state::State;
use aitbc_common::ledger::totals::Totals;
use bytes::Bytes;

use super::command::{Command, Effect, Reply};
use super::counted::Counted;
use super::turn::Turn;
use crate::jobs::lifecycle::Millis;
use crate::store::Reads;
use crate::store::{Batch, StoreError};

/// Entries of the state that are kept in memory.
const KEPT_ENTRIES: usize = 100_000;

/// What makes this ledger, and its bounds.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// What the genesis file settles.
    pub rules: ChainRules,
    /// The genesis file, byte for byte.
    pub genesis: Bytes,
    /// Signs checkpoints.
    pub log_key: Identity,
    /// Bounds of the faucet.
    pub faucet: Option<Faucet>,
    /// A seal follows the first record after the seal before within this: 1 s.
    pub seal_ms: u64,
    /// A seal follows this many records after the seal before, or the batch that brings more: 4,096.
    pub seal_records: u64,
    /// Test-only.
    pub broken: BrokenRules,
}

impl LedgerConfig {
    /// The defaults, for this chain.
    #[must_use]
    pub fn new(
        rules: ChainRules,
        genesis: Bytes,
        log_key: Identity,
        faucet: Option<Faucet>,
    ) -> Self {
        Self {
            rules,
            genesis,
            log_key,
            faucet,
            seal_ms: 1_000,
            seal_records: 4_096,
            broken: BrokenRules::default(),
        }
    }
}

/// Test-only switches that break a rule, to show that the simulator and the audit notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokenRules {
    /// Carry out orders again that were applied before.
    pub repeat_orders: bool,
    /// Pay for a job's specification again, where two jobs have the same.
    pub pay_again: bool,
    /// Take transactions whatever their signature.
    pub skip_signatures: bool,
    /// Sign a checkpoint before the seal that it covers is durable.
    pub sign_before_sync: bool,
    /// Of the state.
    pub state: state::BrokenRules,
}

/// What a ledger has, as of its last batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records.
    pub records: u64,
    /// Seals.
    pub seals: u64,
    /// When the first record since the newest seal was written: Unix ms.
    pub unsealed_since: Option<Millis>,
    /// Sums over all accounts and locks.
    pub totals: Totals,
    /// What its records come to.
    pub counted: Counted,
    /// Micro-AIT that genesis file and faucet may make in all.
    pub mint_bound: u128,
    /// Number of the last order applied.
    pub applied_orders: u64,
    /// Number of the newest notice to the jobs.
    pub last_notice: u64,
}

/// What a batch of commands comes to. Nothing of it may be seen before `batch` is durable.
#[derive(Debug, Default)]
pub struct Output {
    /// To be committed, synced. Empty = nothing to commit.
    pub batch: Batch,
    /// One for each command, in order.
    pub replies: Vec<Reply>,
    /// In order.
    pub effects: Vec<Effect>,
}

/// Something that comes to its end by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expiry {
    /// A lock, by its transaction.
    Lock(Hash),
    /// Money leaving a stake, by its transaction.
    Unstaking(Hash),
}

/// The ledger's state.
#[derive(Debug)]
pub struct LedgerCore {
    pub(super) config: LedgerConfig,
    pub(super) state: State,
    pub(super) counted: Counted,
    /// The log over all records.
    pub(super) head: TreeHead,
    /// Root of the state at the newest seal.
    pub(super) state_root: Hash,
    /// The log at the newest seal, once that is durable and while no checkpoint of it is.
    pub(super) unsigned: Option<TreeHead>,
    /// Keys that changed since the newest seal.
    pub(super) unsealed: BTreeSet<StateKey>,
    /// First records of the batches that hold them.
    pub(super) unsealed_rows: Vec<u64>,
    /// When the first record since the newest seal was written.
    pub(super) unsealed_since: Option<Millis>,
    pub(super) expiries: BTreeSet<(Millis, Expiry)>,
    /// The end of the expiries that were announced.
    pub(super) announced_expiry: Millis,
    pub(super) applied_orders: u64,
    pub(super) last_notice: u64,
    pub(super) trimmed_notices: u64,
    pub(super) now: Millis,
    /// Whether new transactions are taken.
    pub(super) has_room: bool,
}

impl LedgerCore {
    /// Carries out `commands` at `now` (Unix ms; time never goes back). On an error nothing is to be committed and the
    /// core must be dropped and recovered, as after any failed commit.
    pub fn apply(
        &mut self,
        now: Millis,
        commands: Vec<Command>,
        reads: &dyn Reads,
    ) -> Result<Output, StoreError> {
        self.now = self.now.max(now);
        let mut turn = Turn::new(self.now);
        turn.sign_checkpoint(self);
        turn.load(self, &commands, reads)?;
        for command in commands {
            let reply = self.carry_out(&mut turn, command, reads)?;
            turn.replies.push(reply);
        }
        self.announce_expiries(&mut turn);
        let output = turn.finish(self, reads)?;
        self.state.forget(KEPT_ENTRIES);
        Ok(output)
    }

    /// When the core wants to be called again (Unix ms), if it does: a seal, a checkpoint or an expiry is due.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        if self.unsigned.is_some() {
            return Some(self.now);
        }
        let seal = self.unsealed_since.map(|since| since + self.config.seal_ms);
        let unannounced = (self.announced_expiry + 1, Expiry::Lock(Hash::default()));
        let expiry = self.expiries.range(unannounced..).next().map(|(at, _)| *at);
        seal.into_iter().chain(expiry).min()
    }

    /// Ledger time: Unix ms.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Index of the next record.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.state.position().next
    }

    /// Number of the last order applied: the next one to be told is the one after.
    #[must_use]
    pub fn applied_orders(&self) -> u64 {
        self.applied_orders
    }

    /// Without room on the disk, transactions are refused; what resolves locks goes on.
    pub fn set_has_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// What the state holds, for invariants and tests.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How much there is of what, for gauges: costs nothing.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let position = self.state.position();
        Figures {
            records: position.next,
            seals: position.height,
            unsealed_since: self.unsealed_since,
            totals: *self.state.totals(),
            counted: self.counted,
            mint_bound: u128::from(self.config.rules.allocated)
                + u128::from(self.config.rules.faucet_total),
            applied_orders: self.applied_orders,
            last_notice: self.last_notice,
        }
    }

    fn carry_out(
        &mut self,
        turn: &mut Turn,
        command: Command,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        match command {
            Command::Submit(submission) => self.submit(turn, *submission, reads),
            Command::Faucet { account, amount } => self.faucet(turn, account, amount, reads),
            Command::Orders {
                first_sequence,
                orders,
            } => self.orders(turn, first_sequence, orders, reads),
            Command::TrimNotices { through } => {
                for sequence in self.trimmed_notices + 1..=through.min(self.last_notice) {
                    turn.drop_notice(sequence);
                    self.trimmed_notices = sequence;
                }
                Ok(Reply::Done)
            }
            Command::ExpireUntil { until_ms } => self.expire(turn, until_ms.min(self.now), reads),
            Command::Audit(said) => self.audit(turn, said, reads),
        }
    }

    fn announce_expiries(&mut self, turn: &mut Turn) {
        let due = self.expiries.first().is_some_and(|(at, _)| *at <= self.now);
        if due && self.announced_expiry < self.now {
            self.announced_expiry = self.now;
            turn.effects.push(Effect::ExpiryDue { until_ms: self.now });
        }
    }
}
