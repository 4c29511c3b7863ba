//! Makes a failing run smaller while it still fails.

use super::{Fault, Options, Report, run};

/// The smallest options with which `seed` still fails that were found, and its report.
#[must_use]
pub fn shrink(seed: u64, options: &Options) -> (Options, Report) {
    let mut best = options.clone();
    let mut report = run(seed, &best);
    let mut try_with = |smaller: Options, best: &mut Options| {
        let tried = run(seed, &smaller);
        let fails = tried.violation.is_some();
        if fails {
            *best = smaller;
            report = tried;
        }
        fails
    };
    for fault in Fault::ALL {
        let smaller = Options {
            faults: best.faults.without(fault),
            ..best.clone()
        };
        if best.faults.has(fault) {
            try_with(smaller, &mut best);
        }
    }
    let mut step = best.jobs / 2;
    while step > 0 {
        let fewer = Options {
            jobs: best.jobs.saturating_sub(step).max(1),
            ..best.clone()
        };
        if fewer.jobs == best.jobs || !try_with(fewer, &mut best) {
            step /= 2;
        }
    }
    let mut step = best.faulty_ms / 2;
    while step > 5_000 {
        let shorter = Options {
            faulty_ms: best.faulty_ms.saturating_sub(step).max(1_000),
            ..best.clone()
        };
        if shorter.faulty_ms == best.faulty_ms || !try_with(shorter, &mut best) {
            step /= 2;
        }
    }
    (best, report)
}

/// The command that runs a seed with these options again.
#[must_use]
pub fn command(seed: u64, options: &Options) -> String {
    let default = Options::default();
    let mut command = format!("aitbc-sim --seed {seed} --trace");
    for fault in Fault::ALL
        .into_iter()
        .filter(|fault| !options.faults.has(*fault))
    {
        command.push_str(&format!(" --without {}", fault.name()));
    }
    if options.jobs != default.jobs {
        command.push_str(&format!(" --jobs {}", options.jobs));
    }
    if options.faulty_ms != default.faulty_ms {
        command.push_str(&format!(" --faulty-ms {}", options.faulty_ms));
    }
    if let Some(rule) = options.broken {
        command.push_str(&format!(" --broken {}", rule.name()));
    }
    command
}
