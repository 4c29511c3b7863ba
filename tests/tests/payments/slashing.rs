//! Who signs two different outputs of one attempt loses what is staked on its miner, once.

use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Receipt, Record, RecordBody};
use aitbc_common::token::Scope;
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::{Assign, WatchJobRequest};
use aitbc_tests::harness::{Delivery, FakeOllama, HandMiner, Network, Script, User, wait_for};
use serde_json::Value;

use super::{count, network_and_user, submit, wallet};

const REGISTER: &str = "aitbc miner register --price-per-hour 0.5";

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// The user's wallet binds its registered miner and stakes 10 AIT on it; the miner's key.
fn stakes(user: &User) -> String {
    let bound = user.types("aitbc wallet bind --json").succeeds().json();
    let key = bound["identity"].as_str().expect("a key").to_owned();
    let staked = format!("aitbc wallet stake {key} 10");
    wait_for("the binding", || {
        (user.types(&staked).code == 0).then_some(())
    });
    wait_for("the stake", || (stake(user) == "10.000000").then_some(()));
    key
}

fn stake(user: &User) -> String {
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(balance["proof"], "valid");
    balance["staked_ait"]
        .as_str()
        .expect("an amount")
        .to_owned()
}

/// The SLASH records of the log.
fn slashes(network: &Network, user: &User) -> Vec<Value> {
    let file = network.folder().join("ledger.ndjson");
    let _old = std::fs::remove_file(&file);
    let line = format!("aitbc ledger export --output {}", file.display());
    let _written = user.types(&line).succeeds();
    let audit = format!("aitbc ledger audit {} --json", file.display());
    let _passes = user.types(&audit).succeeds();
    let _passes = user.types("aitbc ledger audit --json").succeeds();
    let text = std::fs::read_to_string(&file).expect("it was written");
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let is_slash = |record: &Value| {
        let Some(leaf) = record["leaf"].as_str() else {
            return false;
        };
        let leaf = hex::decode(leaf).expect("hexadecimal digits");
        let record = Record::decode(&leaf).expect("a record");
        matches!(record.body, RecordBody::Slash(_))
    };
    records.filter(is_slash).collect()
}

/// As [`Delivery::new`], but the receipt gives the same number of bytes another hash.
fn lie(assign: &Assign, signer: &Identity) -> Delivery {
    Delivery::new(assign, signer, |receipt: &mut Receipt| {
        receipt.output_hash = sha256(b"Jello");
    })
}

#[test]
fn a_second_receipt_for_another_output_burns_the_stake_once_whatever_is_killed() {
    let (mut network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let runtime = runtime();
    let miner = runtime.block_on(HandMiner::register(&user, REGISTER));
    stakes(&user);
    let _job = submit(&user, "");
    let assign = runtime.block_on(miner.poll());
    let honest = Delivery::new(&assign, &miner.identity, |_| ());
    for _ in 0..2 {
        let delivered = runtime.block_on(miner.deliver(honest.clone()));
        delivered.expect("an honest delivery, and the same again");
    }
    // A receipt that somebody else signed is nobody's contradiction.
    let forged = lie(&assign, &Identity::from_seed(&[66; 32]));
    let refused = runtime.block_on(miner.deliver(forged));
    refused.expect_err("it was delivered already, with another receipt");
    // Nor is another receipt for the same output.
    let same = Delivery::new(&assign, &miner.identity, |receipt| receipt.work_ms += 1);
    let refused = runtime.block_on(miner.deliver(same));
    refused.expect_err("it was delivered already, with another receipt");
    assert_eq!(slashes(&network, &user), Vec::<Value>::new());
    assert_eq!(stake(&user), "10.000000");

    let lie = lie(&assign, &miner.identity);
    let refused = runtime.block_on(miner.deliver(lie.clone()));
    refused.expect_err("two different outputs");
    network.kill_coordinator();
    network.restart_coordinator();
    wait_for("the slash", || (stake(&user) == "0.000000").then_some(()));
    let again = runtime.block_on(miner.deliver(lie));
    again.expect_err("two different outputs");
    assert_eq!(slashes(&network, &user).len(), 1);
    assert_eq!(count(&user, "slashed"), 1);
    let history = user.types("aitbc wallet history").succeeds();
    let plain = "it signed two different outputs";
    assert!(history.text().contains(plain), "{}", history.text());
}

/// Waits until a checkpoint of the job's running attempt is shown: then its miner has signed something.
async fn checkpoint_of(client: &User, job: &str, attempt: u32) {
    let connection = client.connect(Scope::Read).await;
    let request = WatchJobRequest {
        job_id: job.to_owned(),
        ..WatchJobRequest::default()
    };
    let watch = connection.jobs().watch_job(request).await;
    let mut watch = watch.expect("its own job").into_inner();
    let mut running = 0;
    while let Some(response) = watch.message().await.expect("a stream") {
        for event in response.events.into_iter().filter_map(|event| event.event) {
            match event {
                Event::AttemptStarted(started) => running = started.attempt,
                Event::Checkpoint(_) if running == attempt => return,
                _ => {}
            }
        }
    }
    panic!("the job ended without a checkpoint of attempt {attempt}")
}

#[test]
fn a_miner_that_is_killed_in_the_middle_keeps_its_stake() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let _registered = user.types(REGISTER).succeeds();
    stakes(&user);
    let server = FakeOllama::start(Script::Trickle);
    let user = user.with("OLLAMA_HOST", server.address());
    let client = network.user("client");
    let job = submit(&client, "");
    let runtime = runtime();
    for attempt in 1..=3 {
        let mut mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
        runtime.block_on(checkpoint_of(&client, &job, attempt));
        mining.kill();
    }
    server.plays(Script::Answer);
    let _mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    let _result = client
        .types(&format!("aitbc client result {job} --wait"))
        .succeeds();
    assert_eq!(slashes(&network, &user), Vec::<Value>::new());
    assert_eq!(stake(&user), "10.000000");
}
