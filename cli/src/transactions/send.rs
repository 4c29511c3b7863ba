//! Building, signing and sending.

use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    AllowTerms, SignMode, SignedTransaction, Transaction, TransactionKind,
};
use aitbc_common::runtime::backoff::FullJitter;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_proto::v1::{
    ErrorReason, GetAccountRequest, GetAccountResponse, NetworkProfile, RentalTerms,
    SubmitTransactionRequest, SubmitTransactionResponse,
};
use tonic::Status;

use super::kept::{Kept, RentalHint, Signed};
use super::proven::prove;
use super::refused::Refused;
use super::signer::{Signer, lock_name, stopped};
use crate::context::Context;
use crate::output::json::{duration_for_request, timestamp_ms};
use crate::retries::with_retries;

/// A transaction is valid for this long from the coordinator's time on: 1 hour.
const VALIDITY_MS: u64 = 3_600_000;
/// Up to so much of it is left out at random: two machines that ask the same of one wallet at the same time must sign two
/// transactions, or the second would be taken for the first one sent again, and never be made.
const APART_MS: u64 = 1_800_000;
/// How often the same bytes are sent before their fate stays open.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A transaction before it has a nonce.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What it does.
    pub kind: TransactionKind,
    /// Micro-AIT.
    pub amount: u64,
    /// What it is about.
    pub target: Hash,
    /// Its terms.
    pub payload: Payload,
    /// The job that a lock is for, and its owner.
    pub job: Option<(JobId, PublicKey)>,
    /// The rental that a lock is for.
    pub rental: Option<RentalHint>,
    /// Why it cannot be sent now, unless it was sent before.
    pub refusal: Option<CommandError>,
}

/// Terms of a transaction.
#[derive(Debug, Clone)]
pub enum Payload {
    /// These bytes.
    Fixed(Vec<u8>),
    /// [`AllowTerms`] that end this many milliseconds after the transaction's time.
    Allowance(u64),
}

/// A transaction that is recorded.
#[derive(Debug, Clone)]
pub struct Sent {
    /// tx_id.
    pub id: Hash,
    /// Index of its record.
    pub index: u64,
    /// Ledger time of its record: Unix ms.
    pub time_ms: u64,
    /// Who signed, for people.
    pub from: String,
}

/// What is known of a transaction that was sent.
enum Fate {
    Recorded(SubmitTransactionResponse),
    /// It is not recorded and was refused.
    Refused(Box<CommandError>),
    /// It may be recorded.
    Open(Box<CommandError>),
}

/// Sends a transaction. One that was signed before and has no answer yet is settled first: where it is the same as this
/// one, it is this one.
pub async fn send(
    context: &Context,
    connection: &Connection,
    signer: &Signer,
    draft: &Draft,
) -> Result<Sent, CommandError> {
    let name = signer.lock_name();
    let (wallets, locked) = (context.home.wallets(), name.clone());
    let lock = tokio::task::spawn_blocking(move || wallets.lock(&locked));
    let _lock = lock.await.map_err(|_| stopped())??;
    let kept = Kept::new(&context.home, connection.chain_id(), &name);
    let mut refused = Refused::read(&context.home, connection.chain_id(), &name, unix_ms())?;
    if let Some(earlier) = kept.read()?
        && let Some(sent) =
            settle_earlier(context, connection, (&kept, &mut refused), &earlier, signer).await?
    {
        if same(draft, &earlier.transaction) {
            return Ok(sent);
        }
        context.warn(
            "EARLIER_TRANSACTION",
            format_args!(
                "a transaction that had no answer is recorded: 0x{} (record {})",
                hex::encode(sent.id),
                sent.index
            ),
        );
    }
    if let Some(refusal) = &draft.refusal {
        return Err(refusal.clone());
    }
    let mut rebuilt = false;
    loop {
        let signed = build(context, connection, signer, draft, &mut refused).await?;
        kept.write(&signed)?;
        match deliver(connection, &signed, false).await {
            Fate::Recorded(answer) => {
                let sent = recorded(&signed.transaction, &answer, signer)?;
                let proven = prove(context, connection, &signed.transaction, &sent).await;
                if proven.is_err() {
                    refused.add(&signed.transaction)?;
                }
                forget(context, &kept);
                context.done(format_args!(
                    "the transaction 0x{} is record {} of the ledger",
                    hex::encode(sent.id),
                    sent.index
                ));
                return proven.map(|()| sent);
            }
            Fate::Refused(error) => {
                refused.add(&signed.transaction)?;
                kept.forget()?;
                if error.reason == "NONCE" && !rebuilt {
                    rebuilt = true;
                    continue;
                }
                let allowed = signer.identity().is_some();
                return Err(match draft.kind {
                    // What is missing is a stake: no faucet gives that.
                    TransactionKind::Unstake => error
                        .with_hint("see what this wallet has staked with: aitbc wallet balance"),
                    _ => with_funds_hint(connection, allowed, *error),
                });
            }
            Fate::Open(error) => return Err(open(&signed.transaction, &error)),
        }
    }
}

