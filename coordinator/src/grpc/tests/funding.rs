//! A paid job from end to end, the ledger's part told by hand.

use aitbc_common::hash::sha256;
use aitbc_common::layouts::{Assignment, LockPurpose, NO_MAX_RATE, Outcome, Receipt};
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, JobStatus, OutputKind, PaymentStatus};
use bytes::Bytes;

use super::{Answer, Connection, Miner, Running, start};
use crate::engine::command::{Command, Reply};
use crate::payments::{LockOpened, Notice, Order, outbox};

const LOCKED: u64 = 10_000_000;

async fn hold(client: &Connection) -> v1::SubmitJobResponse {
    let spec = v1::JobSpec {
        r#type: v1::JobType::Inference.into(),
        model: "llama3".into(),
        input: Bytes::from_static(br#"{"prompt":"Hello"}"#),
        salt: vec![7; 32].into(),
        ..v1::JobSpec::default()
    };
    let request = v1::SubmitJobRequest {
        request_id: "held".into(),
        spec: Some(spec),
        hold: true,
        ..v1::SubmitJobRequest::default()
    };
    let answer = client.jobs().submit_job(request).await.unwrap();
    answer.into_inner()
}

async fn job(client: &Connection, job_id: &str) -> v1::Job {
    let job_id = job_id.to_owned();
    let answer = client.jobs().get_job(v1::GetJobRequest { job_id }).await;
    answer.unwrap().into_inner().job.unwrap()
}

async fn tell(running: &Running, number: u64, notice: Notice) {
    let command = Command::Notices {
        first: number,
        notices: vec![notice],
    };
    let reply = running.engine.call(command).await.unwrap();
    assert!(matches!(reply, Reply::NoticesApplied(applied) if applied == number));
}

fn lock(client: &Connection, held: &v1::SubmitJobResponse, n: u8) -> Notice {
    Notice::Locked(LockOpened {
        lock: [n; 32],
        target: held.job_ref.as_ref().try_into().unwrap(),
        purpose: LockPurpose::Job,
        payer: Default::default(),
        amount: LOCKED,
        expires_at: u64::MAX,
        max_rate: NO_MAX_RATE,
        max_fee_bps: 250,
        miner_key: Default::default(),
        log_index: n.into(),
        job: Some(held.job_id.parse().unwrap()),
        owner: Some(client.identity.public()),
    })
}

#[tokio::test]
async fn a_paid_job_that_is_cancelled_pays_for_what_had_arrived() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, vec![]).await;
    let held = hold(&client).await;
    assert_eq!(held.status(), JobStatus::Pending);
    assert_eq!(held.payment_status(), PaymentStatus::Unfunded);
    let orders = running.engine.store();
    tell(&running, 1, lock(&client, &held, 1)).await;
    let assign = miner.assigned().await;
    let first = Assignment::decode(&assign.assignment).unwrap();
    assert_eq!(first.locked, LOCKED);
    let answer = Answer::new(100);
    miner
        .send(&assign, OutputKind::Output, 0, &answer.output)
        .await;
    tell(&running, 2, lock(&client, &held, 2)).await;
    let Down::Renew(renew) = miner.next().await else {
        panic!("no Renew")
    };
    let raised = Assignment::decode(&renew.assignment).unwrap();
    assert_eq!((raised.flags, raised.locked), (1, 2 * LOCKED));
    let request = v1::CancelJobRequest {
        job_id: held.job_id.clone(),
    };
    client.jobs().cancel_job(request).await.unwrap();
    let Down::Cancel(cancel) = miner.next().await else {
        panic!("no Cancel")
    };
    assert!(cancel.receipt_wanted);
    assert_eq!(cancel.output_bytes, 100);
    let stopped = job(&client, &held.job_id).await;
    assert_eq!(stopped.status(), JobStatus::Cancelled);
    assert_eq!(stopped.payment_status(), PaymentStatus::Settling);
    assert_eq!(stopped.locked_micro_ait, 2 * LOCKED);
    // Only the first 50 bytes, under the assignment before the raise.
    let mut complete = answer.complete(&assign, &miner.identity);
    let mut receipt = Receipt::decode(&complete.receipt).unwrap();
    receipt.outcome = Outcome::Cancelled;
    (receipt.output_len, receipt.output_hash) = (50, sha256(&answer.output[..50]));
    receipt.result_hash = sha256(b"");
    complete.receipt = receipt.encode().into();
    complete.signature = receipt.sign(&miner.identity).to_vec().into();
    miner.say(Up::Complete(complete)).await;
    assert_eq!(miner.acknowledged().await, None);
    let orders = outbox::read(&orders, 1, 10).unwrap();
    assert!(
        matches!(&orders[..], [(1, Order::Settle { locks, .. })] if locks.len() == 2),
        "{orders:?}"
    );
    let settled = Notice::Settled {
        job: held.job_id.parse().unwrap(),
        owner: client.identity.public(),
        posted: 7,
        fee: 1,
        returned: 2 * LOCKED - 7,
    };
    tell(&running, 3, settled).await;
    let paid = job(&client, &held.job_id).await;
    assert_eq!(paid.payment_status(), PaymentStatus::Settled);
    assert_eq!((paid.paid_micro_ait, paid.fee_micro_ait), (7, 1));
    assert_eq!(paid.returned_micro_ait, 2 * LOCKED - 7);
}
