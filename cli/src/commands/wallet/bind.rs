//! `aitbc wallet bind`: be the payee of a miner, so that nothing but this wallet can change that.

use aitbc_common::address::Address;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{BindConsent, TransactionKind};
use aitbc_common::ledger::entry::{Binding, Entry, StateKey};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::{Value, json};

use super::transaction::{self, Done, MinerName, miner_name};
use crate::context::Context;
use crate::transactions::{Chosen, Draft, Payload, WalletOptions, has_unanswered, proven_entry};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet bind                                   your miner on this machine is paid at your active wallet
  aitbc wallet bind --miner rig-2 --wallet savings
  aitbc wallet bind --release miner_01m83xj880es8r65rzyjka792g

Where the miner runs on another machine, it consents there and the wallet binds it here:
  aitbc wallet bind --miner rig-2 --consent-for 0x…   prints the consent; no wallet is needed
  aitbc wallet bind --consent CONSENT

From then on the coordinator pays that miner there and nowhere else, whoever has the miner's machine: only this wallet can let
it go. Other miners are paid at this wallet only once it has bound them too.";
const DAY_MS: u64 = 24 * 3_600_000;
/// A printed consent: the identity's key, and what it signed.
const CONSENT_BYTES: usize = 32 + BindConsent::LEN;

/// Which miner, and how it consents.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Your miner's name [default: the one that is set, else rig-1]
    #[arg(long, value_name = "NAME")]
    miner: Option<String>,
    /// Only print your miner's consent to be paid at this address
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, conflicts_with = "wallet")]
    consent_for: Option<Address>,
    /// Bind the miner that gave this consent
    #[arg(long, value_parser = consent, conflicts_with_all = ["miner", "consent_for"])]
    consent: Option<Consent>,
    /// Let this miner go: its id, or its key (ed25519:…)
    #[arg(long, value_name = "MINER", value_parser = miner_name, conflicts_with_all = ["miner", "consent_for", "consent"])]
    release: Option<MinerName>,
    #[command(flatten)]
    signer: WalletOptions,
}

/// Who consents, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Consent {
    identity: PublicKey,
    terms: BindConsent,
}

/// Signs, sends and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    if let Some(address) = arguments.consent_for {
        return print_consent(context, arguments.miner.as_deref(), address).await;
    }
    let chosen = arguments.signer.choose(context)?;
    let wallet = chosen.account();
    let own = match (&arguments.consent, arguments.release) {
        (None, None) => Some(miner_identity(context, arguments.miner.as_deref())?),
        _ => None,
    };
    let connection = context.connect(Scope::Client).await?;
    let identity = match (&own, &arguments.consent, arguments.release) {
        (Some(identity), ..) => identity.public(),
        (_, Some(consent), _) => consent.identity,
        (.., Some(name)) => name.key(&connection).await?,
        (None, None, None) => unreachable!("one of them was made above"),
    };
    let now = binding(context, &connection, identity).await?;
    check_wallet(&now, wallet, identity, arguments.release.is_some())?;
    let unanswered = has_unanswered(context, &connection, wallet, None);
    let bound = now.account == wallet && arguments.release.is_none();
    if bound && !unanswered {
        return already(context, identity, wallet);
    }
    // Where it is bound, that may be by a transaction that had no answer: the same one finds it.
    let seq = if bound { now.seq } else { next(&now)? };
    let terms = match (own, arguments.consent) {
        (Some(own), _) => {
            BindConsent::sign(connection.chain_id(), wallet, &own, seq, valid_until())
        }
        (None, Some(consent)) => checked(&connection, wallet, seq, consent)?,
        (None, None) => BindConsent {
            seq,
            valid_until: 0,
            consent: [0; 64],
        },
    };
    let draft = Draft {
        kind: TransactionKind::Bind,
        amount: 0,
        target: identity.0,
        payload: Payload::Fixed(terms.encode()),
        job: None,
        rental: None,
        refusal: bound.then(|| bound_already(identity)),
    };
    send(context, &connection, chosen, &draft, identity).await
}

async fn send(
    context: &Context,
    connection: &Connection,
    chosen: Chosen,
    draft: &Draft,
    identity: PublicKey,
) -> Result<(), CommandError> {
    let releases = matches!(&draft.payload, Payload::Fixed(bytes)
        if BindConsent::decode(bytes).is_ok_and(|terms| terms.is_release()));
    let wallet = chosen.account();
    let text = if releases {
        format!("Released: {identity} may be paid anywhere")
    } else {
        format!("Bound: {identity} is paid at {wallet}, which alone can change that")
    };
    let done = Done {
        text,
        fields: vec![
            ("identity", Value::from(identity.to_string())),
            ("bound", Value::from(!releases)),
        ],
    };
    transaction::carry_out(context, connection, chosen, draft, done).await
}

/// The consent of a miner of this machine, for a wallet elsewhere.
async fn print_consent(
    context: &Context,
    miner: Option<&str>,
    wallet: Address,
) -> Result<(), CommandError> {
    let own = miner_identity(context, miner)?;
    let identity = own.public();
    let connection = context.connect(Scope::Read).await?;
    let now = binding(context, &connection, identity).await?;
    check_wallet(&now, wallet, identity, false)?;
    let terms = BindConsent::sign(
        connection.chain_id(),
        wallet,
        &own,
        next(&now)?,
        valid_until(),
    );
    let text = hex::encode([&identity.0[..], &terms.encode()].concat());
    let document = json!({
        "consent": text,
        "identity": identity.to_string(),
        "address": wallet.to_string(),
    });
    context.result(&document, text)
}

