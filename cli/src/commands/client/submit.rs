//! `aitbc client submit`: submit a job.

use std::ffi::OsString;
use std::time::Duration;

use aitbc_common::ids::{ListingId, MinerId, RentalId};
use aitbc_common::job_input::JobType;
use aitbc_common::limits::{MAX_LOCKS, MAX_PRIORITY, MAX_RETRIES, MAX_VRAM_GIB, REQUEST_ID_CHARS};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{JobStatus, SubmitJobResponse};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::funds::check_payer;
use super::input::{self, Source};
use super::new_job::{self, Model, NewJob};
use super::pay::lock_amount;
use super::payment::{Paid, Payable};
use super::show::{self, Telling};
use super::watchers::event;
use super::{explain, job_text, submission};
use crate::commands::marketplace::selected_rental;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::json::{ait, enum_value, hash_or_null, seconds, time, warning_name, warnings};
use crate::transactions::{Chosen, PayerOptions, Signer};
use crate::values::{self, RentalSelector};

/// Times 10 s.
const TEN_MINUTES: u64 = 60;
/// What is proposed to a payer while nobody asks a price.
const WITHOUT_A_PRICE: MicroAit = MicroAit(1_000_000);

const EXAMPLES: &str = "\
Examples:
  aitbc client submit --type inference --model llama3 --data '{\"prompt\":\"Hello AITBC\"}'
  aitbc client submit --type inference --model llama3 --prompt \"Why is the sky blue?\" --watch
  aitbc client submit --type embedding --model all-minilm --data '{\"input\":[\"one\",\"two\"]}'
  aitbc client submit --type inference --model llama3 --data @chat.json --max-price 0.5 --timeout 10m
  aitbc client submit --type inference --model llama3 --prompt Hi --explain
  aitbc client submit --type inference --model llama3 --prompt Hi --pay 1
  aitbc client submit --type inference --model llama3 --prompt Hi --min-funding 10
  aitbc client submit --type inference --model llama3 --prompt Hi --pay 1 --allow-audit

An inference job takes \"prompt\" or \"messages\", and \"system\", \"tools\", \"think\", \"keep_alive\", \"format\", \"options\".";

/// What to compute, and who may do it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("input").required(true).args(["data", "prompt"]))]
pub struct Arguments {
    /// What to compute: inference, embedding or agent
    #[arg(long = "type", value_name = "TYPE", default_value = "inference", value_parser = job_type)]
    job_type: JobType,
    /// The model, with the digest it must have where that matters
    #[arg(long, value_name = "NAME[@sha256:HEX]", value_parser = new_job::model)]
    model: Model,
    /// The input document: JSON, @FILE, or - for stdin; at most 3 MiB
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    data: Option<OsString>,
    /// A text as the input
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,
    /// Follow the job and print its output as it comes
    #[arg(long, conflicts_with = "explain")]
    watch: bool,
    /// The highest price in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    /// Video memory that the miner's GPU must have, in GiB
    #[arg(long, value_name = "GIB", default_value = "0", hide_default_value = true, value_parser = vram, allow_hyphen_values = true)]
    min_vram: u32,
    /// Only miners with at least this reputation, 0 to 1 (aitbc marketplace reputation)
    #[arg(long, value_name = "R", value_parser = values::reputation, allow_hyphen_values = true)]
    min_reputation: Option<u32>,
    /// On the miner of this listing, at the listing's price (aitbc marketplace offers list)
    #[arg(long, value_name = "LISTING_ID", value_parser = values::listing_id, conflicts_with_all = ["rental", "miner"])]
    offer: Option<ListingId>,
    /// Under this rental of yours, at no further cost: its id, or "last" for your newest (aitbc marketplace rent)
    #[arg(long, value_name = "RENTAL_ID", conflicts_with_all = ["miner", "pay", "min_funding", "hold"])]
    rental: Option<RentalSelector>,
    /// Only this miner
    #[arg(long, value_name = "MINER_ID", value_parser = values::miner_id)]
    miner: Option<MinerId>,
    /// Rank among your own jobs, -100 to 100; higher first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(i64::from(-MAX_PRIORITY)..=i64::from(MAX_PRIORITY)))]
    priority: i32,
    /// Time until the job expires, 1s to 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = new_job::timeout, allow_hyphen_values = true)]
    timeout: Duration,
    /// Tries after a failure, 0 to 20 [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_RETRIES)))]
    max_retries: Option<u32>,
    /// Idempotency key, 1 to 64 characters: the same request under the same key makes one job
    #[arg(long, value_name = "KEY", value_parser = request_id)]
    request_id: Option<String>,
    /// Refuse the job if no known miner could run it
    #[arg(long)]
    require_miner: bool,
    /// Keep the job pending until funds are locked for it (aitbc client pay), by whomever; the last 4 of its 16 payments are
    /// kept for you
    #[arg(long)]
    hold: bool,
    /// Keep the job pending until so much is locked for it in all, in AIT, by whomever
    #[arg(long, value_name = "AIT", value_parser = lock_amount, allow_hyphen_values = true)]
    min_funding: Option<MicroAit>,
    /// Lock so much for it, in AIT: no miner gets it before
    #[arg(long, value_name = "AIT", value_parser = lock_amount, allow_hyphen_values = true)]
    pay: Option<MicroAit>,
    #[command(flatten)]
    payer: PayerOptions,
    /// Allow audits of its work: the coordinator may run the job once more elsewhere, at its own cost, and compare. Inference at
    /// temperature 0 only, which is set where the input sets none
    #[arg(long)]
    allow_audit: bool,
    /// Submit nothing: show which miners match and what removed the others; with --pay or --hold, as a paid job
    #[arg(long)]
    explain: bool,
    /// With --watch: Ctrl-C cancels the job instead of leaving it
    #[arg(long, requires = "watch")]
    cancel_on_interrupt: bool,
}

