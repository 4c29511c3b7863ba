//! `aitbc models`: what can be asked for.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{ListModelsRequest, ListModelsResponse, ModelSummary};
use clap::Args;
use serde_json::{Value, json};

use crate::arguments::Page;
use crate::context::Context;
use crate::output::json::{ait, hash_or_null, page};
use crate::output::miner::speed;
use crate::output::table;

const EXAMPLES: &str = "\
Examples:
  aitbc models
  aitbc models --json --page-size 10";

/// Which page.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    page: Page<100>,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListModelsRequest {
        page_size: arguments.page.page_size,
        page_token: arguments.page.page_token,
    };
    let answer = connection.jobs().list_models(request).await?.into_inner();
    let document = models_json(&answer);
    if answer.models.is_empty() {
        context.result(&document, "no models: no miner offers one")?;
        context.next("aitbc miner mine-ollama --model llama3 --continuous");
        return Ok(());
    }
    context.result(&document, models_table(&answer))?;
    if !answer.next_page_token.is_empty() {
        context.next(format_args!(
            "aitbc models --page-token {}",
            answer.next_page_token
        ));
    }
    Ok(())
}

/// One page of models.
pub fn models_json(answer: &ListModelsResponse) -> Value {
    page(
        "models",
        answer.models.iter().map(model_json).collect(),
        &answer.next_page_token,
    )
}

/// The same for people.
pub fn models_table(answer: &ListModelsResponse) -> String {
    table::render(&HEADER, answer.models.iter().map(row).collect())
}

const HEADER: [&str; 8] = [
    "MODEL",
    "DIGEST",
    ">CONTEXT",
    ">MINERS",
    ">WARM",
    ">QUEUE",
    ">TOKENS/S",
    ">AIT/HOUR",
];

fn row(model: &ModelSummary) -> Vec<String> {
    let digest = hex::encode(&model.digest);
    let low = MicroAit(model.min_price_per_hour_micro_ait);
    let high = MicroAit(model.max_price_per_hour_micro_ait);
    vec![
        model.name.clone(),
        digest.get(..12).unwrap_or(&digest).to_owned(),
        model.context_tokens.to_string(),
        model.miners.to_string(),
        model.warm_miners.to_string(),
        model.queued_jobs.to_string(),
        if model.output_speed == 0 {
            "–".to_owned()
        } else {
            format!("{:.1}", f64::from(model.output_speed) / 1_000.0)
        },
        if low == high {
            low.to_string()
        } else {
            format!("{low}–{high}")
        },
    ]
}

fn model_json(model: &ModelSummary) -> Value {
    json!({
        "name": model.name,
        "digest": hash_or_null(&model.digest),
        "context_tokens": model.context_tokens,
        "miners": model.miners,
        "warm_miners": model.warm_miners,
        "queued_jobs": model.queued_jobs,
        "output_tokens_per_second": speed(model.output_speed),
        "min_price_per_hour_ait": ait(model.min_price_per_hour_micro_ait),
        "max_price_per_hour_ait": ait(model.max_price_per_hour_micro_ait),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_with_its_price_range() {
        let model = ModelSummary {
            name: "llama3:latest".into(),
            digest: vec![0xab; 32].into(),
            min_price_per_hour_micro_ait: 100_000,
            max_price_per_hour_micro_ait: 500_000,
            output_speed: 28_512,
            ..Default::default()
        };
        assert_eq!(row(&model)[1], "abababababab");
        assert_eq!(row(&model)[6..], ["28.5", "0.1–0.5"]);
        assert_eq!(model_json(&model)["min_price_per_hour_ait"], "0.100000");
        assert_eq!(model_json(&model)["output_tokens_per_second"], 28.512);
    }
}
