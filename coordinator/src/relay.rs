//! Carries what the jobs decided to the ledger, and what the ledger recorded to the jobs. The outboxes in the store are the
//! truth: each direction reads on from what the other side has applied, so that a crash, a recovery of either side or a
//! repeated message changes nothing.

use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::command::{Command as ToJobs, Reply as FromJobs};
use crate::engine::handle::EngineHandle;
use crate::ledger::command::{Command as ToLedger, Reply as FromLedger};
use crate::ledger::driver::LedgerHandle;
use crate::payments::{Notice, Order, outbox, rows};
use crate::sessions::stored::blocking;
use crate::store::{Family, Store, StoreError, keys::prefix_end, ledger_keys};

/// Rows of the jobs' outbox that are read at once; each has at most 256 orders.
const ORDER_ROWS: usize = 4;
/// Notices that are read at once.
const NOTICES: usize = 512;
/// An outbox is looked at this often, whether or not something was announced.
const TICK: Duration = Duration::from_secs(1);
/// The first and the longest pause after a side that recovers, or a store that cannot be read.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A direction that fails goes on later and later, and says each cause once.
#[derive(Debug, Default)]
struct Trouble {
    cause: Option<String>,
    pause: Duration,
}

/// Both sides, and how they announce that there is something to carry.
#[derive(Clone)]
pub struct Relay {
    /// The jobs.
    pub engine: EngineHandle,
    /// The ledger.
    pub ledger: LedgerHandle,
    /// Changes when there are orders.
    pub orders: watch::Receiver<u64>,
    /// Ends both directions.
    pub shutdown: CancellationToken,
}

impl Relay {
    /// Carries in both directions until shutdown.
    pub fn start(self) {
        tokio::spawn(self.clone().carry_orders());
        tokio::spawn(self.carry_notices());
    }

