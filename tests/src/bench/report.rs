//! The figures, for people and for programs.

use std::fmt::Write;

use aitbc_common::runtime::terminal;
use anyhow::anyhow;
use serde::Serialize;

use super::agents::{self, Agents};
use super::books::{self, Books};
use super::disk::Disk;
use super::idle::Idle;
use super::latency::Spread;
use super::market::{self, Market};
use super::paid_jobs::{self, PaidJobs};
use super::payments::{self, Payments};
use super::process::{load_average, machine};
use super::throughput::{Level, real};
use super::tokens::Tokens;
use super::{Settings, client, miner};

/// How durable every acknowledged step is.
const DURABILITY: &str = "every acknowledged step is synced before it is acknowledged: group commit, one fdatasync \
                          of RocksDB's log per batch";
/// What the peers do or do not do.
const INCLUDED: &str = "every call authenticated, every assignment signed by the coordinator, every receipt signed by \
                        its miner and verified by the coordinator";

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When: RFC 3339.
    pub time: String,
    /// Processor and kernel.
    pub machine: String,
    /// What else ran: the load average before the first measurement.
    pub load_average: f64,
    /// The command line.
    pub command: Vec<String>,
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// What each job includes.
    pub included: &'static str,
    /// Bytes of each job's input document.
    pub input_bytes: usize,
    /// Bytes of each job's output.
    pub output_bytes: usize,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Miners in session.
    pub miners: u16,
    /// Threads of the load generator, on the same machine.
    pub generator_threads: u16,
    /// The disk.
    pub disk: Option<Disk>,
    /// Closed loops.
    pub throughput: Vec<Level>,
    /// Idle sessions.
    pub idle: Option<Idle>,
    /// Token streams.
    pub tokens: Option<Tokens>,
    /// Payments.
    pub payments: Vec<Payments>,
    /// Paid jobs beside unpaid ones.
    pub paid_jobs: Vec<PaidJobs>,
    /// A ledger with many accounts.
    pub books: Option<Books>,
    /// Offers, prices and reputations.
    pub market: Option<Market>,
    /// Agents.
    pub agents: Option<Agents>,
}

