//! `aitbc miner list`.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{ListMinersRequest, Miner};
use clap::Args;

use crate::arguments::Page;
use crate::context::Context;
use crate::output::json::page;
use crate::output::miner::{hardware_text, miner_json, models_text, status_text};
use crate::output::{short_id, table};

const EXAMPLES: &str = "\
Examples:
  aitbc miner list
  aitbc miner list --model llama3 --json";

/// Which miners.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only miners that offer this model
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    model: String,
    #[command(flatten)]
    page: Page<50>,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListMinersRequest {
        page_size: arguments.page.page_size,
        page_token: arguments.page.page_token,
        model: arguments.model.clone(),
    };
    let answer = connection.miners().list_miners(request).await?.into_inner();
    let document = page(
        "miners",
        answer.miners.iter().map(miner_json).collect(),
        &answer.next_page_token,
    );
    if answer.miners.is_empty() {
        let offering = if arguments.model.is_empty() {
            String::new()
        } else {
            format!(" offers {}", arguments.model)
        };
        context.result(&document, format_args!("no miner{offering}"))?;
        context.next("aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5");
        return Ok(());
    }
    let rows = |full| {
        table::render(
            &HEADER,
            answer.miners.iter().map(|m| row(m, full)).collect(),
        )
    };
    context.result(
        &document,
        table::first_that_fits(rows(true), || rows(false)),
    )?;
    if !answer.next_page_token.is_empty() {
        context.next(format_args!(
            "aitbc miner list --page-token {}",
            answer.next_page_token
        ));
    }
    Ok(())
}

const HEADER: [&str; 8] = [
    "MINER",
    "NAME",
    "STATUS",
    "HARDWARE",
    "MODELS",
    ">SLOTS",
    ">AIT/HOUR",
    ">COMPLETED",
];

fn row(miner: &Miner, full_id: bool) -> Vec<String> {
    vec![
        if full_id {
            miner.miner_id.clone()
        } else {
            short_id(&miner.miner_id)
        },
        miner.name.clone(),
        status_text(miner),
        hardware_text(miner),
        models_text(miner),
        format!("{}/{}", miner.running_jobs, miner.slots),
        MicroAit(miner.price_per_hour_micro_ait).to_string(),
        miner.completed_jobs.to_string(),
    ]
}
