//! `aitbc miner earnings`.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::{Earning, GetEarningsRequest};
use clap::Args;
use serde_json::{Value, json};

use super::OwnMiner;
use crate::context::Context;
use crate::output::json::{ait, timestamp_ms};
use crate::output::table;
use crate::retries::with_retries;

const EXAMPLES: &str = "\
Examples:
  aitbc miner earnings
  aitbc miner earnings --days 7 --json

What settled jobs paid, by day (UTC) and model, as the coordinator counts it. The money is in the wallet of the miner's payout
address; what came into it is proven: aitbc wallet history";

/// Whose, and how far back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Days, today included, 1 to 90
    #[arg(long, value_name = "N", default_value_t = 30, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(1..=90))]
    days: u32,
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = arguments.own.connect(context).await?;
    let request = GetEarningsRequest {
        days: arguments.days,
    };
    let answer = with_retries(
        connection.miners(),
        request,
        |mut miners, request| async move { miners.get_earnings(request).await },
    )
    .await
    .map_err(|error| arguments.own.explain(context, error))?;
    let total = answer
        .earnings
        .iter()
        .fold(0_u64, |sum, earning| sum.saturating_add(earned(earning)));
    let document = json!({
        "earnings": answer.earnings.iter().map(earning_json).collect::<Value>(),
        "days": arguments.days,
        "earned_ait": ait(total),
    });
    if answer.earnings.is_empty() {
        return context.result(
            &document,
            format_args!("nothing in {} days", arguments.days),
        );
    }
    let header = ["DAY", "MODEL", ">JOBS", ">PAID", ">FEE", ">EARNED"];
    let mut rows: Vec<Vec<String>> = answer.earnings.iter().map(row).collect();
    let mut last = vec![String::new(); header.len()];
    last[0] = "total".to_owned();
    last[5] = MicroAit(total).to_string();
    rows.push(last);
    context.result(&document, table::render(&header, rows))
}

fn earned(earning: &Earning) -> u64 {
    earning.paid_micro_ait.saturating_sub(earning.fee_micro_ait)
}

fn day(earning: &Earning) -> String {
    let ms = earning.day.as_ref().map_or(0, timestamp_ms);
    rfc3339_ms(ms).chars().take(10).collect()
}

fn row(earning: &Earning) -> Vec<String> {
    vec![
        day(earning),
        earning.model.clone(),
        earning.jobs.to_string(),
        MicroAit(earning.paid_micro_ait).to_string(),
        MicroAit(earning.fee_micro_ait).to_string(),
        MicroAit(earned(earning)).to_string(),
    ]
}

fn earning_json(earning: &Earning) -> Value {
    json!({
        "day": day(earning),
        "model": earning.model,
        "jobs": earning.jobs,
        "paid_ait": ait(earning.paid_micro_ait),
        "fee_ait": ait(earning.fee_micro_ait),
        "earned_ait": ait(earned(earning)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miner_earns_what_is_paid_less_the_fee() {
        let earning = Earning {
            day: Some(prost_types::Timestamp {
                seconds: 1_795_392_000,
                nanos: 0,
            }),
            model: "llama3:latest".into(),
            jobs: 2,
            paid_micro_ait: 298,
            fee_micro_ait: 8,
        };
        let document = earning_json(&earning);
        assert_eq!(document["day"], "2026-11-23");
        assert_eq!(document["earned_ait"], "0.000290");
        assert_eq!(row(&earning)[5], "0.00029");
    }
}
