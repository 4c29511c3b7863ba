//! kill -9 at random moments of pay, settle, void and seal: what was acknowledged is there, nothing is paid twice, and log,
//! accounts and jobs agree. `AITBC_KILLS` says how often (default 100); how many fell into each is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, Record, RecordBody, SignMode, SignedTransaction,
    Transaction, TransactionKind, address_target,
};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::runtime::channel::{AuthorizedChannel, Connection, CoordinatorUrl};
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::ledger_service_client::LedgerServiceClient;
use aitbc_proto::v1::{self, JobStatus, PaymentStatus};
use aitbc_tests::harness::{Delivery, Network};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tonic::{Code, Status};

use super::windows::{Diary, Kill, Logged, Window};

const AIT: u64 = 1_000_000;
const GIVEN: u64 = 1_000 * AIT;
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who pays, runs jobs by hand, and writes down every answer.
struct Person {
    url: CoordinatorUrl,
    connection: Option<(Connection, Connection)>,
    owner: [u8; 32],
    miner: [u8; 32],
    wallet: WalletKey,
    nonce: u64,
    rng: StdRng,
    acknowledged: Vec<(Hash, u64)>,
    jobs: Vec<(String, JobStatus)>,
    diary: Diary,
}

impl Person {
    fn new(network: &Network) -> Self {
        Self {
            url: network.user("me").coordinator_url(),
            connection: None,
            owner: [1; 32],
            miner: [2; 32],
            wallet: WalletKey::from_bytes(&[3; 32]).expect("a valid key"),
            nonce: 0,
            rng: StdRng::seed_from_u64(9),
            acknowledged: Vec::new(),
            jobs: Vec::new(),
            diary: Diary::default(),
        }
    }

