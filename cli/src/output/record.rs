//! Records of the ledger, decoded: as JSON and as text.

mod transaction;

use aitbc_common::genesis;
use aitbc_common::hash::{Hash, hash_text};
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    ExpireReason, FaultEntry, FaultReason, MintReason, Outcome, Post, Record, RecordBody,
    SignedStatement, Slash, Verdict, VoidReason,
};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::ledger::ProvenRecord;
use aitbc_common::runtime::status::words;
use aitbc_common::runtime::terminal::rfc3339_ms;
use serde_json::{Map, Value, json};

use super::json::{ait, seconds_of_ms, text_of};

/// What a record says, in the order in which it is shown.
type Fields = Vec<(&'static str, Value)>;

/// A record that is in the ledger.
pub fn record_json(proven: &ProvenRecord) -> Value {
    let mut document = decoded_json(&proven.record);
    document["proof"] = proof_json(proven.record.index, &proven.head);
    document
}

/// A record: `{"index","time","type",…}`.
pub fn decoded_json(record: &Record) -> Value {
    let head = [
        ("index", Value::from(record.index)),
        ("time", Value::from(rfc3339_ms(record.time_ms))),
        ("type", Value::from(type_name(&record.body))),
    ];
    let all = head.into_iter().chain(fields(&record.body));
    let map: Map<String, Value> = all.map(|(name, value)| (name.to_owned(), value)).collect();
    Value::Object(map)
}

/// That a leaf was proven to be in the log.
pub fn proof_json(index: u64, head: &TreeHead) -> Value {
    json!({"leaf": index, "tree_size": head.size, "inclusion": "valid"})
}

/// A record: a headline, then a line for each value.
pub fn record_text(record: &Record) -> String {
    let fields = fields(&record.body);
    let shown: Vec<(String, String)> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| labelled(name, value))
        .collect();
    let width = shown.iter().map(|(label, _)| label.len()).max();
    let mut text = format!(
        "record {}, {}  {}",
        record.index,
        type_name(&record.body),
        rfc3339_ms(record.time_ms)
    );
    for (label, value) in shown {
        text.push_str(&format!(
            "\n  {label:width$}  {value}",
            width = width.unwrap_or_default()
        ));
    }
    text
}

/// The line that says that it was proven.
pub fn proof_line(index: u64, head: &TreeHead) -> String {
    format!("✓ in the ledger: leaf {index}, checkpoint of {}", head.size)
}

/// Units stand with the value for people, in the name for programs.
fn labelled(name: &str, value: &Value) -> (String, String) {
    let (name, unit) = match (name.strip_suffix("_ait"), name.strip_suffix("_seconds")) {
        (Some(name), _) => (name, " AIT"),
        (_, Some(name)) => (name, " s"),
        _ => (name, ""),
    };
    let value = match (value, unit) {
        (Value::String(amount), " AIT") => amount
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        _ => text_of(value),
    };
    (words(name), format!("{value}{unit}"))
}

fn type_name(body: &RecordBody) -> &'static str {
    match body {
        RecordBody::Genesis(_) => "genesis",
        RecordBody::Transaction(_) => "tx",
        RecordBody::Post(_) => "post",
        RecordBody::Void { .. } => "void",
        RecordBody::Expire { .. } => "expire",
        RecordBody::Fault(_) => "outcome",
        RecordBody::Receipt(_) => "receipt",
        RecordBody::Mint { .. } => "mint",
        RecordBody::Slash(_) => "slash",
        RecordBody::Acknowledgement(..) => "ack",
        RecordBody::Seal(_) => "seal",
        RecordBody::AuditCommit { .. } => "audit_commit",
        RecordBody::AuditReveal { .. } => "audit_reveal",
    }
}

