//! What `make bench` measures of agents is measured: with small numbers, executions and direct calls do the same and are checked.

use aitbc_tests::harness::Network;
use serde_json::{Value, json};

#[test]
fn the_figures_of_agents_are_measured() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let line = "aitbc-bench --only agents --executions 2 --steps 3 --loops 2 --seconds 1 --folder . --json figures.json";
    let printed = user.types(line).succeeds();
    assert!(
        printed.text().contains("executions of 3 steps"),
        "{printed:?}"
    );
    let file = user.aitbc_home().with_file_name("figures.json");
    let figures = std::fs::read(file).expect("it was written");
    let figures: Value = serde_json::from_slice(&figures).expect("JSON");
    for (figure, least) in [
        ("/agents/compared/0/direct/p50_ms", 0.0),
        ("/agents/compared/0/network/p50_ms", 0.0),
        ("/agents/compared/1/direct/p50_ms", 50.0),
        ("/agents/compared/1/network/p50_ms", 50.0),
        ("/agents/compared/1/execution/p50_ms", 200.0),
        ("/agents/flows/0/events_per_s", 0.0),
    ] {
        let value = figures.pointer(figure).and_then(Value::as_f64);
        assert!(
            value.is_some_and(|value| value > least),
            "{figure}: {value:?}"
        );
    }
    // Three calls and an answer each: three times from one request to the next.
    assert_eq!(
        figures["agents"]["compared"][0]["network"]["count"],
        json!(6)
    );
    assert_eq!(
        figures["agents"]["compared"][1]["direct"]["count"],
        json!(6)
    );
}
