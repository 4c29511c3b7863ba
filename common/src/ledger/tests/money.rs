//! Transfers, locks and what locks pay.

use super::*;

#[test]
fn a_transfer_takes_what_there_is_and_no_more() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    ledger.play(
        "alice gives 1001 to bob             ! insufficient funds: available 0.001 AIT, asked 0.001001 AIT
         bob gives 1 to alice                ! insufficient funds: available 0 AIT, asked 0.000001 AIT
         alice gives 0 to bob                ! the amount must be between
         alice gives 9223372036854775808 to bob ! the amount must be between
         alice gives 400 to bob memo=rent
         alice has 600 of 600
         bob has 400 of 400
         alice gives 600 to alice
         alice has 600 of 600
         alice gives 1 to bob nonce=0        ! the nonce is 0, 2 comes next
         alice gives 1 to bob nonce=1        ! the nonce is 1, 2 comes next
         alice gives 1 to bob nonce=3        ! the nonce is 3, 2 comes next
         alice gives 1 to bob valid=0
         alice gives 1 to bob valid=-1       ! it was valid until
         alice gives 1 to bob valid=86400000
         alice gives 1 to bob valid=86400001 ! at most 24 hours
         alice gives 598 to bob
         alice has 0 of 0",
    );
}

#[test]
fn a_lock_sets_money_aside_until_it_is_resolved_once() {
    let mut ledger = Ledger::with(&[("alice", 5_000)]);
    ledger.play(
        "alice locks 999 on job                     ! the amount must be between 0.001
         alice locks 5001 on job                    ! insufficient funds
         alice locks 2000 on job fee=10001          ! max_fee_bps has the undefined value 10001
         alice locks 2000 on job expires=-1         ! it was valid until
         alice locks 2000 on job expires=34560000001 ! at most 9600 hours
         alice locks 2000 on job as=a
         alice has 3000 of 5000
         alice gives 3001 to bob                    ! insufficient funds
         alice locks 1000 on job as=b nonce=1
         alice has 2000 of 5000
         market voids a
         alice has 4000 of 5000
         market voids a                             ! the lock is not open
         market expires a                           ! the lock is not open
         market posts a for job                     ! the lock is not open
         market voids never                         ! the lock is not open
         market expires b                           ! its time is not over before 1800086400000
         wait 86399999
         market expires b                           ! its time is not over
         wait 1
         market unstakes b                          ! the lock is not open
         market expires b
         alice has 5000 of 5000
         settlement has 0 of 0
         alice locks 5000 on job as=a",
    );
}

#[test]
fn an_account_of_zeros_is_no_entry() {
    let mut ledger = Ledger::with(&[("alice", 5_000)]);
    let before = snapshot(&ledger.state).0.len();
    ledger.play(
        "alice locks 2000 on job as=a
         market posts a for job rate=0",
    );
    // Neither the payee, nor the fees, nor settlement got anything.
    assert_eq!(snapshot(&ledger.state).0.len(), before);
}

#[test]
fn the_first_locks_pay_first_and_each_rest_returns_to_its_payer() {
    let mut ledger = Ledger::with(&[("alice", 10_000), ("bob", 10_000), ("carol", 10_000)]);
    ledger.play(
        "alice locks 4000 on job as=a
         bob locks 5000 on job as=b
         carol locks 6000 on job as=c
         carol locks 4000 on job as=d
         market posts a,b,c,d for job rate=10_001
         alice has 6000 of 6000
         bob has 5000 of 5000
         carol has 8999 of 8999
         payee has 9750 of 9750
         fees has 251 of 251
         settlement has 0 of 0",
    );
}

#[test]
fn a_job_costs_at_most_its_locks() {
    let mut ledger = Ledger::with(&[("alice", 10_000)]);
    ledger.play(
        "alice locks 4000 on job as=a
         alice locks 1001 on job as=b
         market posts a,b for job
         alice has 4999 of 4999
         payee has 4875 of 4875
         fees has 126 of 126",
    );
}

