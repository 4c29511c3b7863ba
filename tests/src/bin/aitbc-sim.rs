//! Runs the simulator; `make sim` builds and runs it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aitbc_tests::sim::{Fault, Faults, Options, Report, Rule, Totals, run, shrink};
use clap::Parser;

/// The real cores over a faulty network and store, seed by seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// Run just this one.
    #[arg(long, conflicts_with_all = ["seeds", "start"])]
    seed: Option<u64>,
    /// Print every event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Break a rule on purpose, and tell how many seeds it takes to notice.
    ///
    /// attempt-check: a result counts only for the live attempt; requeue-on-loss: a lost attempt's job goes back into the
    /// queue; resume-offset: output goes where its offset says; sync: nothing is answered before it is synced;
    /// orders-once: the ledger carries out each order once; double-post: a specification is paid once, whoever submits
    /// it again; lock-signature: money is locked only by who signed; remainder: what a lock does not pay returns whole;
    /// nonce: nonces have no gaps; seal-before-sync: a checkpoint is signed once its seal is durable; assigned-payee: who is paid is
    /// the payee of the assignment; one-renter: one of two who want a GPU at once gets it; rented-out: nobody else's jobs
    /// run on a rented GPU; heard-beats: only time counts in which the provider was there; rental-rest: a rental's last
    /// payment gives the rest of its lock back; forfeits: what was being unstaked when its stake was slashed goes nowhere;
    /// attended: all time counts in which the provider was there; finding-once: a job is found wrong once; run-stored:
    /// an audit's run is stored before it begins; call-confirmed: an
    /// agent's action is stored before its tool is called.
    #[arg(long, value_name = "RULE")]
    broken: Option<Rule>,
    /// Leave a kind of fault out; may be repeated.
    #[arg(long, value_name = "FAULT")]
    without: Vec<Fault>,
    /// Jobs at most.
    #[arg(long, default_value_t = Options::default().jobs)]
    jobs: usize,
    /// Virtual milliseconds until the faults stop.
    #[arg(long, default_value_t = Options::default().faulty_ms)]
    faulty_ms: u64,
}

fn main() -> ExitCode {
    match simulate(&Arguments::parse(), &mut std::io::stdout().lock()) {
        Ok(code) => code,
        // Whoever read the output has gone, perhaps before a violation was told.
        Err(_) => ExitCode::FAILURE,
    }
}

fn simulate(arguments: &Arguments, out: &mut impl Write) -> io::Result<ExitCode> {
    let faults = arguments
        .without
        .iter()
        .fold(Faults::all(), |faults, fault| faults.without(*fault));
    let options = Options {
        faults,
        jobs: arguments.jobs,
        faulty_ms: arguments.faulty_ms,
        broken: arguments.broken,
        trace: arguments.trace,
    };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.start..arguments.start.saturating_add(arguments.seeds),
    };
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut ran = 0;
    for seed in seeds {
        let report = run(seed, &options);
        ran += 1;
        totals += report.totals;
        if arguments.seed.is_some() {
            for line in report.log.iter().filter(|_| arguments.trace) {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "trace hash {}", hex::encode(report.trace_hash))?;
        }
        if report.violation.is_some() {
            explain(out, &report, &options, arguments.trace)?;
            writeln!(out, "seeds run: {ran}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    summarize(out, ran, &totals, began.elapsed())?;
    match arguments.broken {
        Some(rule) if arguments.seed.is_none() => {
            writeln!(out, "the broken rule {} was not noticed", rule.name())?;
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn explain(
    out: &mut impl Write,
    report: &Report,
    options: &Options,
    traced: bool,
) -> io::Result<()> {
    writeln!(
        out,
        "seed {} fails {}",
        report.seed,
        report.violation.as_deref().unwrap_or_default()
    )?;
    writeln!(out, "again: {}", shrink::command(report.seed, options))?;
    if traced {
        return Ok(());
    }
    let (smaller, report) = shrink::shrink(report.seed, options);
    writeln!(out, "\nshrunk, its last events:")?;
    for line in &report.log {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "fails {}",
        report.violation.as_deref().unwrap_or_default()
    )?;
    writeln!(out, "again: {}", shrink::command(report.seed, &smaller))
}

fn summarize(out: &mut impl Write, ran: u64, totals: &Totals, took: Duration) -> io::Result<()> {
    let seconds = took.as_secs_f64().max(0.001);
    let hours = totals.virtual_ms as f64 / 3_600_000.0;
    writeln!(
        out,
        "{ran} seeds in {seconds:.1} s: {hours:.1} virtual hours, {} jobs ({} completed), {} attempts, {} faults, {} commits, \
         {} events; {} watched bytes verified, {} payments audited, {} \
         locks expired, {} stakes, {} slashed with {} unstakings, {} audits with {} runs, {} found wrong; {} tools called by agents, {} handovers; {} rentals ({} released, {} whose provider was gone), {} refused, {} payments for them, \
         {} jobs under them",
        totals.jobs,
        totals.completed,
        totals.attempts,
        totals.faults,
        totals.commits,
        totals.events,
        totals.watched_bytes,
        totals.payments,
        totals.expired,
        totals.stakes,
        totals.slashes,
        totals.forfeits,
        totals.audits,
        totals.audit_runs,
        totals.findings,
        totals.tool_calls,
        totals.handovers,
        totals.rentals,
        totals.rentals_released,
        totals.rentals_gone,
        totals.rentals_refused,
        totals.rental_payments,
        totals.rental_jobs
    )?;
    writeln!(
        out,
        "{:.0} jobs/s, {:.0} faults/s, {:.2} virtual hours/s",
        totals.jobs as f64 / seconds,
        totals.faults as f64 / seconds,
        hours / seconds
    )
}
