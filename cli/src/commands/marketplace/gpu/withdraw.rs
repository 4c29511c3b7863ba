//! `aitbc marketplace gpu withdraw`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::WithdrawListingRequest;
use clap::Args;
use serde_json::json;

use super::{own_listings, selected};
use crate::commands::miner::OwnMiner;
use crate::context::Context;
use crate::values::ListingSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace gpu withdraw last
  aitbc marketplace gpu withdraw listing_01m83xj880e4ma4jz41b93y214

What has begun ends as it was agreed; nothing new begins.";

/// Which.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The listing: its id, or "last" for your newest
    listing_id: ListingSelector,
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks the coordinator.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = arguments.own.connect(context).await?;
    let listing_id = selected(&connection, arguments.listing_id)
        .await?
        .to_string();
    let listings = own_listings(&connection).await?;
    let live = listings
        .iter()
        .filter_map(|offer| offer.listing.as_ref())
        .any(|listing| listing.listing_id == listing_id);
    let request = WithdrawListingRequest {
        listing_id: listing_id.clone(),
    };
    connection.marketplace().withdraw_listing(request).await?;
    let document = json!({"listing_id": listing_id, "status": "withdrawn"});
    if live {
        return context.result(&document, format_args!("Listing withdrawn: {listing_id}"));
    }
    context.warn(
        "LISTING_NOT_FOUND",
        "no such listing was live: it was withdrawn before, or its id is another; your own: aitbc marketplace gpu list",
    );
    context.result(&document, format_args!("Listing not live: {listing_id}"))
}
