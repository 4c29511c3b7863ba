//! Proofs that a record is in the log, as a text that needs no network: the C2SP's `tlog-proof`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{CheckpointError, LogIdentity, MAX_CHECKPOINT_BYTES};
use super::log::{LogProofError, MAX_PROOF_HASHES, TreeHead, leaf_hash, verify_inclusion};
use crate::hash::Hash;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Bytes at most: the hashes, the checkpoint and an `extra` line of somebody else.
const MAX_BYTES: usize = MAX_CHECKPOINT_BYTES + 8 * 1_024;

/// A proof of inclusion with the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The record's place.
    pub index: u64,
    /// From the leaf upwards.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// A text that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Not such a text.
    #[error("it is no tlog-proof: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is not one of the log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not lead from the record to the checkpoint.
    #[error(transparent)]
    Proof(#[from] LogProofError),
}

impl TlogProof {
    /// Its text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text; an `extra` line is passed over.
    ///
    /// # Errors
    ///
    /// [`TlogProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        let malformed = TlogProofError::Malformed;
        if text.len() > MAX_BYTES {
            return Err(malformed("it is too long"));
        }
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(malformed("its checkpoint is missing"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("its first line is another"));
        }
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|digits| {
                digits
                    .parse()
                    .ok()
                    .filter(|n: &u64| n.to_string() == digits)
            })
            .ok_or(malformed("its index is missing"))?;
        let mut hashes = Vec::new();
        for line in lines {
            let hash = STANDARD
                .decode(line)
                .ok()
                .and_then(|bytes| Hash::try_from(bytes).ok())
                .ok_or(malformed("a line is no hash"))?;
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(malformed("it has too many hashes"));
            }
            hashes.push(hash);
        }
        Ok(Self {
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The log that this record is proven to be in.
    ///
    /// # Errors
    ///
    /// It proves nothing about this record of this log.
    pub fn check(&self, record: &[u8], log: &LogIdentity) -> Result<TreeHead, TlogProofError> {
        let head = log.open(&self.checkpoint)?;
        verify_inclusion(&self.hashes, self.index, &leaf_hash(record), &head)?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::ledger::checkpoint::sign;

    /// A log of two records, and the proof of the second.
    fn proof() -> (TlogProof, LogIdentity) {
        let key = Identity::from_seed(&[4; 32]);
        let log = LogIdentity {
            chain_id: [1; 32],
            key: key.public(),
        };
        let first = leaf_hash(b"first");
        let node = [&[1][..], &first, &leaf_hash(b"second")].concat();
        let head = TreeHead {
            size: 2,
            root: crate::hash::sha256(&node),
        };
        let proof = TlogProof {
            index: 1,
            hashes: vec![first],
            checkpoint: sign(&[1; 32], &head, &key),
        };
        (proof, log)
    }

    #[test]
    fn a_proof_as_text_checks_and_another_record_does_not() {
        let (proof, log) = proof();
        let text = proof.to_text();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"));
        let read = TlogProof::parse(&text).unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.check(b"second", &log).unwrap().size, 2);
        let other = read.check(b"third", &log).unwrap_err();
        assert_eq!(other, TlogProofError::Proof(LogProofError::Root));
        let extra = text.replacen("\nindex", "\nextra AAAA\nindex", 1);
        assert_eq!(TlogProof::parse(&extra).unwrap(), proof);
        let stranger = LogIdentity {
            key: Identity::from_seed(&[5; 32]).public(),
            ..log
        };
        assert!(matches!(
            read.check(b"second", &stranger),
            Err(TlogProofError::Checkpoint(CheckpointError::WrongKey(_)))
        ));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let text = proof().0.to_text();
        let long = format!("{text}{}", " ".repeat(MAX_BYTES));
        let many = text.replacen(
            "index 1\n",
            &format!(
                "index 1\n{}",
                format!("{}\n", STANDARD.encode([0; 32])).repeat(63)
            ),
            1,
        );
        for bad in [
            "",
            "c2sp.org/tlog-proof@v1\nindex 1",
            &text.replace("@v1", "@v2"),
            &text.replace("index 1", "index 01"),
            &text.replace("index 1", "index -1"),
            &text.replace("index 1\n", "index 1\nAAAA\n"),
            &long,
            &many,
        ] {
            let refused = TlogProof::parse(bad).unwrap_err();
            assert!(matches!(refused, TlogProofError::Malformed(_)), "{bad}");
        }
    }
}
