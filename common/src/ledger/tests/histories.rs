//! What holds in every history.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::broken::BrokenRules;
use super::history::{Step, World};
use super::*;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(any::<Step>(), 0..150)
}

proptest! {
    #![proptest_config(cases(64, 75))]

    /// [`World`] checks each record as it is made: sums, funds, pending amounts, nonces, who pays and who is paid, that a
    /// refused record changes nothing, and that a state which loads what it needs decides and becomes the same.
    #[test]
    fn balances_follow_from_signatures_and_terms(steps in steps()) {
        let mut world = World::new(true);
        for step in steps {
            world.step(step);
        }
    }

    #[test]
    fn replaying_the_records_gives_the_same_state(steps in steps(), at in any::<prop::sample::Index>()) {
        let mut world = World::new(true);
        let at = at.index(steps.len() + 1);
        let mut halfway = (snapshot(&world.state), world.records.len());
        for (count, step) in steps.into_iter().enumerate() {
            if count == at {
                halfway = (snapshot(&world.state), world.records.len());
            }
            world.step(step);
        }
        let mut state = State::default();
        for (count, record) in world.records.iter().enumerate() {
            if count == halfway.1 {
                prop_assert_eq!(&snapshot(&state), &halfway.0);
            }
            let read = Record::decode(&record.encode()).unwrap();
            prop_assert_eq!(state.apply(&read, true), Ok(()));
        }
        prop_assert_eq!(snapshot(&state), snapshot(&world.state));
    }

    #[test]
    fn bytes_that_are_a_record_are_its_only_bytes(kind in 0..14_u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [&[1, kind][..], &[0; 16], &body].concat();
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
            prop_assert!(kind == 1 || State::default().apply(&record, false).is_err());
        }
    }
}

/// One long history; `AITBC_LEDGER_OPERATIONS` says how long.
#[test]
fn a_long_history_keeps_its_balances() {
    let operations = std::env::var("AITBC_LEDGER_OPERATIONS")
        .map_or(5_000, |text| text.parse().expect("a number of operations"));
    let mut random = SmallRng::seed_from_u64(operations);
    let mut world = World::new(false);
    for operation in 0..operations {
        world.step(random.random());
        if operation % 1_000 == 0 {
            world.check_state();
        }
    }
    world.check_state();
    // Histories in which nothing succeeds, or nothing fails, would show nothing.
    let most = usize::try_from(operations).unwrap();
    let kinds = (1..=6).map(|kind| (2, kind));
    for kind in [3, 4, 5, 6, 7, 8, 12]
        .map(|kind| (kind, 0))
        .into_iter()
        .chain(kinds)
    {
        let accepted = world.accepted.get(&kind).copied().unwrap_or_default();
        assert!(accepted > most / 500, "{accepted} of {kind:?}");
    }
    let slashed = world.accepted.get(&(9, 0)).copied().unwrap_or_default();
    assert!(slashed > 5 && world.burned > 0, "{slashed} slashes");
    assert!(world.refused > most / 20, "{} refused", world.refused);
}

/// The control: where what was slashed is paid out all the same, some history of a few hundred steps shows it.
#[test]
fn a_long_history_notices_a_forfeit_that_is_paid() {
    let noticed = (0..20_u64).any(|seed| {
        std::panic::catch_unwind(|| {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut world = World::new(false);
            world.break_rules(BrokenRules {
                pay_forfeits: true,
                ..BrokenRules::default()
            });
            for _ in 0..2_000 {
                world.step(random.random());
            }
        })
        .is_err()
    });
    assert!(noticed);
}
