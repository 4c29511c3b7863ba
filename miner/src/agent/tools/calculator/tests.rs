//! What the calculator says.

use super::*;
use proptest::prelude::*;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn stop() -> Stop {
    Stop::after(Duration::from_secs(60), CancellationToken::new())
}

fn says(expression: &str, expected: &str) {
    let result = evaluate(expression, &stop()).unwrap_or_else(|error| format!("error: {error}"));
    assert_eq!(result, expected, "{expression}");
}

fn fails(expression: &str, expected: &str) {
    let error = evaluate(expression, &stop()).unwrap_err().to_string();
    assert!(error.contains(expected), "{expression}: {error}");
}

#[test]
fn decimals_are_exact() {
    says("0.1 + 0.2", "0.3");
    says("120400.00 + 118250.00 + 131900.00", "370550");
    says("1 - 0.9", "0.1");
    says("9007199254740993 * 3", "27021597764222979");
    says("1e-7 * 1e7", "1");
    says("1.5e3", "1500");
    says("-0.05", "-0.05");
    says("2/3 * 3", "2");
    says(
        "1/3",
        "1/3 = 0.333333333333333333333333333333 (rounded to 30 places)",
    );
}

#[test]
fn operators_bind_as_in_mathematics() {
    says("2 + 3 * 4", "14");
    says("(2 + 3) * 4", "20");
    says("2 - 3 - 4", "-5");
    says("2 ^ 3 ^ 2", "512");
    says("2 ** 10", "1024");
    says("-2 ^ 2", "-4");
    says("2 ^ -2", "0.25");
    says("7 − 2 × 3 ÷ 4", "5.5");
    says("200 * 8%", "16");
    says("50% + 50%", "1");
    says("0 ^ 0", "1");
}

#[test]
fn functions_compute() {
    says("round(2.345, 2)", "2.35");
    says("round(-2.5, 0)", "-3");
    says("round(1250, -2)", "1300");
    says("round(2.5)", "3");
    says("floor(-1.5)", "-2");
    says("ceil(-1.5)", "-1");
    says("min(3, 1, 2) + max(3, 1, 2) + abs(-7)", "11");
    says("SUM(1.1, 2.2, 3.3)", "6.6");
    says("mod(-7, 3)", "2");
    says("sqrt(2.25)", "1.5");
    says(
        "sqrt(2)",
        "1.414213562373095048801688724210 (rounded to 30 places)",
    );
    says(
        "sqrt(2) - sqrt(2) + 1",
        "1.000000000000000000000000000000 (rounded to 30 places)",
    );
}

#[test]
fn mistakes_say_where_and_what() {
    fails("1 +", "at character 4: a number is missing");
    fails("(1 + 2", "')' is missing");
    fails("1,234 + 1", "without thousands separators");
    fails("$5", "a number is missing before '$'");
    fails("2(3)", "an operator is missing");
    fails("10 % 3", "mod(x, y)");
    fails("squrt(4)", "did you mean \"sqrt\"?");
    fails("pi", "the functions are: abs");
    fails("mod(1)", "takes another number of values");
    fails("1..2", "is no number");
    fails("1/0", "division by zero");
    fails("0^-1", "division by zero");
    fails("mod(1, 0)", "division by zero");
    fails("2^0.5", "sqrt(x)");
    fails("sqrt(-1)", "negative");
    fails("", "a number is missing");
}

#[test]
fn no_expression_takes_long_or_much() {
    fails("9^9^9", "whole number up to 10000");
    fails("99999^10000", "too large");
    fails("1e999999999999", "too large");
    fails("1e99999999999999999999", "is no number");
    fails(&"(".repeat(4000), "nested too deep");
    fails(&"-".repeat(4000), "nested too deep");
    fails(&format!("2{}", "^2".repeat(2000)), "nested too deep");
    fails(&format!("1{}", "*99999999999".repeat(600)), "too large");
    says("2^10000 / 2^9999", "2");
    let sum = evaluate(&format!("1{}", "+1/97^400".repeat(400)), &stop());
    assert!(sum.is_ok(), "{sum:?}");
}

#[test]
fn a_cancelled_call_ends() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stop = Stop::after(Duration::from_secs(60), cancel);
    assert_eq!(evaluate("1 + 1", &stop), Err(ToolError::Cancelled));
}

proptest! {
    #[test]
    fn cents_add_up(cents in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 1..40)) {
        let terms: Vec<String> = cents
            .iter()
            .map(|c| format!("({}{}.{:02})", if *c < 0 { "-" } else { "" }, c.abs() / 100, c.abs() % 100))
            .collect();
        let total: i64 = cents.iter().sum();
        let result = evaluate(&format!("({}) * 100", terms.join(" + ")), &stop());
        prop_assert_eq!(result, Ok(total.to_string()));
    }

    #[test]
    fn any_text_is_answered(text in "[-0-9.e+*/^%(), a-z]{0,60}") {
        let _ = evaluate(&text, &stop());
    }
}
