//! Two signed statements of one miner that cannot both be true: what a SLASH record rests on.

use super::{Fields, LayoutError, Receipt, StreamCheckpoint};
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::ids::JobId;

/// What a miner signed of an attempt's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedStatement {
    /// Kind 1.
    Checkpoint(Box<StreamCheckpoint>, [u8; 64]),
    /// Kind 2.
    Receipt(Box<Receipt>, [u8; 64]),
}

impl SignedStatement {
    /// kind u8 ‖ layout ‖ signature 64.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Checkpoint(checkpoint, signature) => {
                [&[1], &checkpoint.encode()[..], signature].concat()
            }
            Self::Receipt(receipt, signature) => [&[2], &receipt.encode()[..], signature].concat(),
        }
    }

    /// Reads the first statement of these bytes; the rest of them.
    fn take(bytes: &[u8]) -> Result<(Self, &[u8]), LayoutError> {
        let layout = "signed statement";
        let kind = bytes.first().copied().unwrap_or_default();
        let len = match kind {
            1 => StreamCheckpoint::LEN,
            2 => Receipt::LEN,
            other => {
                return Err(LayoutError::Value {
                    layout,
                    field: "kind",
                    value: u64::from(other),
                });
            }
        };
        let wanted = 1 + len + 64;
        let (own, rest) = bytes.split_at_checked(wanted).ok_or(LayoutError::Length {
            layout,
            given: bytes.len(),
            wanted,
        })?;
        let (body, signature) = own[1..].split_at(len);
        let signature = Fields::new(layout, signature, 64)?.take();
        let statement = if kind == 1 {
            Self::Checkpoint(Box::new(StreamCheckpoint::decode(body)?), signature)
        } else {
            Self::Receipt(Box::new(Receipt::decode(body)?), signature)
        };
        Ok((statement, rest))
    }

    /// Whether the signature is this miner's.
    #[must_use]
    pub fn verify(&self, miner: &PublicKey) -> bool {
        match self {
            Self::Checkpoint(checkpoint, signature) => checkpoint.verify(miner, signature),
            Self::Receipt(receipt, signature) => {
                receipt.miner_key == *miner && receipt.verify(miner, signature)
            }
        }
    }

    /// What it is about: chain, job, specification, attempt.
    #[must_use]
    pub fn subject(&self) -> (Hash, JobId, Hash, u16) {
        match self {
            Self::Checkpoint(c, _) => (c.chain_id, c.job_id, c.job_ref, c.attempt),
            Self::Receipt(r, _) => (r.chain_id, r.job_id, r.job_ref, r.attempt),
        }
    }

    /// Bytes of output, and the hash that it gives them.
    #[must_use]
    pub fn claim(&self) -> (u64, Hash) {
        match self {
            Self::Checkpoint(c, _) => (c.offset, c.hash),
            Self::Receipt(r, _) => (r.output_len, r.output_hash),
        }
    }

    /// Whether both are about the same bytes and give them different hashes.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let ((at, hash), (other_at, other_hash)) = (self.claim(), other.claim());
        self.subject() == other.subject() && at == other_at && hash != other_hash
    }
}

/// Two statements of one miner that give the same bytes different hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Who signed both.
    pub miner: PublicKey,
    /// The statement whose bytes come first.
    pub first: SignedStatement,
    /// The other.
    pub second: SignedStatement,
}

impl Contradiction {
    /// The contradiction between two statements of a miner, in either order, where there is one. Signatures are not looked at.
    #[must_use]
    pub fn between(miner: PublicKey, one: SignedStatement, other: SignedStatement) -> Option<Self> {
        let turned = one.encode() > other.encode();
        let (first, second) = if turned { (other, one) } else { (one, other) };
        first.contradicts(&second).then_some(Self {
            miner,
            first,
            second,
        })
    }

    /// Whether the statements contradict each other and stand in their order.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.first.encode() < self.second.encode() && self.first.contradicts(&self.second)
    }

    /// Whether the miner signed both.
    #[must_use]
    pub fn verify(&self) -> bool {
        self.first.verify(&self.miner) && self.second.verify(&self.miner)
    }

    /// Chain, specification and attempt: one contradiction for each is slashed.
    #[must_use]
    pub fn subject(&self) -> (Hash, Hash, u16) {
        let (chain_id, _, job_ref, attempt) = self.first.subject();
        (chain_id, job_ref, attempt)
    }

    /// Both statements, one after the other.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.first.encode(), self.second.encode()].concat()
    }

    /// Reads the bytes of both.
    ///
    /// # Errors
    /// Bytes that are not two statements.
    pub fn decode(miner: PublicKey, bytes: &[u8]) -> Result<Self, LayoutError> {
        let (first, rest) = SignedStatement::take(bytes)?;
        let (second, rest) = SignedStatement::take(rest)?;
        Fields::new("end of a contradiction", rest, 0)?;
        Ok(Self {
            miner,
            first,
            second,
        })
    }
}

/// Body of a SLASH record: miner 32, amount u64, both statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slash {
    /// Micro-AIT burned: all that was staked.
    pub amount: u64,
    /// Why.
    pub evidence: Contradiction,
}

impl Slash {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.evidence.miner.0);
        out.extend(self.amount.to_be_bytes());
        out.extend(self.evidence.encode());
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, LayoutError> {
        let layout = "slash record";
        let (head, statements) = body.split_at_checked(40).ok_or(LayoutError::Length {
            layout,
            given: body.len(),
            wanted: 40,
        })?;
        let mut fields = Fields::new(layout, head, 40)?;
        let (miner, amount) = (PublicKey(fields.take()), fields.u64());
        Ok(Self {
            amount,
            evidence: Contradiction::decode(miner, statements)?,
        })
    }
}
