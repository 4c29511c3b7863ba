//! An audit of records from wherever, and what it comes to.

use aitbc_common::genesis::Genesis;
use aitbc_common::hash::hash_text;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_common::ledger::audit::{Audit, AuditError};
use aitbc_common::ledger::checkpoint::LogIdentity;
use aitbc_common::ledger::entry::{AccountId, StateKey};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::Home;
use aitbc_common::runtime::ledger::{Checkpoint, VerifiedLedger};
use serde_json::{Value, json};

/// The type byte of a POST.
const POST: u8 = 3;

/// An audit under way. Memory grows with the state, not with the log.
#[derive(Debug, Default)]
pub struct Auditor {
    audit: Audit,
    log: Option<LogIdentity>,
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
    seals: u64,
    accounts: usize,
    supply: u128,
    locks: usize,
    posted: u128,
    fees: u128,
}

impl Auditor {
    /// Takes the next record. The first says which log it is.
    pub fn record(&mut self, home: &Home, leaf: &[u8]) -> Result<(), CommandError> {
        self.audit.record(leaf).map_err(|error| bad(&error))?;
        if self.log.is_none() {
            self.begin(home, leaf)?;
        }
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
            if seen.head != self.audit.head() {
                return Err(other_history(&seen.head));
            }
            self.confirmed = Some(size);
        }
        Ok(())
    }

    /// Which log it is, from the first record on.
    pub fn log(&self) -> Option<&LogIdentity> {
        self.log.as_ref()
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
        self.audit.check_state().map_err(|error| bad(&error))?;
        let head = self.audit.head();
        if let Some(signed) = signed.filter(|signed| **signed != head) {
            return Err(other_root(&head, signed));
        }
        let state = self.audit.state();
        let count =
            |is_one: fn(&StateKey) -> bool| state.entries().filter(|(key, _)| is_one(key)).count();
        Ok(Summary {
            log,
            head,
            confirmed: self.confirmed,
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
        })
    }

    fn begin(&mut self, home: &Home, leaf: &[u8]) -> Result<(), CommandError> {
        let log = log_of(leaf).expect("a log that holds begins with a genesis file");
        self.seen = VerifiedLedger::seen(log, home)?;
        self.log = Some(log);
        Ok(())
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
            "records_per_second": self.rate(seconds),
        })
    }

    /// For people.
    pub fn text(&self, signed: bool, seconds: f64) -> String {
        let checkpoint = if signed {
            "✓ exactly what the signed checkpoint says".to_owned()
        } else {
            "no checkpoint to compare it with".to_owned()
        };
        let seen = match self.confirmed {
            Some(size) => format!("; it begins with the {size} records seen before"),
            None => String::new(),
        };
        format!(
            "Ledger checked: {records} records, each by its rules ({rate} a second)\n  \
             chain       {chain}\n  \
             seals       {seals}, each with the state root that follows\n  \
             accounts    {accounts}\n  \
             supply      {supply} AIT\n  \
             open locks  {locks}\n  \
             paid        {paid} AIT, {fees} AIT of it fees\n  \
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

fn bad(error: &AuditError) -> CommandError {
    failed("LEDGER_RECORD_INVALID", error.to_string())
}

/// The records are not those that the checkpoint signs.
pub fn other_root(found: &TreeHead, signed: &TreeHead) -> CommandError {
    failed(
        "LEDGER_ROOT_DIFFERS",
        format!(
            "one of the records 0 to {} is not the one that was signed: {} records come to the root {}, the checkpoint of {} states {}",
            found.size.saturating_sub(1),
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
            "the first {} records are not those that this coordinator showed before: a checkpoint of them has another root",
            seen.size
        ),
    )
}
