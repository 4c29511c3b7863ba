//! `aitbc marketplace offers list`.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{ListOffersRequest, ListOffersResponse, OfferSort};
use clap::{Args, Subcommand, ValueEnum};

use crate::arguments::Page;
use crate::context::Context;
use crate::output::json::{page, warning_name};
use crate::output::offer::{offer_json, offers_table};
use crate::values;

/// Short pages that are asked on for, one after the other, until there is something to show.
const MOST_CALLS: usize = 100;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List GPUs that are offered, the cheapest first
    List(Arguments),
}

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace offers list --model \"RTX 4090\"
  aitbc marketplace offers list --available --min-vram 24 --max-price 0.6 --sort reputation
  aitbc marketplace offers list --region eu-west --json";

/// Which offers, in which order.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only GPUs of this model, in any known spelling
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    model: String,
    /// Only GPUs with at least this video memory in GiB
    #[arg(long, value_name = "GIB", value_parser = values::vram_gib, allow_hyphen_values = true)]
    min_vram: Option<u32>,
    /// Only those that cost at most this in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    /// Only those in this region
    #[arg(
        long,
        value_name = "REGION",
        default_value = "",
        hide_default_value = true
    )]
    region: String,
    /// Only providers with at least this reputation, 0 to 1
    #[arg(long, value_name = "R", value_parser = values::reputation, allow_hyphen_values = true)]
    min_reputation: Option<u32>,
    /// Only those that can be rented now
    #[arg(long)]
    available: bool,
    /// The order
    #[arg(long, value_enum, default_value_t = Sort::Price)]
    sort: Sort,
    #[command(flatten)]
    page: Page<50>,
}

/// An order of offers.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    /// By price per hour, lowest first
    Price,
    /// By price of a million output tokens, lowest first
    EffectivePrice,
    /// By reputation, highest first
    Reputation,
    /// By generation speed, highest first
    Speed,
}

impl From<Sort> for OfferSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Price => Self::Price,
            Sort::EffectivePrice => Self::EffectivePrice,
            Sort::Reputation => Self::Reputation,
            Sort::Speed => Self::Speed,
        }
    }
}

/// Carries out a verb.
pub async fn run(context: &Context, Command::List(arguments): Command) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListOffersRequest {
        page_size: arguments.page.page_size,
        page_token: arguments.page.page_token,
        gpu_model: arguments.model,
        min_vram_gib: arguments.min_vram.unwrap_or(0),
        max_hourly_rate_micro_ait: arguments.max_price.map(|price| price.0),
        region: arguments.region,
        min_reputation_ppm: arguments.min_reputation.unwrap_or(0),
        available: arguments.available,
        sort: OfferSort::from(arguments.sort).into(),
    };
    let answer = list(context, &connection, request).await?;
    let offers = &answer.offers;
    let token = &answer.next_page_token;
    let document = page("offers", offers.iter().map(offer_json).collect(), token);
    if offers.is_empty() {
        context.result(&document, "no GPU is offered that fits")?;
        context.next("aitbc marketplace gpu register --model \"RTX 4090\" --hourly-rate 0.5");
        return Ok(());
    }
    context.result(&document, offers_table(offers))?;
    if !token.is_empty() {
        context.note(format_args!(
            "more with the same options and: --page-token {token}"
        ));
    }
    Ok(())
}

/// One page of offers; short pages are asked on for.
pub async fn list(
    context: &Context,
    connection: &Connection,
    mut request: ListOffersRequest,
) -> Result<ListOffersResponse, CommandError> {
    let mut answer = ListOffersResponse::default();
    for _ in 0..MOST_CALLS {
        let mut market = connection.marketplace();
        answer = market.list_offers(request.clone()).await?.into_inner();
        if !answer.offers.is_empty() || answer.next_page_token.is_empty() {
            break;
        }
        request.page_token.clone_from(&answer.next_page_token);
    }
    for warning in &answer.warnings {
        context.warn(&warning_name(warning), &warning.message);
    }
    Ok(answer)
}