/// Whether this account has a transaction on this chain that was signed and has no answer.
pub fn has_unanswered(
    context: &Context,
    connection: &Connection,
    account: Address,
    identity: Option<PublicKey>,
) -> bool {
    let name = lock_name(account, identity);
    Kept::new(&context.home, connection.chain_id(), &name).exists()
}

/// The rental for which this account signed a lock that has no answer.
pub fn unanswered_rental(
    context: &Context,
    connection: &Connection,
    account: Address,
    identity: Option<PublicKey>,
) -> Option<RentalHint> {
    let name = lock_name(account, identity);
    let kept = Kept::new(&context.home, connection.chain_id(), &name).read();
    kept.ok().flatten()?.rental
}

/// The account as of now; `allowance_of` = also what this identity may lock of it.
pub async fn account(
    connection: &Connection,
    address: Address,
    allowance_of: Option<PublicKey>,
) -> Result<GetAccountResponse, CommandError> {
    let request = GetAccountRequest {
        address: address.0.to_vec().into(),
        allowance_of: allowance_of
            .map_or_else(Vec::new, |key| key.0.to_vec())
            .into(),
    };
    with_retries(
        connection.ledger(),
        request,
        |mut ledger, request| async move { ledger.get_account(request).await },
    )
    .await
}

/// Too little money, with the hint that helps on this network; `allowed` = under an allowance.
pub fn with_funds_hint(
    connection: &Connection,
    allowed: bool,
    error: CommandError,
) -> CommandError {
    if error.reason != "INSUFFICIENT_FUNDS" {
        return error;
    }
    if allowed {
        let identity = connection.identity.public();
        return error.with_hint(format!(
            "the wallet's owner can allow more: aitbc wallet allow {identity} AMOUNT"
        ));
    }
    if connection.info.profile() == NetworkProfile::Dev {
        return error.with_hint("on this development network run: aitbc wallet faucet");
    }
    error
}

async fn settle_earlier(
    context: &Context,
    connection: &Connection,
    (kept, refused): (&Kept, &mut Refused),
    earlier: &Signed,
    signer: &Signer,
) -> Result<Option<Sent>, CommandError> {
    match deliver(connection, earlier, true).await {
        Fate::Recorded(answer) => {
            let sent = recorded(&earlier.transaction, &answer, signer)?;
            prove(context, connection, &earlier.transaction, &sent).await?;
            forget(context, kept);
            Ok(Some(sent))
        }
        Fate::Refused(_) => {
            refused.add(&earlier.transaction)?;
            kept.forget().map(|()| None)
        }
        Fate::Open(error) => Err(open(&earlier.transaction, &error)),
    }
}

/// A recorded transaction is no failure because its file stays.
fn forget(context: &Context, kept: &Kept) {
    if let Err(error) = kept.forget() {
        context.warn(&error.reason, &error.message);
    }
}

/// Whether an earlier transaction is what this draft asks for.
fn same(draft: &Draft, earlier: &SignedTransaction) -> bool {
    let transaction = &earlier.transaction;
    let terms = || match (&draft.payload, draft.kind) {
        // Until when a lock holds depends on when it is made.
        (_, TransactionKind::Lock) => true,
        (Payload::Fixed(payload), _) => *payload == earlier.payload,
        (Payload::Allowance(term), _) => AllowTerms::decode(&earlier.payload).is_ok_and(|terms| {
            let made_at = transaction.valid_until.saturating_sub(VALIDITY_MS);
            terms.expires_at.saturating_sub(made_at) == *term
        }),
    };
    transaction.kind == draft.kind
        && transaction.amount == draft.amount
        && transaction.target == draft.target
        && terms()
}

