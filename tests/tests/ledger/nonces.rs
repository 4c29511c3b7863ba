//! A coordinator that refuses what it keeps, and asks for more: no wallet ever signs two transactions that could both count.

use aitbc_common::token::Scope;
use aitbc_tests::harness::{Network, User};
use aitbc_tests::lying_proxy::{Lie, LyingProxy};

/// Nobody's address, with the case of EIP-55.
const OTHER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

struct Lab {
    network: Network,
    proxy: LyingProxy,
    me: User,
}

/// Somebody with 100 AIT behind a coordinator that may lie.
fn lab() -> Lab {
    let network = Network::start();
    let proxy = LyingProxy::start(network.address());
    let me = network
        .user("me")
        .with("AITBC_COORDINATOR", proxy.address())
        .with("AITBC_WALLET_PASSWORD", "correct horse");
    let made = me
        .types("aitbc wallet create --name mine --seed-phrase-file seed.txt --json")
        .succeeds()
        .json();
    assert_eq!(made["faucet_ait"], "100.000000");
    Lab { network, proxy, me }
}

impl Lab {
    fn available(&self) -> String {
        let balance = self
            .me
            .types("aitbc wallet balance --json")
            .succeeds()
            .json();
        balance["available_ait"]
            .as_str()
            .expect("an amount")
            .to_owned()
    }
}

#[test]
fn what_was_refused_is_not_signed_again_beside_itself() {
    let lab = lab();
    let send = format!("aitbc wallet send {OTHER} 2.5 --json");
    lab.proxy.tells(Lie::NonceSkipped);
    let refused = lab.me.types(&send).exits(4);
    let error = refused.json_error();
    assert_eq!(error["reason"], "NONCE", "{error}");
    assert!(
        error["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("try again after"))
    );
    // Neither now nor later: the first one may be recorded for an hour.
    let again = lab.me.types(&send).exits(4);
    assert_eq!(again.json_error()["reason"], "NONCE");
    let kept = lab.proxy.takes_refused();
    assert_eq!(kept.len(), 1, "nothing else was signed");

    // The liar records it all the same.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let honest = lab
        .me
        .clone()
        .with("AITBC_COORDINATOR", lab.network.address());
    runtime.block_on(async {
        let mut ledger = honest.connect(Scope::Client).await.ledger();
        for request in kept {
            ledger
                .submit_transaction(request)
                .await
                .expect("it is valid");
        }
    });
    lab.proxy.tells(Lie::None);
    let found = lab.me.types(&send).exits(8);
    assert_eq!(found.json_error()["reason"], "RECORDED_AFTER_ALL");
    assert_eq!(lab.available(), "97.500000", "paid once");
    // Now it is known, and another one is another one.
    let _second = lab.me.types(&send).succeeds();
    assert_eq!(lab.available(), "95.000000");
}

#[test]
fn a_nonce_that_another_transaction_used_is_given_up_for_the_next() {
    let lab = lab();
    let _first = lab
        .me
        .types(&format!("aitbc wallet send {OTHER} 1"))
        .succeeds();
    lab.proxy.tells(Lie::NonceUsed);
    let second = lab
        .me
        .types(&format!("aitbc wallet send {OTHER} 2"))
        .succeeds();
    assert!(second.stderr.is_empty(), "{second:?}");
    assert_eq!(lab.proxy.takes_refused().len(), 1, "it was refused once");
    lab.proxy.tells(Lie::None);
    assert_eq!(lab.available(), "97.000000");
    let history = lab
        .me
        .types("aitbc wallet history --json")
        .succeeds()
        .json();
    assert_eq!(
        history["transactions"].as_array().map(Vec::len),
        Some(3),
        "{history}"
    );
}

#[test]
fn money_is_not_locked_for_longer_than_the_job_and_what_is_acknowledged_is_proven() {
    let lab = lab();
    let submitted = lab
        .me
        .types("aitbc client submit --model llama3 --prompt Hi --hold --json")
        .succeeds()
        .json();
    let job = submitted["job_id"].as_str().expect("a job id");
    let pay = format!("aitbc client pay {job} --amount 1 --json");
    lab.proxy.tells(Lie::DeadlineFarAway);
    let refused = lab.me.types(&pay).exits(8);
    assert_eq!(refused.json_error()["reason"], "DEADLINE_TOO_LATE");
    lab.proxy.tells(Lie::None);
    assert_eq!(lab.available(), "100.000000");

    // What the coordinator acknowledges is held against its own log.
    let send = format!("aitbc wallet send {OTHER} 1 --json");
    lab.proxy.tells(Lie::InclusionChanged);
    let unproven = lab.me.types(&send).exits(8);
    assert_eq!(unproven.json_error()["reason"], "LEDGER_PROOF_INVALID");
    let history = lab.me.types("aitbc wallet history --json").exits(8);
    assert_eq!(history.json_error()["reason"], "LEDGER_PROOF_INVALID");
    lab.proxy.tells(Lie::None);
    let found = lab.me.types(&send).exits(8);
    assert_eq!(found.json_error()["reason"], "RECORDED_AFTER_ALL");
    assert_eq!(lab.available(), "99.000000");
    let _paid = lab.me.types(&pay).succeeds();
    assert_eq!(lab.available(), "98.000000");
}