/// The key of a miner that was set up on this machine: a mistyped name makes no new one.
fn miner_identity(context: &Context, name: Option<&str>) -> Result<Identity, CommandError> {
    let name = context.miner_name(name)?;
    let file = context.home.miner_dir(&name).join("identity.key");
    if file.exists() {
        return context.home.miner_identity(&name);
    }
    Err(CommandError::new(
        ExitCode::NotFound,
        "IDENTITY_UNKNOWN",
        format!("there is no miner {name} on this machine"),
    )
    .with_hint(
        "name yours with --miner NAME; for one on another machine see: aitbc wallet bind --help",
    ))
}

/// What the ledger's signed state says of an identity's payee.
pub(super) async fn binding(
    context: &Context,
    connection: &Connection,
    identity: PublicKey,
) -> Result<Binding, CommandError> {
    let found = proven_entry(context, connection, StateKey::Binding(identity)).await?;
    Ok(match found {
        Some(Entry::Binding(binding)) => binding,
        _ => Binding::default(),
    })
}

fn check_wallet(
    now: &Binding,
    wallet: Address,
    identity: PublicKey,
    releases: bool,
) -> Result<(), CommandError> {
    let free = now.account == Address::default();
    if now.account == wallet || free && !releases {
        return Ok(());
    }
    let message = match free {
        true => format!("{identity} is bound to no wallet"),
        false => format!(
            "{identity} is bound to the wallet {}, which alone can change that",
            now.account
        ),
    };
    let error = CommandError::new(ExitCode::Authentication, "PAYEE_BOUND", message);
    Err(error.with_hint(match free {
        true => "there is nothing to release",
        false => "its owner lets it go with: aitbc wallet bind --release MINER",
    }))
}

fn next(now: &Binding) -> Result<u32, CommandError> {
    now.seq.checked_add(1).ok_or_else(|| {
        CommandError::new(
            ExitCode::Failed,
            "TRANSACTION_REFUSED",
            "this identity was bound 4,294,967,295 times, the bound",
        )
        .with_hint("give the miner another identity: --miner NAME")
    })
}

/// The end of tomorrow (UTC): the same for a whole day, so that the same command signs the same.
fn valid_until() -> u64 {
    (unix_ms() / DAY_MS + 2) * DAY_MS
}

fn checked(
    connection: &Connection,
    wallet: Address,
    seq: u32,
    consent: Consent,
) -> Result<BindConsent, CommandError> {
    let Consent { identity, terms } = consent;
    let problem = if !terms.verify(connection.chain_id(), wallet, &identity) {
        "it is for another wallet or another network"
    } else if terms.seq != seq {
        "it was used, or the miner was bound since"
    } else if terms.valid_until < unix_ms() {
        "it has ended"
    } else {
        return Ok(terms);
    };
    let message = format!("the consent of {identity} does not hold: {problem}");
    let error = CommandError::new(ExitCode::Authentication, "CONSENT_INVALID", message);
    Err(error.with_hint(format!(
        "on the miner's machine make a new one: aitbc wallet bind --consent-for {wallet}"
    )))
}

fn consent(text: &str) -> Result<Consent, CommandError> {
    let wrong = || {
        CommandError::usage("that is no miner's consent").with_hint(format!(
            "it is the {} hexadecimal digits that this printed: aitbc wallet bind --consent-for ADDRESS",
            2 * CONSENT_BYTES
        ))
    };
    let mut bytes = [0; CONSENT_BYTES];
    hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| wrong())?;
    let (identity, terms) = bytes.split_first_chunk().ok_or_else(wrong)?;
    Ok(Consent {
        identity: PublicKey(*identity),
        terms: BindConsent::decode(terms).map_err(|_| wrong())?,
    })
}

fn bound_already(identity: PublicKey) -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "ALREADY_BOUND",
        format!("{identity} is bound to this wallet already"),
    )
    .with_hint("nothing is left to do")
}

fn already(context: &Context, identity: PublicKey, wallet: Address) -> Result<(), CommandError> {
    let document = json!({
        "tx_hash": null,
        "address": wallet.to_string(),
        "identity": identity.to_string(),
        "bound": true,
    });
    let text = format!("Bound already: {identity} is paid at {wallet}");
    context.result(&document, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_reads_as_it_is_printed_and_nothing_else_does() {
        let rig = Identity::from_seed(&[7; 32]);
        let terms = BindConsent::sign(&[1; 32], Address([2; 20]), &rig, 3, 4);
        let text = hex::encode([&rig.public().0[..], &terms.encode()].concat());
        let read = consent(&format!(" {text}\n")).unwrap();
        assert_eq!((read.identity, read.terms), (rig.public(), terms));
        let another_version = format!("{}02{}", &text[..64], &text[66..]);
        for bad in ["", "0x", &text[2..], &another_version] {
            assert!(consent(bad).unwrap_err().hint.is_some(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_bound_wallet_may_change_a_binding() {
        let rig = PublicKey([1; 32]);
        let (own, other) = (Address([2; 20]), Address([3; 20]));
        let bound_to = |account| Binding { account, seq: 1 };
        let free = bound_to(Address::default());
        for (now, releases, allowed) in [
            (&free, false, true),
            (&free, true, false),
            (&bound_to(own), false, true),
            (&bound_to(own), true, true),
            (&bound_to(other), false, false),
            (&bound_to(other), true, false),
        ] {
            let checked = check_wallet(now, own, rig, releases);
            assert_eq!(checked.is_ok(), allowed, "{now:?} {releases}");
        }
        assert!(
            next(&Binding {
                account: own,
                seq: u32::MAX
            })
            .is_err()
        );
    }

    #[test]
    fn the_same_command_signs_the_same_for_a_day() {
        let until = valid_until();
        assert_eq!(until % DAY_MS, 0);
        assert!((DAY_MS..=2 * DAY_MS).contains(&(until - unix_ms())));
    }
}
