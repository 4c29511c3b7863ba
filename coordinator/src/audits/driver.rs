//! The auditors' thread, and what they see and do: the store, the two writers, the market's book.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::market::reputation::BACKED_DAYS;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use tokio_util::sync::CancellationToken;

use super::auditor::Auditor;
use super::figures::{Event, Figures};
use super::network::Network;
use crate::engine::command::{Command as ToEngine, Reply as FromEngine};
use crate::engine::handle::EngineHandle;
use crate::ledger::command::{Command as ToLedger, Reply as FromLedger};
use crate::ledger::driver::LedgerHandle;
use crate::market::SharedBook;
use crate::store::Store;

/// How often there is a look.
const TICK: Duration = Duration::from_millis(500);
/// The first and the longest pause after something fails.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// This coordinator.
pub struct Coordinator {
    /// Where jobs, records and audits are.
    pub store: Arc<dyn Store>,
    /// Runs jobs again.
    pub engine: EngineHandle,
    /// Takes their locks, and what is found.
    pub ledger: LedgerHandle,
    /// Knows reputations.
    pub book: Arc<SharedBook>,
    /// What became of audits.
    pub figures: Arc<Figures>,
}

impl Network for Coordinator {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn now_ms(&self) -> u64 {
        self.engine.now_ms()
    }

    fn random(&mut self) -> [u8; 32] {
        random_bytes()
    }

    fn engine(&mut self, command: ToEngine) -> Result<FromEngine, ApiError> {
        self.engine.blocking_call(command)
    }

    fn ledger(&mut self, command: ToLedger) -> Result<FromLedger, ApiError> {
        self.ledger.blocking_call(command)
    }

    fn reputation_ppm(&self, miner: &PublicKey, day: u32) -> u32 {
        self.book.read().reputation(miner, day).ppm
    }

    fn fees(&self, payer: &Address, today: u32) -> u64 {
        let kept = self.book.read();
        let days = kept.book.reputations.payer(payer).iter();
        days.filter(|day| day.day.saturating_add(BACKED_DAYS) > today)
            .map(|day| day.fees)
            .sum()
    }

    fn count(&self, event: Event) {
        self.figures.count(event);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        tracing::info!("{what}");
    }
}

/// Audits until shutdown, on a thread that may block. Must be called within the runtime.
pub fn start(mut auditor: Auditor, mut coordinator: Coordinator, shutdown: CancellationToken) {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut pause = PAUSE.0;
        while !shutdown.is_cancelled() {
            let wait = match auditor.step(&mut coordinator) {
                Ok(more) => {
                    pause = PAUSE.0;
                    if more { Duration::ZERO } else { TICK }
                }
                Err(error) => {
                    tracing::warn!(error = %error.message, "audits wait");
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE.1);
                    wait
                }
            };
            // An error says that the time is up.
            let _waited = runtime.block_on(tokio::time::timeout(wait, shutdown.cancelled()));
        }
    });
}
