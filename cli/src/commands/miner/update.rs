//! `aitbc miner update`.

use aitbc_common::address::Address;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::files::check_miner_name;
use aitbc_proto::v1::Miner;
use clap::Args;

use super::{OwnMiner, change};
use crate::context::Context;
use crate::output::miner::{miner_json, payout};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc miner update --price-per-hour 0.4
  aitbc miner update --slots 2 --name rig-north
  aitbc miner update --payout 0x70997970C51812dc3A010C7d01b50e0d17dc79C8

Hardware and models are brought up to date by: aitbc miner register";

/// What to change.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// New price in AIT per hour and slot, 0 to 1,000,000 with at most 6 decimals
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    price_per_hour: Option<MicroAit>,
    /// New name on the network
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Jobs at once, 1 to 256
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,
    /// Address that its pay goes to
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    payout: Option<Address>,
    /// Take only jobs that are paid for; --paid-only=false takes all again
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    paid_only: Option<bool>,
    #[command(flatten)]
    own: OwnMiner,
}

/// Changes what was given and says what changed.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    if let Some(name) = &arguments.name {
        check_miner_name(name)?;
    }
    let mut paths = Vec::new();
    let mut wanted = Miner::default();
    if let Some(price) = arguments.price_per_hour {
        paths.push("price_per_hour_micro_ait");
        wanted.price_per_hour_micro_ait = price.0;
    }
    if let Some(name) = &arguments.name {
        paths.push("name");
        wanted.name.clone_from(name);
    }
    if let Some(slots) = arguments.slots {
        paths.push("slots");
        wanted.slots = slots;
    }
    if let Some(address) = arguments.payout {
        paths.push("payout_address");
        wanted.payout_address = address.0.to_vec().into();
    }
    if let Some(paid_only) = arguments.paid_only {
        paths.push("paid_only");
        wanted.paid_only = paid_only;
    }
    if paths.is_empty() {
        return Err(CommandError::usage("nothing to change was given")
            .with_hint("give --price-per-hour, --name, --slots, --payout or --paid-only; see: aitbc miner update --help"));
    }
    let connection = arguments.own.connect(context).await?;
    let before = arguments.own.get(context, &connection).await?;
    wanted.miner_id.clone_from(&before.miner_id);
    let after = change(&connection, wanted, &paths).await?;
    context.result(&miner_json(&after), changes_text(&before, &after))
}

/// `Miner updated: price 0.4 -> 0.5 AIT/hour`.
fn changes_text(before: &Miner, after: &Miner) -> String {
    let mut changes = Vec::new();
    if before.price_per_hour_micro_ait != after.price_per_hour_micro_ait {
        let (old, new) = (
            MicroAit(before.price_per_hour_micro_ait),
            MicroAit(after.price_per_hour_micro_ait),
        );
        changes.push(format!("price {old} -> {new} AIT/hour"));
    }
    if before.name != after.name {
        changes.push(format!("name {} -> {}", before.name, after.name));
    }
    if before.slots != after.slots {
        changes.push(format!("slots {} -> {}", before.slots, after.slots));
    }
    if before.payout_address != after.payout_address {
        let new = payout(after).map_or_else(|| "none".to_owned(), |address| address.to_string());
        changes.push(format!("payout to {new}"));
    }
    if before.paid_only != after.paid_only {
        let taken = if after.paid_only {
            "only jobs that are paid for"
        } else {
            "also jobs that nobody pays for"
        };
        changes.push(format!("takes {taken}"));
    }
    if changes.is_empty() {
        return "Miner unchanged: it was like this before".to_owned();
    }
    format!("Miner updated: {}", changes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_with_both_values() {
        let before = Miner {
            price_per_hour_micro_ait: 400_000,
            slots: 1,
            ..Default::default()
        };
        let after = Miner {
            price_per_hour_micro_ait: 500_000,
            slots: 2,
            ..Default::default()
        };
        assert_eq!(
            changes_text(&before, &after),
            "Miner updated: price 0.4 -> 0.5 AIT/hour, slots 1 -> 2"
        );
        assert!(changes_text(&after, &after).starts_with("Miner unchanged"));
    }
}
