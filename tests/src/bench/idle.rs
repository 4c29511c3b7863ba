//! What sessions cost that have nothing to do, and a coordinator without any.

use std::path::Path;
use std::time::Duration;

use aitbc_common::token::Scope;
use serde::Serialize;
use tokio::task::JoinSet;

use super::coordinator::Coordinator;
use super::miner::{Miner, Origin};
use super::process::Usage;
use super::throughput::{mebibytes, real};
use super::{Settings, runtime};

/// Sessions that are opened at once.
const OPENING: usize = 16;
/// Time for what opening leaves behind.
const SETTLE: Duration = Duration::from_secs(5);

/// Idle sessions, a connection each.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// How many.
    pub sessions: usize,
    /// How long they were observed, in seconds.
    pub seconds: u64,
    /// Resident memory without sessions, in MiB.
    pub empty_mib: f64,
    /// Processor time without sessions, in percent of a core.
    pub empty_percent: f64,
    /// Resident memory with them, in MiB.
    pub resident_mib: f64,
    /// What one adds, in KiB.
    pub kib_per_session: f64,
    /// Processor time with them, in percent of a core.
    pub percent: f64,
    /// Time to open all of them, in seconds.
    pub opened_in_s: f64,
}

/// Opens the sessions on a new coordinator and watches it.
pub fn run(settings: &Settings, folder: &Path) -> anyhow::Result<Idle> {
    let coordinator = Coordinator::start(folder)?;
    let runtime = runtime(settings)?;
    let idle = runtime.block_on(observe(settings, &coordinator))?;
    drop(runtime);
    coordinator.stop()?;
    Ok(idle)
}

async fn observe(settings: &Settings, coordinator: &Coordinator) -> anyhow::Result<Idle> {
    let time = Duration::from_secs(settings.idle_seconds);
    tokio::time::sleep(SETTLE).await;
    let (empty, empty_percent) = watch(coordinator, time).await?;
    let start = std::time::Instant::now();
    let mut opening = JoinSet::new();
    let mut miners = Vec::with_capacity(settings.idle);
    for _ in 0..settings.idle {
        if opening.len() == OPENING
            && let Some(opened) = opening.join_next().await
        {
            miners.push(opened??);
        }
        let connection = coordinator.connect(Scope::Miner).await?;
        opening.spawn(Miner::open(connection, 1, Origin::now()));
    }
    while let Some(opened) = opening.join_next().await {
        miners.push(opened??);
    }
    let opened_in_s = start.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let (full, percent) = watch(coordinator, time).await?;
    let mut closing = JoinSet::new();
    miners.into_iter().for_each(|miner| {
        closing.spawn(miner.close());
    });
    while let Some(closed) = closing.join_next().await {
        closed??;
    }
    let [empty_mib, resident_mib] = [empty, full].map(|usage| mebibytes(usage.resident_kib));
    Ok(Idle {
        sessions: settings.idle,
        seconds: settings.idle_seconds,
        empty_mib,
        empty_percent,
        resident_mib,
        kib_per_session: (resident_mib - empty_mib) * 1_024.0 / real(settings.idle.max(1)),
        percent,
        opened_in_s,
    })
}

async fn watch(coordinator: &Coordinator, time: Duration) -> anyhow::Result<(Usage, f64)> {
    let before = coordinator.usage()?;
    tokio::time::sleep(time).await;
    let after = coordinator.usage()?;
    let busy = after.processor.saturating_sub(before.processor);
    Ok((after, 100.0 * busy.as_secs_f64() / time.as_secs_f64()))
}