fn job_type(text: &str) -> Result<JobType, CommandError> {
    text.parse()
        .map_err(|error: aitbc_common::job_input::UnknownJobType| {
            CommandError::usage(error.to_string()).with_hint(error.hint)
        })
}

fn vram(text: &str) -> Result<u32, CommandError> {
    let digits = text.strip_suffix("GiB").unwrap_or(text).trim_end();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(gib) if plain && gib <= MAX_VRAM_GIB => Ok(gib),
        _ => Err(CommandError::usage(format!(
            "{:?} is no amount of video memory",
            text.chars().take(40).collect::<String>()
        ))
        .with_hint(format!(
            "give whole GiB, 0 (any) to {MAX_VRAM_GIB}, for example --min-vram 24"
        ))),
    }
}

/// Reads an idempotency key.
pub fn request_id(text: &str) -> Result<String, CommandError> {
    let fits =
        (1..=REQUEST_ID_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control);
    if fits {
        return Ok(text.to_owned());
    }
    Err(CommandError::usage("the request id does not fit")
        .with_hint(format!("give 1 to {REQUEST_ID_CHARS} characters")))
}

fn source(data: Option<OsString>, prompt: Option<OsString>) -> Source {
    match (data, prompt) {
        (Some(data), _) => Source::Data(data),
        (None, Some(prompt)) => Source::Prompt(prompt),
        (None, None) => unreachable!("the command line takes one of the two"),
    }
}

/// Submits, or explains.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let mut job = NewJob {
        job_type: arguments.job_type,
        model: arguments.model,
        input: input::read(
            arguments.job_type,
            &source(arguments.data, arguments.prompt),
            arguments.allow_audit,
        )?,
        max_price: arguments.max_price,
        min_vram_gib: arguments.min_vram,
        miner: arguments.miner,
        min_reputation_ppm: arguments.min_reputation.unwrap_or(0),
        offer: arguments.offer,
        rental: None,
        timeout: arguments.timeout,
        allow_audit: arguments.allow_audit,
        priority: arguments.priority,
        max_retries: arguments.max_retries,
        require_miner: arguments.require_miner,
        hold: arguments.hold || arguments.pay.is_some() || arguments.min_funding.is_some(),
        least_funding: arguments.min_funding,
        request_id: arguments.request_id,
    };
    check_part(arguments.pay, arguments.min_funding)?;
    if arguments.explain {
        let connection = context.connect(Scope::Client).await?;
        job.rental = rental(&connection, arguments.rental).await?;
        return explain::run(context, &connection, &job).await;
    }
    let payer = match arguments.pay {
        Some(amount) => Some((arguments.payer.choose(context)?, amount)),
        None => None,
    };
    let connection = context.connect(Scope::Client).await?;
    job.rental = rental(&connection, arguments.rental).await?;
    let payer = unlock(context, &connection, payer).await?;
    let submitted = submission::submit(context, &connection, &job).await?;
    let response = &submitted.response;
    warn(context, response);
    let paid = match payer {
        Some((signer, amount)) => {
            Some(pay_for(context, &connection, response, &signer, amount).await?)
        }
        None => None,
    };
    if !arguments.watch {
        return print_submitted(context, "Job submitted", response, paid.as_ref());
    }
    let interrupt = Interrupt::listen(arguments.cancel_on_interrupt);
    tell_submitted(context, response, paid.as_ref())?;
    show::submitted(
        context,
        &connection,
        submitted,
        interrupt,
        Telling::Everything,
    )
    .await?;
    Ok(())
}

