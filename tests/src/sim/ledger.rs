//! The ledger: its core over the coordinator's store, the relay between it and the jobs, and the people who pay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{ExpireReason, Record, RecordBody, TransactionKind};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::broken as state;
use aitbc_common::ledger::checkpoint::LogIdentity;
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::ledger::log::{self, TreeHead};
use aitbc_common::ledger::transactions::UNSTAKING_MS;
use aitbc_common::wallet::WalletKey;
use aitbc_coordinator::engine::command::{Command, Reply};
use aitbc_coordinator::ledger::command::{self as ledger, Effect};
use aitbc_coordinator::ledger::core::{BrokenRules, LedgerConfig, LedgerCore};
use aitbc_coordinator::ledger::proofs::{LogRows, leaf};
use aitbc_coordinator::payments::{Notice, outbox, rows};
use aitbc_coordinator::store::{
    Durability, Family, Fence, LEDGER_PARTITION, Store, StoreError, keys::prefix_end, ledger_keys,
};
use rand::Rng;

use super::auditors::Auditors;
use super::check::Checker;
use super::context::{Context, Rule, one_in};
use super::coordinator::{Caller, Coordinator, strike_store};
use super::genesis;
use super::payers::{DAY_MS, Payment};
use super::trace::Totals;
use super::world::Event;

/// Notices that are told at once.
const NOTICES: usize = 64;

/// The ledger, and the wallet that pays.
pub struct Ledger {
    pub(super) config: LedgerConfig,
    /// While it runs: its core, its right to write, and the moment its clock starts from.
    running: Option<(LedgerCore, Fence)>,
    pub(super) payer: WalletKey,
    /// It owns the miner that may cheat, and stakes on it.
    pub(super) staker: WalletKey,
    /// Its transactions that were recorded.
    pub(super) staking: u64,
    /// Signs what it may not.
    pub(super) thief: WalletKey,
    /// Each signs once.
    pub(super) passers_by: Vec<WalletKey>,
    /// A job that was paid for, its owner, and what its locks name.
    pub(super) newest_job: Option<((JobId, PublicKey), Hash)>,
    pub(super) nonce: u64,
    /// In the order of their nonces.
    pub(super) unanswered: Vec<Payment>,
    /// Transactions that were answered, and where they are.
    pub(super) recorded: BTreeMap<Hash, u64>,
    /// Checkpoints that were shown.
    shown: Vec<TreeHead>,
    /// Until when something has come to its end, and until when the jobs said that it may return.
    due: Option<u64>,
    expirable: Option<u64>,
    /// Notices that the engine said it has.
    heard: u64,
    told: u64,
    applied: u64,
    /// Records that were held against what passed on the wire.
    followed: u64,
    pub(super) auditors: Option<Box<Auditors>>,
}

impl Ledger {
    pub fn new(ctx: &mut Context) -> Self {
        let genesis = genesis::genesis();
        let file = genesis.to_bytes();
        let rules = genesis.rules(&file).expect("it gives out less than all");
        let mut config = LedgerConfig::new(rules, file.into(), genesis::log_key(), None);
        config.broken = BrokenRules {
            repeat_orders: ctx.broken(Rule::OrdersOnce),
            pay_again: ctx.broken(Rule::DoublePost),
            skip_signatures: ctx.broken(Rule::LockSignature),
            sign_before_sync: ctx.broken(Rule::SealBeforeSync),
            state: state::BrokenRules {
                short_remainder: ctx.broken(Rule::Remainder),
                skip_nonces: ctx.broken(Rule::Nonce),
                pay_forfeits: ctx.broken(Rule::Forfeits),
                find_again: ctx.broken(Rule::FindingOnce),
            },
        };
        Self {
            config,
            running: None,
            payer: genesis::payer(),
            thief: genesis::thief(),
            passers_by: genesis::passers_by(),
            newest_job: None,
            nonce: 0,
            staker: genesis::staker(),
            staking: 0,
            unanswered: Vec::new(),
            recorded: BTreeMap::new(),
            shown: Vec::new(),
            due: None,
            expirable: None,
            heard: 0,
            told: 0,
            applied: 0,
            followed: 0,
            auditors: Some(Box::new(Auditors::new(ctx))),
        }
    }

