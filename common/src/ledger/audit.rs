//! Recomputes everything that a log says: each record's rules and signatures, the state's root at each seal, and the log's
//! own root. Memory grows with the state, and by 16 bytes with each paid job; not with the log.

use std::collections::BTreeSet;

use super::entry::{AccountId, Entry, StateKey};
use super::log::{EMPTY_ROOT, TreeHead, leaf_hash};
use super::state::State;
use super::state_tree::{Changes, MemoryTree, StateTreeError, node_hash};
use super::violation::Violation;
use crate::hash::Hash;
use crate::layouts::{LayoutError, Record, RecordBody};
use crate::market::replay::Replay;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Its bytes are no record.
    #[error("it is no record: {0}")]
    Layout(#[from] LayoutError),
    /// It breaks a rule.
    #[error("it breaks a rule: {0}")]
    Rule(#[from] Violation),
    /// A seal that states another root than the records before it come to.
    #[error("it states the state root {}, the records come to {}", hex::encode(.stated), hex::encode(.computed))]
    StateRoot {
        /// What it states.
        stated: Hash,
        /// What follows.
        computed: Hash,
    },
    /// What holds in every state does not.
    #[error("{0}")]
    Invariant(&'static str),
}

/// The first bad record of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {index} is bad: {problem}")]
pub struct AuditError {
    /// Its place.
    pub index: u64,
    /// What is wrong.
    pub problem: BadRecord,
}

/// An audit under way.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    state: State,
    tree: MemoryTree,
    edge: Edge,
    reputations: Replay,
    /// The job whose locks the newest record paid out.
    paying: Option<Hash>,
    /// First halves of the references of all jobs that were paid: each is paid by one chain, ever.
    paid: BTreeSet<[u8; 16]>,
}

impl Audit {
    /// Takes the next record's bytes.
    ///
    /// # Errors
    /// What is wrong with it; the audit is over then.
    pub fn record(&mut self, leaf: &[u8]) -> Result<(), AuditError> {
        let index = self.state.position().next;
        self.carry_out(leaf)
            .map_err(|problem| AuditError { index, problem })
    }

    /// The state after all records so far.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The reputations that the records so far come to.
    #[must_use]
    pub fn reputations(&self) -> &Replay {
        &self.reputations
    }

    /// The log over all records so far.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.edge.head()
    }

    /// The same, to go on with.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Checks what holds in every state: all accounts sum to zero, nothing is spent twice, and what is pending is what the
    /// open locks and unstakings hold. Each record keeps that by itself; this looks at the whole, once, at the end.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_state(&self) -> Result<(), AuditError> {
        let index = self.state.position().next;
        invariants(&self.state).map_err(|problem| AuditError { index, problem })
    }

    /// Checks that a checkpoint may cover exactly the records so far: the last one is a seal.
    ///
    /// # Errors
    /// It is not.
    pub fn check_sealed(&self) -> Result<(), AuditError> {
        let position = self.state.position();
        if position.next > 0 && position.first_unsealed == position.next {
            return Ok(());
        }
        Err(AuditError {
            index: position.next.saturating_sub(1),
            problem: BadRecord::Invariant("a checkpoint ends with it and it is no seal"),
        })
    }

    fn carry_out(&mut self, leaf: &[u8]) -> Result<(), BadRecord> {
        let record = Record::decode(leaf)?;
        if let RecordBody::Seal(seal) = &record.body {
            self.check_seal(seal.state_root)?;
        }
        self.check_paid_once(&record.body)?;
        self.state.apply(&record, false)?;
        self.reputations.record(&record);
        self.edge.push(leaf_hash(leaf));
        Ok(())
    }

    /// All locks of a job pay in one chain of records, and no second chain follows.
    fn check_paid_once(&mut self, body: &RecordBody) -> Result<(), BadRecord> {
        let post = match body {
            // A rental's payments are numbered.
            RecordBody::Post(post) if !post.outcome.is_rental() => post,
            _ => {
                self.paying = None;
                return Ok(());
            }
        };
        if self.paying != Some(post.job_ref) {
            self.paying = Some(post.job_ref);
            let (half, _) = post
                .job_ref
                .split_first_chunk()
                .expect("a hash has 32 bytes");
            if !self.paid.insert(*half) {
                return Err(BadRecord::Invariant("the job was paid before"));
            }
        }
        Ok(())
    }

    fn check_seal(&mut self, stated: Hash) -> Result<(), BadRecord> {
        let mut changes = Changes::new();
        for key in self.state.take_changed() {
            let value = self.state.get(&key).map(Entry::encode);
            changes.insert(key.tree_key(), value);
        }
        let computed = match self.tree.apply(&changes) {
            Ok(root) => root,
            Err(StateTreeError::Store(never)) => match never {},
            Err(_) => return Err(BadRecord::Invariant("the state tree cannot be computed")),
        };
        if computed == stated {
            Ok(())
        } else {
            Err(BadRecord::StateRoot { stated, computed })
        }
    }
}

fn invariants(state: &State) -> Result<(), BadRecord> {
    let (mut debits, mut credits, mut pending_debits, mut pending_credits) = (0_u128, 0, 0, 0_u128);
    let (mut locked, mut leaving, mut forfeited) = (0_u128, 0_u128, 0_u128);
    for (key, entry) in state.entries() {
        match (key, entry) {
            (StateKey::Account(id), Entry::Account(account)) => {
                debits += account.debits_posted;
                credits += account.credits_posted;
                pending_debits += account.debits_pending;
                pending_credits += account.credits_pending;
                let taken = account.debits_posted + account.debits_pending;
                if *id != AccountId::Issuance && taken > account.credits_posted {
                    return Err(BadRecord::Invariant("an account spent more than it had"));
                }
                if *id == AccountId::Settlement && account.balance() != 0 {
                    return Err(BadRecord::Invariant("money is left in settlement"));
                }
            }
            (_, Entry::Lock(lock)) => locked += u128::from(lock.amount),
            (_, Entry::Unstaking(unstaking)) => leaving += u128::from(unstaking.amount),
            (_, Entry::Forfeit(forfeit)) => forfeited += forfeit.amount,
            _ => {}
        }
    }
    if debits != credits {
        return Err(BadRecord::Invariant("the accounts do not sum to zero"));
    }
    if pending_credits != locked || pending_debits + forfeited != locked + leaving {
        return Err(BadRecord::Invariant(
            "what is pending is not what the open locks hold",
        ));
    }
    Ok(())
}

/// The right edge of a log, which is all that its root needs: its complete subtrees, the largest first.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Edge {
    /// Records so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next record, by the hash of its leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .subtrees
                .pop()
                .expect("each one bit of the size is a subtree");
            hash = node_hash(&left, &hash);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The log over all records so far.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        let mut subtrees = self.subtrees.iter().rev();
        let root = match subtrees.next() {
            None => EMPTY_ROOT,
            Some(last) => subtrees.fold(*last, |right, left| node_hash(left, &right)),
        };
        TreeHead {
            size: self.size,
            root,
        }
    }
}