    async fn carry_orders(mut self) {
        let mut due = self.ledger.signals().expiry_due.subscribe();
        let mut trouble = Trouble::default();
        while !self.shutdown.is_cancelled() {
            let drained = self.drain_orders(&mut due).await;
            if self
                .waits(&mut trouble, "orders to the ledger", drained)
                .await
            {
                continue;
            }
            tokio::select! {
                _ = self.orders.changed() => {}
                _ = due.changed() => {}
                () = tokio::time::sleep(TICK) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    async fn carry_notices(self) {
        let mut announced = self.ledger.signals().notices.subscribe();
        let mut trouble = Trouble::default();
        while !self.shutdown.is_cancelled() {
            let drained = self.drain_notices().await;
            if self
                .waits(&mut trouble, "notices to the jobs", drained)
                .await
            {
                continue;
            }
            tokio::select! {
                _ = announced.changed() => {}
                () = tokio::time::sleep(TICK) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// After a failure waits, and says what for; whether there was one.
    async fn waits(
        &self,
        trouble: &mut Trouble,
        what: &str,
        drained: Result<(), ApiError>,
    ) -> bool {
        let Err(error) = drained else {
            if trouble.end() {
                tracing::info!("{what} go on");
            }
            return false;
        };
        // A side that recovers says so itself.
        let passes = error.reason == ErrorReason::Unavailable;
        let (pause, is_new) = trouble.next(&error.message);
        if is_new && !passes {
            tracing::error!(
                error = %error.message,
                hint = "payments wait; see the errors before this one, and keep the data folder",
                "{what} wait"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.cancelled() => {}
        }
        true
    }

    /// Carries all orders there are; then what came to its end before the first look may return to its payers, where no job
    /// may still be paid from it.
    async fn drain_orders(&self, due: &mut watch::Receiver<u64>) -> Result<(), ApiError> {
        let due_ms = *due.borrow_and_update();
        // Asked before the orders are read: what is decided by then is among them.
        let until_ms = self.expirable(due_ms).await?;
        let mut applied = self.tell_ledger(1, Vec::new()).await?;
        loop {
            let (store, from) = (self.engine.store(), applied + 1);
            let orders = blocking(move || outbox::read(&store, from, ORDER_ROWS)).await?;
            let Some((first, _)) = orders.first() else {
                break;
            };
            let (first, orders) = (*first, orders.into_iter().map(|(_, order)| order).collect());
            let now = self.tell_ledger(first, orders).await?;
            if now == applied {
                return Err(stuck("the ledger", first));
            }
            applied = now;
            self.engine
                .call(ToJobs::TrimOrders { through: applied })
                .await?;
        }
        if until_ms > 0 {
            self.ledger.call(ToLedger::ExpireUntil { until_ms }).await?;
        }
        Ok(())
    }

    async fn expirable(&self, until_ms: u64) -> Result<u64, ApiError> {
        if until_ms == 0 {
            return Ok(0);
        }
        match self.engine.call(ToJobs::GetExpirable { until_ms }).await? {
            FromJobs::Expirable(until_ms) => Ok(until_ms),
            _ => Err(ApiError::new(
                ErrorReason::Internal,
                "the jobs do not say what may expire",
            )),
        }
    }

    async fn tell_ledger(&self, first_sequence: u64, orders: Vec<Order>) -> Result<u64, ApiError> {
        let command = ToLedger::Orders {
            first_sequence,
            orders,
        };
        match self.ledger.call(command).await? {
            FromLedger::Applied(through) => Ok(through),
            _ => Err(stuck("the ledger", first_sequence)),
        }
    }

    async fn drain_notices(&self) -> Result<(), ApiError> {
        let mut applied = self.tell_jobs(1, Vec::new()).await?;
        loop {
            let (store, from) = (self.ledger.store(), applied + 1);
            let notices = blocking(move || read_notices(&*store, from)).await?;
            if notices.is_empty() {
                return Ok(());
            }
            let now = self.tell_jobs(from, notices).await?;
            if now == applied {
                return Err(stuck("the jobs", from));
            }
            applied = now;
            self.ledger
                .call(ToLedger::TrimNotices { through: applied })
                .await?;
        }
    }

    async fn tell_jobs(&self, first: u64, notices: Vec<Notice>) -> Result<u64, ApiError> {
        match self.engine.call(ToJobs::Notices { first, notices }).await? {
            FromJobs::NoticesApplied(through) => Ok(through),
            _ => Err(stuck("the jobs", first)),
        }
    }
}

impl Trouble {
    /// The pause before the next try, and whether this cause is a new one.
    fn next(&mut self, cause: &str) -> (Duration, bool) {
        self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        let is_new = self.cause.as_deref() != Some(cause);
        self.cause = Some(cause.to_owned());
        (self.pause, is_new)
    }

    /// It works; whether it did not before.
    fn end(&mut self) -> bool {
        self.pause = Duration::ZERO;
        self.cause.take().is_some()
    }
}

/// Notices from this number on, without gaps.
fn read_notices(store: &dyn Store, from: u64) -> Result<Vec<Notice>, StoreError> {
    let (first, end) = (
        ledger_keys::notice(from),
        prefix_end(&ledger_keys::notices()),
    );
    let page = store.scan(Family::Active, &first..&end, NOTICES)?;
    let mut notices = Vec::with_capacity(page.rows.len());
    for ((key, row), number) in page.rows.into_iter().zip(from..) {
        if ledger_keys::number(&key) != Some(number) {
            return Err(StoreError::Corrupt(format!("notice {number} is missing")));
        }
        notices.push(rows::read_notice(row)?);
    }
    Ok(notices)
}

fn stuck(side: &str, number: u64) -> ApiError {
    let message = format!("{side} did not take what was told from number {number} on");
    ApiError::new(ErrorReason::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_carried_is_said_once_and_tried_less_and_less() {
        let mut trouble = Trouble::default();
        assert!(!trouble.end(), "nothing was wrong");
        let tries: Vec<_> = (0..20)
            .map(|_| trouble.next("notice 7 is missing"))
            .collect();
        assert_eq!(tries[0], (PAUSE.0, true));
        assert!(tries[1..].iter().all(|(_, is_new)| !is_new));
        assert_eq!(tries[19].0, PAUSE.1);
        assert!(trouble.next("the disk is gone").1, "another cause");
        assert!(trouble.end());
        assert_eq!(trouble.next("notice 7 is missing"), (PAUSE.0, true));
    }
}
