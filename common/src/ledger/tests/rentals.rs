//! Rentals draw from their locks by numbered payments; miners that fail a paid attempt are named.

use super::*;

#[test]
fn a_rental_is_paid_hour_by_hour_and_the_rest_returns() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice locks 30000 on term as=a purpose=rental miner=rig
         alice has 70_000 of 100_000
         market rents a for term
         alice has 70_000 of 90_000
         payee has 9750 of 9750
         fees has 250 of 250
         market rents a for term n=2 ms=1_800_000 observed=3_600_000
         alice has 70_000 of 85_000
         market rents a for term n=3 ms=360_000 end=1
         alice has 84_000 of 84_000
         payee has 15600 of 15600
         fees has 400 of 400
         settlement has 0 of 0
         market rents a for term n=4              ! the lock is not open",
    );
    assert!(ledger.state.totals().broken().is_empty());
}

#[test]
fn a_rentals_payment_follows_from_its_time_and_number() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice locks 30000 on term as=a purpose=rental miner=rig rate=10_000
         alice locks 30000 on job as=b
         market rents b for job                     ! the lock's terms do not allow this job or rental
         market rents a for other                   ! the lock's terms do not allow this job or rental
         market posts a for term                    ! the lock's terms do not allow this job or rental
         market rents a for term rate=10_001        ! the lock's terms do not allow this rate
         market rents a for term miner=other        ! the lock's terms do not allow this miner
         market rents a for term evidence=1         ! a rental's payment rests on no evidence
         market rents a for term n=2                ! attempt is 2 where 1 follows
         market rents a for term n=0                ! attempt is 0 where 1 follows
         market rents a for term observed=3599999   ! work_ms is 3600000 where 3590000 follows
         market rents a for term work=15000 ms=15000 ! work_ms is 15000 where 10000 follows
         market rents a for term work=10000 ms=20000 ! billed_ms is 20000 where 10000 follows
         market rents a for term work=20000 ms=10000 observed=20000 ! billed_ms is 10000 where 20000 follows
         market rents a for term work=10000 ms=60000 ! billed_ms is 60000 where 10000 follows
         market rents a for term work=10000 ms=60001 end=1 ! billed_ms is 60001 where 10000 follows
         market rents a for term posted=9999        ! posted is 9999 where 10000 follows
         market rents a for term fee=251            ! fee is 251 where 250 follows
         market rents a for term
         market rents a for term                    ! attempt is 1 where 2 follows
         market rents a for term n=2 work=10000 ms=60000 end=1 observed=15000
         alice has 59_833 of 89_833",
    );
}

#[test]
fn a_rental_never_pays_more_than_its_lock() {
    let mut ledger = Ledger::with(&[("alice", 20_000)]);
    ledger.play(
        "alice locks 15000 on term as=a purpose=rental miner=rig
         market rents a for term
         market rents a for term n=2
         alice has 5_000 of 5_000
         market rents a for term n=3 ms=0
         market rents a for term n=4 end=1
         alice has 5_000 of 5_000
         fees has 375 of 375",
    );
}

#[test]
fn an_allowance_has_what_a_rental_left() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice allows agent 40000
         agent locks 30000 on term as=a purpose=rental miner=rig for=alice
         agent used 30000 of alice
         market rents a for term
         agent used 30000 of alice
         market rents a for term n=2 ms=0 end=1
         agent used 10000 of alice",
    );
}

#[test]
fn rentals_and_jobs_pay_beside_each_other() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice locks 10000 on job as=a
         alice locks 10000 on job as=b
         alice locks 10000 on term as=c purpose=rental miner=rig
         market posts a for job ms=5_400_000
         market rents c for term ms=10000
         market posts b for job ms=5_400_000
         market rents c for term n=2 ms=10000",
    );
}

#[test]
fn a_fault_names_an_open_lock_of_the_job_once_for_each_attempt() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice locks 20000 on job as=a miner=rig
         alice locks 30000 on term as=c purpose=rental miner=rig
         market blames rig for other                ! the lock's terms do not allow this job
         market blames rig for term of=c            ! the lock's terms do not allow this job
         market blames other for job                ! the lock's terms do not allow this miner
         market blames rig for job client=bob       ! the lock's terms do not allow this client
         market blames rig for job weight=501       ! weight is 501 where 500 follows
         market blames rig for job attempt=0        ! its number is 0, it must be over 0
         market blames rig for job attempt=2
         market blames rig for job attempt=2        ! its number is 2, it must be over 2
         market blames rig for job attempt=1        ! its number is 1, it must be over 2
         market blames rig for job attempt=3
         alice has 50_000 of 100_000
         market posts a for job attempt=4
         market blames rig for job attempt=5        ! the lock is not open",
    );
}
