//! Byte layouts of everything that is signed or hashed. Big-endian, fixed sizes, a version byte first; decoding and
//! encoding again gives the same bytes. Test vectors for other languages: `proto/vectors/`.

mod acknowledgement;
mod assignment;
mod checkpoint;
mod contradiction;
mod fault;
mod payload;
mod receipt;
mod record;
mod session_proof;
mod spec;
mod transaction;

pub use acknowledgement::{Acknowledgement, Verdict};
pub use assignment::{Assignment, NO_BUDGET, locks_hash};
pub use checkpoint::StreamCheckpoint;
pub use contradiction::{Contradiction, SignedStatement, Slash};
pub use fault::{FaultEntry, FaultReason};
pub use payload::{AllowTerms, BindConsent, LockPurpose, LockTerms, rental_ref};
pub use receipt::{MANUAL_ENGINE, Outcome, Receipt};
pub use record::{
    ExpireReason, MAX_GENESIS, MintReason, Post, ReceiptEntry, Record, RecordBody, Seal, VoidReason,
};
pub use session_proof::SessionProof;
pub use spec::{AUDIT_ALLOWED, JobSpec, NO_MAX_RATE, Requirements};
pub use transaction::{
    InvalidTransaction, MAX_PAYLOAD, SignMode, SignedTransaction, Transaction, TransactionKind,
    address_target, target_address,
};

/// Bytes that are not the layout they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Too short or too long.
    #[error("{layout} has {given} bytes instead of {wanted}")]
    Length {
        /// Which layout.
        layout: &'static str,
        /// Bytes given.
        given: usize,
        /// Bytes that it has.
        wanted: usize,
    },
    /// A field with a value that is not defined.
    #[error("{layout}: {field} has the undefined value {value}")]
    Value {
        /// Which layout.
        layout: &'static str,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// Reads fields of fixed size from the front; the length was checked before.
pub(crate) struct Fields<'a> {
    layout: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(
        layout: &'static str,
        bytes: &'a [u8],
        wanted: usize,
    ) -> Result<Self, LayoutError> {
        if bytes.len() != wanted {
            return Err(LayoutError::Length {
                layout,
                given: bytes.len(),
                wanted,
            });
        }
        Ok(Self {
            layout,
            rest: bytes,
        })
    }

    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .expect("the length was checked");
        self.rest = rest;
        *field
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    pub(crate) fn u128(&mut self) -> u128 {
        u128::from_be_bytes(self.take())
    }

    /// The version byte, which must be 1.
    pub(crate) fn version(&mut self) -> Result<(), LayoutError> {
        let version = self.u8();
        self.check(version == 1, "version", u64::from(version))
    }

    pub(crate) fn check(
        &self,
        defined: bool,
        field: &'static str,
        value: u64,
    ) -> Result<(), LayoutError> {
        if defined {
            Ok(())
        } else {
            Err(self.undefined(field, value))
        }
    }

    pub(crate) fn undefined(&self, field: &'static str, value: u64) -> LayoutError {
        LayoutError::Value {
            layout: self.layout,
            field,
            value,
        }
    }
}
