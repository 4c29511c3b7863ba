//! What a job costs: the rate times the least of three durations.

use crate::layouts::{Assignment, NO_BUDGET, Receipt, StreamCheckpoint};
use crate::money::cost;

/// Tokens beyond one per input byte that a chat template may add to a prompt.
const TEMPLATE_TOKENS: u64 = 1_024;
/// Milliseconds that every job may take, whatever its tokens.
const BASE_MS: u64 = 1_000;
/// A job's locks must pay for at least this much of a miner's time, in milliseconds: 10 s.
const LEAST_BUDGET_MS: u64 = 10_000;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// The milliseconds of work that `locked` micro-AIT pay for at `rate` micro-AIT per hour: ⌊locked·3,600,000 / rate⌋;
/// [`NO_BUDGET`] where the rate is 0.
#[must_use]
pub fn budget_ms(locked: u64, rate: u64) -> u64 {
    let ms = (u128::from(locked) * u128::from(HOUR_MS)).checked_div(u128::from(rate));
    ms.map_or(NO_BUDGET, |ms| u64::try_from(ms).unwrap_or(NO_BUDGET))
}

/// The highest rate in micro-AIT per hour at which `locked` micro-AIT pay for 10 s, the least that a job is given to a
/// miner for.
#[must_use]
pub fn highest_rate(locked: u64) -> u64 {
    locked.saturating_mul(HOUR_MS / LEAST_BUDGET_MS)
}

/// The least micro-AIT that pay for 10 s at `rate` micro-AIT per hour.
#[must_use]
pub fn least_locked(rate: u64) -> u64 {
    rate.div_ceil(HOUR_MS / LEAST_BUDGET_MS)
}

/// The most milliseconds that a job's tokens justify at the assignment's measured speeds:
/// 1000 + ⌈10^6·min(tokens_in, input_len + 1024) / prompt_speed⌉ + ⌈10^6·min(tokens_out, output_len) / output_speed⌉.
/// A speed of 0 (not measured) counts as 1 token per second.
#[must_use]
pub fn cap_ms(assignment: &Assignment, receipt: &Receipt, input_len: u64) -> u64 {
    let tokens_in = u64::from(receipt.tokens_in).min(input_len.saturating_add(TEMPLATE_TOKENS));
    let tokens_out = u64::from(receipt.tokens_out).min(receipt.output_len);
    cap_of(speeds(assignment), tokens_in, tokens_out)
}

/// The same before there is a receipt: the most milliseconds that a job of `input_len` bytes and at most `tokens_out` generated tokens
/// is paid for at these speeds, in milli-tokens per second. No receipt within these tokens has a higher [`cap_ms`].
#[must_use]
pub fn highest_cap_ms(
    prompt_speed: u32,
    output_speed: u32,
    input_len: u64,
    tokens_out: u64,
) -> u64 {
    let tokens_in = input_len.saturating_add(TEMPLATE_TOKENS);
    cap_of((prompt_speed, output_speed), tokens_in, tokens_out)
}

fn speeds(assignment: &Assignment) -> (u32, u32) {
    (assignment.prompt_speed, assignment.output_speed)
}

fn cap_of((prompt_speed, output_speed): (u32, u32), tokens_in: u64, tokens_out: u64) -> u64 {
    let term = |tokens: u64, milli_speed: u32| {
        let speed = if milli_speed == 0 {
            1_000
        } else {
            u64::from(milli_speed)
        };
        tokens.saturating_mul(1_000_000).div_ceil(speed)
    };
    BASE_MS
        .saturating_add(term(tokens_in, prompt_speed))
        .saturating_add(term(tokens_out, output_speed))
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

/// The same where a checkpoint is all there is: it counts no prompt.
#[must_use]
pub fn billed_ms_so_far(
    assignment: &Assignment,
    checkpoint: &StreamCheckpoint,
    observed_ms: u64,
) -> u64 {
    let tokens_out = u64::from(checkpoint.tokens_out).min(checkpoint.offset);
    observed_ms
        .min(checkpoint.work_ms)
        .min(cap_of(speeds(assignment), 0, tokens_out))
}

/// The price of a completed job in micro-AIT, before locks bound it: ⌈rate·billed_ms / 3,600,000⌉.
#[must_use]
pub fn price(assignment: &Assignment, receipt: &Receipt, input_len: u64, observed_ms: u64) -> u64 {
    cost(
        assignment.rate,
        billed_ms(assignment, receipt, input_len, observed_ms),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_what_the_locks_pay_for_and_never_more() {
        assert_eq!(budget_ms(1_000_000, 1_000_000), HOUR_MS);
        assert_eq!(budget_ms(1, 3_600_001), 0);
        assert_eq!(budget_ms(5, 0), NO_BUDGET);
        for (locked, rate) in [
            (10_000_000, 500_000),
            (1_389, 500_000),
            (7, 13),
            (1_000, 1 << 40),
        ] {
            let budget = budget_ms(locked, rate);
            assert!(cost(rate, budget) <= locked, "{locked} at {rate}");
            assert!(cost(rate, budget + 1) >= locked, "{locked} at {rate}");
        }
    }

    #[test]
    fn no_receipt_within_a_quote_is_billed_more() {
        // The formula by hand: 1 s, 1,030 tokens read at 0.5/s, 7 written at 2/s.
        assert_eq!(highest_cap_ms(500, 2_000, 6, 7), 1_000 + 2_060_000 + 3_500);
        assert_eq!(
            highest_cap_ms(0, 0, 0, 1),
            1_000 + 1_024_000 + 1_000,
            "not measured"
        );
        assert_eq!(highest_cap_ms(1, 1, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn ten_seconds_are_the_least() {
        for locked in [1, 999, 1_389, 10_000_000] {
            let rate = highest_rate(locked);
            assert!(budget_ms(locked, rate) >= LEAST_BUDGET_MS);
            assert!(budget_ms(locked, rate + 1) < LEAST_BUDGET_MS);
            assert_eq!(least_locked(rate), locked);
            assert_eq!(least_locked(rate + 1), locked + 1);
        }
    }
}
