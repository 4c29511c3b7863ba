//! `aitbc miner earnings`.

use aitbc_common::address::Address;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::{Earning, GetEarningsRequest};
use clap::Args;
use serde_json::{Value, json};

use super::OwnMiner;
use super::proven_pay::{ProvenPay, proven_pay};
use crate::context::Context;
use crate::output::json::{ait, timestamp_ms};
use crate::output::miner::payout;
use crate::output::table;
use crate::retries::with_retries;

const EXAMPLES: &str = "\
Examples:
  aitbc miner earnings
  aitbc miner earnings --days 7 --json

What settled jobs paid, by day (UTC) and model, as the coordinator counts it. Beneath it stands what the ledger proves: the
payments to the miner's payout address of today, the newest 200 of these days. Each of them: aitbc wallet history";

/// A day in milliseconds.
const DAY_MS: u64 = 86_400_000;

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
    let miner = arguments.own.get(context, &connection).await?;
    let proven = match payout(&miner) {
        Some(payee) => {
            let key = connection.identity.public();
            let today = unix_ms() / DAY_MS;
            let since = (today + 1).saturating_sub(arguments.days.into()) * DAY_MS;
            Some((
                payee,
                proven_pay(context, &connection, key, payee, since).await?,
            ))
        }
        None => None,
    };
    let document = json!({
        "earnings": answer.earnings.iter().map(earning_json).collect::<Value>(),
        "days": arguments.days,
        "earned_ait": ait(total),
        "counted_by": "coordinator",
        "proven": proven.as_ref().map(|(payee, pay)| proven_json(*payee, pay)),
    });
    let beneath = proven.map(|(payee, pay)| proven_text(payee, &pay, total));
    let beneath = beneath.unwrap_or_default();
    if answer.earnings.is_empty() {
        return context.result(
            &document,
            format_args!("nothing in {} days{beneath}", arguments.days),
        );
    }
    let header = ["DAY", "MODEL", ">JOBS", ">PAID", ">FEE", ">EARNED"];
    let mut rows: Vec<Vec<String>> = answer.earnings.iter().map(row).collect();
    let mut last = vec![String::new(); header.len()];
    last[0] = "total".to_owned();
    last[5] = MicroAit(total).to_string();
    rows.push(last);
    let table = table::render(&header, rows);
    context.result(&document, format_args!("{table}{beneath}"))
}

fn proven_json(payee: Address, pay: &ProvenPay) -> Value {
    json!({
        "payout_address": payee.to_string(),
        "payments": pay.payments,
        "earned_ait": ait(pay.earned),
        "complete": !pay.more,
    })
}

/// Paid elsewhere, or not yet in the ledger.
const NOT_LOOKED_FOR: &str =
    "what was paid to another address, or is being settled now, is not looked for";

/// `✓ proven by the ledger: 2 payments to 0x…, together 0.00029 AIT`, and how the count above compares.
fn proven_text(payee: Address, pay: &ProvenPay, counted: u64) -> String {
    let (these, payments) = match pay.payments {
        0 if counted == 0 => return String::new(),
        0 => {
            return format!(
                "\nnot proven: the ledger shows no payment to {payee} in these days; {NOT_LOOKED_FOR}"
            );
        }
        1 => ("", "1 payment".to_owned()),
        many => (", together", format!("{many} payments")),
    };
    let newest = if pay.more { "the newest " } else { "" };
    let amount = MicroAit(pay.earned);
    let table = "the table is the coordinator's count";
    let differs = if pay.more || pay.earned == counted {
        String::new()
    } else {
        format!(" and says otherwise: {NOT_LOOKED_FOR}")
    };
    format!(
        "\n✓ proven by the ledger: {newest}{payments} to {payee}{these} {amount} AIT\n  {table}{differs}"
    )
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

    #[test]
    fn what_is_proven_stands_beside_what_is_counted() {
        let payee = Address([2; 20]);
        let pay = ProvenPay {
            payments: 2,
            earned: 290,
            more: false,
        };
        assert_eq!(
            proven_text(payee, &pay, 290),
            format!(
                "\n✓ proven by the ledger: 2 payments to {payee}, together 0.00029 AIT\n  \
                 the table is the coordinator's count"
            )
        );
        assert!(proven_text(payee, &pay, 291).contains("says otherwise"));
        let newest = ProvenPay { more: true, ..pay };
        let text = proven_text(payee, &newest, 5_000);
        assert!(text.contains("the newest 2 payments"), "{text}");
        assert!(!text.contains("otherwise"), "{text}");
        assert_eq!(proven_json(payee, &newest)["complete"], false);
        let none = ProvenPay::default();
        assert_eq!(proven_text(payee, &none, 0), "");
        assert!(proven_text(payee, &none, 290).starts_with("\nnot proven: "));
    }
}
