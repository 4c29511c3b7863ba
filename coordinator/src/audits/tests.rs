//! The auditor's steps over real engine and ledger threads and a store in memory.

use std::collections::BTreeMap;

use aitbc_common::address::Address;
use aitbc_common::genesis::{Faucet, Genesis};
use aitbc_common::identity::Identity;
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::market::book::Book;
use aitbc_common::market::day_of;
use aitbc_common::market::reputation::{Entry as Known, PayerDay, Reputations};
use aitbc_common::runtime::unix_ms;
use bytes::Bytes;
use prost::Message;

use super::auditor::{Auditor, BrokenRules};
use super::driver::Coordinator;
use super::network::Network;
use super::rows::{self, AuditRow, RunRow, SeedRow, SpentRow};
use crate::engine::core::EngineConfig;
use crate::engine::driver as engine;
use crate::engine::handle::Nobody;
use crate::ledger::command::Command;
use crate::ledger::core::{LedgerConfig, LedgerCore};
use crate::ledger::driver as ledger;
use crate::market::SharedBook;
use crate::store::keys::DAY_MS;
use crate::store::{Batch, Durability, Family, LEDGER_PARTITION, MemoryStore, Store, StoreError};
use aitbc_common::wallet::WalletKey;
use std::sync::Arc;

fn wallet() -> WalletKey {
    WalletKey::from_bytes(&[3; 32]).unwrap()
}

fn config() -> LedgerConfig {
    let log = Identity::from_seed(&[9; 32]);
    let genesis = Genesis {
        allocations: BTreeMap::new(),
        faucet: Some(Faucet {
            per_address: 10,
            total: 100,
        }),
        auditors: vec![wallet().address()],
        fee_bps: 250,
        log_key: log.public().0,
        previous: None,
        profile: "dev".into(),
        random: [7; 32],
        service_key: [8; 32],
        version: 1,
    };
    let file = genesis.to_bytes();
    let rules = genesis.rules(&file).unwrap();
    LedgerConfig::new(rules, file.into(), log, genesis.faucet())
}

type Writer = std::thread::JoinHandle<Result<(), StoreError>>;

fn auditor() -> Auditor {
    Auditor {
        wallets: vec![wallet()],
        chain_id: config().rules.chain_id,
        fee_bps: 250,
        per_day: 1,
        has_faucet: true,
        broken: BrokenRules::default(),
        looked_to_ms: 0,
    }
}

fn coordinator(store: &Arc<dyn Store>) -> (Coordinator, [Writer; 2]) {
    let config = config();
    let room = || Box::new(|| true);
    let jobs = EngineConfig::new(config.rules.chain_id, 250);
    let jobs = engine::start(Arc::clone(store), jobs, Box::new(Nobody), room()).unwrap();
    let money = ledger::start(Arc::clone(store), config, room()).unwrap();
    let coordinator = Coordinator {
        store: Arc::clone(store),
        engine: jobs.handle,
        ledger: money.handle,
        book: Arc::default(),
        figures: Arc::default(),
    };
    (coordinator, [jobs.thread, money.thread])
}

/// A look at the seeds at this time, by a coordinator that starts and ends with it.
fn look(store: &Arc<dyn Store>, now: u64) -> Vec<(u32, SeedRow, Option<Entry>)> {
    let (mut coordinator, writers) = coordinator(store);
    auditor().keep_seeds(&mut coordinator, now).unwrap();
    auditor().keep_seeds(&mut coordinator, now).unwrap();
    let mut seeds = Vec::new();
    for day in day_of(now) - 3..=day_of(now) + 1 {
        let network: &dyn Network = &coordinator;
        let row: Option<SeedRow> = network.read(Family::Active, &rows::seed(day)).unwrap();
        let entry = network.entry(StateKey::AuditSeed(day)).unwrap();
        seeds.push((day, row.unwrap_or_default(), entry));
    }
    drop(coordinator);
    for writer in writers {
        writer.join().unwrap().unwrap();
    }
    seeds
}

