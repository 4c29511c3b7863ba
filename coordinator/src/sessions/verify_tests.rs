//! Checkpoints with real signatures: which of them are held against their miner.

use std::sync::Arc;

use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::StreamCheckpoint;
use aitbc_proto::v1;

use super::delivery_tests::{facts, miner};
use super::streams::AttemptStream;
use super::verify::check_checkpoint;
use crate::engine::command::Command;

/// A checkpoint of the stream's attempt after these bytes, after `change` had its way.
fn checkpoint(
    stream: &AttemptStream,
    output: &[u8],
    signer: &Identity,
    change: impl Fn(&mut StreamCheckpoint),
) -> v1::Checkpoint {
    let assignment = &stream.facts.assignment;
    let mut layout = StreamCheckpoint {
        flags: 0,
        attempt: assignment.attempt,
        chain_id: assignment.chain_id,
        job_id: assignment.job_id,
        job_ref: assignment.job_ref,
        offset: output.len() as u64,
        hash: sha256(output),
        tokens_out: 1,
        work_ms: 1,
    };
    change(&mut layout);
    v1::Checkpoint {
        job_id: assignment.job_id.to_string(),
        attempt: assignment.attempt.into(),
        checkpoint: layout.encode().into(),
        signature: layout.sign(signer).to_vec().into(),
    }
}

fn said_hello() -> Arc<AttemptStream> {
    let stream = Arc::new(AttemptStream::new(facts()));
    let honest = checkpoint(&stream, b"Hello", &miner(), |_| ());
    assert!(!is_contradiction(check_checkpoint(&stream, &honest)));
    stream
}

fn is_contradiction(command: Option<Command>) -> bool {
    matches!(command, Some(Command::Contradicted { .. }))
}

#[test]
fn two_outputs_that_the_miner_signed_are_a_contradiction_that_verifies() {
    let stream = said_hello();
    let lie = checkpoint(&stream, b"Jello", &miner(), |_| ());
    let Some(Command::Contradicted { attempt, evidence }) = check_checkpoint(&stream, &lie) else {
        panic!("a contradiction")
    };
    assert_eq!(attempt, stream.facts.attempt);
    assert!(evidence.verify() && evidence.is_sound());
    assert_eq!(evidence.miner, miner().public());
}

#[test]
fn what_somebody_else_signed_or_nobody_is_no_contradiction() {
    let stream = said_hello();
    let stranger = Identity::from_seed(&[66; 32]);
    let theirs = checkpoint(&stream, b"Jello", &stranger, |_| ());
    assert!(!is_contradiction(check_checkpoint(&stream, &theirs)));
    let signed = checkpoint(&stream, b"Jello", &miner(), |_| ());
    for byte in 0..64 {
        let mut damaged = signed.clone();
        let mut signature = damaged.signature.to_vec();
        signature[byte] ^= 1;
        damaged.signature = signature.into();
        assert!(!is_contradiction(check_checkpoint(&stream, &damaged)));
    }
    let mut short = signed;
    short.signature.truncate(63);
    assert!(!is_contradiction(check_checkpoint(&stream, &short)));
    // Nor is it kept: what the miner itself says later does not contradict it.
    let stream = Arc::new(AttemptStream::new(facts()));
    let theirs = checkpoint(&stream, b"Jello", &stranger, |_| ());
    assert!(check_checkpoint(&stream, &theirs).is_none());
    let honest = checkpoint(&stream, b"Hello", &miner(), |_| ());
    assert!(!is_contradiction(check_checkpoint(&stream, &honest)));
}

#[test]
fn what_the_miner_signed_of_other_work_or_says_again_is_no_contradiction() {
    type Change = fn(&mut StreamCheckpoint);
    let changes: [Change; 6] = [
        |layout| layout.attempt += 1,
        |layout| layout.chain_id = [1; 32],
        |layout| layout.job_ref = [1; 32],
        |layout| layout.job_id.0[0] ^= 1,
        |layout| layout.offset += 1,
        |layout| (layout.hash, layout.work_ms) = (sha256(b"Hello"), 2),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let stream = said_hello();
        let said = checkpoint(&stream, b"Jello", &miner(), change);
        assert!(
            !is_contradiction(check_checkpoint(&stream, &said)),
            "{number}"
        );
    }
}
