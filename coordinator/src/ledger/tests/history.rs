//! What happens without faults.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::{AllowTerms, BindConsent, TransactionKind, VoidReason};
use aitbc_common::ledger::log;
use aitbc_common::ledger::violation::Violation;

use super::super::command::MAX_ALLOWANCES;
use super::super::proofs::LogRows;
use super::*;
use crate::payments::Order;

#[test]
fn the_genesis_file_gives_out_what_it_says_and_is_sealed() {
    let mut world = World::new();
    assert_eq!(
        world.available(address(&wallet(1))),
        u128::from(1_000 * AIT)
    );
    assert_eq!(world.checkpoint(), None);
    world.pass(1_000);
    let checkpoint = world.checkpoint().expect("a second later it is signed");
    assert_eq!(checkpoint.size, 3, "genesis, mint, seal");
    world.audit();
    world.pass(10_000);
    assert_eq!(
        world.checkpoint().unwrap().size,
        3,
        "nothing to seal, no seal"
    );
}

#[test]
fn a_transfer_moves_money_and_repeating_it_changes_nothing() {
    let mut world = World::new();
    let signed = world.sign(
        1,
        TransactionKind::Transfer,
        5 * AIT,
        to(2),
        b"thanks".to_vec(),
    );
    let first = world.one(submit(signed.clone()));
    let Reply::Recorded { index, .. } = first else {
        panic!("{first:?}")
    };
    assert_eq!(world.one(submit(signed.clone())), first);
    world.pass(1_500);
    assert_eq!(world.one(submit(signed.clone())), first, "after a seal");
    world.restart();
    assert_eq!(world.one(submit(signed)), first, "after a restart");
    assert_eq!(world.available(address(&wallet(2))), u128::from(5 * AIT));
    assert_eq!(index, 2);
    world.audit();
}

#[test]
fn a_wallet_gives_allowances_to_so_many_identities_and_no_more() {
    let mut world = World::new();
    let allow = |world: &mut World, identity: usize, seq| {
        let mut target = [0; 32];
        target[..8].copy_from_slice(&identity.to_be_bytes());
        let terms = AllowTerms {
            expires_at: world.now + HOUR,
            seq,
        };
        let signed = world.sign(1, TransactionKind::Allow, AIT, target, terms.encode());
        *world.nonces.entry(1).or_default() += 1;
        submit(signed)
    };
    let all = (0..MAX_ALLOWANCES)
        .map(|n| allow(&mut world, n, 1))
        .collect();
    let replies = world.apply(all);
    let recorded = |reply: &Reply| matches!(reply, Reply::Recorded { .. });
    assert!(replies.iter().all(recorded));
    let nonces = world.nonces.clone();
    let one_more = allow(&mut world, MAX_ALLOWANCES, 1);
    assert_eq!(world.one(one_more), Reply::TooManyAllowances);
    // It took no nonce, and those that there are can be changed.
    world.nonces = nonces;
    let changed = allow(&mut world, 7, 2);
    assert!(recorded(&world.one(changed)));
    // Another wallet has its own.
    world.nonces.insert(2, 0);
    let other = world.sign(
        2,
        TransactionKind::Allow,
        AIT,
        [1; 32],
        AllowTerms {
            expires_at: world.now + HOUR,
            seq: 1,
        }
        .encode(),
    );
    assert!(recorded(&world.one(submit(other))));
    world.audit();
}

#[test]
fn the_jobs_are_told_who_is_bound() {
    let mut world = World::new();
    let rig = Identity::from_seed(&[5; 32]);
    let (alice, chain_id) = (address(&wallet(1)), world.config.rules.chain_id);
    let consent = BindConsent::sign(&chain_id, alice, &rig, 1, world.now + HOUR);
    let release = BindConsent {
        seq: 2,
        valid_until: 0,
        consent: [0; 64],
    };
    let target = rig.public().0;
    let mut refused = release.clone();
    refused.seq = u32::MAX;
    for payload in [consent, refused, release] {
        world.send(1, TransactionKind::Bind, 0, target, payload.encode());
    }
    let bound = |wallet| Notice::Bound {
        identity: rig.public(),
        wallet,
    };
    assert_eq!(world.notices(), [bound(Some(alice)), bound(None)]);
    world.audit();
}

#[test]
fn ledger_time_never_goes_back_and_records_are_sealed_all_the_same() {
    let mut world = World::new();
    world.pass(5_000);
    let time_of = |reply| match reply {
        Reply::Recorded { time_ms, .. } => time_ms,
        other => panic!("{other:?}"),
    };
    let first = time_of(world.send(1, TransactionKind::Transfer, AIT, to(2), Vec::new()));
    // The clock is an hour behind, over a restart too.
    let behind = world.now - HOUR;
    for _restarted in [false, true] {
        world.now = behind;
        let second = time_of(world.send(1, TransactionKind::Transfer, AIT, to(2), Vec::new()));
        assert_eq!(second, first);
        world.restart();
    }
    world.now = first;
    world.pass(1_000);
    let covered = world.checkpoint().unwrap().size;
    assert_eq!(covered, world.core.next_index());
    world.audit();
}

