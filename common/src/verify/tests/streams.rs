//! Output while it streams.

use super::*;

#[test]
fn a_stream_checks_whatever_its_chunks_and_reconnections() {
    let delivery = Delivery::new();
    let mut stream = delivery.started();
    stream.output(1, 0, &OUTPUT[..7]).unwrap();
    assert_eq!(
        check(&mut stream, &delivery.checkpoint(7)),
        Ok(CheckpointCheck::Matches)
    );
    stream.output(1, 7, &OUTPUT[7..9]).unwrap();
    assert_eq!(
        check(&mut stream, &delivery.checkpoint(7)),
        Ok(CheckpointCheck::Matches),
        "a late one"
    );
    assert_eq!(
        check(&mut stream, &delivery.checkpoint(5)),
        Ok(CheckpointCheck::Past)
    );
    assert_eq!(stream.position(), (1, 9));
    assert_eq!(delivery.start(&mut stream), Ok(AttemptStart::Resumed));
    stream.output(1, 9, &OUTPUT[9..]).unwrap();
    stream
        .finish(&delivery.file().parts(), &delivery.result)
        .unwrap();
}

#[test]
fn a_new_attempt_voids_the_output_before() {
    let (first, second) = (Delivery::new(), Delivery::of(spec(), job(1), 2));
    let mut stream = first.started();
    stream.output(1, 0, b"something else").unwrap();
    assert_eq!(second.start(&mut stream), Ok(AttemptStart::New));
    assert_eq!(stream.position(), (2, 0));
    let stale = VerifyError::OtherAttempt {
        part: "output",
        given: 1,
        wanted: 2,
    };
    assert_eq!(stream.output(1, 14, b"x"), Err(stale));
    assert_eq!(
        first.start(&mut stream),
        Err(VerifyError::StaleAttempt {
            current: 2,
            given: 1
        })
    );
    stream.output(2, 0, OUTPUT).unwrap();
    let error = stream
        .finish(&first.file().parts(), &first.result)
        .unwrap_err();
    assert_eq!(
        error,
        VerifyError::OtherAttempt {
            part: "receipt",
            given: 1,
            wanted: 2
        }
    );
    stream
        .finish(&second.file().parts(), &second.result)
        .unwrap();
}

#[test]
fn a_gap_a_replay_and_swapped_chunks_are_caught() {
    let delivery = Delivery::new();
    let mut stream = delivery.started();
    stream.output(1, 0, &OUTPUT[..4]).unwrap();
    assert_eq!(
        stream.output(1, 8, &OUTPUT[8..]),
        Err(VerifyError::Gap {
            expected: 4,
            given: 8
        })
    );
    assert_eq!(
        stream.output(1, 0, &OUTPUT[..4]),
        Err(VerifyError::Replay {
            expected: 4,
            given: 0
        })
    );
    // Two chunks swapped and given each other's place.
    stream.output(1, 4, &OUTPUT[8..12]).unwrap();
    stream.output(1, 8, &OUTPUT[4..8]).unwrap();
    assert_eq!(
        check(&mut stream, &delivery.checkpoint(12)),
        Err(VerifyError::CheckpointHash { offset: 12 })
    );
    stream.output(1, 12, &OUTPUT[12..]).unwrap();
    assert_eq!(
        stream
            .finish(&delivery.file().parts(), &delivery.result)
            .unwrap_err(),
        VerifyError::OutputHash
    );
}

#[test]
fn output_without_an_attempt_or_over_the_bound_is_refused() {
    let delivery = Delivery::new();
    let mut stream = StreamVerifier::new(delivery.trust());
    assert_eq!(stream.output(1, 0, b"x"), Err(VerifyError::NoAttempt));
    assert_eq!(
        check(&mut stream, &delivery.checkpoint(0)),
        Err(VerifyError::NoAttempt)
    );
    let mut stream = delivery.started();
    let megabyte = vec![b'x'; 1 << 20];
    for n in 0..16 {
        stream.output(1, n << 20, &megabyte).unwrap();
    }
    assert_eq!(
        stream.output(1, 16 << 20, b"x"),
        Err(VerifyError::OutputTooLong)
    );
}

