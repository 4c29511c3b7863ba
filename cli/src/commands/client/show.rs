//! Following a job and showing it: on a terminal as it comes, into a pipe once it is accepted, or as lines of JSON.

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{is_terminal_stdout, print_line};

use super::delivery::{Delivery, print_delivery};
use super::follow::{Followed, Target, Watcher, follow};
use super::proof_text::{proof_line, result_json};
use super::watchers::{JsonLines, Live, Silent};
use super::{job_text, submission::Submitted};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::clean_err;

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
    let target = Target {
        job_id: submitted.response.job_id,
        trust: submitted.trust,
        interrupt,
    };
    if context.json {
        let delivery = completed(follow(connection, target, &mut JsonLines::new(true)).await?)?;
        print_line(result_event(&delivery))?;
        return Ok(delivery);
    }
    let delivery = if is_terminal_stdout() {
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
        context.note(clean_err(&proof_line(&delivery)));
    }
    Ok(delivery)
}

/// The delivery, or the error of a job that ended without one.
pub fn completed(followed: Followed) -> Result<Delivery, CommandError> {
    match followed {
        Followed::Completed(delivery) => Ok(*delivery),
        Followed::Ended(job) => Err(job_text::no_result(&job)),
    }
}

/// The last line of a stream.
fn result_event(delivery: &Delivery) -> String {
    let document = result_json(delivery, None);
    format!(
        "{{\"event\":\"result\",{}",
        document.trim_start_matches('{')
    )
}
