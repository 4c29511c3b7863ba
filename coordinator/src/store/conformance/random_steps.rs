//! Random commits, restarts and crashes, compared with a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::fixtures::Fixture;
use crate::store::Durability::{Buffered, Synced};
use crate::store::{Batch, Durability, Family, Operation, Store};

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Operation>, Durability),
    Reopen,
    Restart,
    Crash(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || {
        prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0xfe]), 0..4).prop_map(Bytes::from)
    };
    let family = || prop::sample::select(Family::ALL.to_vec());
    let value = (
        any::<u8>(),
        prop_oneof![0..10_usize, 390..410_usize, 1000..5000_usize],
    )
        .prop_map(|(byte, len)| Bytes::from(vec![byte; len]));
    let operation = prop_oneof![
        6 => (family(), key(), value).prop_map(|(family, key, value)| Operation::Put(family, key, value)),
        3 => (family(), key()).prop_map(|(family, key)| Operation::Delete(family, key)),
        1 => (family(), key(), key()).prop_map(|(family, start, end)| Operation::DeleteRange(family, start, end)),
    ];
    let durability = prop::sample::select(vec![Buffered, Buffered, Synced]);
    prop_oneof![
        12 => (prop::collection::vec(operation, 0..8), durability)
            .prop_map(|(operations, durability)| Step::Commit(operations, durability)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Restart),
        1 => (0..=1000_u32).prop_map(Step::Crash),
    ]
}

type Model = BTreeMap<(Family, Bytes), Bytes>;

fn apply(model: &mut Model, operations: &[Operation]) -> Batch {
    let mut batch = Batch::new();
    for operation in operations.iter().cloned() {
        match operation {
            Operation::Put(family, key, value) => {
                batch.put(family, key.clone(), value.clone());
                model.insert((family, key), value);
            }
            Operation::Delete(family, key) => {
                batch.delete(family, key.clone());
                model.remove(&(family, key));
            }
            Operation::DeleteRange(family, start, end) => {
                batch.delete_range(family, start.clone(), end.clone());
                model.retain(|(other, key), _| *other != family || *key < start || *key >= end);
            }
        }
    }
    batch
}

fn stored<F: Fixture>(fixture: &F, limit: usize) -> Model {
    let mut model = Model::new();
    for family in Family::ALL {
        for (key, value) in fixture.rows(family, limit) {
            assert_eq!(fixture.get(family, &key), Some(value.clone()));
            model.insert((family, key), value);
        }
    }
    model
}

/// Random steps leave what a map would hold, or after a crash what it held since the last sync.
fn models<F: Fixture>(steps: &[Step]) {
    let mut fixture = F::new();
    let mut fence = fixture.claim();
    let mut history = vec![Model::new()];
    for (count, step) in steps.iter().enumerate() {
        let mut now = history.last().expect("the history is never empty").clone();
        match step {
            Step::Commit(operations, durability) => {
                let batch = apply(&mut now, operations);
                fixture.commit(&fence, batch, *durability);
                if *durability == Synced {
                    history.clear();
                }
                history.push(now);
                continue;
            }
            Step::Reopen => fixture.store().reopen().unwrap(),
            Step::Restart => fixture.restart(),
            Step::Crash(kept) => {
                fixture.crash(*kept);
                let found = stored(&fixture, 1 + count % 4);
                assert!(history.contains(&found), "a crash leaves a state that was");
                history = vec![found];
            }
        }
        fence = fixture.claim();
        let found = stored(&fixture, 1 + count % 4);
        assert_eq!(
            Some(&found),
            history.last(),
            "opening and claiming change nothing"
        );
    }
    assert_eq!(Some(&stored(&fixture, 3)), history.last());
}

pub(super) fn random_steps<F: Fixture>(cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 0..40), |steps| {
            models::<F>(&steps);
            Ok(())
        })
        .unwrap();
}
