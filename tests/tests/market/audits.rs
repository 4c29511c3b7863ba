//! Audits of work: a miner that cheats loses its reputation within the findings that docs/market.md states, and those
//! whose work is right lose nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aitbc_common::address::Address;
use aitbc_common::genesis::Genesis;
use aitbc_common::layouts::{FaultReason, Record, RecordBody};
use aitbc_tests::harness::{FakeOllama, Network, Process, Script, User, wait_within};
use serde_json::Value;

use super::document;
use super::payer::Payer;

const AIT: u64 = 1_000_000;
/// What another model says, the first half of what is right, and the answer to something else.
const CHEATS: [&str; 3] = ["Goodbye", "Hel", "The capital is Paris"];
/// So many findings take a reputation of 0.79 below 0.5: docs/market.md.
const FINDINGS: usize = 5;
/// Clients whose payments make a reputation of 0.79.
const CLIENTS: u8 = 10;
/// So often the coordinator is killed.
const KILLS: usize = 6;
/// Jobs that are submitted at once.
const BATCH: usize = 20;
const PATIENCE: Duration = Duration::from_secs(240);

/// A miner whose model server plays a script.
struct Rig {
    server: FakeOllama,
    user: User,
    miner: String,
    _mining: Process,
}

impl Rig {
    fn start(network: &Network, name: &str, price: &str) -> Self {
        let server = FakeOllama::start(Script::Answer);
        let user = network.user(name).with("OLLAMA_HOST", server.address());
        let line = format!("aitbc miner register --price-per-hour {price}");
        let registered = document(&user, &line);
        let miner = registered["miner_id"].as_str().expect("an id").to_owned();
        let mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
        Self {
            miner,
            server,
            user,
            _mining: mining,
        }
    }

    fn rated(&self) -> Value {
        let line = format!("aitbc marketplace reputation {} --explain", self.miner);
        document(&self.user, &line)
    }

    fn reputation(&self) -> f64 {
        self.rated()["reputation"].as_f64().expect("a number")
    }
}

/// Ten clients and one more pay these miners well for good work; then they become cheap. The one more: its fees pay for the
/// audits of its jobs.
async fn praised<const MINERS: usize>(
    network: &Network,
    names: [&str; MINERS],
) -> ([Rig; MINERS], Payer) {
    // 10 s of it are 56 AIT, and the half second of a job 2.7: a fee that counts in full.
    let rigs = names.map(|name| Rig::start(network, name, "20000"));
    let client = Payer::new(&rigs[0].user, 99, 900 * AIT).await;
    let mut clients = vec![client];
    for n in 0..CLIENTS {
        clients.push(Payer::new(&rigs[0].user, 100 + n, 900 * AIT).await);
    }
    for rig in &rigs {
        rig.server.plays(Script::AnswerLate);
        for client in &mut clients {
            client.submit(&rig.miner, 60 * AIT, false).await;
        }
    }
    for rig in &rigs {
        wait_within(PATIENCE, "a reputation of 0.79", || {
            (rig.reputation() > 0.79).then_some(())
        });
        let cheap = "aitbc miner register --price-per-hour 1";
        let _cheap = rig.user.types(cheap).succeeds();
        rig.server.plays(Script::Answer);
    }
    (rigs, clients.swap_remove(0))
}

