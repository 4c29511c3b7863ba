//! Random histories with crashes: after a crash everything that was committed is there, and nothing else.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::{TransactionKind, VoidReason};
use aitbc_common::ledger::log;
use proptest::prelude::*;

use super::*;
use crate::ledger::proofs::LogRows;
use crate::payments::Order;

/// The type byte of a SEAL.
const SEAL: u8 = 12;

#[derive(Debug, Clone)]
enum Step {
    Transfer {
        from: u8,
        to: u8,
        amount: u64,
    },
    Lock {
        from: u8,
        job: u8,
        amount: u64,
    },
    Resolve {
        settle: bool,
        ms: u64,
    },
    RepeatOrders,
    Faucet {
        to: u8,
        amount: u64,
    },
    Pass {
        ms: u64,
    },
    Trim,
    /// The process ends; the last batch was committed, or not.
    Crash {
        lost: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..4, 1_u8..6, 1..2_000 * AIT).prop_map(|(from, to, amount)| Step::Transfer { from, to, amount }),
        4 => (1_u8..4, 1_u8..4, 1..50 * AIT).prop_map(|(from, job, amount)| Step::Lock { from, job, amount }),
        4 => (any::<bool>(), 0..2 * HOUR).prop_map(|(settle, ms)| Step::Resolve { settle, ms }),
        1 => Just(Step::RepeatOrders),
        2 => (1_u8..6, 1..300 * AIT).prop_map(|(to, amount)| Step::Faucet { to, amount }),
        4 => (0_u64..3_000).prop_map(|ms| Step::Pass { ms }),
        1 => (HOUR..3 * HOUR).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Trim),
        2 => any::<bool>().prop_map(|lost| Step::Crash { lost }),
    ]
}

proptest! {
    #![proptest_config(crate::cases::cases(48, 30))]

    #[test]
    fn what_was_answered_is_in_the_log_and_the_log_adds_up(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut open: Vec<(Hash, Hash)> = Vec::new();
        // A job that was paid is paid no more: the jobs see to that.
        let mut generation = 0_u8;
        let mut orders: Vec<Order> = Vec::new();
        let mut recorded: Vec<(Hash, u64)> = Vec::new();
        let mut checkpoints: BTreeMap<u64, Hash> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Transfer { from, to: receiver, amount } => {
                    let reply = world.send(from, TransactionKind::Transfer, amount, to(receiver), Vec::new());
                    if let Reply::Recorded { id, index, .. } = reply {
                        recorded.push((id, index));
                    }
                }
                Step::Lock { from, job, amount } => {
                    let job_ref = [job + 4 * generation; 32];
                    let terms = LockTerms {
                        purpose: LockPurpose::Job,
                        expires_at: world.now + HOUR,
                        max_rate: 100 * AIT,
                        max_fee_bps: 250,
                        miner_key: PublicKey::default(),
                    };
                    let reply = world.send(from, TransactionKind::Lock, amount, job_ref, terms.encode());
                    if let Reply::Recorded { id, index, .. } = reply {
                        recorded.push((id, index));
                        open.push((id, job_ref));
                    }
                }
                Step::Resolve { settle, ms } => {
                    let Some((_, job_ref)) = open.first().copied() else { continue };
                    let (of_job, others) = open.into_iter().partition(|(_, job)| *job == job_ref);
                    open = others;
                    let of_job: Vec<(Hash, Hash)> = of_job;
                    generation += 1;
                    if settle {
                        orders.push(Order::Settle {
                            job: JobId::default(),
                            owner: PublicKey::default(),
                            work: work(job_ref, address(&wallet(5)), 7 * AIT, ms),
                            locks: of_job.into_iter().map(|(lock, _)| lock).collect(),
                        });
                    } else {
                        let reason = VoidReason::Cancelled;
                        orders.extend(of_job.into_iter().map(|(lock, _)| Order::Void { lock, reason }));
                    }
                    tell(&mut world, &orders);
                }
                Step::RepeatOrders => {
                    let before = world.core.next_index();
                    world.one(Command::Orders { first_sequence: 1, orders: orders.clone() });
                    prop_assert_eq!(world.core.next_index(), before);
                }
                Step::Faucet { to, amount } => {
                    world.one(Command::Faucet { account: address(&wallet(to)), amount });
                }
                Step::Pass { ms } => {
                    world.pass(ms);
                    let until_ms = world.now;
                    world.one(Command::ExpireUntil { until_ms });
                }
                Step::Trim => {
                    world.one(Command::TrimNotices { through: u64::MAX });
                }
                Step::Crash { lost } => {
                    let signed = world.sign(1, TransactionKind::Transfer, 1, to(2), Vec::new());
                    let output = world.core.apply(world.now, vec![submit(signed.clone())], &World::reads(&world.store)).unwrap();
                    if !lost {
                        world.commit(output).unwrap();
                    }
                    world.restart();
                    // Its sender never heard, and sends the same bytes again.
                    if let Reply::Recorded { id, index, .. } = world.one(submit(signed)) {
                        recorded.push((id, index));
                        *world.nonces.entry(1).or_default() += 1;
                    }
                    tell(&mut world, &orders);
                }
            }
            if let Some(checkpoint) = world.checkpoint() {
                prop_assert!(checkpoints.keys().all(|earlier| *earlier <= checkpoint.size));
                let before = checkpoints.insert(checkpoint.size, checkpoint.root);
                prop_assert!(before.is_none_or(|root| root == checkpoint.root), "one root of a size, ever");
            }
        }
        world.pass(4 * HOUR);
        let until_ms = world.now;
        world.one(Command::ExpireUntil { until_ms });
        world.pass(1_500);
        let audit = world.audit();
        let at_rest = audit.state().account(AccountId::Settlement);
        prop_assert_eq!(at_rest.credits_pending, 0, "every lock was resolved");
        prop_assert_eq!(world.checkpoint().unwrap().size, world.core.next_index());
        let reads = World::reads(&world.store);
        for (size, root) in checkpoints {
            prop_assert_eq!(log::root(&LogRows(&reads), size).unwrap(), root);
            let last = leaf(&reads, size - 1).unwrap().expect("a checkpoint covers it");
            prop_assert_eq!(last[1], SEAL, "each checkpointed size ends with a seal");
        }
        for (id, index) in recorded {
            let leaf = leaf(&reads, index).unwrap().expect("what was answered is there");
            let record = aitbc_common::layouts::Record::decode(&leaf).unwrap();
            match record.body {
                aitbc_common::layouts::RecordBody::Transaction(signed) => prop_assert_eq!(signed.transaction.id(), id),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

/// The jobs tell everything from where the ledger stands.
fn tell(world: &mut World, orders: &[Order]) {
    let applied = usize::try_from(world.core.applied_orders()).unwrap();
    if applied < orders.len() {
        let first_sequence = applied as u64 + 1;
        let orders = orders[applied..].to_vec();
        world.one(Command::Orders {
            first_sequence,
            orders,
        });
    }
}