/// The rental that is meant.
pub async fn rental(
    connection: &Connection,
    selector: Option<RentalSelector>,
) -> Result<Option<RentalId>, CommandError> {
    match selector {
        Some(selector) => Ok(Some(selected_rental(connection, selector).await?)),
        None => Ok(None),
    }
}

/// The first line of a job that is watched.
pub fn tell_submitted(
    context: &Context,
    response: &SubmitJobResponse,
    paid: Option<&Paid>,
) -> Result<(), CommandError> {
    if context.json {
        let document = match paid {
            Some(paid) => paid_json(response, paid),
            None => submitted_json(response),
        };
        aitbc_common::runtime::terminal::print_line(event("submitted", document))?;
    } else {
        let state = match paid {
            Some(paid) => paid.short_text(),
            None => job_text::submitted_state(response),
        };
        context.note(format_args!("{}  {state}", response.job_id));
    }
    Ok(())
}

/// Whether a job that waits for so much takes this as its first lock.
fn check_part(pay: Option<MicroAit>, min_funding: Option<MicroAit>) -> Result<(), CommandError> {
    let Some((pay, min_funding)) = pay.zip(min_funding) else {
        return Ok(());
    };
    let least = MicroAit(min_funding.0.div_ceil(MAX_LOCKS as u64));
    if pay >= least {
        return Ok(());
    }
    Err(CommandError::usage(format!(
        "{pay} AIT is too small a part of {min_funding} AIT: a job has at most {MAX_LOCKS} payments"
    ))
    .with_hint(format!(
        "pay at least {least} AIT, or ask for less with --min-funding"
    )))
}

/// Everything that can be refused or mistyped comes before there is a job.
pub async fn unlock(
    context: &Context,
    connection: &Connection,
    payer: Option<(Chosen, MicroAit)>,
) -> Result<Option<(Signer, MicroAit)>, CommandError> {
    let Some((payer, amount)) = payer else {
        return Ok(None);
    };
    check_payer(context, connection, &payer, Some(amount)).await?;
    Ok(Some((payer.unlock(&connection.identity).await?, amount)))
}

/// Pays a job that was just submitted and waits for it.
pub async fn pay_for(
    context: &Context,
    connection: &Connection,
    response: &SubmitJobResponse,
    signer: &Signer,
    amount: MicroAit,
) -> Result<Paid, CommandError> {
    let pay = async {
        let job = response
            .job_id
            .parse()
            .map_err(|_| super::status::empty_answer("a job's id"))?;
        let payable = Payable::find(context, connection, job, None).await?;
        payable.pay(context, connection, signer, amount).await
    };
    pay.await.map_err(|mut error| {
        let id = &response.job_id;
        error.message = format!("{id} is submitted and waits for its pay: {}", error.message);
        error.with_hint(format!(
            "pay it: aitbc client pay {id} --amount {amount}; or give it up: aitbc client cancel {id}"
        ))
    })
}

/// Prints a job that was just submitted, and paid where it was.
pub fn print_submitted(
    context: &Context,
    title: &str,
    response: &SubmitJobResponse,
    paid: Option<&Paid>,
) -> Result<(), CommandError> {
    let Some(paid) = paid else {
        return print(context, title, response);
    };
    let text = format!(
        "{title}\n  job_id  {}\n  status  {}",
        response.job_id,
        paid.short_text()
    );
    context.result(&paid_json(response, paid), text)?;
    match paid.missing() {
        Some(missing) => context.next(format_args!("aitbc client pay last --amount {missing}")),
        None => context.next("aitbc client result last --wait"),
    }
    Ok(())
}

/// A submitted and paid job as JSON.
pub fn paid_json(response: &SubmitJobResponse, paid: &Paid) -> Value {
    let mut document = submitted_json(response);
    document["payment"] = paid.json();
    for field in ["status", "payment_status"] {
        document[field] = document["payment"][field].clone();
    }
    document
}

/// Says what there is to know about an accepted job.
pub fn warn(context: &Context, response: &SubmitJobResponse) {
    for warning in &response.warnings {
        // In JSON they are part of the document.
        if !context.json {
            context.warn(&warning_name(warning), &warning.message);
        }
    }
}

