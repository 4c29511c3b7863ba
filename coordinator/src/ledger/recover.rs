//! The start-up path, and the only recovery path: memory is made from what the store holds.

use std::collections::BTreeSet;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{MintReason, RecordBody};
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::ledger::log::{EMPTY_ROOT, TreeHead};
use aitbc_common::ledger::position::Position;
use aitbc_common::ledger::state::State;
use aitbc_common::ledger::state_tree::EMPTY;
use aitbc_common::ledger::totals::Totals;
use bytes::Bytes;

use super::core::{Expiry, LedgerConfig, LedgerCore, Output};
use super::counted::Counted;
use super::rows::{LedgerRow, UnsealedRow};
use super::turn::{Turn, decode_entry};
use crate::jobs::lifecycle::Millis;
use crate::store::{Family, StoreError, keys::prefix_end, ledger_keys as keys, rows};
use crate::store::{Reads, each_active_row as each_row};

/// Type of state entries that are accounts.
const ACCOUNTS: u8 = 1;
/// Type of state entries that are allowances.
const ALLOWANCES: u8 = 4;
/// Types of the entries of slashed stakes.
const FORFEITS: u8 = 7;
const SLASHED: u8 = 8;
/// Types of state entries that come to an end: open locks and unstakings.
const ENDING: [u8; 2] = [2, 5];

impl LedgerCore {
    /// Reads where the log stands. Ledger time goes on from the later of `wall` and the newest record.
    pub fn recover(
        config: LedgerConfig,
        wall: Millis,
        reads: &dyn Reads,
    ) -> Result<Self, StoreError> {
        let stored = reads.get_many(&[(Family::Active, &keys::ledger())])?;
        let stored = stored.into_iter().next().flatten();
        let Some(row) = stored.map(rows::decode::<LedgerRow>).transpose()? else {
            return Ok(Self::empty(config, wall));
        };
        let rules = config.rules.clone();
        let mut core = Self::empty(config, wall);
        let position =
            Position::resumed(rules, row.next, row.time_ms, row.height, row.first_unsealed);
        let totals = read_totals(reads)?;
        core.counted = Counted::stored(row.counted, &totals);
        core.state = State::resumed(position, totals);
        core.state.break_rules(core.config.broken.state);
        core.head = TreeHead {
            size: row.next,
            root: hash_of(&row.root)?,
        };
        core.state_root = hash_of(&row.state_root)?;
        if !row.unsigned_root.is_empty() {
            core.unsigned = Some(TreeHead {
                size: row.first_unsealed,
                root: hash_of(&row.unsigned_root)?,
            });
        }
        core.applied_orders = row.applied_orders;
        core.last_notice = row.last_notice;
        core.now = wall.max(row.time_ms);
        core.restore_unsealed(reads)?;
        core.restore_expiries(reads)?;
        core.restore_notices(reads)?;
        Ok(core)
    }

    fn empty(config: LedgerConfig, wall: Millis) -> Self {
        let mut state = State::default();
        state.break_rules(config.broken.state);
        Self {
            config,
            counted: Counted::default(),
            state,
            head: TreeHead {
                size: 0,
                root: EMPTY_ROOT,
            },
            state_root: EMPTY,
            unsigned: None,
            unsealed: BTreeSet::new(),
            unsealed_rows: Vec::new(),
            unsealed_since: None,
            expiries: BTreeSet::new(),
            announced_expiry: 0,
            applied_orders: 0,
            last_notice: 0,
            trimmed_notices: 0,
            now: wall,
            has_room: true,
        }
    }

    /// Whether the log has no record yet: [`LedgerCore::begin`] comes first.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.head.size == 0
    }

    /// The first records: the genesis file, and the money that it gives out.
    pub fn begin(&mut self, reads: &dyn Reads) -> Result<Output, StoreError> {
        let damaged = |error: &dyn std::fmt::Display| {
            StoreError::Corrupt(format!("the genesis file cannot begin a ledger: {error}"))
        };
        let file = self.config.genesis.to_vec();
        let genesis =
            aitbc_common::genesis::Genesis::parse(&file).map_err(|error| damaged(&error))?;
        let mut turn = Turn::new(self.now);
        let mut bodies = vec![RecordBody::Genesis(file)];
        bodies.extend(
            genesis
                .allocations
                .into_iter()
                .map(|(account, amount)| RecordBody::Mint {
                    account,
                    amount,
                    reason: MintReason::Genesis,
                }),
        );
        for body in bodies {
            turn.record(self, body, reads)?
                .map_err(|violation| damaged(&violation))?;
        }
        turn.finish(self, reads)
    }

    fn restore_unsealed(&mut self, reads: &dyn Reads) -> Result<(), StoreError> {
        let prefix = keys::all_unsealed();
        each_row(reads, &prefix, |name, value| {
            let row: UnsealedRow = rows::decode(value)?;
            let damaged = || StoreError::Corrupt("a row of unsealed keys is damaged".into());
            for key in &row.keys {
                self.unsealed
                    .insert(StateKey::from_bytes(key).ok_or_else(damaged)?);
            }
            self.unsealed_rows
                .push(keys::number(&name).ok_or_else(damaged)?);
            self.unsealed_since.get_or_insert(row.since_ms);
            Ok(())
        })
    }

    fn restore_expiries(&mut self, reads: &dyn Reads) -> Result<(), StoreError> {
        for kind in ENDING {
            each_row(reads, &keys::state_of_type(kind), |name, value| {
                let damaged = || StoreError::Corrupt("a key of the state is damaged".into());
                let key = keys::parse_state(&name).ok_or_else(damaged)?;
                self.expiries
                    .extend(match (key, decode_entry(&key, &value)?) {
                        (StateKey::Lock(id), Entry::Lock(lock)) => {
                            Some((lock.expires_at, Expiry::Lock(id)))
                        }
                        (StateKey::Unstaking(id), Entry::Unstaking(unstaking)) => {
                            Some((unstaking.matures_at, Expiry::Unstaking(id)))
                        }
                        _ => None,
                    });
                Ok(())
            })?;
        }
        Ok(())
    }

    fn restore_notices(&mut self, reads: &dyn Reads) -> Result<(), StoreError> {
        let prefix = keys::notices();
        let end = prefix_end(&prefix);
        let first = reads.scan(Family::Active, &prefix..&end, 1)?.rows;
        let first = first.first().and_then(|(name, _)| keys::number(name));
        self.trimmed_notices = first.map_or(self.last_notice, |number| number - 1);
        Ok(())
    }
}

/// Sums over all that is stored: what is on the disk is looked at, whatever was true before.
fn read_totals(reads: &dyn Reads) -> Result<Totals, StoreError> {
    let mut totals = Totals::default();
    for kind in [ACCOUNTS, ALLOWANCES, FORFEITS, SLASHED]
        .into_iter()
        .chain(ENDING)
    {
        each_row(reads, &keys::state_of_type(kind), |name, value| {
            let damaged = || StoreError::Corrupt("a key of the state is damaged".into());
            let key = keys::parse_state(&name).ok_or_else(damaged)?;
            totals.add(&key, &decode_entry(&key, &value)?);
            Ok(())
        })?;
    }
    Ok(totals)
}

fn hash_of(bytes: &Bytes) -> Result<Hash, StoreError> {
    bytes
        .as_ref()
        .try_into()
        .map_err(|_| StoreError::Corrupt("the ledger's row is damaged".into()))
}
