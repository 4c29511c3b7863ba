//! `aitbc marketplace reputation`: how far a provider is to be preferred, and what that rests on.

use aitbc_common::address::Address;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::get_reputation_request::Provider;
use aitbc_proto::v1::{GetReputationRequest, GetReputationResponse, ReputationClient};
use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::json::{key_or_null, text_of, time};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace reputation miner_01m83xj880es8r65rzyjka792g
  aitbc marketplace reputation ed25519:5f… --explain

It is the lower bound (95 %) of the chance that a paid job succeeds there, computed from the ledger in whole numbers: anyone
comes to the same by docs/market.md. It orders choices; never let money rest on it alone.";

/// Whose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The provider: its miner's id, or its identity's key (ed25519:…)
    provider: String,
    /// Show the terms and the records that it rests on
    #[arg(long)]
    explain: bool,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let provider = if arguments.provider.starts_with("ed25519:") {
        let key = values::identity_key(&arguments.provider)?;
        Provider::MinerKey(key.0.to_vec().into())
    } else {
        Provider::MinerId(values::miner_id(&arguments.provider)?.to_string())
    };
    let connection = context.connect(Scope::Read).await?;
    let request = GetReputationRequest {
        provider: Some(provider),
        explain: arguments.explain,
    };
    let answer = connection.marketplace().get_reputation(request).await?;
    let answer = answer.into_inner();
    context.result(
        &document(&answer, arguments.explain),
        text(&arguments.provider, &answer, arguments.explain),
    )
}

fn document(answer: &GetReputationResponse, explain: bool) -> Value {
    let mut document = json!({
        "miner_key": key_or_null(&answer.miner_key),
        "reputation": f64::from(answer.reputation_ppm) / 1e6,
        "success": answer.success,
        "fault": answer.fault,
        "settled_jobs": answer.settled_jobs,
        "day": time(answer.day.as_ref()),
    });
    if explain {
        document["clients"] = answer.clients.iter().map(client_json).collect();
        let records = answer.records.iter().map(|record| {
            json!({
                "index": record.index,
                "client": address(&record.client),
                "success": record.success,
                "fault": record.fault,
            })
        });
        document["records"] = records.collect();
    }
    document
}

fn client_json(client: &ReputationClient) -> Value {
    let days = client.days.iter().map(|day| {
        json!({
            "day": time(day.day.as_ref()),
            "success": day.success,
            "fault": day.fault,
            "faded_success": day.faded_success,
            "faded_fault": day.faded_fault,
        })
    });
    json!({
        "client": address(&client.client),
        "success": client.success,
        "fault": client.fault,
        "days": days.collect::<Value>(),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let bytes = <[u8; 20]>::try_from(bytes).ok()?;
    Some(Address(bytes).to_string())
}

fn text(provider: &str, answer: &GetReputationResponse, explain: bool) -> String {
    let jobs = match answer.settled_jobs {
        0 => "no paid job yet".to_owned(),
        1 => "1 paid job".to_owned(),
        jobs => format!("{jobs} paid jobs"),
    };
    let mut text = format!(
        "{provider}  reputation {:.6} ({jobs})",
        f64::from(answer.reputation_ppm) / 1e6
    );
    if !explain {
        return text;
    }
    let (alpha, beta) = (1_000 + answer.success, 1_000 + answer.fault);
    text.push_str(&format!(
        "\n  for it S = {}, against it F = {}: α = {alpha}, β = {beta}, and of α − 1 the bound takes √(2706·α·β / (α + β + 1000))",
        answer.success, answer.fault
    ));
    for client in &answer.clients {
        let who = address(&client.client).unwrap_or_default();
        text.push_str(&format!(
            "\n  {who}  {} for, {} against",
            client.success, client.fault
        ));
        for day in &client.days {
            let date = text_of(&time(day.day.as_ref()));
            text.push_str(&format!(
                "\n    {}  {} for, {} against; {} and {} are left",
                date.get(..10).unwrap_or_default(),
                day.success,
                day.fault,
                day.faded_success,
                day.faded_fault
            ));
        }
    }
    if !answer.records.is_empty() {
        let indexes = answer.records.iter().map(|record| record.index.to_string());
        text.push_str(&format!(
            "\n  records, newest first: {}",
            indexes.collect::<Vec<_>>().join(" ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reputation_shows_its_terms_only_where_asked() {
        let answer = GetReputationResponse {
            reputation_ppm: 900_653,
            success: 24_000,
            settled_jobs: 1,
            clients: vec![ReputationClient {
                client: vec![7; 20].into(),
                success: 3_000,
                ..Default::default()
            }],
            ..Default::default()
        };
        let brief = text("miner_x", &answer, false);
        assert_eq!(brief, "miner_x  reputation 0.900653 (1 paid job)");
        let full = text("miner_x", &answer, true);
        assert!(
            full.contains("α = 25000, β = 1000") && full.contains("3000 for"),
            "{full}"
        );
        assert!(document(&answer, false).get("clients").is_none());
        assert_eq!(document(&answer, true)["clients"][0]["success"], 3_000);
    }
}