    /// Sends payments, and carries orders and notices between the two sides, at its own pace.
    pub fn relay(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        let pause = ctx.random.ledger.random_range(50..3_000);
        ctx.after(pause, Event::Relay);
        if coordinator.running.is_none() {
            self.running = None;
            return;
        }
        self.stake(ctx);
        self.send_payments(ctx, coordinator);
        self.carry_orders(ctx, coordinator);
        self.carry_notices(ctx, coordinator);
        self.audit_work(ctx, coordinator);
    }

    fn carry_orders(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        // What was applied before is told again now and then, while it is still there.
        let again = 2 * u64::from(one_in(&mut ctx.random.ledger, 3));
        let from = (self.applied + 1).saturating_sub(again).max(1);
        let orders =
            outbox::read(&coordinator.store, from, 2).expect("a store in memory can be read");
        let first_sequence = orders.first().map_or(1, |(number, _)| *number);
        let drained = orders
            .last()
            .is_none_or(|(number, _)| *number <= self.applied);
        let orders = orders.into_iter().map(|(_, order)| order).collect();
        let mut commands = vec![ledger::Command::Orders {
            first_sequence,
            orders,
        }];
        // The jobs said so before these orders were read: what they had decided by then is among them.
        let expirable = self.expirable.take_if(|_| drained);
        commands.extend(expirable.map(|until_ms| ledger::Command::ExpireUntil { until_ms }));
        let Some(replies) = self.step(ctx, coordinator, commands) else {
            return;
        };
        if let Some(until_ms) = self.due.take() {
            coordinator.ask(
                ctx,
                vec![Command::GetExpirable { until_ms }],
                Caller::Ledger,
            );
        }
        if let Some(ledger::Reply::Applied(through)) = replies.first() {
            self.applied = *through;
        }
        if one_in(&mut ctx.random.ledger, 4) {
            let through = self.applied;
            coordinator.ask(ctx, vec![Command::TrimOrders { through }], Caller::Ledger);
        }
    }

    fn carry_notices(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        // What was told before is told again now and then, while it is still there.
        let again = u64::from(one_in(&mut ctx.random.ledger, 3));
        let from = (self.heard + 1).saturating_sub(again).max(1);
        let (start, end) = (
            ledger_keys::notice(from),
            prefix_end(&ledger_keys::notices()),
        );
        let page = coordinator
            .store
            .scan(Family::Active, &start..&end, NOTICES)
            .expect("a store in memory can be read");
        let first = page
            .rows
            .first()
            .and_then(|(key, _)| ledger_keys::number(key));
        self.told = page
            .rows
            .last()
            .and_then(|(key, _)| ledger_keys::number(key))
            .unwrap_or(self.heard);
        let notices: Vec<Notice> = page
            .rows
            .into_iter()
            .map(|(_, row)| rows::read_notice(row).expect("the ledger wrote it"))
            .collect();
        if let Some(first) = first {
            coordinator.ask(
                ctx,
                vec![Command::Notices { first, notices }],
                Caller::Ledger,
            );
        }
        if one_in(&mut ctx.random.ledger, 4) {
            let through = self.heard;
            self.step(
                ctx,
                coordinator,
                vec![ledger::Command::TrimNotices { through }],
            );
        }
    }

    /// The engine said what it has.
    pub fn told(&mut self, reply: Reply) {
        match reply {
            Reply::NoticesApplied(through) => self.heard = self.heard.max(through),
            Reply::Expirable(until_ms) => self.expirable = Some(until_ms),
            _ => {}
        }
    }

