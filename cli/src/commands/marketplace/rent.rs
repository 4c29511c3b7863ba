//! `aitbc marketplace rent` and `extend`: a GPU for a time.

use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, RentalId};
use aitbc_common::layouts::{LockPurpose, LockTerms, RecordBody, TransactionKind, rental_ref};
use aitbc_common::ledger::transactions::MIN_LOCK;
use aitbc_common::money::{MicroAit, cost};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::token::Scope;
use aitbc_proto::v1::{
    ExtendRentalRequest, GetListingRequest, Offer, OfferState, RentRequest, Rental, RentalStatus,
};
use bytes::Bytes;
use clap::Args;

use super::rentals::{find, selected};
use crate::commands::client::{check_payer, fee_bps};
use crate::context::Context;
use crate::output::json::{duration_for_request, timestamp_ms};
use crate::output::offer::state_text;
use crate::output::rental::{rental_json, rental_text};
use crate::transactions::{
    Chosen, Draft, PayerOptions, Payload, RentalHint, Sent, Signer, send, unanswered_rental,
};
use crate::values::{self, RentalSelector};

/// The shortest and the longest term, and its steps, in milliseconds.
const SHORTEST_MS: u64 = 60_000;
const LONGEST_MS: u64 = 30 * 24 * 3_600_000;
const STEP_MS: u64 = 10_000;
/// A rental's lock outlives it by this, so that its last payment is made: 25 hours.
const AFTER_END_MS: u64 = 25 * 3_600_000;

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace rent listing_01m83xj880e4ma4jz41b93y214 --hours 2
  aitbc marketplace rent listing_01m83xj880e4ma4jz41b93y214 --for 30m --max-price 0.5
  aitbc client submit --model llama3 --prompt Hi --rental rental_01m83xj880e4ma4jz41b93y214

The price of the whole time is locked; what counts is paid for each hour and at the end, in steps of 10 s in which the provider
was there; the rest returns. Only jobs under the rental run there, at no further cost.";

/// For how long.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Term {
    /// For so many hours, 1 to 720
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=720), allow_hyphen_values = true)]
    hours: Option<u32>,
    /// For so long, 1m to 30d, in steps of 10 s
    #[arg(long = "for", value_name = "TIME", value_parser = term, allow_hyphen_values = true)]
    time: Option<Duration>,
}

impl Term {
    fn ms(&self) -> u64 {
        match (self.hours, self.time) {
            (Some(hours), _) => u64::from(hours) * 3_600_000,
            (None, Some(time)) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            (None, None) => 0,
        }
    }
}

fn term(text: &str) -> Result<Duration, CommandError> {
    let hint = "give 1m to 30d in steps of 10 s, for example --for 90m";
    let time = values::duration(text).map_err(|error| error.with_hint(hint))?;
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if (SHORTEST_MS..=LONGEST_MS).contains(&ms) && ms.is_multiple_of(STEP_MS) {
        return Ok(time);
    }
    Err(CommandError::usage(format!("a GPU cannot be rented for {text}")).with_hint(hint))
}

/// What to rent.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The listing (aitbc marketplace offers list)
    #[arg(value_parser = values::listing_id)]
    listing_id: ListingId,
    #[command(flatten)]
    term: Term,
    /// Only if it costs at most this in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    #[command(flatten)]
    payer: PayerOptions,
}

const EXTEND_EXAMPLES: &str = "\
Examples:
  aitbc marketplace extend last --hours 1

The extension follows on the time that is paid for, at the listing's price of now.";

/// What to prolong.
#[derive(Debug, Args)]
#[command(after_help = EXTEND_EXAMPLES)]
pub struct ExtendArguments {
    /// The rental: its id, or "last" for your newest
    rental_id: RentalSelector,
    #[command(flatten)]
    term: Term,
    /// Only if it costs at most this in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    #[command(flatten)]
    payer: PayerOptions,
}

/// Rents.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let payer = arguments.payer.choose(context)?;
    let connection = context.connect(Scope::Client).await?;
    let offer = offer(&connection, arguments.listing_id).await?;
    let wanted = Wanted::of(
        &offer,
        None,
        &arguments.term,
        unix_ms(),
        arguments.max_price,
    )?;
    if offer.payout_address == payer.account().0.as_slice() {
        context.warn(
            "OWN_GPU",
            "this is your own GPU: its pay goes to the wallet that pays; it costs the market's fee and counts for no reputation",
        );
    }
    let (rental, sent, amount) = wanted.rent(context, &connection, payer).await?;
    show(context, "GPU rented", &rental, &sent, amount)?;
    context.next(format_args!(
        "aitbc client submit --model MODEL --prompt TEXT --rental {}",
        rental.rental_id
    ));
    Ok(())
}

