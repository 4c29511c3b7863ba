//! What is refused, and that nothing happened then.

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction, Transaction, TransactionKind,
    address_target,
};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::{ErrorReason, SubmitTransactionRequest, SubmitTransactionResponse};
use aitbc_tests::harness::Network;
use k256::Scalar;
use k256::ecdsa::Signature;
use tonic::{Response, Status};

use super::{OTHER, PASSWORD, available, count, network_and_user, submit, wallet};

#[test]
fn what_cannot_be_read_is_a_usage_error() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let job = submit(&user, "--hold");
    for amount in [
        "1e3",
        "-1",
        "0.0000001",
        "NaN",
        "1,000",
        "1_000",
        "0",
        "''",
        "+1",
        "inf",
    ] {
        user.types(&format!("aitbc wallet send {OTHER} {amount}"))
            .refuses(2, "AIT");
        user.types(&format!("aitbc client pay {job} --amount {amount}"))
            .refuses(2, "AIT");
    }
    for (amount, why) in [
        ("-1", "negative"),
        ("0.0000001", "more than 6 decimals"),
        ("9999999999999999", "too much"),
    ] {
        user.types(&format!("aitbc wallet send {OTHER} {amount}"))
            .refuses(2, why);
    }
    user.types(&format!("aitbc client pay {job} --amount 0.0001"))
        .refuses(2, "too little to lock");
    let mistyped = OTHER.replace("C51", "c51");
    user.types(&format!("aitbc wallet send {mistyped} 1"))
        .refuses(2, "EIP-55");
    user.types("aitbc wallet send 0x1234 1")
        .refuses(2, "40 hexadecimal digits");
    user.types("aitbc wallet allow ed25519:12 1")
        .refuses(2, "no identity's key");
    let long = "m".repeat(513);
    user.types(&format!("aitbc wallet send {OTHER} 1 --memo {long}"))
        .refuses(2, "513 bytes");
    assert_eq!(available(&user), "100.000000");
}

#[test]
fn too_little_money_and_wrong_passwords_change_nothing() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let job = submit(&user, "--hold");
    let pay = |amount: &str| format!("aitbc client pay {job} --amount {amount}");
    let refused = user.types(&pay("1000"));
    refused.refuses(4, "insufficient funds: available 100 AIT, asked 1000 AIT");
    assert!(
        refused
            .stderr
            .contains("hint: on this development network run: aitbc wallet faucet"),
        "{}",
        refused.stderr
    );
    let json = user.types(&format!("{} --json", pay("1000"))).exits(4);
    assert_eq!(json.json_error()["reason"], "INSUFFICIENT_FUNDS");
    let wrong = user.clone().with("AITBC_WALLET_PASSWORD", "wrong");
    wrong
        .types(&pay("1"))
        .refuses(4, "the password does not open");
    user.clone()
        .without("AITBC_WALLET_PASSWORD")
        .types(&pay("1"))
        .refuses(4, "no terminal");
    network
        .user("nobody")
        .types(&pay("1"))
        .refuses(5, "no wallet");
    assert_eq!(available(&user), "100.000000");
    assert_eq!(count(&user, "locked"), 0);
    // Afterwards it goes on as if nothing had been.
    let _paid = user.types(&pay("1")).succeeds();
    user.types("aitbc client pay job_01m83xj880emq8k9w39qsaekf4 --amount 1")
        .refuses(5, "job");
}

#[test]
fn without_a_coordinator_a_wallet_is_made_and_money_waits() {
    let network = Network::without_coordinator();
    let user = network.user("me").with("AITBC_WALLET_PASSWORD", PASSWORD);
    let seed = network.folder().join("seed");
    let line = format!(
        "aitbc wallet create --name x --seed-phrase-file {}",
        seed.display()
    );
    let made = user.types(&line).succeeds();
    assert!(made.stderr.contains("no money was drawn"), "{made:?}");
    user.types("aitbc wallet balance")
        .refuses(3, "cannot reach");
    user.types(&format!("aitbc wallet send {OTHER} 1"))
        .refuses(3, "cannot reach");
}

