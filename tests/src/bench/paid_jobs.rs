//! Paid jobs beside unpaid ones: the same loops, each job with a lock that its loop's wallet signs.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::latency::Spread;
use super::throughput::{self, Level, Run};
use super::{Settings, note};

/// One number of loops, both ways in turn.
#[derive(Debug, Clone, Serialize)]
pub struct PaidJobs {
    /// Loops at once.
    pub loops: usize,
    /// Nobody pays.
    pub unpaid: Level,
    /// A signed lock for each job, and its settlement.
    pub paid: Level,
    /// Paid jobs for each unpaid one in the same time, pair by pair.
    pub paid_over_unpaid: Spread,
    /// From the end of the measured time until everything was settled, in milliseconds.
    pub settled_after_ms: Spread,
}

/// All levels, in turn, as often as is wanted; which way goes first alternates.
pub fn levels(settings: &Settings, folder: &Path) -> anyhow::Result<Vec<PaidJobs>> {
    let mut runs: [Vec<Run>; 2] = Default::default();
    for repetition in 1..=settings.repetitions {
        for loops in &settings.loops {
            let order = if repetition % 2 == 1 {
                [false, true]
            } else {
                [true, false]
            };
            for paid in order {
                let run = throughput::run(settings, folder, *loops, paid)?;
                note(&format!(
                    "{repetition} of {}: {loops} loops, {:.0} {} jobs/s",
                    settings.repetitions,
                    run.jobs_per_s,
                    if paid { "paid" } else { "unpaid" }
                ));
                runs[usize::from(paid)].push(run);
            }
        }
    }
    let [unpaid, paid] = &runs;
    Ok(settings
        .loops
        .iter()
        .map(|loops| PaidJobs::of(*loops, unpaid, paid))
        .collect())
}

impl PaidJobs {
    fn of(loops: usize, unpaid: &[Run], paid: &[Run]) -> Self {
        let [unpaid, paid] = [unpaid, paid].map(|runs| Level::of(loops, runs));
        let pairs = unpaid.runs.iter().zip(&paid.runs);
        Self {
            loops,
            paid_over_unpaid: Spread::of(
                pairs.map(|(unpaid, paid)| paid.jobs_per_s / unpaid.jobs_per_s),
            ),
            settled_after_ms: Spread::of(paid.runs.iter().filter_map(|run| run.settled_after_ms)),
            unpaid,
            paid,
        }
    }
}

/// For people.
pub fn text(levels: &[PaidJobs], out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\npaid jobs: the same closed loops, each job held until its signed lock is recorded, then run and settled, in turn \
         with unpaid ones\n\n{:>5}  {:>6}  {:>22}  {:>18}  {:>16}  {:>14}  {:>12}",
        "loops", "", "jobs/s", "paid / unpaid", "result, ms", "coordinator", "settled, ms"
    )?;
    writeln!(
        out,
        "{:>5}  {:>6}  {:>22}  {:>18}  {:>16}  {:>14}  {:>12}",
        "",
        "",
        "min / median / max",
        "min / median / max",
        "p50 / p99",
        "µs of CPU/job",
        "after the end"
    )?;
    for level in levels {
        for (name, of) in [("unpaid", &level.unpaid), ("paid", &level.paid)] {
            let rate = of.jobs_per_s;
            let (ratio, settled) = match name {
                "paid" => {
                    let ratio = level.paid_over_unpaid;
                    (
                        format!("{:.2} / {:.2} / {:.2}", ratio.min, ratio.median, ratio.max),
                        format!("{:.0}", level.settled_after_ms.median),
                    )
                }
                _ => (String::new(), String::new()),
            };
            writeln!(
                out,
                "{:>5}  {name:>6}  {:>22}  {ratio:>18}  {:>16}  {:>14.1}  {settled:>12}",
                level.loops,
                format!("{:.0} / {:.0} / {:.0}", rate.min, rate.median, rate.max),
                format!("{:.2} / {:.2}", of.result_p50_ms, of.result_p99_ms),
                of.processor_us_per_job
            )?;
        }
    }
    Ok(())
}
