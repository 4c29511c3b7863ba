//! The jobs order a slash; the ledger burns what is staked, once, whatever is told again or lost in a crash.

use aitbc_common::identity::Identity;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    BindConsent, Contradiction, SignedStatement, StreamCheckpoint, TransactionKind,
};
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::ledger::transactions::UNSTAKING_MS;

use super::*;
use crate::payments::Order;

fn contradiction(world: &World, rig: &Identity, attempt: u16) -> Contradiction {
    let said = |hash| {
        let checkpoint = StreamCheckpoint {
            flags: 0,
            attempt,
            chain_id: world.config.rules.chain_id,
            job_id: JobId([1; 16]),
            job_ref: [3; 32],
            offset: 9,
            hash: [hash; 32],
            tokens_out: 2,
            work_ms: 10,
        };
        let signature = checkpoint.sign(rig);
        SignedStatement::Checkpoint(Box::new(checkpoint), signature)
    };
    Contradiction::between(rig.public(), said(1), said(2)).unwrap()
}

#[test]
fn a_slash_is_carried_out_once_and_nothing_that_was_leaving_comes_back() {
    let mut world = World::new();
    let rig = Identity::from_seed(&[77; 32]);
    let (chain, me) = (world.config.rules.chain_id, address(&wallet(1)));
    let consent = BindConsent::sign(&chain, me, &rig, 1, world.now + HOUR);
    world.send(
        1,
        TransactionKind::Bind,
        0,
        rig.public().0,
        consent.encode(),
    );
    world.send(
        1,
        TransactionKind::Stake,
        10 * AIT,
        rig.public().0,
        Vec::new(),
    );
    world.send(
        1,
        TransactionKind::Unstake,
        4 * AIT,
        rig.public().0,
        Vec::new(),
    );
    let order = |world: &World, first_sequence, attempt| Command::Orders {
        first_sequence,
        orders: vec![Order::Slash(Box::new(contradiction(world, &rig, attempt)))],
    };
    for _ in 0..2 {
        let told = order(&world, 1, 1);
        assert_eq!(world.one(told), Reply::Applied(1));
        world.restart();
    }
    // The same attempt again, and another one: there is no stake any more.
    for (number, attempt) in [(2, 1), (3, 2)] {
        let told = order(&world, number, attempt);
        assert_eq!(world.one(told), Reply::Applied(number));
    }
    world.check_totals();
    let totals = world.core.figures().totals;
    assert_eq!((totals.slashed, totals.burned), (10_000_000, 10_000_000));
    world.pass(UNSTAKING_MS + 1);
    let until_ms = world.now;
    world.one(Command::ExpireUntil { until_ms });
    world.pass(1_000);
    assert_eq!(world.available(me), u128::from(990 * AIT));
    let audit = world.audit();
    let stake = audit.state().account(AccountId::Stake(rig.public()));
    assert_eq!((stake.balance(), stake.debits_pending), (0, 0));
    assert_eq!(audit.state().totals().forfeited, 0);
}
