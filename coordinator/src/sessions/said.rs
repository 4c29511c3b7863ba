//! What a miner signed of an attempt's output: kept so that it can be held against what it signs later.

use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Assignment, Contradiction, Receipt, SignedStatement};
use aitbc_proto::v1;

/// Statements kept of an attempt: the newest.
const KEPT: usize = 4;

/// The newest statements of an attempt, their signatures verified.
#[derive(Debug, Default)]
pub struct Said(Vec<SignedStatement>);

impl Said {
    /// Keeps a statement whose signature is the miner's.
    pub fn keep(&mut self, statement: SignedStatement) {
        if self.0.contains(&statement) {
            return;
        }
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(statement);
    }

    /// What a new statement contradicts, where the miner signed that too.
    #[must_use]
    pub fn against(&self, miner: PublicKey, statement: &SignedStatement) -> Option<Contradiction> {
        let known = self.0.iter().find(|known| known.contradicts(statement))?;
        let found = Contradiction::between(miner, known.clone(), statement.clone())?;
        statement.verify(&miner).then_some(found)
    }
}

/// The receipt of a delivery, where it parses; its signature is not looked at.
#[must_use]
pub fn signed_receipt(complete: &v1::Complete) -> Option<SignedStatement> {
    let receipt = Receipt::decode(&complete.receipt).ok()?;
    let signature = complete.signature.as_ref().try_into().ok()?;
    Some(SignedStatement::Receipt(Box::new(receipt), signature))
}

/// The receipt of a delivery, where it is one for this assignment; its signature is not looked at.
#[must_use]
pub fn receipt_of(assignment: &Assignment, complete: &v1::Complete) -> Option<SignedStatement> {
    let statement = signed_receipt(complete)?;
    let subject = (
        assignment.chain_id,
        assignment.job_id,
        assignment.job_ref,
        assignment.attempt,
    );
    (statement.subject() == subject).then_some(statement)
}

#[cfg(test)]
mod tests {
    use aitbc_common::hash::sha256;
    use aitbc_common::identity::Identity;
    use aitbc_common::ids::JobId;
    use aitbc_common::layouts::StreamCheckpoint;

    use super::*;

    #[test]
    fn only_what_the_miner_signed_is_held_against_it() {
        let (rig, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let said = |output: &[u8], by: &Identity| {
            let checkpoint = StreamCheckpoint {
                flags: 0,
                attempt: 1,
                chain_id: [1; 32],
                job_id: JobId([2; 16]),
                job_ref: [3; 32],
                offset: output.len() as u64,
                hash: sha256(output),
                tokens_out: 0,
                work_ms: 0,
            };
            let signature = checkpoint.sign(by);
            SignedStatement::Checkpoint(Box::new(checkpoint), signature)
        };
        let mut kept = Said::default();
        kept.keep(said(b"Hello", &rig));
        for honest in [&b"Hello"[..], b"Hello, you"] {
            assert_eq!(kept.against(rig.public(), &said(honest, &rig)), None);
        }
        assert_eq!(kept.against(rig.public(), &said(b"Jello", &other)), None);
        let found = kept.against(rig.public(), &said(b"Jello", &rig)).unwrap();
        assert!(found.is_sound() && found.verify());
        for length in 6..20 {
            kept.keep(said(&[7; 20][..length], &rig));
        }
        assert_eq!(kept.0.len(), KEPT);
    }
}
