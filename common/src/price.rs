//! What a job costs: the rate times the least of three durations.

use crate::layouts::{Assignment, Receipt};
use crate::money::cost;

/// Tokens beyond one per input byte that a chat template may add to a prompt.
const TEMPLATE_TOKENS: u64 = 1_024;
/// Milliseconds that every job may take, whatever its tokens.
const BASE_MS: u64 = 1_000;

/// The most milliseconds that a job's tokens justify at the assignment's measured speeds:
/// 1000 + ⌈10^6·min(tokens_in, input_len + 1024) / prompt_speed⌉ + ⌈10^6·min(tokens_out, output_len) / output_speed⌉.
/// A speed of 0 (not measured) counts as 1 token per second.
#[must_use]
pub fn cap_ms(assignment: &Assignment, receipt: &Receipt, input_len: u64) -> u64 {
    let term = |tokens: u64, milli_speed: u32| {
        let speed = if milli_speed == 0 {
            1_000
        } else {
            u64::from(milli_speed)
        };
        tokens.saturating_mul(1_000_000).div_ceil(speed)
    };
    let tokens_in = u64::from(receipt.tokens_in).min(input_len.saturating_add(TEMPLATE_TOKENS));
    let tokens_out = u64::from(receipt.tokens_out).min(receipt.output_len);
    BASE_MS
        .saturating_add(term(tokens_in, assignment.prompt_speed))
        .saturating_add(term(tokens_out, assignment.output_speed))
}

/// min(observed_ms, work_ms, cap_ms): stalling, loading and waiting cost nothing.
#[must_use]
pub fn billed_ms(
    assignment: &Assignment,
    receipt: &Receipt,
    input_len: u64,
    observed_ms: u64,
) -> u64 {
    observed_ms
        .min(receipt.work_ms)
        .min(cap_ms(assignment, receipt, input_len))
}

/// The price of a completed job in micro-AIT, before locks bound it: ⌈rate·billed_ms / 3,600,000⌉.
#[must_use]
pub fn price(assignment: &Assignment, receipt: &Receipt, input_len: u64, observed_ms: u64) -> u64 {
    cost(
        assignment.rate,
        billed_ms(assignment, receipt, input_len, observed_ms),
    )
}