    /// One batch of the ledger; none where it cannot be reached, or its commit failed.
    pub(super) fn step(
        &mut self,
        ctx: &mut Context,
        coordinator: &mut Coordinator,
        commands: Vec<ledger::Command>,
    ) -> Option<Vec<ledger::Reply>> {
        self.start(ctx, coordinator);
        let store = coordinator.store.clone();
        let (core, _) = self.running.as_mut()?;
        let output = match core.apply(ctx.now, commands, &store) {
            Ok(output) => output,
            Err(error) => {
                ctx.checker.violated(format!("the ledger: {error}"));
                return None;
            }
        };
        let broken = core.figures().totals.broken();
        if let Some(invariant) = broken.first() {
            let message = format!("the ledger's sums are wrong: {}", invariant.name());
            ctx.checker.violated(message);
        }
        // Whatever was signed may be seen by somebody, whether the commit works or not.
        for effect in &output.effects {
            match effect {
                Effect::Released { checkpoint, .. } => {
                    let size = self.show(ctx, checkpoint);
                    self.follow(ctx, &store, size);
                }
                Effect::ExpiryDue { until_ms } => self.due = Some(*until_ms),
                _ => {}
            }
        }
        let (_, fence) = self.running.as_mut()?;
        if !output.batch.is_empty() {
            strike_store(ctx, &coordinator.memory);
            let durability = if ctx.broken(Rule::Sync) {
                Durability::Buffered
            } else {
                Durability::Synced
            };
            if let Err(error) = store.commit(fence, output.batch, durability) {
                ctx.trace.note(
                    ctx.now,
                    format_args!("commit of the ledger failed: {error}"),
                );
                self.failed(ctx, coordinator, &error);
                return None;
            }
        }
        Some(output.replies)
    }

    /// As the driver does: another writer's claim or reopening is answered by a new claim, everything else by a reopening.
    fn failed(&mut self, ctx: &mut Context, coordinator: &mut Coordinator, error: &StoreError) {
        self.running = None;
        match error {
            StoreError::SyncFailed(_) => {
                coordinator.crash(ctx);
                ctx.after(2_000, Event::CoordinatorUp);
            }
            StoreError::Fenced => {}
            _ => coordinator
                .store
                .reopen()
                .expect("a store in memory can be opened"),
        }
    }

    fn start(&mut self, ctx: &mut Context, coordinator: &Coordinator) {
        if self.running.is_some() {
            return;
        }
        let store = &coordinator.store;
        let fence = store
            .claim(LEDGER_PARTITION..=LEDGER_PARTITION)
            .expect("a store in memory can be claimed");
        let rng = &mut ctx.random.ledger;
        let set_back = if one_in(rng, 4) {
            rng.random_range(0..600_000)
        } else {
            0
        };
        let recovered = LedgerCore::recover(self.config.clone(), ctx.now - set_back, store);
        let mut core = match recovered {
            Ok(core) => core,
            Err(error) => return ctx.checker.violated(format!("the ledger: {error}")),
        };
        if core.is_new() {
            let output = core.begin(store).expect("the genesis file is good");
            if store
                .commit(&fence, output.batch, Durability::Synced)
                .is_err()
            {
                return;
            }
        }
        self.applied = core.applied_orders();
        self.running = Some((core, fence));
    }

    /// The size of the checkpoint.
    fn show(&mut self, ctx: &mut Context, checkpoint: &str) -> u64 {
        let log = LogIdentity {
            chain_id: self.config.rules.chain_id,
            key: self.config.log_key.public(),
        };
        let head = log.open(checkpoint).expect("the log's key signed it");
        let newest = self.shown.last().map_or(0, |head| head.size);
        if head.size < newest {
            ctx.checker.violated("a checkpoint shrank".into());
        }
        let size = head.size;
        self.shown.push(head);
        size
    }

    /// Holds the records up to `size` against what passed on the wire.
    pub fn follow(&mut self, ctx: &mut Context, store: &Arc<dyn Store>, size: u64) {
        while self.followed < size
            && let Ok(Some(bytes)) = leaf(store, self.followed)
            && let Ok(record) = Record::decode(&bytes)
        {
            let totals = &mut ctx.trace.totals;
            let rentals = ctx.rentals.record(&record.body, totals);
            if let Err(problem) = ctx.wire.check(&record.body).and(rentals) {
                ctx.checker
                    .violated(format!("record {} {problem}", self.followed));
            }
            self.followed += 1;
        }
    }

