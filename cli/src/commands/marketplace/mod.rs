//! `aitbc marketplace`: list GPUs for rent, find and rent them.

mod gpu;
pub mod offers;
pub mod pricing;
mod rent;
mod rentals;
mod reputation;

use aitbc_common::runtime::errors::CommandError;
use clap::Subcommand;

pub use self::rentals::selected as selected_rental;
use crate::context::Context;

/// Its nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List this machine's GPUs for rent, and look after the listings
    #[command(subcommand)]
    Gpu(gpu::Command),
    /// Find GPUs that others offer
    #[command(subcommand)]
    Offers(offers::Command),
    /// Rent a GPU for a time
    Rent(rent::Arguments),
    /// Prolong a rental
    Extend(rent::ExtendArguments),
    /// Give a rental back
    Release(rentals::ReleaseArguments),
    /// List your rentals
    Rentals(rentals::Arguments),
    /// Show what a GPU model costs
    Pricing(pricing::Arguments),
    /// Show how far a provider is to be preferred
    Reputation(reputation::Arguments),
}

/// Carries out a command.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Gpu(command) => gpu::run(context, command).await,
        Command::Offers(command) => offers::run(context, command).await,
        Command::Rent(arguments) => rent::run(context, arguments).await,
        Command::Extend(arguments) => rent::extend(context, arguments).await,
        Command::Release(arguments) => rentals::release(context, arguments).await,
        Command::Rentals(arguments) => rentals::run(context, arguments).await,
        Command::Pricing(arguments) => pricing::run(context, arguments).await,
        Command::Reputation(arguments) => reputation::run(context, arguments).await,
    }
}
