//! What `make bench` measures of money is measured: with small numbers, each part does its work and checks it.

use aitbc_tests::harness::Network;
use serde_json::Value;

#[test]
fn the_figures_of_money_are_measured() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let parts = ["payments", "paid-jobs", "balance", "audit", "stored"]
        .map(|part| format!("--only {part}"));
    let line = format!(
        "aitbc-bench {} --loops 2 --seconds 1 --repetitions 1 --accounts 100 --folder . --json figures.json",
        parts.join(" ")
    );
    let printed = user.types(&line).succeeds();
    assert!(printed.text().contains("balance with proof"), "{printed:?}");
    let file = user.aitbc_home().with_file_name("figures.json");
    let figures = std::fs::read(file).expect("it was written");
    let figures: Value = serde_json::from_slice(&figures).expect("JSON");
    for figure in [
        "/payments/0/payments_per_s/median",
        "/payments/0/verification_over_payments/median",
        "/paid_jobs/0/paid/jobs_per_s/median",
        "/paid_jobs/0/paid_over_unpaid/median",
        "/books/balance/answered/p50_ms",
        "/books/audit/audited_per_s",
        "/books/stored/disk_bytes_per_transfer",
        "/books/stored/log_bytes_per_record",
    ] {
        let value = figures.pointer(figure).and_then(Value::as_f64);
        assert!(
            value.is_some_and(|value| value > 0.0),
            "{figure}: {value:?}"
        );
    }
    assert_eq!(figures["books"]["transfers"], 100);
    assert!(figures["throughput"].as_array().is_some_and(Vec::is_empty));
}
