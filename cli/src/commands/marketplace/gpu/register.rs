//! `aitbc marketplace gpu register`.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::market::median;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{CreateListingRequest, CreateListingResponse};
use clap::Args;

use crate::commands::miner::OwnMiner;
use crate::context::Context;
use crate::output::json::{ait, warning_name, warnings};
use crate::output::offer::{listing_json, offer_summary};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace gpu register --model \"RTX 4090\" --vram 24 --hourly-rate 0.5
  aitbc marketplace gpu register --model \"A100 80GB\" --count 4 --hourly-rate 6 --region eu-west
  aitbc marketplace gpu register --model \"RTX 4090\" --hourly-rate 0.45      (again: the new price)

The listing belongs to the identity of your miner, and that miner serves it. What is listed together is rented together; a
machine whose GPUs are to be rented apart runs a miner for each (--miner NAME).";

/// What to list.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The GPU, in any known spelling; what no catalogue knows is taken as it is
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Video memory of each in GiB, 1 to 4096 [default: as the catalogue says]
    #[arg(long, value_name = "GIB", value_parser = values::vram_gib, allow_hyphen_values = true)]
    vram: Option<u32>,
    /// Price of all of them in AIT per hour, 0 to 1,000,000 with at most 6 decimals
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    hourly_rate: MicroAit,
    /// How many, 1 to 64; they are rented together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), allow_hyphen_values = true)]
    count: u32,
    /// Where it stands: lower-case letters, digits and hyphens, such as eu-west
    #[arg(
        long,
        value_name = "REGION",
        default_value = "",
        hide_default_value = true
    )]
    region: String,
    #[command(flatten)]
    own: OwnMiner,
}

/// Lists it and says what others see.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let name = arguments.own.name(context)?;
    let identity = context.home.miner_identity(&name)?;
    let connection = context.connect_as(identity, Scope::Miner).await?;
    let request = CreateListingRequest {
        gpu_model: arguments.model,
        vram_gib: arguments.vram.unwrap_or(0),
        count: arguments.count,
        hourly_rate_micro_ait: arguments.hourly_rate.0,
        region: arguments.region,
    };
    let answer = connection.marketplace().create_listing(request).await?;
    let answer = answer.into_inner();
    for warning in &answer.warnings {
        context.warn(&warning_name(warning), &warning.message);
    }
    let model = answer
        .offer
        .as_ref()
        .and_then(|offer| offer.listing.as_ref());
    let median = match model {
        Some(listing) => median(&connection, &listing.gpu_model).await,
        None => None,
    };
    show(context, &answer, &name, median)
}

fn show(
    context: &Context,
    answer: &CreateListingResponse,
    miner: &str,
    median: Option<MicroAit>,
) -> Result<(), CommandError> {
    let offer = answer.offer.clone().unwrap_or_default();
    let mut document = listing_json(&offer);
    document["created"] = answer.created.into();
    document["warnings"] = warnings(&answer.warnings);
    let listing = offer.listing.clone().unwrap_or_default();
    let change = match answer.previous_hourly_rate_micro_ait {
        Some(previous) => format!(
            "Listing updated: price {} -> {} AIT/hour  ",
            MicroAit(previous),
            MicroAit(listing.hourly_rate_micro_ait)
        ),
        None if answer.created => "Listing live: ".to_owned(),
        None => "Listing live, as before: ".to_owned(),
    };
    document["market_median_ait"] = median.map(|median| ait(median.0)).into();
    let summary = offer_summary(&offer, miner, median);
    context.result(
        &document,
        format_args!("{change}{}\n  {summary}", listing.listing_id),
    )
}
