//! The session's rules, event by event.

mod stopped;

use std::collections::BTreeMap;

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Outcome, Receipt};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, ErrorReason, OutputKind, ResumeAction};
use bytes::Bytes;
use proptest::prelude::*;

use super::core::{
    Action, AttemptStreams, HEARTBEAT_MS, HELLO_WITHIN_MS, LEASE_MS, Progress, SessionCore,
    StreamKind,
};
use super::output_buffer::{Append, OutputBuffer};
use crate::engine::command::{AttemptId, AttemptInfo, Command, Reply, Resume};

const MINER: &str = "miner_01m83xj880es8r65rzyjka792g";

#[derive(Default)]
pub(super) struct Buffers(BTreeMap<AttemptId, [OutputBuffer; 2]>);

impl Buffers {
    fn open(&mut self, attempt: AttemptId) {
        let buffers = [OutputBuffer::new(1 << 20), OutputBuffer::new(1 << 20)];
        self.0.insert(attempt, buffers);
    }
}

impl AttemptStreams for Buffers {
    fn append(
        &mut self,
        attempt: AttemptId,
        kind: StreamKind,
        offset: u64,
        data: &[u8],
    ) -> Option<Append> {
        Some(self.0.get_mut(&attempt)?[kind as usize - 1].append(offset, data))
    }

    fn progress(&self, attempt: AttemptId) -> Option<Progress> {
        let [output, result] = self.0.get(&attempt)?;
        Some(Progress {
            output_len: output.len(),
            output_hash: output.digest(),
            result_len: result.len(),
            result_hash: result.digest(),
        })
    }
}

pub(super) fn attempt() -> AttemptId {
    AttemptId {
        job_id: JobId::new(1_000, 3, [7; 10]),
        attempt: 2,
    }
}

fn hello(running: Vec<v1::RunningAttempt>) -> Up {
    Up::Hello(v1::Hello {
        miner_id: MINER.into(),
        proof: Bytes::from_static(b"proof"),
        running,
        ..v1::Hello::default()
    })
}

fn output(kind: OutputKind, offset: u64, data: &[u8]) -> Up {
    Up::Output(v1::Output {
        job_id: attempt().job_id.to_string(),
        attempt: 2,
        kind: kind.into(),
        offset,
        data: Bytes::copy_from_slice(data),
    })
}

fn complete(output: &[u8], result: &[u8]) -> Up {
    let receipt = Receipt {
        outcome: Outcome::Complete,
        attempt: 2,
        chain_id: [1; 32],
        job_id: attempt().job_id,
        job_ref: [2; 32],
        assignment_hash: [3; 32],
        miner_key: PublicKey([4; 32]),
        payee: Address([5; 20]),
        model_name_hash: [6; 32],
        model_digest: [7; 32],
        engine_hash: [8; 32],
        output_len: output.len() as u64,
        output_hash: sha256(output),
        result_hash: sha256(result),
        tokens_in: 1,
        tokens_out: 1,
        work_ms: 1,
        seen_size: 0,
        seen_root: [0; 32],
    };
    Up::Complete(v1::Complete {
        job_id: attempt().job_id.to_string(),
        attempt: 2,
        receipt: receipt.encode().into(),
        ..v1::Complete::default()
    })
}

/// An open session that holds the attempt, and its empty streams.
pub(super) fn open() -> (SessionCore, Buffers) {
    let mut core = SessionCore::new(9, PublicKey([4; 32]), "127.0.0.1:1".into(), 0);
    let mut buffers = Buffers::default();
    core.message(hello(Vec::new()), &mut buffers, 1);
    core.proof_checked(MINER.parse().unwrap(), true);
    core.opened(Ok(Reply::SessionOpened(Vec::new())), &buffers, 2);
    core.take_actions();
    core.assigned(attempt());
    buffers.open(attempt());
    core.signed(attempt(), v1::Assign::default());
    let actions = core.take_actions();
    assert!(matches!(actions[..], [Action::Send(Down::Assign(_))]));
    (core, buffers)
}

fn sent(core: &mut SessionCore) -> Vec<Down> {
    let only_sent = |action| match action {
        Action::Send(message) => Some(message),
        _ => None,
    };
    core.take_actions()
        .into_iter()
        .filter_map(only_sent)
        .collect()
}

fn resends(core: &mut SessionCore) -> Vec<(i32, u64)> {
    let only_resends = |message| match message {
        Down::Resend(resend) => Some((resend.kind, resend.offset)),
        _ => None,
    };
    sent(core).into_iter().filter_map(only_resends).collect()
}