/// Prints a job that was just submitted.
pub fn print(
    context: &Context,
    title: &str,
    response: &SubmitJobResponse,
) -> Result<(), CommandError> {
    let state = job_text::submitted_state(response);
    let text = format!("{title}\n  job_id  {}\n  status  {state}", response.job_id);
    context.result(&submitted_json(response), text)?;
    if response.status() == JobStatus::Pending {
        let amount = sensible_amount(response);
        context.next(format_args!("aitbc client pay last --amount {amount}"));
    } else {
        context.next("aitbc client result last --wait");
    }
    Ok(())
}

/// What to propose to a payer: what the owner waits for; else ten minutes of the cheapest miner, where one is known by the 10 s
/// that the job lacks. What is not used returns.
fn sensible_amount(response: &SubmitJobResponse) -> MicroAit {
    if response.least_funding_micro_ait > 0 {
        let missing = response.missing_micro_ait;
        return MicroAit(missing.unwrap_or(response.least_funding_micro_ait));
    }
    let ten_minutes = response.missing_micro_ait.map(|ten_seconds| {
        let exact = ten_seconds.saturating_mul(TEN_MINUTES);
        let digit = 10u64.pow(exact.max(1).ilog10());
        MicroAit(exact.div_ceil(digit).saturating_mul(digit))
    });
    ten_minutes.unwrap_or(WITHOUT_A_PRICE)
}

/// A submitted job as JSON.
pub fn submitted_json(response: &SubmitJobResponse) -> Value {
    let mut document = json!({
        "job_id": response.job_id,
        "status": enum_value!(JobStatus, "JOB_STATUS_", response.status),
        "payment_status": enum_value!(PaymentStatus, "PAYMENT_STATUS_", response.payment_status),
        "queue_position": response.queue_position,
        "matching_miners": response.matching_miners,
        "created_at": time(response.created_at.as_ref()),
        "deadline": time(response.deadline.as_ref()),
        "warnings": warnings(&response.warnings),
        "known_miners": response.known_miners,
        "away_miners": response.away_miners,
        "estimated_start_seconds": seconds(response.estimated_start.as_ref()),
        "job_ref": hash_or_null(&response.job_ref),
    });
    if let Some(missing) = response.missing_micro_ait {
        document["missing_ait"] = ait(missing);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        assert_eq!(job_type("embedding").unwrap(), JobType::Embedding);
        let error = job_type("inferense").unwrap_err();
        assert!(error.hint.unwrap().contains("inference"));
        assert_eq!(
            (
                vram("24").unwrap(),
                vram("24GiB").unwrap(),
                vram("24 GiB").unwrap()
            ),
            (24, 24, 24)
        );
        for bad in ["", "-1", "NaN", "+5", "1.5", "4097", "99999999999", "GiB"] {
            assert!(vram(bad).unwrap_err().hint.is_some(), "{bad}");
        }
        assert_eq!(request_id("a b").unwrap(), "a b");
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(request_id(bad).unwrap_err().hint.is_some());
        }
    }

    #[test]
    fn a_payer_is_proposed_what_makes_sense() {
        let proposed = |missing_micro_ait, least_funding_micro_ait| {
            sensible_amount(&SubmitJobResponse {
                missing_micro_ait,
                least_funding_micro_ait,
                ..Default::default()
            })
        };
        // 0.5 AIT an hour: 10 s are 0.001389 AIT, ten minutes a little over 0.083 AIT.
        assert_eq!(proposed(Some(1_389), 0), MicroAit(90_000));
        assert_eq!(proposed(Some(7_000_000), 7_000_000), MicroAit(7_000_000));
        assert_eq!(proposed(None, 0), WITHOUT_A_PRICE);
        let part = |pay, least| check_part(Some(MicroAit(pay)), Some(MicroAit(least)));
        assert!(part(625_000, 10_000_000).is_ok());
        let refused = part(624_999, 10_000_000).unwrap_err();
        assert!(refused.hint.unwrap().contains("at least 0.625 AIT"));
    }

    #[test]
    fn a_submission_has_its_documented_fields_in_order() {
        let response = SubmitJobResponse {
            job_id: "job_x".into(),
            status: 3,
            payment_status: 1,
            queue_position: Some(1),
            matching_miners: 1,
            ..Default::default()
        };
        let text = submitted_json(&response).to_string();
        let beginning = r#"{"job_id":"job_x","status":"queued","payment_status":"unfunded","queue_position":1,"matching_miners":1,"created_at":null,"deadline":null,"warnings":[]"#;
        assert!(text.starts_with(beginning), "{text}");
    }
}
