//! An audit of records from wherever, and what it comes to.

use std::ops::Range;

use aitbc_common::genesis::Genesis;
use aitbc_common::hash::{Hash, hash_text};
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{InvalidTransaction, Record, RecordBody};
use aitbc_common::ledger::audit::{Audit, AuditError, BadRecord, Edge};
use aitbc_common::ledger::checkpoint::LogIdentity;
use aitbc_common::ledger::entry::{AccountId, StateKey};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::ledger::violation::Violation;
use aitbc_common::market::replay::Replay;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::Home;
use aitbc_common::runtime::ledger::{Checkpoint, VerifiedLedger};
use serde_json::{Value, json};

use super::reputations::Recomputed;

/// The type byte of a POST.
const POST: u8 = 3;
/// That of a TX.
const TRANSACTION: u8 = 2;

/// An audit under way. Memory grows with the state, not with the log.
#[derive(Debug, Default)]
pub struct Auditor {
    audit: Audit,
    /// Which log it must be, where that is known.
    expected: Option<LogIdentity>,
    log: Option<LogIdentity>,
    /// Whether a transaction has shown that it is of the genesis file's chain.
    has_transactions: bool,
    /// What this user had seen of the chain, until the records come to its size.
    seen: Option<Checkpoint>,
    confirmed: Option<u64>,
    posted: u128,
    fees: u128,
}

/// What an audit came to.
#[derive(Debug)]
pub struct Summary {
    log: LogIdentity,
    head: TreeHead,
    /// Size of a checkpoint seen earlier that the records begin with.
    confirmed: Option<u64>,
    /// Size of a checkpoint seen earlier that is beyond the records.
    beyond: Option<u64>,
    seals: u64,
    accounts: usize,
    supply: u128,
    locks: usize,
    posted: u128,
    fees: u128,
    reputations: Recomputed,
    /// How many reputations that the coordinator states were compared; none where it was not asked.
    pub compared: Option<usize>,
}

impl Auditor {
    /// Of a log that must be this one, and whose newest checkpoint was accepted: it continues what this user has seen.
    pub fn of(log: LogIdentity) -> Self {
        Self {
            expected: Some(log),
            ..Self::default()
        }
    }

    /// Takes the next record. The first says which log it is.
    pub fn record(&mut self, home: &Home, leaf: &[u8]) -> Result<(), CommandError> {
        self.audit
            .record(leaf)
            .map_err(|error| self.first_bad(&error, home, leaf))?;
        if self.log.is_none() {
            self.begin(home, leaf)?;
        }
        self.has_transactions |= leaf.get(1) == Some(&TRANSACTION);
        if leaf.get(1) == Some(&POST)
            && let Ok(Record {
                body: RecordBody::Post(post),
                ..
            }) = Record::decode(leaf)
        {
            self.posted += u128::from(post.posted);
            self.fees += u128::from(post.fee);
        }
        let size = self.audit.state().position().next;
        if let Some(seen) = self.seen.take_if(|seen| seen.head.size == size) {
            if seen.head == self.audit.head() {
                self.confirmed = Some(size);
            } else if self.expected.is_none() {
                return Err(other_history(&seen.head));
            }
        }
        Ok(())
    }

    /// Which log it is, from the first record on.
    pub fn log(&self) -> Option<&LogIdentity> {
        self.log.as_ref()
    }

    /// The reputations that the records so far come to.
    pub fn reputations(&self) -> &Replay {
        self.audit.reputations()
    }

    /// The log over all records so far.
    pub fn edge(&self) -> &Edge {
        self.audit.edge()
    }