#[test]
fn two_in_one_batch_see_each_other() {
    let mut world = World::new();
    let one = world.sign(1, TransactionKind::Transfer, 600 * AIT, to(2), Vec::new());
    *world.nonces.entry(1).or_default() += 1;
    let two = world.sign(1, TransactionKind::Transfer, 600 * AIT, to(3), Vec::new());
    let replies = world.apply(vec![submit(one.clone()), submit(two), submit(one)]);
    assert!(matches!(replies[0], Reply::Recorded { .. }));
    assert!(matches!(
        replies[1],
        Reply::Refused(Violation::Funds { .. })
    ));
    assert_eq!(replies[2], replies[0]);
    world.audit();
}

#[test]
fn the_faucet_keeps_its_bounds() {
    let mut world = World::new();
    let account = address(&wallet(4));
    let faucet = |amount| Command::Faucet { account, amount };
    assert!(matches!(world.one(faucet(150 * AIT)), Reply::Given(_)));
    assert_eq!(world.one(faucet(100 * AIT)), Reply::Empty(Some(50 * AIT)));
    world.restart();
    assert_eq!(world.one(faucet(100 * AIT)), Reply::Empty(Some(50 * AIT)));
    assert!(matches!(world.one(faucet(50 * AIT)), Reply::Given(_)));
    for number in 10..14 {
        let account = address(&wallet(number));
        let amount = 200 * AIT;
        assert!(matches!(
            world.one(Command::Faucet { account, amount }),
            Reply::Given(_)
        ));
    }
    let last = Command::Faucet {
        account: address(&wallet(20)),
        amount: 1,
    };
    assert_eq!(world.one(last), Reply::Empty(Some(0)), "1,000 AIT in all");
    world.audit();
}

#[test]
fn locks_pay_for_work_in_their_order_and_the_rest_returns() {
    let mut world = World::new();
    world.send(1, TransactionKind::Transfer, 100 * AIT, to(2), Vec::new());
    let job_ref = [3; 32];
    let first = world.lock(2, 10 * AIT, job_ref);
    let second = world.lock(1, 10 * AIT, job_ref);
    let payee = address(&wallet(9));
    let orders = vec![Order::Settle {
        job: JobId::default(),
        owner: PublicKey::default(),
        // 12 AIT an hour for an hour: more than the first lock holds.
        work: work(job_ref, payee, 12 * AIT, HOUR),
        locks: vec![second, first],
    }];
    let settle = Command::Orders {
        first_sequence: 1,
        orders,
    };
    assert_eq!(world.one(settle.clone()), Reply::Applied(1));
    let fee = 12 * AIT * 250 / 10_000;
    let settled = Notice::Settled {
        job: JobId::default(),
        owner: PublicKey::default(),
        posted: 12 * AIT,
        fee,
        returned: 8 * AIT,
    };
    assert_eq!(world.notices().last(), Some(&settled));
    assert_eq!(world.available(payee), u128::from(12 * AIT - fee));
    assert_eq!(world.available(address(&wallet(2))), u128::from(90 * AIT));
    assert_eq!(world.available(address(&wallet(1))), u128::from(898 * AIT));
    let before = world.core.next_index();
    assert_eq!(
        world.one(settle),
        Reply::Applied(1),
        "told twice, done once"
    );
    assert_eq!(world.core.next_index(), before);
    world.pass(1_000);
    world.audit();
}

#[test]
fn a_void_returns_all_and_what_its_terms_forbid_is_not_paid() {
    let mut world = World::new();
    let lock = world.lock(1, 10 * AIT, [3; 32]);
    let reason = VoidReason::Failed;
    let orders = vec![Order::Void { lock, reason }];
    world.one(Command::Orders {
        first_sequence: 1,
        orders,
    });
    let dear = world.lock(1, 10 * AIT, [4; 32]);
    let orders = vec![Order::Settle {
        job: JobId::default(),
        owner: PublicKey::default(),
        work: work([4; 32], address(&wallet(9)), 101 * AIT, HOUR),
        locks: vec![dear],
    }];
    world.one(Command::Orders {
        first_sequence: 2,
        orders,
    });
    assert_eq!(
        world.available(address(&wallet(1))),
        u128::from(1_000 * AIT)
    );
    assert_eq!(world.available(address(&wallet(9))), 0);
    let gap = Command::Orders {
        first_sequence: 9,
        orders: vec![Order::Void { lock, reason }],
    };
    assert_eq!(
        world.one(gap),
        Reply::Applied(2),
        "a gap is not passed over"
    );
    world.pass(1_000);
    world.audit();
}

