//! `aitbc marketplace gpu update`.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::{Listing, UpdateListingRequest};
use clap::Args;
use prost_types::FieldMask;

use super::selected;
use crate::commands::miner::OwnMiner;
use crate::context::Context;
use crate::output::offer::{listing_json, offer_summary};
use crate::values::{self, ListingSelector};

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace gpu update last --hourly-rate 0.45
  aitbc marketplace gpu update listing_01m83xj880e4ma4jz41b93y214 --region eu-west --vram 48

Jobs and rentals that have begun keep the price they began with.";

/// What to change.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The listing: its id, or "last" for your newest
    listing_id: ListingSelector,
    /// New price of all of them in AIT per hour, 0 to 1,000,000 with at most 6 decimals
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    hourly_rate: Option<MicroAit>,
    /// Video memory of each in GiB, 1 to 4096
    #[arg(long, value_name = "GIB", value_parser = values::vram_gib, allow_hyphen_values = true)]
    vram: Option<u32>,
    /// How many, 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), allow_hyphen_values = true)]
    count: Option<u32>,
    /// Where it stands: lower-case letters, digits and hyphens; "" = not said
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    #[command(flatten)]
    own: OwnMiner,
}

/// Changes what was given.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let mut paths = Vec::new();
    let mut wanted = Listing::default();
    if let Some(rate) = arguments.hourly_rate {
        paths.push("hourly_rate_micro_ait".to_owned());
        wanted.hourly_rate_micro_ait = rate.0;
    }
    if let Some(vram) = arguments.vram {
        paths.push("vram_gib".to_owned());
        wanted.vram_gib = vram;
    }
    if let Some(count) = arguments.count {
        paths.push("count".to_owned());
        wanted.count = count;
    }
    if let Some(region) = arguments.region {
        paths.push("region".to_owned());
        wanted.region = region;
    }
    if paths.is_empty() {
        return Err(CommandError::usage("nothing to change was given").with_hint(
            "give --hourly-rate, --vram, --count or --region; see: aitbc marketplace gpu update --help",
        ));
    }
    let connection = arguments.own.connect(context).await?;
    wanted.listing_id = selected(&connection, arguments.listing_id)
        .await?
        .to_string();
    let request = UpdateListingRequest {
        listing: Some(wanted),
        update_mask: Some(FieldMask { paths }),
    };
    let answer = connection.marketplace().update_listing(request).await?;
    let offer = answer.into_inner().offer.unwrap_or_default();
    let id = offer.listing.clone().unwrap_or_default().listing_id;
    let summary = offer_summary(&offer, &arguments.own.name(context)?, None);
    context.result(
        &listing_json(&offer),
        format_args!("Listing updated: {id}\n  {summary}"),
    )
}
