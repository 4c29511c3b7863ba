//! What is paid where a job does not end as its owner wished, or its miner claims too much.

use std::time::{Duration, Instant};

use aitbc_common::layouts::{Assignment, Receipt};
use aitbc_common::money::cost;
use aitbc_tests::harness::{
    Delivery, FakeOllama, HandMiner, Network, Process, Script, Stream, User, wait_for,
};
use serde_json::Value;
use tonic::Code;

use super::{available, scripted, wallet};

/// 0.5 AIT an hour: 10 s cost 0.001389 AIT.
const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;
const RATE: u64 = 500_000;

/// Somebody with 100 AIT, and somebody else's miner on a scripted model server.
struct Market {
    payer: User,
    server: FakeOllama,
    miner: Process,
    _network: Network,
}

impl Market {
    fn open() -> Self {
        let network = Network::start();
        let payer = scripted(&network, "me");
        wallet(&network, &payer, "test_wallet");
        let server = FakeOllama::start(Script::Answer);
        let owner = network.user("owner").with("OLLAMA_HOST", server.address());
        let _registered = owner.types(REGISTER).succeeds();
        let miner = owner.starts("aitbc miner mine-ollama --model llama3 --continuous");
        miner.prints("polling");
        Self {
            payer,
            server,
            miner,
            _network: network,
        }
    }

    /// Pays for a job while the server plays this.
    fn submit(&self, script: Script, options: &str) -> String {
        self.server.plays(script);
        let line = format!("aitbc client submit --model llama3 --prompt Hello --json {options}");
        let submitted = self.payer.types(&line).succeeds().json();
        submitted["job_id"].as_str().expect("a job id").to_owned()
    }

    /// The job once its payment stands so.
    fn paid(&self, job: &str, wanted: &str) -> Value {
        paid(&self.payer, job, wanted)
    }

    /// The model is told to stop, not only the job.
    fn model_stops(&self) {
        wait_for("the model to stop", || {
            (self.server.generating() == 0).then_some(())
        });
    }
}

fn paid(user: &User, job: &str, wanted: &str) -> Value {
    wait_for(wanted, || {
        let line = format!("aitbc client status {job} --json");
        let status = user.types(&line).succeeds().json();
        let is = status["payment_status"].as_str()?;
        assert!(
            is == wanted || !["settled", "refunded"].contains(&is),
            "{status}"
        );
        (is == wanted).then_some(status)
    })
}

/// Micro-AIT.
fn amount(value: &Value) -> u64 {
    let text = value.as_str().expect("an amount").replace('.', "");
    text.parse().expect("six decimals")
}

/// The record that paid for the user's only paid job, as anybody can read it.
fn post(user: &User) -> Value {
    let history = user.types("aitbc wallet history --json").succeeds().json();
    let records = history["transactions"].as_array().expect("a list");
    let paid = records.iter().find(|record| record["kind"] == "settled");
    let index = &paid.expect("a payment")["height"];
    let line = format!("aitbc ledger record {index} --json");
    user.types(&line).succeeds().json()
}

#[test]
fn a_budget_that_runs_out_stops_the_model_and_pays_at_most_the_lock() {
    let market = Market::open();
    // A little over 10 s.
    let job = market.submit(Script::Trickle, "--pay 0.0015");
    let status = market.paid(&job, "settled");
    market.model_stops();
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["finish_reason"], "budget", "{status}");
    let (paid, back) = (amount(&status["paid_ait"]), amount(&status["returned_ait"]));
    assert_eq!(paid + back, 1_500);
    assert!(paid > 0, "{status}");
    let post = post(&market.payer);
    assert_eq!(post["outcome"], "budget", "{post}");
    // What was paid for came.
    let line = format!("aitbc client result {job}");
    let result = market.payer.types(&line).succeeds();
    assert!(result.text().starts_with("Hello and and"), "{result:?}");
}

#[test]
fn failed_and_stalled_jobs_give_everything_back() {
    let market = Market::open();
    let failed = market.submit(Script::Fail, "--pay 5 --max-retries 0");
    let status = market.paid(&failed, "refunded");
    assert_eq!(status["status"], "failed", "{status}");
    assert_eq!(available(&market.payer), "100.000000");
    // It stalls after its first word, and whoever waits for it no more pays nothing for the silence.
    let stalled = market.submit(Script::HangInMidStream, "--pay 5 --max-retries 0");
    aitbc_tests::harness::wait_within(Duration::from_secs(120), "the stall", || {
        market.miner.stdout().contains("stall").then_some(())
    });
    let status = market.paid(&stalled, "refunded");
    assert_eq!(status["status"], "failed", "{status}");
    assert_eq!(available(&market.payer), "100.000000");
}