#[test]
fn fees_round_up_once_for_the_whole_job() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    // Two locks that pay 1,001 each: ⌈25.025⌉ of the first, and ⌈50.05⌉ of both leaves 25 for the second.
    ledger.play(
        "alice locks 1000 on one as=a
         market posts a for one rate=1 ms=1
         payee has 0 of 0
         fees has 1 of 1
         alice locks 1000 on two as=b
         alice locks 1000 on two as=c
         market posts b,c for two rate=1001
         fees has 27 of 27
         payee has 975 of 975
         alice locks 1001 on three as=d
         alice locks 1001 on three as=e
         market posts d,e for three
         fees has 78 of 78
         payee has 2926 of 2926
         alice locks 1000 on four as=f
         market posts f for four rate=0
         alice locks 1000 on four as=f
         market posts f for four ms=0
         fees has 78 of 78
         alice has 96996 of 96996",
    );
}

#[test]
fn a_post_must_follow_from_its_numbers_and_the_locks_terms() {
    let mut ledger = Ledger::with(&[("alice", 1_000_000)]);
    ledger.play(
        "alice locks 20000 on job as=a rate=10_000 miner=rig
         market posts a for other                       ! the lock's terms do not allow this job
         market posts a for job rate=10_001             ! the lock's terms do not allow this rate
         market posts a for job miner=other             ! the lock's terms do not allow this miner
         market posts a for job observed=3599999        ! billed_ms is 3600000 where 3599999 follows
         market posts a for job work=3599999            ! billed_ms is 3600000 where 3599999 follows
         market posts a for job posted=10001            ! posted is 10001 where 10000 follows
         market posts a for job posted=9999             ! posted is 9999 where 10000 follows
         market posts a for job fee=251                 ! fee is 251 where 250 follows
         market posts a for job fee=249                 ! fee is 249 where 250 follows
         market posts a for job observed=3600001 work=9999999
         alice locks 20000 on job as=b fee=249
         market posts b for job                         ! the lock's terms do not allow this fee
         alice locks 20000 on job as=c purpose=rental
         market posts c for job                         ! the lock's terms do not allow this job
         market voids b
         market voids c
         alice has 990_000 of 990_000",
    );
}

#[test]
fn a_chain_of_posts_keeps_to_one_work_and_the_order_of_the_log() {
    let mut ledger = Ledger::with(&[("alice", 1_000_000)]);
    ledger.play(
        "alice locks 6000 on job as=a
         alice locks 6000 on job as=b
         alice locks 6000 on job as=c
         market posts b for job
         market posts a for job                   ! a job's locks are not paid in their order
         market posts c for job rate=9999         ! two payments of one job differ
         market posts c for job attempt=2         ! two payments of one job differ
         market posts c for job payee=other       ! two payments of one job differ
         market posts c for job miner=other       ! two payments of one job differ
         market posts c for job                   ! posted is 6000 where 4000 follows",
    );
}

#[test]
fn payer_payee_and_other_jobs_may_meet_in_one_chain() {
    let mut ledger = Ledger::with(&[("alice", 30_000)]);
    ledger.play(
        "alice locks 10000 on one as=a
         alice locks 10000 on two as=b
         market posts a for one payee=alice
         market posts b for two payee=alice
         alice has 29500 of 29500
         fees has 500 of 500",
    );
}

#[test]
fn money_comes_from_genesis_in_order_then_from_the_faucet_up_to_its_total() {
    let (mut first, mut last) = ("alice", "bob");
    if address(first) > address(last) {
        (first, last) = (last, first);
    }
    let mut ledger = Ledger::opened(&genesis(BTreeMap::from([
        (address(first), 5_000),
        (address(last), 7_000),
    ])));
    ledger.play(&format!(
        "market seals                     ! the genesis file gives out more before this record
         alice gives 1 to bob             ! insufficient funds
         market drips 1 for {last}        ! the genesis file gives out more before this record
         market mints 7000 for {last}     ! the genesis file does not give this out next
         market mints 5001 for {first}    ! the genesis file does not give this out next
         market mints 5000 for {first}
         {first} gives 1 to carol         ! the genesis file gives out more before this record
         market drips 1 for {last}        ! the genesis file gives out more before this record
         market mints 7000 for {last}
         market mints 7000 for {last}     ! the genesis file does not give this out next
         market drips 0 for {last}        ! the faucet has given out all it may
         market drips 1000001 for {last}  ! the faucet has given out all it may
         market drips 999999 for {last}
         market drips 2 for {last}        ! the faucet has given out all it may
         market drips 1 for carol
         market drips 1 for carol         ! the faucet has given out all it may
         carol has 1 of 1
         market seals"
    ));
    let issuance = ledger.state.account(AccountId::Issuance);
    assert_eq!(issuance.debits_posted, 1_012_000);
}

