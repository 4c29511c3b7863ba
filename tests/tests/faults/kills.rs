//! kill -9 in mid-stream, with a watcher attached: the job completes, and the watcher's bytes hash to the receipt.

use std::time::Duration;

use aitbc_tests::harness::{Network, Ollama, Process, User, model_file};

use super::{check_watched, events, output_of, sees_output, watch_long_job};

const LONG: Duration = Duration::from_secs(200);

fn mine(user: &User, name: &str) -> Process {
    let miner = user.starts(&format!(
        "aitbc miner mine-ollama --model llama3 --continuous --miner {name}"
    ));
    miner.prints("polling");
    miner
}

#[test]
fn the_coordinator_is_killed() {
    let mut network = Network::start();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let mut miner = mine(&user, "rig-1");
    let mut watcher = watch_long_job(&user);
    sees_output(&watcher, 1, 200);

    network.kill_coordinator();
    watcher.notes("coordinator_away");
    network.restart_coordinator();

    let watched = events(&watcher.wait_at_most(LONG).succeeds().text());
    assert_eq!(
        check_watched(&user, &watched),
        1,
        "a restart of the coordinator fails no running job"
    );
    miner.interrupt();
    let log = miner.wait().succeeds();
    assert!(log.text().contains("coordinator away"), "{}", log.text());
}

#[test]
fn the_coordinator_is_killed_again_and_again() {
    let mut network = Network::start();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let _miner = mine(&user, "rig-1");
    let jobs: Vec<String> = (0..6)
        .map(|_| {
            let submitted = user
                .types("aitbc client submit --type inference --model llama3 --prompt Hello --json")
                .succeeds();
            submitted.json()["job_id"]
                .as_str()
                .expect("a job id")
                .to_owned()
        })
        .collect();
    for _ in 0..4 {
        network.kill_coordinator();
        network.restart_coordinator();
        let _answers = user.types("aitbc client list --json").succeeds();
    }
    for job in &jobs {
        let result = user
            .types(&format!("aitbc client result {job} --wait --json"))
            .succeeds()
            .json();
        assert_eq!(result["status"], "completed");
    }
}

#[test]
fn the_miner_is_killed() {
    let network = Network::start();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let mut first = mine(&user, "rig-1");
    let mut watcher = watch_long_job(&user);
    sees_output(&watcher, 1, 200);
    let other = mine(&user, "rig-2");

    first.kill();
    first.wait_for_children();
    let watched = events(&watcher.wait_at_most(LONG).succeeds().text());
    assert!(output_of(&watched, 1).len() >= 200);
    let attempt = check_watched(&user, &watched);
    assert!(attempt > 1, "the first attempt was lost");
    other.prints("result submitted");
}

#[test]
fn the_miner_is_killed_and_comes_back() {
    let network = Network::start();
    let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
    let line = format!(
        "aitbc miner mine --model llama3={} --threads 1 --context 1024 --continuous",
        model_file().display()
    );
    let mut miner = user.starts(&line);
    miner.prints("polling");
    let mut watcher = watch_long_job(&user);
    sees_output(&watcher, 1, 100);

    miner.kill();
    // The engine is a process of its own; it must not outlive the miner.
    miner.wait_for_children();
    let miner = user.starts(&line);
    let watched = events(&watcher.wait_at_most(LONG).succeeds().text());
    check_watched(&user, &watched);
    miner.prints("result submitted");
}

#[test]
fn ollama_is_killed() {
    let network = Network::start();
    let mut ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let mut miner = mine(&user, "rig-1");
    let mut watcher = watch_long_job(&user);
    sees_output(&watcher, 1, 200);

    ollama.kill();
    miner.prints("ollama away");
    ollama.restart();
    let watched = events(&watcher.wait_at_most(LONG).succeeds().text());
    assert!(check_watched(&user, &watched) > 1);
    miner.terminate();
    let _drained = miner.wait().succeeds();
}
