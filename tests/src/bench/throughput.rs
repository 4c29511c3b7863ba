//! Closed loops of submit, dispatch, result, notification.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aitbc_common::token::Scope;
use anyhow::{Context, ensure};
use serde::Serialize;

use super::client::Client;
use super::coordinator::Coordinator;
use super::latency::{Latencies, Spread, Summary};
use super::miner::{Miner, Origin};
use super::payer::{GIVEN, Payer};
use super::process::Usage;
use super::{Settings, runtime};

/// Jobs before the measurement warm caches up for this long.
const WARM_UP: Duration = Duration::from_secs(1);
/// No payment takes longer to be settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at what is locked.
const LOOK: Duration = Duration::from_millis(5);

/// One measurement of one level, on a coordinator of its own.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Loops at once.
    pub loops: usize,
    /// Jobs that ended in the measured time.
    pub jobs: usize,
    /// Jobs per second.
    pub jobs_per_s: f64,
    /// From the submission to the assignment's arrival at the miner.
    pub dispatch: Summary,
    /// From the submission to the notification with the result.
    pub result: Summary,
    /// Synced commits per job, over the coordinator's whole life as for all counters.
    pub commits_per_job: f64,
    /// Keys written or deleted per job.
    pub operations_per_job: f64,
    /// Bytes of keys and values committed per job.
    pub bytes_per_job: f64,
    /// gRPC messages that the coordinator received, per job.
    pub messages_in_per_job: f64,
    /// gRPC messages that it sent, per job.
    pub messages_out_per_job: f64,
    /// Processor time of the coordinator per job, in microseconds.
    pub processor_us_per_job: f64,
    /// The same by name of thread.
    pub threads_us_per_job: BTreeMap<String, f64>,
    /// Processor time of the load generator per job, in microseconds.
    pub generator_us_per_job: f64,
    /// Resident memory of the coordinator at the end, in MiB.
    pub resident_mib: f64,
    /// Where the jobs were paid: from the end of the measured time until every payment was settled, in milliseconds.
    pub settled_after_ms: Option<f64>,
}

/// All measurements of one level.
#[derive(Debug, Clone, Serialize)]
pub struct Level {
    /// Loops at once.
    pub loops: usize,
    /// Jobs per second.
    pub jobs_per_s: Spread,
    /// Medians over the repetitions of what the runs have.
    pub dispatch_p50_ms: f64,
    /// 99 in 100 dispatches.
    pub dispatch_p99_ms: f64,
    /// Half of the results.
    pub result_p50_ms: f64,
    /// 99 in 100.
    pub result_p99_ms: f64,
    /// 999 in 1,000.
    pub result_p999_ms: f64,
    /// Synced commits per job.
    pub commits_per_job: f64,
    /// Messages per job, both directions.
    pub messages_per_job: f64,
    /// Processor time of the coordinator per job, in microseconds.
    pub processor_us_per_job: f64,
    /// Resident memory at the end, in MiB.
    pub resident_mib: f64,
    /// The repetitions.
    pub runs: Vec<Run>,
}

impl Level {
    /// Of the runs with this many loops.
    #[must_use]
    pub fn of(loops: usize, runs: &[Run]) -> Self {
        let runs: Vec<Run> = runs
            .iter()
            .filter(|run| run.loops == loops)
            .cloned()
            .collect();
        let median = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value)).median;
        Self {
            loops,
            jobs_per_s: Spread::of(runs.iter().map(|run| run.jobs_per_s)),
            dispatch_p50_ms: median(|run| run.dispatch.p50_ms),
            dispatch_p99_ms: median(|run| run.dispatch.p99_ms),
            result_p50_ms: median(|run| run.result.p50_ms),
            result_p99_ms: median(|run| run.result.p99_ms),
            result_p999_ms: median(|run| run.result.p999_ms),
            commits_per_job: median(|run| run.commits_per_job),
            messages_per_job: median(|run| run.messages_in_per_job + run.messages_out_per_job),
            processor_us_per_job: median(|run| run.processor_us_per_job),
            resident_mib: median(|run| run.resident_mib),
            runs,
        }
    }
}

