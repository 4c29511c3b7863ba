//! A miner that signs two outputs of one attempt loses its stake; one that is killed again and again does not.

use aitbc_tests::harness::{Delivery, FakeOllama, HandMiner, Network, Script, User, wait_for};

use super::{available, network_and_user, submit, wallet};

/// Its miner, with 5 AIT staked on it.
fn staked(network: &Network, user: &User) {
    wallet(network, user, "test_wallet");
    let _registered = user.types("aitbc miner register").succeeds();
    let _bound = user.types("aitbc wallet bind").succeeds();
    let key = user.miner_identity().public();
    let stake = format!("aitbc wallet stake {key} 5");
    let _staked = user.types(&stake).succeeds();
}

fn audited(user: &User) {
    let audit = user.types("aitbc ledger audit").succeeds();
    assert!(audit.text().contains('✓'), "{}", audit.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_two_outputs_of_one_attempt_loses_its_stake_once() {
    let (mut network, user) = network_and_user();
    staked(&network, &user);
    let before = available(&user);
    let client = network.user("client");
    let _job = submit(&client, "");
    let miner = HandMiner::register(&user, "aitbc miner register").await;
    let assign = miner.poll().await;
    let honest = Delivery::new(&assign, &miner.identity, |_| ());
    miner
        .deliver(honest.clone())
        .await
        .expect("an honest delivery");
    // The same again is no contradiction; nor is what somebody else signed.
    miner.deliver(honest).await.expect("as before");
    let other = aitbc_common::identity::Identity::from_seed(&[9; 32]);
    let lie = |signer| Delivery::new(&assign, signer, |receipt| receipt.output_hash = [9; 32]);
    let _refused = miner
        .deliver(lie(&other))
        .await
        .expect_err("it is not its own");
    audited(&user);
    assert!(user.types("aitbc wallet history").text().contains("staked"));
    for _ in 0..2 {
        let _refused = miner
            .deliver(lie(&miner.identity))
            .await
            .expect_err("a lie");
        network.kill_coordinator();
        network.restart_coordinator();
    }
    let slashed = || {
        user.types("aitbc wallet history")
            .text()
            .contains("slashed")
    };
    wait_for("the stake to be slashed", || slashed().then_some(()));
    audited(&user);
    let balance = user.types("aitbc wallet balance").text();
    println!("{balance}\n{}", user.types("aitbc wallet history").text());
    assert_eq!(available(&user), before, "nothing else is lost");
}

#[test]
fn a_miner_that_is_killed_in_the_middle_keeps_its_stake() {
    let (network, user) = network_and_user();
    staked(&network, &user);
    let server = FakeOllama::start(Script::Trickle);
    let user = user.with("OLLAMA_HOST", server.address());
    let client = network.user("client");
    let job = submit(&client, "");
    for _ in 0..3 {
        let mut mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
        // It streams, and signs checkpoints of what it streams.
        wait_for("a run", || (server.generating() > 0).then_some(()));
        mining.kill();
        wait_for("its end", || (server.generating() == 0).then_some(()));
    }
    server.plays(Script::Answer);
    let _mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    let _result = client
        .types(&format!("aitbc client result {job} --wait"))
        .succeeds();
    let history = user.types("aitbc wallet history").text();
    assert!(!history.contains("slashed"), "{history}");
    audited(&user);
}
