//! The coordinator was down for longer than a lock holds: what was proven before is paid all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use aitbc_common::genesis::Genesis;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{LockTerms, SignMode, SignedTransaction, Transaction, TransactionKind};
use aitbc_common::wallet::WalletKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::driver;
use crate::engine::handle::Nobody;
use crate::ledger::command::{Command as ToLedger, Reply as FromLedger, Submission as Signed};
use crate::ledger::core::{LedgerConfig, LedgerCore};
use crate::ledger::driver as ledger_driver;
use crate::relay::Relay;
use crate::store::LEDGER_PARTITION;

const EXPIRES: u64 = START + 26 * 3_600_000;

fn payer() -> WalletKey {
    WalletKey::from_bytes(&[1; 32]).unwrap()
}

fn ledger_config() -> LedgerConfig {
    let log = Identity::from_seed(&[9; 32]);
    let genesis = Genesis {
        allocations: BTreeMap::from([(payer().address(), 100 * AIT)]),
        faucet: None,
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: log.public().0,
        previous: None,
        profile: "dev".into(),
        random: [7; 32],
        service_key: [8; 32],
        version: 1,
    };
    let file: Bytes = genesis.to_bytes().into();
    LedgerConfig::new(genesis.rules(&file).unwrap(), file, log, genesis.faucet())
}

/// Records a lock for job 1 of owner 1 in a new ledger; its id and the index of its record.
fn record_lock(store: &Arc<dyn Store>, config: &LedgerConfig) -> (Hash, u64) {
    let fence = store.claim(LEDGER_PARTITION..=LEDGER_PARTITION).unwrap();
    let mut core = LedgerCore::recover(config.clone(), START, store).unwrap();
    let begun = core.begin(store).unwrap();
    store
        .commit(&fence, begun.batch, Durability::Synced)
        .unwrap();
    let terms = LockTerms {
        purpose: LockPurpose::Job,
        expires_at: EXPIRES,
        max_rate: NO_MAX_RATE,
        max_fee_bps: 250,
        miner_key: PublicKey([0; 32]),
    };
    let draft = Transaction {
        kind: TransactionKind::Lock,
        sign_mode: SignMode::Wallet,
        chain_id: config.rules.chain_id,
        public_key: [0; 33],
        account: Default::default(),
        nonce: 0,
        valid_until: START + 1_000,
        amount: 10 * AIT,
        max_fee: 0,
        target: submission(1, 1).spec.job_ref(),
        payload_hash: Hash::default(),
    };
    let signed = Signed {
        signed: SignedTransaction::by_wallet(draft, terms.encode(), &payer()).unwrap(),
        job: Some(job_id(1, 1)),
        owner: Some(owner(1)),
        rental: None,
        caller: None,
    };
    let command = ToLedger::Submit(Box::new(signed));
    let mut output = core.apply(START, vec![command], store).unwrap();
    store
        .commit(&fence, output.batch, Durability::Synced)
        .unwrap();
    match output.replies.remove(0) {
        FromLedger::Recorded { id, index, .. } => (id, index),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lock_that_expired_meanwhile_pays_for_the_newest_checkpoint() {
    let mut rig = Rig::with(|config| config.receipt_ms = 1_500);
    let ledger = ledger_config();
    let (lock, log_index) = record_lock(&rig.store, &ledger);
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.hold(1);
    rig.lock(LockOpened {
        lock,
        log_index,
        expires_at: EXPIRES,
        payer: payer().address(),
        ..lock_of(1, 1, 1, 10 * AIT)
    });
    rig.accept(1, attempt(job, 1));
    rig.ask(checkpoint(attempt(job, 1), 5_000));
    rig.wait(6_000);
    // Down, until today: job and lock have ended long ago, and the miner never comes back.
    let (store, config) = (Arc::clone(&rig.store), rig.config.clone());
    drop(rig);
    let room = || Box::new(|| true);
    let engine = driver::start(Arc::clone(&store), config, Box::new(Nobody), room()).unwrap();
    let ledger = ledger_driver::start(store, ledger, room()).unwrap();
    let shutdown = CancellationToken::new();
    let (_orders, orders) = watch::channel(0);
    let mut figures = ledger.handle.signals().figures.subscribe();
    Relay {
        engine: engine.handle,
        ledger: ledger.handle,
        orders,
        shutdown: shutdown.clone(),
    }
    .start();
    let resolved = figures.wait_for(|figures| figures.totals.open_locks == 0);
    let resolved = tokio::time::timeout(Duration::from_secs(30), resolved).await;
    let figures = *resolved.expect("it is resolved in time").unwrap();
    shutdown.cancel();
    // 5 s at half an AIT an hour are 695 micro-AIT, and their fee 18; a lock that expires pays none.
    assert_eq!(figures.totals.fees, 18);
}