/// Measures one level on a new coordinator; on request each job is paid by a wallet of its loop.
pub fn run(settings: &Settings, folder: &Path, loops: usize, paid: bool) -> anyhow::Result<Run> {
    let coordinator = Coordinator::start(folder)?;
    let runtime = runtime(settings)?;
    let load = runtime.block_on(load(settings, &coordinator, loops, paid));
    drop(runtime);
    let load = load.with_context(|| format!("the coordinator said: {}", coordinator.log()))?;
    let counters = coordinator.stop()?;
    let [before, after] = &load.usage;
    let [own_before, own_after] = &load.own_usage;
    let jobs = load.result.count;
    let per_job = |later: Duration, earlier: Duration| {
        microseconds(later.saturating_sub(earlier)) / real(jobs.max(1))
    };
    let threads = after.threads.iter().map(|(name, later)| {
        let earlier = before.threads.get(name).copied().unwrap_or_default();
        (name.clone(), per_job(*later, earlier))
    });
    let all_jobs = load.all_jobs;
    Ok(Run {
        loops,
        jobs,
        jobs_per_s: real(jobs) / load.seconds,
        dispatch: load.dispatch,
        result: load.result,
        commits_per_job: counters.per_job("commits", all_jobs),
        operations_per_job: counters.per_job("operations", all_jobs),
        bytes_per_job: counters.per_job("bytes", all_jobs),
        messages_in_per_job: counters.per_job("messages_in", all_jobs),
        messages_out_per_job: counters.per_job("messages_out", all_jobs),
        processor_us_per_job: per_job(after.processor, before.processor),
        threads_us_per_job: threads.collect(),
        generator_us_per_job: per_job(own_after.processor, own_before.processor),
        resident_mib: mebibytes(after.resident_kib),
        settled_after_ms: load
            .settled_after
            .map(|after| microseconds(after) / 1_000.0),
    })
}

struct Load {
    seconds: f64,
    dispatch: Summary,
    result: Summary,
    /// Jobs before, within and after the measured time.
    all_jobs: u64,
    settled_after: Option<Duration>,
    usage: [Usage; 2],
    own_usage: [Usage; 2],
}

async fn load(
    settings: &Settings,
    coordinator: &Coordinator,
    loops: usize,
    paid: bool,
) -> anyhow::Result<Load> {
    let origin = Origin::now();
    let mut miners = Vec::new();
    for _ in 0..settings.miners {
        let connection = coordinator.connect(Scope::Miner).await?;
        miners.push(Miner::open(connection, settings.slots, origin).await?);
    }
    let connection = coordinator.connect(Scope::Client).await?;
    let client = Client::start(&connection, origin).await?;
    let mut payers = Vec::with_capacity(loops);
    for _ in 0..loops {
        payers.push(match paid {
            true => Some(Payer::new(&connection).await?),
            false => None,
        });
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(settings.seconds);
    let looping = client.loops(payers, begin, end);
    let measuring = async {
        tokio::time::sleep_until(begin.into()).await;
        let before = [coordinator.usage()?, Usage::own()?];
        let warm: usize = miners
            .iter()
            .map(|miner| miner.take_dispatch().summary().count)
            .sum();
        tokio::time::sleep_until(end.into()).await;
        let after = [coordinator.usage()?, Usage::own()?];
        Ok::<_, anyhow::Error>((before, after, warm))
    };
    let ((result, payers), (before, after, warm)) = tokio::try_join!(looping, measuring)?;
    let settled_after = match paid {
        true => Some(settled(payers, end).await?),
        false => None,
    };
    let mut dispatch = Latencies::default();
    for miner in &miners {
        dispatch.extend(miner.take_dispatch());
    }
    for miner in miners {
        miner.close().await?;
    }
    let [dispatch, result] = [dispatch.summary(), result.summary()];
    let ([before, own_before], [after, own_after]) = (before, after);
    Ok(Load {
        seconds: (end - begin).as_secs_f64(),
        all_jobs: (warm + dispatch.count) as u64,
        dispatch,
        result,
        settled_after,
        usage: [before, after],
        own_usage: [own_before, own_after],
    })
}

/// Waits until nothing of these wallets is locked any more, and makes sure that each has paid; how long after `end` it was.
async fn settled(payers: Vec<Payer>, end: Instant) -> anyhow::Result<Duration> {
    for mut payer in payers {
        let account = loop {
            let account = payer.account().await?;
            if account.locked_micro_ait == 0 {
                break account;
            }
            ensure!(
                end.elapsed() < SETTLED_WITHIN,
                "payments are not settled {SETTLED_WITHIN:?} after the last job"
            );
            tokio::time::sleep(LOOK).await;
        };
        ensure!(account.available_micro_ait < GIVEN, "a wallet paid nothing");
    }
    Ok(end.elapsed())
}

/// A duration in microseconds.
#[must_use]
pub fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A count as a number that can be divided.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn real(count: usize) -> f64 {
    count as f64
}

/// KiB in MiB.
#[must_use]
pub fn mebibytes(kib: u64) -> f64 {
    real(usize::try_from(kib).unwrap_or(usize::MAX)) / 1_024.0
}