    /// Calls until there is an answer: the coordinator may be killed at any moment. Every call may be repeated.
    async fn until_answered<T, F>(
        &mut self,
        call: impl Fn(Connection, Connection) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no answer for a minute");
            let Some((owner, miner)) = self.connected().await else {
                tokio::task::yield_now().await;
                continue;
            };
            match call(owner, miner).await {
                Err(status) if again(&status) => self.connection = None,
                answer => return answer,
            }
        }
    }

    async fn connected(&mut self) -> Option<(Connection, Connection)> {
        if self.connection.is_none() {
            let owner = Arc::new(Identity::from_seed(&self.owner));
            let miner = Arc::new(Identity::from_seed(&self.miner));
            let owner = Connection::open(&self.url, owner, Scope::Client)
                .await
                .ok()?;
            let miner = Connection::open(&self.url, miner, Scope::Miner)
                .await
                .ok()?;
            self.connection = Some((owner, miner));
        }
        self.connection.clone()
    }

    async fn transact(
        &mut self,
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
        job_id: &str,
    ) {
        let (owner, _) = loop {
            if let Some(connected) = self.connected().await {
                break connected;
            }
        };
        let transaction = Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: *owner.chain_id(),
            public_key: [0; 33],
            account: self.wallet.address(),
            nonce: self.nonce,
            valid_until: unix_ms() + 3_600_000,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        };
        self.nonce += 1;
        let signed =
            SignedTransaction::by_wallet(transaction, payload, &self.wallet).expect("it fits");
        let request = v1::SubmitTransactionRequest {
            transaction: signed.encode().into(),
            job_id: job_id.to_owned(),
            job_owner: Identity::from_seed(&self.owner).public().0.to_vec().into(),
            rental: None,
        };
        let asked_ms = match kind {
            TransactionKind::Lock => self.diary.asks(Window::Pay),
            _ => self.diary.asks(Window::Seal),
        };
        let answer = self
            .until_answered(|owner, _| {
                let (mut ledger, request) = (ledger(&owner), request.clone());
                async move { ledger.submit_transaction(request).await }
            })
            .await
            .expect("a good transaction is recorded");
        if kind == TransactionKind::Lock {
            let lock = signed.transaction.id();
            self.diary.answered(Window::Pay, lock, asked_ms);
        }
        let answer = answer.into_inner();
        assert_eq!(answer.transaction_id, signed.transaction.id()[..]);
        self.acknowledged
            .push((signed.transaction.id(), answer.index));
    }

    /// A job is held, paid, and cancelled or done by hand; or a friend gets something.
    async fn story(&mut self, number: usize) {
        let friend = WalletKey::from_bytes(&[4; 32])
            .expect("a valid key")
            .address();
        self.transact(
            TransactionKind::Transfer,
            1,
            address_target(friend),
            Vec::new(),
            "",
        )
        .await;
        let spec = v1::JobSpec {
            r#type: v1::JobType::Inference.into(),
            model: "llama3".into(),
            input: br#"{"prompt":"Hello"}"#.to_vec().into(),
            salt: sha256(&number.to_be_bytes()).to_vec().into(),
            ..v1::JobSpec::default()
        };
        let request = v1::SubmitJobRequest {
            request_id: format!("story-{number}"),
            spec: Some(spec),
            hold: true,
            ..v1::SubmitJobRequest::default()
        };
        let submitted = self
            .until_answered(|owner, _| {
                let request = request.clone();
                async move { owner.jobs().submit_job(request).await }
            })
            .await
            .expect("a good job is accepted")
            .into_inner();
        let job_id = submitted.job_id;
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: unix_ms() + 48 * 3_600_000,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: Default::default(),
        };
        let target = submitted.job_ref.as_ref().try_into().expect("a hash");
        self.transact(
            TransactionKind::Lock,
            AIT / 10,
            target,
            terms.encode(),
            &job_id,
        )
        .await;
        let (lock, _) = *self.acknowledged.last().expect("it was answered");
        let ending = if self.rng.random_bool(0.5) {
            self.cancel(&job_id, lock).await;
            JobStatus::Cancelled
        } else {
            self.work(&job_id, lock).await;
            JobStatus::Completed
        };
        self.jobs.push((job_id, ending));
    }

    async fn cancel(&mut self, job_id: &str, lock: Hash) {
        let asked_ms = self.diary.asks(Window::Void);
        let cancelled = self.until_answered(|owner, _| {
            let job_id = job_id.to_owned();
            async move {
                owner
                    .jobs()
                    .cancel_job(v1::CancelJobRequest { job_id })
                    .await
            }
        });
        cancelled.await.expect("its own job");
        self.diary.answered(Window::Void, lock, asked_ms);
    }

    /// Polls until it is there (once the lock has been adopted), and delivers.
    async fn work(&mut self, job_id: &str, lock: Hash) {
        let request = v1::PollJobRequest {
            wait: Some(prost_types::Duration {
                seconds: 5,
                nanos: 0,
            }),
            request_id: format!("poll-{job_id}"),
            ..v1::PollJobRequest::default()
        };
        let assign = loop {
            let polled = self.until_answered(|_, miner| {
                let request = request.clone();
                async move { miner.miners().poll_job(request).await }
            });
            let polled = polled.await.expect("a registered miner").into_inner();
            if let Some(assign) = polled.job.and_then(|job| job.assign) {
                break assign;
            }
        };
        assert_eq!(assign.job_id, job_id);
        let miner = Identity::from_seed(&self.miner);
        let parts = Delivery::new(&assign, &miner, |receipt| receipt.work_ms = 500).parts();
        let asked_ms = self.diary.asks(Window::Settle);
        let delivered = self.until_answered(|_, miner| {
            let parts = tokio_stream::iter(parts.clone());
            async move { miner.miners().complete_job(parts).await }
        });
        delivered.await.expect("an honest delivery");
        self.diary.answered(Window::Settle, lock, asked_ms);
    }
}

/// Whether the same call may be answered better later.
fn again(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}

fn ledger(connection: &Connection) -> LedgerServiceClient<AuthorizedChannel> {
    connection.ledger()
}

/// Lives until it is told to stop; then waits until every payment has its end.
async fn live(mut person: Person, stop: Arc<AtomicBool>) -> Person {
    let request = v1::RegisterMinerRequest {
        name: "by-hand".into(),
        slots: 1,
        price_per_hour_micro_ait: AIT / 2,
        payout_address: vec![8; 20].into(),
        ..v1::RegisterMinerRequest::default()
    };
    let registered = person.until_answered(|_, miner| {
        let request = request.clone();
        async move { miner.miners().register_miner(request).await }
    });
    registered.await.expect("a good registration");
    let mut number = 0;
    while !stop.load(Ordering::Acquire) {
        person.story(number).await;
        number += 1;
    }
    for (job_id, ending) in person.jobs.clone() {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = person.until_answered(|owner, _| {
                let job_id = job_id.clone();
                async move { owner.jobs().get_job(v1::GetJobRequest { job_id }).await }
            });
            let job = asked
                .await
                .expect("its own job")
                .into_inner()
                .job
                .expect("a job");
            assert_eq!(job.status(), ending, "{job_id}");
            // A lock that came when the job was cancelled already returns without having been the job's.
            if matches!(
                job.payment_status(),
                PaymentStatus::Settled | PaymentStatus::Refunded | PaymentStatus::Unfunded
            ) {
                break;
            }
            assert!(Instant::now() < until, "{job_id} is not settled: {job:?}");
        }
    }
    person
}

