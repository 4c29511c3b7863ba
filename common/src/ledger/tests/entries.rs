//! Keys, values and records are their bytes, and no others.

use super::*;
use crate::layouts::{LockPurpose, VoidReason};
use crate::ledger::entry::{Account, Allowance, Binding, Forfeit, OpenLock, Unstaking};

fn examples() -> Vec<(StateKey, Entry, usize)> {
    let (rig, alice) = (identity("rig").public(), address("alice"));
    let account = Entry::Account(Account {
        debits_posted: 1,
        credits_posted: u128::MAX,
        debits_pending: 3,
        credits_pending: 1 << 64,
        nonce: u64::MAX,
    });
    let lock = Entry::Lock(OpenLock {
        payer: alice,
        signer: rig,
        allowance_seq: 1,
        target: [2; 32],
        purpose: LockPurpose::Rental,
        amount: 3,
        expires_at: 4,
        max_rate: 5,
        max_fee_bps: 6,
        miner_key: rig,
        log_index: 7,
        newest: 8,
    });
    let binding = Entry::Binding(Binding {
        account: alice,
        seq: u32::MAX,
    });
    let allowance = Entry::Allowance(Allowance {
        seq: 1,
        expires_at: 2,
        amount: 3,
        used: 4,
        nonce: 5,
    });
    let unstaking = Entry::Unstaking(Unstaking {
        account: alice,
        miner: rig,
        amount: 1,
        matures_at: 2,
    });
    let forfeit = Entry::Forfeit(Forfeit {
        until: 1,
        amount: 1 << 70,
    });
    let accounts = [
        AccountId::Wallet(alice),
        AccountId::Stake(rig),
        AccountId::Settlement,
        AccountId::Fees,
        AccountId::Issuance,
    ];
    let mut all: Vec<_> = accounts
        .map(|id| (StateKey::Account(id), account.clone(), 72))
        .into();
    all.extend([
        (StateKey::Lock([9; 32]), lock, 157),
        (StateKey::Binding(rig), binding, 24),
        (StateKey::Allowance(alice, rig), allowance, 36),
        (StateKey::Unstaking([8; 32]), unstaking, 68),
        (StateKey::Staker(rig), Entry::Staker(alice), 20),
        (StateKey::Forfeit(rig), forfeit, 24),
        (StateKey::Slashed(rig, [7; 32], 3), Entry::Slashed(9), 8),
    ]);
    all.extend(audits());
    all
}

fn audits() -> [(StateKey, Entry, usize); 2] {
    let seed = Entry::AuditSeed(super::super::entry::AuditSeed {
        commitment: [5; 32],
        seed: [6; 32],
    });
    let wrong = (StateKey::FoundWrong([7; 32]), Entry::FoundWrong([4; 32]));
    [
        (StateKey::AuditSeed(20_416), seed, 64),
        (wrong.0, wrong.1, 32),
    ]
}

#[test]
fn keys_and_values_read_back_and_have_their_length() {
    for (key, entry, len) in examples() {
        let (id, value) = (key.bytes(), entry.encode());
        assert_eq!(StateKey::from_bytes(&id), Some(key));
        assert_eq!(value.len(), len, "{key:?}");
        assert_eq!(Entry::decode(&key, &value).unwrap(), entry);
        for wrong in [&value[1..], &[&value[..], &[0]].concat()] {
            assert!(Entry::decode(&key, wrong).is_err(), "{key:?}");
        }
        for wrong in [&id[..id.len() - 1], &[&id[..], &[0]].concat(), &[]] {
            assert_eq!(StateKey::from_bytes(wrong), None, "{key:?}");
        }
    }
    for wrong in [&[1, 5][..], &[1, 1], &[9; 33], &[0; 33]] {
        assert_eq!(StateKey::from_bytes(wrong), None);
    }
}

#[test]
fn a_locks_purpose_is_one_of_two() {
    let (key, lock, _) = examples().swap_remove(5);
    let mut value = lock.encode();
    for purpose in [0, 3, 255] {
        value[20 + 32 + 4 + 32] = purpose;
        assert!(Entry::decode(&key, &value).is_err());
    }
}

#[test]
fn reserved_records_are_refused() {
    let void = Record {
        index: 1,
        time_ms: 2,
        body: RecordBody::Void {
            lock: [3; 32],
            reason: VoidReason::Terms,
        },
    }
    .encode();
    assert!(Record::decode(&void).is_ok());
    for kind in [0, 11, 15] {
        let mut reserved = void.clone();
        reserved[1] = kind;
        let error = Record::decode(&reserved).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("record: type has the undefined value {kind}")
        );
    }
}