fn fields(body: &RecordBody) -> Fields {
    match body {
        RecordBody::Genesis(file) => vec![
            ("chain_id", hash_text(&genesis::chain_id(file)).into()),
            ("genesis", serde_json::from_slice(file).unwrap_or_default()),
        ],
        RecordBody::Transaction(signed) => transaction::fields(signed),
        RecordBody::Post(post) => post_fields(post),
        RecordBody::Void { lock, reason } => {
            vec![("lock", tx(lock)), ("reason", void_name(*reason).into())]
        }
        RecordBody::Expire { lock, reason } => {
            let (of, reason) = match reason {
                ExpireReason::Lock => ("lock", "lock_expired"),
                ExpireReason::Unstaked => ("unstake", "unstaked"),
                ExpireReason::Forfeited => ("unstake", "slashed"),
            };
            vec![(of, tx(lock)), ("reason", reason.into())]
        }
        RecordBody::Fault(fault) => fault_fields(fault),
        RecordBody::Receipt(entry) => vec![
            ("job_ref", hash_text(&entry.job_ref).into()),
            ("attempt", entry.attempt.into()),
            ("miner_key", entry.miner.to_string().into()),
            ("receipt_id", hash_text(&entry.receipt_id).into()),
        ],
        RecordBody::Mint {
            account,
            amount,
            reason,
        } => {
            let reason = match reason {
                MintReason::Genesis => "genesis",
                MintReason::Faucet => "faucet",
            };
            vec![
                ("account", account.to_string().into()),
                ("amount_ait", ait(*amount)),
                ("reason", reason.into()),
            ]
        }
        RecordBody::Slash(slash) => slash_fields(slash),
        RecordBody::Acknowledgement(ack, signature) => {
            let verdict = match ack.verdict {
                Verdict::Matches => "matches",
                Verdict::Disputed => "disputed",
            };
            vec![
                ("receipt_id", hash_text(&ack.receipt_id).into()),
                ("verdict", verdict.into()),
                ("owner", ack.owner.to_string().into()),
                ("signed_at", rfc3339_ms(ack.time_ms).into()),
                ("signature", hex_text(signature)),
            ]
        }
        RecordBody::Seal(seal) => vec![
            ("height", seal.height.into()),
            ("first", seal.first.into()),
            ("count", seal.count.into()),
            ("state_root", hash_text(&seal.state_root).into()),
            ("minted_ait", counter(seal.minted)),
            ("burned_ait", counter(seal.burned)),
        ],
        RecordBody::AuditCommit { day, commitment } => vec![
            ("day", (*day).into()),
            ("commitment", hash_text(commitment).into()),
        ],
        RecordBody::AuditReveal { day, seed } => {
            vec![("day", (*day).into()), ("seed", hash_text(seed).into())]
        }
    }
}

fn post_fields(post: &Post) -> Fields {
    let outcome = match post.outcome {
        Outcome::Complete => "complete",
        Outcome::Budget => "budget",
        Outcome::Cancelled => "cancelled",
        Outcome::Deadline => "deadline",
        Outcome::Rental => "rental",
        Outcome::RentalEnd => "rental_end",
    };
    vec![
        ("lock", tx(&post.lock)),
        ("job_ref", hash_text(&post.job_ref).into()),
        ("attempt", post.attempt.into()),
        ("outcome", outcome.into()),
        ("miner_key", post.miner.to_string().into()),
        ("payee", post.payee.to_string().into()),
        ("evidence_id", hash_text(&post.evidence_id).into()),
        ("gpu", unless_zero(&post.gpu, hash_text)),
        ("price_per_hour_ait", ait(post.rate)),
        ("observed_seconds", seconds_of_ms(post.observed_ms)),
        ("work_seconds", seconds_of_ms(post.work_ms)),
        ("billed_seconds", seconds_of_ms(post.billed_ms)),
        ("posted_ait", ait(post.posted)),
        ("fee_ait", ait(post.fee)),
    ]
}