async fn build(
    context: &Context,
    connection: &Connection,
    signer: &Signer,
    draft: &Draft,
    refused: &mut Refused,
) -> Result<Signed, CommandError> {
    let allows = draft.kind == TransactionKind::Allow;
    let allowed = allows.then_some(PublicKey(draft.target));
    let address = signer.account();
    let account = account(connection, address, allowed.or(signer.identity())).await?;
    let allowance = account.allowance.as_ref();
    let nonce = match signer {
        Signer::Wallet { .. } => account.next_nonce,
        Signer::Identity { .. } => allowance.map_or(0, |allowance| allowance.next_nonce),
    };
    refused.allows(connection, &context.home, nonce).await?;
    let now = account.time.as_ref().map_or_else(unix_ms, timestamp_ms);
    let payload = match &draft.payload {
        Payload::Fixed(bytes) => bytes.clone(),
        Payload::Allowance(term) => AllowTerms {
            expires_at: now.saturating_add(*term),
            seq: allowance.map_or(0, |allowance| allowance.seq) + 1,
        }
        .encode(),
    };
    let apart_ms = match draft.payload {
        Payload::Fixed(_) => u64::from_be_bytes(random_bytes()) % APART_MS,
        // Made twice it is the same allowance, whose own end counts from this time.
        Payload::Allowance(_) => 0,
    };
    let transaction = Transaction {
        kind: draft.kind,
        sign_mode: SignMode::Wallet,
        chain_id: *connection.chain_id(),
        public_key: [0; 33],
        account: address,
        nonce,
        valid_until: now.saturating_add(VALIDITY_MS - apart_ms),
        amount: draft.amount,
        max_fee: 0,
        target: draft.target,
        payload_hash: Hash::default(),
    };
    Ok(Signed {
        transaction: signer.sign(transaction, payload)?,
        job: draft.job,
        rental: draft.rental.clone(),
    })
}

/// Sends the same bytes until they are answered, six times at most. `sent_before`: they may be recorded already.
async fn deliver(connection: &Connection, signed: &Signed, sent_before: bool) -> Fate {
    let request = SubmitTransactionRequest {
        transaction: signed.transaction.encode().into(),
        job_id: signed
            .job
            .map(|(job, _)| job.to_string())
            .unwrap_or_default(),
        job_owner: signed
            .job
            .map_or_else(Vec::new, |(_, owner)| owner.0.to_vec())
            .into(),
        rental: signed.rental.as_ref().map(rental_terms),
    };
    let mut pauses = FullJitter::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut unsure = sent_before;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut ledger = connection.ledger();
        let call = ledger.submit_transaction(request.clone());
        let status = match tokio::time::timeout(ANSWER_WITHIN, call).await {
            Ok(Ok(answer)) => return Fate::Recorded(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("the coordinator gave no answer in 15 s"),
        };
        let decided = decides(&status, unsure);
        let again = is_worth_repeating(&status);
        let error = Box::new(CommandError::from(status));
        match decided {
            true => return Fate::Refused(error),
            false if again && tries < TRIES => {
                unsure = true;
                pauses.wait().await;
            }
            false => return Fate::Open(error),
        }
    }
}

fn rental_terms(rental: &RentalHint) -> RentalTerms {
    RentalTerms {
        listing_id: rental.listing.to_string(),
        salt: rental.salt.to_vec().into(),
        term: Some(duration_for_request(Duration::from_millis(rental.term_ms))),
        hourly_rate_micro_ait: rental.rate,
        extends_rental_id: rental.extends.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// Whether an error says that the transaction is not recorded. The ledger's own refusals do, as it looks for the same bytes
/// first; others do only where no earlier try can have been recorded.
fn decides(status: &Status, unsure: bool) -> bool {
    use ErrorReason as R;
    let Some(error) = ApiError::from_status(status) else {
        return false;
    };
    match error.reason {
        R::TransactionInvalid
        | R::Nonce
        | R::InsufficientFunds
        | R::MinerNotBound
        | R::TransactionRefused => true,
        R::Unavailable | R::Internal | R::Unspecified => false,
        _ => !unsure,
    }
}

fn is_worth_repeating(status: &Status) -> bool {
    let reason = ApiError::from_status(status).map(|error| error.reason);
    matches!(
        reason,
        None | Some(ErrorReason::Unavailable | ErrorReason::RateLimited)
    )
}

fn recorded(
    signed: &SignedTransaction,
    answer: &SubmitTransactionResponse,
    signer: &Signer,
) -> Result<Sent, CommandError> {
    let id = signed.transaction.id();
    if answer.transaction_id[..] != id {
        return Err(CommandError::new(
            ExitCode::ProofFailed,
            "PROOF_WRONG_TRANSACTION",
            "the coordinator answered about another transaction than the one that was sent",
        )
        .with_hint("see what is recorded: aitbc wallet history"));
    }
    Ok(Sent {
        id,
        index: answer.index,
        time_ms: answer.time.as_ref().map_or(0, timestamp_ms),
        from: signer.name(),
    })
}

fn open(signed: &SignedTransaction, why: &CommandError) -> CommandError {
    let id = hex::encode(signed.transaction.id());
    CommandError::new(
        why.exit,
        why.reason.clone(),
        format!(
            "whether the transaction 0x{id} is recorded is not known: {}",
            why.message
        ),
    )
    .with_hint(
        "run the command again: it sends the same bytes first, so that nothing is paid twice",
    )
    .as_retryable()
}

#[cfg(test)]
mod tests;
