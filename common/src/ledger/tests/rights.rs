//! Stakes, payees of identities, and allowances.

use super::*;

#[test]
fn a_stake_belongs_to_the_bound_wallet_and_leaves_after_seven_days() {
    let mut ledger = Ledger::with(&[("alice", 10_000), ("bob", 10_000)]);
    ledger.play(
        "alice unstakes 1 from rig               ! nothing is staked on this miner
         alice stakes 0 on rig                   ! the amount must be between
         alice stakes 1 on rig                   ! this one is bound to no wallet
         alice binds rig seq=1
         alice stakes 10001 on rig               ! insufficient funds
         alice stakes 6000 on rig
         alice has 4000 of 4000
         stake:rig has 6000 of 6000
         bob stakes 1 on rig                     ! this one is bound to the wallet
         bob unstakes 1 from rig                 ! the stake on this miner belongs to the wallet
         alice unstakes 6001 from rig            ! insufficient funds: available 0.006 AIT
         alice unstakes 0 from rig               ! the amount must be between
         alice unstakes 4000 from rig as=u
         stake:rig has 2000 of 6000
         alice unstakes 2001 from rig            ! insufficient funds: available 0.002 AIT
         market unstakes u                       ! its time is not over before 1800604800000
         market expires u                        ! the lock is not open
         market voids u                          ! the lock is not open
         wait 604799999
         market unstakes u                       ! its time is not over
         wait 1
         market unstakes u
         market unstakes u                       ! the lock is not open
         alice has 8000 of 8000
         stake:rig has 2000 of 2000
         alice releases rig seq=2
         alice stakes 1 on rig                   ! this one is bound to no wallet
         bob binds rig seq=3
         alice stakes 1 on rig                   ! this one is bound to the wallet
         bob stakes 1 on rig                     ! the stake on this miner belongs to the wallet
         alice unstakes 1000 from rig as=v
         alice unstakes 1000 from rig as=w
         bob stakes 1 on rig                     ! the stake on this miner belongs to the wallet
         wait 604800000
         market unstakes w
         bob stakes 1 on rig                     ! the stake on this miner belongs to the wallet
         market unstakes v
         alice has 10000 of 10000
         alice unstakes 1 from rig               ! nothing is staked on this miner
         alice stakes 1 on rig                   ! this one is bound to the wallet
         bob stakes 5 on rig
         bob stakes 6 on rig
         stake:rig has 11 of 11",
    );
}

#[test]
fn an_identity_consents_to_its_payee_and_only_that_wallet_lets_it_go() {
    let mut ledger = Ledger::with(&[("alice", 10_000)]);
    ledger.play(
        "alice binds rig seq=0                   ! its number is 0, it must be 1
         alice binds rig seq=2                   ! its number is 2, it must be 1
         alice releases rig seq=1                ! the identity has not consented
         alice binds rig by=other                ! the identity has not consented
         alice binds rig to=bob                  ! the identity has not consented
         alice binds rig consent=-1              ! the identity has not consented
         alice binds rig seq=1 consent=0
         rig is paid at alice
         bob binds rig seq=2                     ! the identity is bound to the wallet
         bob releases rig seq=2                  ! the identity is bound to the wallet
         alice binds rig seq=1                   ! its number is 1, it must be 2
         alice releases rig seq=1                ! its number is 1, it must be 2
         alice binds rig seq=2
         alice releases rig seq=4294967295       ! its number is 4294967295, it must be 3
         alice releases rig seq=3
         rig is paid at nobody
         bob binds rig seq=2                     ! its number is 2, it must be 4
         alice binds rig seq=3                   ! its number is 3, it must be 4
         alice releases rig seq=4                ! the identity has not consented
         bob binds rig seq=4
         rig is paid at bob
         alice binds rig seq=5                   ! the identity is bound to the wallet",
    );
}

#[test]
fn an_identity_spends_its_allowance_and_what_returns_is_its_again() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "agent locks 1000 on job for=alice                ! has given this identity no allowance
         alice allows agent 5000 seq=0                    ! its number is 0, it must be over 0
         alice allows agent 5000 seq=1 expires=-1         ! it was valid until
         alice allows agent 5000 seq=1 expires=34560000001 ! at most 9600 hours
         alice allows agent 5000 seq=1
         other locks 1000 on job for=alice                ! has given this identity no allowance
         agent locks 1000 on job for=bob                  ! has given this identity no allowance
         agent locks 999 on job for=alice                 ! the amount must be between
         agent locks 5001 on job for=alice                ! the allowance leaves 0.005 AIT, asked 0.005001 AIT
         agent locks 2000 on job for=alice nonce=1        ! the nonce is 1, 0 comes next
         agent locks 2000 on job for=alice as=a
         agent locks 2000 on job for=alice nonce=0        ! the nonce is 0, 1 comes next
         agent used 2000 of alice
         alice has 98000 of 100000
         agent locks 3001 on job for=alice                ! the allowance leaves 0.003 AIT
         alice gives 1 to bob nonce=1
         market voids a
         agent used 0 of alice
         agent locks 5000 on job for=alice as=b
         market posts b for job rate=1500
         agent used 1500 of alice
         alice has 98499 of 98499
         agent locks 3501 on job for=alice                ! the allowance leaves 0.0035 AIT
         alice allows agent 4000 seq=1                    ! its number is 1, it must be over 1",
    );
}

#[test]
fn a_new_allowance_starts_anew_but_for_its_nonce() {
    let mut ledger = Ledger::with(&[("alice", 100_000)]);
    ledger.play(
        "alice allows agent 5000 seq=1
         agent locks 2000 on job for=alice as=old
         alice allows agent 3000 seq=7 expires=1000
         agent used 0 of alice
         agent locks 3000 on job for=alice nonce=0 as=new ! the nonce is 0, 1 comes next
         agent locks 3000 on job for=alice nonce=1 as=new
         market voids old
         agent used 3000 of alice
         market voids new
         agent used 0 of alice
         wait 1000
         agent locks 1000 on job for=alice as=last
         wait 1
         agent locks 1000 on job for=alice                ! has given this identity no allowance, or it has ended
         market voids last
         alice allows agent 0 seq=8
         agent locks 1000 on job for=alice                ! has given this identity no allowance, or it has ended
         alice allows agent 1000 seq=9
         agent locks 1000 on job for=alice nonce=3",
    );
}

#[test]
fn an_allowance_does_not_make_money() {
    let mut ledger = Ledger::with(&[("alice", 1_500)]);
    ledger.play(
        "alice allows agent 5000
         agent locks 2000 on job for=alice ! insufficient funds
         agent used 0 of alice
         agent locks 1500 on job for=alice
         alice has 0 of 1500",
    );
}