#[test]
fn what_ends_by_time_returns_once_all_orders_are_applied() {
    let mut world = World::new();
    let lock = world.lock(1, 10 * AIT, [3; 32]);
    world.pass(2 * HOUR - 1);
    assert!(
        !world
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::ExpiryDue { .. }))
    );
    world.restart();
    world.pass(1);
    let due = world.effects.iter().find_map(|effect| match effect {
        Effect::ExpiryDue { until_ms } => Some(*until_ms),
        _ => None,
    });
    assert_eq!(
        world.available(address(&wallet(1))),
        u128::from(990 * AIT),
        "not by itself"
    );
    world.one(Command::ExpireUntil {
        until_ms: due.expect("the end was announced"),
    });
    assert_eq!(
        world.available(address(&wallet(1))),
        u128::from(1_000 * AIT)
    );
    let returned = Notice::Returned {
        lock,
        target: [3; 32],
        amount: 10 * AIT,
    };
    assert_eq!(world.notices().last(), Some(&returned));
    world.pass(1_000);
    world.audit();
}

#[test]
fn notices_stay_until_the_jobs_have_them() {
    let mut world = World::new();
    for job in 1..=3 {
        world.lock(1, AIT, [job; 32]);
    }
    assert_eq!(world.notices().len(), 3);
    world.one(Command::TrimNotices { through: 2 });
    assert_eq!(world.notices().len(), 1);
    world.restart();
    world.one(Command::TrimNotices { through: 99 });
    assert_eq!(world.notices().len(), 0);
    world.lock(1, AIT, [4; 32]);
    assert_eq!(world.notices().len(), 1);
    world.audit();
}

#[test]
fn every_record_is_proven_by_the_checkpoint_of_the_next_second() {
    let mut world = World::new();
    for amount in 1..=50 {
        world.send(1, TransactionKind::Transfer, amount, to(2), Vec::new());
        world.pass(300);
    }
    world.pass(1_000);
    let checkpoint = world.checkpoint().unwrap();
    assert_eq!(checkpoint.size, world.core.next_index());
    let reads = World::reads(&world.store);
    for index in 0..checkpoint.size {
        let proof = log::prove_inclusion(&LogRows(&reads), index, checkpoint.size).unwrap();
        let leaf = log::leaf_hash(&leaf(&reads, index).unwrap().unwrap());
        log::verify_inclusion(&proof, index, &leaf, &world.core.head).unwrap();
    }
    world.audit();
}

#[test]
fn a_full_disk_refuses_what_is_new_and_goes_on_with_what_is_owed() {
    let mut world = World::new();
    let lock = world.lock(1, 10 * AIT, [3; 32]);
    world.core.set_has_room(false);
    assert_eq!(
        world.send(1, TransactionKind::Transfer, 1, to(2), Vec::new()),
        Reply::Full
    );
    let orders = vec![Order::Void {
        lock,
        reason: VoidReason::Failed,
    }];
    assert_eq!(
        world.one(Command::Orders {
            first_sequence: 1,
            orders
        }),
        Reply::Applied(1)
    );
    world.audit();
}

#[test]
fn two_jobs_of_one_specification_are_paid_once() {
    let mut world = World::new();
    let job_ref = [3; 32];
    let (first, second) = (
        world.lock(1, 10 * AIT, job_ref),
        world.lock(1, 10 * AIT, job_ref),
    );
    let settle = |lock, attempt| Order::Settle {
        job: JobId::default(),
        owner: PublicKey::default(),
        work: Work {
            attempt,
            ..work(job_ref, address(&wallet(9)), 6 * AIT, HOUR)
        },
        locks: vec![lock],
    };
    let orders = vec![settle(first, 1), settle(second, 2)];
    world.one(Command::Orders {
        first_sequence: 1,
        orders,
    });
    assert_eq!(world.available(address(&wallet(1))), u128::from(994 * AIT));
    let third = world.lock(1, 10 * AIT, job_ref);
    let told = matches!(world.notices().last(), Some(Notice::Locked(lock)) if lock.target_is_paid);
    assert!(told, "the jobs learn it before anybody works for nothing");
    world.pass(1_500);
    world.restart();
    let orders = vec![settle(third, 3)];
    let before = world.core.next_index();
    world.one(Command::Orders {
        first_sequence: 3,
        orders,
    });
    let records = world.core.next_index() - before;
    assert_eq!(records, 2, "the lock returns, and the work is logged");
    assert_eq!(
        world.available(address(&wallet(1))),
        u128::from(994 * AIT),
        "after a seal and a restart"
    );
    world.pass(1_500);
    world.audit();
}

#[test]
fn an_order_that_changes_nothing_is_not_asked_for_again() {
    let mut world = World::new();
    let lock = world.lock(1, 10 * AIT, [3; 32]);
    world.pass(2 * HOUR);
    world.one(Command::ExpireUntil {
        until_ms: world.now,
    });
    world.pass(1_500);
    let reason = VoidReason::Failed;
    let void = Command::Orders {
        first_sequence: 1,
        orders: vec![Order::Void { lock, reason }],
    };
    assert_eq!(world.one(void), Reply::Applied(1));
    world.restart();
    assert_eq!(world.core.applied_orders(), 1, "the jobs have forgotten it");
}
