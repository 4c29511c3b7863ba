//! `aitbc marketplace pricing`: what a GPU model costs.

use std::time::Duration;

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::is_terminal_stdout;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{GetPricingRequest, GetPricingResponse};
use clap::Args;

use crate::context::Context;
use crate::output::json::warning_name;
use crate::output::pricing::{pricing_json, pricing_text};
use crate::values;

const DAY_S: u64 = 86_400;
/// Days that prices are looked at for, at most.
pub const MOST_DAYS: u64 = 30;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace pricing --model \"RTX 4090\"
  aitbc marketplace pricing --model \"RTX 4090\" --window 7d --json

The suggested price rests on what was paid, each payment by the fee that it brought, never on what is asked: offers are free
to fake. Where too few were paid it is the offers' median, and says so. The rules are in docs/market.md.";

/// Of which GPU.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The GPU, in any known spelling
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Look at payments of the last days: 1d to 30d
    #[arg(long, value_name = "DAYS", default_value = "30d", value_parser = window_days, allow_hyphen_values = true)]
    window: u32,
}

fn window_days(text: &str) -> Result<u32, CommandError> {
    let hint = "give 1d to 30d, for example --window 7d";
    let window = values::duration(text).map_err(|error| error.with_hint(hint))?;
    let days = window.as_secs() / DAY_S;
    let whole = window == Duration::from_secs(days * DAY_S);
    let days = u32::try_from(days)
        .ok()
        .filter(|_| whole && (1..=MOST_DAYS).contains(&days));
    days.ok_or_else(|| {
        CommandError::usage(format!("{text:?} is no window of whole days")).with_hint(hint)
    })
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = GetPricingRequest {
        gpu_model: arguments.model,
        window_days: arguments.window,
    };
    let pricing = get(context, &connection, request).await?;
    let text = pricing_text(&pricing, is_terminal_stdout());
    context.result(&pricing_json(&pricing), text)
}

/// Asks.
pub async fn get(
    context: &Context,
    connection: &Connection,
    request: GetPricingRequest,
) -> Result<GetPricingResponse, CommandError> {
    let answer = connection.marketplace().get_pricing(request).await?;
    let pricing = answer.into_inner();
    for warning in &pricing.warnings {
        context.warn(&warning_name(warning), &warning.message);
    }
    Ok(pricing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_days() {
        assert_eq!((window_days("7d"), window_days("24h")), (Ok(7), Ok(1)));
        for bad in ["0d", "31d", "36h", "-1d", "NaN", "7 weeks", ""] {
            let hint = window_days(bad).unwrap_err().hint.unwrap_or_default();
            assert!(hint.starts_with("give 1d to 30d"), "{bad}: {hint}");
        }
    }
}
