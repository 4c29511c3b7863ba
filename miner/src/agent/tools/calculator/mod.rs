//! `calculator`: exact arithmetic on fractions of any size up to a bound; never floating point.

mod number;
mod parser;

use serde::Deserialize;
use serde_json::json;

use super::built_in::BuiltIn;
use super::{Labels, Stop, ToolError};

/// Most characters of an expression.
const MAX_EXPRESSION_CHARS: usize = 4096;

#[derive(Deserialize)]
struct Arguments {
    expression: String,
}

pub(super) fn tool() -> BuiltIn {
    BuiltIn::new(
        "calculator",
        "Exact arithmetic, never floating point: + - * / ^ (whole exponents), parentheses, percent (8% is 0.08), \
         abs(x), min(x, …), max(x, …), sum(x, …), mod(x, y), round(x, places) (half away from zero), floor(x), ceil(x), \
         sqrt(x). Numbers have no thousands separators, units or currency signs. Results that had to be rounded say so."
            .to_owned(),
        json!({
            "type": "object",
            "properties": {
                "expression": {
                    "type": "string",
                    "description": "for example: round((120400.00 + 118250.00) * 8%, 2)",
                    "minLength": 1,
                    "maxLength": MAX_EXPRESSION_CHARS,
                }
            },
            "required": ["expression"],
            "additionalProperties": false,
        }),
        Labels::default(),
        |arguments: Arguments, stop: &Stop| evaluate(&arguments.expression, stop),
    )
}

fn evaluate(expression: &str, stop: &Stop) -> Result<String, ToolError> {
    Ok(parser::evaluate(expression, stop)?.to_string())
}

#[cfg(test)]
mod tests;
