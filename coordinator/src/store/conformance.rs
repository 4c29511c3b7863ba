//! What every store must do, run against each adapter.

mod fixtures;
mod guarantees;
mod random_steps;
mod rows;

use super::{Batch, Family};

fn puts(rows: &[(Family, &'static str, &'static str)]) -> Batch {
    let mut batch = Batch::new();
    for (family, key, value) in rows {
        batch.put(*family, *key, *value);
    }
    batch
}

macro_rules! conformance {
    ($name:ident, $fixture:ty, $cases:literal) => {
        mod $name {
            #[test]
            fn reads() {
                super::rows::reads::<$fixture>();
            }
            #[test]
            fn batches() {
                super::rows::batches::<$fixture>();
            }
            #[test]
            fn scans() {
                super::rows::scans::<$fixture>();
            }
            #[test]
            fn ranges() {
                super::rows::ranges::<$fixture>();
            }
            #[test]
            fn fences() {
                super::guarantees::fences::<$fixture>();
            }
            #[test]
            fn fenced_races() {
                super::guarantees::fenced_races::<$fixture>();
            }
            #[test]
            fn large_values() {
                super::rows::large_values::<$fixture>();
            }
            #[test]
            fn durability() {
                super::guarantees::durability::<$fixture>();
            }
            #[test]
            fn random_steps() {
                super::random_steps::random_steps::<$fixture>($cases);
            }
        }
    };
}

conformance!(memory, super::fixtures::Memory, 256);
conformance!(rocks, super::fixtures::Rocks, 24);