/// The ledger's clock goes on by so much.
fn pass(store: &Arc<dyn Store>, now: u64) {
    let fence = store.claim(LEDGER_PARTITION..=LEDGER_PARTITION).unwrap();
    let mut core = LedgerCore::recover(config(), now, store).unwrap();
    let draw = Command::Faucet {
        account: wallet().address(),
        amount: 1,
    };
    let output = core.apply(now, vec![draw], store).unwrap();
    store
        .commit(&fence, output.batch, Durability::Synced)
        .unwrap();
}

#[test]
fn a_days_seed_is_settled_the_day_before_and_told_when_the_day_after_is_over() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let now = unix_ms();
    let today = day_of(now);
    let told = |entry: &Option<Entry>| match entry {
        Some(Entry::AuditSeed(known)) => Some(known.seed != [0; 32]),
        _ => None,
    };
    let first = look(&store, now);
    for (day, row, entry) in &first {
        let settled = (*day >= today).then_some(false);
        assert_eq!(told(entry), settled, "day {day}");
        assert_eq!(row.committed, *day >= today);
    }
    // Three days later, after a restart: the days before are told, with the seeds that were settled.
    let later = now + 3 * DAY_MS;
    pass(&store, later);
    let then = look(&store, later);
    for (day, row, entry) in &then {
        match day - today {
            0 | 1 => {
                assert_eq!(told(entry), Some(true), "day {day}");
                assert_eq!(*row, SeedRow::default(), "it is forgotten");
            }
            2 => assert_eq!(told(entry), None, "nobody was there"),
            _ => assert_eq!((told(entry), row.committed), (Some(false), true)),
        }
    }
    let seed = |seeds: &[(u32, SeedRow, Option<Entry>)]| {
        let found = seeds.iter().find(|(day, ..)| *day == today).cloned();
        found.unwrap()
    };
    let (_, settled, _) = seed(&first);
    let (_, _, Some(Entry::AuditSeed(known))) = seed(&then) else {
        panic!("it was told")
    };
    assert_eq!(known.seed[..], settled.seed[..]);
}

#[test]
fn a_payers_fees_of_30_days_cover_its_audits_and_nothing_else_does() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (mut coordinator, _writers) = coordinator(&store);
    let now = unix_ms();
    let today = day_of(now);
    let payer = wallet().address();
    let fees = |day, fees| PayerDay {
        day,
        fees,
        faults: 0,
    };
    let days = vec![fees(today - 20, 70), fees(today, 30)];
    let paid = Reputations::load([Known::Payer { payer, days }]).unwrap();
    coordinator.book = Arc::new(SharedBook::of(Book::with(paid)));
    let audit = |payer: Address, reserved| AuditRow {
        payer: Bytes::copy_from_slice(&payer.0),
        runs: vec![RunRow {
            amount: reserved,
            ..RunRow::default()
        }],
        ..AuditRow::default()
    };
    let covers = |network: &mut Coordinator, under_way: &[AuditRow], amount| {
        let asked = auditor().is_covered(network, &audit(payer, 0), under_way, amount, now);
        asked.unwrap()
    };
    let network = &mut coordinator;
    assert!(covers(network, &[], 100) && !covers(network, &[], 101));
    // What is under way counts whole, and what is another's not at all.
    let under_way = [audit(payer, 60), audit(Address([9; 20]), 1_000)];
    assert!(covers(network, &under_way, 40) && !covers(network, &under_way, 41));
    // So does what audits have cost, for 30 days.
    let mut batch = Batch::new();
    for (day, locked) in [(today - 40, 1_000), (today - 1, 25)] {
        let row = SpentRow { locked }.encode_to_vec();
        batch.put(Family::Active, rows::cost(&payer.0, day), row);
    }
    <dyn Network>::keep(network, batch).unwrap();
    assert!(covers(network, &under_way, 15) && !covers(network, &under_way, 16));
    let stranger = audit(Address([7; 20]), 0);
    let covered = auditor().is_covered(network, &stranger, &[], 1, now);
    assert!(!covered.unwrap());
}