impl Report {
    /// Without figures yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            time: jiff::Timestamp::now().to_string(),
            machine: machine(),
            load_average: load_average(),
            command: std::env::args().collect(),
            durability: DURABILITY,
            included: INCLUDED,
            input_bytes: client::INPUT_BYTES,
            output_bytes: miner::OUTPUT_BYTES,
            seconds: settings.seconds,
            miners: settings.miners,
            generator_threads: settings.threads,
            disk: None,
            throughput: Vec::new(),
            idle: None,
            tokens: None,
            payments: Vec::new(),
            paid_jobs: Vec::new(),
            books: None,
            market: None,
            agents: None,
        }
    }

    /// Prints it to standard output.
    pub fn print(&self) -> anyhow::Result<()> {
        terminal::print_line(self.text()?.trim_end()).map_err(|error| anyhow!(error.message))
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut out = String::new();
        writeln!(
            out,
            "{}; load average before: {}",
            self.machine, self.load_average
        )?;
        if let Some(disk) = &self.disk {
            let sync = disk.fdatasync;
            writeln!(
                out,
                "{} ({}): fdatasync of 4 KiB p50 {:.2} ms, p99 {:.2} ms ({} times, before, between and after)",
                disk.folder, disk.file_system, sync.p50_ms, sync.p99_ms, sync.count
            )?;
        }
        if !self.throughput.is_empty() {
            self.throughput_text(&mut out)?;
        }
        if let Some(idle) = &self.idle {
            idle_text(&mut out, idle)?;
        }
        if let Some(tokens) = &self.tokens {
            tokens_text(&mut out, tokens)?;
        }
        if !self.payments.is_empty() {
            payments::text(&self.payments, &mut out)?;
        }
        if !self.paid_jobs.is_empty() {
            paid_jobs::text(&self.paid_jobs, &mut out)?;
        }
        if let Some(books) = &self.books {
            books::text(books, &mut out)?;
        }
        if let Some(market) = &self.market {
            market::text(market, &mut out)?;
        }
        if let Some(agents) = &self.agents {
            agents::text(agents, &mut out)?;
        }
        Ok(out)
    }

    fn throughput_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nclosed loops: submit → dispatch → result → notified client; {} B in, {} B out, no inference; {} miners\n\
             durability: {}\nincluded: {}\n\
             medians of {} × {} s, jobs/s as min/median/max; times in ms; load generator on the same machine ({} threads)\n",
            self.input_bytes,
            self.output_bytes,
            self.miners,
            self.durability,
            self.included,
            self.throughput[0].runs.len(),
            self.seconds,
            self.generator_threads
        )?;
        writeln!(
            out,
            "{:>5}  {:>22}  {:>14}  {:>23}  {:>11}  {:>12}  {:>14}  {:>7}",
            "loops",
            "jobs/s",
            "dispatch",
            "result",
            "commits/job",
            "messages/job",
            "coordinator",
            "memory"
        )?;
        writeln!(
            out,
            "{:>5}  {:>22}  {:>14}  {:>23}  {:>11}  {:>12}  {:>14}  {:>7}",
            "",
            "min / median / max",
            "p50 / p99",
            "p50 / p99 / p99.9",
            "",
            "in and out",
            "µs of CPU/job",
            "MiB"
        )?;
        for level in &self.throughput {
            let rate = level.jobs_per_s;
            let rate = format!("{:.0} / {:.0} / {:.0}", rate.min, rate.median, rate.max);
            let dispatch = format!(
                "{:.2} / {:.2}",
                level.dispatch_p50_ms, level.dispatch_p99_ms
            );
            let result = format!(
                "{:.2} / {:.2} / {:.2}",
                level.result_p50_ms, level.result_p99_ms, level.result_p999_ms
            );
            writeln!(
                out,
                "{:>5}  {rate:>22}  {dispatch:>14}  {result:>23}  {:>11.3}  {:>12.3}  {:>14.1}  {:>7.1}",
                level.loops,
                level.commits_per_job,
                level.messages_per_job,
                level.processor_us_per_job,
                level.resident_mib
            )?;
        }
        Ok(())
    }
}

fn idle_text(out: &mut String, idle: &Idle) -> std::fmt::Result {
    writeln!(
        out,
        "\n{} idle sessions, a connection each, {} s: {:.1} MiB ({:.1} KiB a session), {:.2} % of a core; \
         opened in {:.1} s\nthe same coordinator without sessions: {:.1} MiB, {:.2} % of a core",
        idle.sessions,
        idle.seconds,
        idle.resident_mib,
        idle.kib_per_session,
        idle.percent,
        idle.opened_in_s,
        idle.empty_mib,
        idle.empty_percent
    )
}

fn tokens_text(out: &mut String, tokens: &Tokens) -> std::fmt::Result {
    let spread = |spread: Spread| {
        format!(
            "{:.2} ({:.2} to {:.2})",
            spread.median, spread.min, spread.max
        )
    };
    writeln!(
        out,
        "\n{} pairs of answers of {} tokens, one inference thread, median (least to most){}",
        real(tokens.pairs.len()),
        tokens.tokens,
        if tokens.same_text {
            ", same text each time"
        } else {
            "; THE TEXTS DIFFER"
        }
    )?;
    for (name, direct, network, difference) in [
        (
            "tokens/s",
            tokens.direct_tokens_per_s,
            tokens.network_tokens_per_s,
            format!("lost: {} %", spread(tokens.loss_percent)),
        ),
        (
            "first text, ms",
            tokens.direct_first_ms,
            tokens.network_first_ms,
            format!("added: {} ms", spread(tokens.added_first_ms)),
        ),
    ] {
        writeln!(
            out,
            "{name:<15} direct {}, through AITBC {}, {difference}",
            spread(direct),
            spread(network)
        )?;
    }
    Ok(())
}
