//! `aitbc wallet check-backup`.

use std::path::PathBuf;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use clap::Args;
use serde_json::json;

use super::Which;
use crate::context::Context;
use crate::secrets::phrase;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet check-backup                              asks for the words on your paper
  aitbc wallet check-backup savings --seed-phrase-file /media/usb/seed.txt

No password is needed and nothing is changed: the words give an address, which is compared.";

/// Which one, and where the words are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// File with the words [env: AITBC_SEED_PHRASE_FILE] [default: ask]
    #[arg(long, value_name = "FILE")]
    seed_phrase_file: Option<PathBuf>,
    /// File with the BIP-39 passphrase (a 25th word), where the words have one
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Compares.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallet = arguments.which.select(context)?;
    let phrase = phrase::read(arguments.seed_phrase_file.as_deref())?;
    let passphrase = phrase::passphrase(arguments.passphrase_file.as_deref())?;
    let found = phrase.key(&passphrase).address();
    if found != wallet.address {
        return Err(CommandError::new(
            ExitCode::Authentication,
            "BACKUP_MISMATCH",
            format!(
                "these words open {found}, not {} ({})",
                wallet.name, wallet.address
            ),
        )
        .with_hint(
            "they are another wallet's, or need a passphrase (--passphrase-file); a wallet of a private key or identity has no words",
        ));
    }
    let document = json!({
        "name": wallet.name,
        "address": wallet.address.to_string(),
        "backup": "valid",
    });
    let text = format!("✓ your copy opens {}  {}", wallet.name, wallet.address);
    context.result(&document, text)
}
