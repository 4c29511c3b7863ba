//! Transactions by hand that a payer could try: too late, too early, out of order, twice, to itself, with money that is
//! not there, with amounts at the ends of what numbers hold.

use std::sync::atomic::{AtomicU8, Ordering};

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{
    Receipt, SignedTransaction, Transaction, TransactionKind, address_target,
};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::{
    ErrorReason, FaucetRequest, GetAccountRequest, GetAccountResponse, SubmitTransactionResponse,
};
use aitbc_tests::harness::{Delivery, HandMiner, Network, wait_for};

use super::refusals::{self, lock};
use super::{OTHER, available, scripted, submit, wallet};

const AIT: u64 = 1_000_000;
const HOUR_MS: u64 = 3_600_000;

/// A wallet with 100 AIT that signs whatever it is told.
struct Payer {
    connection: Connection,
    key: WalletKey,
}

impl Payer {
    async fn on(network: &Network) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(20);
        let seed = NEXT.fetch_add(1, Ordering::Relaxed);
        let connection = network.user("me").connect(Scope::Client).await;
        let key = WalletKey::from_bytes(&[seed; 32]).expect("a valid key");
        let request = FaucetRequest {
            address: key.address().0.to_vec().into(),
            amount_micro_ait: 100 * AIT,
        };
        let given = connection.network().faucet(request).await;
        given.expect("a development network");
        Self { connection, key }
    }

    fn draft(&self, nonce: u64, kind: TransactionKind, amount: u64, target: Hash) -> Transaction {
        let chain_id = *self.connection.chain_id();
        refusals::sign(
            &self.key,
            chain_id,
            nonce,
            kind,
            (amount, target),
            Vec::new(),
        )
        .transaction
    }

    fn transfer(&self, nonce: u64, amount: u64) -> SignedTransaction {
        let target = address_target(OTHER.parse().expect("an address"));
        let draft = self.draft(nonce, TransactionKind::Transfer, amount, target);
        sign(&self.key, draft)
    }

    fn lock(&self, nonce: u64, amount: u64) -> SignedTransaction {
        lock(&self.key, *self.connection.chain_id(), nonce, amount)
    }

    async fn accepted(&self, signed: &SignedTransaction) -> SubmitTransactionResponse {
        let sent = refusals::send(&self.connection, signed.encode()).await;
        sent.expect("it is good").into_inner()
    }

    async fn refused(&self, signed: &SignedTransaction, reason: ErrorReason, part: &str) {
        let sent = refusals::send(&self.connection, signed.encode()).await;
        let status = sent.expect_err(part);
        let error = ApiError::from_status(&status).expect("one of the product's errors");
        assert_eq!(error.reason, reason, "{part}: {status:?}");
        assert!(error.message.contains(part), "{part}: {status:?}");
    }

    async fn account(&self) -> GetAccountResponse {
        let request = GetAccountRequest {
            address: self.key.address().0.to_vec().into(),
            ..GetAccountRequest::default()
        };
        let account = self.connection.ledger().get_account(request).await;
        account.expect("a public call").into_inner()
    }

    /// Nothing is available that was not, nothing locked, and the next transaction is this one.
    async fn stands(&self, available: u64, nonce: u64) {
        let account = self.account().await;
        assert_eq!(
            (
                account.available_micro_ait,
                account.locked_micro_ait,
                account.next_nonce
            ),
            (available, 0, nonce),
            "{account:?}"
        );
    }

    /// Waits until what was locked has returned.
    async fn unlocked(&self) {
        let until = std::time::Instant::now() + aitbc_tests::harness::PATIENCE;
        while self.account().await.locked_micro_ait > 0 {
            assert!(std::time::Instant::now() < until, "the lock stays");
        }
    }
}

