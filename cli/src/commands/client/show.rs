//! Following a job and showing it: on a terminal as it comes, into a pipe once it is accepted, or as lines of JSON.

use std::time::Duration;

use aitbc_common::job_input::JobType;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{is_terminal_stdout, print_line};
use aitbc_proto::v1::{Job, PaymentStatus};

use super::delivery::{Delivery, print_delivery};
use super::follow::{Followed, Target, Watcher, follow};
use super::ledger_proof::{self, Logged};
use super::payment::job_payment;
use super::proof_text::{proof_line, result_json};
use super::status::{get, id_of};
use super::watchers::{JsonLines, Live, Silent};
use super::{job_text, submission::Submitted};
use crate::commands::agent::watch;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::clean_err;
use crate::values::JobSelector;

/// How often a job is looked at until it knows what the ledger recorded, and the time between; usually once.
const LOOKS: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much is said beside the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// The output alone.
    OutputOnly,
    /// The job's place in the queue before, its proof afterwards; on stderr.
    Everything,
}

/// Follows a job that was just submitted to its end and shows its output. Exit code 6 where it ends without a result.
pub async fn submitted(
    context: &Context,
    connection: &Connection,
    submitted: Submitted,
    interrupt: Interrupt,
    telling: Telling,
) -> Result<Delivery, CommandError> {
    let spec = submitted.trust.spec.as_ref();
    if spec.is_some_and(|spec| spec.job_type == JobType::Agent) {
        return watch::submitted(context, connection, submitted, interrupt, None).await;
    }
    let target = Target {
        job_id: submitted.response.job_id,
        trust: submitted.trust,
        interrupt,
    };
    if context.json {
        let followed = follow(connection, target, &mut JsonLines::new(true)).await?;
        let mut delivery = completed(followed)?;
        let logged = settlement(context, connection, &mut delivery).await?;
        print_line(result_event(&delivery, logged.as_ref()))?;
        return Ok(delivery);
    }
    let mut delivery = if is_terminal_stdout() {
        let mut live = Live::new(telling == Telling::Everything);
        let followed = follow(connection, target, &mut live).await;
        live.finish()?;
        let delivery = completed(followed?)?;
        if delivery.verified.document.embeddings.is_some() {
            print_delivery(&delivery)?;
        }
        delivery
    } else {
        let watcher: &mut (dyn Watcher + Send) = &mut Silent;
        let delivery = completed(follow(connection, target, watcher).await?)?;
        print_delivery(&delivery)?;
        delivery
    };
    if telling == Telling::Everything {
        let logged = settlement(context, connection, &mut delivery).await?;
        context.note(clean_err(&proof_line(&delivery)));
        tell_payment(context, &delivery, logged.as_ref());
    }
    Ok(delivery)
}

/// Where a receipt stands in the ledger, and what became of the money: beneath the line of the proof.
pub fn tell_payment(context: &Context, delivery: &Delivery, logged: Option<&Logged>) {
    if let Some(logged) = logged {
        context.note(format_args!("      {}", logged.line()));
    }
    if let Some(payment) = job_payment(&delivery.job) {
        context.note(format_args!("payment {payment}"));
    }
}

/// Waits some seconds for the record that pays for the work, and proves it; `None` for a job that nobody paid. Ctrl-C ends the
/// waiting: the job is done.
pub async fn settlement(
    context: &Context,
    connection: &Connection,
    delivery: &mut Delivery,
) -> Result<Option<Logged>, CommandError> {
    let is_paid = |job: &Job| {
        let status = job.payment_status();
        matches!(status, PaymentStatus::Settling | PaymentStatus::Settled)
    };
    if !is_paid(&delivery.job) {
        return Ok(None);
    }
    let mut interrupt = Interrupt::listen(false);
    let settled = async {
        let logged = ledger_proof::logged(context, connection, delivery).await?;
        if logged.is_none() {
            return Ok(None);
        }
        // What was paid in all is known now; it has to be what the ledger says.
        let job = JobSelector::Id(id_of(&delivery.job)?);
        for _ in 0..LOOKS {
            delivery.job = get(connection, &job).await?;
            if delivery.job.payment_status() != PaymentStatus::Settling {
                return ledger_proof::logged(context, connection, delivery).await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(logged)
    };
    tokio::select! {
        settled = settled => settled,
        () = interrupt.received() => Ok(None),
    }
}

/// The delivery, or the error of a job that ended without one.
pub fn completed(followed: Followed) -> Result<Delivery, CommandError> {
    match followed {
        Followed::Completed(delivery) => Ok(*delivery),
        Followed::Ended(job) => Err(job_text::no_result(&job)),
    }
}

/// The last line of a stream.
fn result_event(delivery: &Delivery, logged: Option<&Logged>) -> String {
    let document = result_json(delivery, logged);
    format!(
        "{{\"event\":\"result\",{}",
        document.trim_start_matches('{')
    )
}