/// Prolongs.
pub async fn extend(context: &Context, arguments: ExtendArguments) -> Result<(), CommandError> {
    let payer = arguments.payer.choose(context)?;
    let connection = context.connect(Scope::Client).await?;
    let id = selected(&connection, arguments.rental_id).await?;
    let known = find(&connection, id).await?;
    if known.status() != RentalStatus::Active {
        let message = format!("{id} is over");
        let hint = format!(
            "rent it again: aitbc marketplace rent {} --hours 1",
            known.listing_id
        );
        return Err(not_available(message).with_hint(hint));
    }
    let offer = offer(&connection, values::listing_id(&known.listing_id)?).await?;
    let ends_ms = known
        .ends_at
        .as_ref()
        .map_or(0, timestamp_ms)
        .max(unix_ms());
    let wanted = Wanted::of(
        &offer,
        Some(id),
        &arguments.term,
        ends_ms,
        arguments.max_price,
    )?;
    let (rental, sent, amount) = wanted.rent(context, &connection, payer).await?;
    show(context, "Rental extended", &rental, &sent, amount)
}

fn show(
    context: &Context,
    what: &str,
    rental: &Rental,
    sent: &Sent,
    amount: MicroAit,
) -> Result<(), CommandError> {
    let mut document = rental_json(rental);
    let transaction = format!("0x{}", hex::encode(sent.id));
    document["tx_hash"] = transaction.as_str().into();
    document["index"] = sent.index.into();
    let text = format!(
        "{what}: {}\n{}\n  transaction  {transaction} (record {})     locked  {amount} AIT from {}; what does not count returns",
        rental.rental_id,
        rental_text(rental),
        sent.index,
        sent.from
    );
    context.result(&document, text)
}

async fn offer(connection: &Connection, id: ListingId) -> Result<Offer, CommandError> {
    let request = GetListingRequest {
        listing_id: id.to_string(),
    };
    let answer = connection.marketplace().get_listing(request).await?;
    answer.into_inner().offer.ok_or_else(without_listing)
}

fn without_listing() -> CommandError {
    let message = "the coordinator's answer lacks the listing";
    CommandError::new(ExitCode::Failed, "INCOMPLETE_ANSWER", message).with_hint(
        "the versions of aitbc and the coordinator may not fit together: aitbc --version",
    )
}

fn not_available(message: String) -> CommandError {
    CommandError::new(ExitCode::Failed, "NOT_AVAILABLE", message)
}

/// Why nobody can rent it now; `None` = it is free.
fn taken(offer: &Offer) -> Option<String> {
    let is_free = matches!(offer.state(), OfferState::Free | OfferState::Unspecified);
    (!is_free).then(|| format!("it cannot be rented now: {}", state_text(offer)))
}

/// A time on a listing.
struct Wanted {
    hint: RentalHint,
    provider: PublicKey,
    /// When it begins at the latest: Unix ms.
    begins_ms: u64,
    /// Why nobody can rent it now.
    taken: Option<String>,
}

impl Wanted {
    fn of(
        offer: &Offer,
        extends: Option<RentalId>,
        term: &Term,
        begins_ms: u64,
        max_price: Option<MicroAit>,
    ) -> Result<Self, CommandError> {
        let listing = offer.listing.as_ref().ok_or_else(without_listing)?;
        let rate = listing.hourly_rate_micro_ait;
        if let Some(most) = max_price.filter(|most| rate > most.0) {
            let message = format!(
                "it costs {} AIT/hour, over the highest price of {most}",
                MicroAit(rate)
            );
            return Err(not_available(message).with_hint(format!(
                "see cheaper ones: aitbc marketplace offers list --max-price {most}"
            )));
        }
        let provider = <[u8; 32]>::try_from(&listing.provider_key[..]).map(PublicKey);
        Ok(Self {
            hint: RentalHint {
                listing: values::listing_id(&listing.listing_id)?,
                extends,
                salt: random_bytes(),
                term_ms: term.ms(),
                rate,
            },
            provider: provider.map_err(|_| {
                CommandError::new(
                    ExitCode::Failed,
                    "INCOMPLETE_ANSWER",
                    "the listing names no provider",
                )
                .with_hint("tell the coordinator's operator")
            })?,
            begins_ms,
            taken: taken(offer).filter(|_| extends.is_none()),
        })
    }

