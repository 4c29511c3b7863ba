//! The tools about jobs: submit, result, status, cancel.

use std::sync::Arc;

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_common::verify::Trust;
use aitbc_proto::v1::{PaymentStatus, SubmitJobResponse};
use serde_json::Value;

use super::answer::Answer;
use super::arguments::{self, Ait, Fetch, OneJob, Submit};
use super::outcome::{Part, completed};
use super::spending::{Spending, payer};
use super::waiting::{Call, Waited, wait};
use crate::commands::client::acknowledge::acknowledge;
use crate::commands::client::cancel::cancel;
use crate::commands::client::follow::Followed;
use crate::commands::client::new_job::{self, NewJob};
use crate::commands::client::pay::lock_amount;
use crate::commands::client::status::{get, id_of, is_final};
use crate::commands::client::submission::{self, Submitted, about};
use crate::commands::client::submit::{paid_json, request_id, submitted_json, warn};
use crate::commands::client::{Paid, fetch, job_text, ledger_proof, records, show};
use crate::context::Context;
use crate::output::job::job_json;
use crate::values::{self, JobSelector};

fn new_job(given: &mut Submit) -> Result<(NewJob, Option<MicroAit>), CommandError> {
    let mut job = NewJob::new(
        given.kind.into(),
        new_job::model(&given.model)?,
        given.document()?,
    );
    let price = given.max_price.as_ref();
    job.max_price = price
        .map(|price| price.read(values::price_per_hour))
        .transpose()?;
    if let Some(text) = &given.timeout {
        job.timeout = new_job::timeout(text)?;
    }
    job.request_id = given.request_id.as_deref().map(request_id).transpose()?;
    let pay = given.pay.as_ref().map(|pay: &Ait| pay.read(lock_amount));
    let pay = pay.transpose()?;
    job.hold = pay.is_some();
    Ok((job, pay))
}

/// Submits a job, pays for it, and waits for its result as far as it is to.
pub async fn submit(
    context: &Context,
    spending: Option<&Arc<Spending>>,
    mut given: Submit,
    call: &Call,
) -> Result<Answer, CommandError> {
    let within = arguments::wait(given.wait_seconds)?;
    let limit = arguments::output_limit(given.max_output_bytes)?;
    let (job, pay) = new_job(&mut given)?;
    let connection = context.connect(Scope::Client).await?;
    let payer = payer(spending, &connection, pay)?;
    let (submitted, paid) = match payer {
        None => (submission::submit(context, &connection, &job).await?, None),
        Some(payer) => pay_for(context, &connection, &job, payer).await?,
    };
    warn(context, &submitted.response);
    let Submitted { response, trust } = submitted;
    if !given.wait && !call.is_given_up() {
        return Ok(accepted(&response, paid.as_ref()));
    }
    let part = Part { offset: 0, limit };
    let job_id = response.job_id.clone();
    match wait(&connection, (&job_id, trust), within, call).await? {
        Waited::Ended(followed) => finished(context, &connection, followed, part).await,
        Waited::NotYet => unfinished(&connection, &job_id.parse()?).await,
        Waited::GivenUp => {
            // Nobody will ask for it: neither work nor money is wasted.
            let (document, text) = cancel(&connection, &job_id.parse()?).await?;
            Ok(Answer::new(document, text))
        }
    }
}

/// Submits a job that waits for its pay, and pays. One that cannot be paid is given up.
async fn pay_for(
    context: &Context,
    connection: &Connection,
    job: &NewJob,
    (spending, amount): (&Arc<Spending>, MicroAit),
) -> Result<(Submitted, Option<Paid>), CommandError> {
    let key = job.request_id.as_deref();
    let _turn = spending.turn().await;
    if spending.has_paid(key) {
        return Ok((submission::submit(context, connection, job).await?, None));
    }
    let reservation = spending.reserve(context, connection, amount).await?;
    let submitted = match submission::submit(context, connection, job).await {
        Ok(submitted) => submitted,
        Err(error) => {
            spending.release(reservation);
            return Err(error);
        }
    };
    let response = &submitted.response;
    if response.payment_status() != PaymentStatus::Unfunded {
        // The same request as before: it is paid already.
        spending.release(reservation);
        spending.note_paid(key);
        return Ok((submitted, None));
    }
    let selector: JobSelector = response.job_id.parse()?;
    let JobSelector::Id(id) = selector else {
        spending.release(reservation);
        return Err(CommandError::usage("the new job has no id"));
    };
    match spending
        .pay(context, connection, id, (reservation, amount))
        .await
    {
        Ok(paid) => {
            spending.note_paid(key);
            Ok((submitted, Some(paid)))
        }
        Err(error) => {
            let given_up = cancel(connection, &selector).await.is_ok();
            let state = if given_up {
                "is cancelled, and what was locked for it returns"
            } else {
                "waits for its pay; cancel it"
            };
            let message = format!("{}; {id} {state}", error.message);
            Err(CommandError { message, ..error })
        }
    }
}

