//! Somebody with a wallet that signs by itself: quicker than the CLI, which decrypts its wallet for each payment.

use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction, Transaction, TransactionKind,
};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::{
    FaucetRequest, JobSpec, JobType, Requirements, SubmitJobRequest, SubmitTransactionRequest,
    WatchJobRequest,
};
use aitbc_tests::harness::User;

const HOUR_MS: u64 = 3_600_000;

pub struct Payer {
    pub connection: Connection,
    pub key: WalletKey,
    nonce: u64,
}

impl Payer {
    /// With so many micro-AIT of the faucet.
    pub async fn new(user: &User, secret: u8, amount: u64) -> Self {
        let identity = Identity::from_seed(&[secret; 32]);
        let connection = user.connect_as(identity, Scope::Client).await;
        let key = WalletKey::from_bytes(&[secret; 32]).expect("a valid secret key");
        let request = FaucetRequest {
            address: key.address().0.to_vec().into(),
            amount_micro_ait: amount,
        };
        let given = connection.network().faucet(request).await;
        given.expect("a development network has a faucet");
        Self {
            connection,
            key,
            nonce: 0,
        }
    }

    /// After the coordinator has restarted.
    pub async fn reconnect(&mut self, user: &User) {
        let identity = Identity::from_seed(&self.connection.identity.seed());
        self.connection = user.connect_as(identity, Scope::Client).await;
    }

    /// A LOCK of so many micro-AIT.
    pub fn lock(&mut self, amount: u64, target: Hash, terms: &LockTerms) -> SignedTransaction {
        let transaction = Transaction {
            kind: TransactionKind::Lock,
            sign_mode: SignMode::Wallet,
            chain_id: *self.connection.chain_id(),
            public_key: [0; 33],
            account: self.key.address(),
            nonce: self.nonce,
            valid_until: unix_ms() + HOUR_MS,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        };
        self.nonce += 1;
        SignedTransaction::by_wallet(transaction, terms.encode(), &self.key)
            .expect("a short payload")
    }

    /// A job of this miner's, paid with so many micro-AIT: its id.
    pub async fn submit(&mut self, miner: &str, amount: u64, allow_audit: bool) -> String {
        let salt: Hash = random_bytes();
        let spec = JobSpec {
            r#type: JobType::Inference.into(),
            model: "llama3".into(),
            input: br#"{"prompt":"Hi","options":{"temperature":0,"seed":0}}"#
                .to_vec()
                .into(),
            salt: salt.to_vec().into(),
            requirements: Some(Requirements {
                miner_id: Some(miner.to_owned()),
                ..Requirements::default()
            }),
            allow_audit,
            ..JobSpec::default()
        };
        let request = SubmitJobRequest {
            request_id: format!("{}", self.nonce),
            spec: Some(spec),
            hold: true,
            ..SubmitJobRequest::default()
        };
        let submitted = self.connection.jobs().submit_job(request).await;
        let submitted = submitted.expect("a good job").into_inner();
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: unix_ms() + 48 * HOUR_MS,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        let target = submitted.job_ref.as_ref().try_into().expect("a hash");
        let request = SubmitTransactionRequest {
            transaction: self.lock(amount, target, &terms).encode().into(),
            job_id: submitted.job_id.clone(),
            job_owner: self.connection.identity.public().0.to_vec().into(),
            rental: None,
        };
        let paid = self.connection.ledger().submit_transaction(request).await;
        paid.expect("a good lock");
        submitted.job_id
    }

    /// Waits until a job is completed.
    pub async fn completed(&self, job: &str) {
        let mut jobs = self.connection.jobs();
        let request = WatchJobRequest {
            job_id: job.to_owned(),
            ..WatchJobRequest::default()
        };
        let mut watch = jobs
            .watch_job(request)
            .await
            .expect("its own job")
            .into_inner();
        while let Some(event) = watch.message().await.expect("a stream") {
            drop(event);
        }
    }
}
