//! The ledger as its users check it: records, proofs, exports, audits, and coordinators that lie about them.

mod audit;
mod lies;
mod memory;
mod nonces;
mod reading;
mod results;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{
    BindConsent, SignMode, SignedTransaction, Transaction, TransactionKind, address_target,
};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::{FaucetRequest, GetCheckpointRequest, SubmitTransactionRequest};
use aitbc_tests::harness::User;
use tokio::runtime::Runtime;

const AIT: u64 = 1_000_000;
/// Seed of the miner's identity.
const MINER: [u8; 32] = [5; 32];

/// A wallet that sends transactions by itself.
struct Payer {
    runtime: Runtime,
    connection: Connection,
    key: WalletKey,
    nonce: u64,
}

impl Payer {
    /// With 100 AIT from the faucet.
    fn new(user: &User) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let connection = runtime.block_on(user.connect(Scope::Client));
        let key = WalletKey::from_bytes(&[7; 32]).expect("a valid secret key");
        let request = FaucetRequest {
            address: key.address().0.to_vec().into(),
            amount_micro_ait: 100 * AIT,
        };
        let given = runtime.block_on(connection.network().faucet(request));
        given.expect("a development network has a faucet");
        Self {
            runtime,
            connection,
            key,
            nonce: 0,
        }
    }

    /// Records a transaction and waits until a checkpoint covers it; gives its hash.
    fn sends(
        &mut self,
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: impl Into<Vec<u8>>,
    ) -> String {
        let (hash, index) = self.submits(kind, amount, target, payload);
        let request = GetCheckpointRequest {
            min_size: index + 1,
            wait: Some(prost_types::Duration {
                seconds: 20,
                nanos: 0,
            }),
        };
        let covered = self
            .runtime
            .block_on(self.connection.ledger().get_checkpoint(request));
        covered.expect("the coordinator answers");
        hash
    }

    /// Records a transaction; gives its hash and place.
    fn submits(
        &mut self,
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: impl Into<Vec<u8>>,
    ) -> (String, u64) {
        let transaction = Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: *self.connection.chain_id(),
            public_key: [0; 33],
            account: self.key.address(),
            nonce: self.nonce,
            valid_until: unix_ms() + 3_600_000,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        };
        let signed = SignedTransaction::by_wallet(transaction, payload.into(), &self.key)
            .expect("a short payload");
        let request = SubmitTransactionRequest {
            transaction: signed.encode().into(),
            ..Default::default()
        };
        let answer = self
            .runtime
            .block_on(self.connection.ledger().submit_transaction(request));
        self.nonce += 1;
        let index = answer.expect("it is valid").into_inner().index;
        (format!("0x{}", hex::encode(signed.transaction.id())), index)
    }

    fn transfers(&mut self, amount: u64, memo: &str) -> String {
        self.sends(
            TransactionKind::Transfer,
            amount,
            address_target(somebody()),
            memo,
        )
    }

    /// Binds the miner, stakes 10 AIT and begins to take 4 back; gives the third's hash.
    fn unstakes(&mut self) -> String {
        let miner = Identity::from_seed(&MINER);
        let (chain, me) = (self.connection.chain_id(), self.key.address());
        let consent = BindConsent::sign(chain, me, &miner, 1, unix_ms() + 3_600_000);
        let target = miner.public().0;
        self.submits(TransactionKind::Bind, 0, target, consent.encode());
        self.submits(TransactionKind::Stake, 10 * AIT, target, "");
        self.sends(TransactionKind::Unstake, 4 * AIT, target, "")
    }
}

fn somebody() -> Address {
    Address([3; 20])
}