    /// The end: the whole state holds, and the records are what a checkpoint signs, where there is one.
    pub fn finish(self, signed: Option<&TreeHead>) -> Result<Summary, CommandError> {
        let Some(log) = self.log else {
            return Err(CommandError::new(
                ExitCode::ProofFailed,
                "LEDGER_EXPORT_DAMAGED",
                "there are no records",
            )
            .with_hint("write an export with: aitbc ledger export FILE"));
        };
        let checked = self.audit.check_state();
        checked.map_err(|error| failed("LEDGER_RECORD_INVALID", error.to_string()))?;
        let head = self.audit.head();
        if let Some(signed) = signed.filter(|signed| **signed != head) {
            let first = self.confirmed.unwrap_or_default().min(head.size);
            return Err(other_root(&head, signed, &(first..head.size)));
        }
        if signed.is_some() {
            let sealed = self.audit.check_sealed();
            sealed.map_err(|error| failed("LEDGER_RECORD_INVALID", error.to_string()))?;
        }
        let state = self.audit.state();
        let count =
            |is_one: fn(&StateKey) -> bool| state.entries().filter(|(key, _)| is_one(key)).count();
        Ok(Summary {
            log,
            head,
            confirmed: self.confirmed,
            beyond: self.seen.as_ref().map(|seen| seen.head.size),
            seals: state.position().height,
            accounts: count(|key| matches!(key, StateKey::Account(AccountId::Wallet(_)))),
            supply: {
                let issuance = state.account(AccountId::Issuance);
                issuance
                    .debits_posted
                    .saturating_sub(issuance.credits_posted)
            },
            locks: count(|key| matches!(key, StateKey::Lock(_))),
            posted: self.posted,
            fees: self.fees,
            reputations: Recomputed::of(self.audit.reputations()),
            compared: None,
        })
    }

    fn begin(&mut self, home: &Home, leaf: &[u8]) -> Result<(), CommandError> {
        let log = log_of(leaf).expect("a log that holds begins with a genesis file");
        if let Some(expected) = self.expected.filter(|expected| *expected != log) {
            return Err(failed(
                "LEDGER_RECORD_INVALID",
                format!(
                    "record 0 is bad: it is the genesis file of another chain than {}",
                    hash_text(&expected.chain_id)
                ),
            ));
        }
        self.seen = VerifiedLedger::seen(log, home)?;
        self.log = Some(log);
        Ok(())
    }

    /// A record that does not follow from the genesis file is bad, or the genesis file is: the chain id tells which, where
    /// this user knows it.
    fn first_bad(&self, error: &AuditError, home: &Home, leaf: &[u8]) -> CommandError {
        let of_another_chain = Violation::Invalid(InvalidTransaction::Chain);
        let (theirs, in_doubt) = match &error.problem {
            BadRecord::Rule(violation) if *violation == of_another_chain => {
                (chain_of(leaf), !self.has_transactions)
            }
            BadRecord::Rule(Violation::Mint(_)) => (None, !self.has_transactions),
            _ => (None, false),
        };
        let knows =
            |chain: &Hash| VerifiedLedger::known(chain, home).is_ok_and(|log| log.is_some());
        let Some(log) = self.log.filter(|log| in_doubt && !knows(&log.chain_id)) else {
            return failed("LEDGER_RECORD_INVALID", error.to_string());
        };
        let index = error.index;
        let (ours, problem) = (hash_text(&log.chain_id), &error.problem);
        let message = match theirs {
            Some(theirs) if knows(&theirs) => format!(
                "record 0 is bad: it is the genesis file of the chain {ours}, the transaction of record {index} is of {}, which this machine knows",
                hash_text(&theirs)
            ),
            Some(theirs) => format!(
                "record 0 or record {index} is bad: record 0 is the genesis file of the chain {ours}, the transaction of record {index} is of {}; the network's chain id says which",
                hash_text(&theirs)
            ),
            None => format!(
                "record 0 or record {index} is bad ({problem}): record 0 is the genesis file of the chain {ours}; the network's chain id says which"
            ),
        };
        failed("LEDGER_RECORD_INVALID", message)
    }
}

fn chain_of(leaf: &[u8]) -> Option<Hash> {
    match Record::decode(leaf).ok()?.body {
        RecordBody::Transaction(signed) => Some(signed.transaction.chain_id),
        RecordBody::Acknowledgement(acknowledgement, _) => Some(acknowledgement.chain_id),
        RecordBody::Slash(slash) => Some(slash.evidence.subject().0),
        _ => None,
    }
}