#[test]
fn a_session_opens_and_says_what_to_do_with_old_attempts() {
    let mut core = SessionCore::new(9, PublicKey([4; 32]), "127.0.0.1:1".into(), 0);
    let mut buffers = Buffers::default();
    let gone = AttemptId {
        attempt: 1,
        ..attempt()
    };
    buffers.open(attempt());
    buffers.append(attempt(), StreamKind::Output, 0, b"abc");
    let running = [attempt(), gone].map(|held| v1::RunningAttempt {
        job_id: held.job_id.to_string(),
        attempt: held.attempt.into(),
        output_bytes: 5,
        output_tokens: 0,
        ..v1::RunningAttempt::default()
    });
    core.message(hello(running.to_vec()), &mut buffers, 1);
    assert!(matches!(
        core.take_actions()[..],
        [Action::CheckProof { .. }]
    ));
    core.proof_checked(MINER.parse().unwrap(), true);
    let actions = core.take_actions();
    let [Action::Open(Command::OpenSession { running, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(running.len(), 2);
    let info = AttemptInfo {
        attempt: attempt(),
        spec: Bytes::new(),
        assignment: Bytes::new(),
        earlier: Vec::new(),
        model: String::new(),
        input: Bytes::new(),
        deadline_ms: 0,
        owner: PublicKey::default(),
        epoch: 1,
    };
    let resumes = vec![Resume::Continue(Box::new(info)), Resume::Abandon(gone)];
    core.opened(Ok(Reply::SessionOpened(resumes)), &buffers, 2);
    let [Down::Welcome(welcome)] = &sent(&mut core)[..] else {
        panic!("no Welcome");
    };
    let answers = &welcome.attempts;
    assert_eq!(answers[0].action(), ResumeAction::Continue);
    assert_eq!((answers[0].output_offset, answers[0].result_offset), (3, 0));
    assert_eq!(answers[1].action(), ResumeAction::Abandon);
    core.message(output(OutputKind::Output, 3, b"de"), &mut buffers, 3);
    assert!(matches!(core.take_actions()[..], [Action::Arrived(..)]));
}

#[test]
fn without_a_valid_hello_it_closes() {
    let cases: [fn(&mut SessionCore, &mut Buffers); 4] = [
        |core, _| core.tick(HELLO_WITHIN_MS),
        |core, buffers| core.message(Up::Drain(v1::Drain {}), buffers, 1),
        |core, buffers| {
            core.message(hello(Vec::new()), buffers, 1);
            core.proof_checked(MINER.parse().unwrap(), false);
        },
        |core, buffers| {
            core.message(hello(Vec::new()), buffers, 1);
            core.proof_checked(MINER.parse().unwrap(), true);
            let error = ApiError::new(ErrorReason::SessionExists, "another is live");
            core.opened(Err(error), buffers, 2);
        },
    ];
    for case in cases {
        let (mut core, mut buffers) = (
            SessionCore::new(9, PublicKey([4; 32]), String::new(), 0),
            Buffers::default(),
        );
        core.tick(HELLO_WITHIN_MS - 1);
        assert!(!core.is_closed());
        case(&mut core, &mut buffers);
        assert!(core.is_closed());
        let actions = core.take_actions();
        let end = &actions[actions.len() - 2..];
        assert!(matches!(
            end,
            [Action::Send(Down::GoingAway(_)), Action::Close(_)]
        ));
        core.message(hello(Vec::new()), &mut buffers, 3);
        core.tick(u64::MAX);
        assert!(core.take_actions().is_empty(), "closed once");
    }
}

#[test]
fn heartbeats_keep_it_open_and_are_echoed() {
    let (mut core, mut buffers) = open();
    let heartbeat = |sequence| {
        Up::Heartbeat(v1::MinerHeartbeat {
            sequence,
            free_slots: 1,
            ..v1::MinerHeartbeat::default()
        })
    };
    let (mut now, mut told) = (2, Vec::new());
    for sequence in 1..10 {
        now += LEASE_MS - 1;
        core.tick(now);
        core.message(heartbeat(sequence), &mut buffers, now);
        let actions = core.take_actions();
        let Action::Send(Down::Heartbeat(echo)) = &actions[0] else {
            panic!("{actions:?}");
        };
        told.push(actions.len() > 1);
        assert_eq!(echo.sequence, sequence);
    }
    let expected = [true, true, true, true, false, false, true, false, false];
    assert_eq!(told, expected, "the engine hears less of an idle session");
    core.message(Up::Drain(v1::Drain {}), &mut buffers, now);
    core.message(heartbeat(10), &mut buffers, now);
    let told = core.take_actions().into_iter().any(|action| {
        matches!(
            action,
            Action::Tell(Command::Heartbeat { free_slots: 0, .. })
        )
    });
    assert!(told, "a draining miner has no free slot");
    core.tick(now + LEASE_MS);
    assert!(core.is_closed());
}

#[test]
fn an_idle_session_tells_of_each_heartbeat_only_while_its_miner_is_rented() {
    let (mut core, mut buffers) = open();
    let mut now = 2;
    let mut heard = |core: &mut SessionCore, attends: Option<bool>| {
        let mut told = 0;
        for place in 0..12 {
            if let (0, Some(each)) = (place, attends) {
                core.attend(each, now + 1_000);
                told += core.take_actions().len();
            }
            now += HEARTBEAT_MS;
            core.message(
                Up::Heartbeat(v1::MinerHeartbeat::default()),
                &mut buffers,
                now,
            );
            told += core.take_actions().len() - 1;
        }
        told
    };
    heard(&mut core, None);
    assert_eq!(heard(&mut core, None), 4);
    assert_eq!(heard(&mut core, Some(true)), 13, "and the one just before");
    assert_eq!(heard(&mut core, Some(true)), 12);
    assert_eq!(heard(&mut core, Some(false)), 4);
}

#[test]
fn a_gap_is_asked_for_once_and_completes() {
    let (mut core, mut buffers) = open();
    core.message(output(OutputKind::Output, 0, b"abc"), &mut buffers, 3);
    for offset in [5, 6, 7] {
        core.message(output(OutputKind::Output, offset, b"x"), &mut buffers, 3);
    }
    assert_eq!(resends(&mut core), [(OutputKind::Output.into(), 3)]);
    core.message(complete(b"abcde", b"{}"), &mut buffers, 3);
    assert_eq!(
        resends(&mut core),
        [(OutputKind::Output.into(), 3)],
        "asked for again"
    );
    core.message(output(OutputKind::Output, 3, b"de"), &mut buffers, 3);
    core.message(complete(b"abcde", b"{}"), &mut buffers, 3);
    assert_eq!(resends(&mut core), [(OutputKind::Result.into(), 0)]);
    core.message(output(OutputKind::Result, 0, b"{}"), &mut buffers, 3);
    for _twice in 0..2 {
        core.message(complete(b"abcde", b"{}"), &mut buffers, 3);
    }
    let delivered = |action: &Action| matches!(action, Action::Complete(..));
    assert_eq!(
        core.take_actions().iter().filter(|a| delivered(a)).count(),
        1
    );
}

#[test]
fn a_repeated_delivery_gets_the_same_answer() {
    let (mut core, mut buffers) = open();
    core.message(output(OutputKind::Result, 0, b"{}"), &mut buffers, 3);
    core.message(complete(b"", b"{}"), &mut buffers, 3);
    core.recorded(attempt(), Ok(()));
    core.message(complete(b"", b"{}"), &mut buffers, 4);
    let acks: Vec<_> = sent(&mut core);
    assert_eq!(acks.len(), 2);
    assert!(
        acks.iter()
            .all(|ack| matches!(ack, Down::Ack(v1::Ack { error: None, .. })))
    );
}

#[test]
fn an_unknown_attempt_is_to_be_forgotten() {
    let (mut core, mut buffers) = open();
    core.cancelled(attempt(), v1::JobStatus::Cancelled, None);
    assert!(matches!(sent(&mut core)[..], [Down::Cancel(_)]));
    core.signed(attempt(), v1::Assign::default());
    core.message(output(OutputKind::Output, 0, b"late"), &mut buffers, 3);
    assert!(
        core.take_actions().is_empty(),
        "neither assigned nor taken any more"
    );
    core.message(complete(b"", b""), &mut buffers, 3);
    let [Down::Ack(ack)] = &sent(&mut core)[..] else {
        panic!("no Ack");
    };
    assert_eq!(
        ack.error.as_ref().unwrap().reason(),
        ErrorReason::StaleAttempt
    );
}

#[test]
fn what_cannot_become_valid_fails_the_attempt() {
    let wrong_result = |core: &mut SessionCore, buffers: &mut Buffers| {
        core.message(output(OutputKind::Result, 0, b"{!"), buffers, 3);
        for _again in 0..2 {
            core.message(complete(b"", b"{}"), buffers, 3);
        }
    };
    let too_much = |core: &mut SessionCore, buffers: &mut Buffers| {
        for offset in 0..5 {
            let chunk = vec![0; 256 << 10];
            core.message(output(OutputKind::Output, offset << 18, &chunk), buffers, 3);
        }
    };
    let garbage = |core: &mut SessionCore, buffers: &mut Buffers| {
        let complete = v1::Complete {
            job_id: attempt().job_id.to_string(),
            attempt: 2,
            receipt: Bytes::from_static(b"garbage"),
            ..v1::Complete::default()
        };
        core.message(Up::Complete(complete), buffers, 3);
    };
    // A result that stays wrong is given to verification, which refuses it.
    let (mut core, mut buffers) = open();
    wrong_result(&mut core, &mut buffers);
    assert!(
        core.take_actions()
            .iter()
            .any(|a| matches!(a, Action::Complete(..)))
    );
    for case in [too_much, garbage] {
        let (mut core, mut buffers) = open();
        case(&mut core, &mut buffers);
        let fails = core
            .take_actions()
            .into_iter()
            .filter_map(|action| match action {
                Action::Fail {
                    failure, refusal, ..
                } => Some((failure.reason(), refusal)),
                _ => None,
            });
        let fails: Vec<_> = fails.collect();
        assert_eq!(fails.len(), 1);
        assert_eq!(fails[0].0, v1::FailureReason::InvalidResult);
        assert_eq!(
            fails[0].1.as_ref().unwrap().reason,
            ErrorReason::ReceiptInvalid
        );
    }
}

#[test]
fn an_outage_of_ours_keeps_the_delivery_with_the_miner() {
    let (mut core, mut buffers) = open();
    core.message(output(OutputKind::Result, 0, b"{}"), &mut buffers, 3);
    core.message(complete(b"", b"{}"), &mut buffers, 3);
    core.recorded(
        attempt(),
        Err(ApiError::new(ErrorReason::Unavailable, "recovering")),
    );
    assert!(core.is_closed());
    assert!(
        !sent(&mut core)
            .iter()
            .any(|message| matches!(message, Down::Ack(_)))
    );
}

proptest! {
    /// A miner that sends its streams in any pieces, twice or with holes, and follows Resend, gets its bytes across.
    #[test]
    fn any_order_and_any_holes_end_in_one_delivery(
        text in proptest::collection::vec(any::<u8>(), 0..400),
        pieces in proptest::collection::vec((0_usize..400, 1_usize..90), 0..30),
    ) {
        let (mut core, mut buffers) = open();
        for (start, len) in pieces {
            let start = start.min(text.len());
            let end = (start + len).min(text.len());
            core.message(output(OutputKind::Output, start as u64, &text[start..end]), &mut buffers, 3);
        }
        core.take_actions();
        let mut delivered = false;
        for _round in 0..4 {
            core.message(complete(&text, b"{\"a\":1}"), &mut buffers, 3);
            for action in core.take_actions() {
                match action {
                    Action::Send(Down::Resend(resend)) => {
                        let from = usize::try_from(resend.offset).unwrap();
                        let rest = if resend.kind() == OutputKind::Output { &text[from..] } else { &b"{\"a\":1}"[from..] };
                        core.message(output(resend.kind(), resend.offset, rest), &mut buffers, 3);
                    }
                    Action::Complete(..) => delivered = true,
                    _ => {}
                }
            }
        }
        prop_assert!(delivered);
        let progress = buffers.progress(attempt()).unwrap();
        prop_assert_eq!(progress.output_hash, sha256(&text));
    }

    /// Whatever a miner sends, the session neither panics nor goes on after it closed.
    #[test]
    fn hostile_messages_are_harmless(
        ids in proptest::collection::vec(("[a-z_0-9]{0,40}", any::<u32>(), any::<u64>(), 0_u8..6), 1..20),
    ) {
        let (mut core, mut buffers) = open();
        for (job_id, attempt, offset, which) in ids {
            let message = match which {
                0 => Up::Accept(v1::Accept { job_id, attempt }),
                1 => Up::Output(v1::Output { job_id, attempt, kind: 1, offset, data: Bytes::from_static(b"x") }),
                2 => Up::Complete(v1::Complete { job_id, attempt, ..v1::Complete::default() }),
                3 => Up::Fail(v1::Fail { job_id, attempt, failure: None }),
                4 => Up::Reject(v1::Reject { job_id, attempt, failure: None }),
                _ => output(OutputKind::Result, offset, b"y"),
            };
            core.message(message, &mut buffers, 3);
            if core.is_closed() {
                core.take_actions();
                core.message(output(OutputKind::Output, 0, b"z"), &mut buffers, 3);
                prop_assert!(core.take_actions().is_empty());
            }
        }
    }
}
