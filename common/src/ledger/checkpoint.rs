//! Checkpoints: a log's size and root, signed by its key, in the formats of the C2SP (`tlog-checkpoint`, `signed-note`), and
//! what a client decides when it is shown a new one.

#[cfg(test)]
mod tests;

use signed_note::{Note, NoteError, Signature, VerificationError, Verifier, Verifiers};

use super::log::{EMPTY_ROOT, LogProofError, MAX_SIZE, TreeHead, verify_consistency};
use crate::hash::Hash;
use crate::identity::{Identity, PublicKey};

/// Bytes of a checkpoint at most, with the signatures of others.
pub const MAX_CHECKPOINT_BYTES: usize = 4 << 10;

/// The algorithm of a note's key: Ed25519.
const ED25519: u8 = 1;

/// Which log a checkpoint must be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogIdentity {
    /// The chain; it gives the first line of every checkpoint.
    pub chain_id: Hash,
    /// The log's key.
    pub key: PublicKey,
}

/// A text that is no checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Over [`MAX_CHECKPOINT_BYTES`].
    #[error("a checkpoint has at most {max} bytes, this one {0}", max = MAX_CHECKPOINT_BYTES)]
    Length(usize),
    /// Not a signed note of exactly an origin, a size and a root, or of a size that no log has.
    #[error("not a checkpoint of a log")]
    Malformed,
    /// Another log's: it begins with another origin.
    #[error("the checkpoint is of the log {found:?} instead of {wanted:?}")]
    WrongChain {
        /// Its origin.
        found: String,
        /// The origin of the log.
        wanted: String,
    },
    /// The log's key did not sign it, whoever else did.
    #[error("the checkpoint is not signed by the log's key {0}")]
    WrongKey(PublicKey),
    /// It names the log's key, with a signature that is not of it.
    #[error("the checkpoint's signature by the log's key {0} is wrong")]
    BadSignature(PublicKey),
}

/// What a checkpoint is to a client that has seen another of the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// The same size and root.
    Same,
    /// A later one that begins with everything seen before: to be kept in place of the older one.
    Newer(TreeHead),
}

/// Why a client must not go on with a log. All but [`Violation::Checkpoint`] show what the log's own key has signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No checkpoint of this log: it says nothing about the log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Records that were seen are no longer in it.
    #[error("the log went back from {} records to {}", pinned.size, new.size)]
    Rollback {
        /// The newest seen.
        pinned: TreeHead,
        /// The one shown now.
        new: TreeHead,
    },
    /// Other records than those seen.
    #[error("the log forked: two roots of {} records", new.size)]
    Fork {
        /// The newest seen.
        pinned: TreeHead,
        /// The one shown now.
        new: TreeHead,
    },
    /// Larger, but not shown to begin with what was seen; with another proof it may yet be.
    #[error("the log of {} records is not proven to contain the {} that were seen: {problem}", new.size, pinned.size)]
    Inconsistent {
        /// The newest seen.
        pinned: TreeHead,
        /// The one shown now.
        new: TreeHead,
        /// What is wrong with the proof.
        problem: LogProofError,
    },
}

impl LogIdentity {
    /// The first line of its checkpoints, which is also the name of its key: `aitbc/` and the chain id in hexadecimal.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("aitbc/{}", hex::encode(self.chain_id))
    }

    /// The size and root that a checkpoint states, once the log's own key has signed it. Signatures of others are ignored.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`].
    pub fn open(&self, checkpoint: &str) -> Result<TreeHead, CheckpointError> {
        if checkpoint.len() > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::Length(checkpoint.len()));
        }
        let note =
            Note::from_bytes(checkpoint.as_bytes()).map_err(|_| CheckpointError::Malformed)?;
        let text = tlog_tiles::Checkpoint::from_bytes(note.text())
            .ok()
            .filter(|text| text.extension().is_empty() && text.to_bytes() == note.text())
            .ok_or(CheckpointError::Malformed)?;
        let origin = self.origin();
        if text.origin() != origin {
            return Err(CheckpointError::WrongChain {
                found: text.origin().to_owned(),
                wanted: origin,
            });
        }
        note.verify(&LogVerifier::new(self))
            .map_err(|error| match error {
                NoteError::InvalidSignature { .. } => CheckpointError::BadSignature(self.key),
                _ => CheckpointError::WrongKey(self.key),
            })?;
        let head = TreeHead {
            size: text.size(),
            root: text.hash().0,
        };
        if head.size > MAX_SIZE || (head.size == 0) != (head.root == EMPTY_ROOT) {
            return Err(CheckpointError::Malformed);
        }
        Ok(head)
    }

    /// What a new checkpoint is to a client whose newest one had this size and root, by the proof that the new log begins
    /// with the old one (empty where the sizes are equal, or the old one is 0).
    ///
    /// # Errors
    ///
    /// [`Violation`]; the client keeps what it has, and both checkpoints as evidence where the log's key signed both.
    pub fn advance(
        &self,
        pinned: &TreeHead,
        checkpoint: &str,
        proof: &[Hash],
    ) -> Result<Advance, Violation> {
        let (pinned, new) = (*pinned, self.open(checkpoint)?);
        if new.size < pinned.size {
            return Err(Violation::Rollback { pinned, new });
        }
        if new.size == pinned.size {
            return if new.root == pinned.root {
                Ok(Advance::Same)
            } else {
                Err(Violation::Fork { pinned, new })
            };
        }
        match verify_consistency(proof, &pinned, &new) {
            Ok(()) => Ok(Advance::Newer(new)),
            Err(problem) => Err(Violation::Inconsistent {
                pinned,
                new,
                problem,
            }),
        }
    }
}

/// The checkpoint of a log at a size, signed by its key. The same key, chain, size and root always give the same text.
#[must_use]
pub fn sign(chain_id: &Hash, head: &TreeHead, key: &Identity) -> String {
    let log = LogIdentity {
        chain_id: *chain_id,
        key: key.public(),
    };
    let origin = log.origin();
    let root = tlog_tiles::Hash(head.root);
    let text = tlog_tiles::Checkpoint::new(&origin, head.size, root, "")
        .expect("the origin is not empty and there are no other lines")
        .to_bytes();
    let signature = Signature::new(origin, LogVerifier::new(&log).id, key.sign(&text).to_vec())
        .expect("the origin has neither spaces nor a plus");
    let note = Note::new(&text, &[signature]).expect("three lines of ASCII");
    String::from_utf8(note.to_bytes()).expect("a note is UTF-8")
}

/// The one key whose signature counts.
struct LogVerifier {
    name: String,
    id: u32,
    key: PublicKey,
}

impl LogVerifier {
    fn new(log: &LogIdentity) -> Self {
        let name = log.origin();
        let id = signed_note::key_id(&name, &[&[ED25519][..], &log.key.0].concat());
        Self {
            name,
            id,
            key: log.key,
        }
    }
}

impl Verifier for LogVerifier {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    // Strict, as everywhere else; the library's own verifier is not.
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify(message, signature)
    }
}

impl Verifiers for LogVerifier {
    fn verifier(&self, name: &str, id: u32) -> Result<&dyn Verifier, VerificationError> {
        if name == self.name && id == self.id {
            Ok(self)
        } else {
            let name = name.to_owned();
            Err(VerificationError::UnknownKey { name, id })
        }
    }
}