fn fault_fields(fault: &FaultEntry) -> Fields {
    let reason = match fault.reason {
        FaultReason::Lost => "lost",
        FaultReason::Failed => "failed",
        FaultReason::Invalid => "invalid_result",
        FaultReason::Wrong => "found_wrong",
    };
    let of = match fault.reason {
        FaultReason::Wrong => ("evidence", hash_text(&fault.lock).into()),
        _ => ("lock", tx(&fault.lock)),
    };
    vec![
        ("job_ref", hash_text(&fault.job_ref).into()),
        ("attempt", fault.attempt.into()),
        ("miner_key", fault.miner.to_string().into()),
        ("client", fault.client.to_string().into()),
        ("reason", reason.into()),
        ("weight_ait", ait(fault.weight)),
        of,
    ]
}

/// A headline for each statement: what the miner said of how many bytes.
fn slash_fields(slash: &Slash) -> Fields {
    let evidence = &slash.evidence;
    let (_, job_ref, attempt) = evidence.subject();
    let said = |statement: &SignedStatement| {
        let kind = match statement {
            SignedStatement::Checkpoint(..) => "stream checkpoint",
            SignedStatement::Receipt(..) => "receipt",
        };
        let (_, hash) = statement.claim();
        Value::from(format!("{kind}: {}", hash_text(&hash)))
    };
    vec![
        ("miner_key", evidence.miner.to_string().into()),
        ("burned_ait", ait(slash.amount)),
        ("job_ref", hash_text(&job_ref).into()),
        ("attempt", attempt.into()),
        ("output_bytes", evidence.first.claim().0.into()),
        ("signed", said(&evidence.first)),
        ("also_signed", said(&evidence.second)),
    ]
}

/// Why a lock returned whole, for people.
pub fn void_text(reason: VoidReason) -> &'static str {
    match reason {
        VoidReason::UnknownJob => "no such job waits or runs",
        VoidReason::Finished => "the job is finished and takes no payment",
        VoidReason::WrongTarget => "not for this job, or its specification is paid as another one",
        VoidReason::TooManyLocks => {
            "the job has its 16 locks, or the last 4 are kept for its owner"
        }
        VoidReason::Failed => "the job failed",
        VoidReason::Cancelled => "the job was cancelled",
        VoidReason::Deadline => "the job's deadline passed",
        VoidReason::Terms => "its terms allow no such rate, fee or miner",
        VoidReason::TooSmall => "it is too small for the job",
        VoidReason::NotAvailable => "the listing cannot be rented now, or not at this price",
    }
}

/// Why a lock returned: `job_failed`.
pub fn void_name(reason: VoidReason) -> &'static str {
    match reason {
        VoidReason::UnknownJob => "unknown_job",
        VoidReason::Finished => "job_finished",
        VoidReason::WrongTarget => "wrong_target",
        VoidReason::TooManyLocks => "too_many_locks",
        VoidReason::Failed => "job_failed",
        VoidReason::Cancelled => "job_cancelled",
        VoidReason::Deadline => "deadline_passed",
        VoidReason::Terms => "terms",
        VoidReason::TooSmall => "too_small",
        VoidReason::NotAvailable => "not_available",
    }
}

/// Counters are below 2^63 in every valid log; more is shown as what it is.
fn counter(micro: u128) -> Value {
    u64::try_from(micro).map_or_else(
        |_| Value::from(format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)),
        ait,
    )
}

fn tx(id: &Hash) -> Value {
    hex_text(id)
}

fn hex_text(bytes: &[u8]) -> Value {
    Value::from(format!("0x{}", hex::encode(bytes)))
}

fn unless_zero(hash: &Hash, text: impl Fn(&Hash) -> String) -> Value {
    if *hash == Hash::default() {
        Value::Null
    } else {
        Value::from(text(hash))
    }
}

fn key_unless_zero(key: &PublicKey) -> Value {
    unless_zero(&key.0, |key| PublicKey(*key).to_string())
}

/// An amount for people: `10 AIT`.
pub fn amount(micro: u64) -> String {
    format!("{} AIT", MicroAit(micro))
}