fn log_of(leaf: &[u8]) -> Option<LogIdentity> {
    let RecordBody::Genesis(file) = Record::decode(leaf).ok()?.body else {
        return None;
    };
    Some(LogIdentity {
        chain_id: aitbc_common::genesis::chain_id(&file),
        key: PublicKey(Genesis::parse(&file).ok()?.log_key),
    })
}

impl Summary {
    /// `{"chain_id","records",…}`.
    pub fn document(&self, signed: bool, seconds: f64) -> Value {
        json!({
            "chain_id": hash_text(&self.log.chain_id),
            "records": self.head.size,
            "seals": self.seals,
            "accounts": self.accounts,
            "supply_ait": six(self.supply),
            "open_locks": self.locks,
            "paid_ait": six(self.posted),
            "fees_ait": six(self.fees),
            "log_root": hash_text(&self.head.root),
            "checkpoint": if signed { "matches" } else { "not_given" },
            "seen_checkpoint_size": self.confirmed,
            "seen_beyond_size": self.beyond,
            "records_per_second": self.rate(seconds),
            "reputations": self.reputations.document(),
            "reputations_day": self.reputations.day(),
            "reputations_compared": self.compared,
        })
    }

    /// For people.
    pub fn text(&self, signed: bool, seconds: f64) -> String {
        let checkpoint = if signed {
            "✓ exactly what the signed checkpoint says".to_owned()
        } else {
            "no checkpoint to compare it with".to_owned()
        };
        let seen = match (self.confirmed, self.beyond) {
            (Some(size), _) => format!("; it begins with the {size} records seen before"),
            (None, Some(size)) => {
                format!("; you have seen {size} records of this chain before, and these are fewer")
            }
            (None, None) => String::new(),
        };
        format!(
            "Ledger checked: {records} records, each by its rules ({rate} a second)\n  \
             chain       {chain}\n  \
             seals       {seals}, each with the state root that follows\n  \
             accounts    {accounts}\n  \
             supply      {supply} AIT\n  \
             open locks  {locks}\n  \
             paid        {paid} AIT, {fees} AIT of it fees\n  \
             reputations {reputations}\n  \
             log root    {root}\n  \
             {checkpoint}{seen}",
            records = self.head.size,
            rate = self.rate(seconds),
            chain = hash_text(&self.log.chain_id),
            seals = self.seals,
            accounts = self.accounts,
            supply = plain(self.supply),
            locks = self.locks,
            paid = plain(self.posted),
            fees = plain(self.fees),
            reputations = self.reputations.text(self.compared),
            root = hash_text(&self.head.root),
        )
    }

    fn rate(&self, seconds: f64) -> u64 {
        (self.head.size as f64 / seconds.max(0.001)) as u64
    }
}

fn micro(amount: u128) -> MicroAit {
    MicroAit(u64::try_from(amount).unwrap_or(u64::MAX))
}

fn six(amount: u128) -> String {
    micro(amount).six_decimals()
}

fn plain(amount: u128) -> String {
    micro(amount).to_string()
}

fn failed(reason: &str, message: String) -> CommandError {
    CommandError::new(ExitCode::ProofFailed, reason, message)
        .with_hint("keep the records and tell the coordinator's operator and its other users; pay nothing to it")
}

/// The records are not those that the checkpoint signs; one of these is the first that is not.
pub fn other_root(found: &TreeHead, signed: &TreeHead, records: &Range<u64>) -> CommandError {
    let last = records.end.saturating_sub(1);
    let which = if records.start < last {
        format!("one of the records {} to {last}", records.start)
    } else {
        format!("record {last}")
    };
    failed(
        "LEDGER_ROOT_DIFFERS",
        format!(
            "{which} is not the one that was signed: {} records come to the root {}, the checkpoint of {} states {}",
            found.size,
            hash_text(&found.root),
            signed.size,
            hash_text(&signed.root)
        ),
    )
}

fn other_history(seen: &TreeHead) -> CommandError {
    failed(
        "LEDGER_FORK",
        format!(
            "one of the records 0 to {} is not the one that was seen before: the checkpoint of {} records that is kept has another root",
            seen.size.saturating_sub(1),
            seen.size
        ),
    )
}
