//! What survives a crash, and who may commit.

use std::ops::RangeInclusive;

use super::fixtures::Fixture;
use super::puts;
use crate::store::Durability::{Buffered, Synced};
use crate::store::Family::Active;
use crate::store::{Batch, Family, Fence, Store, StoreError};

pub(super) fn fences<F: Fixture>() {
    let mut fixture = F::new();
    let refused = |fixture: &F, fence: &Fence| {
        for batch in [Batch::new(), puts(&[(Active, "refused", "x")])] {
            let outcome = fixture.store().commit(fence, batch, Synced);
            assert_eq!(outcome, Err(StoreError::Fenced));
        }
        assert_eq!(fixture.get(Active, "refused"), None);
    };
    let low = fixture.store().claim(0..=31).unwrap();
    let high = fixture.store().claim(32..=63).unwrap();
    assert!(high.epoch() > low.epoch() && low.epoch() > 0);
    assert_eq!(low.shards(), 0..=31);
    fixture.commit(&low, puts(&[(Active, "low", "1")]), Synced);
    fixture.commit(&high, puts(&[(Active, "high", "1")]), Synced);

    let one = fixture.store().claim(31..=31).unwrap();
    refused(&fixture, &low);
    fixture.commit(&high, puts(&[(Active, "high", "2")]), Buffered);
    fixture.commit(&one, puts(&[(Active, "one", "1")]), Synced);

    let empty = RangeInclusive::new(5, 4);
    for wrong in [0..=65, 65..=65, 255..=255, empty] {
        let refusal = fixture.store().claim(wrong);
        assert!(matches!(refusal, Err(StoreError::Unavailable(_))));
    }
    fixture.commit(&high, puts(&[(Active, "high", "3")]), Synced);

    fixture.store().reopen().unwrap();
    refused(&fixture, &high);
    refused(&fixture, &one);
    let newer = fixture.claim();
    assert!(newer.epoch() > one.epoch());
    fixture.restart();
    refused(&fixture, &newer);
    let newest = fixture.claim();
    assert!(
        newest.epoch() > newer.epoch(),
        "epochs rise across restarts"
    );
    fixture.crash(0);
    assert!(
        fixture.claim().epoch() > newest.epoch(),
        "and across crashes"
    );
    assert_eq!(fixture.get(Active, "high"), Some("3".into()));
}

/// Once a claim has returned, no commit of an older fence lands.
pub(super) fn fenced_races<F: Fixture + Sync>() {
    let mut fixture = F::new();
    let fence = fixture.claim();
    std::thread::scope(|scope| {
        let fixture = &fixture;
        let (first, started) = std::sync::mpsc::sync_channel(1);
        let writer = scope.spawn({
            let (store, fence) = (fixture.store(), fence.clone());
            move || {
                for count in 0_u64.. {
                    let mut batch = Batch::new();
                    batch.put(Active, "count", count.to_be_bytes().to_vec());
                    match store.commit(&fence, batch, Buffered) {
                        Ok(()) => drop(first.try_send(())),
                        Err(error) => return error,
                    }
                }
                unreachable!("the writer is fenced before it has counted to the end")
            }
        });
        started.recv().unwrap();
        fixture.store().claim(0..=63).unwrap();
        let count = fixture.get(Active, "count");
        assert_eq!(writer.join().unwrap(), StoreError::Fenced);
        assert_eq!(fixture.get(Active, "count"), count);
    });
}

pub(super) fn durability<F: Fixture>() {
    for kept in [0, 1, 137, 400, 666, 999, 1000] {
        let mut fixture = F::new();
        let fence = fixture.claim();
        let commit = |fixture: &mut F, count: u8, durability| {
            let mut batch = Batch::new();
            batch.put(Active, "count", vec![count]);
            for family in Family::ALL {
                batch.put(family, vec![b'r', count], vec![count; 700]);
            }
            fixture.commit(&fence, batch, durability);
        };
        for count in 0..8 {
            commit(&mut fixture, count, Buffered);
        }
        commit(&mut fixture, 8, Synced);
        for count in 9..18 {
            commit(&mut fixture, count, Buffered);
        }
        fixture.crash(kept);
        let last = fixture.get(Active, "count").unwrap()[0];
        assert!(
            (8..18).contains(&last),
            "the synced commit and those before it survive"
        );
        match kept {
            0 => assert_eq!(last, 8, "the test loses what it should"),
            1000 => assert_eq!(last, 17),
            _ => {}
        }
        for family in Family::ALL {
            for count in 0..18 {
                let found = fixture.get(family, [b'r', count]);
                assert_eq!(
                    found.is_some(),
                    count <= last,
                    "a commit is lost whole, with all later ones"
                );
            }
        }
    }
    let mut fixture = F::new();
    let fence = fixture.claim();
    fixture.commit(&fence, puts(&[(Active, "a", "1")]), Buffered);
    fixture.restart();
    assert_eq!(
        fixture.get(Active, "a"),
        Some("1".into()),
        "a restart loses nothing"
    );
    let fence = fixture.claim();
    fixture.commit(&fence, puts(&[(Active, "b", "1")]), Buffered);
    fixture.commit(&fence, Batch::new(), Synced);
    fixture.crash(0);
    assert_eq!(
        fixture.get(Active, "b"),
        Some("1".into()),
        "an empty batch syncs too"
    );
}
