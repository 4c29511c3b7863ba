//! `aitbc-bench`: what one coordinator does on this machine, measured from outside with real processes.
//!
//! The miners of [`throughput`] and [`idle`] live in this process: they prove themselves, accept, deliver and sign as
//! any miner does, but compute nothing. [`tokens`] uses the product's own miner and a real model. [`payments`],
//! [`paid_jobs`] and [`books`] measure money, [`market`] and [`matching`] what the market computes, and
//! [`agents`] what agents cost beyond model and tools.

pub mod agents;
pub mod books;
pub mod client;
pub mod coordinator;
pub mod disk;
pub mod folder;
pub mod idle;
pub mod latency;
pub mod market;
pub mod matching;
pub mod miner;
pub mod paid_jobs;
pub mod payer;
pub mod payments;
pub mod process;
pub mod report;
pub mod throughput;
pub mod tokens;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tokio::runtime::Runtime;

use folder::Folder;
use latency::Latencies;
use report::Report;
use throughput::{Level, Run};

/// Measures a coordinator on this machine: throughput, idle sessions, token streams, payments, the ledger and agents.
#[derive(Debug, Parser)]
#[command(name = "aitbc-bench", version, max_term_width = 120)]
pub struct Settings {
    /// Measure only this; repeatable
    #[arg(long, value_enum, value_name = "PART")]
    pub only: Vec<Part>,
    /// Closed loops at once, one level each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 8, 64])]
    pub loops: Vec<usize>,
    /// Seconds of each measurement, after one to warm up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Measurements of each level; the levels take turns
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repetitions: u16,
    /// Miners, a connection each
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub miners: u16,
    /// Jobs that each miner takes at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: u32,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Idle sessions
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub idle: usize,
    /// Seconds that they are observed, and as many without them
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub idle_seconds: u64,
    /// Pairs of answers: directly from the model server, and through a coordinator and a miner
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub pairs: u16,
    /// Tokens of each answer
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=4_096))]
    pub tokens: u32,
    /// Executions of an agent, in turn with the same calls made directly
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub executions: u16,
    /// Calls of a tool in each execution
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub steps: u32,
    /// Accounts of the ledger for balances, audit and stored bytes
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub accounts: u32,
    /// Listings of the market
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub listings: u32,
    /// Trades, and settlements that are counted
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub trades: u32,
    /// Miners among which jobs are matched, a listing each
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub matched: u32,
    /// Model for the token streams, a GGUF file; without one they are left out
    #[arg(long, value_name = "FILE", env = "AITBC_TEST_MODEL")]
    pub model: Option<PathBuf>,
    /// Folder on the disk to measure; everything in it is removed again (default: the folder for temporary files)
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Also write all figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Closed loops of submit, dispatch, result, notification
    Throughput,
    /// Sessions that have nothing to do
    Idle,
    /// Tokens per second and time to the first one, with and without AITBC
    Tokens,
    /// Durable payments per second, and signatures that one core verifies
    Payments,
    /// Paid jobs per second beside unpaid ones
    PaidJobs,
    /// Time to a proven balance on a ledger with many accounts
    Balance,
    /// Records that an audit of an export checks per second
    Audit,
    /// Bytes that a transaction takes
    Stored,
    /// Offers, prices, reputations and matching, inside one process
    Market,
    /// What an agent's step costs beyond its model and tool, and events per second
    Agents,
}

/// Measures and reports.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let parent = settings.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = Folder::new(&parent)?;
    let wanted = |part| settings.only.is_empty() || settings.only.contains(&part);
    let mut syncs = disk::measure(folder.path())?;
    let mut report = Report::new(settings);
    if wanted(Part::Throughput) {
        report.throughput = levels(settings, folder.path(), &mut syncs)?;
    }
    if wanted(Part::Idle) && settings.idle > 0 {
        note(&format!("{} idle sessions", settings.idle));
        report.idle = Some(idle::run(settings, folder.path())?);
    }
    if wanted(Part::Tokens)
        && let Some(model) = &settings.model
    {
        note(&format!("{} pairs of answers", settings.pairs));
        report.tokens = Some(tokens::run(settings, folder.path(), model)?);
    }
    if wanted(Part::Payments) {
        report.payments = payments::levels(settings, folder.path())?;
    }
    if wanted(Part::PaidJobs) {
        report.paid_jobs = paid_jobs::levels(settings, folder.path())?;
    }
    if [Part::Balance, Part::Audit, Part::Stored]
        .into_iter()
        .any(wanted)
    {
        report.books = Some(books::run(settings, folder.path(), wanted)?);
    }
    if wanted(Part::Market) {
        note("market");
        let market = market::run(
            settings.seconds,
            settings.listings,
            settings.trades,
            settings.matched,
        );
        report.market = Some(market);
    }
    if wanted(Part::Agents) {
        note(&format!("{} executions", settings.executions));
        report.agents = Some(agents::run(settings, folder.path())?);
    }
    syncs.extend(disk::measure(folder.path())?);
    report.disk = Some(disk::Disk {
        folder: parent.display().to_string(),
        file_system: disk::file_system(folder.path()),
        fdatasync: syncs.summary(),
    });
    folder.close()?;
    if let Some(file) = &settings.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    report.print()
}

/// All levels, in turn, as often as is wanted; syncs of the disk are measured between them.
fn levels(settings: &Settings, folder: &Path, syncs: &mut Latencies) -> anyhow::Result<Vec<Level>> {
    let mut runs: Vec<Run> = Vec::new();
    for repetition in 1..=settings.repetitions {
        for loops in &settings.loops {
            let run = throughput::run(settings, folder, *loops, false)?;
            note(&format!(
                "{repetition} of {}: {loops} loops, {:.0} jobs/s, result p50 {:.2} ms",
                settings.repetitions, run.jobs_per_s, run.result.p50_ms
            ));
            runs.push(run);
        }
        syncs.extend(disk::measure(folder)?);
    }
    Ok(settings
        .loops
        .iter()
        .map(|loops| Level::of(*loops, &runs))
        .collect())
}

fn runtime(settings: &Settings) -> anyhow::Result<Runtime> {
    let mut builder = match settings.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder
        .worker_threads(usize::from(settings.threads))
        .enable_all()
        .build()
        .context("cannot start the load generator")
}

#[expect(
    clippy::print_stderr,
    reason = "progress of a program that measures for minutes"
)]
fn note(line: &str) {
    eprintln!("{line}");
}
