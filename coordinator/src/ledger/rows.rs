//! What the ledger's tables hold. Tags are frozen; removed ones are never used again.

use bytes::Bytes;
use prost::Message;

/// The ledger's own row, written with every batch.
#[derive(Clone, PartialEq, Message)]
pub struct LedgerRow {
    /// Index of the next record.
    #[prost(uint64, tag = "1")]
    pub next: u64,
    /// Time of the newest record: Unix ms.
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    /// Seals so far.
    #[prost(uint64, tag = "3")]
    pub height: u64,
    /// Index of the first record after the newest seal.
    #[prost(uint64, tag = "4")]
    pub first_unsealed: u64,
    /// Root of the log over all records.
    #[prost(bytes = "bytes", tag = "5")]
    pub root: Bytes,
    /// Root of the state at the newest seal.
    #[prost(bytes = "bytes", tag = "6")]
    pub state_root: Bytes,
    /// Number of the last order applied.
    #[prost(uint64, tag = "7")]
    pub applied_orders: u64,
    /// Number of the newest notice.
    #[prost(uint64, tag = "8")]
    pub last_notice: u64,
    /// Root of the log at the newest seal, where no checkpoint of it is stored yet.
    #[prost(bytes = "bytes", tag = "9")]
    pub unsigned_root: Bytes,
    /// What the records come to.
    #[prost(message, optional, tag = "10")]
    pub counted: Option<CountedRow>,
}

/// Counts of records.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CountedRow {
    /// Transactions.
    #[prost(uint64, tag = "1")]
    pub transactions: u64,
    /// Locks among them.
    #[prost(uint64, tag = "2")]
    pub locks: u64,
    /// Records that resolve a lock.
    #[prost(uint64, tag = "3")]
    pub resolved: u64,
    /// Fees of all payments, in micro-AIT.
    #[prost(uint64, tag = "4")]
    pub fees: u64,
}

/// Where a transaction is, and what resolved it.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TransactionRow {
    /// Index of its record.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Index of the record that resolved it, where it is a lock or an unstaking.
    #[prost(uint64, optional, tag = "2")]
    pub resolution: Option<u64>,
    /// Ledger time of its record.
    #[prost(uint64, tag = "3")]
    pub time_ms: u64,
}

/// The newest signed checkpoint.
#[derive(Clone, PartialEq, Message)]
pub struct CheckpointRow {
    /// Its text.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Records that it covers; the last is a seal.
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

/// Keys of the state that changed in one batch.
#[derive(Clone, PartialEq, Message)]
pub struct UnsealedRow {
    /// type ‖ id of each.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
    /// When the first record since the newest seal was written: Unix ms.
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
}

/// What an address had from the faucet.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct FaucetRow {
    /// Micro-AIT.
    #[prost(uint64, tag = "1")]
    pub given: u64,
}

/// A record as it is stored: number of hashes u8 ‖ hashes, 32 bytes each ‖ leaf.
#[must_use]
pub fn stored_record(hashes: &[u8], leaf: &[u8]) -> Vec<u8> {
    let count = u8::try_from(hashes.len() / 32).expect("a record completes at most 63 subtrees");
    [&[count], hashes, leaf].concat()
}

/// Hashes and leaf of a stored record.
#[must_use]
pub fn split_record(stored: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = stored.split_first()?;
    rest.split_at_checked(32 * usize::from(*count))
}