#[test]
fn money_survives_kills_at_random_moments() {
    let kills = std::env::var("AITBC_KILLS").map_or(100, |kills| kills.parse().expect("a number"));
    let mut network = Network::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut person = Person::new(&network);
    let address = person.wallet.address();
    runtime.block_on(async {
        let request = v1::FaucetRequest {
            address: address.0.to_vec().into(),
            amount_micro_ait: GIVEN,
        };
        let (owner, _) = person.connected().await.expect("the coordinator runs");
        owner
            .network()
            .faucet(request)
            .await
            .expect("a development network");
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mut entries = person.diary.watch();
    let living = runtime.spawn(live(person, Arc::clone(&stop)));
    let mut rng = StdRng::seed_from_u64(7);
    let mut killed = Vec::new();
    for number in 0..kills {
        let window = Window::of_turn(number);
        runtime.block_on(entries.next(window, PATIENCE));
        // The moment of the kill is what is random; nothing is waited for.
        std::thread::park_timeout(window.width().mul_f64(rng.random()));
        killed.push(Kill::by(|| network.kill_coordinator()));
        network.restart_coordinator();
    }
    stop.store(true, Ordering::Release);
    let mut person = runtime
        .block_on(living)
        .expect("every answer was as it must be");
    let (audit, logged) = runtime.block_on(check(&mut person));
    let paid: u128 = u128::from(GIVEN)
        - audit
            .state()
            .account(AccountId::Wallet(address))
            .available();
    println!(
        "{kills} kills, {} jobs, {} transactions, {} records, {paid} micro-AIT spent",
        person.jobs.len(),
        person.acknowledged.len(),
        audit.head().size
    );
    assert!(!person.jobs.is_empty());
    let (hits, none) = logged.hits(&person.diary, &killed);
    for (window, hits) in Window::ALL.iter().zip(hits) {
        println!("{hits} kills fell into {window:?}");
        // Of fewer kills each window gets fewer than 5.
        assert!(hits > 0 || kills < 20, "no kill fell into {window:?}");
    }
    println!("{none} kills fell into none of them");
}

/// Waits until nothing of the wallet is locked: what the jobs decided has reached the ledger.
async fn unlocked(person: &mut Person) {
    let address = person.wallet.address().0.to_vec();
    let until = Instant::now() + PATIENCE;
    loop {
        let request = v1::GetAccountRequest {
            address: address.clone().into(),
            ..v1::GetAccountRequest::default()
        };
        let account = person.until_answered(|owner, _| {
            let (mut ledger, request) = (ledger(&owner), request.clone());
            async move { ledger.get_account(request).await }
        });
        let account = account.await.expect("a public call").into_inner();
        if account.locked_micro_ait == 0 {
            return;
        }
        assert!(Instant::now() < until, "locks stay: {account:?}");
    }
}

/// A stranger recomputes the ledger; what was acknowledged is compared with it.
async fn check(person: &mut Person) -> (Audit, Logged) {
    unlocked(person).await;
    let (owner, _) = person.connected().await.expect("the coordinator runs");
    let newest = ledger(&owner)
        .get_checkpoint(v1::GetCheckpointRequest::default())
        .await;
    let min_size = newest.expect("a public call").into_inner().next_index;
    let wait = Some(prost_types::Duration {
        seconds: 20,
        nanos: 0,
    });
    let sealed = ledger(&owner)
        .get_checkpoint(v1::GetCheckpointRequest { min_size, wait })
        .await;
    assert!(
        !sealed
            .expect("a public call")
            .into_inner()
            .checkpoint
            .is_empty()
    );
    let mut stream = ledger(&owner)
        .get_records(v1::GetRecordsRequest::default())
        .await
        .expect("a public call")
        .into_inner();
    let mut audit = Audit::default();
    let mut transactions = Vec::new();
    let mut logged = Logged::default();
    while let Some(records) = stream.message().await.expect("the stream goes on") {
        for leaf in records.leaves {
            let index = audit.head().size;
            audit
                .record(&leaf)
                .unwrap_or_else(|error| panic!("{error}"));
            let record = Record::decode(&leaf).expect("it was audited");
            logged.record(&record);
            if let RecordBody::Transaction(signed) = record.body {
                transactions.push((signed.transaction.id(), index));
            }
        }
    }
    audit
        .check_state()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(audit.head().size >= min_size, "everything is sealed");
    assert_eq!(
        transactions, person.acknowledged,
        "each transaction is there, once, where it was said to be"
    );
    assert_eq!(
        audit.state().account(AccountId::Settlement).credits_pending,
        0,
        "every lock has its end"
    );
    (audit, logged)
}
