//! Miners that take only jobs that are paid for, on a network where that is not required.

use aitbc_tests::harness::{FakeOllama, Network, Script, User, wait_for};
use serde_json::Value;

use super::{scripted, wallet};

const SUBMIT: &str = "aitbc client submit --model llama3 --prompt Hello --json";

fn job(user: &User, options: &str) -> String {
    let line = format!("{SUBMIT} {options}");
    let submitted = user.types(&line).succeeds().json();
    submitted["job_id"].as_str().expect("a job id").to_owned()
}

fn polled(miner: &User) -> Value {
    let polled = miner.types("aitbc miner poll --json").succeeds().json();
    polled["job"]["job_id"].clone()
}

fn explained(user: &User, options: &str) -> Value {
    let line = format!("{SUBMIT} --explain {options}");
    user.types(&line).succeeds().json()
}

#[test]
fn a_miner_that_polls_gets_what_is_paid_for() {
    let network = Network::start();
    let (payer, miner) = (scripted(&network, "me"), scripted(&network, "owner"));
    wallet(&network, &payer, "test_wallet");
    let register = "aitbc miner register --price-per-hour 0.5 --slots 2";
    let line = format!("{register} --paid-only --json");
    let registered = miner.types(&line).succeeds().json();
    assert_eq!(registered["paid_only"], true, "{registered}");
    // Registering again changes what is given.
    let again = miner.types(register).succeeds().text();
    assert!(again.contains("paid jobs only"), "{again}");

    let unpaid = job(&payer, "");
    assert_eq!(polled(&miner), Value::Null);
    let paid = job(&payer, "--pay 1");
    assert_eq!(polled(&miner), *paid);
    assert_eq!(polled(&miner), Value::Null);
    // Paid for later, it goes too; and jobs that nobody pays for, once the miner says so.
    let _paid = payer
        .types(&format!("aitbc client pay {unpaid} --amount 1"))
        .succeeds();
    assert_eq!(polled(&miner), *unpaid);
    for job in [&paid, &unpaid] {
        let line = format!("aitbc miner fail {job}");
        let _failed = miner.types(&line).succeeds();
    }
    let third = job(&payer, "");
    assert_eq!(polled(&miner), Value::Null);
    let updated = miner.types("aitbc miner update --paid-only=false");
    let updated = updated.succeeds().text();
    assert!(updated.contains("also jobs that nobody pays for"));
    let found = std::iter::from_fn(|| Some(polled(&miner)).filter(|job| !job.is_null()));
    assert!(found.take(3).any(|job| job == *third));
    miner
        .types("aitbc miner update --paid-only=perhaps")
        .refuses(2, "paid-only");
}

#[test]
fn a_miner_in_session_says_what_it_takes_and_is_explained() {
    let network = Network::start();
    let payer = scripted(&network, "me");
    wallet(&network, &payer, "test_wallet");
    let server = FakeOllama::start(Script::Answer);
    let owner = network.user("owner").with("OLLAMA_HOST", server.address());
    let mining = owner.starts("aitbc miner mine-ollama --model llama3 --continuous --paid-only");
    mining.prints("paid jobs only");

    let unpaid = explained(&payer, "");
    assert_eq!(unpaid["matching_miners"], 0, "{unpaid}");
    assert_eq!(unpaid["filters"][0]["filter"], "unpaid", "{unpaid}");
    assert_eq!(unpaid["filters"][0]["removed"], 1, "{unpaid}");
    assert_eq!(unpaid["warnings"][0], "NO_MATCHING_MINER", "{unpaid}");
    for options in ["--pay 1", "--hold"] {
        let paid = explained(&payer, options);
        assert_eq!(paid["matching_miners"], 1, "{paid}");
    }
    let text = payer.types(&format!("{} --explain", SUBMIT.replace(" --json", "")));
    let text = text.succeeds().text();
    let line = "1 removed by unpaid: takes only jobs that are paid for";
    assert!(text.contains(line), "{text}");

    let waiting = job(&payer, "");
    let paid = job(&payer, "--pay 1");
    let line = format!("aitbc client result {paid} --wait");
    let _result = payer.types(&line).succeeds();
    let status = |job: &str| {
        let line = format!("aitbc client status {job} --json");
        payer.types(&line).succeeds().json()
    };
    assert_eq!(status(&waiting)["status"], "queued");
    let _paid = payer
        .types(&format!("aitbc client pay {waiting} --amount 1"))
        .succeeds();
    wait_for("the job that is paid now", || {
        (status(&waiting)["status"] == "completed").then_some(())
    });
    drop(mining);

    // Without the option it stays as registered.
    let mining = owner.starts("aitbc miner mine-ollama --model llama3 --continuous");
    mining.prints("paid jobs only");
    drop(mining);
    let last = job(&payer, "");
    let all = "aitbc miner mine-ollama --model llama3 --takeover --paid-only=false";
    let _mined = owner.types(all).succeeds();
    assert_eq!(status(&last)["status"], "completed");
}
