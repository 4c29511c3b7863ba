//! `aitbc wallet create`.

use std::fs;
use std::path::PathBuf;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::wallets::StoredWallet;
use aitbc_common::wallet::SeedPhrase;
use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{command_for, is_active, made_text, wallet_json};
use crate::context::Context;
use crate::secrets::password::PasswordOptions;
use crate::secrets::phrase::{self, PhraseSink};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet create --name my_wallet
  aitbc wallet create --name ci --password-file /run/secrets/wallet --seed-phrase-file /secure/seed.txt

The 24 words are the wallet: they open it here and in any Ethereum wallet (m/44'/60'/0'/0/0). They are shown once, on the
terminal, or written to the file; the password only protects the copy on this machine.";

/// What to make.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its name: 1 to 64 lower-case letters, digits, - and _
    #[arg(long)]
    name: String,
    /// Write the 24 words to this new file (mode 0600) instead of showing them [env: AITBC_SEED_PHRASE_FILE]
    #[arg(long, value_name = "FILE")]
    seed_phrase_file: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordOptions,
}

/// Makes it. Whatever it needs to ask or to show is known to be possible before anything is made.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallets = context.home.wallets();
    if wallets.exists(&arguments.name)? {
        return Err(wallets.taken(&arguments.name));
    }
    let sink = PhraseSink::find(arguments.seed_phrase_file.as_deref())?;
    let password = arguments.password.source()?.chosen()?;
    let phrase = SeedPhrase::from_entropy(&Zeroizing::new(random_bytes()));
    let wallet = match &sink {
        // The words are safe before there is a wallet that could need them.
        PhraseSink::File(path) => {
            phrase::write(path, &phrase)?;
            wallets
                .add(&arguments.name, &phrase.key(""), &password)
                .inspect_err(|_| drop(fs::remove_file(path)))?
        }
        PhraseSink::Terminal(_) => wallets.add(&arguments.name, &phrase.key(""), &password)?,
    };
    report(context, &wallet, &sink, &phrase)
}

fn report(
    context: &Context,
    wallet: &StoredWallet,
    sink: &PhraseSink,
    phrase: &SeedPhrase,
) -> Result<(), CommandError> {
    let active = is_active(context, wallet)?;
    let mut document = wallet_json(wallet, active);
    document["seed_phrase_file"] = Value::Null;
    let mut text = made_text("created", wallet, active);
    if let PhraseSink::File(path) = sink {
        document["seed_phrase_file"] = path.display().to_string().into();
        let file = path.display();
        text.push_str(&format!(
            "\n      seed phrase  {file}; keep it offline, whoever has it has the money"
        ));
    }
    let printed = context.result(&document, text);
    // Shown even where nobody reads stdout: there is no other copy.
    if let PhraseSink::Terminal(terminal) = sink {
        phrase::show(*terminal, phrase).map_err(|error| {
            error.with_hint(format!(
                "the wallet has no backup: remove {} and create it again",
                wallet.file.display()
            ))
        })?;
    }
    printed?;
    context.note(format_args!(
        "check your copy: {}",
        command_for("check-backup", wallet, active)
    ));
    if !active {
        context.next(format_args!("aitbc wallet use {}", wallet.name));
    }
    Ok(())
}
