//! Runs the simulator; `make sim` builds and runs it.

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
    /// Break a rule on purpose, and tell how many seeds it takes to notice: attempt-check, requeue-on-loss,
    /// resume-offset or sync.
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
    let arguments = Arguments::parse();
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
            report
                .log
                .iter()
                .filter(|_| arguments.trace)
                .for_each(|line| println!("{line}"));
            println!("trace hash {}", hex::encode(report.trace_hash));
        }
        if report.violation.is_some() {
            explain(&report, &options, arguments.trace);
            println!("seeds run: {ran}");
            return ExitCode::FAILURE;
        }
    }
    summarize(ran, &totals, began.elapsed());
    match arguments.broken {
        Some(rule) if arguments.seed.is_none() => {
            println!("the broken rule {} was not noticed", rule.name());
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn explain(report: &Report, options: &Options, traced: bool) {
    println!(
        "seed {} fails {}",
        report.seed,
        report.violation.as_deref().unwrap_or_default()
    );
    println!("again: {}", shrink::command(report.seed, options));
    if traced {
        return;
    }
    let (smaller, report) = shrink::shrink(report.seed, options);
    println!("\nshrunk, its last events:");
    report.log.iter().for_each(|line| println!("{line}"));
    println!("fails {}", report.violation.as_deref().unwrap_or_default());
    println!("again: {}", shrink::command(report.seed, &smaller));
}

fn summarize(ran: u64, totals: &Totals, took: Duration) {
    let seconds = took.as_secs_f64().max(0.001);
    let hours = totals.virtual_ms as f64 / 3_600_000.0;
    println!(
        "{ran} seeds in {seconds:.1} s: {hours:.1} virtual hours, {} jobs ({} completed), {} attempts, {} faults, {} commits, \
         {} events; {} watched bytes verified",
        totals.jobs,
        totals.completed,
        totals.attempts,
        totals.faults,
        totals.commits,
        totals.events,
        totals.watched_bytes
    );
    println!(
        "{:.0} jobs/s, {:.0} faults/s, {:.2} virtual hours/s",
        totals.jobs as f64 / seconds,
        totals.faults as f64 / seconds,
        hours / seconds
    );
}