/// The log's records, as it is exported.
fn records(network: &Network, user: &User) -> Vec<Record> {
    let file = network.folder().join("log.ndjson");
    let line = format!("aitbc ledger export {}", file.display());
    let _exported = user.types(&line).succeeds();
    let text = std::fs::read_to_string(&file).expect("an export");
    let record = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let leaf = hex::decode(line["leaf"].as_str()?).expect("digits");
        Some(Record::decode(&leaf).expect("a record"))
    };
    text.lines().filter_map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheating_miner_loses_its_reputation_and_who_is_right_loses_nothing() {
    let network = Network::start();
    let names = ["cheater", "honest-1", "honest-2"];
    let ([cheater, honest @ ..], mut client) = praised(&network, names).await;
    let before = honest.each_ref().map(Rig::reputation);
    let begun = Instant::now();
    let mut jobs = 0;
    loop {
        let rated = cheater.rated();
        let (reputation, fault) = (rated["reputation"].as_f64(), rated["fault"].as_u64());
        // No more findings than that are needed.
        if fault >= Some(1_000 * FINDINGS as u64) {
            assert!(reputation < Some(0.5), "{rated}");
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{jobs} jobs: {}",
            cheater.rated()
        );
        cheater
            .server
            .plays(Script::Say(CHEATS[jobs % CHEATS.len()]));
        let mut last = String::new();
        for _ in 0..BATCH {
            last = client.submit(&cheater.miner, AIT / 100, true).await;
        }
        client.completed(&last).await;
        jobs += BATCH;
    }
    // Nothing else is found while the last audits end.
    let faults = cheater.rated()["fault"].as_u64();
    assert!(
        faults >= Some(1_000 * FINDINGS as u64),
        "{}",
        cheater.rated()
    );
    let found = check_findings(&network, &cheater);
    assert!(found >= FINDINGS, "{found} findings");
    let audit = cheater.user.types("aitbc ledger audit").succeeds();
    assert!(audit.text().contains("✓"), "{}", audit.text());
    let after = honest.each_ref().map(Rig::reputation);
    assert!(
        after
            .iter()
            .zip(before)
            .all(|(after, before)| *after >= before),
        "{after:?}"
    );
}

/// A coordinator that is killed again and again draws no job twice, runs none more than twice, and records each finding once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinator_repeats_no_audit() {
    let mut network = Network::start();
    let names = ["cheater", "honest-1", "honest-2"];
    let ([cheater, _honest @ ..], mut client) = praised(&network, names).await;
    cheater.server.plays(Script::Say(CHEATS[0]));
    let begun = Instant::now();
    let (mut found, mut kills) = (0, 0);
    while found < FINDINGS || kills < KILLS {
        assert!(begun.elapsed() < PATIENCE, "{found} findings");
        let mut last = String::new();
        for _ in 0..2 * BATCH {
            last = client.submit(&cheater.miner, AIT / 100, true).await;
        }
        client.completed(&last).await;
        network.kill_coordinator();
        kills += 1;
        network.restart_coordinator();
        client.reconnect(&cheater.user).await;
        found = check_findings(&network, &cheater);
    }
    let audit = cheater.user.types("aitbc ledger audit").succeeds();
    assert!(audit.text().contains("✓"), "{}", audit.text());
}

/// How often the cheater was found; nobody else was, and no job twice.
fn check_findings(network: &Network, cheater: &Rig) -> usize {
    let records = records(network, &cheater.user);
    let auditors = auditors(&records);
    let key = cheater.user.miner_identity().public();
    let (mut found, mut payees, mut runs) = (BTreeSet::new(), BTreeSet::new(), 0);
    for record in &records {
        match &record.body {
            RecordBody::Fault(fault) if fault.reason == FaultReason::Wrong => {
                assert_eq!(fault.miner, key);
                assert!(auditors.contains(&fault.client), "{fault:?}");
                assert!(found.insert(fault.job_ref), "found twice: {fault:?}");
            }
            RecordBody::Transaction(signed) if auditors.contains(&signed.transaction.account) => {
                runs += 1;
                assert!(
                    payees.insert(signed.transaction.target),
                    "paid twice: {signed:?}"
                );
            }
            _ => {}
        }
    }
    assert!(
        runs >= 2 * found.len(),
        "{runs} runs for {} findings",
        found.len()
    );
    found.len()
}

fn auditors(records: &[Record]) -> BTreeSet<Address> {
    let RecordBody::Genesis(file) = &records[0].body else {
        panic!("the log begins with its genesis file")
    };
    let genesis = Genesis::parse(file).expect("a genesis file");
    genesis.auditors.into_iter().collect()
}
