//! Paid jobs from end to end: wallet, ledger, jobs, miner.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::layouts::{
    Assignment, LockPurpose, LockTerms, NO_MAX_RATE, Outcome, Receipt, SignMode, SignedTransaction,
    Transaction, TransactionKind,
};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, JobStatus, OutputKind, PaymentStatus};
use bytes::Bytes;

use super::{Answer, Connection, Miner, Running, start};
use crate::ledger::command::{Command, Reply, Submission};
use crate::ledger::proofs::leaf;

const LOCKED: u64 = 10_000_000;

async fn submit(client: &Connection, hold: bool) -> v1::SubmitJobResponse {
    let spec = v1::JobSpec {
        r#type: v1::JobType::Inference.into(),
        model: "llama3".into(),
        input: Bytes::from_static(br#"{"prompt":"Hello"}"#),
        salt: vec![7; 32].into(),
        ..v1::JobSpec::default()
    };
    let request = v1::SubmitJobRequest {
        request_id: "r".into(),
        spec: Some(spec),
        hold,
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

/// The job once it is so.
async fn once(
    running: &Running,
    client: &Connection,
    id: &str,
    is_so: impl Fn(&v1::Job) -> bool,
) -> v1::Job {
    let mut activity = running.services.context.hub.activity();
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        activity.mark_unchanged();
        let now = job(client, id).await;
        if is_so(&now) {
            return now;
        }
        let changed = tokio::time::timeout_at(until, activity.changed()).await;
        assert!(changed.is_ok(), "it stays {now:?}");
    }
}

/// The job once its payment stands so.
async fn paid(running: &Running, client: &Connection, id: &str, wanted: PaymentStatus) -> v1::Job {
    once(running, client, id, |job| job.payment_status() == wanted).await
}

/// From when the miner has it, so that there is something to pay for.
async fn work_a_while(running: &Running, client: &Connection, id: &str) {
    let processing = |job: &v1::Job| job.status() == JobStatus::Processing;
    once(running, client, id, processing).await;
    let began = running.services.context.engine.now_ms();
    while running.services.context.engine.now_ms() < began + 2 {
        tokio::task::yield_now().await;
    }
}

/// A wallet with money.
struct Payer {
    key: WalletKey,
    nonce: u64,
}

impl Payer {
    async fn new(running: &Running) -> Self {
        let key = WalletKey::from_bytes(&[5; 32]).unwrap();
        let command = Command::Faucet {
            account: key.address(),
            amount: 100 * LOCKED,
        };
        let given = running.services.ledger.call(command).await.unwrap();
        assert!(matches!(given, Reply::Given(_)));
        Self { key, nonce: 0 }
    }

    async fn lock(
        &mut self,
        running: &Running,
        job_id: &str,
        owner: &Connection,
        job_ref: &[u8],
    ) -> Hash {
        let now = running.services.context.engine.now_ms();
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: now + 24 * 3_600_000,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 250,
            miner_key: Default::default(),
        };
        let transaction = Transaction {
            kind: TransactionKind::Lock,
            sign_mode: SignMode::Wallet,
            chain_id: running.services.network.chain_id,
            public_key: [0; 33],
            account: Default::default(),
            nonce: self.nonce,
            valid_until: now + 3_600_000,
            amount: LOCKED,
            max_fee: 0,
            target: job_ref.try_into().unwrap(),
            payload_hash: Hash::default(),
        };
        self.nonce += 1;
        let submission = Submission {
            rental: None,
            signed: SignedTransaction::by_wallet(transaction, terms.encode(), &self.key).unwrap(),
            job: Some(job_id.parse().unwrap()),
            owner: Some(owner.identity.public()),
            caller: None,
        };
        let command = Command::Submit(Box::new(submission));
        match running.services.ledger.call(command).await.unwrap() {
            Reply::Recorded { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }
}

/// A stranger recomputes the ledger.
pub(super) async fn audit(running: &Running) -> Audit {
    let mut published = running.services.ledger.signals().published.subscribe();
    let sealed = published.wait_for(|now| now.size > 0 && now.size == now.next);
    let size = sealed.await.unwrap().size;
    let store = running.services.ledger.store();
    let mut audit = Audit::default();
    for index in 0..size {
        audit
            .record(&leaf(&store, index).unwrap().unwrap())
            .unwrap();
    }
    audit.check_state().unwrap();
    audit
}

#[tokio::test]
async fn a_finished_job_is_paid_afterwards_and_the_miner_earns() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, vec![]).await;
    let submitted = submit(&client, false).await;
    let assign = miner.assigned().await;
    let answer = Answer::new(100);
    miner.send_all(&assign, &answer).await;
    work_a_while(&running, &client, &submitted.job_id).await;
    let complete = answer.complete(&assign, &miner.identity);
    miner.say(Up::Complete(complete)).await;
    assert_eq!(miner.acknowledged().await, None);
    let done = job(&client, &submitted.job_id).await;
    assert_eq!(done.status(), JobStatus::Completed);
    assert_eq!(done.payment_status(), PaymentStatus::Unfunded);
    let mut payer = Payer::new(&running).await;
    payer
        .lock(&running, &submitted.job_id, &client, &submitted.job_ref)
        .await;
    let settled = paid(&running, &client, &submitted.job_id, PaymentStatus::Settled).await;
    assert_eq!(settled.paid_micro_ait + settled.returned_micro_ait, LOCKED);
    assert_eq!(Some(settled.paid_micro_ait), done.cost_micro_ait);
    payer
        .lock(&running, &submitted.job_id, &client, &submitted.job_ref)
        .await;
    let audit = audit(&running).await;
    let balance = audit
        .state()
        .account(AccountId::Wallet(payer.key.address()))
        .available();
    let spent = u128::from(settled.paid_micro_ait);
    assert_eq!(
        balance,
        u128::from(100 * LOCKED) - spent,
        "the second lock returned whole"
    );
}

#[tokio::test]
async fn a_paid_job_that_is_cancelled_pays_for_what_had_arrived() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, vec![]).await;
    let mut payer = Payer::new(&running).await;
    let held = submit(&client, true).await;
    assert_eq!(held.status(), JobStatus::Pending);
    assert_eq!(held.payment_status(), PaymentStatus::Unfunded);
    payer
        .lock(&running, &held.job_id, &client, &held.job_ref)
        .await;
    let assign = miner.assigned().await;
    let first = Assignment::decode(&assign.assignment).unwrap();
    assert_eq!(first.locked, LOCKED);
    let answer = Answer::new(100);
    miner
        .send(&assign, OutputKind::Output, 0, &answer.output)
        .await;
    work_a_while(&running, &client, &held.job_id).await;
    payer
        .lock(&running, &held.job_id, &client, &held.job_ref)
        .await;
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
    let paid = paid(&running, &client, &held.job_id, PaymentStatus::Settled).await;
    assert_eq!(paid.paid_micro_ait + paid.returned_micro_ait, 2 * LOCKED);
    let audit = audit(&running).await;
    let fees = audit.state().account(AccountId::Fees).available();
    assert_eq!(fees, u128::from(paid.fee_micro_ait));
}
