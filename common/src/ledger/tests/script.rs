//! Stories as text. A line is one statement: words, then options as `key=value`, then perhaps ` ! ` and part of the error
//! it must be refused with. Wallets, identities, jobs and locks are names; amounts are micro-AIT, times ms from now.

use std::collections::BTreeMap;

use super::super::entry::{AccountId, Binding, Entry, StateKey};
use super::super::settlement::{Work, fee_of, posts, rental_post};
use super::super::violation::Violation;
use super::{HOUR, Ledger, address, blank, identity, reference, wallet};
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    AllowTerms, BindConsent, ExpireReason, FaultEntry, FaultReason, LockPurpose, LockTerms,
    MintReason, Outcome, RecordBody, Seal, SignedTransaction, Transaction, TransactionKind,
    VoidReason, address_target,
};

/// Options of a statement.
struct Options<'a>(BTreeMap<&'a str, &'a str>);

impl Options<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).copied()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.text(key).map(number)
    }

    /// A time so many ms from `now`, or before it.
    fn time(&self, key: &str, now: u64, default: u64) -> u64 {
        match self.text(key) {
            Some(text) => now.saturating_add_signed(text.replace('_', "").parse().unwrap()),
            None => now + default,
        }
    }
}

fn number(text: &str) -> u64 {
    text.replace('_', "")
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is not a number"))
}

