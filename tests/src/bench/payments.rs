//! Payments, each signed, verified and durable, against what verification alone allows.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aitbc_common::hash::Hash;
use aitbc_common::layouts::SignedTransaction;
use aitbc_common::token::Scope;
use anyhow::{Context, ensure};
use bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinSet;

use super::coordinator::Coordinator;
use super::latency::{Latencies, Spread, Summary};
use super::payer::Payer;
use super::process::Usage;
use super::throughput::{microseconds, real};
use super::{Settings, note, runtime};

const WARM_UP: Duration = Duration::from_secs(1);
/// How long signatures are verified for their rate.
const VERIFYING: Duration = Duration::from_secs(1);
/// Different signatures among them.
const SIGNATURES: usize = 256;
/// Loops that share a connection.
const PER_CONNECTION: usize = 16;
/// Transfers signed ahead for each that verification alone would allow; a loop that has none left signs as it goes.
const AHEAD: f64 = 1.25;

/// One measurement, on a coordinator of its own.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Payers at once, each with one transfer in flight.
    pub loops: usize,
    /// Transfers that were answered in the measured time.
    pub payments: usize,
    /// Transfers per second.
    pub payments_per_s: f64,
    /// From sending to the answer, which comes once it is durable.
    pub answered: Summary,
    /// Signatures that one thread verifies per second, just before.
    pub verified_per_s: f64,
    /// How many times faster that is.
    pub verification_over_payments: f64,
    /// Processor time of the coordinator per payment, in microseconds.
    pub processor_us_per_payment: f64,
    /// Processor time of the load generator per payment, in microseconds.
    pub generator_us_per_payment: f64,
}

/// All measurements of one number of loops.
#[derive(Debug, Clone, Serialize)]
pub struct Payments {
    /// Payers at once.
    pub loops: usize,
    /// Transfers per second.
    pub payments_per_s: Spread,
    /// Signatures that one thread verifies per second.
    pub verified_per_s: Spread,
    /// Verifications per payment in the same time, run by run.
    pub verification_over_payments: Spread,
    /// Medians over the repetitions: half of the answers, in milliseconds.
    pub answered_p50_ms: f64,
    /// 99 in 100.
    pub answered_p99_ms: f64,
    /// Processor time of the coordinator per payment, in microseconds.
    pub processor_us_per_payment: f64,
    /// The repetitions.
    pub runs: Vec<Run>,
}

/// All levels, in turn, as often as is wanted.
pub fn levels(settings: &Settings, folder: &Path) -> anyhow::Result<Vec<Payments>> {
    let mut runs = Vec::new();
    for repetition in 1..=settings.repetitions {
        for loops in &settings.loops {
            let run = run(settings, folder, *loops)?;
            note(&format!(
                "{repetition} of {}: {loops} loops, {:.0} payments/s, {:.0} verifications/s on one core",
                settings.repetitions, run.payments_per_s, run.verified_per_s
            ));
            runs.push(run);
        }
    }
    Ok(settings
        .loops
        .iter()
        .map(|loops| Payments::of(*loops, &runs))
        .collect())
}

impl Payments {
    fn of(loops: usize, runs: &[Run]) -> Self {
        let of_level = runs.iter().filter(|run| run.loops == loops);
        let runs: Vec<Run> = of_level.cloned().collect();
        let spread = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value));
        Self {
            loops,
            payments_per_s: spread(|run| run.payments_per_s),
            verified_per_s: spread(|run| run.verified_per_s),
            verification_over_payments: spread(|run| run.verification_over_payments),
            answered_p50_ms: spread(|run| run.answered.p50_ms).median,
            answered_p99_ms: spread(|run| run.answered.p99_ms).median,
            processor_us_per_payment: spread(|run| run.processor_us_per_payment).median,
            runs,
        }
    }
}

fn run(settings: &Settings, folder: &Path, loops: usize) -> anyhow::Result<Run> {
    let coordinator = Coordinator::start(folder)?;
    let runtime = runtime(settings)?;
    let run = runtime.block_on(load(settings, &coordinator, loops));
    drop(runtime);
    let run = run.with_context(|| format!("the coordinator said: {}", coordinator.log()))?;
    coordinator.stop()?;
    Ok(run)
}

