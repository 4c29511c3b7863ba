//! `aitbc marketplace gpu`: this machine's listings.

mod list;
mod register;
mod update;
mod withdraw;

use aitbc_common::ids::ListingId;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_proto::v1::{ListMyListingsRequest, Offer};
use clap::Subcommand;

use crate::context::Context;
use crate::values::ListingSelector;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a GPU for rent; again, to change its price
    Register(register::Arguments),
    /// Show your listings
    List(list::Arguments),
    /// Change a listing
    Update(update::Arguments),
    /// Take a listing off the market
    Withdraw(withdraw::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Register(arguments) => register::run(context, arguments).await,
        Command::List(arguments) => list::run(context, arguments).await,
        Command::Update(arguments) => update::run(context, arguments).await,
        Command::Withdraw(arguments) => withdraw::run(context, arguments).await,
    }
}

/// The caller's listings, oldest first.
async fn own_listings(connection: &Connection) -> Result<Vec<Offer>, CommandError> {
    let answer = connection
        .marketplace()
        .list_my_listings(ListMyListingsRequest {})
        .await?;
    Ok(answer.into_inner().offers)
}

/// The listing that is meant.
async fn selected(
    connection: &Connection,
    selector: ListingSelector,
) -> Result<ListingId, CommandError> {
    if let ListingSelector::Id(id) = selector {
        return Ok(id);
    }
    let newest = own_listings(connection).await?.into_iter().next_back();
    let listing = newest.and_then(|offer| offer.listing);
    let id = listing.and_then(|listing| listing.listing_id.parse().ok());
    id.ok_or_else(|| {
        CommandError::new(ExitCode::NotFound, "LISTING_NOT_FOUND", "you have no listing").with_hint(
            "list a GPU first: aitbc marketplace gpu register --model \"RTX 4090\" --hourly-rate 0.5",
        )
    })
}