impl Ledger {
    /// Plays a story.
    pub fn play(&mut self, story: &str) -> &mut Self {
        for line in story.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (statement, error) = match line.split_once(" ! ") {
                Some((statement, error)) => (statement, Some(error.trim())),
                None => (line, None),
            };
            let outcome = self.say(statement);
            match (outcome, error) {
                (Ok(()), None) => {}
                (Err(violation), Some(error)) => assert!(
                    violation.to_string().contains(error),
                    "{line}\nis refused with: {violation}"
                ),
                (outcome, _) => panic!("{line}\nends with {outcome:?}"),
            }
        }
        self
    }

    fn say(&mut self, statement: &str) -> Result<(), Violation> {
        let (options, words): (Vec<&str>, Vec<&str>) = statement
            .split_whitespace()
            .partition(|word| word.contains('='));
        let options = Options(options.iter().filter_map(|o| o.split_once('=')).collect());
        match words[..] {
            ["wait", ms] => {
                self.now += number(ms);
                Ok(())
            }
            [who, "has", available, "of", balance] => {
                let account = self.state.account(self.account(who));
                let expected = (number(available).into(), number(balance).into());
                assert_eq!(
                    (account.available(), account.balance()),
                    expected,
                    "{statement}"
                );
                Ok(())
            }
            [who, "used", used, "of", payer] => {
                let allowance = self.allowance(address(payer), identity(who).public());
                assert_eq!(allowance.used, number(used), "{statement}");
                Ok(())
            }
            [who, "is", "paid", "at", payee] => {
                let key = StateKey::Binding(identity(who).public());
                let bound = match self.state.get(&key) {
                    Some(Entry::Binding(Binding { account, .. })) => *account,
                    _ => panic!("{statement}: no binding"),
                };
                let expected = match payee {
                    "nobody" => crate::address::Address::default(),
                    name => address(name),
                };
                assert_eq!(bound, expected, "{statement}");
                Ok(())
            }
            ["market", "posts", locks, "for", job] => self.posts(locks, job, &options),
            ["market", "rents", lock, "for", job] => self.rent(lock, job, &options),
            ["market", "blames", miner, "for", job] => self.blame(miner, job, &options),
            ["market", "seals"] => self.seal(&options),
            ["market", verb, ..] => {
                let body = self.market(verb, &words[2..], &options);
                self.append(body)
            }
            [who, verb, ..] => self.transact(who, verb, &words[2..], &options),
            _ => panic!("{statement:?} says nothing"),
        }
    }

    fn account(&self, name: &str) -> AccountId {
        match name {
            "settlement" => AccountId::Settlement,
            "fees" => AccountId::Fees,
            name => match name.strip_prefix("stake:") {
                Some(miner) => AccountId::Stake(identity(miner).public()),
                None => AccountId::Wallet(address(name)),
            },
        }
    }

    fn id(&self, name: &str) -> Hash {
        self.named.get(name).copied().unwrap_or([0xee; 32])
    }

    fn market(&self, verb: &str, words: &[&str], options: &Options<'_>) -> RecordBody {
        let mint = |amount, to, reason| RecordBody::Mint {
            account: address(to),
            amount: number(amount),
            reason,
        };
        match (verb, words) {
            ("voids", [lock]) => RecordBody::Void {
                lock: self.id(lock),
                reason: VoidReason::from_byte(
                    options
                        .number("reason")
                        .map_or(1, |r| r.try_into().unwrap()),
                )
                .unwrap(),
            },
            ("expires", [lock]) => RecordBody::Expire {
                lock: self.id(lock),
                reason: ExpireReason::Lock,
            },
            ("unstakes", [id]) => RecordBody::Expire {
                lock: self.id(id),
                reason: ExpireReason::Unstaked,
            },
            ("forfeits", [id]) => RecordBody::Expire {
                lock: self.id(id),
                reason: ExpireReason::Forfeited,
            },
            ("mints", [amount, "for", to]) => mint(amount, to, MintReason::Genesis),
            ("drips", [amount, "for", to]) => mint(amount, to, MintReason::Faucet),
            _ => panic!("the market cannot {verb} {words:?}"),
        }
    }

    fn seal(&mut self, options: &Options<'_>) -> Result<(), Violation> {
        let position = self.state.position();
        let issuance = self.state.account(AccountId::Issuance);
        let count = position.next - position.first_unsealed;
        let seal = Seal {
            height: options.number("height").unwrap_or(position.height),
            first: options.number("first").unwrap_or(position.first_unsealed),
            count: options.number("count").unwrap_or(count).try_into().unwrap(),
            state_root: [0; 32],
            minted: options
                .number("minted")
                .map_or(issuance.debits_posted, u128::from),
            burned: options
                .number("burned")
                .map_or(issuance.credits_posted, u128::from),
        };
        self.append(RecordBody::Seal(seal))
    }

    /// One chain of posts; options `rate`, `ms`, `miner`, `payee`, and `posted`, `fee`, `observed`, `work`, `attempt` to lie.
    fn posts(&mut self, locks: &str, job: &str, options: &Options<'_>) -> Result<(), Violation> {
        let ms = options.number("ms").unwrap_or(HOUR);
        let miner = options.text("miner").unwrap_or("rig");
        let work = Work {
            job_ref: reference(job),
            attempt: options.number("attempt").unwrap_or(1).try_into().unwrap(),
            outcome: Outcome::Complete,
            miner: identity(miner).public(),
            payee: address(options.text("payee").unwrap_or("payee")),
            evidence_id: [7; 32],
            gpu: [0; 32],
            rate: options.number("rate").unwrap_or(10_000),
            observed_ms: options.number("observed").unwrap_or(ms),
            work_ms: options.number("work").unwrap_or(ms),
            billed_ms: ms,
        };
        let ids: Vec<(Hash, u64)> = locks
            .split(',')
            .map(|name| (self.id(name), self.locked(name)))
            .collect();
        let fee_bps = self.state.position().rules.as_ref().unwrap().fee_bps;
        for mut post in posts(&work, &ids, fee_bps) {
            post.posted = options.number("posted").unwrap_or(post.posted);
            post.fee = options.number("fee").unwrap_or(post.fee);
            self.append(RecordBody::Post(post))?;
        }
        Ok(())
    }

    /// One payment of a rental; options as of [`Self::posts`], and `n` its number, `end` = 1, `evidence` = 1.
    fn rent(&mut self, lock: &str, job: &str, options: &Options<'_>) -> Result<(), Violation> {
        let ms = options.number("ms").unwrap_or(HOUR);
        let ends = options.number("end") == Some(1);
        let work = Work {
            job_ref: reference(job),
            attempt: options.number("n").unwrap_or(1).try_into().unwrap(),
            outcome: if ends {
                Outcome::RentalEnd
            } else {
                Outcome::Rental
            },
            miner: identity(options.text("miner").unwrap_or("rig")).public(),
            payee: address(options.text("payee").unwrap_or("payee")),
            evidence_id: [u8::from(options.text("evidence").is_some()); 32],
            gpu: [9; 32],
            rate: options.number("rate").unwrap_or(10_000),
            observed_ms: options.number("observed").unwrap_or(ms),
            work_ms: options.number("work").unwrap_or(ms),
            billed_ms: ms,
        };
        let fee_bps = self.state.position().rules.as_ref().unwrap().fee_bps;
        let mut post = rental_post(&work, self.id(lock), self.locked(lock), fee_bps);
        post.posted = options.number("posted").unwrap_or(post.posted);
        post.fee = options.number("fee").unwrap_or(post.fee);
        self.append(RecordBody::Post(post))
    }

    /// A miner failed; options `of` (the lock), `attempt`, `client`, `weight`.
    fn blame(&mut self, miner: &str, job: &str, options: &Options<'_>) -> Result<(), Violation> {
        let lock = options.text("of").unwrap_or("a");
        self.append(RecordBody::Fault(FaultEntry {
            job_ref: reference(job),
            attempt: options.number("attempt").unwrap_or(1).try_into().unwrap(),
            miner: identity(miner).public(),
            client: address(options.text("client").unwrap_or("alice")),
            reason: FaultReason::Lost,
            weight: options
                .number("weight")
                .unwrap_or_else(|| fee_of(self.locked(lock), 250)),
            lock: self.id(lock),
        }))
    }

    fn locked(&self, name: &str) -> u64 {
        match self.state.get(&StateKey::Lock(self.id(name))) {
            Some(Entry::Lock(lock)) => lock.amount,
            _ => 0,
        }
    }

    /// Options of every transaction: `nonce`, `valid` (ms from now), `as` (a name for its id), `for` (the payer whose
    /// allowance `who` uses).
    fn transact(
        &mut self,
        who: &str,
        verb: &str,
        words: &[&str],
        options: &Options<'_>,
    ) -> Result<(), Violation> {
        let (mut transaction, payload) = self.draft(who, verb, words, options);
        transaction.chain_id = self.chain_id;
        transaction.valid_until = options.time("valid", self.now, HOUR);
        let signed = match options.text("for") {
            Some(payer) => {
                let signer = identity(who);
                transaction.account = address(payer);
                transaction.nonce = options
                    .number("nonce")
                    .unwrap_or(self.allowance(address(payer), signer.public()).nonce);
                SignedTransaction::by_identity(transaction, payload, &signer)
            }
            None => {
                transaction.nonce = options.number("nonce").unwrap_or(self.nonce(address(who)));
                SignedTransaction::by_wallet(transaction, payload, &wallet(who))
            }
        }
        .unwrap();
        if let Some(name) = options.text("as") {
            self.named.insert(name.to_owned(), signed.transaction.id());
        }
        self.append(RecordBody::Transaction(signed))
    }

    fn draft(
        &self,
        who: &str,
        verb: &str,
        words: &[&str],
        options: &Options<'_>,
    ) -> (Transaction, Vec<u8>) {
        let expires_at = options.time("expires", self.now, 24 * HOUR);
        let seq = options.number("seq").unwrap_or(1).try_into().unwrap();
        let start = |kind, amount: &str, target| Transaction {
            target,
            ..blank(kind, self.chain_id, number(amount))
        };
        let key = |name: &str| identity(name).public().0;
        match (verb, words) {
            ("gives", [amount, "to", to]) => (
                start(
                    TransactionKind::Transfer,
                    amount,
                    address_target(address(to)),
                ),
                options.text("memo").unwrap_or_default().into(),
            ),
            ("locks", [amount, "on", job]) => {
                let terms = LockTerms {
                    purpose: match options.text("purpose") {
                        Some("rental") => LockPurpose::Rental,
                        _ => LockPurpose::Job,
                    },
                    expires_at,
                    max_rate: options.number("rate").unwrap_or(u64::MAX),
                    max_fee_bps: options.number("fee").unwrap_or(250).try_into().unwrap(),
                    miner_key: options
                        .text("miner")
                        .map_or(PublicKey::default(), |miner| identity(miner).public()),
                };
                (
                    start(TransactionKind::Lock, amount, reference(job)),
                    terms.encode(),
                )
            }
            ("stakes", [amount, "on", miner]) => (
                start(TransactionKind::Stake, amount, key(miner)),
                Vec::new(),
            ),
            ("unstakes", [amount, "from", miner]) => (
                start(TransactionKind::Unstake, amount, key(miner)),
                Vec::new(),
            ),
            ("binds", [name]) => {
                let valid = options.time("consent", self.now, HOUR);
                let by = identity(options.text("by").unwrap_or(name));
                let to = address(options.text("to").unwrap_or(who));
                let consent = BindConsent::sign(&self.chain_id, to, &by, seq, valid);
                (
                    start(TransactionKind::Bind, "0", key(name)),
                    consent.encode(),
                )
            }
            ("releases", [name]) => {
                let release = BindConsent {
                    seq,
                    valid_until: 0,
                    consent: [0; 64],
                };
                (
                    start(TransactionKind::Bind, "0", key(name)),
                    release.encode(),
                )
            }
            ("allows", [name, amount]) => (
                start(TransactionKind::Allow, amount, key(name)),
                AllowTerms { expires_at, seq }.encode(),
            ),
            _ => panic!("nobody can {verb} {words:?}"),
        }
    }
}