#[test]
fn a_cancelled_job_pays_for_what_had_arrived_and_no_more() {
    let market = Market::open();
    market.server.plays(Script::Trickle);
    let began = Instant::now();
    let line = "aitbc client submit --model llama3 --prompt Hello --pay 5 --watch --json";
    let watch = market.payer.starts(line);
    let job = watch.wait_for(Stream::Stdout, "five words", |text| {
        let first: Value = serde_json::from_str(text.lines().next()?).ok()?;
        let job = first["job_id"].as_str()?.to_owned();
        (text.matches(" and").count() >= 5).then_some(job)
    });
    let _cancelled = market
        .payer
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    let most = cost(
        RATE,
        u64::try_from(began.elapsed().as_millis()).expect("ms"),
    );
    market.model_stops();
    let status = market.paid(&job, "settled");
    assert_eq!(status["status"], "cancelled", "{status}");
    let paid = amount(&status["paid_ait"]);
    assert!(paid > 0 && paid <= most, "{paid} of {most}: {status}");
    assert_eq!(paid + amount(&status["returned_ait"]), 5_000_000);
    let post = post(&market.payer);
    assert_eq!(post["outcome"], "cancelled", "{post}");
    assert!(
        post["billed_seconds"].as_f64() <= post["observed_seconds"].as_f64(),
        "{post}"
    );
    // It stays so, whatever the miner does next.
    let next = market.submit(Script::Answer, "--pay 1");
    let line = format!("aitbc client result {next} --wait");
    let _next = market.payer.types(&line).succeeds();
    let line = format!("aitbc client status {job} --json");
    let later = market.payer.types(&line).succeeds().json();
    assert_eq!(later["paid_ait"], status["paid_ait"]);
}

#[test]
fn a_deadline_in_mid_stream_pays_for_what_had_arrived_and_no_more() {
    let market = Market::open();
    let job = market.submit(Script::Trickle, "--pay 5 --timeout 4s");
    let status = market.paid(&job, "settled");
    market.model_stops();
    assert_eq!(status["status"], "expired", "{status}");
    let paid = amount(&status["paid_ait"]);
    assert!(paid > 0 && paid <= cost(RATE, 4_000), "{status}");
    assert_eq!(paid + amount(&status["returned_ait"]), 5_000_000);
    let post = post(&market.payer);
    assert_eq!(post["outcome"], "deadline", "{post}");
    assert!(
        post["billed_seconds"].as_f64() <= post["observed_seconds"].as_f64(),
        "{post}"
    );
    // The prefix is no result, and takes no more money.
    let _none = market
        .payer
        .types(&format!("aitbc client result {job}"))
        .exits(6);
    market
        .payer
        .types(&format!("aitbc client pay {job} --amount 1"))
        .refuses(4, "it is paid");
}

fn held(user: &User) -> String {
    let line = "aitbc client submit --model llama3 --prompt Hello --json --pay 5";
    let submitted = user.types(line).succeeds().json();
    submitted["job_id"].as_str().expect("a job id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_claims_too_much_is_paid_what_was_seen() {
    let network = Network::start();
    let payer = scripted(&network, "me");
    wallet(&network, &payer, "test_wallet");
    let miner = HandMiner::register(&network.user("owner"), REGISTER).await;

    // All the work of the world, and as many tokens as bytes can be.
    let job = held(&payer);
    let began = Instant::now();
    let assign = miner.poll().await;
    // What is delivered within the millisecond in which it was given was seen for no time.
    let given = Instant::now();
    wait_for("some time to be seen", || {
        (given.elapsed() > Duration::from_millis(5)).then_some(())
    });
    let greedy = |receipt: &mut Receipt| {
        (receipt.work_ms, receipt.tokens_in, receipt.tokens_out) = (u64::MAX, 1_000, 5);
    };
    let delivered = miner
        .deliver(Delivery::new(&assign, &miner.identity, greedy))
        .await;
    let seen = began.elapsed();
    delivered.expect("its own attempt");
    let status = paid(&payer, &job, "settled");
    let most = cost(RATE, u64::try_from(seen.as_millis()).expect("ms") + 1);
    let paid_for_all = amount(&status["paid_ait"]);
    assert!(paid_for_all <= most, "{paid_for_all} of {most}: {status}");

    // It keeps the job for longer than its tokens justify: the base time and its prompt are paid, not the wait.
    let job = held(&payer);
    let assign = miner.poll().await;
    let began = Instant::now();
    wait_for("the time that is not paid", || {
        (began.elapsed() > Duration::from_millis(1_500)).then_some(())
    });
    let slow = |receipt: &mut Receipt| receipt.work_ms = u64::MAX;
    let delivered = miner
        .deliver(Delivery::new(&assign, &miner.identity, slow))
        .await;
    delivered.expect("its own attempt");
    let status = paid(&payer, &job, "settled");
    let assignment = Assignment::decode(&assign.assignment).expect("an assignment");
    assert_eq!(assignment.rate, RATE);
    assert_eq!(amount(&status["paid_ait"]), cost(RATE, 1_000), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cancel_a_miner_has_nothing_to_bill() {
    let network = Network::start();
    let payer = scripted(&network, "me");
    wallet(&network, &payer, "test_wallet");
    let miner = HandMiner::register(&network.user("owner"), REGISTER).await;
    let job = held(&payer);
    let assign = miner.poll().await;
    let _cancelled = payer
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    let greedy = |receipt: &mut Receipt| receipt.work_ms = u64::MAX;
    let status = miner
        .deliver(Delivery::new(&assign, &miner.identity, greedy))
        .await;
    let status = status.expect_err("the job was cancelled before");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    // No byte had arrived.
    let status = paid(&payer, &job, "refunded");
    assert_eq!(amount(&status["returned_ait"]), 5_000_000);
    assert_eq!(available(&payer), "100.000000");
}
