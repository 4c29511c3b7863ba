//! Half of all the money that there can be, and the other half: locked for one job, settled, and sent to and fro until the
//! counters of the accounts are beyond 64 bits.

use aitbc_common::layouts::{Receipt, TransactionKind, address_target};
use aitbc_common::token::Scope;
use aitbc_common::wallet::WalletKey;
use aitbc_tests::harness::{
    Delivery, HandMiner, Network, Process, Stream, User, program, wait_for,
};
use serde_json::Value;

use super::refusals::{send, sign};
use super::scripted;

/// All the money of the network: 2^62 and 2^62 − 1 micro-AIT.
const HALVES: [&str; 2] = ["4611686018427.387904", "4611686018427.387903"];

/// The three that there are, by name.
struct Owner {
    name: &'static str,
    key: WalletKey,
}

fn owners() -> [Owner; 3] {
    [("one", 31), ("two", 32), ("miner", 33)].map(|(name, seed)| Owner {
        name,
        key: WalletKey::from_bytes(&[seed; 32]).expect("a valid key"),
    })
}

/// A network without --dev whose genesis gives the halves to the first two.
fn found(place: &Network, owners: &[Owner]) -> (Process, String) {
    let data = place.data_dir();
    let data = data.to_str().expect("a temporary folder is UTF-8");
    let operator = place.user("operator");
    let allocated: Vec<String> = owners
        .iter()
        .zip(HALVES)
        .map(|(owner, amount)| format!("{}={amount}", owner.key.address()))
        .collect();
    let init = [
        "init",
        "--data-dir",
        data,
        "--allocate",
        &allocated[0],
        "--allocate",
        &allocated[1],
    ];
    let coordinator = program("aitbc-coordinator");
    let founded = Process::start(operator.command(&coordinator, &init)).wait();
    assert!(
        founded
            .succeeds()
            .text()
            .contains("supply:      9223372036854.775807 AIT")
    );
    let serve = ["--data-dir", data, "--listen", "127.0.0.1:0"];
    let process = Process::start(operator.command(&coordinator, &serve));
    let address = process.wait_for(Stream::Stdout, "address", |text| {
        let rest = text.strip_prefix("listening on ")?;
        Some(rest.split_once('\n')?.0.to_owned())
    });
    (process, address)
}

/// Micro-AIT.
fn micro(amount: &Value) -> u64 {
    let text = amount.as_str().expect("an amount").replace('.', "");
    text.parse().expect("six decimals")
}

fn balance(user: &User, name: &str) -> Value {
    let line = format!("aitbc wallet balance {name} --json");
    let balance = user.types(&line).succeeds().json();
    assert_eq!(balance["proof"], "valid");
    balance
}

/// Everything to the other, and back, until the counters of each account have passed 2^64.
async fn to_and_fro(user: &User, owners: &[Owner], have: &mut [u64; 2]) {
    let connection = user.connect(Scope::Client).await;
    let chain_id = *connection.chain_id();
    let mut moved = 0_u128;
    for nonce in 1..=3 {
        for (from, to) in [(0, 1), (1, 0)] {
            let target = address_target(owners[to].key.address());
            let key = &owners[from].key;
            let kind = TransactionKind::Transfer;
            let all = (have[from], target);
            let signed = sign(key, chain_id, nonce, kind, all, Vec::new());
            let sent = send(&connection, signed.encode()).await;
            sent.expect("it has that much");
            moved += u128::from(have[from]);
            have[to] += have[from];
            have[from] = 0;
        }
    }
    assert!(moved > 2 * u128::from(u64::MAX), "{moved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_the_money_there_can_be_goes_round_without_overflow() {
    let place = Network::without_coordinator();
    let owners = owners();
    let (_coordinator, address) = found(&place, &owners);
    let user = scripted(&place, "me").with("AITBC_COORDINATOR", &address);
    for owner in &owners {
        let file = place.write(owner.name, hex::encode(owner.key.to_bytes().as_slice()));
        let line = format!(
            "aitbc wallet import --name {} --private-key-file {}",
            owner.name,
            file.display()
        );
        let _imported = user.types(&line).succeeds();
    }
    let register = format!(
        r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 1000000 --payout {}"#,
        owners[2].key.address()
    );
    let miner = HandMiner::register(&user, &register).await;

    // Both halves are locked for one job: together one micro-AIT less than 2^63.
    let line = "aitbc client submit --model llama3 --prompt Hello --json";
    let job = user.types(line).succeeds().json();
    let job = job["job_id"].as_str().expect("an id").to_owned();
    for (owner, amount) in owners.iter().zip(HALVES) {
        let line = format!(
            "aitbc client pay {job} --amount {amount} --wallet {} --json",
            owner.name
        );
        let paid = user.types(&line).succeeds().json();
        assert_eq!(paid["amount_ait"], amount, "{paid}");
    }
    for (owner, amount) in owners.iter().zip(HALVES) {
        let locked = balance(&user, owner.name);
        assert_eq!(locked["escrow_ait"], amount, "{locked}");
        assert_eq!(locked["available_ait"], "0.000000", "{locked}");
    }
    let assign = miner.poll().await;
    let all = |receipt: &mut Receipt| receipt.work_ms = u64::MAX;
    let delivery = Delivery::new(&assign, &miner.identity, all);
    miner.deliver(delivery).await.expect("an honest delivery");
    let status = wait_for("the settlement", || {
        let line = format!("aitbc client status {job} --json");
        let status = user.types(&line).succeeds().json();
        (status["payment_status"] == "settled").then_some(status)
    });
    let paid = micro(&status["paid_ait"]);
    let payout = paid - (paid * 250).div_ceil(10_000);
    assert!(paid > 0, "{status}");
    assert_eq!(micro(&balance(&user, "miner")["total_ait"]), payout);
    // The first lock paid, the second returned whole.
    let mut have = [micro(&HALVES[0].into()) - paid, micro(&HALVES[1].into())];
    for (owner, have) in owners.iter().zip(have) {
        assert_eq!(micro(&balance(&user, owner.name)["available_ait"]), have);
    }

    to_and_fro(&user, &owners, &mut have).await;
    for (owner, have) in owners.iter().zip(have) {
        assert_eq!(micro(&balance(&user, owner.name)["total_ait"]), have);
    }
    let audit = user.types("aitbc ledger audit --json").succeeds().json();
    assert_eq!(audit["supply_ait"], "9223372036854.775807", "{audit}");
    assert_eq!(micro(&audit["paid_ait"]), paid, "{audit}");
}
