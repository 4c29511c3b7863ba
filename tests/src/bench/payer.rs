//! A wallet with money of the development network's faucet, whose transactions are signed and sent one after the other.

use std::collections::VecDeque;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction, Transaction, TransactionKind,
    address_target,
};
use aitbc_common::runtime::channel::{AuthorizedChannel, Connection};
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::ledger_service_client::LedgerServiceClient;
use aitbc_proto::v1::{
    FaucetRequest, GetAccountRequest, GetAccountResponse, SubmitJobResponse,
    SubmitTransactionRequest,
};
use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;

/// What the faucet gives each: 1,000 AIT.
pub const GIVEN: u64 = 1_000_000_000;
/// Micro-AIT locked for each job: enough for 10 s of the miners of [`super::miner`].
const LOCKED: u64 = 10_000;
const HOUR_MS: u64 = 3_600_000;

/// A wallet. Its transactions take its nonces in order, so it has one in flight at a time.
pub struct Payer {
    key: WalletKey,
    ledger: LedgerServiceClient<AuthorizedChannel>,
    owner: PublicKey,
    chain_id: Hash,
    next_nonce: u64,
    /// Transfers that were signed before their time, the first of them with the next nonce.
    signed: VecDeque<Bytes>,
}

impl Payer {
    /// A new wallet with all that the faucet gives. Its jobs are those of the connection's identity.
    pub async fn new(connection: &Connection) -> anyhow::Result<Self> {
        let key = loop {
            // All but a few in 2^128 are keys.
            if let Some(key) = WalletKey::from_bytes(&random_bytes()) {
                break key;
            }
        };
        let request = FaucetRequest {
            address: key.address().0.to_vec().into(),
            amount_micro_ait: GIVEN,
        };
        let given = connection.network().faucet(request).await;
        given.context("the faucet gave nothing")?;
        Ok(Self {
            ledger: connection.ledger(),
            owner: connection.identity.public(),
            chain_id: *connection.chain_id(),
            next_nonce: 0,
            signed: VecDeque::new(),
            key,
        })
    }

    /// Signs this many transfers of 1 micro-AIT to new addresses, to be sent later.
    pub fn sign_ahead(&mut self, count: usize) -> anyhow::Result<()> {
        for nonce in (self.next_nonce..).skip(self.signed.len()).take(count) {
            let transfer = self.transfer(nonce, Address(random_bytes()))?;
            self.signed.push_back(transfer.encode().into());
        }
        Ok(())
    }

    /// The transfers that were signed ahead and not sent.
    pub fn ahead(&self) -> impl Iterator<Item = &Bytes> {
        self.signed.iter()
    }

    /// Sends the next transfer that was signed ahead, or one to a new address; answered once it is durable.
    pub async fn pay(&mut self) -> anyhow::Result<()> {
        let transfer = match self.signed.pop_front() {
            Some(signed) => signed,
            None => self
                .transfer(self.next_nonce, Address(random_bytes()))?
                .encode()
                .into(),
        };
        self.send(transfer, "").await.map(|_| ())
    }

    /// Gives 1 micro-AIT to an address; the index of the record.
    pub async fn give(&mut self, to: Address) -> anyhow::Result<u64> {
        let transfer = self.transfer(self.next_nonce, to)?;
        self.send(transfer.encode().into(), "").await
    }

    /// Pays for a job that was just submitted.
    pub async fn lock(&mut self, submitted: &SubmitJobResponse) -> anyhow::Result<()> {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: unix_ms() + 48 * HOUR_MS,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        let target = submitted.job_ref.as_ref().try_into()?;
        let lock = self.sign(
            TransactionKind::Lock,
            self.next_nonce,
            LOCKED,
            target,
            terms.encode(),
        )?;
        self.send(lock.encode().into(), &submitted.job_id)
            .await
            .map(|_| ())
    }

    /// What the ledger says of it.
    pub async fn account(&mut self) -> anyhow::Result<GetAccountResponse> {
        let request = GetAccountRequest {
            address: self.key.address().0.to_vec().into(),
            ..Default::default()
        };
        Ok(self.ledger.get_account(request).await?.into_inner())
    }

    fn transfer(&self, nonce: u64, to: Address) -> anyhow::Result<SignedTransaction> {
        let target = address_target(to);
        self.sign(TransactionKind::Transfer, nonce, 1, target, Vec::new())
    }

    fn sign(
        &self,
        kind: TransactionKind,
        nonce: u64,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
    ) -> anyhow::Result<SignedTransaction> {
        let transaction = Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: self.chain_id,
            public_key: [0; 33],
            account: self.key.address(),
            nonce,
            valid_until: unix_ms() + HOUR_MS,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        };
        SignedTransaction::by_wallet(transaction, payload, &self.key)
            .map_err(|error| anyhow!("a transaction cannot be signed: {error}"))
    }

    async fn send(&mut self, transaction: Bytes, job_id: &str) -> anyhow::Result<u64> {
        let request = SubmitTransactionRequest {
            transaction,
            job_id: job_id.to_owned(),
            job_owner: self.owner.0.to_vec().into(),
            rental: None,
        };
        let answer = self.ledger.submit_transaction(request).await;
        let answer = answer.context("a transaction was refused")?.into_inner();
        ensure!(
            answer.transaction_id.len() == 32,
            "an answer without a transaction's id"
        );
        self.next_nonce += 1;
        Ok(answer.index)
    }
}
