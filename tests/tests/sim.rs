//! The simulator over fixed seeds, and its controls: the same seed twice, and rules broken on purpose.

use aitbc_tests::sim::{Options, Rule, Totals, run, shrink};

/// Seeds of the continuous check.
const SEEDS: u64 = 200;

fn explain(seed: u64, options: &Options) -> String {
    let (smaller, report) = shrink::shrink(seed, options);
    let log = report.log.join("\n");
    format!(
        "{}\n{log}\nagain: {}",
        report.violation.unwrap_or_default(),
        shrink::command(seed, &smaller)
    )
}

#[test]
fn the_invariants_hold() {
    let options = Options::default();
    let mut totals = Totals::default();
    for seed in 1..=SEEDS {
        let report = run(seed, &options);
        totals += report.totals;
        assert!(
            report.violation.is_none(),
            "seed {seed}: {}",
            explain(seed, &options)
        );
        if seed % 20 == 0 {
            assert_eq!(
                run(seed, &options).trace_hash,
                report.trace_hash,
                "seed {seed} ran differently the second time"
            );
        }
    }
    // Where no money moves, the money's invariants say nothing.
    let Totals {
        payments,
        expired,
        stakes,
        slashes,
        forfeits,
        audits,
        audit_runs,
        tool_calls,
        handovers,
        findings,
        rentals,
        rentals_released,
        rentals_gone,
        rental_jobs,
        ..
    } = totals;
    assert!(
        payments > SEEDS && expired > SEEDS / 10 && stakes > SEEDS,
        "{payments} payments, {expired} locks expired, {stakes} stakes in {SEEDS} seeds"
    );
    assert!(
        slashes > SEEDS / 10 && forfeits > 0,
        "{slashes} stakes slashed, {forfeits} unstakings that came to nothing for it in {SEEDS} seeds"
    );
    assert!(
        audits > SEEDS && audit_runs > SEEDS / 2 && findings > SEEDS / 20,
        "{audits} audits with {audit_runs} runs found {findings} jobs wrong in {SEEDS} seeds"
    );
    assert!(
        tool_calls > SEEDS && handovers > SEEDS / 10,
        "{tool_calls} tools called by agents, {handovers} handovers in {SEEDS} seeds"
    );
    assert!(
        rentals > SEEDS
            && rental_jobs > SEEDS / 2
            && rentals_released > SEEDS / 10
            && rentals_gone > 0,
        "{rentals} rentals, {rentals_released} released, {rentals_gone} without their provider, {rental_jobs} jobs under \
         them in {SEEDS} seeds"
    );
}

/// How many seeds it takes to notice a broken rule, in the median over 20 starting seeds; `None` = more than 300.
fn median_to_notice(rule: Rule) -> Option<u64> {
    let options = Options {
        broken: Some(rule),
        ..Options::default()
    };
    let is_noticed = |seed| run(seed, &options).violation.is_some();
    let mut starts: Vec<u64> = (1..=20).map(|n| 1_000_000 * n).collect();
    // The median is there once ten are left.
    (0..300).find_map(|seed| {
        starts.retain(|start| !is_noticed(start + seed));
        (starts.len() < 10).then_some(seed + 1)
    })
}

fn are_noticed(rules: &[Rule]) {
    for rule in rules {
        let name = rule.name();
        let median = median_to_notice(*rule);
        let median = median.unwrap_or_else(|| panic!("{name} takes more than 300 seeds"));
        println!("{name}: noticed after {median} seeds in the median");
    }
}

/// Several tests, so that none takes long.
#[test]
fn broken_rules_are_noticed() {
    are_noticed(&Rule::ALL[..15]);
}

#[test]
fn broken_rules_of_stakes_and_rentals_are_noticed() {
    are_noticed(&Rule::ALL[15..17]);
}

#[test]
fn the_broken_rule_of_findings_is_noticed() {
    are_noticed(&Rule::ALL[17..18]);
}

#[test]
fn the_broken_rule_of_runs_is_noticed() {
    are_noticed(&Rule::ALL[18..19]);
}

#[test]
fn the_broken_rule_of_agents_is_noticed() {
    are_noticed(&Rule::ALL[19..]);
}