/// A job that was just accepted.
fn accepted(response: &SubmitJobResponse, paid: Option<&Paid>) -> Answer {
    let state = match paid {
        Some(paid) => paid.short_text(),
        None => job_text::submitted_state(response),
    };
    let document: Value = match paid {
        Some(paid) => paid_json(response, paid),
        None => submitted_json(response),
    };
    Answer::new(
        document,
        format!(
            "Job submitted\n  job_id  {}\n  status  {state}",
            response.job_id
        ),
    )
}

/// A job that takes longer than a call waits, as it stands now.
async fn unfinished(
    connection: &Connection,
    selector: &JobSelector,
) -> Result<Answer, CommandError> {
    let job = get(connection, selector).await?;
    let later = format!(
        "it has not ended yet: the tool result with job_id {} waits for it",
        job.job_id
    );
    Ok(Answer::new(job_json(&job), job_text::job_text(&job)).with_text(later))
}

/// What became of a job that was followed to its end.
async fn finished(
    context: &Context,
    connection: &Connection,
    followed: Followed,
    part: Part,
) -> Result<Answer, CommandError> {
    let mut delivery = show::completed(followed)?;
    let logged = show::settlement(context, connection, &mut delivery).await?;
    let _kept_there = acknowledge(context, connection, &delivery).await;
    completed(&delivery, logged.as_ref(), part)
}

/// Fetches a job's result, or waits for it.
pub async fn result(context: &Context, given: Fetch, call: &Call) -> Result<Answer, CommandError> {
    let within = arguments::wait(given.wait_seconds)?;
    let part = Part {
        offset: given.output_offset,
        limit: arguments::output_limit(given.max_output_bytes)?,
    };
    let selector: JobSelector = given.job_id.parse()?;
    let connection = context.connect(Scope::Client).await?;
    let job = get(&connection, &selector).await?;
    let id = id_of(&job)?;
    let job_id = id.to_string();
    if !is_final(&job) {
        let trust: Trust = records::trust(context, &connection, id)?;
        return match wait(&connection, (&job_id, trust), within, call).await? {
            Waited::Ended(followed) => finished(context, &connection, followed, part).await,
            Waited::NotYet | Waited::GivenUp => unfinished(&connection, &JobSelector::Id(id)).await,
        };
    }
    let trust = || records::trust(context, &connection, id);
    let delivery = fetch::delivery(&connection, &job_id, trust)
        .await
        .map_err(about(&job_id))?;
    let logged = ledger_proof::logged(context, &connection, &delivery).await?;
    let _kept_there = acknowledge(context, &connection, &delivery).await;
    completed(&delivery, logged.as_ref(), part)
}

/// Where a job stands.
pub async fn status(context: &Context, given: OneJob) -> Result<Answer, CommandError> {
    let selector: JobSelector = given.job_id.parse()?;
    let connection = context.connect(Scope::Read).await?;
    let job = get(&connection, &selector).await?;
    Ok(Answer::new(job_json(&job), job_text::job_text(&job)))
}

/// Stops a job.
pub async fn stop(context: &Context, given: OneJob) -> Result<Answer, CommandError> {
    let selector: JobSelector = given.job_id.parse()?;
    let connection = context.connect(Scope::Client).await?;
    let (document, text) = cancel(&connection, &selector).await?;
    Ok(Answer::new(document, text))
}
