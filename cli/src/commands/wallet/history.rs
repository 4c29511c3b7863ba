//! `aitbc wallet history`: what changed a wallet.

mod movement;

use std::collections::HashMap;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Record, RecordBody, SignedTransaction};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::{NewestFirst, VerifiedLedger};
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::token::Scope;
use clap::Args;

use self::movement::{Movement, needs};
use super::Which;
use crate::arguments::Page;
use crate::context::Context;
use crate::output::json::page;
use crate::output::table;
use crate::transactions::listed;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet history
  aitbc wallet history savings --page-size 1000 --json

Newest first. Each is proven to be in the ledger; that none is left out is the coordinator's word. What became of one:
aitbc wallet verify TX";

/// Which one, and which page.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    page: Page<50>,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let wallet = arguments.which.select(context)?;
    let connection = context.connect(Scope::Read).await?;
    let (size, token) = (arguments.page.page_size, arguments.page.page_token);
    let answer = listed(&connection, wallet.address, size, token).await?;
    let mut ledger = VerifiedLedger::open(&connection, &context.home)?;
    let mut order = NewestFirst::default();
    let mut records = Vec::with_capacity(answer.records.len());
    for record in answer.records {
        order.take(record.index)?;
        records.push(ledger.prove(record).await?.record);
    }
    let made = transactions(&mut ledger, &records).await?;
    let movements: Vec<Movement> = records
        .iter()
        .map(|record| Movement::of(wallet.address, record, &made))
        .collect();
    let document = page(
        "transactions",
        movements.iter().map(Movement::json).collect(),
        &answer.next_page_token,
    );
    if movements.is_empty() {
        context.result(
            &document,
            format_args!("{} has no transactions", wallet.name),
        )?;
        context.next("aitbc wallet show");
        return Ok(());
    }
    let header = ["TIME", ">RECORD", "KIND", ">AIT", "", "TRANSACTION"];
    let row = |movement: &Movement| {
        vec![
            rfc3339_ms(movement.time_ms),
            movement.index.to_string(),
            movement.kind.to_owned(),
            movement.change_text(),
            movement.about.clone(),
            movement
                .transaction
                .map_or_else(|| "–".to_owned(), |id| format!("0x{}", hex::encode(id))),
        ]
    };
    context.result(
        &document,
        table::render(&header, movements.iter().map(row).collect()),
    )?;
    if !answer.next_page_token.is_empty() {
        context.next(format_args!(
            "aitbc wallet history --page-token {}",
            answer.next_page_token
        ));
    }
    Ok(())
}

/// The transactions that these records speak of: those among them, and those that they resolve.
async fn transactions(
    ledger: &mut VerifiedLedger,
    records: &[Record],
) -> Result<HashMap<Hash, SignedTransaction>, CommandError> {
    let mut known = HashMap::new();
    for record in records {
        if let RecordBody::Transaction(signed) = &record.body {
            known.insert(signed.transaction.id(), signed.clone());
        }
    }
    for wanted in records.iter().filter_map(needs) {
        if known.contains_key(&wanted) {
            continue;
        }
        let proven = ledger.transaction(&wanted).await?;
        if let RecordBody::Transaction(signed) = proven.record.record.body {
            known.insert(wanted, signed);
        }
    }
    Ok(known)
}