async fn load(settings: &Settings, coordinator: &Coordinator, loops: usize) -> anyhow::Result<Run> {
    let mut payers = Vec::with_capacity(loops);
    let mut chain_id = Hash::default();
    while payers.len() < loops {
        let connection = coordinator.connect(Scope::Client).await?;
        chain_id = *connection.chain_id();
        for _ in 0..PER_CONNECTION.min(loops - payers.len()) {
            payers.push(Payer::new(&connection).await?);
        }
    }
    let verified_per_s = verification(&mut payers, &chain_id)?;
    let seconds = Duration::from_secs(settings.seconds);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let ahead = ((WARM_UP + seconds).as_secs_f64() * verified_per_s * AHEAD) as usize;
    for payer in &mut payers {
        payer.sign_ahead(ahead / loops)?;
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + seconds;
    let mut paying = JoinSet::new();
    for payer in payers {
        paying.spawn(one_loop(payer, begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let (before, own_before) = (coordinator.usage()?, Usage::own()?);
    tokio::time::sleep_until(end.into()).await;
    let (after, own_after) = (coordinator.usage()?, Usage::own()?);
    let mut answered = Latencies::default();
    while let Some(one) = paying.join_next().await {
        answered.extend(one??);
    }
    let answered = answered.summary();
    let payments = answered.count;
    ensure!(payments > 0, "no payment in {seconds:?}");
    let payments_per_s = real(payments) / seconds.as_secs_f64();
    let each = |later: &Usage, earlier: &Usage| {
        microseconds(later.processor.saturating_sub(earlier.processor)) / real(payments)
    };
    Ok(Run {
        loops,
        payments,
        payments_per_s,
        answered,
        verified_per_s,
        verification_over_payments: verified_per_s / payments_per_s,
        processor_us_per_payment: each(&after, &before),
        generator_us_per_payment: each(&own_after, &own_before),
    })
}

/// For people.
pub fn text(levels: &[Payments], out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\npayments: signed transfers, each verified and durable before it is answered; ratio: verifications per second on \
         one core over payments per second, of the same run\n\n{:>5}  {:>22}  {:>14}  {:>22}  {:>18}  {:>14}",
        "loops", "payments/s", "answered, ms", "verifications/s", "ratio", "coordinator"
    )?;
    writeln!(
        out,
        "{:>5}  {:>22}  {:>14}  {:>22}  {:>18}  {:>14}",
        "",
        "min / median / max",
        "p50 / p99",
        "min / median / max",
        "min / median / max",
        "µs of CPU each"
    )?;
    for level in levels {
        let whole = |spread: Spread| {
            format!(
                "{:.0} / {:.0} / {:.0}",
                spread.min, spread.median, spread.max
            )
        };
        let ratio = level.verification_over_payments;
        writeln!(
            out,
            "{:>5}  {:>22}  {:>14}  {:>22}  {:>18}  {:>14.1}",
            level.loops,
            whole(level.payments_per_s),
            format!(
                "{:.2} / {:.2}",
                level.answered_p50_ms, level.answered_p99_ms
            ),
            whole(level.verified_per_s),
            format!("{:.2} / {:.2} / {:.2}", ratio.min, ratio.median, ratio.max),
            level.processor_us_per_payment
        )?;
    }
    Ok(())
}

async fn one_loop(mut payer: Payer, begin: Instant, end: Instant) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        payer.pay().await?;
        let now = Instant::now();
        if now >= begin && now < end {
            latencies.add(now - sent);
        }
    }
}

/// What the coordinator does with each transaction's bytes before its ledger sees them, over and over on this thread:
/// per second.
fn verification(payers: &mut [Payer], chain_id: &Hash) -> anyhow::Result<f64> {
    let each = SIGNATURES.div_ceil(payers.len().max(1));
    for payer in &mut *payers {
        payer.sign_ahead(each)?;
    }
    let transfers: Vec<&Bytes> = payers.iter().flat_map(Payer::ahead).collect();
    let start = Instant::now();
    let mut verified = 0;
    while start.elapsed() < VERIFYING {
        for transfer in &transfers {
            SignedTransaction::decode(transfer)?.verify(chain_id)?;
            verified += 1;
        }
    }
    Ok(real(verified) / start.elapsed().as_secs_f64())
}