#[test]
fn a_standard_network_has_no_faucet() {
    let standard = Genesis {
        profile: "standard".into(),
        ..genesis(BTreeMap::from([(address("alice"), 5_000)]))
    };
    Ledger::opened(&standard).play(
        "market drips 1 for alice   ! the genesis file gives out more before this record
         market mints 5000 for alice
         market drips 1 for alice   ! the faucet has given out all it may",
    );
}

#[test]
fn a_genesis_file_gives_out_less_than_two_to_the_63() {
    let rules = |allocated, total, fee_bps| {
        let mut genesis = genesis(BTreeMap::from([
            (address("alice"), allocated),
            (address("bob"), 1),
        ]));
        genesis.fee_bps = fee_bps;
        genesis.faucet.as_mut().unwrap().total = total;
        genesis.rules(&genesis.to_bytes())
    };
    let most = (1 << 63) - 1;
    assert!(rules(most - 1, 0, 10_000).is_some());
    assert!(rules(most - 1, 1, 250).is_none());
    assert!(rules(u64::MAX, 0, 250).is_none());
    assert!(rules(0, u64::MAX, 250).is_none());
    assert!(rules(0, 0, 10_001).is_none());
}

#[test]
fn seals_count_what_stands_before_them() {
    let mut ledger = Ledger::with(&[("alice", 5_000)]);
    ledger.play(
        "market seals height=1     ! the seal's height is 1 where 0 follows
         market seals first=1      ! the seal's first record is 1 where 0 follows
         market seals count=1      ! the seal's count is 1 where 2 follows
         market seals minted=4999  ! the seal's minted is 4999 where 5000 follows
         market seals burned=1     ! the seal's burned is 1 where 0 follows
         market seals
         market seals              ! a seal follows directly on another
         alice gives 1 to bob
         market seals height=0     ! the seal's height is 0 where 1 follows
         market seals first=2      ! the seal's first record is 2 where 3 follows
         market seals",
    );
    let position = ledger.state.position();
    assert_eq!(
        (position.height, position.first_unsealed, position.next),
        (2, 5, 5)
    );
}

#[test]
fn counters_hold_more_than_all_the_money_there_is_many_times_over() {
    let most = (1_u64 << 63) - 1;
    let mut all = genesis(BTreeMap::from([(address("alice"), most)]));
    all.faucet.as_mut().unwrap().total = 0;
    all.fee_bps = 0;
    let mut ledger = Ledger::opened(&all);
    ledger.play(&format!("market mints {most} for alice"));
    let half = 1_u64 << 62;
    for _ in 0..40 {
        ledger.play(&format!(
            "alice locks {half} on job as=a
             market posts a for job payee=bob rate={half}
             bob gives {half} to alice"
        ));
    }
    let settlement = ledger.state.account(AccountId::Settlement);
    assert!(settlement.credits_posted > u128::from(u64::MAX));
    assert_eq!(settlement.credits_posted, settlement.debits_posted);
    assert_eq!(settlement.credits_pending, 0);
}

#[test]
fn a_counter_at_its_end_refuses_instead_of_wrapping() {
    let mut ledger = Ledger::with(&[("alice", 5_000)]);
    ledger.play("alice locks 1000 on job as=a");
    // No history comes here: only a store that lies.
    let mut full = ledger.state.account(AccountId::Wallet(address("bob")));
    full.credits_posted = u128::MAX;
    let mut state = State::resumed(ledger.state.position().clone(), *ledger.state.totals());
    state.load(
        StateKey::Account(AccountId::Wallet(address("bob"))),
        Some(Entry::Account(full)),
    );
    for (key, entry) in ledger.state.entries() {
        state.load(*key, Some(entry.clone()));
    }
    ledger.state = state;
    ledger.play(
        "alice gives 1 to bob             ! the amounts are too large
         market posts a for job payee=bob ! the amounts are too large
         market drips 1 for bob           ! the amounts are too large
         alice gives 1 to carol",
    );
}
