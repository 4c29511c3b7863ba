//! `aitbc wallet create`.

use std::fs;
use std::path::PathBuf;

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::terminal::print_line;
use aitbc_common::runtime::wallets::StoredWallet;
use aitbc_common::token::Scope;
use aitbc_common::wallet::SeedPhrase;
use aitbc_proto::v1::NetworkProfile;
use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{command_for, faucet, is_active, made_text, wallet_json};
use crate::context::Context;
use crate::output::json::ait;
use crate::secrets::password::PasswordOptions;
use crate::secrets::phrase::{self, PhraseSink};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet create --name my_wallet
  aitbc wallet create --name ci --password-file /run/secrets/wallet --seed-phrase-file /secure/seed.txt

The 24 words are the wallet: they open it here and in any Ethereum wallet (m/44'/60'/0'/0/0). They are shown once, on the
terminal, or written to the file; the password only protects the copy on this machine. On a development network the new
wallet gets 100 AIT of the faucet.";

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
    /// File with a BIP-39 passphrase (a 25th word): without it the words open another wallet
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Draw nothing of a development network's faucet
    #[arg(long)]
    no_faucet: bool,
    #[command(flatten)]
    password: PasswordOptions,
}

/// Makes it. Whatever it needs to ask or to show is known to be possible before anything is made.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallets = context.home.wallets();
    if wallets.exists(&arguments.name)? {
        return Err(wallets.taken(&arguments.name));
    }
    let sink = PhraseSink::find(arguments.seed_phrase_file.as_deref())?;
    let passphrase = phrase::passphrase(arguments.passphrase_file.as_deref())?;
    let password = arguments.password.source()?.chosen()?;
    let phrase = SeedPhrase::from_entropy(&Zeroizing::new(random_bytes()));
    let key = phrase.key(&passphrase);
    let wallet = match &sink {
        // The words are safe before there is a wallet that could need them.
        PhraseSink::File(path) => {
            phrase::write(path, &phrase)?;
            wallets
                .add(&arguments.name, &key, &password)
                .inspect_err(|_| drop(fs::remove_file(path)))?
        }
        PhraseSink::Terminal(_) => wallets.add(&arguments.name, &key, &password)?,
    };
    report(context, arguments, &wallet, (&sink, &phrase)).await
}

async fn report(
    context: &Context,
    arguments: &Arguments,
    wallet: &StoredWallet,
    (sink, phrase): (&PhraseSink, &SeedPhrase),
) -> Result<(), CommandError> {
    context.done(format_args!("the wallet {} is made", wallet.name));
    let active = is_active(context, wallet)?;
    let mut document = wallet_json(wallet, active);
    document["seed_phrase_file"] = Value::Null;
    let mut text = made_text("created", wallet, active);
    if let PhraseSink::File(path) = sink {
        document["seed_phrase_file"] = path.display().to_string().into();
        let file = path.display();
        text.push_str(&format!(
            "\n  seed phrase  {file}; keep it offline, whoever has it has the money"
        ));
    }
    let printed = if context.json {
        Ok(())
    } else {
        context.result(&document, text)
    };
    // Shown even where nobody reads stdout, and before anything that can take time: there is no other copy.
    if let PhraseSink::Terminal(terminal) = sink {
        phrase::show(*terminal, phrase).map_err(|error| {
            error.with_hint(format!(
                "the wallet has no backup: remove {} and create it again",
                wallet.file.display()
            ))
        })?;
    }
    let given = if arguments.no_faucet {
        None
    } else {
        draw(context, wallet).await
    };
    document["faucet_ait"] = given.map_or(Value::Null, ait);
    printed?;
    if context.json {
        return print_line(document);
    }
    if let Some(given) = given {
        print_line(format_args!(
            "{} AIT from the development faucet.",
            MicroAit(given)
        ))?;
    }
    let mut check = command_for("check-backup", wallet, active);
    if let Some(path) = &arguments.passphrase_file {
        check.push_str(&format!(" --passphrase-file {}", path.display()));
        context.note(
            "the words alone open another wallet: keep the passphrase as well, apart from them",
        );
    }
    context.note(format_args!("check your copy: {check}"));
    if !active {
        context.next(format_args!("aitbc wallet use {}", wallet.name));
    }
    Ok(())
}

/// Micro-AIT that the faucet gave. The wallet is made, whether it gives or not.
async fn draw(context: &Context, wallet: &StoredWallet) -> Option<u64> {
    let drawn = async {
        let connection = context.connect(Scope::Client).await?;
        if connection.info.profile() != NetworkProfile::Dev {
            return Ok(None);
        }
        let given = faucet::draw(&connection, wallet.address, 0).await?;
        Ok::<_, CommandError>(Some(given.amount_micro_ait))
    };
    match drawn.await {
        Ok(given) => given,
        Err(error) if error.exit == ExitCode::Unreachable => {
            context.note(
                "no coordinator answers, so no money was drawn; on a development network later: aitbc wallet faucet",
            );
            None
        }
        Err(error) => {
            context.note(format_args!("no money was drawn: {}", error.message));
            None
        }
    }
}