    /// What is not answered, resolved or told yet.
    pub fn unsettled(&self, coordinator: &Coordinator) -> usize {
        let prefix = ledger_keys::state_of_type(2);
        let end = prefix_end(&prefix);
        let open = coordinator
            .store
            .scan(Family::Active, &prefix..&end, usize::MAX)
            .map_or(1, |page| page.rows.len());
        let auditors = self.auditors.as_ref();
        let audits = auditors.map_or(1, |auditors| auditors.unsettled(&coordinator.store));
        let untold = usize::try_from(self.told.saturating_sub(self.heard)).unwrap_or(1);
        open + untold + self.unanswered.len() + audits
    }

    /// Time passes until all that is being unstaked has left its stake, or comes to nothing.
    pub fn mature(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        let now = ctx.now;
        ctx.now += UNSTAKING_MS + DAY_MS;
        let until_ms = ctx.now;
        self.step(
            ctx,
            coordinator,
            vec![ledger::Command::ExpireUntil { until_ms }],
        );
        self.tell_seeds(ctx, coordinator);
        ctx.now = now;
    }

    /// A stranger reads the log and recomputes everything; what was answered and shown is compared with it.
    pub fn audit(
        &self,
        store: &Arc<dyn Store>,
        checker: &Checker,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let mut audit = Audit::default();
        let mut log = Vec::new();
        let mut receipts = BTreeMap::new();
        let mut transactions = BTreeMap::new();
        let mut seals = BTreeSet::new();
        while let Some(bytes) = leaf(store, audit.head().size).map_err(|e| e.to_string())? {
            let index = audit.head().size;
            audit.record(&bytes).map_err(|error| error.to_string())?;
            let body = Record::decode(&bytes).map_err(|e| e.to_string())?.body;
            log.push(body.clone());
            match body {
                RecordBody::Receipt(entry) => {
                    let before = receipts.insert(entry.receipt_id, index);
                    if let Some(before) = before {
                        return Err(format!("records {before} and {index} log one receipt"));
                    }
                }
                RecordBody::Post(post) => totals.payments += u64::from(post.posted > 0),
                RecordBody::Expire { reason, .. } => {
                    totals.expired += 1;
                    totals.forfeits += u64::from(reason == ExpireReason::Forfeited);
                }
                RecordBody::Slash(_) => totals.slashes += 1,
                RecordBody::Seal(_) => {
                    seals.insert(index);
                }
                RecordBody::Transaction(signed) => {
                    totals.stakes += u64::from(signed.transaction.kind == TransactionKind::Stake);
                    transactions.insert(signed.transaction.id(), index);
                }
                _ => {}
            }
        }
        if let Some(auditors) = &self.auditors {
            let noted = &checker.noted;
            totals.findings += auditors.check(&log, &audit, noted, store)? as u64;
            auditors.add_to(totals);
        }
        audit.check_state().map_err(|error| error.to_string())?;
        for (id, index) in &self.recorded {
            if transactions.get(id) != Some(index) {
                return Err(format!(
                    "a payment was answered with record {index} and is not there"
                ));
            }
        }
        for head in &self.shown {
            if !seals.contains(&(head.size - 1)) {
                return Err(format!("the checkpoint of {} ends with no seal", head.size));
            }
            let root = log::root(&LogRows(store), head.size).map_err(|e| e.to_string())?;
            if root != head.root {
                return Err(format!(
                    "the checkpoint of {} records is of another log",
                    head.size
                ));
            }
        }
        let pending = audit.state().account(AccountId::Settlement).credits_pending;
        if pending != 0 {
            return Err(format!("{pending} micro-AIT are still locked"));
        }
        Ok(())
    }
}
