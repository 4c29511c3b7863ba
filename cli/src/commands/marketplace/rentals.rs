//! `aitbc marketplace rentals` and `release`.

use aitbc_common::ids::RentalId;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::token::Scope;
use aitbc_proto::v1::{GetRentalRequest, ListRentalsRequest, ReleaseRequest, Rental};
use clap::Args;

use crate::arguments::Page;
use crate::commands::miner::OwnMiner;
use crate::context::Context;
use crate::output::json::page;
use crate::output::rental::{rental_json, rental_text, rentals_table};
use crate::values::RentalSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace rentals
  aitbc marketplace rentals --as-provider --miner rig-2 --json";

/// Whose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Those of your miner's GPUs, not all paid for yet, in place of those that you rent
    #[arg(long)]
    as_provider: bool,
    #[command(flatten)]
    own: OwnMiner,
    #[command(flatten)]
    page: Page<50>,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  aitbc marketplace release last
  aitbc marketplace release rental_01m83xj880e4ma4jz41b93y214

It pays for what counted so far, at least for a minute; the rest returns. Jobs under it are over.";

/// Which.
#[derive(Debug, Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub struct ReleaseArguments {
    /// The rental: its id, or "last" for your newest
    rental_id: RentalSelector,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = if arguments.as_provider {
        arguments.own.connect(context).await?
    } else {
        context.connect(Scope::Read).await?
    };
    let request = ListRentalsRequest {
        page_size: arguments.page.page_size,
        page_token: arguments.page.page_token,
    };
    let answer = connection
        .marketplace()
        .list_rentals(request)
        .await?
        .into_inner();
    let token = &answer.next_page_token;
    let rentals = answer.rentals.iter().map(rental_json).collect();
    let document = page("rentals", rentals, token);
    if answer.rentals.is_empty() {
        context.result(&document, "no rental")?;
        context.next("aitbc marketplace offers list --available");
        return Ok(());
    }
    context.result(&document, rentals_table(&answer.rentals))?;
    if !token.is_empty() {
        context.note(format_args!("more with: --page-token {token}"));
    }
    Ok(())
}

/// Gives it back.
pub async fn release(context: &Context, arguments: ReleaseArguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let id = selected(&connection, arguments.rental_id).await?;
    let request = ReleaseRequest {
        rental_id: id.to_string(),
    };
    let answer = connection
        .marketplace()
        .release(request)
        .await?
        .into_inner();
    let rental = answer.rental.unwrap_or_default();
    context.result(
        &rental_json(&rental),
        format_args!("Rental released: {id}\n{}", rental_text(&rental)),
    )
}

/// One rental of the caller.
pub async fn find(connection: &Connection, id: RentalId) -> Result<Rental, CommandError> {
    let request = GetRentalRequest {
        rental_id: id.to_string(),
    };
    let answer = connection
        .marketplace()
        .get_rental(request)
        .await?
        .into_inner();
    Ok(answer.rental.unwrap_or_default())
}

/// The rental that is meant.
pub async fn selected(
    connection: &Connection,
    selector: RentalSelector,
) -> Result<RentalId, CommandError> {
    if let RentalSelector::Id(id) = selector {
        return Ok(id);
    }
    let request = ListRentalsRequest {
        // One that is over may be newer than all that are under way.
        page_size: 1_000,
        page_token: String::new(),
    };
    let answer = connection
        .marketplace()
        .list_rentals(request)
        .await?
        .into_inner();
    let newest = answer
        .rentals
        .iter()
        .map(|rental| rental.rental_id.as_str())
        .max();
    newest.and_then(|id| id.parse().ok()).ok_or_else(|| {
        CommandError::new(ExitCode::NotFound, "RENTAL_NOT_FOUND", "you have no rental")
            .with_hint("see what can be rented: aitbc marketplace offers list --available")
    })
}