#[test]
fn a_checkpoint_that_lies_is_caught() {
    let delivery = Delivery::new();
    let mut stream = delivery.started();
    stream.output(1, 0, &OUTPUT[..7]).unwrap();
    let honest = delivery.checkpoint(7);
    let mut bend = |change: fn(&mut StreamCheckpoint)| {
        let mut checkpoint = honest.clone();
        change(&mut checkpoint);
        let signature = checkpoint.sign(&miner());
        stream
            .checkpoint(1, &checkpoint.encode(), &signature)
            .unwrap_err()
    };
    assert_eq!(
        bend(|c| c.hash[0] ^= 1),
        VerifyError::CheckpointHash { offset: 7 }
    );
    assert_eq!(
        bend(|c| c.offset = 8),
        VerifyError::CheckpointAhead {
            received: 7,
            signed: 8
        }
    );
    assert_eq!(
        bend(|c| c.chain_id = [0; 32]),
        VerifyError::Chain("checkpoint")
    );
    assert_eq!(
        bend(|c| c.job_id = job(2)),
        VerifyError::OtherJob("checkpoint")
    );
    assert_eq!(
        bend(|c| c.job_ref = [0; 32]),
        VerifyError::OtherSpec("checkpoint")
    );
    assert!(matches!(
        bend(|c| c.attempt = 2),
        VerifyError::OtherAttempt { .. }
    ));
    let forged = honest.sign(&identity(9));
    assert_eq!(
        stream.checkpoint(1, &honest.encode(), &forged),
        Err(VerifyError::CheckpointSignature)
    );
    assert!(matches!(
        stream.checkpoint(1, b"x", &forged),
        Err(VerifyError::Layout(_))
    ));
}

#[test]
fn an_assignment_that_is_not_for_this_job_begins_no_stream() {
    let honest = Delivery::new();
    let mut stream = StreamVerifier::new(honest.trust());
    let other = Delivery::of(
        JobSpec {
            salt: [4; 32],
            ..spec()
        },
        job(1),
        1,
    );
    assert_eq!(
        other.start(&mut stream),
        Err(VerifyError::OtherSpec("assignment"))
    );
    let other = Delivery::of(spec(), job(2), 1);
    assert_eq!(
        other.start(&mut stream),
        Err(VerifyError::OtherJob("assignment"))
    );
    let mislabelled = stream.start(2, &honest.assignment.encode(), &honest.assignment_signature);
    assert!(matches!(mislabelled, Err(VerifyError::OtherAttempt { .. })));
}

#[test]
fn a_receipt_may_name_the_assignment_before_a_raise_that_crossed_it() {
    let old = Delivery::new();
    let mut raised = Delivery::new();
    raised.assignment.flags = 1;
    raised.assignment.issued_ms += 1;
    raised.pay(10_000_000);
    let mut stream = old.started();
    assert_eq!(raised.start(&mut stream), Ok(AttemptStart::Resumed));
    stream.output(1, 0, OUTPUT).unwrap();
    assert!(
        stream
            .finish(&raised.file().parts(), &raised.result)
            .is_ok()
    );
    assert!(stream.finish(&old.file().parts(), &old.result).is_ok());
    let mut other = Delivery::new();
    other.assignment.rate += 1;
    other.sign();
    assert_eq!(
        stream
            .finish(&other.file().parts(), &other.result)
            .unwrap_err(),
        VerifyError::OldAssignment
    );
}

#[test]
fn a_receipt_must_name_the_newest_assignment_that_was_seen() {
    let old = Delivery::new();
    let mut raised = Delivery::new();
    raised.assignment.issued_ms += 1;
    raised.sign();
    let mut stream = old.started();
    assert_eq!(raised.start(&mut stream), Ok(AttemptStart::Resumed));
    stream.output(1, 0, OUTPUT).unwrap();
    assert_eq!(
        stream.finish(&old.file().parts(), &old.result).unwrap_err(),
        VerifyError::OldAssignment
    );
    stream
        .finish(&raised.file().parts(), &raised.result)
        .unwrap();
}