#[test]
fn bytes_that_were_sent_before_or_belong_elsewhere_move_nothing() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let stored = user.home().wallets().get("test_wallet").expect("stored");
    let key = stored.unlock(PASSWORD).expect("its password");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connection = user.connect(Scope::Client).await;
        let ours = *connection.chain_id();
        let bytes = transfer(&key, ours, 0).encode();
        let send = |bytes: Vec<u8>| send(&connection, bytes);
        let first = send(bytes.clone()).await.expect("recorded").into_inner();
        let again = send(bytes.clone()).await.expect("the same").into_inner();
        assert_eq!(first, again);
        let mut changed = bytes;
        changed[170] ^= 1;
        // Of a key's two signatures of one hash, one has a high s.
        let mut high = transfer(&key, ours, 1);
        let (r, s) = Signature::from_slice(&high.signature)
            .expect("a signature")
            .split_scalars();
        let negated = Signature::from_scalars(r, -Scalar::from(s)).expect("a signature");
        high.signature = negated.to_bytes().into();
        for (what, bytes, expected) in [
            (
                "another chain",
                transfer(&key, [7; 32], 1).encode(),
                ErrorReason::TransactionInvalid,
            ),
            ("changed bytes", changed, ErrorReason::TransactionInvalid),
            ("a high s", high.encode(), ErrorReason::TransactionInvalid),
            (
                "too little to lock",
                lock(&key, ours, 1, 999).encode(),
                ErrorReason::TransactionRefused,
            ),
            (
                "a stranger's stake",
                sign(
                    &key,
                    ours,
                    1,
                    TransactionKind::Stake,
                    (1, [9; 32]),
                    Vec::new(),
                )
                .encode(),
                ErrorReason::MinerNotBound,
            ),
            (
                "a gap",
                transfer(&key, ours, 2).encode(),
                ErrorReason::Nonce,
            ),
        ] {
            let status = send(bytes).await.expect_err(what);
            let reason = ApiError::from_status(&status).map(|error| error.reason);
            assert_eq!(reason, Some(expected), "{what}: {status:?}");
        }
    });
    assert_eq!(available(&user), "99.000000");
    assert_eq!(count(&user, "sent"), 1);
}

pub async fn send(
    connection: &Connection,
    bytes: Vec<u8>,
) -> Result<Response<SubmitTransactionResponse>, Status> {
    let request = SubmitTransactionRequest {
        transaction: bytes.into(),
        ..SubmitTransactionRequest::default()
    };
    connection.ledger().submit_transaction(request).await
}

/// 1 AIT for somebody.
fn transfer(key: &WalletKey, chain_id: Hash, nonce: u64) -> SignedTransaction {
    let target = address_target(OTHER.parse().expect("an address"));
    let amount = 1_000_000;
    sign(
        key,
        chain_id,
        nonce,
        TransactionKind::Transfer,
        (amount, target),
        Vec::new(),
    )
}

/// For a job that nobody knows.
pub fn lock(key: &WalletKey, chain_id: Hash, nonce: u64, amount: u64) -> SignedTransaction {
    let terms = LockTerms {
        purpose: LockPurpose::Job,
        expires_at: aitbc_common::runtime::unix_ms() + 3_600_000,
        max_rate: NO_MAX_RATE,
        max_fee_bps: 10_000,
        miner_key: Default::default(),
    };
    sign(
        key,
        chain_id,
        nonce,
        TransactionKind::Lock,
        (amount, [9; 32]),
        terms.encode(),
    )
}

pub fn sign(
    key: &WalletKey,
    chain_id: Hash,
    nonce: u64,
    kind: TransactionKind,
    (amount, target): (u64, Hash),
    payload: Vec<u8>,
) -> SignedTransaction {
    let transaction = Transaction {
        kind,
        sign_mode: SignMode::Wallet,
        chain_id,
        public_key: [0; 33],
        account: key.address(),
        nonce,
        valid_until: aitbc_common::runtime::unix_ms() + 60_000,
        amount,
        max_fee: 0,
        target,
        payload_hash: [0; 32],
    };
    SignedTransaction::by_wallet(transaction, payload, key).expect("a short payload")
}