fn sign(key: &WalletKey, draft: Transaction) -> SignedTransaction {
    SignedTransaction::by_wallet(draft, Vec::new(), key).expect("no payload")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_valid_no_more_or_for_too_long_is_refused() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let target = address_target(OTHER.parse().expect("an address"));
    let valid_until = |ms: u64| {
        let draft = payer.draft(0, TransactionKind::Transfer, AIT, target);
        let draft = Transaction {
            valid_until: ms,
            ..draft
        };
        sign(&payer.key, draft)
    };
    let refused = ErrorReason::TransactionRefused;
    for past in [0, unix_ms() - 24 * HOUR_MS, unix_ms() - 1] {
        payer
            .refused(&valid_until(past), refused, "it was valid until")
            .await;
    }
    for far in [unix_ms() + 24 * HOUR_MS + 60_000, u64::MAX] {
        payer
            .refused(&valid_until(far), refused, "at most 24 hours")
            .await;
    }
    payer.stands(100 * AIT, 0).await;
    // Of none of them the number is used up.
    let day = valid_until(unix_ms() + 24 * HOUR_MS);
    payer.accepted(&day).await;
    payer.stands(99 * AIT, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_order_waits_for_its_turn() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let [first, second, third] = [0, 1, 2].map(|nonce| payer.transfer(nonce, AIT));
    let wrong = ErrorReason::Nonce;
    payer
        .refused(&third, wrong, "the nonce is 2, 0 comes next")
        .await;
    payer
        .refused(&second, wrong, "the nonce is 1, 0 comes next")
        .await;
    payer.stands(100 * AIT, 0).await;
    payer.accepted(&first).await;
    payer
        .refused(&third, wrong, "the nonce is 2, 1 comes next")
        .await;
    payer.accepted(&second).await;
    payer.accepted(&third).await;
    payer.stands(97 * AIT, 3).await;
    // Another one with a number that is used.
    payer
        .refused(
            &payer.transfer(1, 2 * AIT),
            wrong,
            "the nonce is 1, 3 comes next",
        )
        .await;
    payer.stands(97 * AIT, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_gets_the_same_answer_and_changes_nothing() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let soon = unix_ms() + 1_500;
    let target = address_target(OTHER.parse().expect("an address"));
    let draft = Transaction {
        valid_until: soon,
        ..payer.draft(0, TransactionKind::Transfer, AIT, target)
    };
    let transfer = sign(&payer.key, draft);
    let lock = payer.lock(1, 5 * AIT);
    let answers = [
        payer.accepted(&transfer).await,
        payer.accepted(&lock).await,
        payer.accepted(&payer.transfer(2, AIT)).await,
    ];
    // The lock is for a job that nobody knows: it returns, and sent again it locks nothing again.
    payer.unlocked().await;
    payer.stands(98 * AIT, 3).await;
    wait_for("the end of its validity", || {
        (unix_ms() > soon).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(payer.accepted(&transfer).await, answers[0]);
        assert_eq!(payer.accepted(&lock).await, answers[1]);
        payer.stands(98 * AIT, 3).await;
    }
    let _sound = network.user("me").types("aitbc ledger audit").succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_spends_what_is_locked_or_what_they_have_twice() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let none = ErrorReason::InsufficientFunds;
    let asked = "available 100 AIT, asked 100.000001 AIT";
    for more in [
        payer.transfer(0, 100 * AIT + 1),
        payer.lock(0, 100 * AIT + 1),
    ] {
        payer.refused(&more, none, asked).await;
    }
    payer.stands(100 * AIT, 0).await;

    // Money that is held for a job cannot be spent.
    let held = network.user("me");
    let line = "aitbc client submit --model llama3 --prompt Hello --hold --json";
    let job = held.types(line).succeeds().json();
    let job = job["job_id"].as_str().expect("an id").to_owned();
    let secret = network.write("key", hex::encode(payer.key.to_bytes().as_slice()));
    let held = held.with("AITBC_WALLET_PASSWORD", super::PASSWORD);
    let line = format!(
        "aitbc wallet import --name held --private-key-file {}",
        secret.display()
    );
    let _imported = held.types(&line).succeeds();
    let line = format!("aitbc client pay {job} --amount 90");
    let _paid = held.types(&line).succeeds();
    let asked = "available 10 AIT, asked 10.000001 AIT";
    for more in [payer.transfer(1, 10 * AIT + 1), payer.lock(1, 10 * AIT + 1)] {
        payer.refused(&more, none, asked).await;
    }
    // Of two at once with one number, one counts.
    let (one, two) = (payer.transfer(1, 6 * AIT), payer.transfer(1, 7 * AIT));
    let (first, second) = tokio::join!(
        refusals::send(&payer.connection, one.encode()),
        refusals::send(&payer.connection, two.encode())
    );
    let spent = match (first.is_ok(), second.is_ok()) {
        (true, false) => 6 * AIT,
        (false, true) => 7 * AIT,
        both => panic!("{both:?}"),
    };
    let account = payer.account().await;
    assert_eq!(account.available_micro_ait, 10 * AIT - spent);
    assert_eq!(account.next_nonce, 2);
    // What is left is less than either.
    payer
        .refused(&payer.transfer(2, 6 * AIT), none, "asked 6 AIT")
        .await;
    let _sound = held.types("aitbc ledger audit").succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_no_account_can_hold_are_refused() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let somebody = address_target(OTHER.parse().expect("an address"));
    for amount in [1 << 63, (1 << 63) + 1, u64::MAX] {
        let bounds = "the amount must be between";
        let refused = ErrorReason::TransactionRefused;
        payer
            .refused(&payer.transfer(0, amount), refused, bounds)
            .await;
        payer.refused(&payer.lock(0, amount), refused, bounds).await;
    }
    // The most there can be, and to itself: no sum overflows on the way to the refusal.
    let most = (1 << 63) - 1;
    for target in [somebody, address_target(payer.key.address())] {
        let draft = payer.draft(0, TransactionKind::Transfer, most, target);
        payer
            .refused(
                &sign(&payer.key, draft),
                ErrorReason::InsufficientFunds,
                "asked 9223372036854.775807 AIT",
            )
            .await;
    }
    payer.stands(100 * AIT, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_itself_gains_nothing() {
    let network = Network::start();
    let payer = Payer::on(&network).await;
    let itself = address_target(payer.key.address());
    let draft = payer.draft(0, TransactionKind::Transfer, 100 * AIT, itself);
    payer.accepted(&sign(&payer.key, draft)).await;
    payer.stands(100 * AIT, 1).await;

    // A job whose miner pays out to its payer costs the market's fee.
    let user = scripted(&network, "both");
    let address = wallet(&network, &user, "both");
    let register = format!(
        r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 10000 --payout {address}"#
    );
    let miner = HandMiner::register(&user, &register).await;
    let job = submit(&user, "--pay 50");
    let assign = miner.poll().await;
    let all = |receipt: &mut Receipt| receipt.work_ms = u64::MAX;
    let delivery = Delivery::new(&assign, &miner.identity, all);
    miner.deliver(delivery).await.expect("an honest delivery");
    let status = wait_for("the settlement", || {
        let line = format!("aitbc client status {job} --json");
        let status = user.types(&line).succeeds().json();
        (status["payment_status"] == "settled").then_some(status)
    });
    let micro = |text: &serde_json::Value| -> u64 {
        let text = text.as_str().expect("an amount").replace('.', "");
        text.parse().expect("six decimals")
    };
    let paid = micro(&status["paid_ait"]);
    let fee = (paid * 250).div_ceil(10_000);
    assert!(paid > 0 && fee > 0, "{status}");
    let left = micro(&available(&user).into());
    assert_eq!(left, 100 * AIT - fee, "{status}");
    let _sound = user.types("aitbc ledger audit").succeeds();
}
