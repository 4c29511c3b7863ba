//! How often properties are tried.

use proptest::prelude::ProptestConfig;

/// How long the histories of a property are in all: `AITBC_LEDGER_OPERATIONS` operations where that is set (`each` in a case
/// on average), else `usual` cases.
pub fn cases(usual: u32, each: u32) -> ProptestConfig {
    let operations = std::env::var("AITBC_LEDGER_OPERATIONS");
    let operations = operations.map(|text| text.parse::<u32>().expect("a number of operations"));
    ProptestConfig::with_cases(operations.map_or(usual, |operations| operations.div_ceil(each)))
}
