//! Waiting for a job within one call: for so long, until the client gives up, with word of its progress.

use std::time::Duration;

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::verify::{AttemptStart, Trust};
use aitbc_proto::v1::{AttemptStarted, Job};
use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::commands::client::follow::{Followed, Target, Watcher, follow};
use crate::commands::client::job_text;
use crate::interrupt::{Interrupt, interrupted};

/// Messages of progress that wait to be sent; what comes meanwhile is left out.
const MOST_WAITING: usize = 16;
/// Bytes of output between two messages.
const OUTPUT_STEP: u64 = 4_096;

/// One call, and the end of the server.
#[derive(Debug, Clone)]
pub struct Call {
    /// What the client said of it.
    pub request: RequestContext<RoleServer>,
    /// The client is gone, or the server is asked to end.
    pub closing: CancellationToken,
}

impl Call {
    /// Whether the client, which is still there, wants no answer any more.
    pub fn is_given_up(&self) -> bool {
        self.request.ct.is_cancelled() && !self.closing.is_cancelled()
    }

    /// Tells the client how far it is, where it asked for that.
    async fn tell(&self, count: f64, message: String) {
        let Some(token) = self.request.meta.get_progress_token() else {
            return;
        };
        let progress = ProgressNotificationParam::new(token, count).with_message(message);
        let _gone = self.request.peer.notify_progress(progress).await;
    }
}

/// How the waiting ended.
#[derive(Debug)]
pub enum Waited {
    /// With the job's end.
    Ended(Followed),
    /// It takes longer.
    NotYet,
    /// The client wants no answer any more.
    GivenUp,
}

/// Waits for a job's end.
pub async fn wait(
    connection: &Connection,
    (job_id, trust): (&str, Trust),
    within: Duration,
    call: &Call,
) -> Result<Waited, CommandError> {
    // First of all, so that the client knows the job whatever becomes of the call.
    call.tell(0.0, format!("waiting for {job_id}")).await;
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    let target = Target {
        job_id: job_id.to_owned(),
        trust,
        interrupt: Interrupt::listen(false),
    };
    let mut reporter = Reporter {
        sender,
        shown: String::new(),
        told: 0,
    };
    tokio::select! {
        // The client's leaving ends its calls' tokens too: it is looked at first.
        biased;
        () = call.closing.cancelled() => {
            let hint = format!("it is fetched with: aitbc client result {job_id} --wait");
            Err(interrupted(format!("the server ends; {job_id} goes on")).with_hint(hint))
        }
        () = call.request.ct.cancelled() => Ok(Waited::GivenUp),
        followed = follow(connection, target, &mut reporter) => followed.map(Waited::Ended),
        () = forward(receiver, call) => Ok(Waited::NotYet),
        () = tokio::time::sleep(within) => Ok(Waited::NotYet),
    }
}

/// Sends messages of progress where the client asked for them; never ends.
async fn forward(mut messages: mpsc::Receiver<String>, call: &Call) {
    let mut count = 0.0;
    while let Some(message) = messages.recv().await {
        count += 1.0;
        call.tell(count, message).await;
    }
    std::future::pending::<()>().await;
}

struct Reporter {
    sender: mpsc::Sender<String>,
    shown: String,
    /// Bytes of output that were told.
    told: u64,
}

impl Reporter {
    fn tell(&self, message: String) {
        let _left_out = self.sender.try_send(message);
    }
}

impl Watcher for Reporter {
    fn job(&mut self, job: &Job) -> Result<(), CommandError> {
        let state = format!("{}: {}", job.job_id, job_text::state(job));
        if state != self.shown {
            self.tell(state.clone());
            self.shown = state;
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        start: AttemptStart,
        attempt: &AttemptStarted,
    ) -> Result<(), CommandError> {
        if start == AttemptStart::New {
            self.told = 0;
            self.tell(format!("attempt {} begins", attempt.attempt));
        }
        Ok(())
    }

    fn output(&mut self, _attempt: u32, offset: u64, data: &[u8]) -> Result<(), CommandError> {
        let so_far = offset + data.len() as u64;
        if so_far >= self.told + OUTPUT_STEP || (self.told == 0 && so_far > 0) {
            self.told = so_far;
            self.tell(format!("{so_far} bytes of output"));
        }
        Ok(())
    }

    fn away(&mut self, error: &CommandError) {
        self.tell(format!(
            "the coordinator is away, the job goes on: {}",
            error.message
        ));
    }

    fn back(&mut self) {
        self.tell("the coordinator is back".to_owned());
    }
}