    /// Signs and sends the lock, and waits until the GPU is this user's.
    async fn rent(
        mut self,
        context: &Context,
        connection: &Connection,
        payer: Chosen,
    ) -> Result<(Rental, Sent, MicroAit), CommandError> {
        let identity = match &payer {
            Chosen::Allowance { .. } => Some(connection.identity.public()),
            Chosen::Wallet(..) => None,
        };
        let earlier = unanswered_rental(context, connection, payer.account(), identity);
        if let Some(earlier) = earlier.filter(|earlier| self.is(earlier)) {
            // The same command again: its lock is sent again, not another one.
            self.hint = earlier;
        } else if let Some(taken) = self.taken.take() {
            return Err(not_available(taken).with_hint(
                "see what can be rented now: aitbc marketplace offers list --available",
            ));
        }
        let amount = MicroAit(cost(self.hint.rate, self.hint.term_ms).max(MIN_LOCK));
        check_payer(context, connection, &payer, Some(amount)).await?;
        let signer = payer.unlock(&connection.identity).await?;
        let sent = self.lock(context, connection, &signer, amount).await?;
        let rental = self.answer(context, connection, &sent).await?;
        Ok((rental, sent, amount))
    }

    fn is(&self, earlier: &RentalHint) -> bool {
        let same = RentalHint {
            salt: earlier.salt,
            ..self.hint.clone()
        };
        same == *earlier
    }

    async fn lock(
        &self,
        context: &Context,
        connection: &Connection,
        signer: &Signer,
        amount: MicroAit,
    ) -> Result<Sent, CommandError> {
        let hint = &self.hint;
        let terms = LockTerms {
            purpose: LockPurpose::Rental,
            expires_at: self.begins_ms + hint.term_ms + AFTER_END_MS,
            max_rate: hint.rate,
            max_fee_bps: fee_bps(connection)?,
            miner_key: self.provider,
        };
        let renter = connection.identity.public();
        let draft = Draft {
            kind: TransactionKind::Lock,
            amount: amount.0,
            target: rental_ref(
                connection.chain_id(),
                &hint.listing,
                &renter,
                &hint.salt,
                hint.term_ms,
                hint.rate,
            ),
            payload: Payload::Fixed(terms.encode()),
            job: None,
            rental: Some(hint.clone()),
            refusal: None,
        };
        send(context, connection, signer, &draft).await
    }

    /// What became of the lock: the same bytes again are answered with the rental.
    async fn answer(
        &self,
        context: &Context,
        connection: &Connection,
        sent: &Sent,
    ) -> Result<Rental, CommandError> {
        let mut ledger = VerifiedLedger::open(connection, &context.home)?;
        let RecordBody::Transaction(signed) =
            ledger.transaction(&sent.id).await?.record.record.body
        else {
            return Err(incomplete("the transaction"));
        };
        let transaction: Bytes = signed.encode().into();
        let hint = &self.hint;
        let (salt, term) = (
            hint.salt.to_vec().into(),
            duration_for_request(Duration::from_millis(hint.term_ms)),
        );
        let rental = match hint.extends {
            None => {
                let request = RentRequest {
                    transaction,
                    listing_id: hint.listing.to_string(),
                    salt,
                    term: Some(term),
                    hourly_rate_micro_ait: hint.rate,
                };
                connection
                    .marketplace()
                    .rent(request)
                    .await?
                    .into_inner()
                    .rental
            }
            Some(id) => {
                let request = ExtendRentalRequest {
                    rental_id: id.to_string(),
                    transaction,
                    salt,
                    term: Some(term),
                    hourly_rate_micro_ait: hint.rate,
                };
                connection
                    .marketplace()
                    .extend_rental(request)
                    .await?
                    .into_inner()
                    .rental
            }
        };
        rental.ok_or_else(|| incomplete("the rental"))
    }
}

fn incomplete(lacks: &str) -> CommandError {
    let message = format!("the coordinator's answer lacks {lacks}");
    CommandError::new(ExitCode::Failed, "INCOMPLETE_ANSWER", message)
        .with_hint("see your rentals with: aitbc marketplace rentals")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_has_bounds_and_steps() {
        assert_eq!(term("90m"), Ok(Duration::from_secs(5_400)));
        for bad in ["59s", "31d", "65s", "-1h", "NaN", ""] {
            let hint = term(bad).unwrap_err().hint.unwrap_or_default();
            assert!(hint.starts_with("give 1m to 30d"), "{bad}: {hint}");
        }
    }
}
